"""Choose the interpreter that a sandbox runs with, install the server for it once, and start it."""

from __future__ import annotations

import platform
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.bytecode.interpreter import environment_variable, search
from lamina.core.errors import SandboxError
from lamina.core.reporter import SILENT
from lamina.core.store import Store
from lamina.local.sandbox.installation import bare, prepare
from lamina.local.sandbox.server import Sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lamina.bytecode.interpreter import Interpreter
    from lamina.core.reporter import Reporter
    from lamina.core.target import Target

__all__ = ["started"]


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
