"""A path in several distributions is shared if its content is the same, and rejected otherwise."""

from __future__ import annotations

import unicodedata
import zlib
from typing import TYPE_CHECKING

import pytest

from lamina.archive.collisions import paths_of_own_code, shared_paths
from lamina.archive.segment import Segment, write_segment
from lamina.archive.zip.zipformat import DEFLATED, STORED, Entry, Member, encode
from lamina.core.errors import DamagedFileError, PathCollisionError
from lamina.core.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Make = Callable[..., Segment]

TEXT = b"__path__ = __import__('pkgutil').extend_path(__path__, __name__)\n" * 3


@pytest.fixture
def make(tmp_path: Path) -> Make:
    store = Store.open(tmp_path / "store")

    def make_segment(*pieces: Entry, **files: bytes) -> Segment:
        pieces += tuple(encode(path, content) for path, content in files.items())
        key = str(len(list(store.root.rglob("*.seg")))) * 64
        return write_segment(store.entry("segments", key, ".seg"), pieces, store)

    return make_segment


def deflated(path: str, content: bytes, level: int) -> Entry:
    compressor = zlib.compressobj(level, zlib.DEFLATED, -15)
    payload = compressor.compress(content) + compressor.flush()
    return Entry(Member(path, False, DEFLATED, zlib.crc32(content), len(payload), len(content)), payload)


def test_nothing_shared(make: Make) -> None:
    """Distributions that have only directories in common share no path."""
    segments = {"a": make(**{"ns/a.py": b"1"}), "b": make(**{"ns/b.py": b"1"}), "c": make()}

    assert {} == shared_paths(segments)


def test_same_content(make: Make) -> None:
    """The first distribution by name keeps a shared path, in any order of segments."""
    first, second, third = (make(**{"ns/__init__.py": TEXT, f"ns/{name}.py": b"1"}) for name in "abc")

    assert {"b": frozenset({"ns/__init__.py"}), "c": frozenset({"ns/__init__.py"})} == shared_paths(
        {"c": third, "a": first, "b": second}
    )


def test_same_content_in_other_streams(make: Make) -> None:
    """The uncompressed content is compared, not the compressed bytes."""
    stored = Entry(Member("n", False, STORED, zlib.crc32(TEXT), len(TEXT), len(TEXT)), TEXT)
    segments = {"a": make(deflated("n", TEXT, 9)), "b": make(deflated("n", TEXT, 1)), "c": make(stored)}

    assert {"b": frozenset({"n"}), "c": frozenset({"n"})} == shared_paths(segments)


def test_same_checksum(make: Make) -> None:
    """Different content with the same CRC-32 and size is a conflict."""
    contents = (b"plumless", b"buckeroo")
    with pytest.raises(PathCollisionError) as caught:
        shared_paths({name: make(**{"n.py": content}) for name, content in zip("ab", contents, strict=True)})

    assert 1 == len({zlib.crc32(content) for content in contents})
    assert "distributions install different content at the same path: `n.py` in `a` and `b`" == str(caught.value)


@pytest.mark.parametrize("position", [28, 45, -20])
def test_damaged_segment(make: Make, position: int) -> None:
    """A damaged copy of a shared file is an error that names the segment, which the build then makes again, not a conflict."""
    segments = {name: make(**{"ns/__init__.py": TEXT}) for name in "ab"}
    damaged = segments["b"].path
    content = bytearray(damaged.read_bytes())
    content[position % segments["b"].entries_bytes] ^= 0x10
    damaged.write_bytes(content)
    with pytest.raises(DamagedFileError) as caught:
        shared_paths(segments)

    assert damaged == caught.value.path


def test_all_conflicts(make: Make) -> None:
    """One error lists every path with conflicts and all its distributions."""
    segments = {
        "pygame-ce": make(**{"pygame/__init__.py": b"ce", "pygame/same.py": b"1", "data": b"file", "own": b"1"}),
        "pygame": make(**{"pygame/__init__.py": b"original", "pygame/same.py": b"1", "data/x": b"1"}),
        "pygame-fork": make(**{"pygame/__init__.py": b"fork!", "pygame/same.py": b"1"}),
    }
    with pytest.raises(PathCollisionError) as caught:
        shared_paths(segments)

    fact = (
        "distributions install different content at the same path: `data` is a file in `pygame-ce` and a directory in `pygame`; "
        "`pygame/__init__.py` in `pygame` and `pygame-ce` and `pygame-fork`"
    )

    assert (
        fact,
        "remove one of the distributions from the lock file, or add the path without `python/` to `exclude`",
    ) == (str(caught.value), caught.value.hint)


@pytest.mark.parametrize(
    "path",
    [
        "README.md",
        "LICENSE",
        "docs/conf.py",
        "tests/__init__.py",
        "examples/app.py",
        "share/man/man1/tool.1",
        "tool-stubs/__init__.pyi",
    ],
)
def test_not_imported(make: Make, path: str) -> None:
    """Different files that no program imports are no error: the layer contains that of the first distribution, and a note says so."""
    notes: list[str] = []
    segments = {
        "eth-abi": make(**{f"python/{path}": b"abi", "python/eth_abi.py": b"1"}),
        "hexbytes": make(**{f"python/{path}": b"hex", "python/hexbytes.py": b"1"}),
    }

    shared = shared_paths(dict(reversed(segments.items())), note=notes.append)

    assert {"hexbytes": frozenset({f"python/{path}"})} == shared
    (message,) = notes
    assert message == (
        f"`python/{path}` differs between `eth-abi` and `hexbytes`; the layer contains that of `eth-abi`, because no program "
        "imports it"
    )


@pytest.mark.parametrize(
    ("first", "second"),
    [("ns/caf\u00e9.py", "ns/cafe\u0301.py"), ("\u00e9/a.py", "e\u0301"), ("ns/\u212b.py", "ns/\u00c5.py")],
)
def test_twins(make: Make, first: str, second: str) -> None:
    """Paths of two distributions that are one path after Unicode normalization are rejected, even with the same content."""
    with pytest.raises(PathCollisionError) as caught:
        shared_paths({"a": make(**{first: TEXT}), "b": make(**{second: TEXT})})

    path = unicodedata.normalize("NFC", min(first, second, key=len))
    assert (
        f"distributions install paths that differ only in the Unicode normalization of their characters: `{path}`"
    ) == str(caught.value)


def test_twins_of_own_code(make: Make) -> None:
    """Your file and a distribution's in one zip are rejected if their paths are one path after Unicode normalization."""
    own, other = make(**{"caf\u00e9.py": TEXT}), make(**{"cafe\u0301.py": TEXT})

    with pytest.raises(PathCollisionError, match="differ only in the Unicode normalization"):
        paths_of_own_code(own, {"a": other})
    assert {"a": frozenset({"n.py"})} == paths_of_own_code(make(**{"n.py": b"1"}), {"a": make(**{"n.py": b"2"})})


def test_no_twins(make: Make) -> None:
    """Paths that differ in case are different files on Lambda, and so are files in one directory that is spelled in two ways."""
    names = ["ns/A.py", "ns/a.py", "\u00e9/a.py", "e\u0301/b.py", "\u00e9.txt"]

    assert {} == shared_paths({str(number): make(**{name: TEXT}) for number, name in enumerate(names)})


def test_one_note(make: Make) -> None:
    """The files of the same distributions share one note; files with the same content are not in it."""
    notes: list[str] = []
    files = {"python/docs/a.rst": b"1", "python/docs/b.rst": b"1", "python/docs/c.rst": b"1", "python/LICENSE": b"same"}
    other = dict.fromkeys(files, b"2") | {"python/LICENSE": b"same"}

    shared = shared_paths({"a": make(**files), "b": make(**other)}, note=notes.append)

    assert {"b": frozenset(files)} == shared
    (message,) = notes
    assert message == (
        "`python/docs/a.rst` and 2 more files differ between `a` and `b`; the layer contains those of `a`, because no program "
        "imports them"
    )


@pytest.mark.parametrize(
    "path",
    [
        "python/pkg/__init__.py",
        "python/pkg/data.json",
        "python/pkg/tests/test_a.py",
        "python/six.py",
        "python/a.libs/libgfortran.so.5.0.0",
        "python/_speed.cpython-313-x86_64-linux-gnu.so",
        "python/a-1.0.dist-info/METADATA",
    ],
)
def test_imported(make: Make, path: str) -> None:
    """Different code, data next to code, or metadata is an error."""
    module = {"python/pkg/only.py": b""}
    with pytest.raises(PathCollisionError, match=rf"`{path}` in `a` and `b`$"):
        shared_paths({"a": make(**{path: b"1"}, **module), "b": make(**{path: b"2"})})


def test_many_shared_paths(make: Make) -> None:
    """Two distributions that share thousands of paths are compared in one pass."""
    files = {f"cv2/{number}.py": b"%d" % number for number in range(3000)}

    assert {"opencv-python-headless": frozenset(files)} == shared_paths(
        {"opencv-python": make(**files), "opencv-python-headless": make(**files)}
    )
