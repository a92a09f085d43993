"""Tell URLs and the secrets in them apart."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit, urlunsplit

from lamina.core.names import path_of

if TYPE_CHECKING:
    from pathlib import Path

    from lamina.core.values import Pin

_PORTS = {"http": 80, "https": 443}

Origin = tuple[str, str, int]
"""Scheme, host and port: whom credentials belong to."""


def is_remote(url: str) -> bool:
    """Return whether *url* needs the network."""
    return url[:8].lower().startswith(("http://", "https://"))


def local_path(pin: Pin) -> Path | None:
    """Return where *pin* is on this machine, or ``None`` where it has to be downloaded."""
    if pin.path is not None:
        return pin.path
    return path_of(pin.url) if pin.url is not None and pin.url.startswith("file:") else None


def origin(url: str) -> Origin:
    """Return the scheme, host and port of *url*; the port is 0 where neither the URL nor its scheme tells one."""
    parts = urlsplit(url)
    scheme = parts.scheme.lower()
    return scheme, (parts.hostname or "").lower(), parts.port or _PORTS.get(scheme, 0)


def split_userinfo(url: str) -> tuple[str, str | None, str | None]:
    """Return *url* without its userinfo, and the user name and password that were in it."""
    parts = urlsplit(url)
    userinfo, at, host = parts.netloc.rpartition("@")
    if not at:
        return url, None, None
    user, _, password = userinfo.partition(":")
    clean = urlunsplit((parts.scheme, host, parts.path, parts.query, parts.fragment))
    return clean, unquote(user) or None, unquote(password) or None


def redacted(url: str) -> str:
    """Return *url* fit for messages: without userinfo, query and fragment, where secrets are kept."""
    parts = urlsplit(split_userinfo(url)[0])
    return urlunsplit((parts.scheme, parts.netloc, parts.path, "", ""))
