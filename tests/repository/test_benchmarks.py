"""Test the calculations and the reports of the benchmarks. These tests measure no time."""

from __future__ import annotations

import random
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from benchmarks.launcher import Launcher
from benchmarks.present import report, table
from benchmarks.states import EVENTS, due_bytes, fat_zip, with_release
from benchmarks.study import Study, conduct, judge
from benchmarks.values import Budget, Command, Measure, Row, Run, Sample, Traffic, Unavailable
from benchmarks.workspace import make_workspace

from built import write_zip
from lamina.core.target import Target
from lamina.core.values import Build, Extent, Layer, Package


def sample(seconds: float, *, peak: int = 1_000) -> Sample:
    return Sample(seconds=seconds, cpu_seconds=seconds, peak_bytes=peak)


def no_runner(command: Command) -> Run:
    raise AssertionError(command)


class Recorder:
    """Rows that record the order in which they run and report given durations."""

    def __init__(self) -> None:
        self.order: list[str] = []

    def row(self, name: str, *seconds: float, slow: bool = False, once: bool = False) -> Row:
        remaining = list(seconds)

        def run(_: object) -> Sample:
            self.order.append(name)
            if not remaining:
                raise RuntimeError(f"{name} is broken")
            return sample(remaining.pop(0))

        return Row(name=name, title=name, run=run, slow=slow, once=once)


def nothing(*_: object) -> None:
    """Ignore progress and pauses."""


def study_of(*rows: Row, repeats: int, slow_repeats: int = 1) -> Study:
    chance = random.Random(1)  # noqa: S311 - an order, not a secret
    return conduct(
        rows,
        no_runner,
        repeats=repeats,
        slow_repeats=slow_repeats,
        chance=chance,
        tell=nothing,
        settle=nothing,
    )


def budget(row: str, against: str | None, at_most: float, measure: Measure = Measure.TIMES) -> Budget:
    return Budget(what="promise", row=row, against=against, measure=measure, at_most=at_most)


def test_every_repeat_runs_every_row_once() -> None:
    """In every repeat, each row runs once."""
    recorder = Recorder()
    rows = [recorder.row(name, *[1.0] * 8) for name in "abc"]
    study_of(*rows, repeats=8)
    turns = [recorder.order[start : start + 3] for start in range(0, 24, 3)]

    assert [["a", "b", "c"]] * 8 == [sorted(turn) for turn in turns]
    assert len({tuple(turn) for turn in turns}) > 1


def test_ratios_are_of_the_same_repeat() -> None:
    """A ratio compares times of the same repeat, so a machine that becomes slower does not change it."""
    recorder = Recorder()
    study = study_of(recorder.row("a", 2.0, 20.0, 200.0), recorder.row("b", 1.0, 10.0, 100.0), repeats=3)
    [verdict] = judge(study, [budget("a", "b", 2)])

    assert verdict.measured is not None
    assert (2.0, 2.0, 2.0) == (verdict.measured.least, verdict.measured.median, verdict.measured.greatest)
    assert verdict.met is True


def test_slow_rows_are_compared_where_they_ran() -> None:
    """A slow row runs only in the first repeats, and its ratios are from those."""
    recorder = Recorder()
    study = study_of(recorder.row("a", 1.0, 9.0, 9.0), recorder.row("b", 4.0, slow=True), repeats=3)
    [verdict] = judge(study, [budget("a", "b", 1 / 5)])

    assert 1 == recorder.order.count("b")
    assert verdict.measured is not None
    assert 1 / 4 == verdict.measured.median
    assert verdict.met is False


def test_what_takes_minutes_runs_once() -> None:
    """A row that is marked to run once runs once, however many repeats there are."""
    recorder = Recorder()
    study_of(recorder.row("a", once=True), recorder.row("b", 1.0, 1.0, slow=True), repeats=3, slow_repeats=2)

    assert (1, 2) == (recorder.order.count("a"), recorder.order.count("b"))


def test_a_row_that_fails_is_not_measured() -> None:
    """The samples of a failed row are discarded, it is not run again, and its budgets have no verdict."""
    recorder = Recorder()
    study = study_of(recorder.row("a", 1.0), recorder.row("b", 1.0, 1.0, 1.0), repeats=3)
    [verdict] = judge(study, [budget("a", "b", 2)])

    assert {"a": "a is broken"} == study.failures
    assert 2 == recorder.order.count("a")
    assert (None, None) == (verdict.measured, verdict.met)


def test_memory_is_judged_by_its_peak() -> None:
    """Memory is compared by the largest value of all repeats, not by the median."""
    study = Study(samples={"a": {0: sample(1, peak=10), 1: sample(1, peak=10), 2: sample(1, peak=30)}})
    [verdict] = judge(study, [budget("a", None, 20, Measure.BYTES)])

    assert verdict.met is False


def test_the_table_names_every_row_and_every_verdict() -> None:
    """The table also lists rows that did not run, with the reason."""
    study = Study(samples={"a": {0: sample(0.5)}, "b": {0: sample(0.25)}})
    recorder = Recorder()
    rows: list[Row | Unavailable] = [recorder.row("a"), recorder.row("b")]
    rows.append(Unavailable(name="c", title="row c", reason="there is none"))
    verdicts = judge(study, [budget("a", "b", 3), budget("a", "b", 1), budget("c", "a", 1)])
    text = table(rows, study, verdicts)
    words = [line.rsplit("  ", 1)[1] for line in text.splitlines() if line.startswith("promise")]

    assert ["met", "MISSED", "not measured"] == words
    assert "not available: row c: there is none" in text


def test_the_report_has_every_sample() -> None:
    """The JSON report has each sample that the table summarises."""
    study = Study(samples={"a": {0: sample(0.5)}})
    document = report([Recorder().row("a")], study, judge(study, [budget("a", None, 1, Measure.SECONDS)]), {"seed": 7})

    assert ("1", 7) == (document["version"], document["seed"])
    assert [
        {
            "name": "a",
            "title": "a",
            "unavailable": None,
            "samples": [
                {
                    "repeat": 0,
                    "seconds": 0.5,
                    "cpu_seconds": 0.5,
                    "peak_bytes": 1_000,
                    "result_bytes": 0,
                    "traffic": None,
                    "calls": 0,
                }
            ],
        }
    ] == document["rows"]


def test_the_launcher_reports_what_a_process_did(tmp_path: Path) -> None:
    """The launcher reports the output and the memory of a process, and sets its directory and environment."""
    script = "import os; block = b'x' * 50_000_000; print(os.getcwd(), os.environ['WORD'])"
    big = Command(argv=(sys.executable, "-I", "-S", "-c", script), environment={"WORD": "yes"}, directory=tmp_path)
    small = Command(argv=(sys.executable, "-I", "-S", "-c", "pass"), environment={}, directory=tmp_path)
    with Launcher() as launcher:
        first, second = launcher(big), launcher(small)

    assert f"{tmp_path} yes\n" == first.output
    assert first.sample.peak_bytes > 50_000_000 > second.sample.peak_bytes


def test_the_launcher_raises_what_a_process_said(tmp_path: Path) -> None:
    """A failing process raises an error with its output."""
    broken = Command(
        argv=(sys.executable, "-c", "raise SystemExit('out of cheese')"), environment={}, directory=tmp_path
    )
    with Launcher() as launcher, pytest.raises(RuntimeError) as raised:
        launcher(broken)

    assert f"{' '.join(broken.argv)} failed with exit code 1:\nout of cheese" == str(raised.value)


def test_the_launcher_names_a_program_that_is_missing(tmp_path: Path) -> None:
    """The launcher raises an error for a missing program and does not hang."""
    missing = Command(argv=("no-such-program-here",), environment={}, directory=tmp_path)
    with Launcher() as launcher, pytest.raises(RuntimeError) as raised:
        launcher(missing)

    assert str(raised.value).startswith("no-such-program-here: ")


def test_a_made_up_workspace_is_the_same_every_time(tmp_path: Path) -> None:
    """The generated services are the same on every machine."""
    trees = []
    for name in ("first", "second"):
        directory = tmp_path / name
        services = make_workspace(directory, tmp_path / "wheels", services=3, functions=2)
        files = sorted(path for path in directory.rglob("*") if path.is_file())
        trees.append({path.relative_to(directory): path.read_bytes() for path in files})

        assert 3 == len(services)
    assert trees[0] == trees[1]


@pytest.mark.parametrize(("measure", "ratio"), [(Measure.TIMES, 2.0), (Measure.CPU, 4.0), (Measure.SIZE, 8.0)], ids=str)
def test_what_is_compared(measure: Measure, ratio: float) -> None:
    """The budget decides whether a ratio compares wall times, processor times or sizes."""
    above = Sample(seconds=1.0, cpu_seconds=2.0, peak_bytes=1, result_bytes=24)
    below = Sample(seconds=0.5, cpu_seconds=0.5, peak_bytes=1, result_bytes=3)
    [verdict] = judge(Study(samples={"a": {0: above}, "b": {0: below}}), [budget("a", "b", 3, measure)])

    assert verdict.measured is not None
    assert (ratio, ratio <= 3) == (verdict.measured.median, verdict.met)


def over_a_line(sent: int, due: int | None = None) -> Sample:
    traffic = Traffic(sent_bytes=sent, received_bytes=50_000, requests=1_234, lambda_requests=567, due_bytes=due)
    return Sample(seconds=2.0, cpu_seconds=1.0, peak_bytes=1, traffic=traffic, calls=89)


@pytest.mark.parametrize(
    ("measure", "measured", "met"),
    [
        (Measure.SENT, 0.5, True),
        (Measure.DUE, 1.25, True),
        (Measure.EXCESS, 100_000, False),
        (Measure.REQUESTS, 1_234, False),
        (Measure.LAMBDA_REQUESTS, 567, False),
        (Measure.CALLS, 89, False),
    ],
    ids=str,
)
def test_what_is_counted_of_traffic(measure: Measure, measured: float, *, met: bool) -> None:
    """Sent bytes are compared with another row or with the required bytes, and requests counted, by the largest value of all repeats."""
    study = Study(
        samples={
            "a": {0: over_a_line(500_000, 500_000), 1: over_a_line(500_000, 400_000)},
            "b": {0: over_a_line(1_000_000), 1: over_a_line(1_000_000)},
        }
    )
    [verdict] = judge(study, [budget("a", "b" if measure is Measure.SENT else None, 2, measure)])

    assert verdict.measured is not None
    assert (measured, met) == (verdict.measured.greatest, verdict.met)


def test_the_table_says_what_was_sent() -> None:
    """The table shows the bytes of rows that used the slow line, and none for other rows."""
    study = Study(samples={"a": {0: over_a_line(500_000, 400_000)}, "b": {0: sample(1.0)}})
    recorder = Recorder()
    text = table([recorder.row("a"), recorder.row("b")], study, [])
    begin = text.index("over the slow line")

    assert ["a", "2.00", "s", "500.0", "kB", "50.0", "kB", "1,234", "400.0", "kB"] == (
        text[begin:].splitlines()[1].split()
    )
    assert "" == text[begin:].splitlines()[2]


def made_up_build() -> Build:
    mebibyte = 1 << 20
    sizes = {"large": 20 * mebibyte, "a": 4 * mebibyte, "b": 3 * mebibyte}
    layer = Layer(
        name="common",
        path=Path("common.zip"),
        digest="d",
        sha256="s",
        zipped_bytes=28 * mebibyte,
        unzipped_bytes=0,
        files=0,
        distributions=(),
        extents=tuple(Extent(name=name, size=size) for name, size in sizes.items()),
    )
    package = Package(
        name="f",
        handler="f.f",
        path=Path("f.zip"),
        sha256="s",
        zipped_bytes=1_000,
        unzipped_bytes=0,
        files=1,
        layers=("common",),
        total_unzipped_bytes=0,
        console_editable=True,
    )
    return Build(
        service="orders",
        target=Target.of("python3.13", "x86_64"),
        layers=(layer,),
        packages=(package, package, replace(package, sha256="other")),
        findings=(),
        reused=False,
        seconds=0.0,
    )


def test_what_a_deployment_has_to_send() -> None:
    """The required bytes are everything at first, then nothing, the updated wheel, or the code: once if functions share it."""
    build, mebibyte, code = made_up_build(), 1 << 20, 1_000 + 1_336
    first, unchanged, certifi, numpy, edited = EVENTS
    small, large = replace(certifi, bumped="a"), replace(numpy, bumped="large")

    assert [28 * mebibyte + code, 0, 5 * mebibyte, 21 * mebibyte, code] == [
        due_bytes(event, build) for event in (first, unchanged, small, large, edited)
    ]
    assert [1, 1, 2, 2, 1] == [event.layer_versions for event in EVENTS]


def test_a_lock_gets_another_release() -> None:
    """Only the lines of the updated distribution are replaced; a lock file without it is an error."""
    lock = "a==1 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\nb==2 \\\n    --hash=sha256:cc\n"

    assert "a==0 \\\n    --hash=sha256:00\nb==2 \\\n    --hash=sha256:cc\n" == with_release(lock, "a", "0", "00")
    with pytest.raises(RuntimeError) as raised:
        with_release(lock, "c", "1", "00")

    assert "the example's lock does not have `c`" == str(raised.value)


def test_a_fat_zip_has_everything_where_lambda_looks_for_it(tmp_path: Path) -> None:
    """A fat zip has the files from the layer's `python` directory at its root, next to the code."""
    write_zip(tmp_path / "layer.zip", {"python/a/b.py": "1", "python/c.py": "2"})
    write_zip(tmp_path / "package.zip", {"handler.py": "3"})
    fat_zip((tmp_path / "layer.zip",), tmp_path / "package.zip", tmp_path / "fat.zip")
    with zipfile.ZipFile(tmp_path / "fat.zip") as archive:
        found = {name: archive.read(name) for name in archive.namelist()}

    assert {"a/b.py": b"1", "c.py": b"2", "handler.py": b"3"} == found
