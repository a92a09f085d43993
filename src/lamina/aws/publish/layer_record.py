"""Read and write the record of a layer: its distributions, parts and segments. The record is stored next to the layer's zip in the bucket."""

from __future__ import annotations

import json
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lamina.aws.publish.desired import DesiredLayer

_VERSION = "1"


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordedDistribution:
    """One distribution of a published layer, with the name and SHA-256 of its file."""

    name: str
    version: str
    artifact: str
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerRecord:
    """The contents of a published layer. Later runs compare them with new layers, and reuse the parts and segments."""

    digest: str
    sha256: str
    """The SHA-256 of the zip."""
    zipped_bytes: int
    platform: str
    """The layer's runtime and architectures as text, such as ``python3.13 on arm64``."""
    distributions: tuple[RecordedDistribution, ...]
    parts: tuple[str, ...]
    """The SHA-256 of each part, in order. The tail is not included."""
    directories: tuple[str, ...] = ()
    """The names of the layer's entries in the remote index."""
    segments: tuple[tuple[str, int], ...] = ()
    """The name and size in bytes of each segment, in the order of the zip; empty if a segment has no name."""


def encode_record(
    desired: DesiredLayer, parts: Sequence[str], directories: Sequence[str] = (), *, sha256: str
) -> bytes:
    """
    Return the record of a layer as JSON. Every publisher of the same layer writes the same bytes.

    *parts* are the SHA-256 hashes of the layer's parts. *directories* are the names of its entries in the remote index. *sha256* is the
    SHA-256 of its zip, which may be unknown in *desired*.
    """
    layer = desired.layer
    named = all(each.segment for each in layer.extents)
    document = {
        "version": _VERSION,
        "digest": layer.digest,
        "sha256": sha256,
        "zipped_bytes": layer.zipped_bytes,
        "platform": desired.platform,
        "distributions": [
            {"name": each.name, "version": each.version, "artifact": each.artifact, "sha256": each.sha256}
            for each in layer.distributions
        ],
        "parts": list(parts),
        "directories": list(directories),
        "segments": [[each.segment, each.size] for each in layer.extents] if named else [],
    }
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def decode_record(content: bytes | None) -> LayerRecord | None:
    """Parse a record, or return ``None`` if *content* is missing, damaged, or of another format version."""
    try:
        document: dict[str, Any] = json.loads(content or b"")
        if document["version"] != _VERSION:
            return None
        return LayerRecord(
            digest=document["digest"],
            sha256=document["sha256"],
            zipped_bytes=document["zipped_bytes"],
            platform=document["platform"],
            distributions=tuple(RecordedDistribution(**row) for row in document["distributions"]),
            parts=tuple(document["parts"]),
            directories=tuple(document.get("directories", ())),
            segments=_segments(document),
        )
    except (KeyError, OverflowError, RecursionError, TypeError, ValueError):
        return None


def _segments(document: dict[str, Any]) -> tuple[tuple[str, int], ...]:
    segments = tuple((str(name), int(size)) for name, size in document.get("segments", ()))
    sizes = [size for _, size in segments]
    if min(sizes, default=1) < 1 or sum(sizes) > document["zipped_bytes"]:
        raise ValueError("segments")
    return segments


def is_of(content: bytes | None, record: bytes) -> bool:
    """Return whether *content* and *record* are valid records of the same zip. Fields that do not describe the zip may differ."""
    found, other = decode_record(content), decode_record(record)
    fields = attrgetter("digest", "sha256", "zipped_bytes", "parts")
    return found is not None and other is not None and fields(found) == fields(other)
