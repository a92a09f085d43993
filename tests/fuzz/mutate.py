"""
Change valid inputs a little: bytes, text, JSON, responses of servers and zips.

Every function has a random generator as its first argument and makes the same change for the same state of it.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import re
import struct
import tomllib
import warnings
import zipfile
from typing import TYPE_CHECKING, Any

import rtoml

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

    Change = Callable[[Random, bytes], bytes]

_TOKEN = re.compile(r'"[^"\n]*"|\'[^\'\n]*\'|[\w.+-]+|\s+|.', re.DOTALL)
_ROWS = 50
_NUMBERS = (0, 1, 2**15, 2**16 - 1, 2**31, 2**32 - 1, 0xFFFFFFFFFFFFFFFF)
# Fields of the records of a zip, as offset and size, by the record's signature.
_FIELDS = {
    b"PK\3\4": ((4, 2), (6, 2), (8, 2), (14, 4), (18, 4), (22, 4), (26, 2), (28, 2)),
    b"PK\1\2": ((8, 2), (10, 2), (16, 4), (20, 4), (24, 4), (28, 2), (30, 2), (32, 2), (38, 4), (42, 4)),
    b"PK\5\6": ((4, 2), (8, 2), (10, 2), (12, 4), (16, 4), (20, 2)),
}

STRANGE = (
    "",
    "\0",
    "\x1b[31m",
    "\ud7ff\ufeff\u202e",
    "é" * 300,
    "a" * 5_000,
    "a." * 2_000 + "a",
    "[" * 2_000,
    "{" * 2_000,
    '{"a":' * 2_000,
    "-" * 2_000 + "1",
    "9" * 5_000,
    "-1",
    "1e999",
    "NaN",
    "null",
    "true",
    "[]",
    "{}",
    '""',
    "../../../etc/passwd",
    "/dev/zero",
    "C:\\x",
    "http://[",
    "http://user:secret@127.0.0.1:99999/",
    "file:///\u0000",
    "ftp://127.0.0.1/x",
    "<!--" * 2_000,
    "</a " * 2_000,
    "<![CDATA[" * 500,
    "&#x110000;" * 500,
    "2026-13-45",
    "sha256:0",
    "%00%ff",
    "\r\n\r\n",
    "(" * 500,
    "python_version < '3'" + " and python_version < '3'" * 300,
)
"""Texts that readers of many formats have been confused by."""

NESTED = tuple(mark * 100_000 for mark in ("[", '{"a":'))
"""JSON that is nested more deeply than any Python can parse."""

_CHARSETS = (
    "hex",
    "zlib",
    "rot13",
    "undefined",
    "idna",
    "punycode",
    "unicode_escape",
    "utf-16",
    "utf-7",
    "unknown",
    "\0",
)
_PLACES = ("", "/moved", "../../moved", "//[", "//127.0.0.1:9/x", "//127.0.0.1:99999/x", "file:///dev/zero", "https:x")
_LENGTHS = ("0", "1", "-1", "1e3", "0x10", "+5", "5, 6", "999999999999", "9" * 5_000, "\xb2")
# No valid time: lamina would wait for it.
_TIMES = ("-1", "0", "1e9", "soon", "Mon, 99 Foo 99999 99:99:99 GMT", "Mon, 01 Jan 99999 00:00:00 GMT", "\xb2")
_HEADERS = {
    "Content-Type": (*(f"text/html; charset={name}" for name in _CHARSETS), "application/json", "text/plain"),
    "Content-Length": _LENGTHS,
    "Content-Encoding": ("gzip", "identity", "br, zstd"),
    "Content-Range": ("bytes 5-9/10", "bytes 0-0/*", f"bytes -/{'9' * 5_000}"),
    "Transfer-Encoding": ("chunked", "gzip, chunked"),
    "Location": _PLACES,
    "Retry-After": _TIMES,
}
_STATUSES = (200, 204, 206, 301, 302, 304, 307, 308, 401, 403, 404, 410, 416, 429, 500, 503, 999)


def raw(chance: Random, data: bytes) -> bytes:
    """Change some bytes of *data*."""
    where = chance.randrange(len(data) + 1)
    length = chance.choice((1, 2, 8, 100, len(data)))
    piece = data[where : where + length]
    changes: tuple[Callable[[], bytes], ...] = (
        lambda: data[:where] + bytes([piece[0] ^ (1 << chance.randrange(8))]) + data[where + 1 :] if piece else b"",
        lambda: data[:where],
        lambda: data[:where] + data[where + length :],
        lambda: data[:where] + piece * chance.choice((2, 100)) + data[where + length :],
        lambda: data[:where] + chance.randbytes(len(piece)) + data[where + length :],
        lambda: data[:where] + chance.choice(STRANGE).encode(errors="replace") + data[where:],
    )
    return chance.choice(changes)()


def text(chance: Random, data: bytes) -> bytes:
    """Change one to four tokens of the text *data*: words, strings, signs and blanks."""
    tokens = _TOKEN.findall(data.decode(errors="surrogateescape"))
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        if not tokens:
            break
        where = chance.randrange(len(tokens))
        other = chance.choice(tokens)
        length = chance.choice((1, 3, 20))
        piece = tokens[where : where + length]
        strange = chance.choice(STRANGE)
        quoted = tokens[where][:1] + strange + tokens[where][:1] if tokens[where][:1] in {'"', "'"} else strange
        tokens[where : where + length] = chance.choice(
            (
                [],
                piece * 2,
                piece[::-1],
                [other, *piece[1:]],
                [quoted, *piece[1:]],
                [quoted, *piece],
                [strange, *piece[1:]],
            )
        )
    return "".join(tokens).encode(errors="surrogateescape")


def document(chance: Random, data: bytes) -> bytes:
    """Change one value of the JSON *data* to a value of any type; change text that is no JSON as text."""
    try:
        root: Any = [json.loads(data)]
    except ValueError:
        return text(chance, data)
    nodes = [(root, 0)]
    for parent, key in nodes:
        value = parent[key]
        if isinstance(value, dict | list):
            nodes += [(value, inner) for inner in (value if isinstance(value, dict) else range(len(value)))]
    parent, key = chance.choice(nodes)
    other, index = chance.choice(nodes)
    values: tuple[Any, ...] = (
        None,
        True,
        0,
        -1,
        2**63,
        1e308,
        "",
        [],
        {},
        [None],
        {"": None},
        chance.choice(STRANGE),
        other[index],
    )
    # A copy, because a value inside itself cannot be written.
    parent[key] = json.loads(json.dumps(chance.choice(values)))
    return json.dumps(root[0]).encode()


def body(chance: Random, data: bytes) -> bytes:
    """Change the JSON *data*, or replace it by something else."""
    kind = chance.random()
    if kind < 0.3:
        return chance.choice(NESTED if kind < 0.15 else STRANGE).encode(errors="replace")
    return chance.choice((document, raw))(chance, data)


def head(chance: Random, data: bytes) -> bytes:
    """Change the status of the response with the head *data*, or set one to three of its headers."""
    status, *lines = data.split(b"\r\n")
    if chance.random() < 0.3:
        status = b"HTTP/1.1 %d X" % chance.choice(_STATUSES)
    for _ in range(chance.randint(1, 3)):
        name = "Content-Type" if chance.random() < 0.3 else chance.choice(sorted(_HEADERS))
        values = _HEADERS[name] if chance.random() < 0.8 else STRANGE
        if chance.random() < 0.9:
            lines = [line for line in lines if not line.startswith(name.encode())]
        lines.append(f"{name}: {chance.choice(values)}".encode(errors="replace"))
    return b"\r\n".join((status, *lines))


def media_type(chance: Random, data: bytes) -> bytes:
    """Change only the media type of the response with the head *data*, so that its body is read."""
    changed = f"Content-Type: {chance.choice(_HEADERS['Content-Type'])}".encode()
    return re.sub(rb"Content-Type: [^\r]*", lambda _: changed, data)


def page(chance: Random, data: bytes) -> bytes:
    """Put many changed files before the file on the index page *data*, which remains valid if a reader leaves them out."""
    if not data.startswith(b"{"):
        return b"".join(text(chance, data) for _ in range(_ROWS)) + data
    listing = json.loads(data)
    row = json.dumps(listing["files"][0]).encode()
    listing["files"][:0] = [json.loads(document(chance, row)) for _ in range(_ROWS)]
    return json.dumps(listing).encode()


def toml(chance: Random, data: bytes) -> bytes:
    """Change one value of the TOML *data* to a value of any type, or change it as text."""
    if chance.random() < 0.3:
        return text(chance, data)
    changed = json.loads(document(chance, json.dumps(tomllib.loads(data.decode())).encode()))
    try:
        return rtoml.dumps(changed).encode(errors="replace")
    except (TypeError, ValueError, OverflowError, rtoml.TomlSerializationError):
        # TOML has no tables inside some values, and no numbers of more than 64 bits.
        return text(chance, data)


def archive(chance: Random, data: bytes) -> bytes:
    """Change the zip *data*: a field of a record, bytes anywhere, or the names and contents of members."""
    return chance.choice((_field, _members, _members, raw))(chance, data)


def _field(chance: Random, data: bytes) -> bytes:
    found = list(re.finditer(rb"PK(?:\x01\x02|\x03\x04|\x05\x06)", data))
    changed = bytearray(data)
    for _ in range(chance.randint(1, 3)):
        match = chance.choice(found)
        offset, size = chance.choice(_FIELDS[match[0]])
        where = match.start() + offset
        old = int.from_bytes(data[where : where + size], "little")
        new = chance.choice((*_NUMBERS, old + 1, old - 1, old * 2, chance.getrandbits(16)))
        changed[where : where + size] = struct.pack("<Q", new & 0xFFFFFFFFFFFFFFFF)[:size]
    return bytes(changed)


def _members(chance: Random, data: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(data)) as source:
        members = [(row, source.read(row)) for row in source.infolist()]
    where = chance.randrange(len(members))
    row, content = members[where]
    name = chance.choice(
        (
            *(f"{row.filename}{suffix}" for suffix in ("/", "/x", "\\x", "\u0301", ".pyc", " ", ":x")),
            *(
                f"{prefix}{row.filename}"
                for prefix in ("../", "/", "./", "x//", "alpha-1.0.data/purelib/", "Alpha-1.0.data/x/")
            ),
            row.filename.upper(),
            chance.choice(members)[0].filename,
            chance.choice(STRANGE).replace("\0", "") or "x",
        )
    )
    renamed = zipfile.ZipInfo(name)
    renamed.external_attr, renamed.compress_type = (
        chance.choice((row.external_attr, 0o120777 << 16, 0o010644 << 16, 0, 0xFFFFFFFF)),
        chance.choice((0, 8, 12, 14)),
    )
    changes: tuple[Callable[[], None], ...] = (
        lambda: members.__delitem__(where),
        lambda: members.append((renamed, content)),
        lambda: members.__setitem__(where, (renamed, content)),
        lambda: members.__setitem__(where, (row, text(chance, content))),
        lambda: members.__setitem__(where, (row, raw(chance, content))),
    )
    chance.choice(changes)()
    if chance.random() < 0.6:
        # Otherwise nearly all changes end at the comparison with RECORD.
        members = [(each, _record(members) if each.filename.endswith("/RECORD") else inner) for each, inner in members]
    stream = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(stream, "w") as target:
        # Two members may have one name.
        warnings.simplefilter("ignore")
        for each, inner in members:
            target.writestr(each, inner)
    return stream.getvalue()


def _record(members: Sequence[tuple[zipfile.ZipInfo, bytes]]) -> bytes:
    """Return a RECORD that fits *members*."""
    rows = []
    for row, content in members:
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        is_record = row.filename.endswith("/RECORD")
        rows.append((row.filename, "" if is_record else f"sha256={digest}", "" if is_record else str(len(content))))
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows(rows)
    return stream.getvalue().encode()
