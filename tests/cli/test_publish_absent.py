"""Publishing on machines that have never seen the wheels: from the lock and what the bucket keeps, with requests counted."""

from __future__ import annotations

import random
import shutil
import uuid
from typing import TYPE_CHECKING

import pytest

from lamina.cli import main
from loopback import IndexServer
from services import Service, make_service

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from emulators import Emulator

MIB = 1 << 20
HANDLER = "import alpha\nimport small1\n\n\ndef lambda_handler(event, context):\n    return alpha.VALUE\n"


def data(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)  # noqa: S311 - not for secrets


class Team:
    """A service whose wheels are served and counted, and the machines that publish it."""

    def __init__(self, directory: Path, server: IndexServer, emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
        self.directory, self.server, self.emulator, self._monkeypatch = directory, server, emulator, monkeypatch
        self.bucket = emulator.make_bucket(f"shop-{uuid.uuid4().hex[:10]}")
        self.service: Service = make_service(directory, base_url=f"{server.url}/files")
        self.service.settings["bytecode"] = '"reachable"'
        self.service.add("big", "1.0", {"big/data.bin": data(0, 6 * MIB), "big/__init__.py": "B = 1\n"})
        for number in range(7):
            name = f"small{number}"
            self.service.add(name, "1.0", {f"{name}/__init__.py": "S = 1\n", f"{name}/data.bin": data(number, MIB)})
        self.service.write()
        (self.service.root / "service" / "handlers" / "hello.py").write_text(HANDLER)

    def publish(self, machine: str, *, layer: str | None = None) -> int:
        root = self.service.write()
        path = root / "pyproject.toml"
        name = layer or self.bucket
        path.write_text(
            f'{path.read_text()}\n[tool.lamina.publish]\nbucket = "{self.bucket}"\nlayer-name = "{name}-{{layer}}"\n'
        )
        shutil.rmtree(root / ".lamina", ignore_errors=True)
        self._monkeypatch.setenv("LAMINA_CACHE_DIR", str(self.directory / machine))
        self.server.requests.clear()
        return main(["publish", "--project", str(root)])

    def fetched(self) -> list[str]:
        return sorted({request.path.rsplit("/", 1)[-1] for request in self.server.requests})

    def zip_of(self, layer: str | None = None) -> bytes:
        """Return what Lambda has of the newest version, by the object that it was made from."""
        (newest, *_) = self.emulator.versions(f"{layer or self.bucket}-common")
        digest = newest["Description"].split()[0].removeprefix("lamina:")
        return self.emulator.content(self.bucket, f"lamina/layers/{digest}.zip")


@pytest.fixture
def team(
    tmp_path: Path, ministack: Emulator, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Team]:
    directory = tmp_path / "wheels"
    directory.mkdir()
    with IndexServer(directory) as server:
        yield Team(tmp_path, server, ministack, monkeypatch)


def test_one_wheel_bumped(team: Team) -> None:
    """Only the bumped wheel is fetched, and the layer is byte for byte the one that a full build makes."""
    assert 0 == team.publish("one")
    assert 10 == len(team.fetched())
    assert 0 == team.publish("two", layer="other")
    assert [] == team.fetched()
    team.service.add("small3", "1.1", {"small3/__init__.py": "S = 2\n", "small3/data.bin": data(99, MIB)})
    assert 0 == team.publish("three")
    assert ["small3-1.1-py3-none-any.whl"] == team.fetched()
    made = team.zip_of()
    assert 0 == main(["build", "--project", str(team.service.root)])
    assert (team.service.root / ".lamina/layers/common.zip").read_bytes() == made
