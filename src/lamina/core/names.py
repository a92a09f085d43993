"""Normalise distribution names, and convert ``file:`` URLs to paths."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit


def normalized(name: str) -> str:
    """Return the distribution *name*, normalised (PEP 503; packaging.python.org, "Names and normalization", 2026-11)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def path_of(url: str) -> Path:
    """Return the local path of a ``file:`` *url*."""
    path = str(urlsplit(url).path)
    if os.name != "nt":
        return Path(unquote(path))
    # Path.from_uri needs Python 3.13. This import is slow, so only Windows, which needs it, pays for it.
    from urllib.request import url2pathname

    return Path(url2pathname(path))
