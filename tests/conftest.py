"""Isolate all tests: no network except loopback, and no settings from the user's environment."""

from __future__ import annotations

import gc
import os
import shutil
import socket
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from botocore.loaders import JSONFileLoader
from hypothesis import settings

from lamina.bytecode import interpreter
from lamina.local import runtime_client
from lamina.project.newer_facts import forget_facts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lamina.bytecode.interpreter import Interpreter

# Tests start lamina in other directories, where a relative path leads elsewhere.
if _paths := os.environ.get("PYTHONPATH"):
    os.environ["PYTHONPATH"] = os.pathsep.join(map(os.path.abspath, _paths.split(os.pathsep)))

# A busy machine must not fail a test, and examples must be the same in every run.
settings.register_profile("lamina", deadline=None, derandomize=True)
settings.load_profile("lamina")

_LIVE = "live"
# Settings of AWS, pip and uv would change test results. A test of such a setting sets it itself.
_FOREIGN = ("AWS_", "PIP_", "UV_")
_LOOPBACK = ("127.", "::1", "localhost", "::ffff:127.")


class NetworkForbiddenError(RuntimeError):
    """
    A test without the marker ``live`` connected to an address other than loopback.
    The class does not derive from OSError, so that no code handles it as a network failure.
    """


class _Guard:
    """Reject addresses other than loopback while closed. The guard stays installed, because Python cannot remove audit hooks."""

    closed = False

    def __call__(self, event: str, arguments: tuple[object, ...]) -> None:
        if not self.closed:
            return
        if event in {"socket.connect", "socket.sendto", "socket.sendmsg"}:
            connection, address = arguments[:2]
            family = connection.family if isinstance(connection, socket.socket) else None
            if family in {socket.AF_INET, socket.AF_INET6} and isinstance(address, tuple):
                self._check(address[0])
        elif event == "socket.getaddrinfo":
            self._check(arguments[0])

    @staticmethod
    def _check(host: object) -> None:
        name = host.decode("ascii", "replace") if isinstance(host, bytes) else host
        if isinstance(name, str) and name and not name.startswith(_LOOPBACK):
            raise NetworkForbiddenError(f"a test that is not live asked for `{name}`")


_guard = _Guard()
sys.addaudithook(_guard)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option ``--live``."""
    parser.addoption("--live", action="store_true", help="also run the tests that need the real package index")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Collect thousands of tests without looking for garbage: there is none, and later searches need not look at the tests."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip live tests unless ``--live`` is given."""
    if config.getoption("--live"):
        return
    for item in items:
        if item.get_closest_marker(_LIVE):
            item.add_marker(pytest.mark.skip(reason="needs the real package index: --live"))


@pytest.fixture(scope="session", autouse=True)
def _models_are_read_once() -> Iterator[None]:
    """Read each of botocore's files once for all tests: each command that uses AWS parses megabytes of them, as in a process of its own."""
    read, contents = JSONFileLoader.load_file, dict[str, Any]()

    def load_file(loader: JSONFileLoader, path: str) -> Any:
        if path not in contents and (content := read(loader, path)) is not None:
            contents[path] = content
        return contents.get(path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(JSONFileLoader, "load_file", load_file)
        yield


@pytest.fixture(autouse=True)
def _own_facts() -> Iterator[None]:
    """Each test is a process of its own, which uses the facts of one project."""
    yield
    forget_facts()


@cache
def _search(python: tuple[int, int]) -> Interpreter | None:
    # Once for all tests, because searching in vain takes a second.
    return interpreter.search(python)


@pytest.fixture
def installed_python() -> Callable[[tuple[int, int]], Interpreter]:
    """
    Return a function that returns the CPython of a minor version, or skips the test if this machine has none.
    Every test that needs another interpreter uses this fixture, so that no test depends on `PATH`.
    """

    def find(python: tuple[int, int]) -> Interpreter:
        found = _search(python)
        if found is None:
            pytest.skip(f"no CPython {python[0]}.{python[1]} on this machine")
        return found

    return find


@pytest.fixture(scope="session")
def have_runtime_client(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], None]:
    """Return a function that gives a project lamina's runtime client for the running Python, which takes long to compile."""
    shared = tmp_path_factory.mktemp("client")
    found = interpreter.find(sys.version_info[:2], explicit=Path(sys.executable))
    runtime_client.provide(shared, found)

    def have(project: Path) -> None:
        # Copies, because hostile functions write into their own.
        shutil.copytree(shared, project / ".lamina" / "local" / "runtime", dirs_exist_ok=True)

    return have


@pytest.fixture(autouse=True)
def hermetic(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """
    Block the network except loopback, and remove other tools' settings from the environment.
    Live tests keep network and settings, but no test uses an AWS account.
    """
    live = request.node.get_closest_marker(_LIVE) is not None
    for name in list(os.environ):
        if name.startswith("AWS_" if live else _FOREIGN):
            monkeypatch.delenv(name)
    if not live:
        # Also hide the configuration files, because subprocesses read them.
        monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
        monkeypatch.setenv("UV_NO_CONFIG", "1")
    _guard.closed = not live
    yield
    _guard.closed = False
