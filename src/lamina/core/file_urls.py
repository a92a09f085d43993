"""What a ``file:`` URL means on this machine."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import unquote, urlsplit

__all__ = ["path_of"]


def path_of(url: str) -> Path:
    """Return the path that a ``file:`` *url* names."""
    path = str(urlsplit(url).path)
    if os.name != "nt":
        return Path(unquote(path))
    # Path.from_uri is new in Python 3.13, and elsewhere this import would take longer than all that it is needed for.
    from urllib.request import url2pathname  # noqa: PLC0415

    return Path(url2pathname(path))
