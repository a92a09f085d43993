"""The installation of a missing interpreter with uv, from a server on loopback."""

from __future__ import annotations

import io
import json
import sys
from typing import TYPE_CHECKING

import pytest

from lamina.bytecode.installation import Installer
from lamina.bytecode.interpreter import CACHE
from lamina.cli.console import Console
from lamina.cli.main import main
from lamina.core.errors import BytecodeError
from lamina.core.reporter import Silent
from lamina.core.store import Store
from loopback import IndexServer
from pythons import MINOR, PYTHON, hide_interpreters, serve_interpreter
from services import Service, make_service
from wheels import sha256

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MISSING = f"error: no CPython {MINOR} found on this machine to compile bytecode for the target\n"


class Agreeing(Silent):
    """A reporter that agrees to everything, and keeps the notes and questions."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, message: str) -> None:
        self.said.append(message)

    def may_install(self, what: str, /) -> bool:
        self.said.append(what)
        return True


class Terminal(io.StringIO):
    """A terminal on which a user has typed the text."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def server(tmp_path: Path) -> Iterator[IndexServer]:
    (tmp_path / "wheels").mkdir()
    with IndexServer(tmp_path / "wheels") as server:
        yield server


@pytest.fixture
def installed(server: IndexServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of uv's interpreters, empty at first. This machine has no other interpreters."""
    hide_interpreters(tmp_path, monkeypatch)
    monkeypatch.setenv("LAMINA_CACHE_DIR", str(tmp_path / "store"))
    return serve_interpreter(server, tmp_path, monkeypatch)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "store")


@pytest.fixture
def service(tmp_path: Path, server: IndexServer) -> Service:
    """A service with bytecode for the tests' minor version, whose wheels are on the server."""
    return for_this_python(make_service(tmp_path, base_url=f"{server.url}/files"))


def for_this_python(service: Service) -> Service:
    service.settings |= {"bytecode": '"reachable"', "runtime": f'"python{MINOR}"'}
    service.requires_python = ">=3.11"
    service.write()
    (service.root / "service" / "handlers" / "hello.py").write_text("import beta\ndef lambda_handler(e, c): ...\n")
    return service


def interpreters(installed: Path) -> list[str]:
    return sorted(path.name for path in installed.glob("*/bin/python*"))


def test_agreed(installed: Path, store: Store, tmp_path: Path) -> None:
    """The interpreter is installed, with a note, and lamina finds it from then on, also without its record."""
    reporter = Agreeing()
    installer = Installer(project=tmp_path, reporter=reporter)
    # A project's configuration does not decide what is downloaded and started.
    (tmp_path / "uv.toml").write_text(f'python-downloads-json-url = "{tmp_path}/absent.json"\n')

    found = installer.provide(PYTHON, store)

    assert sys.version_info[:3] == found.version
    assert [f"CPython {MINOR}", f"installing CPython {MINOR}: `uv python install {MINOR}`"] == reporter.said
    assert f"python{MINOR}" in interpreters(installed)
    (store.root / CACHE).unlink()
    assert found == Installer(project=tmp_path, reporter=Silent()).provide(PYTHON, store)


@pytest.mark.parametrize(
    ("value", "installs"), [("1", True), ("true", True), ("0", False), ("", False), ("later", False)]
)
def test_variable(installed: Path, store: Store, monkeypatch: pytest.MonkeyPatch, value: str, installs: bool) -> None:
    """An environment variable agrees for every build."""
    monkeypatch.setenv("LAMINA_INSTALL_PYTHON", value)
    installer = Installer(project=store.root, reporter=Silent())

    if installs:
        assert PYTHON == installer.provide(PYTHON, store).version[:2]
    else:
        with pytest.raises(BytecodeError, match=f"no CPython {MINOR}"):
            installer.provide(PYTHON, store)
        assert [] == interpreters(installed)


def test_offline(installed: Path, store: Store, tmp_path: Path, server: IndexServer) -> None:
    """Offline, nothing is installed and no question is asked."""
    reporter = Agreeing()

    with pytest.raises(BytecodeError):
        Installer(project=tmp_path, reporter=reporter, offline=True).provide(PYTHON, store)

    assert ([], []) == (reporter.said, server.requests)


def test_failure(installed: Path, store: Store, tmp_path: Path, server: IndexServer) -> None:
    """If uv fails, the error has the end of its output."""
    server.behaviour.append["cpython.tar.gz"] = b"other bytes"

    with pytest.raises(BytecodeError, match=f"^uv could not install CPython {MINOR}$") as caught:
        Installer(project=tmp_path, reporter=Agreeing()).provide(PYTHON, store)

    assert "Hash mismatch" in str(caught.value.hint)


def test_a_failure_shows_no_login(
    installed: Path, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The output of uv is shown without the password of the place that it downloads from, which uv itself may show."""
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS_JSON_URL", "sftp://usr:hunter2@index.example/list.json")

    with pytest.raises(BytecodeError) as caught:
        Installer(project=tmp_path, reporter=Agreeing()).provide(PYTHON, store)

    assert (True, False) == ("//index.example/" in str(caught.value.hint), "hunter2" in str(caught.value.hint))


@pytest.mark.parametrize(
    ("typed", "agreed"), [("y\n", True), ("YES\n", True), ("n\n", False), ("\n", False), ("", False)]
)
def test_question(monkeypatch: pytest.MonkeyPatch, typed: str, agreed: bool) -> None:
    """In a terminal, the user is asked once; only a yes agrees."""
    stream = Terminal()
    monkeypatch.setattr(sys, "stdin", Terminal(typed + "y\n"))
    console = Console(stream=stream)

    if typed:
        assert [agreed, agreed] == [console.may_install("CPython 3.13") for _ in range(2)]
        assert "CPython 3.13 is not installed. Install it with uv? [y/N] " == stream.getvalue()
    monkeypatch.setattr(sys, "stdin", Terminal())
    assert not console.may_install("CPython 3.14")


@pytest.mark.parametrize("quiet", [True, False])
def test_no_question(monkeypatch: pytest.MonkeyPatch, quiet: bool) -> None:
    """Without a terminal, or if quiet, there is no question, and the option decides."""
    stream = Terminal() if quiet else io.StringIO()
    monkeypatch.setattr(sys, "stdin", Terminal("y\n"))

    assert not Console(stream=stream, quiet=quiet).may_install("CPython 3.13")
    assert Console(stream=stream, quiet=quiet, install_python=True).may_install("CPython 3.13")
    assert "" == stream.getvalue()


def test_build(installed: Path, service: Service, server: IndexServer, capsys: pytest.CaptureFixture[str]) -> None:
    """The build stops before it downloads anything, and names the option that lets it go on."""
    build = ["build", "--project", str(service.root)]

    assert 5 == main(build)
    err = capsys.readouterr().err
    assert err.startswith(MISSING)
    assert f"hint: run `uv python install {MINOR}`, or add `--install-python` to your command; " in err
    assert [] == server.requests
    assert [] == interpreters(installed)

    assert 0 == main([*build, "--install-python"])
    err = capsys.readouterr().err
    assert f"note: installing CPython {MINOR}: `uv python install {MINOR}`\n" in err
    document = json.loads((service.root / ".lamina" / "build.json").read_bytes())
    assert [True, True] == [bool(each["bytecode_bytes"]) for each in document["layers"][0]["distributions"]]
    assert 0 == main(build)


def test_dry_run(installed: Path, service: Service, capsys: pytest.CaptureFixture[str]) -> None:
    """A dry run shows the plan and that the interpreter is missing or would be installed, and installs nothing."""
    dry_run = ["build", "--dry-run", "--project", str(service.root)]

    assert 5 == main(dry_run)
    err = capsys.readouterr().err
    assert "would download 2 wheels" in err
    assert MISSING in err

    assert 0 == main([*dry_run, "--install-python"])
    assert f"note: would install CPython {MINOR} with uv\n" in capsys.readouterr().err
    assert [] == interpreters(installed)
    assert 5 == main([*dry_run, "--json"])
    assert ["fetch"] == [key for key in json.loads(capsys.readouterr().out) if key == "fetch"]


def test_dry_run_with_wheels(
    installed: Path, service: Service, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """If only the interpreter is missing to analyse the imports, the plan says so."""
    for path in service.locked.values():
        destination = store.wheel_destination(sha256(path), path.name)
        destination.parent.mkdir(parents=True)
        destination.write_bytes(path.read_bytes())

    assert 5 == main(["build", "--dry-run", "--project", str(service.root)])

    err = capsys.readouterr().err
    assert (
        f"would be built (not built before; imports not analysed yet, because CPython {MINOR} is not installed)" in err
    )
    assert MISSING in err


def test_bytecode_is_not_needed(installed: Path, service: Service) -> None:
    """Without bytecode, no interpreter is required."""
    service.settings["bytecode"] = '"none"'
    service.write()

    assert 0 == main(["build", "--dry-run", "--project", str(service.root)])
    assert 0 == main(["build", "--project", str(service.root)])
    assert [] == interpreters(installed)


def test_workspace(installed: Path, tmp_path: Path, server: IndexServer, capsys: pytest.CaptureFixture[str]) -> None:
    """Services that are built at the same time install the interpreter once."""
    for name in ("one", "two", "three"):
        service = make_service(tmp_path, base_url=f"{server.url}/files")
        service.root = tmp_path / "services" / name
        for_this_python(service)

    assert 0 == main(["build", "--install-python", "--project", str(tmp_path / "services")])

    assert 1 == capsys.readouterr().err.count("installing CPython")
    assert 1 == len(server.requests_for("cpython.tar.gz"))


def test_init(installed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`lamina init` says in advance that a build will lack the interpreter."""
    project = tmp_path / "project"
    project.mkdir()
    (project / "pyproject.toml").write_text('[project]\nname = "shop"\nversion = "1"\n')

    assert 0 == main(["init", "--dry-run", "--runtime", f"python{MINOR}", "--project", str(project)])

    err = capsys.readouterr().err
    assert f"warning: the build will stop: {MISSING.removeprefix('error: ')}" in err
    assert f"hint: run `uv python install {MINOR}`" in err
