"""A process builds each project once, however many constructs ask, and says one line about it."""

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
    """What stands for the root of a tree of constructs."""


@pytest.fixture
def said() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def builds(said: io.StringIO) -> Builds:
    return Builds(said)


def test_app_sees_one_build(service: Service, builds: Builds) -> None:
    """Whatever is edited while an app is put together reaches the next app, and not half of this one."""
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
    """The same relative entry in another working directory is another project, within one app, too."""
    first, app = service.write(), App()
    second = shutil.copytree(first, tmp_path / "second")
    found = []
    for directory in (first, second):
        monkeypatch.chdir(directory)
        found.append(builds.ask(Path(), app=app, build=False).service)

    assert [first, second] == [each.root for each in found if each]


def test_app_is_not_given_the_zips_of_another_build(service: Service, builds: Builds) -> None:
    """Where somebody built again since, the digests that an app was told are not those of the zips that are there."""
    project, app = service.write(), App()
    builds.ask(project, app=app, build=True)
    (project / "service/handlers/hello.py").write_text("def lambda_handler(event, context): ...\n")
    builds.ask(project, app=App(), build=True)

    overtaken = builds.ask(project, app=app, build=True)

    assert () == overtaken.builds
    assert [f"`{project}` was built again while the app was put together\nhint: synthesize again"] == [
        problem.message for problem in overtaken.problems
    ]


def test_failure_is_remembered_until_something_changes(service: Service, builds: Builds) -> None:
    """A build that fails is not tried again for every construct and stage, and is when the lock is there."""
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
    """What was built is said in one line; what stands is not mentioned, by another process either."""
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


def test_reads_the_configuration_only(service: Service, builds: Builds) -> None:
    """Where no assets are wanted nothing is built, and nothing written."""
    project = service.write()

    answer = builds.ask(project, app=App(), build=False)

    assert answer.service is not None
    assert () == answer.builds
    assert () == answer.problems
    assert not (project / ".lamina").exists()
    assert 0 == builds.runs


def test_all_targets(service: Service, builds: Builds) -> None:
    """A service with several targets has a build for each, by the process that made them and by the next."""
    del service.settings["runtime"], service.settings["architecture"]
    service.settings["targets"] = '["python3.13-arm64", "python3.12-x86_64"]'
    project = service.write()

    made = builds.ask(project, app=App(), build=True)
    found = Builds().ask(project, app=App(), build=True)

    assert ["python3.13 on arm64", "python3.12 on x86_64"] == [str(build.target) for build in made.builds]
    assert [build.layers for build in made.builds] == [build.layers for build in found.builds]
