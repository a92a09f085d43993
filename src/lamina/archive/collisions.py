"""
Find the paths that several distributions in a layer contain, and reject those with different content.

Files that no program imports, such as those of a top-level directory ``docs``, may differ: the layer contains those of the
first distribution. Most layers have no such path. Content is therefore read only if a comparison of the paths finds one.
"""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING

from lamina.archive.segment import read_payload
from lamina.archive.zip.inflate import PIECE_BYTES, member_content
from lamina.archive.zip.zipformat import own_rows
from lamina.core.errors import ArchiveError, DamagedFileError, PathCollisionError
from lamina.core.paths import PREFIX, clashes, twins
from lamina.core.text import count

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from lamina.archive.segment import Segment
    from lamina.archive.zip.zipformat import Member

# A central directory entry: the fixed fields and the path. Paths contain no control characters, so the signature of
# the next entry ends the path.
_PATH = re.compile(rb"PK\x01\x02.{42}([^\x00-\x1f]*)(?=PK\x01\x02|\Z)", re.DOTALL)
# Top-level directories that belong to a project's repository. Wheels contain them by mistake, and no program imports them.
_UNIMPORTED = frozenset({"benchmarks", "doc", "docs", "example", "examples", "newsfragments", "test", "tests"})
# A source, bytecode, extension module or shared library, such as `libgfortran-040039e1.so.5.0.0`, or a `.pth` file.
_CODE = re.compile(rb"\.(?:py|pyc|pyd|pth|dll|dylib|so(?:\.[\d.]+)?)\Z")


def shared_paths(
    segments: Mapping[str, Segment], *, note: Callable[[str], None] | None = None
) -> dict[str, frozenset[str]]:
    """
    Return for each distribution the paths to leave out of the layer, because an alphabetically earlier distribution has them.

    Distributions without such paths are missing from the result. *segments* maps distribution names to segments. *note* is
    called with a message for each group of distributions that have different files which no program imports.
    Raises `PathCollisionError` with every other path that has different content in two distributions, or is a file in one and
    a directory in another, and with all paths that differ only in Unicode normalization. Raises `DamagedFileError` if content
    that is compared is damaged.
    """
    every = [path for segment in segments.values() for path in member_paths(segment)]
    _check_twins(every)
    found = clashes(every)
    if not found:
        return {}
    tables = {name: _rows(segments[name]) for name in sorted(segments)}
    shared: defaultdict[str, set[str]] = defaultdict(set)
    conflicts = []
    unimported: defaultdict[tuple[str, ...], list[str]] = defaultdict(list)
    imported = _imported(path for rows in tables.values() for path in rows)
    for path, is_directory in found:
        text = path.decode()
        first, *others = (name for name, rows in tables.items() if path in rows)
        if is_directory:
            other = next(name for name, rows in tables.items() if any(row.startswith(path + b"/") for row in rows))
            conflicts.append(f"`{text}` is a file in `{first}` and a directory in `{other}`")
            continue
        different = [
            name
            for name in others
            if not _same(segments[first], tables[first][path], segments[name], tables[name][path])
        ]
        if different and _top(path) in imported:
            conflicts.append(f"`{text}` in {' and '.join(f'`{name}`' for name in (first, *different))}")
        elif different:
            unimported[first, *different].append(text)
        for name in others:
            shared[name].add(text)
    if conflicts:
        raise PathCollisionError(
            f"distributions install different content at the same path: {'; '.join(conflicts)}",
            hint="remove one of the distributions from the lock file, or add the path without `python/` to `exclude`",
        )
    if note is not None:
        for names, paths in unimported.items():
            note(_left_out(names, paths))
    return {name: frozenset(paths) for name, paths in shared.items()}


def paths_of_own_code(own: Segment, segments: Mapping[str, Segment]) -> dict[str, frozenset[str]]:
    """
    Return for each of *segments* the paths that *own*, the service's own code in the same zip, has too, and that win.

    Distributions without such paths are missing from the result. Raises `PathCollisionError` for paths that are a file in one and a
    directory in the other, or that differ only in Unicode normalization.
    """
    mine = frozenset(member_paths(own))
    theirs = {name: member_paths(segment) for name, segment in segments.items()}
    _check_twins([*mine, *(path for paths in theirs.values() for path in paths)])
    found = {name: both for name, paths in theirs.items() if (both := mine.intersection(paths))}
    conflicts = [
        f"`{clash.path.decode()}` is a file in one and a directory in the other"
        for clash in clashes(sorted({*mine, *(path for paths in theirs.values() for path in paths)}))
    ]
    if conflicts:
        raise PathCollisionError(
            f"your own code and distributions have conflicting paths in one zip: {'; '.join(conflicts)}",
            hint="rename your files, or add the path to `exclude`",
        )
    return {name: frozenset(path.decode() for path in both) for name, both in found.items()}


def _check_twins(paths: Iterable[bytes]) -> None:
    if found := twins(paths):
        raise PathCollisionError(
            "distributions install paths that differ only in the Unicode normalization of their characters: "
            f"{', '.join(f'`{path}`' for path in found)}",
            hint="remove one of the distributions from the lock file, or add a pattern for the files without `python/` to `exclude`",
        )


def _imported(paths: Iterable[bytes]) -> frozenset[bytes]:
    """
    Return the top-level names in the layer, as `_top` returns them, whose files a program may load or a package may read.

    Those are the names that have code below them, except directories of a project's repository. Metadata counts too.
    """
    return frozenset(
        top
        for path in paths
        for top in [_top(path)]
        if top.endswith(b"-info") or (_CODE.search(path) and top.decode() not in _UNIMPORTED)
    )


def _top(path: bytes) -> bytes:
    return path.removeprefix(PREFIX.encode()).partition(b"/")[0]


def _left_out(names: tuple[str, ...], paths: list[str]) -> str:
    first, *others = (f"`{name}`" for name in names)
    more = f" and {count(len(paths) - 1, 'more file')}" if len(paths) > 1 else ""
    return (
        f"`{paths[0]}`{more} differ{'' if more else 's'} between {' and '.join([first, *others])}; the layer contains "
        f"{'those' if more else 'that'} of {first}, because no program imports {'them' if more else 'it'}"
    )


def are_settled(segments: Mapping[str, Segment], shared: Mapping[str, frozenset[str]]) -> bool:
    """
    Return whether no path is in two *segments*, and every path in *shared* is in one.

    *shared* is a result of `shared_paths` from a bucket, and *segments* were built without these paths. The content is not
    compared.
    """
    paths = {name: member_paths(segment) for name, segment in segments.items()}
    everything = {path for each in paths.values() for path in each}
    omitted = {path.encode() for each in shared.values() for path in each}
    return omitted <= everything and not clashes(path for each in paths.values() for path in each)


def member_paths(segment: Segment) -> list[bytes]:
    """Return the paths of the members of *segment*. Searching for them is ten times as fast as parsing the central directory entries."""
    return _PATH.findall(segment.directory)


def _rows(segment: Segment) -> dict[bytes, tuple[Member, int]]:
    return {member.path.encode(): (member, offset) for member, offset in own_rows(segment.directory)}


def _same(first: Segment, row: tuple[Member, int], other: Segment, other_row: tuple[Member, int]) -> bool:
    """Return whether two members have the same content. Equal CRC-32s are not enough, because they are easy to forge."""
    member, other_member = row[0], other_row[0]
    if (member.crc, member.size) != (other_member.crc, other_member.size):
        return False
    return _content(first, *row) == _content(other, *other_row)


def _content(segment: Segment, member: Member, offset: int) -> bytes:
    """Return the content of *member*. Raises `DamagedFileError` if it is not what the wheel contained."""
    payload = read_payload(segment, offset, member.compressed)
    pieces = (payload[start : start + PIECE_BYTES] for start in range(0, len(payload), PIECE_BYTES))
    try:
        return b"".join(member_content(pieces, member, name=segment.path.name))
    except ArchiveError as error:
        raise DamagedFileError(segment.path) from error
