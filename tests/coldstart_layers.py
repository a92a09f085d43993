"""Members of layers as distributions leave them, for measuring what they take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from lamina.local.environment import Mode

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from lamina.coldstart.measure import Subject

HANDLER = "def handler(event, context): return event\n"


def distribution(name: str, files: Mapping[str, str], *, version: str = "1.0") -> dict[str, str]:
    """The members of a layer that a wheel of *name* would have become."""
    info = f"{name.replace('-', '_')}-{version}.dist-info"
    record = "".join(f"{path},,\n" for path in (*files, f"{info}/RECORD"))
    return {f"python/{path}": content for path, content in files.items()} | {f"python/{info}/RECORD": record}


class MakeSubjects(Protocol):
    """What makes functions ready to be measured."""

    def __call__(
        self,
        package: Mapping[str, str] | str,
        layer: Mapping[str, str],
        *,
        handlers: Mapping[str, str] | None = None,
        mode: Mode = Mode.AUTO,
    ) -> tuple[Subject, ...]:
        """Build, unpack and return the functions."""
        ...


def share_runtime(project: Path, shared: Path) -> None:
    """Let *project* use the runtime client that another test's project has compiled, or will."""
    shared.mkdir(exist_ok=True)
    local = project / ".lamina" / "local"
    local.mkdir(parents=True, exist_ok=True)
    (local / "runtime").symlink_to(shared)
