"""Parse the URLs of indexes and files. `lamina.core.urls` separates what is secret in them."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from lamina.core.names import path_of
from lamina.core.urls import redacted, split_userinfo

if TYPE_CHECKING:
    from pathlib import Path

    from lamina.core.values import Pin

__all__ = ["Origin", "is_remote", "local_path", "origin", "redacted", "split_userinfo"]

_PORTS = {"http": 80, "https": 443}

Origin = tuple[str, str, int]
"""The scheme, host and port of a URL; credentials are valid for one origin."""


def is_remote(url: str) -> bool:
    """Return whether *url* uses HTTP or HTTPS."""
    return url[:8].lower().startswith(("http://", "https://"))


def local_path(pin: Pin) -> Path | None:
    """Return the path of the local file that *pin* refers to, or ``None`` if the file has to be downloaded."""
    if pin.path is not None:
        return pin.path
    return path_of(pin.url) if pin.url is not None and pin.url.startswith("file:") else None


def origin(url: str) -> Origin:
    """Return the scheme, host and port of *url*; the port is 0 if *url* has none and its scheme has no default."""
    parts = urlsplit(url)
    scheme = parts.scheme.lower()
    return scheme, (parts.hostname or "").lower(), parts.port or _PORTS.get(scheme, 0)
