"""What the last build left on disk: when it still stands, decided from files' stats alone."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from lamina.pipeline import state
from lamina.project.snapshot import Snapshot, take

if TYPE_CHECKING:
    from pathlib import Path

ASKED = {"runtime": "python3.13", "groups": ["reports"]}


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """A project with one input and one output, and the record of its build."""
    (tmp_path / ".lamina").mkdir()
    (tmp_path / "input").write_text("1")
    (tmp_path / ".lamina" / "output.zip").write_text("zip")
    (tmp_path / ".lamina" / "build.json").write_text(
        json.dumps({"service": "shop", "reused": False, "other_targets": [{"reused": False}]})
    )
    remember(tmp_path)
    return tmp_path


def remember(root: Path, *, inputs: Snapshot | None = None) -> None:
    state.remember(
        root,
        asked=ASKED,
        inputs=take(root, ["input", "absent"]) if inputs is None else inputs,
        sources="fingerprint",
        outputs=[".lamina/output.zip"],
    )


def edit(root: Path, **changes: Any) -> None:
    """Change fields of the record."""
    path = root / state.STATE_FILE
    path.write_text(json.dumps(json.loads(path.read_bytes()) | changes))


def test_unchanged_build_is_recalled(built: Path) -> None:
    """If nothing has changed, the last build's document is returned, all of it as reused."""
    document = {"service": "shop", "reused": True, "other_targets": [{"reused": True}]}

    assert document == state.recall(str(built), ASKED)


def test_other_options_are_another_build(built: Path) -> None:
    """A build that was asked for with other options is not recalled."""
    assert state.recall(str(built), ASKED | {"groups": []}) is None


def test_other_lamina_builds_again(built: Path) -> None:
    """What another version of lamina built is not recalled."""
    edit(built, lamina="0.0.0")

    assert state.recall(str(built), ASKED) is None


def test_changed_input(built: Path) -> None:
    """A build whose input has other content is not recalled."""
    (built / "input").write_text("2")

    assert state.recall(str(built), ASKED) is None


def test_input_that_appears(built: Path) -> None:
    """A build is not recalled if a file is there now that would have decided it."""
    (built / "absent").touch()

    assert state.recall(str(built), ASKED) is None


def test_input_that_was_only_touched(built: Path) -> None:
    """An input with another date and the same content changes nothing."""
    os.utime(built / "input", ns=(1, 1))

    assert state.recall(str(built), ASKED) is not None


@pytest.mark.parametrize("content", [None, "other"])
def test_changed_output(built: Path, content: str | None) -> None:
    """A build whose output was changed or removed is not recalled."""
    (built / ".lamina" / "output.zip").unlink()
    if content is not None:
        (built / ".lamina" / "output.zip").write_text(content)

    assert state.recall(str(built), ASKED) is None


@pytest.mark.parametrize("name", ["build.json", "state.json"])
@pytest.mark.parametrize("content", [None, b"", b"[]", b"{", b"\xff"])
def test_unreadable_file(built: Path, name: str, content: bytes | None) -> None:
    """A file that is missing or is no JSON object is no build, and no error."""
    (built / ".lamina" / name).unlink()
    if content is not None:
        (built / ".lamina" / name).write_bytes(content)

    assert state.recall(str(built), ASKED) is None


@pytest.mark.parametrize("field", ["inputs", "outputs"])
def test_record_without_a_field(built: Path, field: str) -> None:
    """A record that does not say what to look at is not taken for one that has nothing to look at."""
    edit(built, **{field: None})

    assert state.recall(str(built), ASKED) is None


def test_output_as_it_was_left(built: Path) -> None:
    """An output is as it was left while its size, date and inode are those that were recorded."""
    assert state.Left.of(built).has(built, ".lamina/output.zip")
    os.utime(built / ".lamina" / "output.zip", ns=(1, 1))
    assert not state.Left.of(built).has(built, ".lamina/output.zip")


def test_output_that_is_not_recorded(built: Path) -> None:
    """A file that no build recorded, there or not, is not as it was left."""
    assert not state.Left.of(built).has(built, "input")
    assert not state.Left.of(built).has(built, ".lamina/nowhere.zip")


def test_output_that_was_missing_when_it_was_recorded(tmp_path: Path) -> None:
    """An output that was not there when it was recorded does not count as left while it is still missing."""
    (tmp_path / ".lamina").mkdir()
    remember(tmp_path, inputs=Snapshot(()))

    assert not state.Left.of(tmp_path).has(tmp_path, ".lamina/output.zip")


def test_sources_are_remembered(built: Path) -> None:
    """What decided the function packages is returned as it was recorded."""
    assert "fingerprint" == state.Left.of(built).sources


def test_sources_of_no_build(tmp_path: Path) -> None:
    """Without a record, nothing is known of the function packages."""
    assert state.Left.of(tmp_path).sources is None


def test_another_target_has_a_record_of_its_own(built: Path) -> None:
    """The record of a target besides the first stands in that target's directory, and says nothing of the first."""
    state_file = ".lamina/python3.13-x86_64/state.json"
    (built / state_file).parent.mkdir()

    state.remember(built, asked={}, inputs=Snapshot(()), sources="other", outputs=[], state_file=state_file)

    assert ("other", "fingerprint") == (
        state.Left.of(built, state_file=state_file).sources,
        state.Left.of(built).sources,
    )


def test_project_is_found_from_below(built: Path) -> None:
    """From a directory inside a project, the closest one above that was built is found."""
    (built / "service" / "handlers").mkdir(parents=True)

    assert str(built) == state.locate(str(built / "service" / "handlers"))


@pytest.mark.parametrize("name", ["pyproject.toml", "lamina.toml"])
def test_closer_configuration_is_another_service(built: Path, name: str) -> None:
    """A configuration below the directory that was built may be of another service, so nothing is decided."""
    (built / "service").mkdir()
    (built / "service" / name).touch()

    assert state.locate(str(built / "service")) is None


def test_configuration_of_the_service_that_was_built(built: Path) -> None:
    """The configuration beside a build's record is that of the build."""
    (built / "pyproject.toml").touch()

    assert str(built) == state.locate(str(built))


def test_no_project(tmp_path: Path) -> None:
    """Where nothing was built and nothing is configured, the search ends at the top of the file system."""
    assert state.locate(str(tmp_path)) is None
