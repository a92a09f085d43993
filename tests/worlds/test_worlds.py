"""Test that no command ends as a bug of lamina, hangs or fails without an error, in whatever world it runs."""

from __future__ import annotations

import os
import shutil
import sys
from typing import TYPE_CHECKING

import pytest

from forks import Forks
from lamina.cli.main import COMMANDS
from worlds.table import ARGUMENTS, BREAKAGES, FILES, WORLDS, Place, copied, faults, template

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits and capabilities are those of Linux")

_EVERY = "LAMINA_EVERY_WORLD"
_SAMPLE = 263
"""Has no divisor in common with the number of commands, or always the same commands would be in the sample."""


def _pairs() -> list[tuple[str, str]]:
    """Return the worlds and commands to test: all, or by default every `_SAMPLE`-th pair."""
    every = [(world, command) for world in WORLDS for command in ARGUMENTS]
    return every if os.environ.get(_EVERY) else every[::_SAMPLE]


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    with Forks() as server:
        yield server


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, forks: Forks) -> Place:
    """A service that was built for the interpreter that runs the tests."""
    place = template(tmp_path_factory.mktemp("service"))
    outcome = forks.run(place.case(ARGUMENTS["build"]))
    assert (0, "") == (outcome.code, outcome.err if outcome.code else "")
    return place


@pytest.mark.parametrize(("world", "command"), _pairs())
def test_no_bug(world: str, command: str, service: Place, forks: Forks, tmp_path: Path) -> None:
    """A command in a broken world succeeds, or ends with a documented exit code and an error that says why."""
    place = copied(service, tmp_path / "w")
    try:
        WORLDS[world](place)
        outcome = forks.run(place.case(ARGUMENTS[command]))
    finally:
        shutil.rmtree(place.root, ignore_errors=True)

    assert [] == faults(outcome, place, ARGUMENTS[command][0]), f"exit code {outcome.code}\n{outcome.err[-3000:]}"


def test_every_command_has_arguments() -> None:
    """The table of worlds has arguments for each command of lamina."""
    assert set(COMMANDS) == {arguments[0] for arguments in ARGUMENTS.values()}


def test_sample_covers_each_cause() -> None:
    """The sample has each command, each file and each breakage."""
    pairs = _pairs()
    worlds = " ".join(world for world, _ in pairs)

    assert set(ARGUMENTS) == {command for _, command in pairs}
    assert [] == [name for name in (*FILES, *BREAKAGES) if name not in worlds]
