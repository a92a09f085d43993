"""
Read an advisory in OSV's format, and decide whether it affects a release.

Format: https://ossf.github.io/osv-schema/ (1.7, read 2026-11). The advisory is untrusted, so the type of each value that is used is checked.
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
MALFORMED = (AttributeError, IndexError, KeyError, TypeError, ValueError, RecursionError)
"""What reading a document with another structure, or with values of other types, raises."""
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
_MODULE = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*")
_LONGEST_SUMMARY = 200


def is_id(text: object) -> bool:
    """Return whether *text* can be the ID of an advisory, and therefore a part of an address."""
    return isinstance(text, str) and _ID.fullmatch(text) is not None


def rows(value: Any) -> list[Any]:
    """Return the list *value*; an empty one for ``None``. Raises TypeError if it is anything else."""
    if value is not None and not isinstance(value, list):
        raise TypeError("not a list")
    return value or []


def text(value: Any) -> str:
    """Return the text *value*; empty for ``None``. Raises TypeError if it is anything else."""
    if value is not None and not isinstance(value, str):
        raise TypeError("not text")
    return value or ""


def aliases(value: Any) -> tuple[str, ...]:
    """Return the IDs in the list *value*, sorted. Raises TypeError if it is not a list, and ValueError if it is longer than any real one."""
    found = rows(value)
    if len(found) > read_data("advisories.toml")["limits"]["aliases"]:
        raise ValueError("too many aliases")
    return tuple(sorted({each for each in found if is_id(each)}))


def link(value: Any) -> str | None:
    """Return the address *value* if it is one of a web page. Raises TypeError if it is not text."""
    address = text(value)
    return address if address.lower().startswith(("https://", "http://")) else None


def unreadable(identity: str, release: Release) -> Vulnerability:
    """Return the advisory *identity*, which is about *release* but invalid: it may affect the release, so its severity is unknown."""
    return Vulnerability(
        id=identity,
        release=release,
        severity=None,
        summary="the advisory is invalid, so that it may affect this version",
    )


def names_in(document: Any) -> frozenset[str]:
    """Return the normalised names of the Python distributions that the advisory *document* is about."""
    return frozenset(normalized(row["package"]["name"]) for row in _affected(document))


def is_of_python(document: Any) -> bool:
    """Return whether the advisory *document* is about Python distributions, and about nothing else."""
    return 0 < len(rows(document["affected"])) == len(_affected(document))


def read(document: Any, release: Release, *, certain: bool = False) -> Vulnerability | None:
    """
    Return what the advisory *document* says of *release*; ``None`` if it was withdrawn, or does not affect it.

    *certain* means that the database has already compared the version. Raises `ValueError`, `TypeError`, `KeyError` or
    `AttributeError` if the document does not have OSV's format, and `MissingExtraError` if its severity cannot be read.
    """
    if document.get("withdrawn"):
        return None
    found = [row for row in _affected(document) if normalized(row["package"]["name"]) == release.name]
    if certain and not found:
        raise ValueError("about another distribution")
    found = found if certain else [row for row in found if _affects(row, release.version)]
    if not found:
        return None
    if not is_id(document["id"]):
        raise ValueError("not an ID")
    return Vulnerability(
        id=document["id"],
        aliases=aliases(document.get("aliases")),
        release=release,
        severity=_severity(document, found),
        fixed=_fixed(found, release.version),
        summary=first_line(text(document.get("summary")) or text(document.get("details"))),
        url=_page() + document["id"],
        imports=tuple(sorted({name for row in found for name in _imports(row)})),
    )


@cache
def _page() -> str:
    return str(read_data("advisories.toml")["osv"]["page"])


def _affected(document: Any) -> list[Any]:
    """Return the rows of *document* about Python distributions. A row without a package is about commits of a repository."""
    return [
        row
        for row in rows(document.get("affected"))
        if text(row.get("package", {}).get("ecosystem")).partition(":")[0] == ECOSYSTEM
    ]


def first_line(content: str) -> str:
    """Return the first line of *content*, shortened."""
    line = " ".join(next(iter(content.strip().splitlines()), "").split())
    return line if len(line) <= _LONGEST_SUMMARY else f"{line[: _LONGEST_SUMMARY - 1]}…"


def _severity(document: Any, found: list[Any]) -> AdvisorySeverity | None:
    word = severity.of_word((document.get("database_specific") or {}).get("severity"))
    if word is not None:
        return word
    of_rows = severity.of_vectors([each for row in found for each in rows(row.get("severity"))])
    return severity.of_vectors(rows(document.get("severity"))) if of_rows is None else of_rows


def _version(value: Any) -> Version | None:
    try:
        return Version(text(value))
    except InvalidVersion:
        return None


def _affects(row: Any, stated: str) -> bool:
    """Return whether *row* lists the version *stated*, or has it in a range."""
    version = _version(stated)
    listed = rows(row.get("versions"))
    if stated in listed:
        return True
    if version is None:
        return False
    return any(_version(each) == version for each in listed) or any(
        _contains(events, version) for events in _ranges(row)
    )


def _ranges(row: Any) -> Iterator[list[tuple[str, Version | None]]]:
    """Yield the events of each range of versions as pairs of kind and version; ``None`` is the lowest version."""
    for each in rows(row.get("ranges")):
        if each.get("type") == "ECOSYSTEM":
            yield [
                (kind, None if value == "0" else _version(value))
                for event in rows(each["events"])
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


def _fixed(found: list[Any], stated: str) -> tuple[str, ...]:
    """Return the versions above *stated* that the ranges call fixed, the oldest first."""
    version = _version(stated)
    fixes = {
        at for row in found for events in _ranges(row) for kind, at in events if kind == "fixed" and at is not None
    }
    return tuple(str(each) for each in sorted(fixes) if version is None or each > version)


def _imports(row: Any) -> Iterator[str]:
    """Yield the modules in ``imports``, each with the attribute if there is one, as the advisories of PyPA name them."""
    for each in rows((row.get("ecosystem_specific") or {}).get("imports")):
        attribute = text(each.get("attribute"))
        for module in rows(each.get("modules")):
            name = f"{text(module)}.{attribute}" if attribute else text(module)
            if _MODULE.fullmatch(name):
                yield name
