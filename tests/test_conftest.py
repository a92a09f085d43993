"""The guard in conftest.py isolates the tests."""

from __future__ import annotations

import os
import socket

import pytest


def test_addresses_beyond_loopback_are_refused() -> None:
    """Connections to other hosts fail, by name and by address."""
    with pytest.raises(RuntimeError, match=r"asked for `index\.example`"):
        socket.create_connection(("index.example", 443), timeout=1)
    with socket.socket() as connection, pytest.raises(RuntimeError, match=r"asked for `192\.0\.2\.1`"):
        connection.connect(("192.0.2.1", 443))


def test_loopback_stays_open() -> None:
    """Connections to a server on loopback work."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address: tuple[str, int] = server.getsockname()
        with socket.create_connection(address, timeout=1) as connection:
            peer: tuple[str, int] = connection.getpeername()

    assert address == peer


def test_settings_of_other_tools_are_cleared() -> None:
    """The user's settings of pip, uv and AWS do not change test results."""
    left = {name for name in os.environ if name.startswith(("AWS_", "PIP_", "UV_"))}

    assert left == {"PIP_CONFIG_FILE", "UV_NO_CONFIG"}
