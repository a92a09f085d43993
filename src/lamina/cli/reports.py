"""Write the files that a command line names for reports, without a loss of any other file."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

from lamina.core.errors import ConfigError

_EARLIER = re.compile(
    rb'\{\s*\}\s*\Z|\{\s*"version":\s*"1",\s*"(services?|before)":|\{\s*"\$schema":\s*"[^"]*sarif|## lamina (advise|audit|check|diff)\n'
    rb"|(error|warning|note): |::(error|warning|notice) |\d[\d,]* errors?, |LAMINA_LAYER"
    rb'|\{\s*"\$schema":\s*"[^"]*/bom-|<!doctype html>\n<html lang="en" class="lamina-report">|from (?![^\n]* import )[^\n]+ to [^\n]+\n'
    rb"|[^\n]+ for python\d[.\d]* on \w+: \d[\d,]* functions?, \d[\d,]* distributions?\n"
)
"""
Matches the start of every report of lamina: JSON, SARIF, CycloneDX, HTML, Markdown, text, the commands of GitHub, and the ARNs of ``--env-file``.
"""
_MAY_BE_EMPTY = frozenset({".in", ".lock", ".py", ".toml", ".txt", ".typed"})
"""The endings of empty files that mean something, such as a lock of no distributions. Others are of `mktemp`, for the report."""
_START_BYTES = 4096
_MOST_LINKS = 40


def remove_earlier(*names: str | None, base: str | None = None) -> None:
    """
    Remove the reports *names*, so that those of an earlier run are not taken for this one's.

    Raises `ConfigError` for a file that is not a report of lamina, such as a source file, for a file in the directory of the built zips,
    and for the report *base*, which this run reads. Each of *names* may also be a device, a pipe, or an open descriptor such as
    ``/dev/stdout``, which keep what they have.
    """
    for name in names:
        if name is None or _is_stream(Path(name)) or not Path(name).exists():
            continue
        path = Path(name).resolve()
        try:
            if not _is_earlier(path) or (base is not None and os.path.exists(base) and path.samefile(base)):
                raise ConfigError(
                    f"`{name}` exists and is not an earlier report of this command, so lamina does not overwrite it",
                    hint="name another file, or delete this one first",
                )
            path.unlink()
        except OSError as error:
            raise ConfigError(f"failed to remove `{name}`: {error.strerror}") from error


def write_json(name: str, document: dict[str, object]) -> None:
    """Write *document* as JSON to the file *name*. Raises `ConfigError` if writing fails."""
    write_file(name, json.dumps(document, indent=2).encode() + b"\n")


def write_file(name: str, content: bytes) -> None:
    """Write *content* to the file *name*, atomically for a regular file; raises `ConfigError` if writing fails."""
    from lamina.core.faults import exhausted
    from lamina.core.files import name_file, replace_file

    path = Path(name)
    try:
        if _is_stream(path):
            # Replacing it would break it for other processes, and what they have written to it stays.
            with path.open("ab") as file:
                file.write(content)
        else:
            # Replace the target of a symbolic link, not the link.
            replace_file(path.resolve(), content)
    except OSError as error:
        name_file(error, path)
        raise exhausted(error) or ConfigError(f"failed to write `{name}`: {error.strerror}") from error


def _is_earlier(path: Path) -> bool:
    from lamina.pipeline.report import OUTPUT_DIRECTORY

    if OUTPUT_DIRECTORY in path.parts:
        return False
    with path.open("rb") as file:
        start = file.read(_START_BYTES)
    return _EARLIER.match(start) is not None if start.strip() else path.suffix not in _MAY_BE_EMPTY


def _is_stream(path: Path) -> bool:
    """Return whether *path* is a device or a pipe, or leads to an open descriptor of a process, which may be that of a regular file."""
    if path.exists() and not path.is_file():
        return True
    for _ in range(_MOST_LINKS):
        path = path.parent.resolve() / path.name
        if path.parent.name == "fd" and path.parts[1:2] in {("dev",), ("proc",)}:
            return True
        if not path.is_symlink():
            return False
        path = path.parent / os.readlink(path)
    return False
