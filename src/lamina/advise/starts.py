"""
Read measured cold starts: a baseline of ``lamina coldstart``, or what ``lamina coldstart --aws … --json`` has read from CloudWatch or X-Ray.

A number that is in neither is unknown. lamina does not estimate it.
"""

from __future__ import annotations

import json
from dataclasses import field
from typing import TYPE_CHECKING, Any

from lamina.advise.recommend import MeasuredStart
from lamina.aws.deploy import config
from lamina.coldstart import thresholds
from lamina.core.errors import ConfigError
from lamina.core.files import read_file
from lamina.core.frozen import frozen

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from lamina.advise.values import Layout
    from lamina.coldstart.thresholds import FunctionPackaging
    from lamina.project.service import Service


@frozen
class MeasuredStarts:
    """Measured cold starts, and the packaging that was measured."""

    file: str = ""
    """The name of the file with the times; empty if there is none."""
    times: Mapping[str, MeasuredStart] = field(default_factory=dict)
    """The times of functions, by their names."""
    packages: Mapping[str, FunctionPackaging] | None = None
    """The distributions that each of the functions had; ``None`` if that is not known."""
    is_deployed: bool = False
    """Whether the functions were measured in AWS."""

    def of(self, layout: Layout) -> Mapping[str, MeasuredStart]:
        """Return the times if they were measured with *layout*; otherwise none."""
        known, held = self.packages, layout.packages
        is_same = known is not None and all(known.get(name) == held.get(name) for name in self.times)
        return self.times if is_same else {}


def read_starts(path: Path, service: Service) -> MeasuredStarts:
    """
    Return the median cold starts in the file *path* of the functions of *service*; those of other functions are left out.

    Of several versions in AWS, that with the newest cold starts counts. Raises `ConfigError` if the file is neither a baseline nor such a
    document, and the errors of reading the names that functions have in AWS.
    """
    document = _observed(path)
    names = {each.name for each in service.functions}
    if document is None:
        baseline = thresholds.read(path)
        times = {
            name: MeasuredStart(milliseconds=each.total_ms, source=f"{path.name}, measured on a machine of yours")
            for name, each in baseline.functions
            if name in names
        }
        return MeasuredStarts(file=path.name, times=times, packages=baseline.packages)
    deployed = config.load(service.root)
    known = {deployed.name(service.name, name): name for name in sorted(names)}
    starts: dict[str, MeasuredStart] = {}
    try:
        for row in sorted(document["groups"], key=lambda row: str(row["first"])):
            if (name := known.get(row["function"])) is not None:
                source = f"{row['source']} in {path.name}"
                starts[name] = MeasuredStart(milliseconds=float(row["milliseconds"]["p50"]), source=source)
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(
            f"`{path}` has no cold starts of format version 1",
            hint="write it again: `lamina coldstart --aws FUNCTION --logs 24 --json`",
        ) from error
    return MeasuredStarts(file=path.name, times=starts, is_deployed=True)


def _observed(path: Path) -> dict[str, Any] | None:
    """Return the content of *path* if it has cold starts in AWS; otherwise ``None``."""
    try:
        document = json.loads(read_file(path))
    except (OSError, ValueError, RecursionError):
        # Reading it as a baseline reports why.
        return None
    return document if isinstance(document, dict) and document.get("kind") == "aws" else None
