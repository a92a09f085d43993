"""
Read and write ``lamina-profile.json``: the modules that functions were seen importing, for builds that cannot see it in the sources.

``lamina coldstart --record`` writes it, and it is committed with the service.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from lamina.core.errors import ConfigError
from lamina.core.files import replace_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

PROFILE = "lamina-profile.json"
_VERSION = "1"


def read(project: Path) -> dict[str, list[str]]:
    """Return the recorded modules of *project* by function, none where nothing was recorded; raises ConfigError if it is no profile."""
    path = project / PROFILE
    try:
        return _modules(json.loads(path.read_bytes()))
    except FileNotFoundError:
        return {}
    except (OSError, RecursionError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"`{path}` is no profile of imports", hint="remove it, and record again: lamina coldstart --record"
        ) from error


def _modules(document: Any) -> dict[str, list[str]]:
    if document["version"] != _VERSION:
        raise ValueError(f"version {document['version']!r}")
    return {str(name): [str(module) for module in row["modules"]] for name, row in document["functions"].items()}


def record(project: Path, found: Mapping[str, frozenset[str]], *, fresh: bool = False) -> Path:
    """
    Add the modules *found*, by function, to the profile of *project* and return its path; with *fresh*, replace it.

    The file is the same for the same content, so that it only differs where imports do.
    Raises ConfigError if the profile that is there is not one.
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
    if not path.is_file() or path.read_bytes() != content:
        replace_file(path, content)
    return path
