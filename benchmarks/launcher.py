"""Run commands through a small process of their own, so that their peak memory is theirs."""

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
    """A `Runner`; a context manager, because its process has to end."""

    def __init__(self) -> None:
        """Start the process."""
        self._directory = tempfile.TemporaryDirectory(prefix="lamina-benchmarks-")
        self._stdout = Path(self._directory.name, "stdout")
        self._stderr = Path(self._directory.name, "stderr")
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_PROGRAM)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __call__(self, command: Command) -> Run:
        """Run *command*; raises RuntimeError, with the end of what it said, if it fails."""
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
            raise RuntimeError(f"{words} ended with {answer['code']}:\n{said}")
        sample = Sample(seconds=answer["seconds"], cpu_seconds=answer["cpu_seconds"], peak_bytes=answer["peak_bytes"])
        return Run(sample=sample, output=output)

    def __enter__(self) -> Self:
        """Return this launcher."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the process; it goes by itself when nobody writes to it any more."""
        self._process.communicate()
        self._directory.cleanup()
