"""Start a debugger in a function's process, which waits until a client such as an editor attaches to it."""

from __future__ import annotations

import json
import re
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

DEFAULT_PORT = 5678
"""The port of debugpy, which editors propose."""
_HOST = "127.0.0.1"
_PRELUDE = """
import json, os
# Without this, the debugger warns of modules that are frozen in the interpreter, which are not the function's.
os.environ["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"
import debugpy
configuration = json.loads({configuration!r})
for mapping in configuration["pathMappings"]:
    mapping["remoteRoot"] = os.environ["LAMBDA_TASK_ROOT"]
# A process that the function starts is not debugged, because it would wait for a client of its own.
debugpy.configure(subProcess=False)
debugpy.listen(({host!r}, {port}))
print("debugger listens on {host}:{port} and waits for a client; in VS Code, add this to `configurations` in `.vscode/launch.json`:")
print(json.dumps(configuration), flush=True)
debugpy.wait_for_client()
print("client attached", flush=True)
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Debugger:
    """The address at which a function's debugger listens, and the directories of the function's sources."""

    port: int
    """A port on the loopback address."""
    roots: tuple[Path, ...]
    """The directories on this machine whose contents are in the function package."""

    @classmethod
    def at(cls, port: int, project: Path, source: Iterable[str]) -> Debugger:
        """
        Return the debugger of a function of *project* with the entries *source*. For *port* 0, choose a free port.

        Raises `ConfigError` if *port* is in use or is not a port.
        """
        try:
            with socket.socket() as server:
                server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                server.bind((_HOST, port))
                port = server.getsockname()[1]
        except (OSError, OverflowError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise ConfigError(
                f"port {port} on {_HOST} is not available for the debugger: {reason}",
                hint="let lamina choose a free port: `--debug-port 0`",
            ) from error
        return cls(port=port, roots=tuple(dict.fromkeys(_root(project, entry) for entry in source)) or (project,))

    def prelude(self, function: str) -> str:
        """Return Python source that starts the debugger of *function*, prints its address, and waits until a client attaches."""
        configuration = {
            "name": f"lamina invoke {function}",
            "type": "debugpy",
            "request": "attach",
            "connect": {"host": _HOST, "port": self.port},
            "pathMappings": [{"localRoot": str(root)} for root in self.roots],
        }
        return _PRELUDE.format(configuration=json.dumps(configuration), host=_HOST, port=self.port)


def _root(project: Path, entry: str) -> Path:
    """Return the directory to which the paths in a function package are relative, if its `source` has this *entry*."""
    parts = Path(entry).parts
    fixed = next((index for index, part in enumerate(parts) if re.search(r"[*?\[]", part)), len(parts) - 1)
    return project.joinpath(*parts[:fixed])
