"""Builds from source end with lamina, whatever the signal, and the next run deletes what they left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from lamina.core.store import Store
from locking import write_pylock
from services import HANDLER
from sourceprojects import make_sdist, source_files
from wheels import sha256

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_PATIENCE_SECONDS = 60
# Programs that are started in the background ignore SIGINT.
_LAMINA = """
import signal
from lamina.cli.main import entry_point
signal.signal(signal.SIGINT, signal.default_int_handler)
entry_point()
"""
_HANGING = """
import os, sys, time

def build_wheel(directory, config_settings=None, metadata_directory=None):
    open("left", "w").close()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            record("daemon")
            time.sleep(600)
        os._exit(0)
    record("backend")
    time.sleep(600)

def record(name):
    with open(PLACE + name + ".new", "w") as file:
        file.write(str(os.getpid()))
    os.rename(PLACE + name + ".new", PLACE + name)
"""


def start(place: Path) -> subprocess.Popen[str]:
    """Start a build of a source distribution whose build backend hangs, and has started a daemon of its own."""
    place.mkdir()
    files = source_files("pure") | {"backend.py": f"PLACE = {f'{place}/'!r}\n{_HANGING}"}
    sdist = make_sdist(place / "files", "pure", "1.0", files)
    project = place / "project"
    project.mkdir()
    (project / "pyproject.toml").write_text(
        '[project]\nname = "service"\nversion = "1"\n[tool.lamina]\nruntime = "python3.13"\nbytecode = "none"\n'
        'source = ["app.py"]\n[tool.lamina.functions]\nhello = "app.lambda_handler"\n'
    )
    (project / "app.py").write_text(HANDLER)
    row = {"name": sdist.name, "path": str(sdist), "hashes": {"sha256": sha256(sdist)}}
    write_pylock(project, {"name": "pure", "version": "1.0", "sdist": row})
    (place / "tmp").mkdir()
    return subprocess.Popen(
        [sys.executable, "-c", _LAMINA, "build", "--quiet", "--project", str(project)],
        env={**os.environ, "LAMINA_CACHE_DIR": str(place / "store"), "TMPDIR": str(place / "tmp")},
        stderr=subprocess.PIPE,
        text=True,
    )


def eventually(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def runs(place: Path, name: str) -> bool:
    """Return whether the process that recorded itself under *name* still runs; a process that has ended but is not waited for does not."""
    try:
        with open(f"/proc/{(place / name).read_text()}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] != b"Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a process adopt a daemon")
def test_nothing_outlives_lamina(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """uv, the build backend and its daemon end with lamina. After the next run, no temporary file is left."""
    signals = (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
    places = [tmp_path / number.name for number in signals]
    processes = [start(place) for place in places]
    for place, process, number in zip(places, processes, signals, strict=True):
        assert eventually(lambda: (place / "backend").exists() and (place / "daemon").exists())  # noqa: B023 - called here
        assert runs(place, "backend")
        process.send_signal(number)
    said = [process.communicate(timeout=_PATIENCE_SECONDS)[1] for process in processes]
    for place in places:
        assert eventually(lambda: not runs(place, "backend") and not runs(place, "daemon"))  # noqa: B023
        monkeypatch.setattr("tempfile.tempdir", str(place / "tmp"))
        with Store.open(place / "store").in_use():
            left = [*(place / "tmp").iterdir(), *(place / "store/tmp").iterdir(), *(place / "store/locks").iterdir()]
        assert [] == left, place.name

    assert [-signal.SIGKILL, 130, 130, 130] == [process.returncode for process in processes]
    assert [False, True, True, True] == [text.endswith("error: interrupted\n") for text in said]
