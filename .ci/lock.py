"""
Update the locks of everything that the targets of the Makefile install: ``make lock``.

Every lock has hashes and names no index, so it works with any index. The script needs uv with a working index, and npm for the lock
of the `cdk` command.
"""

import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from uv import find_uv_bin

ROOT = Path(__file__).parents[1]
LOCKS = ROOT / "requirements"
DEVELOPMENT = LOCKS / "development.txt"
LOWEST = LOCKS / "lowest.txt"
ORDERS = ROOT / "examples" / "orders"
# The tools that `make bench` compares lamina with; benchmarks/tools.py installs each from the lock with its name.
PEERS = ("aws-sam-cli", "awscli")
# The oldest Python that lamina supports, and the oldest that the server of `lamina sandbox` supports.
OLDEST_PYTHON = "3.11"
OLDEST_SERVER_PYTHON = "3.10"


def main() -> int:
    """Update every lock; return 1 if npm is missing."""
    LOCKS.mkdir(exist_ok=True)
    own = ("pyproject.toml", "--all-extras")
    compile_lock(DEVELOPMENT, *own, "--group", "dev", "--upgrade")
    # uv prefers the versions of an existing lock, so start from the development lock to get the same tools.
    tools = without(DEVELOPMENT.read_text("utf-8"), own_dependencies())
    compile_lock(LOWEST, *own, "--group", "test", "--resolution", "lowest-direct", before=tools)
    compile_lock(LOCKS / "uv.txt", "-", "--constraints", str(DEVELOPMENT), "--upgrade", requirement="uv")
    for name in PEERS:
        compile_lock(LOCKS / f"{name}.txt", "-", "--upgrade", requirement=name)
    lock_server()
    return lock_node()


def compile_lock(
    lock: Path, *arguments: str, requirement: str = "", python: str = OLDEST_PYTHON, before: str = ""
) -> None:
    """Replace *lock* with one for every platform and every Python from *python* on; prefer the versions in *before*."""
    print(lock.relative_to(ROOT), file=sys.stderr)
    options = ("--universal", "--python-version", python, "--generate-hashes", "--no-emit-index-url")
    header = ("--custom-compile-command", "make lock")
    # Write to a temporary file, so that the lock stays unchanged if uv fails.
    with tempfile.TemporaryDirectory(dir=ROOT, prefix=".lock-") as directory:
        made = Path(directory, lock.name)
        made.write_text(before, "utf-8")
        command = [
            find_uv_bin(),
            "pip",
            "compile",
            "--quiet",
            *arguments,
            *options,
            *header,
            "--output-file",
            str(made),
        ]
        subprocess.run(command, cwd=ROOT, input=requirement, stdout=subprocess.DEVNULL, text=True, check=True)
        made.replace(lock)


def own_dependencies() -> set[str]:
    """Return the names of lamina's direct dependencies, including those of its extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    lines = [*project["dependencies"], *(line for extra in project["optional-dependencies"].values() for line in extra)]
    return {canonicalize_name(Requirement(line).name) for line in lines}


def without(lock: str, names: set[str]) -> str:
    """Return *lock* without the entries of *names*."""
    entries = re.split(r"(?m)^(?=\w)", lock)
    return "".join(entry for entry in entries if canonicalize_name(entry.partition("==")[0]) not in names)


def lock_server() -> None:
    """Lock the server of `lamina sandbox`, which lamina installs with the target's interpreter."""
    data = ROOT / "src" / "lamina" / "data"
    requirement = tomllib.loads((data / "sandbox.toml").read_text("utf-8"))["server"]["requirement"]
    lock = data / "sandbox.txt"
    compile_lock(lock, "-", "--upgrade", "--no-annotate", requirement=requirement, python=OLDEST_SERVER_PYTHON)


def lock_node() -> int:
    """Lock the `cdk` command; return 1 if npm is missing. The .npmrc next to package.json omits addresses from the lock."""
    npm = shutil.which("npm")
    if npm is None:
        print("error: npm not found on PATH, so the lock of the `cdk` command was not updated", file=sys.stderr)
        return 1
    command = [npm, "install", "--silent", "--package-lock-only", "--ignore-scripts", "--no-audit", "--no-fund"]
    with tempfile.TemporaryDirectory(dir=ROOT, prefix=".lock-") as directory:
        # Use a directory with the project's name, because npm writes that name into the lock.
        place = Path(directory, ORDERS.name)
        place.mkdir()
        for name in (".npmrc", "package.json"):
            shutil.copy(ORDERS / name, place)
        subprocess.run(command, cwd=place, check=True)
        (place / "package-lock.json").replace(ORDERS / "package-lock.json")
    return 0


if __name__ == "__main__":
    sys.exit(main())
