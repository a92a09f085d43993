"""Start the embedded AWS on a free port of loopback, wait for it, and leave nothing of it running."""

from __future__ import annotations

import fcntl
import http.client
import os
import platform
import shutil
import signal
import socket
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

from lamina.bytecode.interpreter import environment_variable, search
from lamina.core.errors import InvokeError, SandboxError
from lamina.core.reporter import SILENT
from lamina.core.store import Store
from lamina.local.process import Process
from lamina.local.sandbox.installation import bare, facts, prepare

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lamina.bytecode.interpreter import Interpreter
    from lamina.core.reporter import Reporter
    from lamina.core.target import Target
    from lamina.local.guest.request import StartRequest
    from lamina.local.sandbox.installation import Installation

DEFAULT_REGION = "us-east-1"
"""Where a sandbox is, if nobody says otherwise; any name will do."""

_HOST = "127.0.0.1"
_START_SECONDS = 60
_STOP_SECONDS = 10
_POLL_SECONDS = 0.05
_ATTEMPTS = 3
_SHOWN_LINES = 20
_LOG_BYTES = 1 << 20
_PREFIX, _LOCK = "lamina-sandbox-", "lock"
# The packages come after the standard library, and only for the server: what it starts does not inherit a search path.
_PROGRAM = """
import importlib, sys
module, packages = sys.argv[1:3]
if packages:
    sys.path.append(packages)
sys.argv = ["sandbox"]
importlib.import_module(module).main()
"""


class Sandbox:
    """
    One running emulated AWS, bound to loopback.

    A context manager: on exit the server and everything it started is gone; so it is when this process is killed.
    """

    def __init__(self, installation: Installation, *, region: str = DEFAULT_REGION, state: Path | None = None) -> None:
        """Run from *installation*; keep buckets, functions and the rest in the directory *state* between runs, if given."""
        self._installation = installation
        self._state = state
        self._stack = ExitStack()
        self._process: Process | None = None
        self._log = bytearray()
        self.region = region
        self.url = ""
        """Where it answers, once it has been entered."""

    def __enter__(self) -> Self:
        """
        Start the server and wait until it answers.

        Raises SandboxError with the end of its log if it does not.
        """
        with ExitStack() as stack:
            directory = stack.enter_context(_scratch())
            self._start(directory)
            stack.callback(self._stop)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def environment(self) -> dict[str, str]:
        """The variables that make every AWS tool talk to this sandbox; the credentials open nothing else."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
        }

    @property
    def running(self) -> bool:
        """Whether the server has not ended by itself."""
        return self._process is not None and self._process.ended is None

    def wait(self, seconds: float) -> bool:
        """Wait up to *seconds*, and say whether the server still runs."""
        return self._process is not None and self._process.wait(seconds) is None

    @property
    def log(self) -> str:
        """The end of what the server said."""
        return "\n".join(self._log.decode("utf-8", "replace").splitlines()[-_SHOWN_LINES:])

    def _start(self, directory: Path) -> None:
        for attempt in range(_ATTEMPTS):
            port = _free_port()
            self.url = f"http://{_HOST}:{port}"
            self._log.clear()
            try:
                self._process = Process(self._request(port, directory), on_log=self._remember)
            except InvokeError as error:
                raise SandboxError(f"The sandbox cannot be started: {error}", hint=error.hint) from error
            if self._await(port):
                return
            ended = self._process.ended is not None
            self._process.stop()
            # Somebody else may have taken the port in between.
            if "in use" not in self.log or attempt == _ATTEMPTS - 1:
                what = "ended before it answered" if ended else f"did not answer within {_START_SECONDS} s"
                raise SandboxError(f"The sandbox's server {what}", hint=f"the end of its log:\n{self.log}")

    def _await(self, port: int) -> bool:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and self.running:
            if _answers(port):
                return True
            self.wait(_POLL_SECONDS)
        return False

    def _request(self, port: int, directory: Path) -> StartRequest:
        packages = self._installation.packages
        arguments = ["-s", "-c", _PROGRAM, facts().module, "" if packages is None else str(packages)]
        return {
            "arguments": [str(self._installation.python), *arguments],
            "environment": self._variables(port, directory),
            "directory": str(directory),
            "detached": True,
        }

    def _variables(self, port: int, directory: Path) -> dict[str, str]:
        # Nothing of this environment: neither credentials nor a search path are the functions' business.
        variables = {name: os.environ[name] for name in ("PATH", "LANG", "TZ") if name in os.environ}
        variables |= {
            "HOME": str(directory),
            "TMPDIR": str(directory),
            "BIND_HOST": _HOST,
            "MINISTACK_HOST": _HOST,
            "MINISTACK_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
            "GATEWAY_PORT": str(port),
            "IOT_MTLS_ENABLED": "0",
            "LOG_LEVEL": "WARNING",
            "PYTHONDONTWRITEBYTECODE": "1",
            "SERVICES": ",".join(facts().services),
        }
        if self._state is not None:
            self._state.mkdir(parents=True, exist_ok=True)
            objects = str(self._state / "objects")
            variables |= {"PERSIST_STATE": "1", "STATE_DIR": str(self._state / "services")}
            variables |= {"S3_PERSIST": "1", "S3_DATA_DIR": objects}
        return variables

    def _remember(self, piece: bytes) -> None:
        self._log += piece
        del self._log[:-_LOG_BYTES]

    def _stop(self) -> None:
        process = self._process
        if process is None:
            return
        if process.ended is None and process.pid is not None:
            # It writes its state when it is asked to end; and it is not asked twice.
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGTERM)
            process.wait(_STOP_SECONDS)
        process.stop()


@contextmanager
def _scratch() -> Iterator[Path]:
    """Give a directory that this process has locked; remove it on exit, and before that whatever killed ones left."""
    for lock in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*/{_LOCK}"):
        with suppress(OSError), lock.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(lock.parent, ignore_errors=True)
    with (
        tempfile.TemporaryDirectory(prefix=_PREFIX, ignore_cleanup_errors=True) as name,
        Path(name, f"{_LOCK}.new").open("xb") as file,
    ):
        fcntl.flock(file, fcntl.LOCK_EX)
        # Under its name it is locked from the first moment on.
        Path(file.name).rename(Path(name, _LOCK))
        yield Path(name)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind((_HOST, 0))
        return int(listener.getsockname()[1])


def _answers(port: int) -> bool:
    # Not through whatever proxy the environment names.
    connection = http.client.HTTPConnection(_HOST, port, timeout=5)
    try:
        connection.request("GET", facts().health)
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


@contextmanager
def started(
    target: Target | None,
    *,
    region: str,
    state: Path | None = None,
    python: Path | None = None,
    reporter: Reporter = SILENT,
) -> Iterator[Sandbox]:
    """
    Provide a running sandbox for functions of *target*, or of this interpreter's version.

    *python* names an interpreter that has the server installed. Raises SandboxError, and MissingExtraError where nothing can
    install packages.
    """
    if python is not None:
        with Sandbox(bare(python), region=region, state=state) as sandbox:
            yield sandbox
        return
    store = Store.open()
    interpreter = _interpreter(target, store, reporter)
    with store.in_use(), ExitStack() as stack:
        installation = prepare(interpreter, store, reporter=reporter)
        try:
            sandbox = stack.enter_context(Sandbox(installation, region=region, state=state))
        except SandboxError as error:
            # Somebody cleaned a part of it away; what is made anew is whole, and if not, that is told.
            reporter.note(f"{error}: installing it again")
            installation.discard()
            installation = prepare(interpreter, store, reporter=reporter)
            sandbox = stack.enter_context(Sandbox(installation, region=region, state=state))
        yield sandbox


def _interpreter(target: Target | None, store: Store, reporter: Reporter) -> Interpreter:
    """Return the target's interpreter, or this one with a warning about what will not work."""
    this = (sys.version_info[0], sys.version_info[1])
    wanted = target.python if target is not None else this
    found = search(wanted, cache=store.directory("") / "interpreters.json")
    minor = f"{wanted[0]}.{wanted[1]}"
    if found is None:
        reporter.warn(
            f"There is no CPython {minor} on this machine: publishing and deploying work, "
            "but functions run under another Python, and compiled packages in their layers cannot be imported",
            hint=f"install it, such as with `uv python install {minor}`, or name it in `{environment_variable(wanted)}`",
        )
        found = search(this, explicit=Path(sys.executable))
        if found is None:
            raise SandboxError(f"`{sys.executable}` cannot run the sandbox")
    if target is not None and target.architecture.machine != platform.machine():
        reporter.warn(
            f"This machine is {platform.machine()}, and the layers are built for {target.architecture}: "
            "functions whose layers hold compiled packages cannot be invoked here"
        )
    return found
