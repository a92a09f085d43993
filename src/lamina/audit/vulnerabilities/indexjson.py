"""
Ask the package indexes of a project about releases, one request for each: ``/pypi/NAME/VERSION/json`` beside ``/simple/``.

API: https://warehouse.pypa.io/api-reference/json.html (read 2026-11). It states no severities.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from lamina.audit.vulnerabilities.record import MALFORMED, aliases, first_line, is_id, link, rows, text, unreadable
from lamina.audit.vulnerabilities.values import Advice, Vulnerability
from lamina.core.errors import DownloadError
from lamina.core.toml import read_data
from lamina.core.urls import redacted
from lamina.fetch.service import read_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lamina.audit.vulnerabilities.values import Release
    from lamina.fetch.http import Client

_REQUESTS_AT_ONCE = 8


class IndexAdvisories:
    """The JSON API of one package index."""

    def __init__(self, client: Client, url: str) -> None:
        """Use the index at *url*, the address of its simple API."""
        self._client = client
        self._url = url.rstrip("/").removesuffix("/simple")

    @property
    def place(self) -> str:
        """The address of the index."""
        return f"the index at {redacted(self._url)}"

    def ask(self, releases: Sequence[Release]) -> Advice:
        """
        Return the vulnerabilities of *releases*. Those that the index does not have are unknown.

        Raises `DownloadError` if the index cannot be reached, if it has no JSON API, or if an answer is invalid, and `AccessDeniedError`.
        """
        with ThreadPoolExecutor(_REQUESTS_AT_ONCE) as pool:
            answers = dict(zip(releases, pool.map(self._document, releases), strict=True))
        unknown = tuple(release for release, document in answers.items() if document is None)
        if releases and len(unknown) == len(releases):
            raise DownloadError(
                f"{self.place} has no JSON API, or has none of the distributions",
                hint="ask OSV: `lamina audit --advisories osv`",
            )
        found = [
            each
            for release, document in answers.items()
            if document is not None
            for each in self._vulnerabilities(release, document)
        ]
        return Advice(vulnerabilities=tuple(found), unknown=unknown)

    def _document(self, release: Release) -> Any:
        most = read_data("advisories.toml")["limits"]["answer_bytes"]
        address = f"{self._url}/pypi/{quote(release.name)}/{quote(release.version)}/json"
        return read_json(self._client, address, most_bytes=most)

    def _vulnerabilities(self, release: Release, document: Any) -> list[Vulnerability]:
        try:
            listed = [row for row in rows(document["vulnerabilities"]) if not row.get("withdrawn")]
            if not all(is_id(row["id"]) for row in listed):
                raise ValueError("not an ID")
        except MALFORMED:
            raise DownloadError(
                f"the answer of {self.place} about `{release.name}` is invalid",
                hint="ask OSV: `lamina audit --advisories osv`",
            ) from None
        return [_vulnerability(release, row) for row in listed]


def _vulnerability(release: Release, row: Any) -> Vulnerability:
    try:
        return Vulnerability(
            id=row["id"],
            aliases=aliases(row.get("aliases")),
            release=release,
            severity=None,
            fixed=tuple(filter(None, map(text, rows(row.get("fixed_in"))))),
            summary=first_line(text(row.get("summary")) or text(row.get("details"))),
            url=link(row.get("link")),
        )
    except MALFORMED:
        return unreadable(row["id"], release)
