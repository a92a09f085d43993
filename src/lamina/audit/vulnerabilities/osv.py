"""
Ask the service of OSV, or a mirror of it, about releases. Only their names and versions are sent.

API: https://google.github.io/osv.dev/api/ (read 2026-11). Advisories are kept in the store by their ID and the time of their last change.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from lamina.audit.vulnerabilities.record import ECOSYSTEM, MALFORMED, is_id, read, rows, text, unreadable
from lamina.audit.vulnerabilities.values import Advice
from lamina.core.errors import DownloadError
from lamina.core.store import key_of
from lamina.core.toml import read_data
from lamina.core.urls import redacted
from lamina.fetch.service import read_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lamina.audit.vulnerabilities.values import Release, Vulnerability
    from lamina.core.store import Store
    from lamina.fetch.http import Client

AREA = "advisories"
_REQUESTS_AT_ONCE = 8


class OsvService:
    """The service at one address."""

    def __init__(self, client: Client, store: Store, *, url: str | None = None) -> None:
        """Use the service at *url* (default: that of OSV itself)."""
        self._client = client
        self._store = store
        self._facts = read_data("advisories.toml")
        self._url = (url or self._facts["osv"]["url"]).rstrip("/")

    @property
    def place(self) -> str:
        """The name and the address of the service."""
        return f"OSV at {redacted(self._url)}"

    def ask(self, releases: Sequence[Release]) -> Advice:
        """
        Return the vulnerabilities of *releases*.

        Raises `DownloadError` if the service cannot be reached or its answer is invalid, and `AccessDeniedError`.
        """
        most = self._facts["osv"]["most_queries"]
        affected: dict[tuple[str, str], list[Release]] = {}
        for start in range(0, len(releases), most):
            for release, known in self._batch(releases[start : start + most]):
                affected.setdefault(known, []).append(release)
        if len(affected) > self._facts["limits"]["advisories"]:
            raise self._invalid(f"it lists {len(affected):,} advisories")
        with ThreadPoolExecutor(_REQUESTS_AT_ONCE) as pool:
            found = list(pool.map(self._vulnerabilities, affected, affected.values()))
        return Advice(vulnerabilities=tuple(each for some in found for each in some))

    def _vulnerabilities(self, known: tuple[str, str], releases: Sequence[Release]) -> list[Vulnerability]:
        """Return what the advisory with the ID and the time of change in *known* says of *releases*."""
        document = self._advisory(known)
        found = [_read(document, known[0], release) for release in dict.fromkeys(releases)]
        return [each for each in found if each is not None]

    def _batch(self, releases: Sequence[Release]) -> Iterator[tuple[Release, tuple[str, str]]]:
        """Yield each of *releases* with the ID and the time of change of each of its advisories. An answer can have several pages."""
        waiting: list[tuple[Release, str | None]] = [(release, None) for release in releases]
        for _ in range(self._facts["limits"]["pages"]):
            if not waiting:
                return
            queries = [_query(release, token) for release, token in waiting]
            answer = self._get("/v1/querybatch", {"queries": queries}, most=self._facts["limits"]["answer_bytes"])
            try:
                found = [(_known(row), text(row.get("next_page_token"))) for row in rows(answer["results"])]
                pairs = list(zip(waiting, found, strict=True))
            except MALFORMED:
                raise self._invalid("it is not one of OSV's API") from None
            for (release, _), (known, _) in pairs:
                yield from ((release, each) for each in known)
            waiting = [(release, token) for (release, _), (_, token) in pairs if token]
        if waiting:
            raise self._invalid("it has too many pages")

    def _advisory(self, known: tuple[str, str]) -> Any:
        """Return the advisory with the ID and the time of change in *known*, from the store if it has it."""
        place = self._store.entry(AREA, key_of(self._url, *known), ".json")
        if (kept := self._store.read_document(place, lambda document: document["advisory"])) is not None:
            return kept
        document = self._get(f"/v1/vulns/{quote(known[0])}", None, most=self._facts["limits"]["advisory_bytes"])
        if isinstance(document, dict) and (document.get("id"), document.get("modified")) == known:
            self._store.write_document(place, {"advisory": document})
        return document

    def _get(self, path: str, body: object, *, most: int) -> Any:
        try:
            found = read_json(self._client, self._url + path, most_bytes=most, body=body)
        except DownloadError as error:
            raise DownloadError(str(error), hint=error.hint or _HINT) from error
        if found is None:
            raise self._invalid(f"it does not have `{path}`")
        return found

    def _invalid(self, fact: str) -> DownloadError:
        return DownloadError(
            f"the answer of {self.place} is invalid: {fact}",
            hint="check the address in `--osv` or `[tool.lamina.audit]`",
        )


_HINT = "check the network and the address; to audit without a service, download OSV's zip for PyPI and run `lamina audit --osv FILE`"


def _read(document: Any, identity: str, release: Release) -> Vulnerability | None:
    """Return what *document*, which the service sent as the advisory *identity*, says of *release*."""
    try:
        if document["id"] != identity:
            raise ValueError("another advisory")
        return read(document, release, certain=True)
    except MALFORMED:
        return unreadable(identity, release)


def _query(release: Release, token: str | None) -> dict[str, object]:
    query: dict[str, object] = {
        "package": {"name": release.name, "ecosystem": ECOSYSTEM},
        "version": release.version,
    }
    return query if token is None else {**query, "page_token": token}


def _known(row: Any) -> list[tuple[str, str]]:
    """Return the ID and the time of change of each advisory in *row*. Raises `ValueError` if an ID is invalid."""
    found = [(each["id"], text(each.get("modified"))) for each in rows(row.get("vulns"))]
    if not all(is_id(identity) for identity, _ in found):
        raise ValueError("not an ID")
    return found
