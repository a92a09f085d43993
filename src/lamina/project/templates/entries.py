"""Express the code directory of a described function as entries of ``source``."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lamina.project.templates.types import TemplateFunction

# A pattern for everything in one directory.
_PACKAGE = re.compile(r"(?:\./)?([\w-]+)(?:/(?:\*\*/?)?(?:\*(?:\.py)?)?)?")


def source_entries(function: TemplateFunction, directory: str) -> tuple[str, ...]:
    """Return the ``source`` entries for the code of *function*, relative to the service in *directory*."""
    if function.more:
        # Patterns are relative to the first directory, and do not apply to the others.
        paths = (relative(path, directory) for path in (function.source or ".", *function.more))
        return tuple(_all_of(path) for path in paths)
    source = relative(function.source or ".", directory)
    if source.endswith(".py"):
        return (source,)
    kept = [pattern for pattern in function.patterns if not pattern.startswith("!")]
    if kept and "**" not in kept:
        packages = [_PACKAGE.fullmatch(pattern) for pattern in kept]
        if all(packages):
            start = "" if source == "." else f"{source}/"
            return tuple(sorted({f"{start}{package[1]}" for package in packages if package is not None}))
    return (_all_of(source),)


def _all_of(source: str) -> str:
    """Return the entry for everything in the directory *source*, or for the file *source*."""
    return source if source == "." or source.endswith(".py") else f"{source}/*"


def relative(path: str, directory: str) -> str:
    """Return *path*, relative to the root, relative to *directory*."""
    return os.path.relpath(path, directory).replace(os.sep, "/")
