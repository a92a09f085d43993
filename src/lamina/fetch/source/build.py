"""
Build sources to wheels with ``uv build``, each once, and admit what fits the target to the store.

Two things make a build repeatable as far as the project's own build backend allows it: it sees a copy of the sources and nothing
else of the machine, and ``SOURCE_DATE_EPOCH`` says that it is 1980.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, assert_never

from packaging.utils import InvalidWheelFilename, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from lamina.bytecode.interpreter import search
from lamina.core.errors import FetchError, LocalBuildError, MissingExtraError
from lamina.core.values import DirectorySource, Pin, SdistSource, VcsSource, Wheel
from lamina.fetch.source.admission import admit, admitted
from lamina.fetch.source.tree import USERINFO, source_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lamina.core.reporter import Reporter
    from lamina.core.store import Store
    from lamina.core.target import Target
    from lamina.core.values import SourcePin
    from lamina.fetch.index import PackageIndex

UV_CACHE = "uv"
"""The area of the store that is uv's own cache."""
_EPOCH_SECONDS = 315_532_800
"""1980-01-01 in seconds since 1970: the first date that a zip can hold."""
_SHOWN_LINES = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Workshop:
    """What building needs beside the sources."""

    target: Target
    store: Store
    index: PackageIndex
    """Its project is where uv looks for settings, such as the indexes of build requirements; asked for suggestions."""
    fetch: Callable[[Pin], Path]
    """Brings a locked source archive into the store."""
    reporter: Reporter


def build(pins: Sequence[SourcePin], workshop: Workshop) -> tuple[Wheel, ...]:
    """
    Return a wheel of each of *pins*, in that order, building those that the store does not hold.

    The pins of the wheels have the digest of the sources and the wheel's file name. Every one is tried before anything is
    raised: the one LocalBuildError as it is, or one that names all; MissingExtraError where uv is not installed.
    """
    wheels: list[Wheel] = []
    failures: list[LocalBuildError] = []
    for pin in pins:
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
        # Who held the lock before may have built it.
        if wheel := admitted(pin, workshop.target, workshop.store):
            return wheel
        with tempfile.TemporaryDirectory(prefix="lamina-build-") as name:
            directory = Path(os.path.realpath(name))
            try:
                made = _make(pin, directory, workshop)
                return admit(made, pin, workshop.target, workshop.store, directory=directory)
            except LocalBuildError as error:
                raise _with_suggestion(error, pin, workshop) from error


def _make(pin: SourcePin, directory: Path, workshop: Workshop) -> Path:
    """Return the wheel that ``uv build`` makes inside *directory*."""
    source, program = pin.source, _uv(pin)
    workshop.reporter.note(f"Building `{source.name}` {pin.version}: this runs the code of {_where(pin)}")
    place = source_tree(pin, directory / "source", workshop.fetch)
    output = directory / "wheel"
    arguments = [program, "build", "--wheel", "--no-sources", "--color", "never", "--out-dir", str(output)]
    arguments += [
        "--python",
        str(_interpreter(workshop)),
        *(["--offline"] if workshop.index.offline else []),
        str(place),
    ]
    done = subprocess.run(
        arguments,
        cwd=workshop.index.project,
        env=_environment(pin, directory, workshop.store),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    log = USERINFO.sub("", done.stdout.decode("utf-8", "replace")).strip()
    found = sorted(output.glob("*.whl"))
    if done.returncode or len(found) != 1:
        end = "\n".join(log.splitlines()[-_SHOWN_LINES:])
        raise LocalBuildError(
            f"`{source.name}` {pin.version} could not be built from {_where(pin)}",
            hint=f"the end of the build's log:\n{end}" if end else "the build said nothing",
        )
    return found[0]


def _where(pin: SourcePin) -> str:
    match pin.source:
        case DirectorySource(path=path):
            return f"`{path}`"
        case SdistSource(filename=filename):
            return f"`{filename}`"
        case VcsSource(url=url, commit=commit):
            return f"`{url}` at {commit[:12]}"
        case _:
            assert_never(pin.source)


def _uv(pin: SourcePin) -> str:
    """Return the path of uv: beside this interpreter, as the extra installs it, else on ``PATH``."""
    beside = Path(sys.executable).with_name("uv.exe" if sys.platform == "win32" else "uv")
    found = str(beside) if beside.is_file() else shutil.which("uv")
    if found is None:
        raise MissingExtraError(extra="uv", purpose=f"building `{pin.source.name}` to a wheel")
    return found


def _interpreter(workshop: Workshop) -> Path:
    """Return a Python of the target's minor; another will do where there is none, because only pure wheels are taken."""
    found = search(workshop.target.python, cache=workshop.store.directory("") / "interpreters.json")
    return found.path if found else Path(sys.executable)


def _environment(pin: SourcePin, directory: Path, store: Store) -> dict[str, str]:
    foreign = {"VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP"}
    name = re.sub(r"[-_.]+", "_", pin.source.name).upper()
    known = {f"SETUPTOOLS_SCM_PRETEND_VERSION_FOR_{name}": pin.version} if pin.version != "dynamic" else {}
    kept = {key: value for key, value in os.environ.items() if key not in foreign}
    return (
        kept
        | known
        | {
            "PYTHONHASHSEED": "0",
            "SOURCE_DATE_EPOCH": str(_EPOCH_SECONDS),
            "TMPDIR": str(directory),
            # Its own, so that nothing of the user's decides; kept, so that a change of code does not fetch backends again.
            "UV_CACHE_DIR": str(store.directory(UV_CACHE)),
            "UV_NO_PROGRESS": "1",
            "UV_PYTHON_DOWNLOADS": "never",
        }
    )


def _with_suggestion(error: LocalBuildError, pin: SourcePin, workshop: Workshop) -> LocalBuildError:
    """Return *error* with the nearest version that needs no building; only an index can know one."""
    if not isinstance(pin.source, SdistSource) or workshop.index.offline:
        return error
    found = _nearest(pin, workshop.target, workshop.index)
    advice = (
        f"`{found}` is the nearest version with a wheel for {workshop.target}: require it, and lock again"
        if found
        else f"no index that was asked has a wheel of `{pin.source.name}` for {workshop.target}: build one on a "
        "machine like the target, put it on an index of your own, and lock again"
    )
    return LocalBuildError(str(error), hint="\n".join(filter(None, (error.hint, advice))))


def _nearest(pin: SourcePin, target: Target, index: PackageIndex) -> str | None:
    """
    Return ``name==version`` of the next later version with a wheel that *target* takes, else of the last earlier one.

    One question to each configured index; ``None`` where none knows one, or none can be asked.
    """
    try:
        filenames = index.filenames(pin.source.name)
        locked = Version(pin.version)
    except (FetchError, InvalidVersion):
        # A suggestion is not worth an error of its own.
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
