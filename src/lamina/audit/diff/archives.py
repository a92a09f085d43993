"""Read a zip as one side of a comparison. The zip may be untrusted."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from lamina.audit.diff.values import ArchiveKind, ArchiveSizes, ComparedArchive, ComparedDistribution
from lamina.audit.inventory.contents import contents_of, place_of
from lamina.bytecode.imports.resolve import module_name
from lamina.pipeline.provenance import verify
from lamina.project.service import BytecodeMode

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from lamina.archive.manifest import LayerManifest
    from lamina.audit.inventory.contents import ArchiveContents, ContainedFile
    from lamina.core.store import Store

_BYTECODE = ".pyc"


def read_archive(
    path: Path,
    *,
    store: Store,
    kind: ArchiveKind | None = None,
    name: str | None = None,
    target: str = "",
    sha256: str | None = None,
) -> ComparedArchive:
    """
    Return the zip at *path* as one side of a comparison.

    *kind* is that of a layer or package of a service; by default, the content of a single zip decides. *name* is its file name by default.
    *target* is that of a package; a layer's manifest states its own. *sha256* is the zip's hash if it is known. Raises the errors of
    `contents_of`.
    """
    is_layer = None if kind is None else kind is ArchiveKind.LAYER
    contents = contents_of(path, store=store, is_layer=is_layer, sha256=sha256)
    manifest = contents.manifest if contents.is_layer else None
    hashes = {} if manifest is None else {each.name: each.sha256 for each in manifest.artifacts}
    files = sorted({*contents.unowned, *(file for each in contents.distributions for file in each.files)})
    bytecode = [file for file in files if file.path.endswith(_BYTECODE)]
    return ComparedArchive(
        kind=ArchiveKind.LAYER if contents.is_layer else ArchiveKind.PACKAGE,
        name=path.stem if name is None else name,
        target=target or ("" if manifest is None else _target(manifest)),
        digest=None if manifest is None else manifest.digest,
        options=None if manifest is None else manifest.options,
        sha256=contents.sha256,
        sizes=ArchiveSizes(
            zipped_bytes=contents.zipped_bytes,
            unzipped_bytes=contents.unzipped_bytes,
            bytecode_bytes=sum(file.size for file in bytecode),
            files=contents.files,
        ),
        distributions=tuple(
            ComparedDistribution(
                name=each.name, version=each.version, sha256=hashes.get(each.name), unzipped_bytes=each.size
            )
            for each in contents.distributions
        ),
        files=tuple((file.path, file.size, file.crc) for file in files if not file.path.endswith(_BYTECODE)),
        bytecode=_fingerprint(bytecode),
        owned=tuple(sorted({(file.path, each.name) for each in contents.distributions for file in each.files})),
        reached=_reached(contents, manifest),
        is_of_service=kind is not None,
        provenance=verify(path, contents.sha256, manifest=lambda: contents.manifest),
    )


def _target(manifest: LayerManifest) -> str:
    return manifest.runtime + (f" on {manifest.architecture}" if manifest.architecture else "")


def _fingerprint(files: Iterable[ContainedFile]) -> str:
    """Return a hash of the sizes and checksums of *files*, wherever Python imports them from."""
    rows = sorted((place_of(file.path), file.size, file.crc) for file in files)
    return hashlib.sha256(repr(rows).encode()).hexdigest()


def _reached(contents: ArchiveContents, manifest: LayerManifest | None) -> tuple[tuple[str, str], ...] | None:
    """Return the modules with bytecode: in the mode ``reachable``, those that handlers can import. ``None`` in any other mode."""
    if manifest is None or dict(manifest.options).get("bytecode.mode") != BytecodeMode.REACHABLE.value:
        return None
    found = {
        (each.name, module)
        for each in contents.distributions
        for source in each.compiled
        if (module := module_name(source.removeprefix(each.root))) is not None
    }
    return tuple(sorted(found))
