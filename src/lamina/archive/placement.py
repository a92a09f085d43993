"""Decide for each member of a wheel whether to copy it into a layer, and to which path, and estimate the wheel's size."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from lamina.archive.record import rewritten
from lamina.archive.wheel import data_prefixes
from lamina.archive.zip.directory import locate_directory, read_rows
from lamina.archive.zip.inflate import BROKEN_WHEEL_HINT
from lamina.archive.zip.zipformat import DIRECTORY_ROW, LOCAL_HEADER, Entry, encode
from lamina.core.errors import DuplicateMemberError, UnsafeMemberError, UnsupportedMemberError
from lamina.core.frozen import frozen
from lamina.core.paths import PREFIX, clashes

if TYPE_CHECKING:
    from collections.abc import Callable

    from lamina.archive.wheel import WheelArchive
    from lamina.archive.zip.directory import Located

# Metadata that `exclude` cannot leave out, because plugins, version checks and security scanners read it.
_PROTECTED = ("METADATA", "RECORD", "entry_points.txt", "top_level.txt", "WHEEL")
_BYTECODE = (".pyc", ".pyo")
_INSTALLED_SCHEMES = ("purelib", "platlib", "data")


class Placed(NamedTuple):
    """A member of a wheel with its path in the layer."""

    path: str
    located: Located


class Placement(NamedTuple):
    """The members of a layer that come from one wheel: members to copy unchanged, and members to create (RECORD)."""

    copied: tuple[Placed, ...]
    made: tuple[Entry, ...]


@frozen
class Outline:
    """The bytes that a wheel adds to a layer, zipped and unzipped."""

    zipped_bytes: int
    unzipped_bytes: int


def place(
    wheel: WheelArchive,
    *,
    excluded: Callable[[str], bool],
    omitted: frozenset[str] = frozenset(),
    prefix: str = PREFIX,
) -> Placement:
    """
    Decide which members of *wheel* a layer contains, and at which paths.

    ``purelib``, ``platlib`` and ``data`` in the wheel's ``.data`` directory are installed to the root, like ``pip install
    --target`` does. Scripts and headers are left out. Bytecode is left out too, because it may be outdated.
    All paths start with *prefix*. *excluded* returns whether to leave out a path, relative to it. It is not called for metadata
    that other programs read, such as METADATA. *omitted* contains paths to leave out, because another distribution contains them.
    RECORD is rewritten if a member is moved or left out, unless *omitted* is the only reason, and copied otherwise.
    Raises `DuplicateMemberError` if two members have conflicting layer paths, `UnsafeMemberError` for metadata of another
    distribution, `UnsupportedMemberError` for an unknown scheme, and the errors of `read_record`.
    """
    record_path = f"{wheel.dist_info}/RECORD"
    protected = {f"{wheel.dist_info}/{name}" for name in _PROTECTED}
    members = wheel.members
    usual = not wheel.data_prefixes and not any(each[0][0].endswith(_BYTECODE) for each in members)
    placed = [
        (path, each)
        for each in members
        if (path := each[0][0] if usual else installed_path(each[0][0], wheel.data_prefixes)) is not None
        and (path in protected or not excluded(path))
    ]
    made: tuple[Entry, ...] = ()
    if not usual or len(placed) != len(members):
        moved = {located.member.path: path for path, located in placed}
        _check_moved(moved, wheel)
        if record_path in moved:
            placed = [(path, located) for path, located in placed if path != record_path]
            made = (encode(prefix + record_path, rewritten(wheel, moved)),)
    new = tuple.__new__  # twice as fast as calling the class
    copied = sorted([new(Placed, (prefix + path, located)) for path, located in placed])
    return Placement(
        tuple(each for each in copied if each.path not in omitted),
        tuple(entry for entry in made if entry.member.path not in omitted),
    )


def _check_moved(moved: dict[str, str], wheel: WheelArchive) -> None:
    """Check the installed paths in *moved*, by path in the wheel, for conflicts and for metadata of other distributions."""
    if found := clashes(path.encode() for path in moved.values()):
        listed = ", ".join(f"`{clash.path.decode()}`" for clash in found)
        raise DuplicateMemberError(
            f"`{wheel.name}` installs several files at the same path: {listed}", hint=BROKEN_WHEEL_HINT
        )
    for source, path in moved.items():
        directory, slash, _ = path.partition("/")
        if source != path and slash and directory.endswith(".dist-info") and directory != wheel.dist_info:
            raise UnsafeMemberError(
                f"`{wheel.name}` installs metadata of another distribution: `{source}`", hint=BROKEN_WHEEL_HINT
            )


def installed_path(source: str, prefixes: tuple[str, ...]) -> str | None:
    """
    Return the path of the member *source* relative to ``python/``, or ``None`` for scripts, headers and bytecode.

    *prefixes* are the paths of the wheel's ``.data`` directories, as `WheelArchive` has them.
    Raises `UnsupportedMemberError` for a scheme that the wheel format does not define.
    """
    if source.endswith(_BYTECODE):
        return None
    if not source.startswith(prefixes):
        return source
    scheme, _, path = source.partition("/")[2].partition("/")
    if path and scheme in _INSTALLED_SCHEMES:
        return path
    if path and scheme in ("scripts", "headers"):
        return None
    raise UnsupportedMemberError(
        f"a wheel contains a file with the unknown installation scheme `{scheme}`: `{source}`", hint=BROKEN_WHEEL_HINT
    )


def outline(data: bytes, *, total: int, name: str, excluded: Callable[[str], bool]) -> Outline:
    """
    Return an estimate of the size that the wheel *name* of *total* bytes will add to a layer, for plans and early checks of limits.

    *data* is the end of the wheel with its central directory, and is not verified. *excluded* is the same function as for `place`.
    The estimate is off by a few bytes if RECORD must be rewritten. A path that other distributions also contain is counted for
    each of them.
    Raises the errors of `locate_directory`, `read_rows` and `installed_path`.
    """
    span = locate_directory(data, total=total, name=name)
    start = span.offset - (total - len(data))
    rows = read_rows(data[start : start + span.length], span=span, name=name)
    prefixes = data_prefixes({row.member.path.partition("/")[0] for row in rows}, "-".join(name.split("-")[:2]))
    zipped = unzipped = 0
    for row in rows:
        path = None if row.is_directory else installed_path(row.member.path, prefixes)
        if path is None or excluded(path):
            continue
        unzipped += row.member.size
        headers = LOCAL_HEADER.size + DIRECTORY_ROW.size + 2 * len((PREFIX + path).encode())
        zipped += headers + (row.member.compressed if row.member.size else 0)
    return Outline(zipped_bytes=zipped, unzipped_bytes=unzipped)
