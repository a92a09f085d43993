"""What the bucket knows about a layer: who is in it, and which parts it is made of. Written once, beside the layer."""

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
    """One distribution of a published layer."""

    name: str
    version: str
    artifact: str
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerRecord:
    """What was recorded of a published layer."""

    digest: str
    sha256: str
    """Of the zip."""
    zipped_bytes: int
    platform: str
    """What it runs on, in words."""
    distributions: tuple[RecordedDistribution, ...]
    parts: tuple[str, ...]
    """SHA-256 of each part but the tail, in order."""
    directories: tuple[str, ...] = ()
    """Names of what the remote index has of it."""
    segments: tuple[tuple[str, int], ...] = ()
    """Names and sizes in bytes of its segments, in the order of the zip, from its first byte on; none where they have no names."""


def encode_record(
    desired: DesiredLayer, parts: Sequence[str], directories: Sequence[str] = (), *, sha256: str
) -> bytes:
    """
    Return the record of a layer whose *parts* have these SHA-256; the same bytes whoever writes it.

    *directories* is what the remote index has of it; *sha256* is that of its zip, which the layer may not know.
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
    """Return the record in *content*, or ``None`` if that is missing, damaged, or of a later version."""
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
    """Return whether *content* is a record of the same zip as *record*, whatever else it says."""
    found, other = decode_record(content), decode_record(record)
    fields = attrgetter("digest", "sha256", "zipped_bytes", "parts")
    return found is not None and other is not None and fields(found) == fields(other)
