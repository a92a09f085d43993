"""Install the tools that lamina is measured beside, each in an environment of its own that survives the run."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.bench import remove

if TYPE_CHECKING:
    from benchmarks.bench import Bench

__all__ = ["MissingToolError", "tool"]

LOCKS = Path(__file__).parents[1] / "requirements"


class MissingToolError(Exception):
    """A tool is not there and cannot be installed; says why."""


def tool(bench: Bench, package: str, program: str) -> Path:
    """
    Return *program* of *package*, installed from its lock with the user's own settings if it is not there yet.

    Raises MissingToolError where that fails.
    """
    lock = LOCKS / f"{package}.txt"
    # Another lock is another environment.
    environment = bench.home / "venvs" / f"{program}-{hashlib.sha256(lock.read_bytes()).hexdigest()[:12]}"
    path = environment / "bin" / program
    if path.exists():
        return path
    print(f"installing {package} into {environment}", file=sys.stderr)
    try:
        subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True, capture_output=True)
        # A lock is complete, so nothing is to be resolved.
        pip = [str(environment / "bin" / "python"), "-m", "pip", "install", "--quiet", "--require-hashes", "--no-deps"]
        subprocess.run([*pip, "--requirement", str(lock)], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        remove(environment)
        raise MissingToolError(f"{package} cannot be installed: {error}") from error
    return path
