"""Check the names of buckets by AWS's rules, which are in ``data/buckets.toml``."""

from __future__ import annotations

import re

from lamina.core.toml import read_data


def bucket_mistake(name: str) -> str | None:
    """Return what is wrong with *name* as a bucket's name, as a predicate such as "is …"; ``None`` if it is valid."""
    for rule in read_data("buckets.toml")["rule"]:
        if re.fullmatch(rule["pattern"], name, re.DOTALL):
            return str(rule["fact"])
    return None
