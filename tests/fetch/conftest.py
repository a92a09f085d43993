"""Fixtures for the download tests: a home directory without secrets, a loopback index, a store, and no proxy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lamina.core.store import Store
from lamina.fetch.index import PackageIndex
from loopback import IndexServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "home"
    path.mkdir()
    monkeypatch.setenv("HOME", str(path))
    monkeypatch.setenv("no_proxy", "*")
    for name in ("NETRC", "XDG_CONFIG_HOME", "XDG_CONFIG_DIRS", "VIRTUAL_ENV"):
        monkeypatch.delenv(name, raising=False)
    # The user who runs the tests may have a keyring.
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.null.Keyring")
    return path


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "store")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[IndexServer]:
    (tmp_path / "served").mkdir()
    with IndexServer(tmp_path / "served") as server:
        yield server


@pytest.fixture
def index(tmp_path: Path, store: Store, server: IndexServer) -> Iterator[PackageIndex]:
    """Return a client for *server* that retries without pauses."""
    (tmp_path / "project").mkdir()
    index = PackageIndex(tmp_path / "project", store, index_url=server.simple, backoff=0.0)
    yield index
    index.client.close()
