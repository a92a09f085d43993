"""Tests of `lamina.core.trust`: whose store is used, with a warning or not at all."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest

from lamina.cli.main import main
from lamina.core.errors import ConfigError
from lamina.core.reporter import Silent
from lamina.core.store import Store
from pythons import hide_interpreters
from services import make_service

if TYPE_CHECKING:
    from collections.abc import Iterator


class Warned(Silent):
    """A reporter that collects warnings."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, message: str, *, hint: str | None = None) -> None:
        self.warnings.append(f"{message} {hint}")


@pytest.fixture
def reachable() -> Iterator[Path]:
    """Return a directory that everybody can reach, unlike pytest's."""
    with TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.mark.parametrize("place", ["", "segments", "wheels/ab", "interpreters.json"])
@pytest.mark.parametrize("mode", [0o777, 0o1777])
def test_a_store_that_everybody_can_write_to_is_refused(place: str, mode: int, reachable: Path) -> None:
    """The command of the hint mends it. A sticky bit does not make it trusted."""
    store = reachable / "the store"
    store.mkdir()
    if place:
        (store / place).touch() if "." in place else (store / place).mkdir(parents=True)
    (store / place).chmod(mode)
    with pytest.raises(ConfigError, match="everybody on this machine can write to") as caught:
        Store.open(store)

    command = str(caught.value.hint).split("`")[-2]
    if mode == 0o777:
        subprocess.run(shlex.split(command), check=True)
        assert store == Store.open(store).root
    else:
        assert command == f"export LAMINA_CACHE_DIR='{store}/lamina-{os.geteuid()}'"


@pytest.mark.parametrize("mode", [0o700, 0o755, 0o775, 0o2775])
def test_a_store_of_a_user_or_a_group_is_used(mode: int, reachable: Path) -> None:
    (reachable / "store").mkdir()
    (reachable / "store").chmod(mode)

    assert reachable / "store" == Store.open(reachable / "store").root


def test_the_lock_of_uv(reachable: Path) -> None:
    """The lock that uv makes writable for everybody in its cache does not make the store untrusted."""
    (reachable / "uv").mkdir()
    (reachable / "uv/.lock").touch()
    (reachable / "uv/.lock").chmod(0o666)

    assert reachable == Store.open(reachable).root


def test_a_private_parent_keeps_everybody_out(reachable: Path) -> None:
    """Home directories are often private, and containers often have the umask 000."""
    reachable.chmod(0o700)
    (reachable / "store").mkdir()
    (reachable / "store").chmod(0o777)

    assert reachable / "store" == Store.open(reachable / "store").root


def test_what_lamina_creates_is_trusted_whatever_the_umask_is(reachable: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = make_service(reachable).write()
    monkeypatch.setenv("LAMINA_CACHE_DIR", str(reachable / "store"))
    before = os.umask(0)
    try:
        assert 0 == main(["build", "--project", str(project), "-q"])
        store = Store.open(reachable / "store")
        with store.in_use(), store.exclusive("key"), store.writing(store.entry("area", "ab" * 32)):
            pass
    finally:
        os.umask(before)

    assert store.root == Store.open(store.root).root


@pytest.mark.parametrize("command", ["build", "cache size", "cache clean"])
def test_commands_refuse_the_store_and_doctor_lists_it(
    command: str, reachable: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store, project = reachable / "store", make_service(reachable).write()
    store.mkdir()
    store.chmod(0o777)
    monkeypatch.setenv("LAMINA_CACHE_DIR", str(store))
    monkeypatch.chdir(project)

    assert 2 == main(command.split())
    assert f"run `chmod -R o-w {store}`" in capsys.readouterr().err
    if command == "build":
        hide_interpreters(reachable, monkeypatch)
        assert 1 == main(["doctor"])
        assert "everybody on this machine can write to" in capsys.readouterr().out


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory to another user")
def test_a_store_of_another_user_is_used_with_one_warning(reachable: Path) -> None:
    """Restored caches and mounted directories of containers belong to others."""
    store = Store.open(reachable / "store")
    store.directory("segments")
    os.chown(store.root, 1234, -1)
    reporter = Warned()
    for _ in range(2):
        with store.in_use(reporter):
            pass

    assert 1 == len(reporter.warnings)
    assert f"`{store.root}` belongs to another user (user ID 1234)" in reporter.warnings[0]
    assert f'`chown -R "$(id -u)" {store.root}`' in reporter.warnings[0]
