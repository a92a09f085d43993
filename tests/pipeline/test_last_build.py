"""Repeating the last build with the same options."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.pipeline.last_build import has_changed, last_options
from lamina.project.options import BuildOptions

if TYPE_CHECKING:
    from pathlib import Path


def test_what_was_asked_can_be_asked_again() -> None:
    """The state records all options except `--offline`."""
    options = BuildOptions(runtime="python3.13", architecture="arm64", groups=("reports",), extras=("fast",))

    assert options == BuildOptions.of(options.asked())


def test_without_a_build(tmp_path: Path) -> None:
    """Without a last build, there is nothing to repeat, and the options are the defaults."""
    assert (False, BuildOptions()) == (has_changed(tmp_path), last_options(tmp_path))


def test_a_record_of_another_kind(tmp_path: Path) -> None:
    """An unreadable state counts as no build."""
    (tmp_path / ".lamina").mkdir()
    (tmp_path / ".lamina" / "state.json").write_text("[]")

    assert (False, BuildOptions()) == (has_changed(tmp_path), last_options(tmp_path))
