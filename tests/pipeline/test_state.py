"""The state of the last build: whether it is current is decided from file stats alone."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from lamina.core.documents import open_sealed, seal
from lamina.pipeline import state
from lamina.project.snapshot import Snapshot, take

if TYPE_CHECKING:
    from pathlib import Path

ASKED = {"runtime": "python3.13", "groups": ["reports"]}


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """A project with one input, one output, and the state of its build."""
    (tmp_path / ".lamina").mkdir()
    (tmp_path / "input").write_text("1")
    (tmp_path / ".lamina" / "output.zip").write_text("zip")
    report = {"service": "shop", "reused": False, "other_targets": [{"reused": False}]}
    (tmp_path / ".lamina" / "build.json").write_bytes(seal(report, ".lamina/build.json"))
    remember(tmp_path)
    return tmp_path


def remember(root: Path, *, inputs: Snapshot | None = None) -> None:
    state.remember(
        root,
        asked=ASKED,
        inputs=take(root, ["input", "absent"]) if inputs is None else inputs,
        sources=["fingerprint"],
        outputs=[".lamina/output.zip"],
    )


def edit(root: Path, **changes: Any) -> None:
    """Change fields of the state."""
    path = root / state.STATE_FILE
    path.write_bytes(seal(open_sealed(path.read_bytes(), state.STATE_FILE) | changes, state.STATE_FILE))


def test_unchanged_build_is_recalled(built: Path) -> None:
    """If nothing has changed, the last build's report is returned, marked as reused."""
    document = {"service": "shop", "reused": True, "other_targets": [{"reused": True}]}

    assert document == state.recall(str(built), ASKED)


def test_other_options_are_another_build(built: Path) -> None:
    """A build with other options is not current."""
    assert state.recall(str(built), ASKED | {"groups": []}) is None


def test_other_lamina_builds_again(built: Path) -> None:
    """A build by another version of lamina is not current."""
    edit(built, lamina="0.0.0")

    assert state.recall(str(built), ASKED) is None


def test_changed_input(built: Path) -> None:
    """A build with a changed input is not current."""
    (built / "input").write_text("2")

    assert state.recall(str(built), ASKED) is None


def test_input_that_appears(built: Path) -> None:
    """A build is not current if a new file would have changed the result."""
    (built / "absent").touch()

    assert state.recall(str(built), ASKED) is None


def test_input_that_was_only_touched(built: Path) -> None:
    """An input with another modification time but the same content does not count as changed."""
    os.utime(built / "input", ns=(1, 1))

    assert state.recall(str(built), ASKED) is not None


@pytest.mark.parametrize("content", [None, "other"])
def test_changed_output(built: Path, content: str | None) -> None:
    """A build with a changed or missing output is not current."""
    (built / ".lamina" / "output.zip").unlink()
    if content is not None:
        (built / ".lamina" / "output.zip").write_text(content)

    assert state.recall(str(built), ASKED) is None


@pytest.mark.parametrize("name", ["build.json", "state.json"])
@pytest.mark.parametrize("content", [None, b"", b"[]", b"{", b"\xff"])
def test_unreadable_file(built: Path, name: str, content: bytes | None) -> None:
    """A missing state file, or one without a JSON object, counts as no build."""
    (built / ".lamina" / name).unlink()
    if content is not None:
        (built / ".lamina" / name).write_bytes(content)

    assert state.recall(str(built), ASKED) is None


@pytest.mark.parametrize("field", ["inputs", "outputs", "sources"])
def test_record_without_a_field(built: Path, field: str) -> None:
    """A state without a list of inputs, outputs or packages counts as no build."""
    edit(built, **{field: None})

    assert state.recall(str(built), ASKED) is None


def test_output_as_it_was_left(built: Path) -> None:
    """An output is unchanged if its size, modification time and inode match the recorded values."""
    assert state.Left.of(built).has(built, ".lamina/output.zip")
    os.utime(built / ".lamina" / "output.zip", ns=(1, 1))
    assert not state.Left.of(built).has(built, ".lamina/output.zip")


def test_output_that_is_not_recorded(built: Path) -> None:
    """A file that no build recorded never counts as unchanged, whether it exists or not."""
    assert not state.Left.of(built).has(built, "input")
    assert not state.Left.of(built).has(built, ".lamina/nowhere.zip")


def test_output_that_was_missing_when_it_was_recorded(tmp_path: Path) -> None:
    """An output that was missing when it was recorded does not count as unchanged while it is missing."""
    (tmp_path / ".lamina").mkdir()
    remember(tmp_path, inputs=Snapshot(observations=()))

    assert not state.Left.of(tmp_path).has(tmp_path, ".lamina/output.zip")


def test_sources_are_remembered(built: Path) -> None:
    """The digest of the packages' inputs is returned as recorded."""
    assert ("fingerprint",) == state.Left.of(built).sources


def test_sources_of_no_build(tmp_path: Path) -> None:
    """Without a state, the digest of the packages' inputs is unknown."""
    assert state.Left.of(tmp_path).sources == ()


def test_another_target_has_a_record_of_its_own(built: Path) -> None:
    """The state of each target after the first is in that target's directory, and independent of the first target's."""
    state_file = ".lamina/python3.13-x86_64/state.json"
    (built / state_file).parent.mkdir()

    state.remember(
        built,
        asked={},
        inputs=Snapshot(observations=()),
        sources=["other", "another"],
        outputs=[],
        state_file=state_file,
    )

    assert (("other", "another"), ("fingerprint",)) == (
        state.Left.of(built, state_file=state_file).sources,
        state.Left.of(built).sources,
    )


def test_project_is_found_from_below(built: Path) -> None:
    """From a directory inside a project, the closest parent with a build is found."""
    (built / "service" / "handlers").mkdir(parents=True)

    assert str(built) == state.locate(str(built / "service" / "handlers"))


@pytest.mark.parametrize("name", ["pyproject.toml", "lamina.toml"])
def test_closer_configuration_is_another_service(built: Path, name: str) -> None:
    """A configuration below a directory with a build may belong to another service, so the search returns nothing."""
    (built / "service").mkdir()
    (built / "service" / name).touch()

    assert state.locate(str(built / "service")) is None


def test_configuration_of_the_service_that_was_built(built: Path) -> None:
    """A configuration in the same directory as a build belongs to that build."""
    (built / "pyproject.toml").touch()

    assert str(built) == state.locate(str(built))


def test_no_project(tmp_path: Path) -> None:
    """Without any build or configuration, the search ends at the root of the file system."""
    assert state.locate(str(tmp_path)) is None
