"""Decide how severe an advisory is: by the word of its database, else by its CVSS vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lamina.audit.vulnerabilities.values import AdvisorySeverity
from lamina.core.errors import MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Iterable

_WORDS = {each.value: each for each in AdvisorySeverity} | {
    # The word of GitHub's advisories, and the one of Inspector's findings.
    "moderate": AdvisorySeverity.MEDIUM,
    "important": AdvisorySeverity.HIGH,
}
_TYPES = ("CVSS_V4", "CVSS_V3", "CVSS_V2")
"""The types of OSV's severities, the newest first. https://ossf.github.io/osv-schema/#severity-field (2026-11)."""


def require() -> None:
    """Raise `MissingExtraError` if the library that reads CVSS vectors is not installed."""
    try:
        import cvss  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(extra="audit", purpose="the severities of advisories") from error


def of_word(word: object) -> AdvisorySeverity | None:
    """Return the severity that *word* names, such as ``MODERATE``; ``None`` for any other word or value."""
    return _WORDS.get(word.lower()) if isinstance(word, str) else None


def of_vectors(rows: Iterable[Any]) -> AdvisorySeverity | None:
    """
    Return the severity of the newest kind of CVSS vector in *rows*, OSV's ``severity`` field; ``None`` if it has no valid one.

    Raises `MissingExtraError` if the library that reads vectors is not installed.
    """
    vectors = {
        str(row["type"]): row["score"]
        for row in rows
        if isinstance(row, dict) and row.get("type") in _TYPES and isinstance(row.get("score"), str)
    }
    newest = next((kind for kind in _TYPES if kind in vectors), None)
    return None if newest is None else _of_vector(newest, vectors[newest])


def _of_vector(kind: str, vector: str) -> AdvisorySeverity | None:
    require()
    from cvss import cvss2, cvss3, cvss4
    from cvss.exceptions import CVSSError

    kinds: dict[str, Any] = {"CVSS_V2": cvss2.CVSS2, "CVSS_V3": cvss3.CVSS3, "CVSS_V4": cvss4.CVSS4}
    try:
        return of_word(kinds[kind](vector).severities()[0])
    except CVSSError:
        return None
