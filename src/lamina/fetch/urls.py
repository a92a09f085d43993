"""Parse URLs, and remove the credentials in them."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit, urlunsplit

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
    """Return the path of the local file that *pin* refers to, or ``None`` if the file has to be downloaded."""
    if pin.path is not None:
        return pin.path
    return path_of(pin.url) if pin.url is not None and pin.url.startswith("file:") else None


def origin(url: str) -> Origin:
    """Return the scheme, host and port of *url*; the port is 0 if *url* has none and its scheme has no default."""
    parts = urlsplit(url)
    scheme = parts.scheme.lower()
    return scheme, (parts.hostname or "").lower(), parts.port or _PORTS.get(scheme, 0)


def split_userinfo(url: str) -> tuple[str, str | None, str | None]:
    """
    Split *url* into the URL without userinfo, the user name, and the password.

    The user name and the password are ``None`` if absent.
    """
    parts = urlsplit(url)
    userinfo, at, host = parts.netloc.rpartition("@")
    if not at:
        return url, None, None
    user, _, password = userinfo.partition(":")
    clean = urlunsplit((parts.scheme, host, parts.path, parts.query, parts.fragment))
    return clean, unquote(user) or None, unquote(password) or None


def redacted(url: str) -> str:
    """Return *url* without userinfo, query and fragment, which may contain secrets, for use in messages."""
    parts = urlsplit(split_userinfo(url)[0])
    return urlunsplit((parts.scheme, parts.netloc, parts.path, "", ""))
