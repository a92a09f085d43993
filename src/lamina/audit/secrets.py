"""Recognise secrets by their form, without a guess from names. Only this module reads ``data/secrets.toml``."""

from __future__ import annotations

import codecs
import re
from functools import cache
from typing import TYPE_CHECKING

from lamina.core.toml import read_data

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# Placeholders such as `ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx` repeat a few characters. The body of a random secret of 20
# characters or more almost never does.
_FEWEST_CHARACTERS = 12


def secrets_in(text: str) -> Iterator[tuple[str, int]]:
    """
    Yield what each secret in *text* is, such as ``a private key``, and its line, starting with 1, in the order of the text.

    The secret itself is not returned.
    """
    found = sorted(
        (match.start(), name)
        for name, words, pattern in _forms()
        if any(word in text for word in words)
        for match in pattern.finditer(text)
        if "EXAMPLE" not in match[0] and len(set(match[0])) >= _FEWEST_CHARACTERS
    )
    line, counted = 1, 0
    for start, name in found:
        line, counted = line + text.count("\n", counted, start), start
        yield name, line


def text_of(content: bytes) -> str:
    """Return the text of a file, to search it: of UTF-16 with a byte order mark, or else of UTF-8, which need not be valid."""
    is_utf_16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return content.decode("utf-16" if is_utf_16 else "utf-8", "replace")


def forms_key() -> Sequence[object]:
    """Return JSON values that change with what `secrets_in` finds."""
    return [(name, words, pattern.pattern) for name, words, pattern in _forms()]


@cache
def _forms() -> tuple[tuple[str, tuple[str, ...], re.Pattern[str]], ...]:
    rows = read_data("secrets.toml")["secret"]
    return tuple((row["name"], tuple(row["words"]), re.compile(row["pattern"])) for row in rows)
