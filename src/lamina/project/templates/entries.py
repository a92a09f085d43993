"""Express the code directory of a described function as entries of ``source``."""

from __future__ import annotations

import re
from glob import escape
from typing import TYPE_CHECKING

from lamina.core.paths import relative_path
from lamina.project.ignore import rule_for

if TYPE_CHECKING:
    from lamina.project.templates.types import TemplateFunction

# A pattern for everything in one directory, or for all of its Python files.
_PACKAGE = re.compile(r"([\w-]+)(?:/(?:\*\*/?)?(?:\*(?:\.py)?)?)?")


def source_entries(function: TemplateFunction, directory: str) -> tuple[str, ...]:
    """Return the ``source`` entries for the code of *function*, relative to the service in *directory*."""
    source = relative_path(function.source or ".", directory)
    kept = [pattern for pattern in function.patterns if not pattern.startswith("!")]
    if kept and "**" not in kept and not source.endswith(".py"):
        start = "" if source == "." else f"{escape(source)}/"
        entries = sorted({start + _entry(pattern.removeprefix("./")) for pattern in kept})
    else:
        entries = [_all_of(source)]
    return (*entries, *(_all_of(relative_path(path, directory)) for path in function.more))


def unapplied_patterns(function: TemplateFunction) -> tuple[str, ...]:
    """Return the patterns that leave out files which lamina packages: ``source`` has no such patterns."""
    return tuple(
        pattern
        for pattern in function.patterns
        if pattern.startswith("!") and not _is_left_out(pattern.strip("!./").split("/"))
    )


def _is_left_out(parts: list[str]) -> bool:
    """Return whether a rule leaves out the path *parts*, whose last component is a file or a directory, or a directory above it."""
    return any(rule_for(name, is_directory=True) for name in parts) or (
        rule_for(parts[-1], is_directory=False, in_project_root=True) is not None
    )


def _entry(pattern: str) -> str:
    """Return the entry for the files that *pattern* chooses, with the same paths in the package."""
    package = _PACKAGE.fullmatch(pattern)
    if package is not None:
        return package[1]
    # The paths of an entry are relative to the directory before its first `**`, or else to the parent directory.
    return f"**/{pattern}" if "/" in pattern else pattern


def _all_of(source: str) -> str:
    """Return the entry for everything in the directory *source*, or for the file *source*."""
    # A directory's name may contain characters that have a meaning in globs.
    return source if source == "." or source.endswith(".py") else f"{escape(source)}/*"
