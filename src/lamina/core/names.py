"""Normalise the names of distributions, make valid names of functions, and convert ``file:`` URLs to paths."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

TYPE_CHECKING = False  # a build with nothing to do does not import `typing`
if TYPE_CHECKING:
    from collections.abc import Container

_LONGEST_FUNCTION_NAME = 64  # Lambda, CreateFunction (2026-11)


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


def valid_function_name(name: str) -> str:
    """Return *name* with dashes in place of characters that the name of a Lambda function cannot have."""
    return re.sub(r"[^A-Za-z0-9_]+", "-", name).strip("-")[:_LONGEST_FUNCTION_NAME].strip("-") or "function"


def unused(name: str, taken: Container[str]) -> str:
    """Return *name*, with a number if *taken*, which are in lower case, contain it."""
    candidate, number = name, 2
    while candidate.lower() in taken:
        candidate, number = f"{name[: _LONGEST_FUNCTION_NAME - 4]}-{number}", number + 1
    return candidate
