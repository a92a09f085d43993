"""Whatever is killed, and when: nothing is lost, no process goes on, and the next run leaves no temporary file."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING

import pytest

from kills import World, kills, main, run

if TYPE_CHECKING:
    from pathlib import Path


_CHOSEN = (("source", signal.SIGKILL), ("build", signal.SIGTERM))


@pytest.mark.parametrize("arguments", [("abc", "0"), ("0", "0"), ("1", "x")])
def test_mistakes_on_the_command_line(
    arguments: tuple[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["kills", *arguments])
    with pytest.raises(SystemExit) as caught:
        main()

    assert 2 == caught.value.code
    assert "usage: make kills [N=200] [SEED=0]" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc")
def test_killed_and_run_again(tmp_path: Path) -> None:
    """A build from source is killed, and a build of wheels is terminated. `make kills` does more of this, and publishes and deploys too."""
    chosen = [kill for kill in kills(16, 1) if (kill.kind, kill.signal) in _CHOSEN]
    with World(tmp_path, [kind for kind, _ in _CHOSEN]) as world:
        found = run(world, chosen)

    assert [] == [outcome for outcome in found if outcome.problems]
