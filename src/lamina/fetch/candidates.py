"""Order the files of a version by how well they suit a target, judged by their names alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    canonicalize_version,
    parse_sdist_filename,
    parse_wheel_filename,
)

from lamina.core.errors import NoCompatibleWheelError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lamina.core.target import Target


def ordered(files: Iterable[tuple[str, str]], name: str, version: str, target: Target) -> list[tuple[str, str]]:
    """
    Return those of *files*, pairs of file name and URL, that *target* supports and that are *version*, the best first.

    Source archives follow only if no wheel has this version. Raises `NoCompatibleWheelError` if there are wheels, but none
    that *target* supports.
    """
    ranks = {tag: rank for rank, tag in enumerate(target.tags)}
    wheels: dict[tuple[str, str], tuple[int, tuple[int, str]]] = {}
    others: list[str] = []
    archives: list[tuple[str, str]] = []
    for filename, url in files:
        try:
            if not filename.endswith(".whl"):
                if canonicalize_version(parse_sdist_filename(filename)[1]) == canonicalize_version(version):
                    archives.append((filename, url))
                continue
            _, found, build, tags = parse_wheel_filename(filename)
        except (InvalidSdistFilename, InvalidWheelFilename):
            # Names from before the specification, and files that are no distributions.
            continue
        if canonicalize_version(found) != canonicalize_version(version):
            continue
        if fitting := [ranks[tag] for tag in tags if tag in ranks]:
            wheels[filename, url] = -min(fitting), build or (-1, "")
        else:
            others.append(filename)
    if others and not wheels:
        raise NoCompatibleWheelError(
            f"the index has no wheel of `{name}` {version} for {target}: {', '.join(f'`{each}`' for each in others)}",
            offered={f"{name}=={version}": others},
            hint="lock a version that has such a wheel, or build for another target",
        )
    return sorted(wheels, key=lambda file: wheels[file], reverse=True) or archives
