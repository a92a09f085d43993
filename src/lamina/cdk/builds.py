"""
Build each project once, however many constructs need it. This module does not import CDK.

`lamina.pipeline.state` checks once for each app whether the previous build is still up to date, so all constructs of an app use the
same build. The pipeline is imported and run only if the build is outdated. A failed build is not repeated until an input changes.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TextIO
from weakref import WeakKeyDictionary

from lamina.aws.publish import config as publishing
from lamina.core.errors import ConfigError, LaminaError
from lamina.core.reporter import Silent
from lamina.core.text import visible
from lamina.core.values import Severity
from lamina.pipeline import report, state
from lamina.project import config
from lamina.project.file import find_project
from lamina.project.options import BuildOptions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lamina.aws.publish.config import PublishConfig
    from lamina.core.target import Target
    from lamina.core.values import Build, Finding
    from lamina.pipeline.build import Result
    from lamina.project.service import Service
    from lamina.project.snapshot import Snapshot


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """An error or warning about a project, reported in the stacks of its constructs."""

    message: str
    """The fact, followed by the hint on its own line if there is one."""
    rule: str | None = None
    """The rule of a finding; ``None`` for any other error."""
    is_error: bool = True

    @classmethod
    def of(cls, error: LaminaError) -> Problem:
        """Return *error* as a problem, with its hint."""
        return cls(message=f"{error}\nhint: {error.hint}" if error.hint else str(error))


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """A project's configuration, its builds, and its problems."""

    service: Service | None = None
    """The configured service; ``None`` if the configuration cannot be read."""
    publish: PublishConfig | None = None
    builds: tuple[Build, ...] = ()
    """One build for each target; empty if no build was requested, or if a build failed or has errors."""
    problems: tuple[Problem, ...] = ()

    @property
    def targets(self) -> tuple[Target, ...]:
        """The configured targets, the default one first; empty if the configuration cannot be read."""
        return (self.service.target, *self.service.others) if self.service else ()


class _App:
    """The answers for the constructs of one app, with the stats of their zips, by project."""

    def __init__(self) -> None:
        self.answers: dict[tuple[Path, bool], tuple[Answer, list[tuple[int, ...]]]] = {}
        self._projects: dict[Path, Path] = {}

    def project(self, entry: Path) -> Path:
        """Return the directory of the project at *entry* or above it. Raises the errors of `find_project`."""
        # Symbolic links are kept, because the user names the project by them. Only `..` is removed, so that one project has one path.
        place = Path(os.path.normpath(entry.absolute()))
        if place not in self._projects:
            self._projects[place] = find_project(place)
        return self._projects[place]


class Builds:
    """Builds projects for constructs, and keeps the answers for each app and project."""

    def __init__(self, stream: TextIO | None = None) -> None:
        """Write the notes and warnings of builds to *stream*, by default stderr."""
        self.runs = 0
        """The number of times that this object has run the pipeline."""
        self._stream = stream
        self._apps: WeakKeyDictionary[object, _App] = WeakKeyDictionary()
        self._failures: dict[Path, tuple[Snapshot, Answer]] = {}

    def ask(self, entry: Path, *, app: object, build: bool) -> Answer:
        """
        Return the answer for the project at *entry* or above it, the same for all constructs of *app*.

        Unless *build* is true, only the configuration is read. If the zips were replaced since the first call, the answer has no builds
        and a problem instead. Never raises `LaminaError`; errors are among the answer's problems.
        """
        known = self._apps.setdefault(app, _App())
        try:
            project = known.project(entry)
        except ConfigError as error:
            problem = Problem.of(error)
            # The constructs' argument is `entry`; the command line's option is `--project`.
            return Answer(problems=(replace(problem, message=problem.message.replace("`--project`", "`entry`")),))
        if (project, build) not in known.answers:
            answer = self._answer(project, build=build)
            known.answers[project, build] = (answer, _stamps(answer))
        answer, stamps = known.answers[project, build]
        # Another app or process may have built the project since. The digests in this answer then do not match the zips.
        return answer if stamps == _stamps(answer) else replace(answer, builds=(), problems=(_overtaken(project),))

    def _answer(self, project: Path, *, build: bool) -> Answer:
        try:
            read = Answer(service=config.load(project), publish=publishing.load(project))
            if not build or read.service is None:
                return read
            builds = _standing(project, read.targets)
        except LaminaError as error:
            return Answer(problems=(Problem.of(error),))
        return self._build(project, read.service, read) if builds is None else _judged(read, builds)

    def _build(self, project: Path, service: Service, read: Answer) -> Answer:
        failed = self._failures.get(project)
        if failed is not None and failed[0].unchanged(project):
            return failed[1]
        from lamina.aws.store.team import team_store
        from lamina.pipeline.build import build

        inputs = _inputs(project, service)
        self.runs += 1
        try:
            result = build(project, BuildOptions(), team_store=team_store, reporter=_Talk(self._stream))
        except LaminaError as error:
            answer = replace(read, problems=(Problem.of(error),))
        else:
            builds = tuple(each.build for each in result.targets)
            answer = _judged(read, builds)
            if not all(each.reused for each in builds) and answer.builds:
                _Talk(self._stream).note(_summary(result))
        if not answer.builds:
            self._failures[project] = (inputs, answer)
        return answer


# A single instance without locks is safe, because synthesis in JavaScript is single-threaded.
SHARED = Builds()
"""The builds that all constructs of this process share."""


class _Talk(Silent):
    """A reporter that writes notes and warnings, one line each, and no progress."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream

    def note(self, message: str) -> None:
        stream = self._stream or sys.stderr
        stream.write(f"lamina: {visible(message)}\n")
        stream.flush()

    def warn(self, message: str, *, hint: str | None = None) -> None:
        self.note(f"{message}; {hint}" if hint else message)


def _standing(project: Path, targets: Sequence[Target]) -> tuple[Build, ...] | None:
    """Return the builds of the last run, or ``None`` if an input has changed since then or the reports cannot be read."""
    if state.recall(str(project), BuildOptions().asked()) is None:
        return None
    try:
        first, *others = [
            report.read(project),
            *(report.read(project, report.place_of(target)) for target in targets[1:]),
        ]
    except ConfigError:
        # Another version of lamina wrote the report, or it is damaged. Building again replaces it.
        return None
    return (first, *others)


def _stamps(answer: Answer) -> list[tuple[int, ...]]:
    """Return the modification time, size and inode of each zip of *answer*, or an empty tuple for a missing zip, to detect replaced zips."""
    paths = [layer.path for build in answer.builds for layer in build.layers]
    paths += [package.path for build in answer.builds for package in build.packages]
    found = [path.stat() if path.exists() else None for path in paths]
    return [(each.st_mtime_ns, each.st_size, each.st_ino) if each else () for each in found]


def _overtaken(project: Path) -> Problem:
    return Problem(
        message=f"project `{project}` was rebuilt by another process or app during synthesis\nhint: run `cdk synth` again"
    )


def _judged(read: Answer, builds: tuple[Build, ...]) -> Answer:
    # The same finding often occurs for several targets.
    findings = dict.fromkeys(finding for build in builds for finding in build.findings)
    problems = tuple(_problem(finding) for finding in findings if finding.severity is not Severity.NOTE)
    return replace(read, builds=builds if all(build.ok for build in builds) else (), problems=problems)


def _problem(finding: Finding) -> Problem:
    return Problem(message=finding.message, rule=finding.rule, is_error=finding.severity is Severity.ERROR)


def _inputs(project: Path, service: Service) -> Snapshot:
    """Return a snapshot of the project files: while they are unchanged, a failed build would fail again."""
    from lamina.lock import formats as locks
    from lamina.project.snapshot import take
    from lamina.project.sources import walk

    paths = [project, *service.inputs]
    try:
        lock_file = locks.find(project, service.lock)
        paths += [lock_file.path, *locks.searched(lock_file, project, service.lock)]
        trees = [walk(project, package.source, service.include) for package in service.packages]
    except LaminaError:
        # The build itself reports the error.
        trees = []
    looked = take(project, paths)
    sources = [observation for tree in trees for observation in tree.snapshot.observations]
    return type(looked)(observations=(*looked.observations, *sources))


def _summary(result: Result) -> str:
    """Return one line about the layers and packages that were built."""
    made = [layer for each in result.targets for layer in each.plan.decided if layer.reused is None]
    parts = [f"built layer {layer.name}: {layer.reason}" for layer in made]
    functions = sum(
        len(plan.config.functions) for each in result.targets for plan in each.plan.package_plans if plan.reused is None
    )
    if functions:
        parts.append(f"packed {functions} function{'' if functions == 1 else 's'}")
    return f"{'; '.join(parts)}, in {result.build.seconds:.2f} s"
