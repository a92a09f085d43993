"""Install the tools that lamina is compared with, each in its own virtual environment, which is kept after the run."""

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
    """A tool is not installed and its installation failed; the message has the reason."""


def tool(bench: Bench, package: str, program: str) -> Path:
    """
    Return the path of *program* in *package*; install it from its lock file with the user's own settings if necessary.

    Raises `MissingToolError` if the installation fails.
    """
    lock = LOCKS / f"{package}.txt"
    # Each version of the lock file has its own environment.
    environment = bench.home / "venvs" / f"{program}-{hashlib.sha256(lock.read_bytes()).hexdigest()[:12]}"
    path = environment / "bin" / program
    if path.exists():
        return path
    print(f"installing {package} into {environment}", file=sys.stderr)
    try:
        subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True, capture_output=True)
        # The lock file is complete, so pip does not have to resolve anything.
        pip = [str(environment / "bin" / "python"), "-m", "pip", "install", "--quiet", "--require-hashes", "--no-deps"]
        subprocess.run([*pip, "--requirement", str(lock)], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        remove(environment)
        raise MissingToolError(f"installing {package} failed: {error}") from error
    return path
