"""
Read an advisory in OSV's format, and decide whether it affects a release.

Format: https://ossf.github.io/osv-schema/ (1.7, read 2026-11). The advisory is untrusted.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any

from packaging.version import InvalidVersion, Version

from lamina.audit.vulnerabilities import severity
from lamina.audit.vulnerabilities.values import Vulnerability
from lamina.core.names import normalized
from lamina.core.toml import read_data

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lamina.audit.vulnerabilities.values import AdvisorySeverity, Release

ECOSYSTEM = "PyPI"
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
_MODULE = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*")
_LONGEST_SUMMARY = 200


def is_id(text: object) -> bool:
    """Return whether *text* can be the ID of an advisory, and therefore a part of an address."""
    return isinstance(text, str) and _ID.fullmatch(text) is not None


def names_in(document: Any) -> frozenset[str]:
    """Return the normalised names of the Python distributions that the advisory *document* is about."""
    return frozenset(normalized(row["package"]["name"]) for row in _rows(document))


def read(document: Any, release: Release, *, certain: bool = False) -> Vulnerability | None:
    """
    Return what the advisory *document* says of *release*; ``None`` if it was withdrawn, or does not affect it.

    *certain* means that the database has already compared the version. Raises `ValueError`, `TypeError`, `KeyError` or
    `AttributeError` if the document does not have OSV's format, and `MissingExtraError` if its severity cannot be read.
    """
    if document.get("withdrawn"):
        return None
    rows = [row for row in _rows(document) if normalized(row["package"]["name"]) == release.name]
    rows = rows if certain else [row for row in rows if _affects(row, release.version)]
    if not rows:
        return None
    if not is_id(document["id"]):
        raise ValueError("not an ID")
    summary = str(document.get("summary") or document.get("details") or "")
    return Vulnerability(
        id=document["id"],
        aliases=tuple(sorted(filter(is_id, document.get("aliases") or ()))),
        release=release,
        severity=_severity(document, rows),
        fixed=_fixed(rows, release.version),
        summary=first_line(summary),
        url=_page() + document["id"],
        imports=tuple(sorted({name for row in rows for name in _imports(row)})),
    )


@cache
def _page() -> str:
    return str(read_data("advisories.toml")["osv"]["page"])


def _rows(document: Any) -> list[Any]:
    return [
        row
        for row in document.get("affected") or ()
        if str(row.get("package", {}).get("ecosystem", "")).partition(":")[0] == ECOSYSTEM
    ]


def first_line(text: str) -> str:
    """Return the first line of *text*, shortened."""
    line = " ".join(next(iter(text.strip().splitlines()), "").split())
    return line if len(line) <= _LONGEST_SUMMARY else f"{line[: _LONGEST_SUMMARY - 1]}…"


def _severity(document: Any, rows: list[Any]) -> AdvisorySeverity | None:
    found = severity.of_word((document.get("database_specific") or {}).get("severity"))
    if found is None:
        found = severity.of_vectors([each for row in rows for each in row.get("severity") or ()])
    return severity.of_vectors(document.get("severity") or ()) if found is None else found


def _version(text: object) -> Version | None:
    try:
        return Version(str(text))
    except InvalidVersion:
        return None


def _affects(row: Any, text: str) -> bool:
    """Return whether *row* lists the version *text*, or has it in a range."""
    version = _version(text)
    listed = row.get("versions") or ()
    if text in listed:
        return True
    if version is None:
        return False
    return any(_version(each) == version for each in listed) or any(
        _contains(events, version) for events in _ranges(row)
    )


def _ranges(row: Any) -> Iterator[list[tuple[str, Version | None]]]:
    """Yield the events of each range of versions as pairs of kind and version; ``None`` is the lowest version."""
    for each in row.get("ranges") or ():
        if each.get("type") == "ECOSYSTEM":
            yield [
                (kind, None if value == "0" else _version(value))
                for event in each["events"]
                for kind, value in event.items()
                if value == "0" or (value != "*" and _version(value) is not None)
            ]


def _contains(events: list[tuple[str, Version | None]], version: Version) -> bool:
    """Evaluate a range as OSV's schema does: the last event at or below *version* decides."""
    # https://ossf.github.io/osv-schema/#evaluation
    inside = False
    for kind, at in sorted(events, key=lambda event: (event[1] is not None, event[1] or version)):
        reached = at is None or version >= at
        if kind == "introduced" and reached:
            inside = True
        elif (kind in {"fixed", "limit"} and reached) or (kind == "last_affected" and at is not None and version > at):
            inside = False
    return inside


def _fixed(rows: list[Any], text: str) -> tuple[str, ...]:
    """Return the versions above *text* that the ranges call fixed, the oldest first."""
    version = _version(text)
    found = {at for row in rows for events in _ranges(row) for kind, at in events if kind == "fixed" and at is not None}
    return tuple(str(each) for each in sorted(found) if version is None or each > version)


def _imports(row: Any) -> Iterator[str]:
    """Yield the modules in ``imports``, each with the attribute if there is one, as the advisories of PyPA name them."""
    for each in (row.get("ecosystem_specific") or {}).get("imports") or ():
        attribute = each.get("attribute")
        for module in each.get("modules") or ():
            name = f"{module}.{attribute}" if attribute else str(module)
            if _MODULE.fullmatch(name):
                yield name
