"""A full disk or a limit of the process is reported as such, whatever lamina was about to write, read or start."""

from __future__ import annotations

import os
import subprocess  # noqa: F401 - no module can be loaded where no file can be opened
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lamina.bytecode.bounds import ProcessBounds
from lamina.bytecode.interpreter import Interpreter, find
from lamina.bytecode.workers import Program, Worker
from lamina.cli.main import main
from lamina.cli.reports import write_file
from lamina.core.errors import DiskFullError, LimitError
from lamina.core.values import DirectorySource
from lamina.fetch.source.identity import identify
from lamina.fetch.source.tree import source_tree
from sourceprojects import source_files, write_sources

if TYPE_CHECKING:
    from collections.abc import Iterator

resource = pytest.importorskip("resource")
_VERSION = (sys.version_info[0], sys.version_info[1])


@contextmanager
def _limited(name: str, most: int) -> Iterator[None]:
    number = getattr(resource, name)
    before = resource.getrlimit(number)
    resource.setrlimit(number, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(number, before)


def _free_descriptor() -> int:
    """Return the lowest number that a file opened now gets."""
    descriptor = os.dup(0)
    os.close(descriptor)
    return descriptor


def test_init_on_a_full_disk(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "app.py").write_text("def lambda_handler(event, context):\n    return event\n")
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "app"\nversion = "1"\nrequires-python = "==3.13.*"\n')
    with _limited("RLIMIT_FSIZE", 0):
        code = main(["init", "--project", str(tmp_path)])

    assert (5, True) == (code, "pyproject.toml`: File too large\n\nhint: free space" in capsys.readouterr().err)


def test_a_plan_on_a_full_disk(tmp_path: Path) -> None:
    with _limited("RLIMIT_FSIZE", 0), pytest.raises(DiskFullError, match=r"plan\.json"):
        write_file(str(tmp_path / "plan.json"), b"{}")


def test_a_copy_of_sources_on_a_full_disk(tmp_path: Path) -> None:
    shared = write_sources(tmp_path / "shared", source_files("shared"))
    pin = identify(DirectorySource(name="shared", version=None, path=shared))
    with _limited("RLIMIT_FSIZE", 0), pytest.raises(DiskFullError):
        source_tree(pin, tmp_path / "place", lambda _: tmp_path)


def test_a_compiler_that_cannot_start_for_want_of_descriptors(tmp_path: Path) -> None:
    """Nothing suggests to build without bytecode, which would change the layer."""
    program = tmp_path / "program.py"
    program.write_text("")
    interpreter = Interpreter(path=Path(sys.executable), version=sys.version_info[:3], magic="")
    # The limit leaves descriptors for the program and for one pipe.
    with _limited("RLIMIT_NOFILE", _free_descriptor() + 3), pytest.raises(LimitError) as raised:
        Worker(interpreter, Program(program), ProcessBounds.default())

    assert "ulimit -n" in str(raised.value.hint)


def test_an_interpreter_that_cannot_start_for_want_of_descriptors() -> None:
    """It is not reported as missing or unsuitable."""
    with _limited("RLIMIT_NOFILE", _free_descriptor() + 1), pytest.raises(LimitError):
        find(_VERSION, explicit=Path(sys.executable))
