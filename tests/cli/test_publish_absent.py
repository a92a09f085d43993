"""Test publishing and deploying on machines without the wheels, from the lock file and the bucket. Count the downloads."""

from __future__ import annotations

import json
import random
import shutil
import uuid
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen

import pytest

from lamina.aws.publish.remote_index import unwrap, wrap
from lamina.cli.main import main
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
    """A service, the index server of its wheels, which records downloads, and the machines that publish it."""

    def __init__(
        self, directory: Path, server: IndexServer, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.directory, self.server, self.emulator, self._monkeypatch = directory, server, emulator, monkeypatch
        self.bucket = emulator.make_bucket(f"shop-{uuid.uuid4().hex[:10]}")
        self.service: Service = make_service(directory, base_url=f"{server.url}/files")
        self.service.settings["bytecode"] = '"reachable"'
        self.service.add("big", "1.0", {"big/data.bin": data(0, 6 * MIB), "big/__init__.py": "B = 1\n"})
        for number in range(7):
            name = f"small{number}"
            files: dict[str, bytes | str] = {f"{name}/__init__.py": "S = 1\n", f"{name}/data.bin": data(number, MIB)}
            # A file that two wheels share is in the layer once.
            self.service.add(name, "1.0", files | ({"common/__init__.py": ""} if number > 4 else {}))
        self.service.write()
        (self.service.root / "service" / "handlers" / "hello.py").write_text(HANDLER)

    def publish(self, machine: str, *, layer: str | None = None) -> int:
        return self.run(machine, "publish", layer=layer)

    def run(self, machine: str, *words: str, layer: str | None = None) -> int:
        root = self.service.write()
        path = root / "pyproject.toml"
        name = layer or self.bucket
        path.write_text(
            f'{path.read_text()}\n[tool.lamina.publish]\nbucket = "{self.bucket}"\nlayer-name = "{name}-{{layer}}"\n'
            f'[tool.lamina.deploy]\nfunction-name = "{self.bucket}-{{function}}"\nalias = "live"\n'
        )
        shutil.rmtree(root / ".lamina", ignore_errors=True)
        self._monkeypatch.setenv("LAMINA_CACHE_DIR", str(self.directory / machine))
        self.server.requests.clear()
        return main([*words, "--project", str(root)])

    def fetched(self) -> list[str]:
        return sorted({request.path.rsplit("/", 1)[-1] for request in self.server.requests})

    def zip_of(self, layer: str | None = None) -> bytes:
        """Return the zip of the newest layer version, from the bucket object that it was published from."""
        (newest, *_) = self.emulator.versions(f"{layer or self.bucket}-common")
        digest = newest["Description"].split()[0].removeprefix("lamina:")
        return self.emulator.content(self.bucket, f"lamina/layers/{digest}.zip")


@pytest.fixture
def team(tmp_path: Path, ministack: Emulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[Team]:
    directory = tmp_path / "wheels"
    directory.mkdir()
    with IndexServer(directory) as server:
        yield Team(tmp_path, server, ministack, monkeypatch)


def test_without_wheels(team: Team) -> None:
    """A machine without wheels downloads only new wheels, and its layer equals that of a full build byte for byte."""
    codes = [team.publish("one")]
    fetched = [len(team.fetched())]
    made = team.zip_of()
    team.server.behaviour.refuse = {path.name: [500] * 9 for path in team.server.directory.iterdir()}
    codes.append(team.publish("two", layer=f"{team.bucket}-other"))
    fetched.append(len(team.fetched()))

    assert ([0, 0], [10, 0]) == (codes, fetched)
    assert made == team.zip_of(f"{team.bucket}-other")

    team.server.behaviour.refuse = {}
    team.service.add("small3", "1.1", {"small3/__init__.py": "S = 2\n", "small3/data.bin": data(99, MIB)})
    # The handler now also imports a module that no machine has compiled yet.
    (team.service.root / "service" / "handlers" / "hello.py").write_text(HANDLER.replace("small1", "small2"))
    code = team.publish("three")

    # Two wheels share a path, so their contents are compared again.
    wanted = ["small2-1.0", "small3-1.1", "small5-1.0", "small6-1.0"]

    assert (0, [f"{name}-py3-none-any.whl" for name in wanted]) == (code, team.fetched())
    made = team.zip_of()
    assert 0 == main(["build", "--project", str(team.service.root)])
    assert (team.service.root / ".lamina/layers/common.zip").read_bytes() == made


def test_own_code_without_wheels(team: Team) -> None:
    """A machine without wheels publishes a layer with changed own code, and downloads only wheels with paths to compare."""
    team.service.settings |= {"source": '["service", "shared"]', "layers": "{ common = { first-party = true } }"}
    team.service.functions = {"hello": "app.lambda_handler"}
    team.service.sources = {"hello": '["hello/*"]'}
    shared, handler = (team.service.root / name for name in ("shared/__init__.py", "hello/app.py"))
    for path, content in ((shared, "import alpha\n"), (handler, "import shared\ndef lambda_handler(e, c): ...\n")):
        path.parent.mkdir()
        path.write_text(content)
    assert 0 == team.publish("one")
    first = team.zip_of()
    shared.write_text("import alpha\n\nVALUE = 2\n")

    assert 0 == team.publish("two")

    assert ["small5-1.0-py3-none-any.whl", "small6-1.0-py3-none-any.whl"] == team.fetched()
    made = team.zip_of()
    assert first != made
    assert 0 == main(["build", "--project", str(team.service.root)])
    assert (team.service.root / ".lamina/layers/common.zip").read_bytes() == made


def test_deploy_without_wheels(team: Team, capsys: pytest.CaptureFixture[str]) -> None:
    """A machine without wheels deploys changed code without downloads, and an updated dependency with only the needed wheels."""
    codes = [team.run("one", "deploy", "--create", "--role", "arn:aws:iam::000000000000:role/service")]
    lambda_ = team.emulator.client("lambda")
    name = f"{team.bucket}-hello"

    def pointed() -> dict[str, Any]:
        return dict(lambda_.get_function_configuration(FunctionName=name, Qualifier="live"))

    first = pointed()
    (team.service.root / "service" / "handlers" / "hello.py").write_text(f"{HANDLER}# changed\n")
    codes.append(team.run("two", "deploy"))
    fetched, second = team.fetched(), pointed()
    with urlopen(lambda_.get_function(FunctionName=name, Qualifier="live")["Code"]["Location"]) as response:  # noqa: S310
        code = response.read()
    team.service.add("small3", "1.1", {"small3/__init__.py": "S = 2\n", "small3/data.bin": data(99, MIB)})
    codes.append(team.run("three", "deploy", "--json"))
    third = pointed()
    told = capsys.readouterr()

    # Two wheels share a path, so their contents are compared again.
    wanted = [f"{each}-py3-none-any.whl" for each in ("small3-1.1", "small5-1.0", "small6-1.0")]

    assert ([0, 0, 0], [], wanted) == (codes, fetched, team.fetched())
    assert (first["Layers"], True) == (second["Layers"], first["CodeSha256"] != second["CodeSha256"])
    assert (second["CodeSha256"], True) == (third["CodeSha256"], second["Layers"] != third["Layers"])
    assert 2 == told.err.count("built the layers from segments in the bucket, without their wheels\n")
    assert 0 == main(["build", "--project", str(team.service.root)])
    assert (team.service.root / ".lamina/layers/common.zip").read_bytes() == team.zip_of()
    assert (team.service.root / ".lamina/functions/hello.zip").read_bytes() == code


def test_only_the_new_wheel_is_sent(team: Team, capsys: pytest.CaptureFixture[str]) -> None:
    """Parts of a layer that the bucket already has are copied there, also if no version of the layer was published."""
    assert 0 == team.run("one", "publish", "--upload-only")
    team.service.add("small3", "1.1", {"small3/__init__.py": "S = 2\n", "small3/data.bin": data(99, MIB)})
    capsys.readouterr()
    assert 0 == team.run("one", "publish", "--upload-only", "--json")
    told = json.loads(capsys.readouterr().out)
    (layer,) = told["layers"]
    assert 0 == main(["build", "--quiet", "--project", str(team.service.root)])
    (built,) = json.loads((team.service.root / ".lamina" / "build.json").read_text())["layers"]

    assert MIB < layer["sent_bytes"] < MIB + 20_000
    assert (team.service.root / ".lamina/layers/common.zip").read_bytes() == team.emulator.content(
        team.bucket, f"lamina/layers/{built['digest']}.zip"
    )
    assert not [key for key in team.emulator.keys(team.bucket) if "grafts" in key]


def test_poisoned(team: Team) -> None:
    """Damaged, swapped or deleted bucket objects are rejected, rebuilt and replaced for the next machine."""
    assert 0 == team.publish("one")
    made = team.zip_of()
    client = team.emulator.client("s3")
    build = json.loads((team.service.root / ".lamina" / "build.json").read_text())
    names = {row["name"]: row["segment"] for row in reversed(build["layers"][0]["segments"])}
    contents = {key: team.emulator.content(team.bucket, key) for key in team.emulator.keys(team.bucket)}

    def spoil(name: str, content: bytes) -> None:
        client.put_object(Bucket=team.bucket, Key=f"lamina/directories/{name}", Body=content)

    spoil(names["small0"], contents[f"lamina/directories/{names['small0']}"][:-9])
    spoil(names["small4"], contents[f"lamina/directories/{names['small5']}"])
    fragment = unwrap(names["small6"], contents[f"lamina/directories/{names['small6']}"])
    assert fragment is not None
    spoil(
        names["small6"], wrap(names["small6"], fragment.replace(b"python/small6/data.bin", b"python/../../evil/aaaa"))
    )
    for key, content in contents.items():
        # Spoil the records of reachable modules and of imports; delete the layer object and the part of the largest wheel.
        name = key.rpartition("/")[2]
        payload = unwrap(name, content) if "/directories/" in key else None
        if payload is not None and b'"beta":' in payload:
            spoil(name, wrap(name, b'{"beta": 1}'))
        if payload is not None and b'"beta.py"' in payload and b'"scans"' in payload:
            spoil(name, wrap(name, b'{"modules": 3, "entry_points": {}, "scans": {}}'))
        if payload == b'{"small6": ["python/common/__init__.py"]}':
            spoil(name, wrap(name, b'{"small6": ["python/common/__init__.py"], "small1": ["python/nowhere.py"]}'))
        if key.endswith(".zip") or ("/parts/" in key and len(content) < 7 * MIB):
            client.delete_object(Bucket=team.bucket, Key=key)
    codes = [team.publish("two", layer=f"{team.bucket}-other")]
    wanted = ["beta", "big", "small0", "small1", "small4", "small5", "small6"]

    assert [f"{name}-{'2.0' if name == 'beta' else '1.0'}-py3-none-any.whl" for name in wanted] == team.fetched()
    codes.append(team.publish("three", layer=f"{team.bucket}-third"))

    assert ([0, 0], []) == (codes, team.fetched())
    assert made == team.zip_of(f"{team.bucket}-other")
