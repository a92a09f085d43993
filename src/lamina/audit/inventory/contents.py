"""
Read what any zip for Lambda contains: its distributions, the files of no distribution, extensions and wrapper scripts.

The zip is untrusted, and nothing is unpacked. What its metadata says is only a claim: `lamina.audit.inspected` compares files with their
hashes. Results are cached in the store by the zip's SHA-256.
Formats: packaging.python.org, "Recording installed projects" and "Core metadata" (read 2026-11); PEP 770 for SBOMs in wheels.
"""

from __future__ import annotations

import re
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from lamina.archive.external import modules_at
from lamina.archive.manifest import MANIFEST, LayerArtifact, LayerManifest, manifest_in
from lamina.archive.zip.opened import ZipArchive
from lamina.audit.environment.venv import identified, metadata_headers, record_rows
from lamina.core.errors import SuspiciousSizeError
from lamina.core.files import file_sha256
from lamina.core.frozen import as_dict, frozen
from lamina.core.paths import PREFIX
from lamina.core.store import key_of
from lamina.core.target import quotas
from lamina.pipeline.checks.modules import modules_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from lamina.archive.record import RecordRow
    from lamina.core.store import Store

AREA = "contents"
_FORMAT = 2
MOST_FILES = 150_000
"""The number of entries that a zip may have: lamina's choice. Reading so many usual paths needs about 200 MB of memory."""
_MOST_TIMES = 4
"""How many times the size may exceed Lambda's limit, so that a zip that is too large for Lambda can still be inspected."""
_MOST_ROWS = 2 * MOST_FILES
"""The number of rows of all RECORDs: they also list bytecode, which many layers leave out."""
_MOST_DISTRIBUTIONS = 2_000
_METADATA_BYTES = 32 << 20
"""The size of all metadata of a zip that is read. The largest layers of 250 MB have less than a third of it."""
_DEPTH = 3
"""The number of components of the longest known module name of a distribution, such as ``google.cloud.storage``."""
_DEEPEST = 16
"""The number of packages that a module may be in. In the wheels of common distributions, it is at most 10."""
_LICENCE_LENGTH = 100
_UNKNOWN_LICENCES = frozenset({"", "unknown", "none"})

_SITE = re.compile(r"python/lib/python3\.[0-9]{1,2}/site-packages/")
_METADATA = re.compile(r"([^/]+)\.(?:dist-info/METADATA|egg-info/PKG-INFO)")
_CACHED = re.compile(r"(.*?)__pycache__/([^/]+?)\.([a-z]+-[0-9]+)(?:\.opt-[12])?\.pyc")
_EXTENSION = re.compile(r"extensions/[^/]+")
_OF_LAYERS = (PREFIX, "extensions/")
_OF_CODE = re.compile(r"[^/]+\.(?:py|so)|[^/]+\.dist-info/.*")


class ContainedFile(NamedTuple):
    """A file of the zip: its path there, its size in bytes, and the CRC-32 of its content."""

    path: str
    size: int
    crc: int
    executable: bool


@frozen
class ContainedDistribution:
    """A distribution, as its metadata in the zip describes it."""

    name: str
    """The normalised name (PEP 503)."""
    version: str
    root: str
    """The directory that Python imports it from, such as ``python/``; empty in a function's package."""
    metadata: str
    """The path of its ``.dist-info`` or ``.egg-info`` directory."""
    licence: str | None
    """``License-Expression``, or else ``License`` if it is not a whole text."""
    classifiers: tuple[str, ...]
    """The classifiers that start with ``License ::``."""
    requires: tuple[str, ...]
    """Its requirements, as in its metadata: not all are valid, and not all apply."""
    record: bool
    """Whether it has a RECORD. Otherwise, its files are those of the modules that are known by its name."""
    files: tuple[ContainedFile, ...]
    """Its files in the zip, with bytecode made from them and its metadata."""
    missing: tuple[str, ...]
    """The files in its RECORD that the zip lacks, without bytecode and scripts."""
    modules: tuple[str, ...]
    """The dotted names of its outermost packages and modules."""
    sboms: tuple[str, ...]
    """The paths of the SBOMs that its wheel contained (``.dist-info/sboms/``)."""

    @property
    def size(self) -> int:
        """The size of its files in bytes."""
        return sum(file.size for file in self.files)

    @property
    def compiled(self) -> frozenset[str]:
        """The paths of the sources that have bytecode in ``__pycache__``."""
        return frozenset(source for file in self.files if (source := source_of(file.path)) != file.path)


@frozen
class ArchiveContents:
    """What a zip contains."""

    sha256: str
    zipped_bytes: int
    files: int
    unzipped_bytes: int
    is_layer: bool
    """Whether the zip is laid out as a layer, for ``/opt``, and not as a function's package."""
    distributions: tuple[ContainedDistribution, ...]
    """Sorted by name."""
    unowned: tuple[ContainedFile, ...]
    """The files that belong to no distribution, sorted by path."""
    modules: tuple[tuple[str, str], ...]
    """The modules among them: the directory that Python imports each from, and its dotted name."""
    extensions: tuple[str, ...]
    """The paths of the programs in ``extensions/``, which Lambda starts next to the function."""
    wrappers: tuple[str, ...]
    """The paths of executable scripts for ``AWS_LAMBDA_EXEC_WRAPPER``: those that start with ``#!`` outside the directories of Python."""
    manifest: LayerManifest | None
    """What the manifest says that layers built by lamina have; ``None`` without one."""

    @property
    def paths(self) -> frozenset[str]:
        """The paths of all files, except lamina's own manifest."""
        owned = (file for distribution in self.distributions for file in distribution.files)
        return frozenset(file.path for file in (*self.unowned, *owned))


def contents_of(
    path: Path, *, store: Store, name: str | None = None, is_layer: bool | None = None, sha256: str | None = None
) -> ArchiveContents:
    """
    Return what the zip at *path* contains. *name* is its name in messages (default: the name of *path*).

    *is_layer* says whether it is a layer or a function's package, which is otherwise concluded from its paths. *sha256* is the hash of the
    zip if the caller has computed it.
    Raises the errors of `ZipArchive` if the zip is unsafe, ambiguous or damaged, and `SuspiciousSizeError` if it is too large.
    """
    sha256 = sha256 or file_sha256(path)
    place = store.entry(AREA, key_of(_FORMAT, sha256, is_layer), ".json")
    if (known := store.read_document(place, _parsed)) is not None:
        return known
    contents = _read(path, name or path.name, sha256, is_layer=is_layer)
    store.write_document(place, as_dict(contents), default=as_dict)
    return contents


def opened(path: Path, name: str) -> ZipArchive:
    """
    Open the zip at *path*, which may have more files than a wheel. *name* is its name in messages.

    Raises the errors of `ZipArchive`, and `SuspiciousSizeError` if its files have more bytes than lamina reads.
    """
    archive = ZipArchive(path, name=name, most_rows=MOST_FILES)
    total, most = sum(member.size for member, _ in archive.members), _MOST_TIMES * quotas().unzipped_bytes
    if total > most:
        archive.close()
        raise SuspiciousSizeError(
            f"`{name}` has {total:,} bytes unzipped; lamina inspects at most {most:,}, which is more than Lambda allows"
        )
    return archive


def _read(path: Path, name: str, sha256: str, *, is_layer: bool | None) -> ArchiveContents:
    with opened(path, name) as archive:
        files = {
            member.path: ContainedFile(member.path, member.size, member.crc, member.executable)
            for member, _ in sorted(archive.members)
        }
        if is_layer is None:
            is_layer = _is_layer(files)
        reader = _FileOwners(archive, files, _roots(files, is_layer=is_layer))
        found = sorted(reader.distributions(), key=lambda each: (each.name, each.root))
        rest = tuple(file for path, file in files.items() if path not in reader.owned and not MANIFEST.fullmatch(path))
        wrappers = tuple(file.path for file in rest if is_layer and reader.is_wrapper(file.path))
        return ArchiveContents(
            sha256=sha256,
            zipped_bytes=path.stat().st_size,
            files=len(files),
            unzipped_bytes=sum(file.size for file in files.values()),
            is_layer=is_layer,
            distributions=tuple(found),
            unowned=rest,
            modules=tuple(
                (root, module)
                for root in reader.roots
                for module in _modules(reader.below(root, [file.path for file in rest]))
            ),
            extensions=tuple(file for file in files if is_layer and _EXTENSION.fullmatch(file)),
            wrappers=wrappers,
            manifest=manifest_in(archive),
        )


def _modules(paths: Iterable[str]) -> tuple[str, ...]:
    """Return what `modules_at` does for *paths*, without those of modules that are nested too deeply to be real."""
    return modules_at(path for path in paths if path.count("/") <= _DEEPEST)


def source_of(path: str) -> str:
    """Return the source of the bytecode *path* in ``__pycache__``; *path* itself for any other file."""
    found = _CACHED.fullmatch(path)
    return path if found is None else f"{found[1]}{found[2]}.py"


def tag_of(path: str) -> str | None:
    """Return which Python the bytecode *path* in ``__pycache__`` is for, such as ``cpython-313``; ``None`` for any other file."""
    found = _CACHED.fullmatch(path)
    return None if found is None else found[3]


def place_of(path: str) -> str:
    """Return *path*, a file of a layer, with ``python/`` in place of the ``site-packages`` of one Python: where it is imported is the same."""
    found = _SITE.match(path)
    return path if found is None else PREFIX + path[found.end() :]


def _is_layer(files: Iterable[str]) -> bool:
    """Return whether *files* are those of a layer: they have a directory of layers, and no code next to it."""
    return any(path.startswith(_OF_LAYERS) for path in files) and not any(map(_OF_CODE.fullmatch, files))


def _roots(files: Iterable[str], *, is_layer: bool) -> tuple[str, ...]:
    """Return the directories of the zip that Python imports from, an inner one before the one that contains it."""
    if not is_layer:
        return ("",)
    sites = {found[0] for found in map(_SITE.match, files) if found is not None}
    return (*sorted(sites), PREFIX)


class _FileOwners:
    """Assigns the files of an open zip to distributions."""

    def __init__(self, archive: ZipArchive, files: Mapping[str, ContainedFile], roots: tuple[str, ...]) -> None:
        self._archive = archive
        self._members = {located.member.path: located for located in archive.members}
        self._files = files
        self.roots = roots
        self.owned: set[str] = set()
        """The paths of the files that belong to a distribution."""
        self._bytecode: dict[str, list[str]] = {}
        for path in files:
            if (source := source_of(path)) != path:
                self._bytecode.setdefault(source, []).append(path)
        self._inside: dict[str, list[str]] = {}
        self._metadata_bytes = 0
        self._record_rows = 0

    def below(self, root: str, paths: Iterable[str]) -> Iterator[str]:
        """Yield those of *paths* that are in *root*, relative to it, but in none of the roots inside it."""
        inner = tuple(each for each in self.roots if each != root and each.startswith(root))
        for path in paths:
            if path.startswith(root) and not (inner and path.startswith(inner)):
                yield path[len(root) :]

    def distributions(self) -> Iterator[ContainedDistribution]:
        """Yield the distributions. Those with a RECORD come first, so that the others get only what no RECORD lists."""
        recorded: list[tuple[str, str, dict[str, RecordRow]]] = []
        others: list[tuple[str, str, dict[str, RecordRow]]] = []
        for root in self.roots:
            for relative in self.below(root, self._files):
                top, slash, _ = relative.partition("/")
                if not slash or not top.endswith((".dist-info", ".egg-info")):
                    continue
                self._inside.setdefault(root + top, []).append(root + relative)
                if _METADATA.fullmatch(relative):
                    rows = self._rows(f"{root}{top}/RECORD")
                    (recorded if rows else others).append((root, root + relative, rows))
        if len(self._inside) > _MOST_DISTRIBUTIONS:
            raise SuspiciousSizeError(
                f"`{self._archive.name}` has the metadata of {len(self._inside):,} distributions; lamina inspects at most {_MOST_DISTRIBUTIONS:,}"
            )
        for root, metadata, rows in (*recorded, *others):
            if (found := self._distribution(root, metadata, rows)) is not None:
                self.owned.update(file.path for file in found.files)
                yield found

    def is_wrapper(self, path: str) -> bool:
        """Return whether the file *path* is an executable script outside the directories of Python."""
        if not self._files[path].executable or path.startswith(_OF_LAYERS):
            return False
        return bytes(next(iter(self._archive.pieces(self._members[path])), b"")[:2]) == b"#!"

    def _rows(self, path: str) -> dict[str, RecordRow]:
        """Return the rows of the RECORD at *path*. Raises `SuspiciousSizeError` if the zip has too many."""
        content = self._content(path)
        self._record_rows += content.count(b"\n")
        if self._record_rows > _MOST_ROWS:
            raise SuspiciousSizeError(f"`{self._archive.name}` has RECORDs of more than {_MOST_ROWS:,} files")
        return record_rows(content)

    def _distribution(self, root: str, metadata: str, rows: Mapping[str, RecordRow]) -> ContainedDistribution | None:
        directory = metadata.rpartition("/")[0]
        headers = metadata_headers(self._content(metadata).decode("utf-8", "replace"))
        if (identity := identified(headers, directory.removeprefix(root))) is None:
            return None
        name, version = identity
        paths = self._recorded(root, rows) if rows else self._named(root, directory, name)
        paths.update(self._inside[directory])
        files = tuple(self._files[path] for path in sorted(paths))
        return ContainedDistribution(
            name=name,
            version=version,
            root=root,
            metadata=directory,
            licence=_licence(headers),
            classifiers=tuple(each for each in headers.get("classifier", ()) if each.startswith("License ::")),
            requires=tuple(headers.get("requires-dist", ())),
            record=bool(rows),
            files=files,
            missing=tuple(sorted(path for path in rows if self._is_missing(root, path))),
            modules=_modules(self.below(root, [file.path for file in files])),
            sboms=tuple(file.path for file in files if file.path.startswith(f"{directory}/sboms/")),
        )

    def _recorded(self, root: str, rows: Iterable[str]) -> set[str]:
        """Return the files of the zip that the *rows* of a RECORD in *root* list, and the bytecode of their sources."""
        listed = {root + path for path in rows if root + path in self._files}
        return listed | {cached for path in listed for cached in self._bytecode.get(path, ())}

    def _named(self, root: str, directory: str, name: str) -> set[str]:
        """Return the files of the modules that a distribution without a RECORD has by its ``top_level.txt`` or by its *name*."""
        listed = self._content(f"{directory}/top_level.txt").decode("utf-8", "replace").split()
        modules = listed or [each.replace(".", "/") for each in modules_of(name)]
        # Each list is used once, so that many distributions with the same modules cost no more than one.
        found = (path for module in modules for path in self._by_module.pop(root + module, ()))
        return {path for path in found if path not in self.owned}

    @cached_property
    def _by_module(self) -> dict[str, list[str]]:
        """The files of each module that no RECORD lists, by its path without suffix, as far as `_DEPTH` reaches."""
        found: dict[str, list[str]] = {}
        for root in self.roots:
            for relative in self.below(root, [path for path in self._files if path not in self.owned]):
                *parents, name = relative.split("/")
                parts = (*parents, name.partition(".")[0])
                for length in range(1, min(len(parts), _DEPTH) + 1):
                    found.setdefault(root + "/".join(parts[:length]), []).append(root + relative)
        return found

    def _is_missing(self, root: str, path: str) -> bool:
        """Return whether the zip lacks the file *path* of a RECORD, although programs that make layers copy such files."""
        return root + path not in self._files and not path.endswith((".pyc", "/RECORD")) and not path.startswith("bin/")

    def _content(self, path: str) -> bytes:
        """Return the content of the file *path* of some metadata; empty if it is missing. Raises `SuspiciousSizeError` for too much."""
        located = self._members.get(path)
        if located is None:
            return b""
        self._metadata_bytes += located.member.size
        if self._metadata_bytes > _METADATA_BYTES:
            raise SuspiciousSizeError(
                f"`{self._archive.name}` has more than {_METADATA_BYTES:,} bytes of metadata of distributions"
            )
        return self._archive.read(located)


def _licence(headers: Mapping[str, list[str]]) -> str | None:
    for header in ("license-expression", "license"):
        text = headers.get(header, [""])[0]
        if text.lower() not in _UNKNOWN_LICENCES and len(text) <= _LICENCE_LENGTH:
            return text
    return None


def _parsed(document: dict[str, Any]) -> ArchiveContents:
    return ArchiveContents(
        **document
        | {
            "distributions": tuple(map(_distribution, document["distributions"])),
            "unowned": _files(document["unowned"]),
            "modules": tuple((root, module) for root, module in document["modules"]),
            "extensions": tuple(document["extensions"]),
            "wrappers": tuple(document["wrappers"]),
            "manifest": _manifest(document["manifest"]),
        }
    )


def _manifest(row: dict[str, Any] | None) -> LayerManifest | None:
    if row is None:
        return None
    artifacts = tuple(LayerArtifact(*each) for each in row["artifacts"])
    options = tuple((key, value) for key, value in row["options"])
    return LayerManifest(**row | {"artifacts": artifacts, "options": options})


def _distribution(row: dict[str, Any]) -> ContainedDistribution:
    values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in row.items()}
    return ContainedDistribution(**values | {"files": _files(row["files"])})


def _files(rows: Iterable[list[Any]]) -> tuple[ContainedFile, ...]:
    return tuple(ContainedFile(*row) for row in rows)
