"""Layers for tests that need no wheels: a zip of random bytes, described as if it contained segments."""

from __future__ import annotations

import hashlib
import random
from typing import TYPE_CHECKING

from lamina.aws.publish.config import PublishConfig
from lamina.aws.publish.desired import DesiredLayer, desired_layers
from lamina.aws.publish.layer_record import encode_record
from lamina.core.target import Target, quotas
from lamina.core.values import Build, Distribution, Extent, Layer

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

PART = quotas().multipart_part_bytes
TARGET = Target.of("python3.13", "arm64")


def content_of(name: str, version: str, size: int) -> bytes:
    """Return bytes that depend only on *name* and *version*."""
    return random.Random(f"{name} {version}").randbytes(size)  # noqa: S311 - not for secrets


def make_layer(
    directory: Path, sizes: Mapping[str, int], *, versions: Mapping[str, str] | None = None, name: str = "common"
) -> Layer:
    """Write a layer of distributions with these *sizes*. Their version is 1.0 unless *versions* has another one."""
    known = {each: (versions or {}).get(each, "1.0") for each in sizes}
    ordered = sorted(sizes, key=lambda each: (sizes[each] < PART, each))
    pieces = [content_of(each, known[each], sizes[each]) for each in ordered]
    whole = b"".join([*pieces, b"directory of ", repr(sorted(known.items())).encode()])
    digest = hashlib.sha256(repr(sorted(known.items())).encode()).hexdigest()
    path = directory / f"{name}.zip"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(whole)
    return Layer(
        name=name,
        path=path,
        digest=digest,
        sha256=hashlib.sha256(whole).hexdigest(),
        zipped_bytes=len(whole),
        unzipped_bytes=len(whole),
        files=len(sizes),
        distributions=tuple(
            Distribution(
                name=each,
                version=known[each],
                artifact=f"{each}-{known[each]}-py3-none-any.whl",
                sha256=hashlib.sha256(f"{each} {known[each]}".encode()).hexdigest(),
                zipped_bytes=sizes[each],
                unzipped_bytes=sizes[each],
            )
            for each in sorted(sizes)
        ),
        extents=tuple(Extent(name=each, size=len(piece)) for each, piece in zip(ordered, pieces, strict=True)),
    )


def make_build(*layers: Layer, service: str = "shop") -> Build:
    """Return a build with *layers*."""
    return Build(service=service, target=TARGET, layers=layers, packages=(), findings=(), reused=False, seconds=0.0)


def make_wanted(layer: Layer, config: PublishConfig | None = None, *, service: str = "shop") -> DesiredLayer:
    """Return the desired state of one *layer*."""
    (wanted,) = desired_layers([make_build(layer, service=service)], config or PublishConfig(bucket="artifacts"))
    return wanted


def make_record(wanted: DesiredLayer) -> bytes:
    """Return the record of a layer without parts."""
    assert wanted.layer.sha256 is not None
    return encode_record(wanted, (), sha256=wanted.layer.sha256)
