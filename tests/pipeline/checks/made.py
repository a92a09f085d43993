"""Create small finished layers and packages for the checks: zips of given files, with their descriptions."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from built import write_zip
from lamina.core.target import Target
from lamina.core.values import Distribution, Layer, Package
from lamina.project.service import BytecodeMode, LayerConfig, SdkPolicy, Service

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["make_layer", "make_package", "make_service"]


def make_layer(
    directory: Path,
    name: str,
    distributions: Mapping[str, Mapping[str, str]],
    *,
    requires: Mapping[str, Sequence[str]] | None = None,
) -> Layer:
    """
    Write the layer *name* with *distributions*, which maps ``name==version`` to files.

    *requires* lists the requirements in a distribution's METADATA, by the same keys.
    """
    files: dict[str, str | bytes] = {"lamina/0.json": name}
    shares = []
    for requirement, content in distributions.items():
        project, version = requirement.split("==")
        info = f"{project.replace('-', '_')}-{version}.dist-info"
        lines = [f"Requires-Dist: {each}" for each in (requires or {}).get(requirement, ())]
        own = {
            **content,
            f"{info}/METADATA": "\n".join(["Metadata-Version: 2.1", f"Name: {project}", *lines, "", "Words.\n"]),
        }
        own[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in own) + f"{name}\n"
        files |= {f"python/{path}": text for path, text in own.items()}
        shares.append(
            Distribution(
                name=project,
                version=version,
                artifact=f"{project}-{version}-py3-none-any.whl",
                sha256=hashlib.sha256(f"{requirement}{sorted(content.items())}".encode()).hexdigest(),
                zipped_bytes=1,
                unzipped_bytes=1000,
                bytecode_bytes=100,
            )
        )
    path = directory / "layers" / f"{name}.zip"
    return Layer(
        name=name,
        path=path,
        digest="0",
        sha256=write_zip(path, files),
        zipped_bytes=path.stat().st_size,
        unzipped_bytes=0,
        files=len(files),
        distributions=tuple(shares),
    )


def make_package(directory: Path, name: str, files: Sequence[str] = (), *, layers: Sequence[str] = ()) -> Package:
    """Write the package of the function *name* with empty *files*."""
    path = directory / "functions" / f"{name}.zip"
    return Package(
        name=name,
        handler="service.handler",
        path=path,
        sha256=write_zip(path, dict.fromkeys(files, "")),
        zipped_bytes=path.stat().st_size,
        unzipped_bytes=0,
        files=len(files),
        layers=tuple(layers),
        total_unzipped_bytes=0,
        console_editable=True,
    )


def make_service(
    *,
    sdk: SdkPolicy = SdkPolicy.CHECK,
    runtime: str = "python3.13",
    layers: Sequence[LayerConfig] = (),
) -> Service:
    """Return the configuration that the checks use."""
    return Service(
        root=Path("orders"),
        name="orders",
        target=Target.of(runtime, "arm64"),
        source=(),
        include=(),
        bytecode=BytecodeMode.NONE,
        exclude=(),
        groups=(),
        extras=(),
        ignore=(),
        lock=None,
        functions=(),
        layers=tuple(layers),
        inputs=(),
        sdk=sdk,
    )
