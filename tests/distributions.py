"""Build lamina's own wheel, and serve it with installed distributions as wheels, so that an index without a network can install it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from email.parser import Parser
from importlib.metadata import Distribution, distribution
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from packaging.requirements import Requirement

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the source distribution, and a wheel from it."""
    if not (ROOT / "pyproject.toml").exists():
        pytest.skip("there is no source tree")
    destination = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(destination), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert 0 == done.returncode, done.stdout + done.stderr
    [found] = destination.glob("*.whl")
    return found


def serve(wheel: Path, directory: Path, *, extras: Iterable[str], others: Iterable[str] = ()) -> None:
    """Write *wheel* to *directory*, with what it requires for *extras*, and the distributions *others* with what they require."""
    directory.mkdir(parents=True, exist_ok=True)
    shutil.copy(wheel, directory)
    with zipfile.ZipFile(wheel) as archive:
        [name] = [each for each in archive.namelist() if each.endswith(".dist-info/METADATA")]
        required = Parser().parsestr(archive.read(name).decode()).get_all("Requires-Dist", [])
    wanted = [
        each
        for each in map(Requirement, required)
        if not each.marker or any(each.marker.evaluate({"extra": extra}) for extra in ("", *extras))
    ]
    for installed in _closure([*(f"{each.name}{each.specifier}" for each in wanted), *others]):
        _repack(installed, directory)


def _closure(requirements: Iterable[str]) -> Iterator[Distribution]:
    """Yield the installed distributions that *requirements* need, each once."""
    seen: dict[str, Distribution] = {}
    queue = [Requirement(text) for text in requirements]
    while queue:
        requirement = queue.pop()
        extras = ["", *requirement.extras]
        if requirement.name in seen or (requirement.marker and not requirement.marker.evaluate({"extra": ""})):
            continue
        found = seen[requirement.name] = distribution(requirement.name)
        needed = [Requirement(text) for text in found.requires or ()]
        queue += [each for each in needed if not each.marker or any(each.marker.evaluate({"extra": e}) for e in extras)]
    yield from seen.values()


def _repack(installed: Distribution, directory: Path) -> None:
    """Write *installed* to *directory* as a wheel, without what its installation added."""
    tags = [each.split("-") for each in Parser().parsestr(installed.read_text("WHEEL") or "").get_all("Tag", [])]
    tag = "-".join(".".join(dict.fromkeys(parts)) for parts in zip(*tags, strict=True))
    name = installed.metadata["Name"].replace("-", "_")
    paths = [path for path in installed.files or () if ".." not in path.parts and path.suffix != ".pyc"]
    with zipfile.ZipFile(directory / f"{name}-{installed.version}-{tag}.whl", "w") as archive:
        for path in paths:
            if path.name != "RECORD":
                archive.writestr(str(path), path.read_binary())
            else:
                archive.writestr(str(path), "".join(f"{each},,\n" for each in paths))
