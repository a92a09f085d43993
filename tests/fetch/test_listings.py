from __future__ import annotations

import gzip
import json
import tracemalloc
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.core.errors import IndexLookupError
from lamina.fetch.listings import LinkRow, Listing, PageLimitError, limits, parse
from lamina.fetch.responses import LARGEST_FILE_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lamina.fetch.index import PackageIndex
    from loopback import IndexServer

JSON = "application/vnd.pypi.simple.v1+json"
HTML = "text/html"
HASH = "ab" * 32


def links(page: str | bytes, media_type: str = HTML, *, step: int = 1 << 16) -> list[tuple[str | None, str]]:
    """Return the hash and URL of each file on *page*, which arrives in chunks of *step* bytes."""
    listing = listed(page, media_type, step=step)
    return [(sha256, row.url) for sha256, row in listing.by_hash.items()] + [
        (None, row.url) for row in listing.without_hash
    ]


def listed(page: str | bytes, media_type: str = HTML, *, step: int = 1 << 16) -> Listing:
    content = page.encode() if isinstance(page, str) else page
    return parse((content[at : at + step] for at in range(0, len(content), step)), media_type)


def file(number: int) -> dict[str, object]:
    return {
        "filename": f"a-{number}.whl",
        "url": f"u/a-{number}.whl",
        "hashes": {"sha256": f"{number:064x}"},
        "size": 5,
    }


NUMBERS = st.integers(0, 10**20) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)


@settings(max_examples=25, deadline=None)
@given(
    before=st.dictionaries(st.text(max_size=5).filter(lambda key: key != "files"), VALUES, max_size=3),
    after=VALUES,
    indent=st.none() | st.integers(0, 3),
    count=st.integers(0, 5),
    step=st.integers(1, 40),
)
def test_json_in_pieces(before: dict[str, object], after: object, indent: int | None, count: int, step: int) -> None:
    """A page gives the same files in whatever pieces it arrives, whatever else it has."""
    document = {**before, "files": [file(number) for number in range(count)], "z-after": after}
    page = json.dumps(document, indent=indent)
    expected = {f"{number:064x}": LinkRow(f"a-{number}.whl", f"u/a-{number}.whl", 5) for number in range(count)}

    assert expected == listed(page, JSON, step=step).by_hash
    assert expected == listed(page, JSON).by_hash


@pytest.mark.parametrize("step", [1, 1 << 16])
@pytest.mark.parametrize(
    ("page", "expected"),
    [
        ("<a href=x>", ["x"]),
        ("<A HREF = 'x'>", ["x"]),
        ("<a\nclass='b'\nhref=\"x\"\n>", ["x"]),
        ("<a/href=x><abbr href=y><area href=z>", ["x"]),
        ("<a data-requires-python='>=3.9' href=x>", ["x"]),
        ("<a href=x?a=1&amp;b=2>", ["x?a=1&b=2"]),
        ("<a href=x href=y>", ["x"]),
        ("<a><a href><a href=''>", []),
        ("<!-- <a href=x> --><a href=y>", ["y"]),
        ("<!--><a href=x>", ["x"]),
        ("<!-- <a href=x>", []),
        ("<a href=x><a href='y", ["x"]),
        ("<a title='it's' href='x'>a</a><a href=\"y\">b</a>", ["x", "y"]),
        ('<a title="5" 3" href=x>a</a> <a title=" href=y>b</a>', ["x"]),
        ("a < b <a href=x> <", ["x"]),
        ("", []),
    ],
)
def test_html(page: str, expected: list[str], step: int) -> None:
    """Links are found as browsers find them, in whatever pieces the page arrives."""
    assert expected == [url for _, url in links(page, step=step)]


@pytest.mark.parametrize(
    "repeated",
    [
        "<!--",
        "<a <!-->",
        "</a ",
        "<![CDATA[",
        "<a ",
        "<a '",
        "<a \"'",
        "<a '>",
        '<a ">" ',
        "<base",
        "<",
        "&",
        "<a href=",
        "<?",
    ],
)
def test_html_that_is_slow_to_parse(repeated: str) -> None:
    """The time is linear in the size of a page; quadratic time would be minutes."""
    assert [(None, "x")] == links("<a href=x>" + repeated * 60_000)[:1]


@pytest.mark.parametrize(
    "page",
    [
        "[" * 100_000,
        '{"files": ' + "[" * 100_000,
        '{"a": ' + '{"a":' * 100_000,
        "{",
        "{}",
        "[]",
        "{'files': []}",
        '{"files": [',
        '{"files": [{}',
        '{"files": {}}',
        '{"files": [1 2]}',
        '{"size": 1' + "0" * 5_000 + "}",
        "<html>Sign in</html>",
        "\0",
        "",
    ],
)
def test_invalid_json(page: str) -> None:
    """A page that is not JSON, or not a list of files, is an error."""
    with pytest.raises(ValueError, match=r"."):
        links(page, JSON)


@pytest.mark.parametrize(
    "broken",
    [
        None,
        1,
        "text",
        [],
        {},
        {"filename": "a.whl"},
        {"filename": 1, "url": "u"},
        {"filename": "a.whl", "url": ["u"]},
        {"filename": "\ud800.whl", "url": "u"},
        {"filename": "\x1b[2Ja.whl", "url": "u"},
        {"filename": "a.whl", "url": "u\nx"},
    ],
)
def test_one_broken_file(broken: object) -> None:
    """An invalid entry of a page is left out, and all others are there."""
    page = json.dumps({"files": [file(1), broken, file(2)]})

    assert [f"{number:064x}" for number in (1, 2)] == list(listed(page, JSON).by_hash)


@pytest.mark.parametrize(
    "hashes", [None, [], {}, {"sha256": 1}, {"sha256": "ab"}, {"sha256": "../" + "a" * 61}, {"md5": "ab"}]
)
def test_files_without_a_usable_hash(hashes: object) -> None:
    """A file without a valid SHA-256 is listed as one without any."""
    page = json.dumps({"files": [{"filename": "a.whl", "url": "u", "hashes": hashes, "size": 1e999}]})

    assert (LinkRow("a.whl", "u", None),) == listed(page, JSON).without_hash


@pytest.mark.parametrize(
    "media_type",
    [HTML, "text/html; charset=iso-8859-1", "text/html; charset=utf-8", "text/html; charset=unknown", "", "text/plain"],
)
def test_bytes_that_cannot_be_decoded(media_type: str) -> None:
    """A page in another encoding than its header says still has its links."""
    page = f"<p>\xe9</p><a href=x#sha256={HASH}>".encode("latin-1")

    assert [(HASH, "x")] == links(page, media_type)


@pytest.mark.parametrize(
    "charset",
    [
        *("hex", "base64", "zlib", "bz2", "rot13", "uu", "quopri", "undefined", "idna", "punycode", "unicode_escape"),
        *("raw_unicode_escape", "a\0b", "x" * 5_000, "caf\xe9", "__init__", "/../x"),
    ],
)
def test_charset_that_no_page_can_have(charset: str) -> None:
    """A page whose header names no encoding of a page is decoded as UTF-8."""
    page = f"<p>.\\N{'.' * 100}</p><a href='\xf6-1.0.tar.gz#sha256={HASH}'>"

    assert [(HASH, "\xf6-1.0.tar.gz")] == links(page, f"text/html; charset={charset}", step=50)


def test_size_above_the_largest_download() -> None:
    """A size that no download can have is none."""
    sizes = [-1, 0, LARGEST_FILE_BYTES, LARGEST_FILE_BYTES + 1, 10**400, True, 5.0, "5", None]
    rows = [file(number) | {"size": size} for number, size in enumerate(sizes)]
    found = listed(json.dumps({"files": rows}), JSON).by_hash.values()

    assert [None, 0, LARGEST_FILE_BYTES, *[None] * 6] == [row.size for row in found]


def test_encoding_of_a_page() -> None:
    """A page is decoded as its media type says."""
    page = "<a href='\xf6-1.0.tar.gz'>".encode("latin-1")

    assert [(None, "\xf6-1.0.tar.gz")] == links(page, 'text/html; charset="ISO-8859-1"')


def test_json_with_another_media_type() -> None:
    """A page is recognised as JSON by its content, because plain file servers do not know its media type."""
    page = json.dumps({"files": [file(1)]})

    assert [(f"{1:064x}", "u/a-1.whl")] == links(page, "application/octet-stream")


@pytest.mark.parametrize("media_type", [JSON, HTML])
def test_large_page(media_type: str) -> None:
    """A page with as many files as the largest real ones needs little more memory than its rows."""

    def pieces() -> Iterator[bytes]:
        if media_type == JSON:
            yield b'{"meta": {"api-version": "1.1"}, "files": ['
        for number in range(2_000):
            name, padding = f"botocore-1.{number}.0-py3-none-any.whl", "x" * 300
            if media_type == JSON:
                row = {"filename": name, "url": f"https://files/{name}", "hashes": {"sha256": f"{number:064x}"}}
                yield b"," * (number > 0) + json.dumps({**row, "core-metadata": padding}).encode()
            else:
                yield f'<a href="https://files/{name}#sha256={number:064x}" title="{padding}">x</a>'.encode()
        if media_type == JSON:
            yield b'], "versions": [' + b",".join(b'"1.%d"' % number for number in range(2_000)) + b"]}"

    tracemalloc.start()
    found = parse(pieces(), media_type)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert 2_000 == len(found.by_hash)
    assert peak < 3_000_000


@pytest.mark.parametrize(
    ("page", "media_type"),
    [
        (b"<a href=x>" * 100_001, HTML),
        (b'{"a": "' + b"x" * 1_300_000, JSON),
        (b'{"a": [' + b"0," * 600_000, JSON),
    ],
)
def test_limits_of_a_page(page: bytes, media_type: str) -> None:
    """A page with too many files or too long values is an error."""
    with pytest.raises(PageLimitError):
        links(page, media_type)


@pytest.mark.parametrize("content", [b" ", b"<!--", b"{"])
def test_limit_of_bytes(content: bytes) -> None:
    """Reading stops at the limit, and holds little of what was read."""
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        chunk = content * ((1 << 20) // len(content))
        while True:
            sent += len(chunk)
            yield chunk

    tracemalloc.start()
    with pytest.raises(ValueError, match=r"."):
        parse(endless(), HTML)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert sent <= limits().most_bytes + (1 << 20)
    assert peak < 20_000_000


def test_compressed_page(server: IndexServer, index: PackageIndex) -> None:
    """A small response that becomes a huge page is given up at the limit, without a second request."""
    bomb = gzip.compress(bytes(limits().most_bytes + 1), 9)
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n"
    server.behaviour.raw["a"] = head % len(bomb) + bomb
    tracemalloc.start()
    with pytest.raises(IndexLookupError) as caught:
        index._pages.filenames(index._sources(None)[0], "a")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert f"`{server.simple}/a/` exceeds the limits of an index page: it has more than 100,000,000 bytes" == str(
        caught.value
    )
    assert (1, True) == (len(server.requests), peak < 20_000_000)
