"""Tests of the SDK and the debugger that lamina provides to local functions."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING, NamedTuple

import pytest
from packaging.requirements import Requirement

from built import function, make_build
from lamina.core.errors import ConfigError, CorruptArchiveError
from lamina.core.reporter import Silent
from lamina.core.store import Store
from lamina.core.target import Target, runtimes
from lamina.core.toml import read_data
from lamina.local import runtime_client
from lamina.local.environment import prepare
from lamina.local.invoke import invoke
from lamina.local.provided import ImportedModules, LocalWheels, ProvidedWheel, imported_modules, sdk_wheels
from loopback import IndexServer
from wheels import make_wheel

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from lamina.local.environment import Home

_TARGET = Target.of("python3.13", "x86_64")


class _Reporter(Silent):
    """Collects the notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)


class _Served(NamedTuple):
    """A project whose index serves a small SDK."""

    project: Path
    store: Store
    server: IndexServer
    wheels: tuple[ProvidedWheel, ...]
    reporter: _Reporter

    def provider(self, *, offline: bool = False) -> LocalWheels:
        return LocalWheels(
            self.project, store=self.store, offline=offline, reporter=self.reporter, recorded=lambda _: self.wheels
        )

    def names(self, files: Mapping[str, str], *, offline: bool = False) -> list[str]:
        """Return the distributions that lamina provides to a function package with *files*."""
        tree = self.project / f"tree{len(list(self.project.iterdir()))}"
        for name, content in files.items():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            (tree / name).write_text(content)
        provided = self.provider(offline=offline).sdk(_TARGET, [tree])
        return [wheel.pin.name for wheel in provided]


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[_Served]:
    with IndexServer(tmp_path / "files") as index:
        monkeypatch.setenv("PIP_INDEX_URL", index.simple)
        paths = [
            make_wheel(index.directory, name, "1.0", {f"{module}/__init__.py": "N = 7\n"})
            for name, module in (("boto3", "boto3"), ("python-dateutil", "dateutil"))
        ]
        pins = [index.pin(path) for path in paths]
        wheels = tuple(ProvidedWheel(pin=pin, module=pin.name.removeprefix("python-")) for pin in pins)
        project = tmp_path / "project"
        project.mkdir()
        yield _Served(project, Store.open(tmp_path / "store"), index, wheels, _Reporter())


@pytest.mark.parametrize("runtime", [runtime.name for runtime in runtimes()])
def test_recorded_wheels(runtime: str) -> None:
    """For each runtime with recorded versions, boto3 and botocore have these, and all requirements of the SDK are met."""
    target = Target.of(runtime, "x86_64")
    preinstalled = next(each.preinstalled for each in runtimes() if each.name == runtime)
    versions = {each.name: each.version for each in preinstalled if each.name in {"boto3", "botocore"} and each.version}
    found = {wheel.pin.name: wheel.pin.version for wheel in sdk_wheels(target)}

    assert versions == {name: version for name, version in found.items() if name in {"boto3", "botocore"}}
    distributions = {row["name"] for row in read_data("sdk.toml")["distribution"]}
    environment = {name: str(value) for name, value in target.markers.items()}
    assert found.keys() == (distributions if versions else set())
    for row in read_data("sdk.toml")["requirement"]:
        if found.get(row["name"]) == row["version"]:
            for text in row["requires"]:
                requirement = Requirement(text)
                if requirement.marker is None or requirement.marker.evaluate(environment):
                    assert requirement.specifier.contains(found[requirement.name])


@pytest.mark.parametrize(
    "source",
    [
        "import boto3",
        "import json, boto3.session as session, sys",
        "def handler():\n    from boto3.dynamodb import conditions",
        "try:\n\timport dateutil\nexcept ImportError: ...",
        "importlib.import_module('boto3')",
        "import os; import boto3",
        "try: from boto3 import client\nexcept ImportError: ...",
    ],
)
def test_imported_sdk(served: _Served, source: str) -> None:
    """A function that imports a module of the SDK gets the SDK. It is downloaded once, and a note says so."""
    assert ["boto3", "python-dateutil"] == served.names({"app.py": source})
    [note] = served.reporter.notes
    assert note.startswith("downloading the AWS SDK of Lambda's runtime `python3.13` into the store (boto3 1.0, ")

    requests = len(served.server.requests)
    assert ["boto3", "python-dateutil"] == served.names({"app.py": source}, offline=True)
    assert (1, requests) == (len(served.reporter.notes), len(served.server.requests))


def test_sdk_for_a_command(served: _Served) -> None:
    """A command whose arguments or files import the SDK gets it too."""
    (served.project / "tree").mkdir()
    provider, trees = served.provider(), [served.project / "tree"]

    assert () == provider.sdk(_TARGET, trees, [b"python", b"print(1)"])
    assert 2 == len(provider.sdk(_TARGET, trees, [b"python", b"import boto3; print(boto3)"]))


@pytest.mark.parametrize(
    "files",
    [
        {"app.py": "# import boto3\nimport boto3_helpers\nfrom . import boto3"},
        {"app.py": "import boto3", "boto3/__init__.py": ""},
        {"app.py": "import boto3", "python/boto3/__init__.py": ""},
        {"app.py": "import boto3", "python/lib/python3.13/site-packages/boto3.py": ""},
    ],
)
def test_unneeded_sdk(served: _Served, files: dict[str, str]) -> None:
    """Nothing is downloaded for a function that does not import the SDK, or that contains it."""
    assert [] == served.names(files)
    assert [] == served.server.requests


def test_offline(served: _Served) -> None:
    """Offline, a function runs without an SDK that is not in the store, and a note says why."""
    assert [] == served.names({"app.py": "import boto3"}, offline=True)
    expected = (
        "running without the AWS SDK of Lambda's runtime `python3.13`: `boto3-1.0-py3-none-any.whl` is not in the store, "
        "and `--offline` prevents the download"
    )
    assert [expected] == served.reporter.notes


def test_changed_wheel(served: _Served) -> None:
    """A file with another SHA-256 than the recorded one is not used."""
    served.server.behaviour.replace["boto3-1.0-py3-none-any.whl"] = b"other"

    assert [] == served.names({"app.py": "import boto3"})
    assert served.reporter.notes[-1].startswith("running without the AWS SDK of Lambda's runtime `python3.13`: ")
    assert [] == list((served.store.root / "wheels").rglob("boto3*"))


def test_unlisted_wheel(served: _Served) -> None:
    """An index that does not list the recorded file is named as the reason."""
    (served.server.directory / "boto3-1.0-py3-none-any.whl").unlink()

    assert [] == served.names({"app.py": "import boto3"})
    assert "the package index does not list `boto3-1.0-py3-none-any.whl`" in served.reporter.notes[-1]


def test_search_is_kept(tmp_path: Path) -> None:
    """An unpacked tree is searched once, and again for other modules."""
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "app.py").write_text("import boto3, six")
    found = imported_modules(tree, frozenset({"boto3"}), _TARGET)
    (tree / "app.py").unlink()

    assert ImportedModules(contained=frozenset(), imported=frozenset({"boto3"})) == found
    assert found == imported_modules(tree, frozenset({"boto3"}), _TARGET)
    assert frozenset() == imported_modules(tree, frozenset({"boto3", "six"}), _TARGET).imported


def test_layers_come_first(served: _Served, home: Home) -> None:
    """A function imports the SDK from `/var/runtime`, but layers and the package come first on the search path."""
    source = "import boto3, dateutil\ndef handler(event, context): return [boto3.N, dateutil.N, boto3.__file__]"
    layer = {"python/dateutil.py": "N = 'layer'"}
    artifacts = make_build(served.project, {"app.py": source}, layers=[layer])
    environment = prepare(
        artifacts,
        artifacts.build.packages[0],
        function(),
        home=home,
        wheels=served.provider(),
    )
    result = invoke(environment, b"{}")

    runtime = environment.directories(result.mode).runtime
    assert f'[7, "layer", "{runtime}/boto3/__init__.py"]' == result.payload.decode()
    assert list(environment.runtime.glob("boto3/__pycache__/*.pyc"))


@pytest.mark.parametrize("damage", ["empty", "cut", "changed"])
def test_damaged_store(served: _Served, home: Home, damage: str) -> None:
    """A wheel that was damaged in the store, cut or changed, is an error that names the command to delete it."""
    wheels = served.provider().sdk(_TARGET, [], [b"import boto3"])
    content = wheels[0].path.read_bytes()
    wheels[0].path.chmod(0o644)
    with zipfile.ZipFile(wheels[0].path) as archive:
        member = max(archive.infolist(), key=lambda each: each.compress_size)
        middle = member.header_offset + 30 + len(member.filename) + member.compress_size // 2
    changed = content[:middle] + bytes([content[middle] ^ 0xFF]) + content[middle + 1 :]
    wheels[0].path.write_bytes({"empty": b"", "cut": content[:100], "changed": changed}[damage])
    with pytest.raises(CorruptArchiveError) as caught:
        runtime_client.provide(served.project / "runtime", home.interpreter, wheels)

    assert "`boto3-1.0-py3-none-any.whl` in the store is damaged" == str(caught.value)
    assert "`lamina cache verify`" in str(caught.value.hint)
    assert [] == list((served.project / "runtime").iterdir())


def test_debugger_of_an_old_python(served: _Served) -> None:
    """The debugger does not support every runtime, and the error says so."""
    with pytest.raises(ConfigError) as caught:
        served.provider().debugger(Target.of("python3.9", "x86_64"))

    assert "the debugger does not support runtime `python3.9`: it needs Python 3.10" == str(caught.value)
