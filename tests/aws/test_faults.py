"""Publishing and deploying over an unreliable connection: every fault ends in success or an error, and running again completes the work."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from botocore.retries import standard

from aws.faults import KINDS, LASTING, bad_line
from aws.journeys import JOURNEYS, Journey, make_ground
from lamina.aws.api import pace
from lamina.cli.main import main

if TYPE_CHECKING:
    from pathlib import Path

    from aws.faults import Line, Moment
    from emulators import Emulator

EVERYTHING = os.environ.get("LAMINA_EVERY_FAULT") == "1"
"""Whether to apply every fault to every request, which takes minutes. By default, only a selection is tested."""
_MUCH_LATER_SECONDS = 7200.0


@dataclass(frozen=True, kw_only=True)
class Case:
    """A fault, the request that it affects, and whether all later requests are affected, too."""

    moment: Moment
    kind: str
    lasting: bool

    def __str__(self) -> str:
        return f"{self.kind} at {self.moment}{' and after' if self.lasting else ''}"


def cases(journey: str, calls: list[Moment]) -> list[Case]:
    """Return the faults to apply in the scenario *journey*, which makes the requests *calls*."""
    if EVERYTHING:
        return [Case(moment=moment, kind=kind, lasting=False) for moment in calls for kind in KINDS] + [
            Case(moment=moment, kind=kind, lasting=True) for moment in calls for kind in LASTING
        ]
    turn, step = JOURNEYS.index(journey), {"publish": 5, "deploy": 4, "bump": 19}.get(journey, 6)
    # The order differs for each scenario, so that requests that they share meet different faults.
    single = [
        Case(moment=moment, kind=KINDS[(number + 4 * turn) % len(KINDS)], lasting=False)
        for number, moment in enumerate(calls)
    ]
    lasting = [
        Case(moment=moment, kind=LASTING[(number // 6 + 2 * turn) % len(LASTING)], lasting=True)
        for number, moment in enumerate(calls)
    ]
    return single[::step] + lasting[1 :: 6 * step]


class Traveller:
    """Runs commands over the unreliable connection."""

    def __init__(self, line: Line, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.line = line
        self.monkeypatch = monkeypatch
        self.capsys = capsys
        self.struck = 0
        """The number of faults that were applied."""

    def go(self, journey: Journey, case: Case | None = None, *, later: float = 0.0) -> tuple[int, str]:
        """Run the command with the fault *case*, and return its exit code and its stderr."""
        line = self.line
        line.clear()
        line.look, line.later = journey.look, later
        if case is not None:
            line.at, line.kind, line.lasting = case.moment, case.kind, case.lasting
        for name, value in journey.environment.items():
            self.monkeypatch.setenv(name, value)
        code = main(journey.words)
        line.look = lambda _: None
        return code, self.capsys.readouterr().err

    def problems(self, journey: Journey, case: Case) -> tuple[int, list[str]]:
        """Run the command with a fault, then again without. Return the first exit code, and all invalid states."""
        code, said = self.go(journey, case)
        self.struck += self.line.struck
        found = journey.wrong()
        if code not in {0, 6} or (code and not ("error: " in said and "hint: " in said)):
            found.append(f"exit code {code}: {said}")
        journey.seen.clear()
        again, said = self.go(journey, later=_MUCH_LATER_SECONDS)
        if again:
            found.append(f"exit code {again} when run again: {said}")
        else:
            found += journey.missing()
        return code, [f"{case}: {each}" for each in found]


@pytest.mark.parametrize("kind", JOURNEYS)
def test_fault_at_every_request(
    tmp_path: Path, ministack: Emulator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    """

    A single fault is usually survived, a lasting one ends with an error and a hint, and users never see incomplete results.

    Running again without faults leaves one version, which the function uses, and no unfinished upload.
    """
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "3")
    # Shorten botocore's and lamina's pauses after throttling.
    monkeypatch.setattr(standard.ExponentialBackoff, "delay_amount", lambda *_: 0.01)
    monkeypatch.setattr(pace, "_FIRST_WAIT_SECONDS", 0.001)
    ground = make_ground(tmp_path, ministack, monkeypatch)
    ends: Counter[tuple[bool, int]] = Counter()
    problems: list[str] = []
    with bad_line(ministack.url) as line:
        monkeypatch.setenv("AWS_ENDPOINT_URL", line.url)
        traveller = Traveller(line, monkeypatch, capsys)
        good = Journey(kind, ground)

        assert (0, []) == (traveller.go(good)[0], good.missing())
        calls = line.calls
        for case in cases(kind, calls):
            code, found = traveller.problems(Journey(kind, ground), case)
            ends[case.lasting, code] += 1
            problems += found
    with capsys.disabled():
        if EVERYTHING:
            print(f"\n{kind}: {len(calls)} requests, {ends.total()} cases: {dict(ends)}")  # noqa: T201 - asked for

    assert [] == problems
    # The number of polls for a completed change varies between runs, so not every fault is reached.
    assert traveller.struck > ends.total() * 0.75
    assert ends[False, 0] > ends[False, 6]
