"""Tests of running a program: its output, its memory and its end."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.core.supervised.process import Process
from lamina.core.supervised.supervisor import children

if TYPE_CHECKING:
    import pytest

    from lamina.core.supervised.request import StartRequest

_FLOOD = "import os\nwhile True: os.write(1, bytes(65536))"


def _request(code: str, directory: Path) -> StartRequest:
    return {
        "arguments": [sys.executable, "-S", "-c", code],
        "environment": {},
        "directory": str(directory),
        "detached": True,
    }


def test_flood(tmp_path: Path) -> None:
    """The memory is reported even if the program writes faster than its log is read."""
    flooded = threading.Event()

    def slowly(_: bytes) -> None:
        flooded.set()
        time.sleep(0.01)

    with Process(_request(_FLOOD, tmp_path), on_log=slowly) as process:
        flooded.wait(60)
        held = process.memory()

    assert held > 0


def test_killed_supervisor(tmp_path: Path) -> None:
    """If the supervisor alone is killed, the program and the processes that it started are ended, too."""
    code = "import os, time\nif os.fork() == 0: os.setpgid(0, 0); print(os.getpid(), flush=True)\ntime.sleep(600)"
    log: list[bytes] = []
    with Process(_request(code, tmp_path), on_log=log.append) as process:
        while not log:
            time.sleep(0.01)
        (supervisor,) = (pid for pid in children(os.getpid()) if process.pid in children(pid))
        os.kill(supervisor, signal.SIGKILL)
        ended = process.wait(60)

    assert ended is not None
    assert 9 == ended.status
    assert process.pid is not None
    assert [True, True] == [_has_ended(pid) for pid in (process.pid, int(b"".join(log)))]


def _has_ended(pid: int) -> bool:
    """Return whether the process *pid* is gone, or waits for its parent to notice that it has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_only_needed_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the program nor its parent, the supervisor, has a variable with credentials that the program could read."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hidden")
    code = "import os\nfor pid in 'self', os.getppid(): print(open(f'/proc/{pid}/environ').read())"
    log: list[bytes] = []
    # A program without privileges could not read the variables of a supervisor that has them.
    request: StartRequest = {**_request(code, tmp_path), "privileged": True}
    with Process(request, on_log=log.append) as process:
        process.wait(60)

    assert b"PATH" in b"".join(log)
    assert b"AWS_" not in b"".join(log)


def test_failing_callback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the log callback raises, the program is ended and waiting threads are released."""
    failures: list[object] = []
    monkeypatch.setattr(threading, "excepthook", lambda told: failures.append(told.exc_type))

    def refuse(_: bytes) -> None:
        raise OSError

    with Process(_request(_FLOOD, tmp_path), on_log=refuse) as process:
        ended = process.wait(60)
        pid = process.pid

    assert ended is not None
    assert ([OSError], 9) == (failures, ended.status)
    assert not os.path.exists(f"/proc/{pid}")
