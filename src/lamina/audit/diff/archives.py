"""Read a zip as one side of a comparison. The zip may be untrusted."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from lamina.archive.layer import MANIFEST_DIRECTORY
from lamina.audit.diff.values import ArchiveKind, ArchiveSizes, ComparedArchive, ComparedDistribution
from lamina.audit.inventory.contents import contents_of, opened
from lamina.bytecode.imports.resolve import module_name
from lamina.core.documents import INVALID
from lamina.core.frozen import frozen
from lamina.pipeline.provenance import verify
from lamina.project.service import BytecodeMode

if TYPE_CHECKING:
    from pathlib import Path

    from lamina.audit.inventory.contents import ArchiveContents
    from lamina.core.store import Store

_BYTECODE = ".pyc"
_MANIFEST = re.compile(rf"{MANIFEST_DIRECTORY}/([0-9a-f]{{64}})\.json")
_MANIFEST_BYTES = 16 << 20


@frozen
class LayerManifest:
    """What the manifest in a layer that lamina built says. It proves nothing: anyone can write one."""

    digest: str
    target: str
    mode: str
    """The bytecode mode."""
    hashes: tuple[tuple[str, str], ...]
    """The SHA-256 of each distribution's wheel or source, by name."""


def read_archive(
    path: Path, *, store: Store, kind: ArchiveKind | None = None, name: str | None = None, target: str = ""
) -> ComparedArchive:
    """
    Return the zip at *path* as one side of a comparison.

    *kind* is that of a layer or package of a service; by default, the content of a single zip decides. *name* is its file name by default. *target* is that of a package; a layer's manifest
    states its own. Raises the errors of `contents_of`.
    """
    is_layer = None if kind is None else kind is ArchiveKind.LAYER
    contents = contents_of(path, store=store, is_layer=is_layer)
    manifest = _manifest(path) if contents.is_layer else None
    hashes = {} if manifest is None else dict(manifest.hashes)
    files = [*contents.unowned, *(file for each in contents.distributions for file in each.files)]
    return ComparedArchive(
        kind=ArchiveKind.LAYER if contents.is_layer else ArchiveKind.PACKAGE,
        name=path.stem if name is None else name,
        target=target or ("" if manifest is None else manifest.target),
        digest=None if manifest is None else manifest.digest,
        sha256=contents.sha256,
        sizes=ArchiveSizes(
            zipped_bytes=contents.zipped_bytes,
            unzipped_bytes=contents.unzipped_bytes,
            bytecode_bytes=sum({file.path: file.size for file in files if file.path.endswith(_BYTECODE)}.values()),
            files=contents.files,
        ),
        distributions=tuple(
            ComparedDistribution(
                name=each.name, version=each.version, sha256=hashes.get(each.name), unzipped_bytes=each.size
            )
            for each in contents.distributions
        ),
        files=tuple(sorted({(each.path, each.size, each.crc) for each in files if not each.path.endswith(_BYTECODE)})),
        owned=tuple(sorted({(file.path, each.name) for each in contents.distributions for file in each.files})),
        reached=_reached(contents) if manifest is not None and manifest.mode == BytecodeMode.REACHABLE.value else None,
        is_of_service=kind is not None,
        provenance=verify(path, contents.sha256),
    )


def _manifest(path: Path) -> LayerManifest | None:
    """Return what the manifest in the layer at *path* says, or ``None`` if lamina did not build the layer."""
    with opened(path, path.name) as archive:
        for located in archive.members:
            found = _MANIFEST.fullmatch(located.member.path)
            if found is not None and located.member.size <= _MANIFEST_BYTES:
                try:
                    return _parsed(json.loads(archive.read(located)), found[1])
                except INVALID:
                    return None
    return None


def _parsed(document: dict[str, Any], digest: str) -> LayerManifest:
    target = document["target"]
    architecture = target["architecture"]
    return LayerManifest(
        digest=digest,
        target=str(target["runtime"]) + (f" on {architecture}" if architecture else ""),
        mode=str(dict(document["bytecode"]).get("mode")),
        hashes=tuple((str(row["name"]), str(row["sha256"])) for row in document["distributions"]),
    )


def _reached(contents: ArchiveContents) -> tuple[tuple[str, str], ...]:
    """Return the modules with bytecode: in the mode ``reachable``, those that handlers can import."""
    return tuple(
        sorted(
            {
                (each.name, module)
                for each in contents.distributions
                for source in each.compiled
                if (module := module_name(source.removeprefix(each.root))) is not None
            }
        )
    )
