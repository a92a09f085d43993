"""Every fact in ``data/*.toml`` has a source and a date, and ``make facts`` lists those that are old."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / ".ci" / "facts.py"

if not PROGRAM.exists():
    pytest.skip("the checks of the repository are not here", allow_module_level=True)


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(PROGRAM), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_every_fact_has_a_source_and_a_date() -> None:
    """The data files have no fact without its source and the date when it was read."""
    result = run("--today", "2026-11-28")

    assert "" == result.stderr
    assert [] == [line for line in result.stdout.splitlines() if "no source" in line]
    assert 0 == result.returncode


@pytest.mark.parametrize(
    "fact",
    [
        '[[row]]\nname = "a"\n',
        '[[row]]\nname = "a"\nsource = "x"\n',
        '[[row]]\nname = "a"\nread = 2026-01-01\n',
        '[[row]]\nname = "a"\nsource = ""\nread = 2026-01-01\n',
        '[[row]]\nname = "a"\nsource = "x"\nread = "yesterday"\n',
        "[row.inner]\nvalue = 1\n",
        "value = 1\n",
    ],
)
def test_fact_without_a_source_or_date(tmp_path: Path, fact: str) -> None:
    """A fact without a source, or without a date, makes the program fail, and is named."""
    (tmp_path / "new.toml").write_text(
        f'[other]\nvalue = 1\nsource = "x"\nread = 2026-01-01\n{fact}' if "[" in fact else fact
    )
    result = run(tmp_path)

    assert 1 == result.returncode
    assert 1 == result.stdout.count("no source or no date")
    assert result.stdout.startswith("new.toml")


def test_old_facts(tmp_path: Path) -> None:
    """Facts that are older than 90 days are listed with file, name, date and source, oldest first; the program succeeds."""
    (tmp_path / "facts.toml").write_text(
        'source = "the file"\nread = 2026-08-29\n[plain]\nvalue = 1\n'
        '[[row]]\nname = "late"\nsource = "a page"\nread = 2026-08-30\n'
        '[[row]]\nservice = "s3"\nname = "GetObject"\nsource = "another page"\nread = 2026-01-01\n'
    )
    (tmp_path / "configuration.toml").write_text('[[table]]\npath = ""\n')
    result = run("--today", "2026-11-28", tmp_path)

    assert (
        "2026-01-01  facts.toml row s3 GetObject: another page\n"
        "2026-08-29  facts.toml plain: the file\n"
        "2 of 3 facts are older than 90 days\n"
    ) == result.stdout
    assert 0 == result.returncode
