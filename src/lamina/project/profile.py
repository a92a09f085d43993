"""
Read and write ``lamina-profile.json``, a record of the modules that functions import at run time.

Builds use it for imports that static analysis does not find. ``lamina coldstart --record`` writes the file, and you
commit it with the service.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from lamina.core.errors import ConfigError
from lamina.core.files import read_file, replace_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

PROFILE = "lamina-profile.json"
_VERSION = "1"


def read(project: Path) -> dict[str, list[str]]:
    """
    Return the recorded modules of *project* by function name, or an empty dict if there is no profile.

    Raises `ConfigError` if the file is unreadable or not a valid profile.
    """
    path = project / PROFILE
    try:
        return _modules(json.loads(read_file(path)))
    except FileNotFoundError:
        return {}
    except (OSError, RecursionError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"`{path}` is not a valid import profile",
            hint="delete it and run `lamina coldstart --record`",
        ) from error


def _modules(document: Any) -> dict[str, list[str]]:
    if document["version"] != _VERSION:
        raise ValueError(f"version {document['version']!r}")
    return {str(name): [str(module) for module in row["modules"]] for name, row in document["functions"].items()}


def record(project: Path, found: Mapping[str, frozenset[str]], *, fresh: bool = False) -> Path:
    """
    Add the modules *found*, by function name, to the profile of *project*, and return the profile's path.

    With *fresh*, *found* replaces the profile. Names are sorted, so that the file changes only if the imports change.
    Raises `ConfigError` if the existing file is not a valid profile, unless *fresh* is set.
    """
    path = project / PROFILE
    functions = {name: set(modules) for name, modules in found.items()}
    if not fresh:
        for name, modules in read(project).items():
            functions[name] = functions.get(name, set()) | set(modules)
    document = {
        "version": _VERSION,
        "functions": {name: {"modules": sorted(functions[name])} for name in sorted(functions)},
    }
    content = json.dumps(document, indent=1).encode() + b"\n"
    if not path.is_file() or read_file(path) != content:
        replace_file(path, content)
    return path
