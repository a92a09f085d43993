"""A server on loopback that answers like OSV, like an index with a JSON API, and like Amazon Inspector."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any, Self

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

GHSA = "GHSA-h5c8-rqwp-cp95"
PYSEC = "PYSEC-2024-230"
CVE = "CVE-2024-22195"


def advisory(**changes: Any) -> dict[str, Any]:
    """Return an advisory about `alpha` 1.0 as GitHub's database has them, with *changes*."""
    return {
        "id": GHSA,
        "summary": "Alpha vulnerable to HTML attribute injection",
        "details": "The `xmlattr` filter in affected versions accepts keys with spaces.\n\n### Patches\nUpgrade.",
        "aliases": [CVE, PYSEC],
        "modified": "2026-02-01T00:00:00Z",
        "published": "2026-01-11T15:20:48Z",
        "database_specific": {"severity": "MODERATE", "cwe_ids": ["CWE-79"], "github_reviewed": True},
        "references": [{"type": "WEB", "url": "https://example.org/security"}],
        "affected": [
            {
                "package": {"name": "Alpha", "ecosystem": "PyPI", "purl": "pkg:pypi/alpha"},
                "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "1.1"}]}],
                "versions": ["0.9", "1.0"],
            }
        ],
        "schema_version": "1.7.0",
        "severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:R/S:C/C:L/I:L/A:N"}],
    } | changes


def of_pypa(**changes: Any) -> dict[str, Any]:
    """Return the advisory about the same vulnerability as the database of PyPA has them: without a word for the severity."""
    (affected,) = advisory()["affected"]
    imports = [{"attribute": "VALUE", "modules": ["alpha"]}]
    return (
        advisory(
            id=PYSEC,
            aliases=[CVE, GHSA],
            summary="",
            database_specific={},
            affected=[affected | {"ecosystem_specific": {"imports": imports}}],
        )
        | changes
    )


class OsvServer(ThreadingHTTPServer):
    """Answers with `advisories`. Tests change what it says."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.advisories: list[dict[str, Any]] = []
        self.raw: dict[str, tuple[int, bytes]] = {}
        """The status and the body of each response to send in place of the real one, by path."""
        self.headers: dict[str, dict[str, str]] = {}
        """More headers of responses, by path."""
        self.page_size = 1_000
        """How many advisories one page of a batch has for each distribution."""
        self.index: dict[str, list[dict[str, Any]]] = {}
        """The vulnerabilities in the JSON API, by ``NAME/VERSION``."""
        self.aws: dict[str, Any] = {}
        """The response of each operation of Inspector, by its path."""
        self.requests: list[tuple[str, Any, str | None]] = []
        """The path, the body and the credentials of each request."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def asked(self, path: str) -> list[Any]:
        """Return the bodies of the requests for *path*."""
        return [body for each, body, _ in self.requests if each == path]

    def __enter__(self) -> Self:
        Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


class _Answer(BaseHTTPRequestHandler):
    server: OsvServer

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self._record(body)
        if self.path in self.server.aws:
            self._send(200, self.server.aws[self.path])
        elif self.path == "/v1/querybatch":
            self._send(200, {"results": [self._found(query) for query in body["queries"]]})
        else:
            self._send(404, {})

    def do_GET(self) -> None:
        self._record(None)
        known = {f"/v1/vulns/{each['id']}": each for each in self.server.advisories}
        pages = {f"/pypi/{name}/json": {"vulnerabilities": rows} for name, rows in self.server.index.items()}
        found = (known | pages).get(self.path)
        self._send(200 if found else 404, found or {})

    def _found(self, query: dict[str, Any]) -> dict[str, Any]:
        rows = [
            {"id": each["id"], "modified": each["modified"]}
            for each in self.server.advisories
            if any(row["package"]["name"].lower() == query["package"]["name"] for row in each["affected"])
            and any(query["version"] in row.get("versions", ()) for row in each["affected"])
        ]
        start = int(query.get("page_token", "0"))
        end = start + self.server.page_size
        more = {"next_page_token": str(end)} if end < len(rows) else {}
        return {"vulns": rows[start:end], **more} if rows else {}

    def _record(self, body: Any) -> None:
        self.server.requests.append((self.path, body, self.headers.get("Authorization")))

    def _send(self, status: int, document: Any) -> None:
        status, content = self.server.raw.get(self.path, (status, json.dumps(document).encode()))
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        for name, value in self.server.headers.get(self.path, {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@pytest.fixture
def osv() -> Iterator[OsvServer]:
    """Start the server."""
    with OsvServer() as server:
        yield server
