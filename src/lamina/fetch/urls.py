"""Parse the URLs of indexes and files. `lamina.core.urls` separates what is secret in them."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from lamina.core.errors import FetchError
from lamina.core.names import path_of

if TYPE_CHECKING:
    from pathlib import Path

    from lamina.core.values import Pin

_PORTS = {"http": 80, "https": 443}

Origin = tuple[str, str, int]
"""The scheme, host and port of a URL; credentials are valid for one origin."""


def is_remote(url: str) -> bool:
    """Return whether *url* uses HTTP or HTTPS."""
    return url[:8].lower().startswith(("http://", "https://"))


def local_path(pin: Pin) -> Path | None:
    """
    Return the path of the local file that *pin* refers to, or ``None`` if the file has to be downloaded.

    Raises `FetchError` if the path is invalid.
    """
    try:
        path = path_of(pin.url) if pin.path is None and pin.url is not None and pin.url[:5] == "file:" else pin.path
    except ValueError:
        raise invalid_place(pin) from None
    if path is not None and "\0" in str(path):
        raise invalid_place(pin)
    return path


def invalid_place(pin: Pin) -> FetchError:
    """Return an error about the URL or path of *pin*, without quoting it, because a part of it may be a password."""
    return FetchError(
        f"the lock has an invalid URL or path for `{pin.filename}`",
        hint="regenerate the lock, and review where it is from",
    )


def origin(url: str) -> Origin:
    """Return the scheme, host and port of *url*; the port is 0 if *url* has none and its scheme has no default."""
    parts = urlsplit(url)
    scheme = parts.scheme.lower()
    return scheme, (parts.hostname or "").lower(), parts.port or _PORTS.get(scheme, 0)
