"""Read JSON from web services that are not a package index, with limits of size and time."""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from lamina.core.errors import DownloadError
from lamina.core.urls import redacted
from lamina.fetch.http import BrokenTransferError, Client
from lamina.fetch.responses import ServerTime

if TYPE_CHECKING:
    from collections.abc import Iterator

    from urllib3 import BaseHTTPResponse

_CHUNK = 1 << 16
_MISSING = frozenset({404, 410})
_MOST_SECONDS = 120
"""The time for all attempts at one request."""


def read_json(client: Client, url: str, *, most_bytes: int, body: object = None) -> Any:
    """
    Return the JSON value at *url*, or ``None`` if the service does not have it (HTTP 404 or 410). Send *body* as JSON if it is given.

    Temporary failures are repeated. Raises `DownloadError` if the service cannot be reached, returns an error, or returns anything else
    but JSON of up to *most_bytes* bytes, and `AccessDeniedError` if it requires credentials.
    """
    attempts = client.attempts(url)
    waited = ServerTime()
    while True:
        try:
            with waited, _sent(client, url, body) as response:
                if response.status == 200:
                    return _parsed(_content(response, url, waited, most_bytes), url)
                if response.status in _MISSING:
                    return None
                if not Client.worth_another(response):
                    raise DownloadError(f"could not read `{redacted(url)}`: the server returned HTTP {response.status}")
                pause, fact = attempts.pause(response), f"the server returned HTTP {response.status}"
                if (asked := _seconds(response.headers.get("Retry-After", ""))) > _MOST_SECONDS:
                    raise DownloadError(
                        f"could not read `{redacted(url)}`: {fact} and asks to wait {asked:,} seconds",
                        hint="run again later, or ask another database: `--osv`, `--advisories`",
                    )
        except BrokenTransferError as error:
            pause, fact = attempts.pause(error), "the connection broke"
        if waited.seconds + pause > _MOST_SECONDS:
            raise DownloadError(
                f"could not read `{redacted(url)}`: {fact} again and again; lamina waits {_MOST_SECONDS} seconds at most"
            )
        with waited:
            time.sleep(pause)


def _seconds(text: str) -> int:
    """Return the number of seconds in a header; 0 if it has a date, or nothing valid."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0


@contextmanager
def _sent(client: Client, url: str, body: object) -> Iterator[BaseHTTPResponse]:
    headers = {"Accept": "application/json"}
    if body is None:
        with client.get(url, headers) as (response, _):
            yield response
        return
    content = json.dumps(body, separators=(",", ":")).encode()
    with client.post(url, content, {**headers, "Content-Type": "application/json"}) as response:
        yield response


def _content(response: BaseHTTPResponse, url: str, waited: ServerTime, most_bytes: int) -> bytes:
    if (encoding := response.headers.get("Content-Encoding", "identity").strip().lower()) not in {"", "identity"}:
        raise DownloadError(
            f"could not read `{redacted(url)}`: the answer is compressed (`{encoding}`), which lamina did not ask for",
            hint="configure the server to send JSON as it is if the request says `Accept-Encoding: identity`",
        )
    content = bytearray()
    began = time.monotonic()
    for chunk in response.stream(_CHUNK, decode_content=False):
        content += chunk
        if len(content) > most_bytes:
            raise DownloadError(f"could not read `{redacted(url)}`: the answer has more than {most_bytes:,} bytes")
        if waited.seconds + time.monotonic() - began > _MOST_SECONDS:
            raise _too_slow(url)
    return bytes(content)


def _parsed(content: bytes, url: str) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        raise DownloadError(
            f"could not read `{redacted(url)}`: the answer is not JSON",
            hint="check the address: the server may have returned a sign-in page",
        ) from None


def _too_slow(url: str) -> DownloadError:
    return DownloadError(f"could not read `{redacted(url)}`: the answer was not complete after {_MOST_SECONDS} seconds")
