"""Make the other sides of a comparison: the same function without a distribution, or out of another build or revision."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import uuid
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.coldstart.measure import Subject
from lamina.coldstart.owners import Owners, source_of
from lamina.core.errors import ConfigError
from lamina.core.names import normalized
from lamina.local import unpack
from lamina.local.artifacts import function_of
from lamina.local.environment import Mode, prepare
from lamina.project.config import load
from lamina.project.table import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from lamina.coldstart.measure import Measurement
    from lamina.core.reporter import Reporter
    from lamina.local.artifacts import Artifacts
    from lamina.pipeline.context import TeamStore
    from lamina.project.options import BuildOptions

_NO_MODULE = re.compile(r"No module named '([^']+)'")


@dataclass(frozen=True, kw_only=True, slots=True)
class EnvironmentOptions:
    """How environments are shown to the functions that are measured."""

    mode: Mode = Mode.AUTO
    additional: Mapping[str, str] | None = None
    """Environment variables beyond the configured ones."""


_PLAIN = EnvironmentOptions()


def subjects(
    artifacts: Artifacts, names: Sequence[str], *, variant: str = "", options: EnvironmentOptions = _PLAIN
) -> tuple[Subject, ...]:
    """
    Return the functions *names* of a build, all of them if none is named, ready to be measured.

    Raises ConfigError for a name that the build does not have, or if it has none, and what `lamina.local.environment.prepare` raises.
    """
    service = load(artifacts.project)
    chosen = [artifacts.function(name) for name in names] or list(artifacts.build.packages)
    if not chosen:
        raise ConfigError("The build has no function", hint="configure one, and build: lamina build")
    found: list[Subject] = []
    owners: dict[Path, Owners] = {}
    for built in chosen:
        environment = prepare(
            artifacts,
            built,
            function_of(built, service),
            mode=options.mode,
            home=found[0].environment.home if found else None,
            additional=options.additional,
        )
        if environment.layer not in owners:
            owners[environment.layer] = Owners(environment.layer)
        found.append(
            Subject(function=built.name, variant=variant, environment=environment, owners=owners[environment.layer])
        )
    return tuple(found)


@contextmanager
def without(base: Sequence[Subject], names: Sequence[str]) -> Iterator[tuple[Subject, ...]]:
    """
    Provide those of *base* whose layers hold a distribution of *names*, with the files of these hidden.

    Raises ConfigError with the names that no layer of *base* holds.
    """
    hidden = [normalized(name) for name in names]
    known = {name for subject in base for name in subject.owners.distributions}
    if unknown := [name for name in hidden if name not in known]:
        raise ConfigError(
            "No layer of these functions holds "
            + ", ".join(f"`{name}`{did_you_mean(name, sorted(known))}" for name in unknown),
            hint="distributions of the layers: lamina build --json",
        )
    made: dict[Path, Path] = {}
    found: list[Subject] = []
    try:
        for subject in base:
            environment = subject.environment
            paths = {path for name in hidden for path in subject.owners.files(name)}
            if not paths:
                continue
            if environment.layer not in made:
                parent = environment.scratch.parent / "without"
                parent.mkdir(exist_ok=True)
                unpack.remove_unused(parent)
                # Known before it exists, so that whatever interrupts this leaves nothing behind.
                made[environment.layer] = parent / uuid.uuid4().hex
                made[environment.layer].mkdir()
                _link(environment.layer, made[environment.layer], hidden=paths)
            layer = made[environment.layer]
            found.append(
                Subject(
                    function=subject.function,
                    variant=f"without {', '.join(hidden)}",
                    environment=replace(environment, layer=layer),
                    owners=subject.owners,
                    absent=_roots(paths),
                )
            )
        yield tuple(found)
    finally:
        for directory in made.values():
            shutil.rmtree(directory, ignore_errors=True)


def _link(source: Path, destination: Path, *, hidden: set[str]) -> None:
    """Make *destination* a copy of *source* by hard links, but for the *hidden* files and their bytecode."""
    for directory, _, names in os.walk(source):
        relative = Path(directory).relative_to(source)
        for name in names:
            path = (relative / name).as_posix()
            if source_of(path) not in hidden:
                target = destination / path
                target.parent.mkdir(parents=True, exist_ok=True)
                os.link(Path(directory, name), target)
    destination.chmod(0o755)


def _roots(paths: set[str]) -> tuple[str, ...]:
    """Return the outermost regular packages and single modules among *paths*, as dotted names."""
    names: set[str] = set()
    for path in paths:
        below = path.partition("site-packages/")[2] or path.removeprefix("python/")
        parts = below.split("/")
        stem = parts[-1].partition(".")[0]
        if parts[-1].endswith((".py", ".so")) and all(part.isidentifier() for part in (*parts[:-1], stem)):
            names.add(".".join(parts[:-1] if stem == "__init__" else (*parts[:-1], stem)))
    return tuple(sorted(name for name in names if not any(parent in names for parent in _ancestors(name))))


def _ancestors(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:length]) for length in range(1, len(parts))]


@contextmanager
def at_revision(
    project: Path, revision: str, options: BuildOptions, *, team_store: TeamStore, reporter: Reporter
) -> Iterator[Path]:
    """
    Provide the directory of *project* as it was at *revision*, built there with *options*.

    Raises ConfigError if it is no revision of a git repository that holds *project*, and whatever a build raises.
    """
    from lamina.pipeline.build import build

    top, prefix = _git(project, "rev-parse", "--show-toplevel", "--show-prefix").split("\n")[:2]
    commit = _git(project, "rev-parse", "--verify", "--end-of-options", f"{revision}^{{commit}}").strip()
    directory = Path(tempfile.mkdtemp(prefix="lamina-revision-"))
    tree = directory / "tree"
    try:
        # The repository's own hooks are for its working tree.
        _git(Path(top), "-c", "core.hooksPath=/dev/null", "worktree", "add", "--detach", "--quiet", str(tree), commit)
        service = tree / prefix
        if not service.is_dir():
            raise ConfigError(f"There is no `{prefix}` in revision `{revision}`", hint="compare with a later revision")
        build(service, options, team_store=team_store, reporter=reporter)
        yield service
    finally:
        shutil.rmtree(directory, ignore_errors=True)
        _git(Path(top), "worktree", "prune")


def _git(directory: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(directory), *arguments],
            check=True,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            text=True,
        )
    except FileNotFoundError as error:
        raise ConfigError("Comparing with a revision needs `git`", hint="compare with a directory instead") from error
    except subprocess.CalledProcessError as error:
        said = (error.stderr.strip().splitlines() or ["it says nothing"])[-1]
        raise ConfigError(
            f"`git {' '.join(arguments[:2])}` failed in `{directory}`: {said}",
            hint="give a revision of the repository that holds the service, or a directory that was built",
        ) from error
    return done.stdout


def needed_by(measurement: Measurement) -> tuple[str, ...]:
    """Return the imports that lead to the one that failed a function's first start, outermost first; nothing if it was no import."""
    found = _NO_MODULE.search(measurement.first_failure or "")
    if found is None or measurement.first is None:
        return ()
    chains = [chain for module, chain in measurement.first.missing if module == found[1]]
    return chains[-1] if chains else ()
