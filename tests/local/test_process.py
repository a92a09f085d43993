"""Tests of running a program: its output, its memory and its end."""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import TYPE_CHECKING

from lamina.core.supervised.process import Process

if TYPE_CHECKING:
    from pathlib import Path

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
