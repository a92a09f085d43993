"""
A server on loopback that answers `GetLayerVersionByArn` for the layers of all accounts, and `GetFunction`, and serves their zips.

It also publishes layers in the caller's account.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import re
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ARN = "arn:aws:lambda:eu-west-1:017000801446:layer:tools-python313:7"
OTHER = "arn:aws:lambda:us-east-1:464622532012:layer:Datadog-Extension:103"
OWN = "123456789012"
_VERSIONS = re.compile(r"/2018-10-31/layers/(?P<name>[^/]+)/versions(?:/(?P<number>[0-9]+))?")
SIGNATURE = "X-Amz-Signature=0123456789abcdef"


def layer_zip(files: Mapping[str, str | bytes]) -> bytes:
    """Return a zip of *files* with a fixed time."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, data in files.items():
            row = zipfile.ZipInfo(path)
            row.external_attr = 0o100755 << 16
            archive.writestr(row, data)
    return content.getvalue()


def base64_sha256(content: bytes) -> str:
    return base64.b64encode(hashlib.sha256(content).digest()).decode()


class LayerServer(ThreadingHTTPServer):
    """Answers for the layers in `zips`. Tests change what it says."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.zips: dict[str, bytes] = {}
        """The zip of each layer version, by ARN."""
        self.sent: dict[str, bytes] = {}
        """What is sent in place of a zip, by ARN."""
        self.functions: dict[str, dict[str, Any]] = {}
        """The configuration of each function, by its name or ARN; its zip is in `zips` by the same key."""
        self.says: dict[str, Any] = {}
        """Other members of the responses."""
        self.published: list[dict[str, Any]] = []
        """The requests with which the caller has published versions of layers in its own account."""
        self.stored: str | None = None
        """The hash that is reported for published versions, in place of theirs."""
        self.denied: dict[str, str] = {}
        """The end of the text with which a request is denied, by ARN."""
        self.asked: list[tuple[str, str]] = []
        """The region for which each request was signed, and the ARN."""
        self.downloads: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def __enter__(self) -> Self:
        Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


class _Answer(BaseHTTPRequestHandler):
    server: LayerServer

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        if address.path.startswith("/zips/"):
            arn = unquote(address.path.removeprefix("/zips/"))
            assert address.query == SIGNATURE
            self.server.downloads.append(arn)
            self._send(200, self.server.sent.get(arn, self.server.zips[arn]))
            return
        if address.path.startswith("/2015-03-31/functions/"):
            self._function(unquote(address.path.split("/")[3]))
            return
        if (found := _VERSIONS.fullmatch(address.path)) is not None:
            versions = [self._own(each) for each in self.server.published if each["name"] == found["name"]]
            number = found["number"]
            described = {"LayerVersions": versions} if number is None else versions[int(number) - 1]
            self._send(200, json.dumps(described).encode())
            return
        query = parse_qs(address.query)
        assert (address.path, query["find"]) == ("/2018-10-31/layers", ["LayerVersion"])
        (arn,) = query["Arn"]
        scope = re.search(r"Credential=[^/]+/\d+/([^/]+)/", self.headers["Authorization"])
        assert scope is not None
        self.server.asked.append((scope[1], arn))
        if arn in self.server.denied:
            text = "User: arn:aws:iam::123456789012:user/u is not authorized to perform: lambda:GetLayerVersion on resource: "
            self._refuse(403, "AccessDeniedException", text + arn + self.server.denied[arn])
        elif arn not in self.server.zips:
            self._refuse(404, "ResourceNotFoundException", "The resource you requested does not exist.")
        else:
            self._send(200, json.dumps(self._version(arn)).encode())

    def do_POST(self) -> None:
        found = _VERSIONS.fullmatch(self.path)
        assert found is not None
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        number = 1 + sum(each["name"] == found["name"] for each in self.server.published)
        self.server.published.append(request | {"name": found["name"], "number": number})
        self._send(201, json.dumps(self._own(self.server.published[-1])).encode())

    def _own(self, request: dict[str, Any]) -> dict[str, Any]:
        content = base64.b64decode(request["Content"]["ZipFile"])
        return {
            "LayerVersionArn": f"arn:aws:lambda:eu-west-1:{OWN}:layer:{request['name']}:{request['number']}",
            "Version": request["number"],
            "Description": request["Description"],
            "CreatedDate": "2026-11-01T00:00:00.000+0000",
            "Content": {"CodeSha256": self.server.stored or base64_sha256(content), "CodeSize": len(content)},
        }

    def _function(self, name: str) -> None:
        if (configuration := self.server.functions.get(name)) is None:
            self._refuse(404, "ResourceNotFoundException", f"Function not found: {name}")
            return
        content = self.server.zips[name]
        described = {"FunctionName": name, "CodeSha256": base64_sha256(content), "CodeSize": len(content)}
        code = {"Location": f"{self.server.url}/zips/{name}?{SIGNATURE}", "RepositoryType": "S3"}
        self._send(200, json.dumps({"Configuration": described | configuration, "Code": code}).encode())

    def _version(self, arn: str) -> dict[str, Any]:
        content = self.server.zips[arn]
        return {
            "Content": {
                "Location": f"{self.server.url}/zips/{arn}?{SIGNATURE}",
                "CodeSha256": base64_sha256(content),
                "CodeSize": len(content),
            },
            "LayerVersionArn": arn,
            "Version": int(arn.rpartition(":")[2]),
            "CreatedDate": "2026-11-01T00:00:00.000+0000",
        } | self.server.says

    def do_DELETE(self) -> None:
        self.server.published.pop()
        self._send(204, b"")

    def _refuse(self, status: int, code: str, text: str) -> None:
        self.send_response(status)
        content = json.dumps({"Message": text, "Type": "User"}).encode()
        self.send_header("x-amzn-ErrorType", code)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _send(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@pytest.fixture
def layer_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[LayerServer]:
    """Start a server of layers, which AWS's clients use."""
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, os.devnull)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very-secret-test")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with LayerServer() as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        yield server
