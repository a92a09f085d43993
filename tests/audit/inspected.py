"""Create finished layers and packages from bytes, and an inspection of them, for the rules of `lamina check`."""

from __future__ import annotations

import datetime as dt
import hashlib
import zipfile
from typing import TYPE_CHECKING

from lamina.audit.inspection import Inspection
from lamina.core.frozen import replace
from lamina.core.reporter import SILENT
from lamina.core.store import Store
from lamina.core.target import Target
from lamina.core.values import Build, Distribution, Extent, Layer, Package
from pipeline.checks.made import make_service

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    Files = Mapping[str, bytes]

WHEEL = "{name}-1.0-cp313-cp313-manylinux_2_17_x86_64.manylinux2014_x86_64.whl"
SOURCE = "{name}-1.0.tar.gz"
MODE = 0o644


def layer_of(directory: Path, name: str, distributions: Mapping[str, Files], *, artifact: str = WHEEL) -> Layer:
    """Write the layer *name* with the files of each distribution below ``python/``, as one segment; *artifact* is the format of file names."""
    path = directory / f"{name}.zip"
    starts = []
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for files in distributions.values():
            starts.append(archive.fp.tell() if archive.fp else 0)
            for member, content in files.items():
                _write(archive, f"python/{member}", content)
        starts.append(archive.fp.tell() if archive.fp else 0)
        _write(archive, "lamina/0.json", b"{}")
    extents = tuple(
        Extent(
            name=each,
            size=end - start,
            segment=hashlib.sha256(repr(sorted(files.items())).encode()).hexdigest(),
        )
        for (each, files), start, end in zip(distributions.items(), starts, starts[1:], strict=False)
    )
    shares = tuple(
        Distribution(
            name=each,
            version="1.0",
            artifact=artifact.format(name=each),
            sha256=extent.segment,
            zipped_bytes=extent.size,
            unzipped_bytes=extent.size,
        )
        for each, extent in zip(distributions, extents, strict=True)
    )
    return Layer(
        name=name,
        path=path,
        digest="0",
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        zipped_bytes=path.stat().st_size,
        unzipped_bytes=0,
        files=1,
        distributions=shares,
        extents=extents,
    )


def package_of(
    directory: Path, name: str, files: Files, layers: Sequence[str] = (), modes: Mapping[str, int] | None = None
) -> Package:
    """Write the package of the function *name*; *modes* has the modes of files that differ from the usual one."""
    path = directory / f"{name}-function.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, content in files.items():
            _write(archive, member, content, (modes or {}).get(member, MODE))
    return Package(
        name=name,
        handler="app.handler",
        path=path,
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        zipped_bytes=0,
        unzipped_bytes=0,
        files=len(files),
        layers=tuple(layers),
        total_unzipped_bytes=0,
        console_editable=True,
    )


def inspection_of(
    directory: Path,
    *,
    layers: Sequence[Layer] = (),
    packages: Sequence[Package] = (),
    runtime: str = "python3.13",
    architecture: str = "x86_64",
) -> Inspection:
    """Return an inspection of one build, with a store in *directory*."""
    build = Build(
        service="orders",
        target=Target.of(runtime, architecture),
        layers=tuple(layers),
        packages=tuple(packages),
        findings=(),
        reused=False,
        seconds=0.0,
    )
    return Inspection(
        project=directory,
        service=replace(make_service(runtime=runtime), root=directory, source=(".",)),
        builds=(build,),
        store=Store(directory / "store"),
        reporter=SILENT,
        today=dt.date(2026, 11, 28),
    )


def _write(archive: zipfile.ZipFile, path: str, content: bytes, mode: int = MODE) -> None:
    member = zipfile.ZipInfo(path)
    member.compress_type = zipfile.ZIP_DEFLATED
    member.create_system = 3
    member.external_attr = (0o100000 | mode) << 16
    archive.writestr(member, content)
