from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import platformdirs
import pytest
from packaging.version import Version

from lamina.core.errors import ConfigError
from lamina.core.store import Store
from lamina.core.values import Sha256

if TYPE_CHECKING:
    from pathlib import Path

SHA256 = Sha256("ab" * 32)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "store")


def files(store: Store) -> list[str]:
    return sorted(path.relative_to(store.root).as_posix() for path in store.root.rglob("*") if path.is_file())


def write(store: Store, destination: Path, content: bytes) -> None:
    with store.writing(destination) as file:
        file.write(content)


def admit(store: Store, filename: str) -> Path:
    destination = store.wheel_destination(SHA256, filename)
    write(store, destination, b"wheel")
    return destination


def test_opening_writes_nothing(store: Store) -> None:
    """Opening a store and looking up a wheel creates no directory."""
    found = store.wheel(SHA256, "a.whl")

    assert (None, False) == (found, store.root.exists())


def test_root_from_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`LAMINA_CACHE_DIR` sets the store's directory."""
    monkeypatch.setenv("LAMINA_CACHE_DIR", str(tmp_path / "elsewhere"))

    assert tmp_path / "elsewhere" == Store.open().root


ignores_relative_paths = pytest.mark.skipif(
    Version(platformdirs.__version__) < Version("4.12"),
    reason="platformdirs ignores a relative XDG_CACHE_HOME, as the specification asks, from 4.12 on",
)


@pytest.mark.parametrize("base", ["", pytest.param("relative", marks=ignores_relative_paths), "absolute"])
def test_root_is_where_platformdirs_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, base: str) -> None:
    """On Linux, `default_root` returns the same directory as platformdirs."""
    monkeypatch.delenv("LAMINA_CACHE_DIR", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache") if base == "absolute" else base)

    assert platformdirs.user_cache_path("lamina", appauthor=False) == Store.open().root


def test_wheel_keeps_its_name(store: Store) -> None:
    """A stored wheel is found with and without its file name, and keeps its name."""
    path = admit(store, "a-1.0-py3-none-any.whl")

    assert [path, path] == [store.wheel(SHA256), store.wheel(SHA256, "a-1.0-py3-none-any.whl")]
    assert path.name == "a-1.0-py3-none-any.whl"


def test_wheel_under_another_name(store: Store) -> None:
    """A wheel is found by its hash, even if another lock file spells its name differently."""
    path = admit(store, "A-1.0-py3-none-any.whl")

    assert path == store.wheel(SHA256, "a-1.0-py3-none-any.whl")


@pytest.mark.parametrize("filename", ["", ".", "..", "../a.whl", "a/b.whl", "a\\b.whl", "a\0.whl", "C:a.whl"])
def test_wheel_destination_is_a_plain_name(store: Store, filename: str) -> None:
    """A file name from a lock file cannot place a file outside the store."""
    with pytest.raises(ValueError, match="is not a plain file name"):
        store.wheel_destination(SHA256, filename)


def test_writing_is_all_or_nothing(store: Store) -> None:
    """After an error the destination is unchanged, and no temporary file is left."""
    destination = store.entry("area", "abcd", ".x")
    write(store, destination, b"first")

    def fail() -> None:
        with store.writing(destination) as file:
            file.write(b"second")
            raise KeyError

    with pytest.raises(KeyError):
        fail()

    assert ["area/ab/abcd.x"] == files(store)
    assert destination.read_bytes() == b"first"


def test_writing_stays_inside(store: Store, tmp_path: Path) -> None:
    """Writing a path outside the store raises an error."""
    with pytest.raises(ValueError, match="it is outside the store"), store.writing(tmp_path / "x"):
        pass


def test_leftovers_of_the_killed_are_removed(store: Store) -> None:
    """The next writer deletes the file of a killed writer, and keeps the file of a running one."""
    script = (
        "import os, signal, sys; from pathlib import Path; from lamina.core.store import Store\n"
        "store = Store.open(Path(sys.argv[1]))\n"
        "with store.writing(store.entry('area', 'killed')) as file:\n"
        "    file.write(b'half'); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", script, str(store.root)], check=False)
    left = files(store)
    with store.writing(store.entry("area", "alive")):
        Store.open(store.root).sweep()
        alive = files(store)

    assert (-signal.SIGKILL, 1, 1) == (killed.returncode, len(left), len(alive))
    assert left != alive
    assert files(store) == ["area/al/alive"]


def test_exclusive_among_threads(store: Store) -> None:
    """Only one thread at a time holds the lock on a key, and the lock leaves no file."""
    inside: list[int] = []
    most: list[int] = []

    def work() -> None:
        for _ in range(20):
            with store.exclusive("key"):
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (160, 1) == (len(most), max(most))
    assert files(store) == []


def test_exclusive_among_processes(store: Store) -> None:
    """Eight processes that increment one number under the lock lose no increment."""
    script = (
        "import sys; from pathlib import Path; from lamina.core.store import Store\n"
        "store = Store.open(Path(sys.argv[1])); number = store.root / 'number'\n"
        "for _ in range(25):\n"
        "    with store.exclusive('key'):\n"
        "        number.write_text(str(int(number.read_text()) + 1))\n"
    )
    store.directory("")
    (store.root / "number").write_text("0")
    processes = [subprocess.Popen([sys.executable, "-c", script, str(store.root)]) for _ in range(8)]

    assert [0] * 8 == [process.wait() for process in processes]
    assert (store.root / "number").read_text() == "200"


def test_alone_waits_for_use(store: Store) -> None:
    """`alone` waits until no process uses the store, and calls *waiting* once."""
    events: list[str] = []
    waiting = threading.Event()

    def clean() -> None:
        with store.alone(waiting.set):
            events.append("alone")

    thread = threading.Thread(target=clean)
    with store.in_use(), store.in_use():
        thread.start()
        assert waiting.wait(60)
        events.append("used")
    thread.join()

    assert ["used", "alone"] == events


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_directory_that_cannot_be_written(store: Store) -> None:
    """A read-only store is a configuration error that names the store."""
    store.root.mkdir(mode=0o500)
    with pytest.raises(ConfigError) as caught, store.exclusive("key"):
        pass

    assert str(caught.value) == f"the store `{store.root}` is not writable: Permission denied"


def test_file_in_place_of_the_directory(store: Store) -> None:
    """A store at the path of a file is a configuration error with a hint."""
    store.root.write_text("")
    with pytest.raises(ConfigError) as caught, store.writing(store.entry("area", "key")):
        pass

    assert str(caught.value) == f"the store `{store.root}` is not writable: Not a directory"
    assert caught.value.hint == "set `LAMINA_CACHE_DIR`, the location of the store, to a writable directory"


def test_locks_of_killed_processes_are_removed(tmp_path: Path) -> None:
    """`in_use` deletes the files of killed processes, and no file that a running process has locked."""
    store = Store.open(tmp_path)
    (store.directory("locks") / "left").touch()
    with store.exclusive("held"), Store.open(tmp_path).in_use():
        held = sorted(path.name for path in (tmp_path / "locks").iterdir())

    assert ["held"] == held
    assert [] == list((tmp_path / "locks").iterdir())
