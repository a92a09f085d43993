"""Create layers with installed distributions for tests of cold start measurements."""

from __future__ import annotations

import os
import shutil
import sys
from importlib.util import MAGIC_NUMBER
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from lamina.bytecode.interpreter import Interpreter
from lamina.local import runtime_client
from lamina.local.environment import Mode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lamina.coldstart.measure import Subject

HANDLER = "def handler(event, context): return event\n"


def distribution(name: str, files: Mapping[str, str], *, version: str = "1.0") -> dict[str, str]:
    """Return the entries of a layer with the installed distribution *name*."""
    info = f"{name.replace('-', '_')}-{version}.dist-info"
    record = "".join(f"{path},,\n" for path in (*files, f"{info}/RECORD"))
    return {f"python/{path}": content for path, content in files.items()} | {f"python/{info}/RECORD": record}


class MakeSubjects(Protocol):
    """A fixture that prepares functions for measuring."""

    def __call__(
        self,
        package: Mapping[str, str] | str,
        layer: Mapping[str, str],
        *,
        handlers: Mapping[str, str] | None = None,
        mode: Mode = Mode.AUTO,
    ) -> tuple[Subject, ...]:
        """Build and unpack a service, and return its functions."""
        ...


def share_runtime(project: Path, shared: Path) -> None:
    """Make *project* use the compiled runtime client in *shared*, so that it is compiled only once."""
    interpreter = Interpreter(path=Path(sys.executable), version=sys.version_info[:3], magic=MAGIC_NUMBER.hex())
    made = runtime_client.provide(shared, interpreter)
    shutil.copytree(made, project / ".lamina" / "local" / "runtime" / made.name, copy_function=os.link)
