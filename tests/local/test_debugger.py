"""Tests of the debugger's address and of the directories of a function's sources."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from lamina.core.errors import ConfigError
from lamina.local.debugger import Debugger

_PROJECT = Path("/shop")


def test_port_in_use() -> None:
    """A port that another program uses is an error, and the hint lets lamina choose one."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(ConfigError) as caught:
            Debugger.at(port, _PROJECT, ["service"])

    assert f"port {port} on 127.0.0.1 is not available for the debugger: Address already in use" == str(caught.value)
    assert "let lamina choose a free port: `--debug-port 0`" == caught.value.hint


@pytest.mark.parametrize("port", [-1, 65_536])
def test_no_port(port: int) -> None:
    """A number that is not a port is an error."""
    with pytest.raises(ConfigError, match=f"port {port} on 127.0.0.1 is not available for the debugger: "):
        Debugger.at(port, _PROJECT, [])


def test_free_port() -> None:
    """Port 0 stands for a free one."""
    assert 0 < Debugger.at(0, _PROJECT, ["service"]).port


@pytest.mark.parametrize(
    ("source", "roots"),
    [
        (["service", "app.py"], ["/shop"]),
        (["src/*"], ["/shop/src"]),
        (["src/**/*.py", "lib/util"], ["/shop/src", "/shop/lib"]),
        (["functions/create/[a-z]*.py"], ["/shop/functions/create"]),
        (["../shared"], ["/shop/.."]),
        ([], ["/shop"]),
    ],
)
def test_roots(source: list[str], roots: list[str]) -> None:
    """The paths in a package are relative to the parent directories of its `source` entries."""
    assert tuple(map(Path, roots)) == Debugger.at(0, _PROJECT, source).roots
