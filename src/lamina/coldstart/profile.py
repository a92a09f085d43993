"""Keep what functions were seen importing, for builds that cannot see it in the sources."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from lamina.bytecode.choice import PROFILE
from lamina.coldstart.trace import ModuleOrigin
from lamina.core.errors import ConfigError
from lamina.core.files import replace_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from lamina.coldstart.trace import Trace

__all__ = ["imported", "record"]

_VERSION = "1"


def imported(trace: Trace) -> frozenset[str]:
    """Return the modules of the layer that *trace* saw imported."""
    return frozenset(
        each.module
        for each in trace.imports
        if each.ok and not each.is_namespace and each.file is not None and each.file.place is ModuleOrigin.LAYER
    )


def record(project: Path, found: Mapping[str, frozenset[str]], *, fresh: bool = False) -> Path:
    """
    Add the modules *found*, by function, to the profile of *project* and return its path; with *fresh*, replace it.

    The file is the same for the same content, so that it only differs where imports do.
    Raises ConfigError if the profile that is there is not one.
    """
    path = project / PROFILE
    functions = {name: set(modules) for name, modules in found.items()}
    if not fresh:
        for name, modules in _read(path).items():
            functions[name] = functions.get(name, set()) | set(modules)
    document = {
        "version": _VERSION,
        "functions": {name: {"modules": sorted(functions[name])} for name in sorted(functions)},
    }
    content = json.dumps(document, indent=1).encode() + b"\n"
    if not path.is_file() or path.read_bytes() != content:
        replace_file(path, content)
    return path


def _read(path: Path) -> dict[str, list[str]]:
    try:
        document: dict[str, Any] = json.loads(path.read_bytes())
        if document["version"] != _VERSION:
            raise _unreadable(path)
        return {str(name): [str(module) for module in row["modules"]] for name, row in document["functions"].items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _unreadable(path) from error


def _unreadable(path: Path) -> ConfigError:
    return ConfigError(
        f"`{path}` is no profile of imports", hint="remove it, and record again: lamina coldstart --record"
    )
