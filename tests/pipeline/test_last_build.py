"""Repeating a build as it was asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.pipeline.last_build import has_changed, last_options
from lamina.project.options import BuildOptions

if TYPE_CHECKING:
    from pathlib import Path


def test_what_was_asked_can_be_asked_again() -> None:
    """The record of a build's options says all of them but whether the network may be used."""
    options = BuildOptions(runtime="python3.13", architecture="arm64", groups=("reports",), extras=("fast",))

    assert options == BuildOptions.of(options.asked())


def test_without_a_build(tmp_path: Path) -> None:
    """There is nothing to repeat, and nothing was asked for."""
    assert (False, BuildOptions()) == (has_changed(tmp_path), last_options(tmp_path))


def test_a_record_of_another_kind(tmp_path: Path) -> None:
    """What cannot be read counts as no build."""
    (tmp_path / ".lamina").mkdir()
    (tmp_path / ".lamina" / "state.json").write_text("[]")

    assert (False, BuildOptions()) == (has_changed(tmp_path), last_options(tmp_path))
