"""Names in the form in which they are compared: of distributions, and of files that a URL names."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit


def normalized(name: str) -> str:
    """Return *name* in its normal form (PEP 503; packaging.python.org, "Names and normalization", read 2026-11)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def path_of(url: str) -> Path:
    """Return the path that a ``file:`` *url* names."""
    path = str(urlsplit(url).path)
    if os.name != "nt":
        return Path(unquote(path))
    # Path.from_uri is new in Python 3.13, and elsewhere this import would take longer than all that it is needed for.
    from urllib.request import url2pathname

    return Path(url2pathname(path))
