"""The processes that compile end with lamina, and none is started after the end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lamina.bytecode.compiler import Compiler
from lamina.bytecode.interpreter import search
from lamina.bytecode.workers import Workers
from lamina.core.errors import StoppedError

_BUSY = """
import os, sys
if os.fork() == 0:
    print(os.getpid(), os.getppid(), file=open(sys.argv[1] + ".new", "w"), flush=True)
    os.rename(sys.argv[1] + ".new", sys.argv[1])
sum(range(10 ** 12))
"""
_LAMINA = """
import sys
from pathlib import Path
from lamina.bytecode.interpreter import Interpreter
from lamina.bytecode.workers import Program, Workers
interpreter = Interpreter(path=Path(sys.executable), version=sys.version_info[:3], magic="")
Workers(interpreter).once(b"", Program(Path(sys.argv[1]), sys.argv[2]), "busy.py")
"""


def _ends(pid: int) -> bool:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if b") Z " in Path(f"/proc/{pid}/stat").read_bytes():
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.02)
    return False


@pytest.mark.skipif(sys.platform != "linux", reason="other systems ignore the signal of a closed pipe")
def test_killed_while_compiling(tmp_path: Path) -> None:
    """A process in the middle of a long computation, and the child that it forked, end at once when lamina is killed."""
    program, told = tmp_path / "busy.py", tmp_path / "told"
    program.write_text(_BUSY)
    with subprocess.Popen([sys.executable, "-c", _LAMINA, str(program), str(told)]) as lamina:
        while not told.exists():
            assert lamina.poll() is None
            time.sleep(0.02)
        pids = [int(pid) for pid in told.read_text().split()]

        assert all(os.path.exists(f"/proc/{pid}") for pid in pids)
        lamina.send_signal(signal.SIGKILL)

    assert [True, True] == [_ends(pid) for pid in pids]


@pytest.mark.parametrize("name", ["select", "fcntl", "os", "marshal", "json", "platform", "re"])
def test_no_module_of_the_working_directory_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the search for an interpreter nor a compiling process imports what lies in the project's directory."""
    (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nraise ImportError\n")
    monkeypatch.chdir(tmp_path)
    found = search((sys.version_info[0], sys.version_info[1]), explicit=Path(sys.executable))
    assert found is not None
    with Compiler(found, jobs=1) as compiler:
        assert 1 == len(list(compiler.compile([("x.py", b"x = 1\n")], root="/opt/python/")))

    assert not (tmp_path / "ran").exists()


def test_nothing_starts_after_the_end() -> None:
    """A thread that submits work after `close` gets the error of an interrupt, and no process is started."""
    interpreter = search((sys.version_info[0], sys.version_info[1]), explicit=Path(sys.executable))
    assert interpreter is not None
    with Workers(interpreter) as workers:
        assert 3 == workers.submit(len, "abc").result()

    with pytest.raises(StoppedError):
        workers.submit(len, "abc")
