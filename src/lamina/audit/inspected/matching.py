"""
Identify modules without metadata: compare the hashes of their files with the RECORD of wheels on the index.

Only the ends of wheels are downloaded, with their central directory and RECORD, and only from the configured indexes. The number of
requests is bounded. What a RECORD says is not verified, because the wheel is not downloaded: it names a distribution, and nothing is
installed by it.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING

from lamina.archive.zip.directory import locate_directory, read_rows
from lamina.archive.zip.inflate import member_content
from lamina.archive.zip.zipformat import LOCAL_HEADER
from lamina.audit.environment.venv import metadata_headers, record_rows
from lamina.audit.families.binaries import BINARY_MODULE, MACHINES
from lamina.core.errors import ArchiveError, ConfigError, NoCompatibleWheelError
from lamina.core.frozen import frozen, replace
from lamina.core.names import normalized
from lamina.core.target import Target
from lamina.core.values import Pin, Sha256
from lamina.fetch.candidates import ordered
from lamina.fetch.ranges import fetch_tails
from lamina.pipeline.checks.modules import requirements_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from lamina.archive.record import RecordRow
    from lamina.archive.zip.zipformat import Row
    from lamina.audit.inspected.files import ExaminedFiles
    from lamina.audit.inventory.contents import ArchiveContents
    from lamina.fetch.index import PackageIndex
    from lamina.fetch.ranges import Tail

_MOST_NAMES = 40
"""The number of distributions that are looked up on the index."""
_MOST_MODULES = 1_000
_MOST_VERSIONS = 12
"""The number of versions of one distribution whose wheels are asked for their RECORD."""
_RECORD_REACH = 8 << 20
"""How far before the end of a wheel its RECORD may be, in bytes. Tools put it last, as the format recommends."""
_RECORD_BYTES = 16 << 20
_RECORD = ".dist-info/RECORD"
_METADATA = ".dist-info/METADATA"
_GUESSED_DIRECTORY = 256 << 10
_CPYTHON = re.compile(r"cpython-(\d)(\d+)")


@frozen
class Match:
    """A distribution whose wheel has files of the zip."""

    name: str
    """The normalised name (PEP 503)."""
    version: str
    root: str
    """The directory of the zip that Python imports it from."""
    modules: tuple[str, ...]
    """The modules by which the distribution was found. Its wheel can have more of the modules without metadata."""
    wheel: str
    """The file name of the wheel with which the files were compared."""
    matching: tuple[str, ...]
    """The files of the zip that the wheel has with the same content."""
    differing: tuple[str, ...]
    """The files of the zip that the wheel has with other content."""
    extra: tuple[str, ...]
    """The files of the modules that the wheel lacks, without bytecode."""
    requires: tuple[str, ...] = ()
    """The requirements in the metadata of the wheel, if the match is exact."""

    @property
    def is_exact(self) -> bool:
        """Whether the wheel has all files of the modules, with the same content."""
        return not self.differing and not self.extra


@frozen
class _Unknown:
    """Modules of one directory that may be of the distribution *name*, with their files."""

    root: str
    name: str
    modules: tuple[str, ...]
    files: Mapping[str, str]
    """The SHA-256 of each file, as RECORD has it, by the path relative to the root."""
    others: Mapping[str, str]
    """The same of the other modules without metadata in the directory, some of which the distribution may have, too."""
    stated: str | None
    """The version that the modules state."""


def match_modules(
    contents: ArchiveContents,
    files: ExaminedFiles,
    index: PackageIndex,
    targets: Sequence[Target],
) -> tuple[Match, ...]:
    """
    Return the distributions to which modules without metadata belong, as far as a wheel on *index* has the same files.

    *files* are those of the zip with *contents*. Wheels for one of *targets* are compared first. Of a function's package, only modules
    that are known by name are looked up, because the others are the function's own code.
    Raises `FetchError` if the index cannot be read, and `ConfigError` if its settings are invalid.
    """
    matches: list[Match] = []
    claimed: set[str] = set()
    wanted = (*_built_for(files), *targets)
    for unknown in _unknown(contents, files):
        if claimed.issuperset(unknown.root + path for path in unknown.files):
            continue
        if (match := _best(unknown, index, wanted)) is not None:
            matches.append(match)
            claimed.update(match.matching if match.is_exact else ())
    return tuple(matches)


def _built_for(files: ExaminedFiles) -> list[Target]:
    """Return the targets for which the extension modules of a zip are built."""
    found = set()
    for path, facts in files.binaries.items():
        match = BINARY_MODULE.fullmatch(path)
        cpython = _CPYTHON.match(match["tag"]) if match is not None else None
        if cpython is not None and "machine" in facts:
            found.add((f"python{cpython[1]}.{cpython[2]}", MACHINES.get(facts["machine"], "")))
    targets = []
    for runtime, architecture in sorted(found):
        with suppress(ConfigError):
            targets.append(Target.of(runtime, architecture))
    return targets


def _unknown(contents: ArchiveContents, files: ExaminedFiles) -> Iterator[_Unknown]:
    groups: dict[tuple[str, str], list[str]] = {}
    for root, module in contents.modules[:_MOST_MODULES]:
        known = requirements_of(module)
        if known or contents.is_layer:
            for name in known or (module.replace(".", "-"),):
                groups.setdefault((root, normalized(name.partition("<")[0])), []).append(module)
    for (root, name), modules in list(groups.items())[:_MOST_NAMES]:
        starts = tuple(
            f"{root}{module.replace('.', '/')}{end}"
            for module in modules
            for end in ("/", ".py", ".so", ".cpython-", ".abi3.")
        )
        digests = {path: digest for path, digest in files.digests.items() if path.startswith(starts)}
        sources = {path[len(root) :]: digest for path, digest in files.digests.items() if _is_source(path, root)}
        kept = {path: digest for path, digest in sources.items() if root + path in digests}
        others = {path: digest for path, digest in sources.items() if path not in kept}
        stated = (version for path, version in sorted(files.versions.items(), key=_depth) if path in digests)
        if kept:
            yield _Unknown(
                root=root, name=name, modules=tuple(modules), files=kept, others=others, stated=next(stated, None)
            )


def _is_source(path: str, root: str) -> bool:
    """Return whether the file *path* can be in a wheel, below *root*: bytecode is made later."""
    return path.startswith(root) and not path.endswith(".pyc")


def _depth(item: tuple[str, str]) -> tuple[int, str]:
    return item[0].count("/"), item[0]


def _best(unknown: _Unknown, index: PackageIndex, targets: Sequence[Target]) -> Match | None:
    """Return the match with most of the same files; the first exact one ends the search."""
    best: Match | None = None
    for pins in _by_version(unknown, index.wheels(unknown.name), targets):
        for pin, tail in zip(pins, fetch_tails(pins, index, reach=_reach), strict=True):
            match = _compared(
                unknown, pin, record_rows(_content(tail, pin.filename, _RECORD)) if tail is not None else {}
            )
            if match.is_exact:
                return replace(match, requires=_requires(tail, pin.filename) if tail is not None else ())
            if match.matching and (best is None or _rank(match) > _rank(best)):
                best = match
    return best


def _rank(match: Match) -> tuple[int, int]:
    return len(match.matching), -len(match.differing)


def _by_version(
    unknown: _Unknown, wheels: Iterable[tuple[str, str, int | None]], targets: Sequence[Target]
) -> Iterator[list[Pin]]:
    """Yield the wheels to compare: those of the version that the modules state, then of the newest; the best one for each target."""
    from packaging.utils import InvalidWheelFilename, parse_wheel_filename
    from packaging.version import InvalidVersion, Version

    versions: dict[Version, dict[tuple[str, str], int | None]] = {}
    for filename, url, size in wheels:
        with suppress(InvalidWheelFilename):
            versions.setdefault(parse_wheel_filename(filename)[1], {})[filename, url] = size
    stated = None
    with suppress(InvalidVersion):
        stated = Version(unknown.stated) if unknown.stated else None
    order = sorted(versions, key=lambda each: (each == stated, not each.is_prerelease, each), reverse=True)
    for version in order[:_MOST_VERSIONS]:
        files = versions[version]
        chosen = {}
        for target in targets:
            with suppress(NoCompatibleWheelError):
                chosen.update(dict.fromkeys(ordered(files, unknown.name, str(version), target)[:1]))
        yield [
            Pin(
                name=unknown.name,
                version=str(version),
                filename=filename,
                sha256=Sha256(""),
                url=url,
                size=files[filename, url],
            )
            for filename, url in chosen or list(files)[:1]
        ]


def _compared(unknown: _Unknown, pin: Pin, rows: Mapping[str, RecordRow]) -> Match:
    places: dict[str, list[str]] = {"matching": [], "differing": [], "extra": []}
    for path, digest in sorted(unknown.files.items()):
        kind = "matching" if _has(rows, path, digest) else "differing" if path in rows else "extra"
        places[kind].append(unknown.root + path)
    # The other modules of the wheel, such as `_yaml` of `pyyaml`.
    places["matching"] += [
        unknown.root + path for path, digest in sorted(unknown.others.items()) if _has(rows, path, digest)
    ]
    return Match(
        name=unknown.name,
        version=pin.version,
        root=unknown.root,
        modules=unknown.modules,
        wheel=pin.filename,
        **{kind: tuple(paths) for kind, paths in places.items()},
    )


def _has(rows: Mapping[str, RecordRow], path: str, digest: str) -> bool:
    return path in rows and rows[path].digest.rstrip("=") == f"sha256={digest}"


def _reach(tail: Tail) -> int:
    """Return the offset at which RECORD and METADATA in the wheel's *tail* start, or the central directory, or a guess of its start."""
    try:
        span = locate_directory(tail.data, total=tail.total, name="wheel")
        if span.offset < tail.start:
            return span.offset - _GUESSED_DIRECTORY
        rows = _metadata_rows(tail, span.offset)
    except ArchiveError:
        return tail.start
    return min((row.offset for row in rows if tail.total - row.offset <= _RECORD_REACH), default=tail.start)


def _metadata_rows(tail: Tail, offset: int) -> list[Row]:
    """Return the entries of RECORD and METADATA in the central directory, which starts at *offset* of the file. Raises `ArchiveError`."""
    span = locate_directory(tail.data, total=tail.total, name="wheel")
    start = offset - tail.start
    rows = read_rows(tail.data[start : start + span.length], span=span, name="wheel")
    return [row for row in rows if row.member.path.endswith((_RECORD, _METADATA))]


def _requires(tail: Tail, name: str) -> tuple[str, ...]:
    """Return the requirements in METADATA in the *tail* of the wheel *name*; none if it is not in it, or damaged."""
    headers = metadata_headers(_content(tail, name, _METADATA).decode("utf-8", "replace"))
    return tuple(headers.get("requires-dist", ()))


def _content(tail: Tail, name: str, end: str) -> bytes:
    """Return the file of metadata whose path has this *end* in the *tail* of the wheel *name*; empty if it is not in it, or damaged."""
    try:
        span = locate_directory(tail.data, total=tail.total, name=name)
        rows = _metadata_rows(tail, span.offset) if span.offset >= tail.start else []
        row = next((each for each in rows if each.member.path.endswith(end)), None)
        if row is None or row.offset < tail.start or row.member.size > _RECORD_BYTES:
            return b""
        header = row.offset - tail.start
        fields = LOCAL_HEADER.unpack_from(tail.data, header)
        start = header + LOCAL_HEADER.size + fields[-2] + fields[-1]
        payload = tail.data[start : start + row.member.compressed]
        return b"".join(member_content(_pieces(payload), row.member, name=name))
    except ArchiveError:
        return b""


def _pieces(payload: bytes) -> Iterator[bytes]:
    for start in range(0, len(payload), 1 << 20):
        yield payload[start : start + (1 << 20)]
