"""The runtime's state of support, and settings that only some functions can have."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from lamina.core.facts import replace_facts
from lamina.core.target import Target
from lamina.core.toml import read_data
from lamina.pipeline.checks.runtime import check
from lamina.project import config
from lamina.project.options import BuildOptions
from lamina.project.service import Function
from pipeline.checks.made import make_service

if TYPE_CHECKING:
    from pathlib import Path

_TODAY = dt.date(2026, 11, 28)


def test_preview() -> None:
    """A note says that a runtime is only a preview; other runtimes have no finding."""
    service = replace(make_service(), target=Target.of("python3.15", "arm64"))
    [finding] = check(service, today=_TODAY)

    assert ("runtime-preview", "note") == (finding.rule, finding.severity.value)
    assert finding.message.startswith("`python3.15` has been a public preview since 2026-07-24: ")
    assert () == check(replace(service, target=Target.of("python3.14", "arm64")), today=_TODAY)


@pytest.mark.parametrize(
    ("memory", "timeout", "messages"),
    [
        (10_240, 1_800, []),
        (10_241, 3, ["`f`: `memory` is 10,241 MB, but only functions on Lambda Managed Instances can have more than 10,240 MB"]),
        (128, 1_801, ["`f`: `timeout` is 1,801 seconds, but only functions on Lambda Managed Instances can have more than 1,800 seconds"]),
    ],
)  # fmt: skip
def test_managed_instances(memory: int, timeout: int, messages: list[str]) -> None:
    """A value above the limit of ordinary functions is a warning, because the function may run on Lambda Managed Instances."""
    function = Function(name="f", handler="a.b", layers=(), memory_mb=memory, timeout_seconds=timeout, environment=())
    found = check(replace(make_service(), functions=(function,)), today=_TODAY)

    assert [("managed-instances-only", "warning", message) for message in messages] == [
        (finding.rule, finding.severity.value, finding.message) for finding in found
    ]


@pytest.mark.parametrize(
    ("runtime", "today", "facts"),
    [
        (
            "python3.10",
            dt.date(2026, 11, 28),
            "deprecated: no support since 2026-10-31, no new functions from 2027-02-01, no updates from 2027-03-03; change it to `python3.14`",
        ),
        (
            "python3.9",
            dt.date(2027, 2, 1),
            "deprecated: no support since 2025-12-15, no new functions since 2027-02-01, no updates from 2027-03-03; change it to `python3.14`",
        ),
        (
            "python3.11",
            dt.date(2027, 5, 2),
            "soon deprecated: no support from 2027-06-30, no new functions from 2027-07-31, no updates from 2027-08-31; change it to `python3.14`",
        ),
        (
            "python3.12",
            dt.date(2029, 1, 10),
            "deprecated: no support since 2028-10-31, no new functions since 2028-11-30, no updates since 2029-01-10; change it to `python3.14`",
        ),
        (
            "python3.13",
            dt.date(2030, 1, 1),
            "deprecated: no support since 2029-06-30, no new functions since 2029-07-31, no updates since 2029-08-31; lamina knows no newer runtime: update lamina",
        ),
    ],
)  # fmt: skip
def test_deprecated(runtime: str, today: dt.date, facts: str) -> None:
    """A warning has the dates of a runtime's end, and the newest runtime that is supported on that day."""
    [finding] = check(replace(make_service(), target=Target.of(runtime, "arm64")), today=today)

    assert ("runtime-deprecated", "warning") == (finding.rule, finding.severity.value)
    assert f"`{runtime}` is {facts}" == finding.message


@pytest.mark.parametrize(
    ("runtime", "today"),
    [
        ("python3.11", dt.date(2027, 5, 1)),
        ("python3.13", dt.date(2029, 5, 1)),
        ("python3.15", dt.date(2099, 1, 1)),
    ],
)
def test_supported(runtime: str, today: dt.date) -> None:
    """Until 90 days before no new functions with a supported runtime, a build has no warning."""
    found = check(replace(make_service(), target=Target.of(runtime, "arm64")), today=today)

    assert "runtime-deprecated" not in {finding.rule for finding in found}


def test_earliest_dates() -> None:
    """The first date that there is, in a file with facts, is a date in the past."""
    row = next(row for row in read_data("runtimes.toml")["runtime"] if row["name"] == "python3.13")
    ends = dict.fromkeys(("deprecation", "block_create", "block_update"), dt.date.min)
    replace_facts({"runtime": [row | ends | {"read": dt.date.max}]})
    [finding] = check(make_service(), today=_TODAY)

    assert "no support since 0001-01-01, no new functions since 0001-01-01" in finding.message


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("pyproject.toml", 'runtime = "python3.9"'),
        ("lamina.toml", 'targets = ["python3.9-arm64", "python3.13-arm64"]'),
        ("template.yaml", "      Runtime: python3.9"),
    ],
)
def test_line_to_change(tmp_path: Path, name: str, line: str) -> None:
    """The warning names the line that sets the runtime, whether it is in the configuration or in a template."""
    path = tmp_path / name
    path.write_text(f"# python3.9\ncommand = 'python3.9'\nother = 'python3.99 python3.9.1'\n{line}\n", encoding="utf-8")
    service = replace(make_service(), target=Target.of("python3.9", "arm64"), runtime_inputs=(path,))
    [finding] = check(service, today=_TODAY)

    assert finding.message.endswith(f"; change it to `python3.14` in `{name}`, line 4")


@pytest.mark.parametrize(
    ("settings", "option", "place"),
    [
        ('runtime = "python3.9"', None, " in `pyproject.toml`, line 8"),
        ('runtime = "python3.13"', "python3.9", ""),
        ("", None, " in `template.yaml`, line 4"),
        ("", "python3.9", ""),
    ],
)
def test_file_that_sets_the_runtime(tmp_path: Path, settings: str, option: str | None, place: str) -> None:
    """The place is in the configuration or the template, not in the file with facts, which names every runtime; an option has none."""
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "app.py").touch()
    (tmp_path / "facts.toml").write_text(
        '[[interpreter]]\nruntime = "python3.9"\nversion = "3.9.60"\nsource = "a log"\nread = 2027-11-02\n'
    )
    functions = '[tool.lamina.functions]\nf = "app.handler"\n' if settings else ""
    (tmp_path / "template.yaml").write_text(
        "Resources:\n  F:\n    Type: AWS::Serverless::Function\n    Properties: {Runtime: python3.9, Handler: app.handler, CodeUri: src}\n"
    )
    (tmp_path / "pyproject.toml").write_text(
        "# python3.9\n[tool.other]\ncommand = 'python3.9'\n\n[tool.lamina]\n"
        f"facts = 'facts.toml'\nsource = ['src']\n{settings}\n{functions}"
    )
    [finding] = check(config.load(tmp_path, BuildOptions(runtime=option)), today=_TODAY)

    assert finding.message.endswith(f"; change it to `python3.14`{place}")
