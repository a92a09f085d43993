"""Write the service's own code into a layer, as a segment beside those of the distributions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.archive.package import encode_source
from lamina.archive.segment import AREA, find_segment, write_segment
from lamina.core.paths import PREFIX
from lamina.core.store import key_of
from lamina.project.sources import fingerprint

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lamina.archive.segment import Segment
    from lamina.core.store import Store
    from lamina.project.sources import SourceFile

OWN_CODE = "(own code)"
"""The name of a segment with the service's own code. No distribution can have this name."""
_FORMAT = 1


def own_code_segment(
    files: Sequence[SourceFile], store: Store, *, omitted: frozenset[str] = frozenset(), prefix: str = PREFIX
) -> Segment:
    """
    Return the segment of *files*, below *prefix*, from *store*, or create it.

    *omitted* contains paths of the zip to leave out, because a distribution contains them with the same content.
    Raises `PackageError` for a file that changed since it was listed, and OSError for a missing file.
    """
    own = fingerprint((file.path, file.sha256) for file in files)
    key = key_of(_FORMAT, own, sorted(omitted), *(() if prefix == PREFIX else (prefix,)))
    path = store.entry(AREA, key, ".seg")
    if (segment := find_segment(path, store)) is not None:
        return segment
    kept = (file for file in files if prefix + file.path not in omitted)
    return write_segment(path, (encode_source(prefix + file.path, file.read()) for file in kept), store)
