"""
Read measured cold starts: a baseline of ``lamina coldstart``, or what ``lamina coldstart --aws … --json`` has read from CloudWatch or X-Ray.

A number that is in neither is unknown. lamina does not estimate it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from lamina.advise.recommend import MeasuredStart
from lamina.aws.deploy import config
from lamina.coldstart import thresholds
from lamina.core.errors import ConfigError
from lamina.core.files import read_file

if TYPE_CHECKING:
    from pathlib import Path

    from lamina.project.service import Service


def read_starts(path: Path, service: Service) -> dict[str, MeasuredStart]:
    """
    Return the median cold starts in the file *path*, by the names of the functions of *service*; those of other functions are left out.

    Of several versions in AWS, that with the newest cold starts counts. Raises `ConfigError` if the file is neither a baseline nor such a
    document, and the errors of reading the names that functions have in AWS.
    """
    document = _observed(path)
    names = {each.name for each in service.functions}
    if document is None:
        found = thresholds.read(path).functions
        return {
            name: MeasuredStart(milliseconds=each.total_ms, source=path.name) for name, each in found if name in names
        }
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
    return starts


def _observed(path: Path) -> dict[str, Any] | None:
    """Return the content of *path* if it has cold starts in AWS; otherwise ``None``."""
    try:
        document = json.loads(read_file(path))
    except (OSError, ValueError, RecursionError):
        # Reading it as a baseline reports why.
        return None
    return document if isinstance(document, dict) and document.get("kind") == "aws" else None
