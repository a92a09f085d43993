"""What a terminal shows: a moving line for each stage that lasts, no colours with NO_COLOR, and a clean end after Ctrl-C."""

from __future__ import annotations

import io
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
import zipfile
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple

import pytest

from built import configure, make_build
from lamina.bytecode.interpreter import environment_variable
from lamina.cli.console import Console
from lamina.cli.stopping import before_changes
from lamina.core.errors import LockError, StoppedError
from pythons import hide_interpreters
from services import make_service

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

_PATIENCE_SECONDS = 60
_COLOUR = re.compile(r"\x1b\[[\d;]*m")
_CONTROL = re.compile(r"\x1b\[[?\d;]*[a-zA-Z]")
_UNKNOWN = "error: unknown command `biuld` (did you mean `build`?)\n\nhint: list the commands: `lamina --help`\n"
_SHOW_CURSOR = "\x1b[?25h"


class _Terminal(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self) -> bool:
        return True

    def shows(self, text: str) -> bool:
        """Wait until *text* was written, between control sequences; return whether it was."""
        end = time.monotonic() + _PATIENCE_SECONDS
        while text not in _CONTROL.sub("", self.getvalue()):
            if time.monotonic() > end:
                return False
            time.sleep(0.01)
        return True

    def lines(self) -> list[str]:
        """What was written so far, without control sequences: one line for each time that it was drawn."""
        return [_CONTROL.sub("", line) for line in re.split(r"[\r\n]+", self.getvalue())]


@pytest.fixture(params=[60, 200])
def columns(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """The width of the terminal."""
    monkeypatch.setenv("COLUMNS", str(request.param))
    monkeypatch.setenv("TERM", "xterm")
    return int(request.param)


def test_a_stage_that_lasts_is_shown_until_the_end(columns: int) -> None:
    """Each stage is shown with its amount, in one line of the terminal; after the end, the line is gone and the cursor is back."""
    stream = _Terminal()
    with Console(stream=stream) as console:
        console.stage("following imports and compiling bytecode")
        assert stream.shows("following imports and compiling bytecode")
        console.stage("downloading and checking", total=50_000_000, unit="bytes")
        console.advance(20_000_000)
        assert stream.shows("20.00 MB of 50.00 MB")
        console.note(f"this is {'very ' * 60}long")
        console.stage("adding bytecode", total=31, unit="distributions")
        console.advance(131_072)  # a download that has not ended yet
        assert stream.shows("31 of 31 distributions")

    assert f"note: this is {'very ' * 60}long" in [line.strip() for line in stream.lines()]
    assert {line for line in stream.lines() if "very" not in line and len(line) > columns} == set()
    assert stream.getvalue().endswith("\x1b[2K")
    assert _SHOW_CURSOR in stream.getvalue()


def test_a_finished_amount_still_moves(columns: int) -> None:
    """When all bytes are there but lamina still works, the line is drawn with changes."""
    stream = _Terminal()
    with Console(stream=stream) as console:
        console.stage("downloading and checking", total=10, unit="wheels")
        console.advance(10)
        assert stream.shows("10 of 10 wheels")
        before = len(set(stream.lines()))
        end = time.monotonic() + _PATIENCE_SECONDS
        while len(set(stream.lines())) < before + 3 and time.monotonic() < end:
            time.sleep(0.01)

        assert len(set(stream.lines())) >= before + 3


def test_a_terminal_that_cannot_move_its_cursor(monkeypatch: pytest.MonkeyPatch) -> None:
    """With TERM=dumb, each stage that lasts is one plain line, and one that ends at once is not shown."""
    monkeypatch.setenv("TERM", "dumb")
    stream = _Terminal()
    with Console(stream=stream) as console:
        console.stage("reading")
        console.stage("packing", total=10, unit="files")
        assert stream.shows("packing …\n")
        console.stage("measuring")
        assert stream.shows("measuring …\n")
        console.stage("writing")

    assert "packing …\nmeasuring …\n" == stream.getvalue()


class _Ascii(_Terminal):
    """A terminal that shows ASCII only."""

    encoding = "ascii"


def test_a_terminal_that_shows_ascii(columns: int) -> None:
    """The moving line has no characters that the encoding of the terminal lacks."""
    stream = _Ascii()
    with Console(stream=stream) as console:
        console.stage("packing", total=10, unit="files")
        console.advance(5)
        assert stream.shows("5 of 10 files")

    assert stream.getvalue().isascii()


@pytest.mark.parametrize("settings", [{"quiet": True}, {}])
def test_no_stage_without_a_terminal_or_if_quiet(settings: Mapping[str, bool]) -> None:
    """With `--quiet`, and without a terminal, stages print nothing."""
    stream = _Terminal() if settings else io.StringIO()
    with Console(stream=stream, **settings) as console:
        console.stage("reading")
        console.advance(1)

    assert "" == stream.getvalue()


def test_stages_without_a_terminal() -> None:
    """Without a terminal, `--verbose` prints each stage as a plain line."""
    stream = io.StringIO()
    with Console(stream=stream, verbose=True) as console:
        console.stage("reading")
        console.stage("downloading", total=2_000_000, unit="bytes")
        console.stage("packing", total=1_000, unit="files")

    assert "reading …\ndownloading: 2.00 MB\npacking: 1,000 files\n" == stream.getvalue()


def test_a_quick_stage_is_not_shown(columns: int) -> None:
    """A stage that ends at once does not flicker."""
    stream = _Terminal()
    with Console(stream=stream) as console:
        console.stage("reading")

    assert "" == stream.getvalue()


def test_an_error_removes_the_line(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error is printed after the line was removed; NO_COLOR leaves out all colours, of the line too."""
    monkeypatch.setenv("NO_COLOR", "1")
    stream = _Terminal()
    console = Console(stream=stream)
    console.stage("adding bytecode", total=31, unit="distributions")
    assert stream.shows("0 of 31 distributions")
    console.failure(LockError("the lock is old", hint="run `uv lock`"))

    assert stream.getvalue().endswith("\x1b[2Kerror: the lock is old\n\nhint: run `uv lock`\n")
    assert [] == _COLOUR.findall(stream.getvalue())


class _Finished(NamedTuple):
    code: int
    text: str
    """All that the program wrote to the terminal."""


def _in_terminal(
    arguments: Sequence[str],
    *,
    environment: dict[str, str],
    columns: int = 80,
    interrupt_at: str = "\0",
    terminate: bool = False,
) -> _Finished:
    """Run lamina in a new terminal, and press Ctrl-C, or with *terminate* send SIGTERM, when it shows *interrupt_at*."""
    pty = pytest.importorskip("pty")
    import fcntl
    import struct
    import termios

    pid, terminal = pty.fork()
    if pid == 0:
        # Processes that a background job of a script starts ignore Ctrl-C.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        # Do not wait for the size: programs read it from COLUMNS.
        os.execve(  # noqa: S606 - no shell is needed
            sys.executable, [sys.executable, "-m", "lamina", *arguments], {**environment, "COLUMNS": str(columns)}
        )
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    text, pressed, end = "", False, time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < end and select.select([terminal], [], [], _PATIENCE_SECONDS)[0]:
        try:
            read = os.read(terminal, 65_536)
        except OSError:  # how Linux reports the end of a terminal
            break
        if not read:
            break
        text += read.decode()
        if not pressed and interrupt_at in text:
            pressed = True
            if terminate:
                os.kill(pid, signal.SIGTERM)
            else:
                os.write(terminal, b"\x03")
    os.close(terminal)
    return _Finished(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), text)


@contextmanager
def _silent_server() -> Iterator[str]:
    """Provide the URL of a server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize(("options", "terminate"), [([], False), (["--json"], False), ([], True)])
def test_an_interrupted_build(options: Sequence[str], terminate: bool, tmp_path: Path) -> None:
    """Ctrl-C and SIGTERM end a build with 130 and one line, even if its threads wait for a server that does not answer."""
    environment = {**os.environ, "LAMINA_CACHE_DIR": str(tmp_path / "store"), "TERM": "xterm"}
    with _silent_server() as url:
        project = make_service(tmp_path, base_url=url).write()
        finished = _in_terminal(
            ["build", "--project", str(project), *options],
            environment=environment,
            interrupt_at="downloading",
            terminate=terminate,
        )

    plain = _CONTROL.sub("", finished.text)
    assert 130 == finished.code
    assert "error: interrupted" in plain
    assert "Traceback" not in plain
    assert finished.text.rindex(_SHOW_CURSOR) < finished.text.rindex("interrupted")
    if options:
        report = json.loads(plain[plain.index("\n{") :])
        assert {"kind": "StoppedError", "message": "interrupted", "hint": None, "exit_code": 130} == report["error"]


def test_an_interrupted_build_before_deploying(tmp_path: Path) -> None:
    """SIGTERM ends `deploy` while its build waits for a server, and it leaves no temporary directory."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    environment = {**os.environ, "LAMINA_CACHE_DIR": str(tmp_path / "store"), "TERM": "xterm", "TMPDIR": str(scratch)}
    with _silent_server() as url:
        project = make_service(tmp_path, base_url=url).write()
        finished = _in_terminal(
            ["deploy", "--project", str(project), "--region", "eu-west-1"],
            environment=environment,
            interrupt_at="downloading",
            terminate=True,
        )

    assert (130, []) == (finished.code, os.listdir(scratch)), finished.text
    assert "error: interrupted; nothing was published or deployed" in _CONTROL.sub("", finished.text)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), StoppedError("interrupted")])
def test_an_interruption_before_the_first_change(error: BaseException) -> None:
    """Whatever ends the planning of a command that changes AWS, the message says that nothing was changed."""
    with pytest.raises(StoppedError) as caught, before_changes():
        raise error

    assert "interrupted; nothing was published or deployed" == str(caught.value)


def test_a_function_that_starts_slowly(tmp_path: Path) -> None:
    """While a function initialises and logs nothing, the line moves; its log does not mix with the line."""
    source = "import time\ntime.sleep(0.8)\nprint('ready')\ndef handler(event, context): return 1"
    make_build(tmp_path, {"app.py": source}, handlers={"slow": "app.handler"})
    configure(tmp_path, functions='slow = "app.handler"')
    environment = {**os.environ, environment_variable(sys.version_info[:2]): sys.executable, "TERM": "xterm"}
    finished = _in_terminal(["invoke", "slow", "--project", str(tmp_path)], environment=environment)

    *_, shown, after = re.split(r"starting the function", _CONTROL.sub("", finished.text))
    assert (0, True) == (finished.code, bool(shown))
    assert re.search(r"[\r\n]ready\r?\n", after)
    assert "\n1\r\n" in after


@pytest.mark.parametrize("columns", [60, 200])
@pytest.mark.parametrize("variables", [{}, {"NO_COLOR": "1"}])
def test_a_build_in_a_terminal(columns: int, variables: dict[str, str], tmp_path: Path) -> None:
    """The table of a build fits the terminal, and NO_COLOR leaves out all colours."""
    environment = {**os.environ, "LAMINA_CACHE_DIR": str(tmp_path / "store"), "TERM": "xterm"}
    service = make_service(tmp_path)
    service.add("a-distribution-with-a-name-that-is-far-too-long", "2026.11.28.post1", {"a.py": ""})
    finished = _in_terminal(
        ["build", "--project", str(service.write())], environment=environment | variables, columns=columns
    )

    lines = [_CONTROL.sub("", line).strip("\r") for line in finished.text.split("\n")]
    start = next(number for number, line in enumerate(lines) if line.split() == ["zipped", "unzipped", "bytecode"])
    table = lines[start : next(number for number, line in enumerate(lines) if "common.zip" in line)]
    assert 0 == finished.code
    assert [] == [line for line in table if len(line) > columns]
    # On a narrow terminal, the long name needs three lines.
    assert (6 if columns == 60 else 4) == len(table)
    if variables:
        assert [] == _COLOUR.findall(finished.text)


@pytest.mark.parametrize(
    "arguments", [["--help"], ["build", "--help"], ["cache", "size"], ["cache", "size", "--json"], ["biuld", "--json"]]
)
def test_a_closed_pipe(arguments: Sequence[str], tmp_path: Path) -> None:
    """If the reader of stdout is gone, as after `| head -1`, lamina ends with 141 and says nothing about it."""
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "lamina", *arguments],
        stdout=writer,
        stderr=subprocess.PIPE,
        # argparse ignores that unbuffered output fails.
        env={**os.environ, "LAMINA_CACHE_DIR": str(tmp_path), "PYTHONUNBUFFERED": ""},
        text=True,
        check=False,
    )
    os.close(writer)

    assert 141 == done.returncode
    assert "" == done.stderr.removeprefix(_UNKNOWN)


def test_a_closed_pipe_of_messages(tmp_path: Path) -> None:
    """The same holds if stdout and stderr are the same closed pipe."""
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([sys.executable, "-m", "lamina", "biuld"], stdout=writer, stderr=writer, check=False)
    os.close(writer)

    assert 141 == done.returncode


@pytest.mark.parametrize("closed", ["0<&-", "1>&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams(closed: str, tmp_path: Path) -> None:
    """A command works without stdin, stdout or stderr, and no file of a build receives what it prints there."""
    project = make_service(tmp_path).write()
    environment = {**os.environ, "LAMINA_CACHE_DIR": str(tmp_path / "store")}
    done = subprocess.run(
        ["/bin/sh", "-c", f'exec "$@" {closed}', "sh", sys.executable, "-m", "lamina", "build", "--json"],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (0, "") == (done.returncode, done.stderr if "Traceback" in done.stderr else "")
    assert ("1" in closed or closed.startswith("<")) or json.loads(done.stdout)["version"] == "1"
    assert zipfile.is_zipfile(project / ".lamina" / "layers" / "common.zip")


@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_a_non_blocking_stream_whose_reader_is_slow(name: str) -> None:
    """The command waits until the reader continues. The pipe is full until the command has made it blocking."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    filled = 0
    with suppress(BlockingIOError):
        while True:
            filled += os.write(writer, bytes(1))
    process = subprocess.Popen(
        [sys.executable, "-m", "lamina", *([] if name == "stderr" else ["schema"])],
        env={**os.environ, "PYTHONUNBUFFERED": ""},
        stdout=writer if name == "stdout" else subprocess.DEVNULL,
        stderr=writer if name == "stderr" else subprocess.DEVNULL,
    )
    while process.poll() is None and not os.get_blocking(writer):
        time.sleep(0.01)
    os.close(writer)
    with open(reader, "rb") as stream:
        written = stream.read()[filled:]

    assert (2 if name == "stderr" else 0) == process.wait()
    assert (b"usage: lamina" in written) if name == "stderr" else json.loads(written)


def test_an_encoding_that_lacks_characters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What stdout cannot show is an escape sequence in its place, instead of an error."""
    hide_interpreters(tmp_path, monkeypatch)
    project = tmp_path / "caf\xe9"
    project.mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "lamina", "doctor", "--project", str(project)],
        env={**os.environ, "LAMINA_CACHE_DIR": str(tmp_path / "store"), "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert "" == done.stderr
    assert "caf\\xe9" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "output"), [(["build", "--json"], ""), (["build", "--json"], "> output"), (["schema"], "> output")]
)
def test_a_full_disk(arguments: Sequence[str], output: str, tmp_path: Path) -> None:
    """If a file or the output cannot be written for want of space, lamina says so and exits with 5; with `--json`, as JSON if there is space."""
    project = make_service(tmp_path).write()
    done = subprocess.run(
        ["/bin/sh", "-c", f'ulimit -f 0; exec "$@" {output}', "sh", sys.executable, "-m", "lamina", *arguments],
        cwd=project,
        env={**os.environ, "LAMINA_CACHE_DIR": str(tmp_path / "store")},
        capture_output=True,
        text=True,
        check=False,
    )
    said = r"error: failed to write (`.+`|a file or the output): File too large\n\nhint: free space on the disk"
    assert (5, True) == (done.returncode, re.match(said, done.stderr) is not None)
    assert "Traceback" not in done.stderr
    if not output:
        assert "DiskFullError" == json.loads(done.stdout)["error"]["kind"]
