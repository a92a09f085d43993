"""Start the emulated AWS on a free loopback port, wait until it answers, and end all its processes on exit."""

from __future__ import annotations

import http.client
import os
import platform
import signal
import socket
import sys
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

from lamina.bytecode.interpreter import (
    OWN_MODULES_ONLY,
    cache_in,
    command_to_install,
    environment_variable,
    search,
)
from lamina.core.errors import SandboxError, StartError
from lamina.core.files import own_directory
from lamina.core.reporter import SILENT
from lamina.core.store import Store
from lamina.core.supervised.process import Process
from lamina.core.temporary import temporary_directory
from lamina.local.sandbox.installation import bare, facts, prepare

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lamina.bytecode.interpreter import Interpreter
    from lamina.core.reporter import Reporter
    from lamina.core.supervised.request import StartRequest
    from lamina.core.target import Target
    from lamina.local.sandbox.installation import Installation

DEFAULT_REGION = "us-east-1"
"""The region of a sandbox if the user specifies no other. The server accepts any region name."""

_HOST = "127.0.0.1"
_START_SECONDS = 60
_STOP_SECONDS = 10
_POLL_SECONDS = 0.05
_ATTEMPTS = 3
_SHOWN_LINES = 20
_LOG_BYTES = 1 << 20
# The server's packages come last on its search path. Functions do not inherit this path, so they cannot import the packages.
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
    An emulated AWS, bound to loopback. Use it as a context manager.

    On exit, the server and all processes that it started are ended. They are also ended if this process is killed.
    """

    def __init__(self, installation: Installation, *, region: str = DEFAULT_REGION, state: Path | None = None) -> None:
        """
        Prepare to run the server of *installation*.

        *state* is a directory that keeps buckets, functions and all other resources between runs. Without it, they are lost on exit.
        """
        self._installation = installation
        self._state = state
        self._stack = ExitStack()
        self._process: Process | None = None
        self._log = bytearray()
        self.region = region
        self.url = ""
        """The endpoint URL of the running server; empty before the context is entered."""

    def __enter__(self) -> Self:
        """
        Start the server and wait until it answers.

        Raises `SandboxError` if the server does not start, exits, or does not answer in time. The hint contains the end of its log.
        """
        with ExitStack() as stack:
            directory = stack.enter_context(temporary_directory("sandbox"))
            self._start(directory)
            stack.callback(self._stop)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables that make AWS tools use this sandbox; the credentials are valid nowhere else."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
        }

    @property
    def running(self) -> bool:
        """Whether the server's process is running."""
        return self._process is not None and self._process.ended is None

    def wait(self, seconds: float) -> bool:
        """Wait up to *seconds* for the server to end; return whether it is still running."""
        return self._process is not None and self._process.wait(seconds) is None

    @property
    def log(self) -> str:
        """The last lines of the server's output."""
        return "\n".join(self._log.decode("utf-8", "replace").splitlines()[-_SHOWN_LINES:])

    def _start(self, directory: Path) -> None:
        for attempt in range(_ATTEMPTS):
            port = _free_port()
            self.url = f"http://{_HOST}:{port}"
            self._log.clear()
            try:
                self._process = Process(self._request(port, directory), on_log=self._remember)
            except StartError as error:
                raise SandboxError(f"failed to start the sandbox: {error}", hint=error.hint) from error
            if self._await(port):
                return
            ended = self._process.ended is not None
            self._process.stop()
            # Another process may have bound the port after `_free_port` released it.
            if "in use" not in self.log or attempt == _ATTEMPTS - 1:
                what = "exited before it was ready" if ended else f"did not answer within {_START_SECONDS} seconds"
                raise SandboxError(f"the sandbox server {what}", hint=f"see the end of its log:\n{self.log}")

    def _await(self, port: int) -> bool:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and self.running:
            if _answers(port):
                return True
            self.wait(_POLL_SECONDS)
        return False

    def _request(self, port: int, directory: Path) -> StartRequest:
        packages = self._installation.packages
        arguments = ["-s", "-c", OWN_MODULES_ONLY + _PROGRAM, facts().module, "" if packages is None else str(packages)]
        return {
            "arguments": [str(self._installation.python), *arguments],
            "environment": self._variables(port, directory),
            "directory": str(directory),
            "detached": True,
        }

    def _variables(self, port: int, directory: Path) -> dict[str, str]:
        # Functions inherit these variables, so credentials and search paths of this process are left out.
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
            own_directory(self._state.parents[1], f"{self._state.parent.name}/{self._state.name}")
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
            # The server saves its state on SIGTERM. It gets time for that before `stop` kills it.
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGTERM)
            process.wait(_STOP_SECONDS)
        process.stop()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind((_HOST, 0))
        return int(listener.getsockname()[1])


def _answers(port: int) -> bool:
    # `http.client` ignores proxy variables, which must not apply to loopback.
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
    Run a sandbox for functions of *target*. Without a target, functions have the same Python version as lamina.

    *python* is an interpreter that can import the server; without it, the server is installed into the store.
    Raises `SandboxError` if the server cannot be installed or does not start, and `MissingExtraError` if neither uv nor pip is available.
    """
    reporter.stage("starting the sandbox")
    if python is not None:
        with Sandbox(bare(python), region=region, state=state) as sandbox:
            yield sandbox
        return
    store = Store.open()
    interpreter = _interpreter(target, store, reporter)
    with store.in_use(reporter), ExitStack() as stack:
        installation = prepare(interpreter, store, reporter=reporter)
        try:
            sandbox = stack.enter_context(Sandbox(installation, region=region, state=state))
        except SandboxError as error:
            # A cleanup may have deleted parts of the installation. Reinstall it once; a second failure is raised.
            reporter.note(f"{error}; reinstalling it")
            installation.discard()
            installation = prepare(interpreter, store, reporter=reporter)
            sandbox = stack.enter_context(Sandbox(installation, region=region, state=state))
        yield sandbox


def _interpreter(target: Target | None, store: Store, reporter: Reporter) -> Interpreter:
    """Return an interpreter of the target's minor version. If there is none, warn, and return the interpreter that runs lamina."""
    this = (sys.version_info[0], sys.version_info[1])
    wanted = target.python if target is not None else this
    found = search(wanted, cache=cache_in(store))
    minor = f"{wanted[0]}.{wanted[1]}"
    if found is None:
        reporter.warn(
            f"CPython {minor} was not found on this machine: you can publish and deploy, but in this sandbox functions run "
            f"under Python {this[0]}.{this[1]} and cannot import compiled packages from their layers",
            hint=f"install it: `{command_to_install(wanted)}`; or set `{environment_variable(wanted)}` to its executable",
        )
        found = search(this, explicit=Path(sys.executable))
        if found is None:
            raise SandboxError(f"the interpreter `{sys.executable}` cannot run the sandbox")
    if target is not None and target.architecture.machine != platform.machine():
        reporter.warn(
            f"this machine is {platform.machine()}, but the layers are built for {target.architecture}: "
            "functions with compiled packages in their layers do not run in this sandbox"
        )
    return found
