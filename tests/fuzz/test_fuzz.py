"""A short run of each kind of fuzzing; `make fuzz` runs longer."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from fuzz import mutate
from fuzz.kinds import KINDS

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits and capabilities are those of Linux")

_CASES = 1
_SEED = 1


def _fuzz(*arguments: str) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join(path for path in (str(Path(__file__).parent.parent), *sys.path) if path)
    command = [sys.executable, "-m", "fuzz", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=dict(os.environ, PYTHONPATH=paths))


def test_nothing_is_found(tmp_path: Path) -> None:
    """The first cases of each kind end with a documented exit code, in bounds of time and memory, and without another layer."""
    findings = tmp_path / "findings"
    done = _fuzz("--seed", str(_SEED), "--cases", str(_CASES), "--findings", str(findings))

    assert (0, []) == (done.returncode, sorted(findings.glob("*"))), done.stdout + done.stderr
    assert [f"{kind}: {_CASES} cases with seed {_SEED}" for kind in KINDS] == [
        line.partition(",")[0] for line in done.stdout.splitlines()
    ]


def test_findings_can_be_repeated(tmp_path: Path) -> None:
    """A finding is repeated from its file, and the exit code says whether it is still wrong."""
    finding = tmp_path / "finding.json"
    finding.write_text(json.dumps({"kind": "configuration", "changes": {"greeter/pyproject.toml": "AAAA"}}))
    done = _fuzz("--replay", str(finding))

    assert 0 == done.returncode, done.stderr
    assert "exit code 2 after" in done.stdout
    assert "nothing is wrong" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--replay", "nosuch.json"), "`nosuch.json` is not a finding: "),
        (("--replay", "/dev/null"), "`/dev/null` is not a finding: "),
        (("--minutes", "0"), "argument --minutes: invalid"),
    ],
)
def test_mistakes_on_the_command_line(arguments: tuple[str, ...], said: str) -> None:
    """A mistake is named, and no run without a case looks like success."""
    done = _fuzz(*arguments)

    assert 2 == done.returncode
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("change", [mutate.raw, mutate.text, mutate.document, mutate.body, mutate.head, mutate.page])
def test_changes_are_repeatable(change: mutate.Change) -> None:
    """The same seed makes the same change, and changes differ from what they start with."""
    old = b'{"name": "alpha", "files": [1, 2, {"a": null}]}'
    first, second = ([change(random.Random(seed), old) for seed in range(100)] for _ in range(2))  # noqa: S311

    assert first == second
    assert sum(new != old for new in first) > 60
