"""
Install the interpreter of the target's minor version with uv, if the user agrees.

The user agrees with ``--install-python``, with the environment variable `VARIABLE`, or in the terminal.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.bytecode.interpreter import cache_in, find_uv, not_found, search
from lamina.core.errors import BytecodeError
from lamina.core.frozen import frozen
from lamina.core.supervised.process import run
from lamina.core.urls import without_userinfo

if TYPE_CHECKING:
    from lamina.bytecode.interpreter import Interpreter
    from lamina.core.reporter import Reporter
    from lamina.core.store import Store

VARIABLE = "LAMINA_INSTALL_PYTHON"
_SHOWN_LINES = 10


@frozen
class Installer:
    """Installs missing interpreters with uv."""

    project: Path
    """The directory whose settings uv reads."""
    reporter: Reporter
    offline: bool = False
    """Whether the network must not be used, so that nothing is installed."""

    def provide(self, python: tuple[int, int], store: Store) -> Interpreter:
        """
        Return a CPython of the minor version *python*, and install it first if it is missing and the user agrees.

        Raises `BytecodeError` if it is missing and not installed, or if uv fails; and `ConfigError` if the interpreter that
        the environment specifies is unsuitable.
        """
        cache = cache_in(store)
        found, uv = search(python, cache=cache), find_uv()
        if found is None and uv is not None and not self.offline:
            with store.exclusive(f"python-{python[0]}.{python[1]}"):
                # Another thread or process may have installed it while this one waited for the lock.
                found = search(python, cache=cache)
                if found is None and self.agreed(python):
                    self._install(uv, python)
                    found = search(python, cache=cache)
        if found is None:
            raise not_found(python)
        return found

    def agreed(self, python: tuple[int, int]) -> bool:
        """Return whether the user agrees that uv installs the minor version *python*."""
        return is_set() or self.reporter.may_install(f"CPython {python[0]}.{python[1]}")

    def _install(self, uv: str, python: tuple[int, int]) -> None:
        name = f"{python[0]}.{python[1]}"
        self.reporter.note(f"installing CPython {name}: `uv python install {name}`")
        self.reporter.stage(f"installing CPython {name}")
        # Do not add another executable to the PATH: lamina finds the interpreter where uv installs it.
        environment = os.environ | {"UV_PYTHON_INSTALL_BIN": "0", "UV_NO_PROGRESS": "1"}
        command = [uv, "python", "install", "--color", "never", name]
        # In the project's directory, uv would read where to download from in the project's own configuration.
        done = run(command, environment=environment, directory=Path(self.project.anchor))
        if done.code:
            log = without_userinfo(done.output.decode("utf-8", "replace")).strip().splitlines()
            raise BytecodeError(
                f"uv could not install CPython {name}",
                hint="last lines of its output:\n" + "\n".join(log[-_SHOWN_LINES:]),
            )


def is_set() -> bool:
    """Return whether the environment allows lamina to install interpreters."""
    return os.environ.get(VARIABLE, "").lower() in {"1", "true", "yes"}
