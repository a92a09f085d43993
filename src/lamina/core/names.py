"""The normal form of a distribution's name, in which names are compared."""

from __future__ import annotations

import re

__all__ = ["normalized"]


def normalized(name: str) -> str:
    """Return *name* in its normal form (PEP 503; packaging.python.org, "Names and normalization", read 2026-11)."""
    return re.sub(r"[-_.]+", "-", name).lower()
