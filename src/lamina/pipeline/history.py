"""
Keep one small row for each of the last builds that changed a zip, beside the build, for `lamina report`.

The history decides nothing about a build. A build with nothing to do neither reads nor writes it.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from typing import TYPE_CHECKING

from lamina.core.documents import INVALID, open_sealed, read_bounded, seal
from lamina.core.files import replace_file
from lamina.core.frozen import as_dict, frozen
from lamina.pipeline.report import OUTPUT_DIRECTORY

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from lamina.core.values import Build

HISTORY_FILE = f"{OUTPUT_DIRECTORY}/history.jsonl"
_VERSION = "1"
_MOST_ROWS = 100
"""The number of builds that are kept: lamina's choice. A row has about 300 bytes, and 100 more for each layer."""


@frozen
class PastArchive:
    """A layer in a past build."""

    name: str
    target: str
    digest: str
    zipped_bytes: int
    unzipped_bytes: int
    files: int


@frozen
class PastBuild:
    """One build that changed a zip, for all targets of the service."""

    built: str
    """When it started, in UTC, as ISO 8601 with seconds."""
    zips: str
    """What identifies all of its zips: equal for two builds with the same bytes."""
    seconds: float
    layers: tuple[PastArchive, ...]
    functions: int
    """The number of functions, those of further targets included."""
    functions_zipped_bytes: int
    """The zipped bytes of different function packages; functions with the same package count once."""
    errors: int
    warnings: int


def identity(builds: Sequence[Build]) -> str:
    """Return what identifies the zips of *builds*, the last builds for all targets."""
    zips = [(str(build.target), each.name, each.sha256) for build in builds for each in build.layers]
    zips += [(str(build.target), each.name, each.sha256) for build in builds for each in build.packages]
    return hashlib.sha256(json.dumps(zips).encode()).hexdigest()


def read_history(project: Path) -> tuple[PastBuild, ...]:
    """Return the last builds of *project*, the newest last. Damaged rows and those of another format are left out."""
    found = []
    for line in (read_bounded(project / HISTORY_FILE) or b"").splitlines(keepends=True):
        try:
            row = open_sealed(line, HISTORY_FILE)
            if row.pop("version") == _VERSION:
                found.append(PastBuild(**row | {"layers": tuple(PastArchive(**each) for each in row["layers"])}))
        except INVALID:
            continue
    return tuple(found)


def built_at(project: Path, builds: Sequence[Build]) -> str | None:
    """Return when the zips of *builds*, the last builds for all targets of *project*, were built; ``None`` if it is not recorded."""
    zips = identity(builds)
    return next((row.built for row in reversed(read_history(project)) if row.zips == zips), None)


def record_build(project: Path, builds: Sequence[Build], *, started_ns: int) -> None:
    """
    Add the *builds* of *project* for all targets to its history, atomically, unless the newest row has the same zips.

    *started_ns* is the time of their start in nanoseconds since the epoch.
    """
    known = read_history(project)
    zips = identity(builds)
    if known and known[-1].zips == zips:
        return
    packages = [each for build in builds for each in build.packages]
    severities = [finding.severity.value for build in builds for finding in build.findings]
    new = PastBuild(
        built=dt.datetime.fromtimestamp(started_ns // 10**9, tz=dt.UTC).isoformat(),
        zips=zips,
        seconds=round(builds[0].seconds, 3),
        layers=tuple(
            PastArchive(
                name=each.name,
                target=str(build.target),
                digest=each.digest,
                zipped_bytes=each.zipped_bytes,
                unzipped_bytes=each.unzipped_bytes,
                files=each.files,
            )
            for build in builds
            for each in build.layers
        ),
        functions=len(packages),
        functions_zipped_bytes=sum({each.sha256: each.zipped_bytes for each in packages}.values()),
        errors=severities.count("error"),
        warnings=severities.count("warning"),
    )
    kept = (*known, new)[-_MOST_ROWS:]
    rows = [seal({"version": _VERSION, **as_dict(each)}, HISTORY_FILE, default=as_dict) for each in kept]
    replace_file(project / HISTORY_FILE, b"".join(rows))
