"""
Download code from the signed addresses that Lambda returns, with the settings of botocore's clients, so that it works wherever they do.

No error has the address, because it gives access to the code. *doing* completes "cannot …" in the errors.
"""

from __future__ import annotations

import base64
import hashlib
from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from lamina.archive.zip.directory import TAIL_BYTES, locate_directory, read_rows
from lamina.aws.api.connection import CONNECT_SECONDS, READ_SECONDS
from lamina.aws.api.errors import failed
from lamina.core.errors import ArchiveError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_PIECE_BYTES = 1 << 20
_TRY_AGAIN = "check the network connection and any proxy, and run again"
_DIRECTORY_BYTES = 1 << 20
"""More than the central directory of most layers: one of 10,000 files has about 1 MB."""


def save(location: str, destination: Path, *, certificates: str | bool, doing: str) -> str:
    """
    Download from the signed address *location* to *destination*, and return the content's SHA-256 in base64.

    Raises `UnreachableError`.
    """
    digest = hashlib.sha256()
    with destination.open("wb") as file:
        for piece in pieces(location, certificates=certificates, doing=doing):
            digest.update(piece)
            file.write(piece)
    return base64.b64encode(digest.digest()).decode("ascii")


def pieces(location: str, *, certificates: str | bool, doing: str) -> Iterator[bytes]:
    """Yield the content of the signed address *location* in pieces. Raises `UnreachableError`."""
    with _response(location, {}, certificates=certificates, doing=doing) as response:
        yield from response.raw.stream(_PIECE_BYTES)


def unzipped_bytes(location: str, size: int, *, certificates: str | bool, doing: str) -> int | None:
    """
    Return the total unzipped size in bytes of the zip of *size* bytes at the signed address *location*, from its central directory.

    Return ``None`` if the zip has a form that lamina does not support, or an unusually large central directory. Raises `UnreachableError`.
    """
    start = max(0, size - _DIRECTORY_BYTES)
    ranges = {"Range": f"bytes={start}-"}
    with _response(location, ranges, certificates=certificates, doing=doing) as response:
        if response.status_code == HTTPStatus.OK:
            start = 0  # the server ignores ranges
        tail = response.raw.read(size - start)
    try:
        span = locate_directory(tail[-TAIL_BYTES:], total=size, name="layer.zip")
        if span.offset < start:
            return None
        directory = tail[span.offset - start :][: span.length]
        return sum(row.member.size for row in read_rows(directory, span=span, name="layer.zip"))
    except ArchiveError:
        return None


@contextmanager
def _response(location: str, headers: dict[str, str], *, certificates: str | bool, doing: str) -> Iterator[Any]:
    from botocore.awsrequest import AWSRequest
    from botocore.exceptions import BotoCoreError
    from botocore.httpsession import URLLib3Session
    from botocore.utils import get_environ_proxies
    from urllib3.exceptions import HTTPError

    invalid = UnreachableError(f"cannot {doing}: the address in the response is invalid", hint=_TRY_AGAIN)
    if not location.startswith(("https://", "http://")):
        raise invalid
    try:
        proxies = get_environ_proxies(location)
        request = AWSRequest(method="GET", url=location, headers=headers, stream_output=True).prepare()
    except ValueError:
        # The text of the error has a part of the address.
        raise invalid from None
    session = URLLib3Session(verify=certificates, proxies=proxies, timeout=(CONNECT_SECONDS, READ_SECONDS))
    try:
        response = session.send(request)
        if response.status_code not in {HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT}:
            raise UnreachableError(f"cannot {doing}: HTTP status {response.status_code}", hint=_TRY_AGAIN)
        yield response
    except BotoCoreError as error:
        raise failed(error, "its server", doing, otherwise=UnreachableError) from None
    except HTTPError as error:
        raise UnreachableError(
            f"cannot {doing}: the connection ended with {type(error).__name__}", hint=_TRY_AGAIN
        ) from None
    finally:
        session.close()
