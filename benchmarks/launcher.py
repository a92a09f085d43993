"""Run commands through a small launcher process, so that their peak memory is measured correctly."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Self

from benchmarks.values import Run, Sample

if TYPE_CHECKING:
    from types import TracebackType

    from benchmarks.values import Command

__all__ = ["Launcher"]

_PROGRAM = Path(__file__).parent / "programs" / "launch.py"
_SHOWN = 2_000


class Launcher:
    """A `Runner` with its own launcher process. Use it as a context manager, which ends the process."""

    def __init__(self) -> None:
        """Start the launcher process."""
        self._directory = tempfile.TemporaryDirectory(prefix="lamina-benchmarks-")
        self._stdout = Path(self._directory.name, "stdout")
        self._stderr = Path(self._directory.name, "stderr")
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_PROGRAM)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __call__(self, command: Command) -> Run:
        """Run and measure *command*. Raises `RuntimeError` with the end of the command's output if it fails."""
        job = {
            "argv": command.argv,
            "environment": dict(command.environment),
            "directory": str(command.directory),
            "stdout": str(self._stdout),
            "stderr": str(self._stderr),
        }
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("the launcher has no pipes")
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        words = " ".join(command.argv)
        if "error" in answer:
            raise RuntimeError(f"{words}: {answer['error']}")
        output = self._stdout.read_text(errors="replace")
        if answer["code"] not in command.ok:
            said = (output + self._stderr.read_text(errors="replace")).strip()[-_SHOWN:]
            raise RuntimeError(f"{words} failed with exit code {answer['code']}:\n{said}")
        sample = Sample(seconds=answer["seconds"], cpu_seconds=answer["cpu_seconds"], peak_bytes=answer["peak_bytes"])
        return Run(sample=sample, output=output)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the launcher process by closing its stdin."""
        self._process.communicate()
        self._directory.cleanup()
