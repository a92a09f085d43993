"""Decide from its source alone whether a module is too large to be compiled and scanned. Only this module counts tokens."""

from __future__ import annotations

import re
from functools import cache
from typing import Any, NamedTuple

from lamina.core.toml import read_data

_TOKEN = re.compile(
    rb'''"""(?:\\.|[^\\])*?"""|'''
    rb"""'''(?:\\.|[^\\])*?'''|"""
    rb""""(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|"""
    rb"#[^\n]*|[\w\x80-\xff]+|[^\w\s]|\n",
    re.DOTALL,
)
_BYTES_OF_A_TOKEN = 16

TOO_LARGE = "the source is too large"
"""Why a module that is too large is not compiled."""


@cache
def _bounds() -> dict[str, Any]:
    data: dict[str, Any] = read_data("bytecode.toml")
    return {**data["module"], **data["process"]}


def most_tokens() -> int:
    """Return the largest size of a source that is compiled. The keys of what the store keeps of sources contain it."""
    return int(_bounds()["most"])


class ProcessBounds(NamedTuple):
    """The bounds of a process that compiles and scans. Meeting one is an error."""

    memory_bytes: int
    seconds: int
    """How long it may take for one source."""

    @classmethod
    def default(cls) -> ProcessBounds:
        """Return the bounds in ``data/bytecode.toml``."""
        return cls(memory_bytes=int(_bounds()["memory_bytes"]), seconds=int(_bounds()["seconds"]))


def is_too_large(source: bytes, most: int | None = None) -> bool:
    """Return whether the size of *source*, as ``data/bytecode.toml`` defines it, is greater than *most* (default: that of the file)."""
    most = most_tokens() if most is None else most
    if len(source) + len(source) // _BYTES_OF_A_TOKEN <= most:
        return False  # no token has less than a byte, so nothing needs to be counted
    left = most - len(source) // _BYTES_OF_A_TOKEN
    for token in _TOKEN.finditer(source):
        left -= source[token.start()] != 35  # a number sign: a comment
        if left < 0:
            return True
    return left < 0
