"""Test ``lamina coldstart`` from the command line."""

from __future__ import annotations

import datetime as dt
import json
import os
import re
import statistics
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest

from built import MINOR, configure, make_build
from coldstart_layers import distribution, share_runtime
from lamina.aws.api.telemetry import DeployedFunctions, Logs, XRay
from lamina.bytecode.interpreter import environment_variable
from lamina.cli.coldstart import show_observed
from lamina.cli.main import build_parser, main
from lamina.coldstart.observe import Sources
from lamina.core.documents import open_sealed, seal
from lamina.core.errors import MissingPermissionError
from services import make_service

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

_CODE = """
try:
    import slow
except ImportError:
    pass
def handler(event, context):
    __import__(event.get("name", "json"))
"""
_LAYER = distribution("slow", {"slow.py": "import time\ntime.sleep(0.2)\n"}) | distribution(
    "late", {"late.py": "", "ending.py": "import os\nos._exit(3)\n"}
)


@pytest.fixture
def project(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a built service in the current directory; an environment variable names its interpreter."""
    make_build(
        tmp_path,
        {"app.py": _CODE, "broken.py": "import nowhere"},
        layers=[_LAYER],
        handlers={"orders": "app.handler", "broken": "broken.handler"},
    )
    configure(tmp_path, functions='orders = "app.handler"\nbroken = "broken.handler"')
    share_runtime(tmp_path, tmp_path_factory.getbasetemp() / "runtime")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(environment_variable(sys.version_info[:2]), sys.executable)
    return tmp_path


def _json(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def _difference(report: dict[str, Any]) -> float:
    """Return the difference between the first and the second function's median, in milliseconds."""
    medians: list[float] = [statistics.median(row["samples_ms"]) for row in report["functions"]]
    return medians[0] - medians[1]


def _slept(report: dict[str, Any]) -> list[bool]:
    return ["slow" in [module["name"] for module in row["modules"]] for row in report["functions"]]


def test_table(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The table lists the packages and the slowest modules, and one start is too few to compare; the banner goes to stderr."""
    code = main(["coldstart", "orders", "--repeat", "1", "--modules", "1", "--without", "slow"])
    output = capsys.readouterr()
    *lines, _, compared, _ = output.out.splitlines()

    assert 0 == code
    assert ["function", "orders", "orders,"] == [line.split()[0] for line in lines[:3]]
    assert re.fullmatch(
        r"orders, without slow: too few starts to compare; measured: the current build is \d+\.\d ms slower than the variant "
        r"\(95% confidence interval: \d+\.\d ms slower to \d+\.\d ms slower\)",
        compared,
    )
    assert ["orders", "own"] == lines[4].split()[:2]
    # On a busy machine the runtime itself may take longer than the package.
    assert ["slow", "1.0"] in [line.split()[:2] for line in lines[5:-1]]
    assert re.match(r" {4}\S+ \(.+\): ", lines[-1])
    assert "Measured on this machine; use the times for comparison only." in output.err


def test_report(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The JSON report has a version, and every number of the table."""
    code = main(["coldstart", "orders", "--repeat", "2", "--without", "slow", "--json", "-q"])
    report = _json(capsys)

    assert (0, "1", "local", True) == (code, report["version"], report["kind"], report["ok"])
    base, hidden = report["functions"]
    assert (("orders", None), ("orders", "without slow")) == tuple(
        (row["name"], row["variant"]) for row in (base, hidden)
    )
    assert 2 == len(base["samples_ms"]) == base["total_ms"]["count"]
    assert {"count", "least", "lower", "median", "upper", "greatest"} == set(base["total_ms"])
    assert ["layer:python/slow.py", "package:app.py"] == sorted(base["compiled"])
    # On a busy machine the runtime itself may take longer than the package.
    assert "slow" in [row["name"] for row in base["distributions"]]
    assert "slow" in [row["name"] for row in base["modules"]]
    assert "late" not in [row["name"] for row in base["modules"]]
    [comparison] = report["comparisons"]
    assert _difference(report) == pytest.approx(comparison["difference_ms"]["median"], abs=0.01)
    # Two starts are too few for a certain difference.
    assert comparison["difference_ms"]["certain"] is False


@pytest.mark.parametrize("words", [[], ["--record"]])
def test_no_function(tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    """A build without functions is a usage error, both for measuring and for recording."""
    make_build(tmp_path, {})
    configure(tmp_path, functions="")
    record = tmp_path / ".lamina" / "build.json"
    label = ".lamina/build.json"
    record.write_bytes(seal(open_sealed(record.read_bytes(), label) | {"functions": []}, label))
    code = main(["coldstart", "--project", str(tmp_path), *words])

    expected = "error: the build has no functions\n\nhint: configure a function, then run `lamina build`\n"
    assert (2, expected) == (code, capsys.readouterr().err)


def test_function_that_cannot_start(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A function that fails to start exits with 1 and shows Lambda's error message."""
    code = main(["coldstart", "broken", "--repeat", "1", "-q"])

    message = "Runtime.ImportModuleError: Unable to import module 'broken': No module named 'nowhere'"
    assert (1, f"  broken cannot start: {message}") == (code, capsys.readouterr().out.splitlines()[0])


@pytest.mark.parametrize(("budget", "code"), [("60000", 0), ("1", 1)])
def test_budget(project: Path, capsys: pytest.CaptureFixture[str], budget: str, code: int) -> None:
    """A median above the budget exits with 1."""
    assert code == main(["coldstart", "orders", "--repeat", "1", "--budget-ms", budget, "--json", "-q"])
    assert [code == 0] == [verdict["ok"] for verdict in _json(capsys)["verdicts"]]


def test_baseline(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A measurement within the allowed regression exits with 0, and a slower one exits with 1."""
    options = ["coldstart", "orders", "--repeat", "1", "-q", "--baseline", "base.json"]

    assert 0 == main([*options, "--write-baseline"])
    assert 0 == main([*options, "--max-regression", "900"])
    baseline = json.loads((project / "base.json").read_text())
    row = baseline["functions"]["orders"]
    row |= {name: milliseconds / 100 for name, milliseconds in row.items()}
    (project / "base.json").write_text(json.dumps(baseline))
    assert 1 == main([*options, "--max-regression", "50"])
    assert capsys.readouterr().out.rstrip().endswith("EXCEEDED")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            "--repeat 0 --max-regression -1 --fresh --require-cpu --logs 24 --modules -1 --budget-ms 0",
            (
                "`--repeat` must be at least 1; `--modules` must be at least 0; `--require-cpu` needs `--cpu`; `--budget-ms` must be above 0; "
                "`--max-regression` must be at least 0; `--max-regression` and `--write-baseline` need `--baseline FILE`; "
                "only allowed with `--record`: `--fresh`; only allowed with `--aws`: `--logs`"
            ),
        ),
        ("--baseline base.json", "`--baseline` needs `--max-regression` or `--write-baseline`"),
        ("--record --html page.html --cpu 0.3", "not allowed with `--record`: `--cpu`, `--html`"),
        ("orders --aws --logs 1 --record --no-build", "not allowed with `--aws`: `--no-build`, `--record`"),
        ("orders --aws --logs 0 --forced -1", "`--logs` must be above 0; `--forced` must be above 0"),
    ],
)
def test_wrong_usage(project: Path, capsys: pytest.CaptureFixture[str], words: str, message: str) -> None:
    """One error lists all invalid values and combinations of options; no option is ignored silently."""
    code = main(["coldstart", *words.split()])

    assert (2, f"error: {message}\n\nhint: see `lamina coldstart --help`\n") == (code, capsys.readouterr().err)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--svg chart.svg", "`--svg` needs exactly one function, and does not support `--without` and `--compare`"),
        (
            "--baseline none.json --max-regression 5",
            "failed to read the baseline `none.json`: No such file or directory",
        ),
    ],
)
def test_nothing_is_measured_in_vain(
    project: Path, capsys: pytest.CaptureFixture[str], words: str, message: str
) -> None:
    """A chart or baseline that is not possible is reported before anything is measured."""
    code = main(["coldstart", "--repeat", "1", *words.split()])

    assert (2, f"error: {message}") == (code, capsys.readouterr().err.splitlines()[0])


def test_pictures(project: Path) -> None:
    """`--html` and `--svg` write their files."""
    code = main(["coldstart", "orders", "--repeat", "1", "-q", "--html", "page.html", "--svg", "chart.svg"])

    assert 0 == code
    assert "svg" in ET.fromstring((project / "chart.svg").read_text()).tag  # noqa: S314 - our own
    assert "<svg " in (project / "page.html").read_text()


def test_record(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Recording writes the modules imported at start and during events, and warns of functions that fail to start."""
    (project / "event.json").write_text('{"name": "late"}')
    code = main(["coldstart", "--record", "--event", "orders=event.json"])
    output = capsys.readouterr()

    assert (1, f"{project}/lamina-profile.json\n") == (code, output.out)
    written = json.loads((project / "lamina-profile.json").read_text())
    assert {"version": "1", "functions": {"orders": {"modules": ["late", "slow"]}}} == written
    assert "warning: `broken` failed to start, so its imports were not recorded" in output.err


def test_record_of_failing_events(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A failing event is reported with a warning; after one that ends the process, no more events are sent."""
    for name, module in (("missing", "nowhere"), ("late", "late"), ("end", "ending")):
        (project / f"{name}.json").write_text(f'{{"name": "{module}"}}')
    words = [f"--event={name}.json" for name in ("missing", "late", "end", "missing")]
    code = main(["coldstart", "orders", "--record", *words])
    warnings = [line for line in capsys.readouterr().err.splitlines() if "failed while handling an event" in line]

    assert 0 == code
    assert [
        "warning: `orders` failed while handling an event: ModuleNotFoundError: No module named 'nowhere'",
        "warning: `orders` failed while handling an event: Runtime exited with error: exit status 3",
    ] == warnings
    written = json.loads((project / "lamina-profile.json").read_text())
    assert ["late", "slow"] == written["functions"]["orders"]["modules"]


def test_event_of_nobody(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An event needs the function's name if there are several functions."""
    (project / "event.json").write_text("{}")

    assert 2 == main(["coldstart", "--record", "--event", "event.json"])
    assert capsys.readouterr().err.startswith("error: `--event` does not name a function to record: `event.json`\n")
    assert 0 == main(["coldstart", "orders", "--record", "--event", "event.json", "-q"])


def test_another_build(
    project: Path, capsys: pytest.CaptureFixture[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """`--compare DIR` measures the build in another directory too."""
    other = tmp_path_factory.mktemp("other")
    make_build(other, {"app.py": "def handler(event, context): ..."})
    configure(other)
    share_runtime(other, tmp_path_factory.getbasetemp() / "runtime")
    code = main(["coldstart", "orders", "--repeat", "2", "--compare", str(other), "--json", "-q"])
    report = _json(capsys)

    assert (0, [None, str(other)]) == (code, [row["variant"] for row in report["functions"]])
    assert ([True, False], True) == (_slept(report), min(report["functions"][0]["samples_ms"]) > 200)
    assert _difference(report) == pytest.approx(report["comparisons"][0]["difference_ms"]["median"], abs=0.01)


def test_end_of_a_job(project: Path) -> None:
    """SIGTERM cleans up temporary files like Ctrl-C."""
    made = project / ".lamina" / "local" / "without"
    command = [sys.executable, "-m", "lamina", "coldstart", "orders", "--without", "slow", "--repeat", "3", "-q"]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        deadline = time.monotonic() + 60
        while not (made.is_dir() and os.listdir(made)) and time.monotonic() < deadline:
            time.sleep(0.01)
        process.terminate()
        _, said = process.communicate(timeout=60)

    assert (130, b"error: interrupted\n", []) == (process.returncode, said, list(made.iterdir()))


def _git(directory: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=tests", "-c", "user.email=tests@example.com", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", str(directory), *identity, *arguments], check=True, capture_output=True)


def test_another_revision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """`--compare REV` builds a git revision with the last build's options and leaves no files in the repository."""
    monkeypatch.setenv("LAMINA_CACHE_DIR", str(tmp_path / "store"))
    monkeypatch.setenv(environment_variable(sys.version_info[:2]), sys.executable)
    service = make_service(tmp_path)
    service.settings |= {"runtime": '"python3.9"'}
    project = service.write()
    (project / "pyproject.toml").write_text((project / "pyproject.toml").read_text().replace(">=3.12", ">=3.9"))
    handler = project / "service" / "handlers" / "hello.py"
    original = handler.read_text()
    handler.write_text(f"import sys, time\ntime.sleep(0.3)\nassert sys.version_info > (3, 9, 99)\n{original}")
    _git(project, "init", "-q")
    _git(project, "add", "-A")
    _git(project, "commit", "-q", "-m", "Sleep")
    handler.write_text(original)
    assert 0 == main(["build", "--project", str(project), "-q", "--runtime", f"python{MINOR}"])
    code = main(["coldstart", "--project", str(project), "--repeat", "2", "--compare", "HEAD", "--json", "-q"])
    report = _json(capsys)

    assert (0, [None, "HEAD"]) == (code, [row["variant"] for row in report["functions"]])
    assert min(report["functions"][1]["samples_ms"]) > 300
    assert _difference(report) == pytest.approx(report["comparisons"][0]["difference_ms"]["median"], abs=0.01)
    listed = subprocess.run(["git", "-C", str(project), "worktree", "list"], check=True, capture_output=True, text=True)
    assert 1 == len(listed.stdout.splitlines())


def test_no_such_revision(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--compare` rejects a value that is neither a revision nor a build, and the hint depends on what the repository has."""

    def hint(value: str) -> str:
        assert 2 == main(["coldstart", "orders", "--compare", value, "-q"])
        return capsys.readouterr().err.partition("hint: ")[2].strip()

    _git(project, "init", "-q")
    assert hint("HEAD").startswith("commit the project, or compare with the directory of a built project: ")
    _git(project, "commit", "-q", "--allow-empty", "-m", "Start")
    assert "list the branches: `git branch --all`" == hint("nowhere")
    _git(project, "remote", "add", "origin", "https://127.0.0.1/none.git")
    assert "fetch it: `git fetch --depth 1 origin nowhere`, then pass `--compare FETCH_HEAD`" == hint("nowhere")
    _git(project, "update-ref", "refs/remotes/origin/nowhere", "HEAD")
    assert "compare with the remote branch: `--compare origin/nowhere`" == hint("nowhere")
    (project / "unbuilt").mkdir()
    assert hint("unbuilt").startswith("build it: `lamina build --project unbuilt`; ")


def _answering(answers: dict[str, Any]) -> Any:
    """Return a fake client that returns a fixed response for each operation, or denies the operation if there is none."""

    def call(operation: str, **_: Any) -> Any:
        if operation not in answers:
            raise MissingPermissionError(f"`{operation}` is not allowed", actions=(operation,))
        return answers[operation]

    return call


def _sources(destination: str | None = "XRay", provisioned: tuple[str, ...] | None = ()) -> Sources:
    """Return sources with one cold start; ``None`` denies the request."""
    configuration = {
        "FunctionName": "orders",
        "Version": "7",
        "RevisionId": "r1",
        "Layers": [{"Arn": "arn:aws:lambda:eu-west-1:123456789012:layer:common:4"}],
    }
    report = "REPORT RequestId: a\tDuration: 1 ms\tInit Duration: 250.4 ms\t"
    row = {"@timestamp": "2026-11-23 05:43:28.123", "@message": report, "@logStream": "2026/11/23/[7]01"}
    results = [[{"field": key, "value": value} for key, value in row.items()]]
    logs = {"StartQuery": {"queryId": "q"}, "GetQueryResults": {"status": "Complete", "results": results}}
    functions: dict[str, Any] = {"GetFunctionConfiguration": configuration}
    if provisioned is not None:
        rows = [
            {"FunctionArn": f"arn:aws:lambda:eu-west-1:123456789012:function:orders:{each}"} for each in provisioned
        ]
        functions["ListProvisionedConcurrencyConfigs"] = {"ProvisionedConcurrencyConfigs": rows}
    traces: dict[str, Any] = {"GetTraceSummaries": {"TraceSummaries": []}}
    if destination is not None:
        traces["GetTraceSegmentDestination"] = {"Destination": destination}
    return Sources(
        functions=DeployedFunctions(_answering(functions)),
        logs=Logs(_answering(logs)),
        xray=XRay(_answering(traces)),
    )


def _arguments(*words: str) -> argparse.Namespace:
    return build_parser("coldstart").parse_args(["coldstart", *words])


_NOW = dt.datetime(2026, 11, 23, 6, tzinfo=dt.UTC)


def test_what_aws_saw(capsys: pytest.CaptureFixture[str]) -> None:
    """Observed cold starts are grouped by the function's version, and show the layers of that version."""
    code = show_observed(_arguments("--aws", "orders", "--logs", "24", "--xray", "1"), _sources(), now=_NOW)
    [_, line] = capsys.readouterr().out.splitlines()

    assert 0 == code
    expected = ["orders", "logs", "7", "1", "250", "ms", "250", "ms", "250", "ms", "250", "ms", "common:4"]
    assert expected == line.split()


@pytest.mark.parametrize(
    ("sources", "warnings"),
    [
        ({}, []),
        ({"destination": "CloudWatchLogs"}, ["the account's traces go to CloudWatch Logs (Transaction Search), and X-Ray has"]),
        ({"destination": None}, ["X-Ray may have only a part of the traces: `GetTraceSegmentDestination` is not allowed"]),
        ({"provisioned": ("7",)}, ["version 7 of function `orders` has provisioned concurrency"]),
        ({"provisioned": None}, ["initialisations for provisioned concurrency may count as cold starts: "]),
    ],
)  # fmt: skip
def test_numbers_that_are_not_the_whole_truth(
    capsys: pytest.CaptureFixture[str], sources: dict[str, Any], warnings: list[str]
) -> None:
    """A warning says if X-Ray lacks traces, or if the log reports initialisations that no caller waited for."""
    arguments = _arguments("--aws", "orders", "--logs", "24", "--xray", "1")
    assert 0 == show_observed(arguments, _sources(**sources), now=_NOW)
    shown = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: ")]

    assert len(warnings) == len(shown)
    for warning, line in zip(warnings, shown, strict=True):
        assert line.startswith(f"warning: {warning}")


def test_before_and_after(capsys: pytest.CaptureFixture[str]) -> None:
    """`--split` groups observed cold starts by before and after a time."""
    words = ("--aws", "orders", "--logs", "24", "--json", "--split", "2026-11-23T05:00")
    code = show_observed(_arguments(*words), _sources(), now=_NOW)
    document = _json(capsys)

    assert (0, "1", "aws") == (code, document["version"], document["kind"])
    [group] = document["groups"]
    assert ("orders", "logs", "after", 1) == (
        group["function"],
        group["source"],
        group["group"],
        group["milliseconds"]["count"],
    )


def test_nothing_was_seen(capsys: pytest.CaptureFixture[str]) -> None:
    """Finding no cold starts is not an error."""
    assert 0 == show_observed(_arguments("--aws", "orders", "--xray", "1"), _sources(), now=_NOW)
    assert ("", "no cold starts found\n") == capsys.readouterr()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--aws"], "`--aws` needs the names of deployed functions"),
        (["--aws", "orders"], "`--aws` needs `--logs`, `--xray` or `--forced`"),
        (["--aws", "orders", "--logs", "1", "--split", "noon"], "`--split` is not an ISO 8601 time: `noon`"),
    ],
)
def test_what_aws_cannot_be_asked(capsys: pytest.CaptureFixture[str], words: list[str], message: str) -> None:
    """A missing function, a missing source or an invalid time is reported before any request to AWS."""
    assert 2 == main(["coldstart", *words])
    assert capsys.readouterr().err.startswith(f"error: {message}\n")
