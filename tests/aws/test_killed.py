"""Publishing and deploying with processes that are killed, and with several publishers at the same time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from aws.faults import Moment, bad_line
from aws.journeys import JOURNEYS, Journey, make_ground
from lamina.cli.main import main

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from aws.faults import Line
    from emulators import Emulator

EVERYTHING = os.environ.get("LAMINA_EVERY_FAULT") == "1"
"""Whether to kill before and after every request, which takes minutes. By default, only some requests that change something."""
PUBLISHERS = 10 if EVERYTHING else 5
STOPPED = 130
_SECONDS = 300
_MUCH_LATER_SECONDS = 7200.0
_READING = ("Get", "List", "Head", "download")


def start(journey: Journey) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "lamina", *journey.words],
        # A killed process leaves temporary files. This directory is deleted with the test's own.
        env={**os.environ, **journey.environment, "TMPDIR": os.fspath(journey.service.root.parent)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@contextmanager
def running(journey: Journey, line: Line, moment: Moment, *, after: bool) -> Iterator[subprocess.Popen[str]]:
    """Run the command until the proxy holds the request *moment* or the command ends. With *after*, the service has performed the request."""
    line.clear()
    line.look, line.hold, line.hold_after = journey.look, moment, after
    process = start(journey)
    try:
        while not line.holding.wait(0.05) and process.poll() is None:
            pass
        yield process
    finally:
        process.kill()
        process.communicate()
        line.release.set()


def kills(calls: list[Moment], kind: str) -> list[tuple[Moment, bool]]:
    """Return the requests at which to kill, and whether to kill after the service has performed the request."""
    if EVERYTHING:
        return [(moment, after) for moment in calls for after in (False, True)]
    changing = [moment for moment in calls if not moment.operation.startswith(_READING)]
    chosen = changing[:: {"publish": 6, "bump": 18}.get(kind, 5)]
    return [(moment, (turn + JOURNEYS.index(kind)) % 2 == 0) for turn, moment in enumerate(chosen)]


@pytest.mark.parametrize("kind", JOURNEYS)
def test_killed_at_every_step_and_run_again(
    tmp_path: Path, ministack: Emulator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    """At whatever request the process is killed, users see no incomplete results, and the next run completes the work."""
    ground = make_ground(tmp_path, ministack, monkeypatch)
    problems: list[str] = []
    with bad_line(ministack.url) as line:
        monkeypatch.setenv("AWS_ENDPOINT_URL", line.url)
        good = Journey(kind, ground)
        for name, value in good.environment.items():
            monkeypatch.setenv(name, value)

        assert (0, []) == (main(good.words), good.missing())
        chosen, killed = kills(line.calls, kind), 0
        for moment, after in chosen:
            journey = Journey(kind, ground)
            with running(journey, line, moment, after=after) as process:
                process.kill()
                killed += process.wait(_SECONDS) == -signal.SIGKILL
                found = journey.wrong()
            line.clear()
            # The lease of a killed publisher expires by the service's clock.
            line.later = _MUCH_LATER_SECONDS
            code = main(journey.words)
            found += journey.missing() if code == 0 else [f"exit code {code}"]
            problems += [f"killed {'after' if after else 'before'} {moment}: {each}" for each in found]

    with capsys.disabled():
        if EVERYTHING:
            print(f"\n{kind}: {killed} of {len(chosen)} killed")  # noqa: T201 - asked for

    assert [] == problems
    # The number of polls for a completed change varies between runs, so not every request is reached.
    assert killed > len(chosen) * 0.75


def stops(calls: list[Moment], kind: str) -> list[Moment]:
    """Return the requests at which to interrupt: those before the point from which nothing is rolled back."""
    last = {"deploy": "UpdateAlias", "create": "CreateAlias"}.get(kind, "PublishLayerVersion")
    early = calls[: calls.index(Moment(operation=last))]
    if EVERYTHING:
        return early
    changing = [moment for moment in early if moment.operation.startswith(("Update", "CreateF", "UploadPartC"))]
    return changing[:: {"bump": 6, "deploy": 3}.get(kind, 2)]


@pytest.mark.parametrize("kind", ["publish", "deploy", "create", "bump"])
def test_ended_in_peace(tmp_path: Path, ministack: Emulator, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """Ctrl-C and SIGTERM roll everything back, and leave no unfinished upload and no lease."""
    ground = make_ground(tmp_path, ministack, monkeypatch)
    problems: list[str] = []
    with bad_line(ministack.url) as line:
        monkeypatch.setenv("AWS_ENDPOINT_URL", line.url)
        good = Journey(kind, ground)
        for name, value in good.environment.items():
            monkeypatch.setenv(name, value)

        assert (0, []) == (main(good.words), good.missing())
        for moment in stops(line.calls, kind):
            journey = Journey(kind, ground)
            with running(journey, line, moment, after=False) as process:
                # Ctrl-C has the same effect, but SIGINT is ignored if the tests run in the background.
                process.terminate()
                # The signal must arrive before the response.
                time.sleep(0.05)
                line.goes_on = True
                line.release.set()
                _, said = process.communicate(timeout=_SECONDS)
                found = journey.untouched()
            if not line.holding.is_set():
                continue  # The number of polls for a completed change varies between runs.
            if process.returncode != STOPPED or "error: " not in said or "Traceback" in said:
                found.append(f"exit code {process.returncode}: {said}")
            line.clear()
            code = main(journey.words)
            found += journey.missing() if code == 0 else [f"exit code {code}"]
            problems += [f"ended at {moment}: {each}" for each in found]

    assert [] == problems


@pytest.mark.parametrize("kind", ["whole", "direct"] if EVERYTHING else ["whole"])
def test_publishers_at_once(tmp_path: Path, ministack: Emulator, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """Concurrent publishers create one version, and all of them report it, with and without a bucket."""
    journey = Journey(kind, make_ground(tmp_path, ministack, monkeypatch))
    processes = [start(journey) for _ in range(PUBLISHERS)]
    said = [process.communicate(timeout=_SECONDS) for process in processes]

    assert [0] * PUBLISHERS == [process.returncode for process in processes], said
    assert [] == journey.missing()
    assert {f"{journey.versions()[0]}\n"} == {out for out, _ in said}
