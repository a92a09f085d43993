"""
Parse index pages (PEP 691 JSON, PEP 503 HTML) while they arrive, with limits for every size.

A server can send anything, so no page is in memory as a whole, and the time is linear in the size of the page. CPython's
`html.parser` needs quadratic time for some pages, and a JSON document as objects needs ten times the memory of its text.
"""

from __future__ import annotations

import codecs
import json
import re
import zlib
from functools import cache
from html import unescape
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote

from lamina.core.frozen import frozen
from lamina.core.toml import read_data
from lamina.fetch.responses import LARGEST_FILE_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_CHARSET = re.compile(r";\s*charset\s*=\s*\"?([^\s;\"]+)", re.IGNORECASE)
# pip accepts a hash at any position of the fragment, such as `#egg=name&sha256=…`.
_SHA256 = re.compile(r"(?:^|&)sha256=([0-9a-f]{64})(?:&|$)", re.IGNORECASE)
_HEXADECIMAL = re.compile(r"[0-9a-f]{64}")
# Encodings of host names and string literals: their decoders raise errors, or need quadratic time, for other text.
_ENCODINGS_OF_PARTS = frozenset({"idna", "punycode", "raw-unicode-escape", "unicode-escape"})
_SPACE = re.compile(r"[ \t\n\r]*")
_START = re.compile(r"<(?:a|base)(?=[\s/])", re.IGNORECASE)
# The atomic group makes a tag without end fail in one pass.
_TAG = re.compile(r"<(a|base)((?>[^>\"']+|\"[^\"]*\"|'[^']*')*+)>", re.IGNORECASE)
_UNQUOTED_TAG = re.compile(r"<(a|base)([^>]*+)>", re.IGNORECASE)
_ATTRIBUTE = re.compile(r"([^\s\"'>/=]+)(?:\s*=\s*(\"[^\"]*\"|'[^']*'|[^\s\"'>]*))?")
_LONGEST_START = len("<base")
# The text that is parsed at once, and the longest HTML tag, in characters.
_STEP = 1 << 16


@frozen
class PageLimits:
    """The limits for one index page; data/index.toml gives the reasons."""

    most_bytes: int
    """The size of the page in bytes, compressed and decompressed."""
    most_files: int
    most_seconds: int
    """The time for requesting and reading the page, in seconds, with all attempts."""
    longest_value: int
    """The length of one value in a JSON page, in characters."""


@cache
def limits() -> PageLimits:
    """Return the limits in data/index.toml."""
    row = read_data("index.toml")["page"]
    return PageLimits(**{name: row[name] for name in PageLimits.__annotations__})


class PageLimitError(ValueError):
    """An index page exceeds a limit."""


class LinkRow(NamedTuple):
    """One file that a page lists. Its URL is resolved only on demand, because a page lists thousands of files."""

    filename: str
    url: str
    """The URL as written on the page; it may be relative, and may contain credentials."""
    size: int | None
    """The size in bytes, if the page states one that lamina can download."""


@frozen
class Listing:
    """The files that one page lists."""

    base: str | None
    """The URL in the page's ``base`` tag, or ``None``."""
    by_hash: dict[str, LinkRow]
    without_hash: tuple[LinkRow, ...]


def parse(chunks: Iterable[bytes], media_type: str, *, encoding: str = "") -> Listing:
    """
    Return the files on the page with the body *chunks*, whose headers have the content type *media_type* and *encoding*.

    Links and files that are invalid by themselves are left out. Raises `ValueError` if the page is invalid, and
    `PageLimitError` if it exceeds a limit.
    """
    kind, _, _ = media_type.partition(";")
    found = _CHARSET.search(media_type)
    texts = _steps(_decompressed(_bounded(chunks), encoding), found[1] if found else "utf-8")
    first = next((text for text in texts if text.strip()), "")
    is_json = kind.strip().lower().endswith("json") or first.lstrip()[:1] == "{"
    texts = chain([first], texts)
    base: str | None = None
    by_hash: dict[str, LinkRow] = {}
    without: list[LinkRow] = []
    for item in _json_items(texts) if is_json else _html_items(texts):
        if isinstance(item, str):
            base = item if base is None else base
            continue
        sha256, row = item
        # Unprintable characters could control a terminal, and cannot be part of a URL or a file name.
        if not (row.filename + row.url).isprintable():
            continue
        if sha256 is None:
            without.append(row)
        else:
            by_hash[sha256] = row
        if len(by_hash) + len(without) > limits().most_files:
            raise PageLimitError(f"it lists more than {limits().most_files:,} files")
    # Read the rest, so that an incomplete transfer is an error, and the connection can be used again.
    for _ in texts:
        pass
    return Listing(base=base, by_hash=by_hash, without_hash=tuple(without))


def _steps(chunks: Iterable[bytes], charset: str) -> Iterator[str]:
    """Decode *chunks*, and yield texts of about the length in which they are parsed. What cannot be decoded does not matter."""
    decoder = codecs.getincrementaldecoder(_text_encoding(charset))("replace")
    held = bytearray()
    for chunk in _bounded(chunks):
        held += chunk
        if len(held) >= _STEP:
            yield decoder.decode(bytes(held))
            held.clear()
    yield decoder.decode(bytes(held), final=True)


def _text_encoding(charset: str) -> str:
    """Return the name of the encoding *charset*, or UTF-8 if no page can have it: the name is the server's."""
    try:
        # Raises an error for Python's other codecs, such as `hex` and `undefined`.
        "".encode(charset)
        name = codecs.lookup(charset).name
    except (LookupError, ValueError):
        return "utf-8"
    return "utf-8" if name in _ENCODINGS_OF_PARTS else name


def _decompressed(chunks: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    """Yield the content of *chunks* in small parts. Raises `ValueError` if it is damaged, or *encoding* is unknown."""
    if encoding.lower() in {"", "identity"}:
        yield from chunks
        return
    if encoding.lower() not in {"gzip", "x-gzip"}:
        raise ValueError("it has an encoding that lamina did not ask for")
    decoder = zlib.decompressobj(wbits=31)
    for chunk in chunks:
        rest = chunk
        while rest:
            if decoder.eof:
                decoder = zlib.decompressobj(wbits=31)
            try:
                yield decoder.decompress(rest, _STEP)
            except zlib.error as error:
                raise ValueError("it is not gzip") from error
            rest = decoder.unconsumed_tail or decoder.unused_data
    if not decoder.eof:
        raise ValueError("it is not complete")


def _bounded(chunks: Iterable[bytes]) -> Iterator[bytes]:
    received = 0
    for chunk in chunks:
        received += len(chunk)
        if received > limits().most_bytes:
            raise PageLimitError(f"it has more than {limits().most_bytes:,} bytes")
        yield chunk


class _JsonReader:
    """The values of a JSON document, read one after the other."""

    def __init__(self, texts: Iterator[str]) -> None:
        self._texts = texts
        self._text = ""
        self._at = 0
        self._decoder = json.JSONDecoder()

    def next_is(self, wanted: str) -> bool:
        """Skip white space, and return whether *wanted*, one character, follows; if so, skip it too."""
        if self._text.startswith(wanted, self._at):
            self._at += 1
            return True
        while True:
            self._at = _SPACE.match(self._text, self._at).end()  # type: ignore[union-attr]  # it matches anywhere
            if self._at < len(self._text):
                found = self._text[self._at] == wanted
                self._at += found
                return found
            if not self._grow():
                return False

    def expect(self, wanted: str) -> None:
        """Skip *wanted*. Raises `ValueError` if something else follows."""
        if not self.next_is(wanted):
            raise ValueError(f"it has no `{wanted}` where JSON needs one")

    def value(self) -> object:
        """Return the next value. Raises `ValueError` if there is none, or it is too long or too deep."""
        self.next_is("\0")
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text, self._at)
            except RecursionError:
                raise ValueError("it is nested too deeply") from None
            except ValueError:
                if not self._grow():
                    raise
                continue
            # A number at the end of the text may continue.
            if end == len(self._text) and self._grow():
                continue
            self._at = end
            return value

    def _grow(self) -> bool:
        """Append at least as much text as there is unread, and return whether there was any."""
        self._text = self._text[self._at :]
        self._at = 0
        if len(self._text) > limits().longest_value:
            raise PageLimitError(f"it has a value of more than {limits().longest_value:,} characters")
        parts = [self._text]
        wanted = max(1, len(self._text))
        for text in self._texts:
            parts.append(text)
            wanted -= len(text)
            if wanted <= 0:
                break
        self._text = "".join(parts)
        return len(parts) > 1


def _json_items(texts: Iterator[str]) -> Iterator[tuple[str | None, LinkRow]]:
    """Yield the SHA-256, or ``None``, and the row of each file of a PEP 691 page."""
    reader = _JsonReader(texts)
    reader.expect("{")
    is_listing = False
    while True:
        key = reader.value()
        reader.expect(":")
        if key != "files":
            reader.value()
        else:
            is_listing = True
            reader.expect("[")
            if not reader.next_is("]"):
                while True:
                    if (item := _json_item(reader.value())) is not None:
                        yield item
                    if not reader.next_is(","):
                        break
                reader.expect("]")
        if not reader.next_is(","):
            break
    reader.expect("}")
    if not is_listing:
        raise ValueError("it has no `files`")


def _json_item(file: object) -> tuple[str | None, LinkRow] | None:
    if not isinstance(file, dict):
        return None
    filename, url, hashes, size = file.get("filename"), file.get("url"), file.get("hashes"), file.get("size")
    if not isinstance(filename, str) or not isinstance(url, str):
        return None
    found = hashes.get("sha256") if isinstance(hashes, dict) else None
    sha256 = found.lower() if isinstance(found, str) else ""
    row = LinkRow(filename, url, size if type(size) is int and 0 <= size <= LARGEST_FILE_BYTES else None)
    return (sha256 if _HEXADECIMAL.fullmatch(sha256) else None), row


def _html_items(texts: Iterator[str]) -> Iterator[tuple[str | None, LinkRow] | str]:
    """Yield the SHA-256, or ``None``, and the row of each link of a PEP 503 page, and the URL of each ``base`` tag."""
    for name, link in _html_links(texts):
        if name == "base":
            yield link
            continue
        target, _, fragment = link.strip().partition("#")
        row = LinkRow(unquote(target.partition("?")[0].rsplit("/", 1)[-1]), target, None)
        found = _SHA256.search(fragment)
        yield (found[1].lower() if found else None), row


def _html_links(texts: Iterator[str]) -> Iterator[tuple[str, str]]:
    """Yield the lower-case name and the ``href`` of each ``a`` and ``base`` tag."""
    rest = ""
    # The offset up to which tags end at the first `>`, even between quotes.
    unquoted = 0
    for text in chain(_without_comments(texts), [None]):
        rest += text or ""
        at = 0
        while (start := _START.search(rest, at)) is not None:
            at = start.start()
            tag = (_TAG if at >= unquoted else _UNQUOTED_TAG).match(rest, at)
            if tag is None and text is not None and len(rest) - at < _STEP:
                break
            if tag is None and at >= unquoted:
                # A quote without its second half must not hide all links after it, or be searched for again and again.
                unquoted, tag = len(rest), _UNQUOTED_TAG.match(rest, at)
            if tag is None:
                at = len(rest)
                break
            at = tag.end()
            values = {key.lower(): value for key, value in reversed(_ATTRIBUTE.findall(tag[2]))}
            if href := unescape(values.get("href", "").strip("\"'")):
                yield tag[1].lower(), href
        if start is None:
            at = max(at, len(rest) - _LONGEST_START)
        rest, unquoted = rest[at:], unquoted - at


def _without_comments(texts: Iterator[str]) -> Iterator[str]:
    rest, marker = "", "<!--"
    for text in texts:
        rest += text
        at = 0
        parts: list[str] = []
        while (found := rest.find(marker, at)) >= 0:
            if marker == "<!--":
                parts.append(rest[at:found])
                # `<!-->` is a whole comment.
                at, marker = found + len("<!"), "-->"
            else:
                at, marker = found + len("-->"), "<!--"
        end = max(at, len(rest) - len("<!-"))
        if marker == "<!--":
            parts.append(rest[at:end])
        yield "".join(parts)
        rest = rest[end:]
    if marker == "<!--":
        yield rest
