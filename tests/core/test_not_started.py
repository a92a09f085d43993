"""A program that lamina needs and that does not start is an error of the machine, with the reason and a way to check the program."""

from __future__ import annotations

import errno
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from lamina.core.errors import LimitError, StartError
from lamina.core.supervised.process import not_started, run

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("content", "mode", "reason"),
    [
        (None, 0o755, "No such file or directory"),
        ("#!/no/such/interpreter\n", 0o755, "No such file or directory"),
        ("#!/bin/sh\n", 0o644, "Permission denied"),
        ("\x7fELF", 0o755, "Exec format error"),
    ],
    ids=["absent", "interpreter absent", "not executable", "for another machine"],
)
def test_a_program_that_does_not_start(content: str | None, mode: int, reason: str, tmp_path: Path) -> None:
    program = tmp_path / "a program"
    if content is not None:
        program.write_text(content)
        program.chmod(mode)

    with pytest.raises(StartError) as raised:
        run([str(program)], environment=os.environ, directory=tmp_path)

    assert (5, f"failed to start `{program}`: {reason}") == (raised.value.exit_code, str(raised.value))
    command = (raised.value.hint or "").split("`")[1]
    assert 0 != subprocess.run(["/bin/sh", "-c", command], capture_output=True, check=False).returncode
    assert f"'{program}' --version" == command


def test_a_program_that_a_limit_keeps_from_starting() -> None:
    assert isinstance(not_started("git", OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))), LimitError)
