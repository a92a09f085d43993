"""A server on loopback that answers requests of AWS clients for identities, roles, functions and the code of a function."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import ipaddress
import json
import ssl
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Self
from urllib.parse import parse_qs

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from pathlib import Path

CODE = b"the zipped code of a function"
PAGES = 3
"""The number of pages in the list of functions."""
_SPACE = "https://sts.amazonaws.com/doc/2011-06-15/"


class Sts(ThreadingHTTPServer):
    """Records the access key and the action of each request, and returns a new access key with each role."""

    daemon_threads = True

    def __init__(
        self, *, certificate: Path | None = None, lifetime_seconds: float = 3600, code: str | None = None
    ) -> None:
        """With a *certificate* (see `make_certificate`), use TLS. The credentials of roles expire after *lifetime_seconds*.

        *code* is the URL of another server that has the code of functions.
        """
        super().__init__(("127.0.0.1", 0), _Answer)
        self.lifetime_seconds = lifetime_seconds
        self.code = code
        self.identity = "<Arn>arn:aws:sts::123456789012:user/u</Arn><UserId>u</UserId><Account>123456789012</Account>"
        self.seen: list[tuple[str, str]] = []
        self._scheme = "http" if certificate is None else "https"
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.socket = context.wrap_socket(self.socket, server_side=True)

    @property
    def url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self.server_address[1]}"

    def actions(self) -> list[str]:
        return [action for _, action in self.seen]

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore clients that do not trust the certificate."""

    def __enter__(self) -> Self:
        Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


class _Answer(BaseHTTPRequestHandler):
    server: Sts

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        action = parse_qs(body)["Action"][0]
        self.server.seen.append((self._key(), action))
        if action == "AssumeRole":
            expiry = dt.datetime.now(tz=dt.UTC) + dt.timedelta(seconds=self.server.lifetime_seconds)
            number = self.server.actions().count(action)
            result = (
                f"<Credentials><AccessKeyId>ASIAROLE{number}</AccessKeyId><SecretAccessKey>s</SecretAccessKey>"
                f"<SessionToken>t</SessionToken><Expiration>{expiry:%Y-%m-%dT%H:%M:%SZ}</Expiration></Credentials>"
            )
        else:
            result = self.server.identity
        answer = f'<{action}Response xmlns="{_SPACE}"><{action}Result>{result}</{action}Result></{action}Response>'
        self._send(answer.encode(), "text/xml")

    def do_GET(self) -> None:
        if self.path.startswith("/code"):
            self._send(CODE, "application/zip")
            return
        path, _, query = self.path.partition("?")
        if path.rstrip("/").endswith("/functions"):
            self._list_functions(int(parse_qs(query).get("Marker", ["0"])[0]))
            return
        self.server.seen.append(("", "GetFunction"))
        digest = base64.b64encode(hashlib.sha256(CODE).digest()).decode()
        found = {
            "Code": {"Location": f"{self.server.code or self.server.url}/code?X-Amz-Signature=0"},
            "Configuration": {"CodeSha256": digest},
        }
        self._send(json.dumps(found).encode(), "application/json")

    def _list_functions(self, number: int) -> None:
        """Send a page with one function, which has version *number*, and refuse a key that was used for another page."""
        key = self._key()
        if (key, "ListFunctions") in self.server.seen:
            self._send(b'{"__type": "ExpiredTokenException"}', "application/json", status=403)
            return
        self.server.seen.append((key, "ListFunctions"))
        arn = f"arn:aws:lambda:eu-west-1:123456789012:function:f:{number}"
        layers = [{"Arn": f"arn:aws:lambda:eu-west-1:123456789012:layer:common:{number}"}]
        row = {"FunctionName": "f", "FunctionArn": arn, "Version": str(number), "Layers": layers}
        page = {"Functions": [row]} | ({"NextMarker": str(number + 1)} if number < PAGES - 1 else {})
        self._send(json.dumps(page).encode(), "application/json")

    def _key(self) -> str:
        return self.headers.get("Authorization", "").partition("Credential=")[2].partition("/")[0]

    def _send(self, content: bytes, kind: str, *, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - named by the base class
        pass


def make_certificate(path: Path) -> Path:
    """Write a private key, and a certificate of 127.0.0.1 that is its own authority, to *path*, and return it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "lamina tests")])
    now = dt.datetime.now(tz=dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return path
