"""Tests that a process builds each project once, however many constructs it has, and prints one line about it."""

from __future__ import annotations

import io
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lamina.cdk.builds import Builds

if TYPE_CHECKING:
    from services import Service


class App:
    """A stand-in for the root of a construct tree."""


@pytest.fixture
def said() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def builds(said: io.StringIO) -> Builds:
    return Builds(said)


def test_app_sees_one_build(service: Service, builds: Builds) -> None:
    """All constructs of an app see the same build; an edit made during synthesis reaches the next app."""
    project, app = service.write(), App()
    first = builds.ask(project, app=app, build=True)
    (project / "service/handlers/hello.py").write_text("def lambda_handler(event, context): ...\n")

    again = builds.ask(project / "service", app=app, build=True)
    other = builds.ask(project, app=App(), build=True)

    assert again is first
    assert first.builds[0].packages[0].sha256 != other.builds[0].packages[0].sha256
    assert first.builds[0].layers == other.builds[0].layers
    assert 2 == builds.runs


def test_relative_entry_is_of_the_directory_that_asks(
    service: Service, builds: Builds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same relative entry in another working directory is another project, even within one app."""
    first, app = service.write(), App()
    second = shutil.copytree(first, tmp_path / "second")
    found = []
    for directory in (first, second):
        monkeypatch.chdir(directory)
        found.append(builds.ask(Path(), app=app, build=False).service)

    assert [first, second] == [each.root for each in found if each]


def test_app_is_not_given_the_zips_of_another_build(service: Service, builds: Builds) -> None:
    """If the project was rebuilt during synthesis, the app receives an error instead of digests that do not match the zips."""
    project, app = service.write(), App()
    builds.ask(project, app=app, build=True)
    (project / "service/handlers/hello.py").write_text("def lambda_handler(event, context): ...\n")
    builds.ask(project, app=App(), build=True)

    overtaken = builds.ask(project, app=app, build=True)

    assert () == overtaken.builds
    assert [
        f"project `{project}` was rebuilt by another process or app during synthesis\nhint: run `cdk synth` again"
    ] == [problem.message for problem in overtaken.problems]


def test_failure_is_remembered_until_something_changes(service: Service, builds: Builds) -> None:
    """A failed build is repeated only after one of its inputs, such as the lock file, has changed."""
    project = service.write()
    lock = (project / "pylock.toml").read_bytes()
    (project / "pylock.toml").unlink()

    answers = [builds.ask(project, app=App(), build=True) for _ in range(3)]

    assert 1 == builds.runs
    assert not any(answer.builds for answer in answers)
    assert 1 == len({answer.problems for answer in answers})
    (project / "pylock.toml").write_bytes(lock)
    assert not builds.ask(project, app=App(), build=True).problems
    assert 2 == builds.runs


def test_talks_only_of_what_was_made(service: Service, builds: Builds, said: io.StringIO) -> None:
    """Each build prints one line; a build that is up to date prints nothing, in another process either."""
    project = service.write()
    builds.ask(project, app=App(), build=True)
    service.add("beta", "2.1", {"beta.py": ""})
    service.write()
    builds.ask(project, app=App(), build=True)
    later = Builds(said)
    later.ask(project, app=App(), build=True)

    lines = [line.rpartition(",")[0] for line in said.getvalue().splitlines()]

    assert [
        "lamina: built layer common: not built before; packed 2 functions",
        "lamina: built layer common: beta 2.0 → 2.1",
    ] == lines
    assert (2, 0) == (builds.runs, later.runs)


def test_functions_with_their_own_sources(service: Service, builds: Builds, said: io.StringIO) -> None:
    """Each function gets its own package; an edit to one of them builds only that package."""
    service.functions["report"] = "app.lambda_handler"
    service.sources["report"] = '["functions/report/*"]'
    app = service.root / "functions" / "report" / "app.py"
    app.parent.mkdir(parents=True)
    app.write_text("def lambda_handler(event, context): ...\n")
    project = service.write()
    first = builds.ask(project, app=App(), build=True).builds[0].packages
    app.write_text("def lambda_handler(event, context): return 1\n")

    second = builds.ask(project, app=App(), build=True).builds[0].packages

    assert 2 == len({package.sha256 for package in first})
    assert ([True, False]) == [old.sha256 == new.sha256 for old, new in zip(first, second, strict=True)]
    assert [
        "lamina: built layer common: not built before; packed 2 functions",
        "lamina: packed 1 function",
    ] == [line.rpartition(",")[0] for line in said.getvalue().splitlines()]


def test_failure_is_remembered_until_the_source_of_a_function_changes(service: Service, builds: Builds) -> None:
    """A failed build is repeated after an edit to a function's own source."""
    service.functions["report"] = "app.lambda_handler"
    service.sources["report"] = '["functions/report/*"]'
    app = service.root / "functions" / "report" / "app.py"
    app.parent.mkdir(parents=True)
    app.write_text("")
    project = service.write()

    failed = [builds.ask(project, app=App(), build=True) for _ in range(2)]
    app.write_text("def lambda_handler(event, context): ...\n")
    answer = builds.ask(project, app=App(), build=True)

    assert ([True, True], []) == ([bool(each.problems) for each in failed], list(answer.problems))
    assert 2 == builds.runs


def test_reads_the_configuration_only(service: Service, builds: Builds) -> None:
    """If no assets are needed, only the configuration is read: nothing is built or written."""
    project = service.write()

    answer = builds.ask(project, app=App(), build=False)

    assert answer.service is not None
    assert () == answer.builds
    assert () == answer.problems
    assert not (project / ".lamina").exists()
    assert 0 == builds.runs


def test_all_targets(service: Service, builds: Builds) -> None:
    """A service with several targets has one build for each, in the process that built them and in the next one."""
    del service.settings["runtime"], service.settings["architecture"]
    service.settings["targets"] = '["python3.13-arm64", "python3.12-x86_64"]'
    project = service.write()

    made = builds.ask(project, app=App(), build=True)
    found = Builds().ask(project, app=App(), build=True)

    assert ["python3.13 on arm64", "python3.12 on x86_64"] == [str(build.target) for build in made.builds]
    assert [build.layers for build in made.builds] == [build.layers for build in found.builds]
