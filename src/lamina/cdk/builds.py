"""
Ask for a project's build as often as constructs do, and make it once. Nothing here knows CDK.

Whether the last build still stands is asked of `lamina.pipeline.state`, once for each app: within one app everything
comes from one build. Only where it does not stand the pipeline is loaded and run. What failed is remembered until
something it was made from changes.
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
    """Something wrong with a project, to be said where its constructs are."""

    message: str
    """The fact, and on a line of its own the hint."""
    rule: str | None = None
    """The rule that a finding belongs to; ``None`` for what ended the build."""
    is_error: bool = True

    @classmethod
    def of(cls, error: LaminaError) -> Problem:
        """Return *error* as a problem."""
        return cls(message=f"{error}\nhint: {error.hint}" if error.hint else str(error))


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What there is of a project."""

    service: Service | None = None
    """``None`` where the configuration cannot be read."""
    publish: PublishConfig | None = None
    builds: tuple[Build, ...] = ()
    """One for each target; none where nothing was to be built, or an error was found."""
    problems: tuple[Problem, ...] = ()

    @property
    def targets(self) -> tuple[Target, ...]:
        """The configured targets, the first one first."""
        return (self.service.target, *self.service.others) if self.service else ()


class _App:
    """What one app has been told."""

    def __init__(self) -> None:
        self.answers: dict[tuple[Path, bool], tuple[Answer, list[tuple[int, ...]]]] = {}
        self._projects: dict[Path, Path] = {}

    def project(self, entry: Path) -> Path:
        """Return the project at *entry* or above it; raises ConfigError as `find_project` does."""
        # Not resolved: a link is how somebody names the project. But `..` would make it look like another one.
        place = Path(os.path.normpath(entry.absolute()))
        if place not in self._projects:
            self._projects[place] = find_project(place)
        return self._projects[place]


class Builds:
    """The builds of a process."""

    def __init__(self, stream: TextIO | None = None) -> None:
        """Talk on *stream*, stderr by default, and only if something was made."""
        self.runs = 0
        """How often the pipeline was run."""
        self._stream = stream
        self._apps: WeakKeyDictionary[object, _App] = WeakKeyDictionary()
        self._failures: dict[Path, tuple[Snapshot, Answer]] = {}

    def ask(self, entry: Path, *, app: object, build: bool) -> Answer:
        """
        Return what there is of the project at *entry* or above it, the same for everything in *app*.

        Unless *build* is true, only the configuration is read. Never raises LaminaError: that is one of the problems.
        """
        known = self._apps.setdefault(app, _App())
        try:
            project = known.project(entry)
        except ConfigError as error:
            problem = Problem.of(error)
            # What the command line calls so.
            return Answer(problems=(replace(problem, message=problem.message.replace("`--project`", "`entry`")),))
        if (project, build) not in known.answers:
            answer = self._answer(project, build=build)
            known.answers[project, build] = (answer, _stamps(answer))
        answer, stamps = known.answers[project, build]
        # Another app of this process, or another process, may have built since: then our digests are not of these zips.
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


# Synthesizing is single-threaded: JavaScript is on the other side.
SHARED = Builds()
"""What all constructs of this process share."""


class _Talk(Silent):
    """A reporter that passes on what needs a reader, on lines of their own."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream

    def note(self, message: str) -> None:
        stream = self._stream or sys.stderr
        stream.write(f"lamina: {message}\n")
        stream.flush()

    def warn(self, message: str, *, hint: str | None = None) -> None:
        self.note(f"{message}; {hint}" if hint else message)


def _standing(project: Path, targets: Sequence[Target]) -> tuple[Build, ...] | None:
    """Return the builds that the last run left, if nothing changed since then."""
    if state.recall(str(project), BuildOptions().asked()) is None:
        return None
    try:
        first, *others = [
            report.read(project),
            *(report.read(project, report.place_of(target)) for target in targets[1:]),
        ]
    except ConfigError:
        # Left by another version, or damaged: it is made anew, which needs no comment.
        return None
    return (first, *others)


def _stamps(answer: Answer) -> list[tuple[int, ...]]:
    """Return what tells whether the zips of *answer* are those that were there when it was given."""
    paths = [layer.path for build in answer.builds for layer in build.layers]
    paths += [package.path for build in answer.builds for package in build.packages]
    found = [path.stat() if path.exists() else None for path in paths]
    return [(each.st_mtime_ns, each.st_size, each.st_ino) if each else () for each in found]


def _overtaken(project: Path) -> Problem:
    return Problem(message=f"`{project}` was built again while the app was put together\nhint: synthesize again")


def _judged(read: Answer, builds: tuple[Build, ...]) -> Answer:
    # What is wrong for several targets is often the same.
    findings = dict.fromkeys(finding for build in builds for finding in build.findings)
    problems = tuple(_problem(finding) for finding in findings if finding.severity is not Severity.NOTE)
    return replace(read, builds=builds if all(build.ok for build in builds) else (), problems=problems)


def _problem(finding: Finding) -> Problem:
    return Problem(message=finding.message, rule=finding.rule, is_error=finding.severity is Severity.ERROR)


def _inputs(project: Path, service: Service) -> Snapshot:
    """Look at everything that decides whether a build that failed fails again, as far as it is the project's."""
    from lamina.lock import formats as locks
    from lamina.project.snapshot import take
    from lamina.project.sources import walk

    paths = [project, *service.inputs]
    try:
        lock_file = locks.find(project, service.lock)
        paths += [lock_file.path, *locks.searched(lock_file, project, service.lock)]
        sources = walk(project, service.source, service.include).snapshot.observations
    except LaminaError:
        # What is missing is what the build says.
        sources = ()
    looked = take(project, paths)
    return type(looked)((*looked.observations, *sources))


def _summary(result: Result) -> str:
    """Return one line on what was made."""
    made = [layer for each in result.targets for layer in each.plan.decided if layer.reused is None]
    parts = [f"built layer {layer.name}: {layer.reason}" for layer in made]
    functions = sum(len(each.build.packages) for each in result.targets if each.plan.package_plan.reused is None)
    if functions:
        parts.append(f"packed {functions} function{'' if functions == 1 else 's'}")
    return f"{'; '.join(parts)}, in {result.build.seconds:.2f} s"
