"""What holds for every test: no network but loopback, nothing from the environment of whoever runs them."""

from __future__ import annotations

import os
import socket
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from lamina.bytecode.interpreter import search

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lamina.bytecode.interpreter import Interpreter

# A busy machine is not an error, and neither is another example than yesterday's.
settings.register_profile("lamina", deadline=None, derandomize=True)
settings.load_profile("lamina")

_LIVE = "live"
# Settings of AWS, pip and uv would decide what a test sees; a test that is about one sets it.
_FOREIGN = ("AWS_", "PIP_", "UV_")
_LOOPBACK = ("127.", "::1", "localhost", "::ffff:127.")


class NetworkForbiddenError(RuntimeError):
    """
    A test that is not live asked for an address beyond loopback.

    It is no OSError, so that no code takes it for a failure of the network and goes on.
    """


class _Guard:
    """Refuse addresses beyond loopback while closed; an audit hook can never be taken away again."""

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
    """Add ``--live``."""
    parser.addoption("--live", action="store_true", help="run the tests that need the real package index, too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip live tests unless they were asked for."""
    if config.getoption("--live"):
        return
    for item in items:
        if item.get_closest_marker(_LIVE):
            item.add_marker(pytest.mark.skip(reason="needs the real package index: --live"))


@pytest.fixture
def installed_python() -> Callable[[tuple[int, int]], Interpreter]:
    """
    Return a function that returns the CPython of a minor version, or skips the test where this machine has none.

    Every test that needs another interpreter than its own asks here, so none depends on what `PATH` happens to name.
    """

    def find(python: tuple[int, int]) -> Interpreter:
        found = search(python)
        if found is None:
            pytest.skip(f"no CPython {python[0]}.{python[1]} on this machine")
        return found

    return find


@pytest.fixture(autouse=True)
def hermetic(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """
    Close the network but loopback, and clear the environment of other tools' settings.

    A live test keeps both, except that no test ever sees an AWS account.
    """
    live = request.node.get_closest_marker(_LIVE) is not None
    for name in list(os.environ):
        if name.startswith("AWS_" if live else _FOREIGN):
            monkeypatch.delenv(name)
    if not live:
        # Their files too: subprocesses read them on their own.
        monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
        monkeypatch.setenv("UV_NO_CONFIG", "1")
    _guard.closed = not live
    yield
    _guard.closed = False
