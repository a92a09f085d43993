"""
Build wheels from sources with ``uv build``, and add those that the target supports to the store.

To make builds repeatable, lamina builds a copy of the sources in a directory of its own, and sets ``SOURCE_DATE_EPOCH`` to
1980-01-01. The project's build backend may still produce different bytes.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, assert_never

from packaging.utils import InvalidWheelFilename, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from lamina.bytecode.interpreter import cache_in, find_uv, search
from lamina.core.errors import FetchError, LocalBuildError, MissingExtraError
from lamina.core.files import naming
from lamina.core.supervised.process import run
from lamina.core.temporary import temporary_directory
from lamina.core.urls import shown_path, without_query, without_userinfo
from lamina.core.values import DirectorySource, Pin, SdistSource, VcsSource, Wheel
from lamina.fetch.source.admission import admit, admitted
from lamina.fetch.source.environment import build_environment
from lamina.fetch.source.tree import source_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lamina.core.reporter import Reporter
    from lamina.core.store import Store
    from lamina.core.target import Target
    from lamina.core.values import SourcePin
    from lamina.fetch.index import PackageIndex

UV_CACHE = "uv"
"""The name of the directory in the store for uv's cache."""
_EPOCH_SECONDS = 315_532_800
"""1980-01-01 in seconds since 1970: the earliest date that the zip format supports."""
_SHOWN_LINES = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Workshop:
    """The target, store and other dependencies of a build."""

    target: Target
    store: Store
    index: PackageIndex
    """The project's indexes, for suggestions. ``uv build`` runs in the project's directory and reads its own settings there."""
    fetch: Callable[[Pin], Path]
    """Downloads a locked source archive into the store, and returns its path."""
    reporter: Reporter


def build(pins: Sequence[SourcePin], workshop: Workshop) -> tuple[Wheel, ...]:
    """
    Return one wheel for each of *pins*, in that order, building those that are not in the store.

    The pin of a built wheel has the wheel's version and file name, and the digest of the sources.

    All pins are tried before a `LocalBuildError` is raised. Several of them are combined into one that lists all. Raises
    `MissingExtraError` if uv is not installed, and the errors of `Workshop.fetch`.
    """
    wheels: list[Wheel] = []
    failures: list[LocalBuildError] = []
    for number, pin in enumerate(pins, 1):
        workshop.reporter.stage(f"building wheel {number} of {len(pins)}: {pin.source.name}")
        try:
            wheels.append(_built(pin, workshop))
        except LocalBuildError as error:
            failures.append(error)
    if failures:
        raise failures[0] if len(failures) == 1 else _together(failures)
    return tuple(wheels)


def _together(failures: Sequence[LocalBuildError]) -> LocalBuildError:
    hints = [f"{failure}:\n{failure.hint}" for failure in failures if failure.hint]
    return LocalBuildError("; ".join(str(failure) for failure in failures), hint="\n\n".join(hints))


def _built(pin: SourcePin, workshop: Workshop) -> Wheel:
    if wheel := admitted(pin, workshop.target, workshop.store):
        return wheel
    with workshop.store.exclusive(f"build-{pin.sha256}"):
        # Another process may have built the wheel while this one waited for the lock.
        if wheel := admitted(pin, workshop.target, workshop.store):
            return wheel
        with temporary_directory("build") as directory, naming(directory):
            try:
                made = _make(pin, directory, workshop)
                return admit(made, pin, workshop.target, workshop.store, directory=directory)
            except LocalBuildError as error:
                raise _with_suggestion(error, pin, workshop) from error


def _make(pin: SourcePin, directory: Path, workshop: Workshop) -> Path:
    """Build a wheel with ``uv build`` inside *directory*, and return the wheel's path."""
    source, program = pin.source, _uv(pin)
    workshop.reporter.announce(f"building `{source.name}` {pin.version}; the build runs code from {_where(pin)}")
    place = source_tree(pin, directory / "source", workshop.fetch)
    output = directory / "wheel"
    arguments = [program, "build", "--wheel", "--no-sources", "--color", "never", "--out-dir", str(output)]
    arguments += [
        "--python",
        str(_interpreter(workshop)),
        *(["--offline"] if workshop.index.offline else []),
        str(place),
    ]
    done = run(arguments, environment=_environment(pin, directory, workshop.store), directory=workshop.index.project)
    log = without_userinfo(done.output.decode("utf-8", "replace")).strip()
    found = sorted(output.glob("*.whl"))
    if done.code or len(found) != 1:
        end = "\n".join(log.splitlines()[-_SHOWN_LINES:])
        raise LocalBuildError(
            f"could not build `{source.name}` {pin.version} from {_where(pin)}",
            hint="\n".join(
                filter(
                    None,
                    (_next_step(pin), f"last lines of the build log:\n{end}" if end else "the build printed no output"),
                )
            ),
        )
    return found[0]


def _next_step(pin: SourcePin) -> str:
    """Return what to do if a build of *pin* fails; nothing for a source distribution, for which `_with_suggestion` knows it."""
    match pin.source:
        case DirectorySource(path=path):
            shown = shlex.quote(min(os.path.relpath(path), str(path), key=len))
            return f"correct the project; to see the whole log, run `uv build --wheel {shown}`"
        case VcsSource():
            return "lock another commit, or put a wheel on your own index and regenerate the lock"
        case _:
            return ""


def _where(pin: SourcePin) -> str:
    match pin.source:
        case DirectorySource(path=path):
            return f"`{shown_path(path)}`"
        case SdistSource(filename=filename):
            return f"`{filename}`"
        case VcsSource(url=url, commit=commit):
            return f"`{without_query(url)}` at {commit[:12]}"
        case _:
            assert_never(pin.source)


def _uv(pin: SourcePin) -> str:
    found = find_uv()
    if found is None:
        raise MissingExtraError(extra="uv", purpose=f"building a wheel of `{pin.source.name}`")
    return found


def _interpreter(workshop: Workshop) -> Path:
    """
    Return a Python interpreter with the target's minor version, or this process's interpreter if there is none.

    Any interpreter can build a pure Python wheel. A wheel compiled for another Python version is rejected later.
    """
    found = search(workshop.target.python, cache=cache_in(workshop.store))
    return found.path if found else Path(sys.executable)


def _environment(pin: SourcePin, directory: Path, store: Store) -> dict[str, str]:
    name = re.sub(r"[-_.]+", "_", pin.source.name).upper()
    known = {f"SETUPTOOLS_SCM_PRETEND_VERSION_FOR_{name}": pin.version} if pin.version != "dynamic" else {}
    return (
        build_environment(os.environ)
        | known
        | {
            "PYTHONHASHSEED": "0",
            "SOURCE_DATE_EPOCH": str(_EPOCH_SECONDS),
            "TMPDIR": str(directory),
            # A separate cache keeps the user's uv cache from affecting the build. It is in the store, so that build
            # backends are not downloaded again for each build.
            "UV_CACHE_DIR": str(store.directory(UV_CACHE)),
            "UV_NO_PROGRESS": "1",
            "UV_PYTHON_DOWNLOADS": "never",
        }
    )


def _with_suggestion(error: LocalBuildError, pin: SourcePin, workshop: Workshop) -> LocalBuildError:
    """
    Return *error* with a hint that suggests the nearest version with a wheel.

    Return *error* unchanged if lamina is offline, or unless *pin* is a source distribution.
    """
    if not isinstance(pin.source, SdistSource) or workshop.index.offline:
        return error
    found = _nearest(pin, workshop.target, workshop.index)
    advice = (
        f"require `{found}`, the nearest version with a wheel for {workshop.target}, and regenerate the lock"
        if found
        else f"build a wheel of `{pin.source.name}` on a machine like the target, upload it to your own index, and "
        f"regenerate the lock: lamina found no wheel for {workshop.target} in the configured indexes"
    )
    return LocalBuildError(str(error), hint="\n".join(filter(None, (advice, error.hint))))


def _nearest(pin: SourcePin, target: Target, index: PackageIndex) -> str | None:
    """
    Return ``name==version`` of the nearest version with a wheel that *target* supports, or ``None``.

    The lowest later release is preferred, then the highest earlier version. If the request to an index fails, return ``None``.
    """
    try:
        filenames = index.filenames(pin.source.name)
        locked = Version(pin.version)
    except (FetchError, InvalidVersion):
        # A failed suggestion must not replace the build's error.
        return None
    wanted = frozenset(target.tags)
    versions = {version for filename in filenames if (version := _version_for(filename, pin.name, wanted)) is not None}
    later = sorted(version for version in versions if version > locked and not version.is_prerelease)
    earlier = sorted(version for version in versions if version < locked)
    found = later[0] if later else earlier[-1] if earlier else None
    return f"{pin.source.name}=={found}" if found else None


def _version_for(filename: str, name: str, wanted: frozenset[object]) -> Version | None:
    try:
        project, version, _, tags = parse_wheel_filename(filename)
    except InvalidWheelFilename:
        return None
    return version if project == name and tags & wanted else None
