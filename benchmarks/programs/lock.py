"""
Read a uv.lock and select its wheels, or only parse it, and print the time in seconds.

Usage: lock.py select|parse DIRECTORY. Runs with lamina's own interpreter; modules are imported before the measurement.
"""

from __future__ import annotations

import hashlib
import sys
import time
import tomllib
from pathlib import Path

import rtoml

from lamina.core.store import Store
from lamina.core.target import Target
from lamina.fetch.index import PackageIndex
from lamina.lock.formats import find, read
from lamina.lock.select import select

_TARGET = Target.of("python3.13", "arm64")
_DISTRIBUTIONS = 40
_PLATFORMS = (
    "manylinux_2_17_aarch64",
    "manylinux_2_17_x86_64",
    "musllinux_1_2_aarch64",
    "musllinux_1_2_x86_64",
    "macosx_11_0_arm64",
    "win_amd64",
    "win32",
)


def _write(directory: Path) -> Path:
    """Write a lock of 40 distributions with 1,000 files; every second distribution has wheels for many platforms."""
    binary = [f"cp3{minor}-cp3{minor}-{platform}" for minor in range(9, 16) for platform in _PLATFORMS]
    names = [f"distribution-{number}" for number in range(_DISTRIBUTIONS)]
    rows = [
        {
            "name": name,
            "version": "1.0",
            "source": {"registry": "https://index.example/simple"},
            "dependencies": [{"name": each} for each in names[number + 1 : number + 3]],
            "wheels": [_wheel(name, tag) for tag in (binary if number % 2 else ["py3-none-any"])],
        }
        for number, name in enumerate(names)
    ]
    project = {"name": "service", "version": "0.1.0", "source": {"virtual": "."}}
    required = {"metadata": {"requires-dist": [{"name": name} for name in names]}}
    root = project | {"dependencies": [{"name": name} for name in names]} | required
    directory.mkdir(parents=True, exist_ok=True)
    declared = {"name": "service", "version": "0.1.0", "requires-python": ">=3.9", "dependencies": names}
    # Without its own `pyproject.toml`, the lock would be read as the lock of the project that contains the benchmarks.
    (directory / "pyproject.toml").write_text(rtoml.dumps({"project": declared}), encoding="utf-8")
    path = directory / "uv.lock"
    path.write_text(rtoml.dumps({"version": 1, "requires-python": ">=3.9", "package": [root, *rows]}), encoding="utf-8")
    return path


def _wheel(name: str, tag: str) -> dict[str, str]:
    filename = f"{name.replace('-', '_')}-1.0-{tag}.whl"
    sha256 = hashlib.sha256(filename.encode()).hexdigest()
    return {"url": f"https://files.example/{filename}", "hash": f"sha256:{sha256}"}


def _select(directory: Path) -> int:
    index = PackageIndex(directory, Store.open(directory / "store"), offline=True)
    lock = read(find(directory), target=_TARGET, groups=(), extras=(), index=index)
    return len(select(lock, target=_TARGET).pins)


def main() -> None:
    """Run the measurement named in argv[1] in the directory argv[2], and print the seconds."""
    what, directory = sys.argv[1], Path(sys.argv[2])
    path = _write(directory)
    # Import the modules by selecting once, then change the file, so that no result for it is cached.
    _select(directory)
    text = path.read_text(encoding="utf-8")
    path.write_text(f"# again\n{text}", encoding="utf-8")
    started = time.perf_counter()
    done = _select(directory) if what == "select" else len(tomllib.loads(text)["package"]) - 1
    seconds = time.perf_counter() - started
    if done != _DISTRIBUTIONS:
        raise SystemExit(f"expected {_DISTRIBUTIONS} distributions, got {done}")
    print(seconds)


if __name__ == "__main__":
    main()
