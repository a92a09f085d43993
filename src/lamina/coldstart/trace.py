"""Trace a process: the source that runs in it, and the imports that this saw, each with the place of its file. Adds nothing up."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lamina.core.errors import InvokeError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lamina.local.facts import Directories

_FUTURE = "from __future__ import annotations\n"


class ModuleOrigin(StrEnum):
    """Where a module came from."""

    LAYER = "layer"
    PACKAGE = "package"
    RUNTIME = "runtime"
    """The runtime client, which Lambda brings along."""
    STANDARD_LIBRARY = "standard-library"


@dataclass(frozen=True, kw_only=True, slots=True)
class File:
    """A file that the process looked at."""

    place: ModuleOrigin
    path: str
    """Relative to the place's directory; as it was for the standard library."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TracedImport:
    """One import that was not yet done when it was asked for."""

    module: str
    parent: int | None
    """Index of the import during which this one was made."""
    begin_ns: int
    """Since the first import."""
    duration_ns: int
    self_ns: int
    """Without the imports that it made."""
    file: File | None
    """``None`` where nothing was loaded, or what was loaded has no file."""
    is_namespace: bool
    """Whether *file* is a directory without a module of its own."""
    ok: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Trace:
    """What one process imported up to its first event, or beyond."""

    imports: tuple[TracedImport, ...]
    compiled: tuple[File, ...]
    """Sources of the layer and the package that were compiled because there was no bytecode for them."""
    files: tuple[tuple[File, int], ...]
    """Files of the layer and the package that were opened or mapped, with their sizes in bytes."""
    missing: tuple[tuple[str, tuple[str, ...]], ...]
    """Modules that were looked for and not found, each with those that were being imported then, from the outermost."""

    @property
    def layer_modules(self) -> frozenset[str]:
        """The modules of the layer that were imported."""
        return frozenset(
            each.module
            for each in self.imports
            if each.ok and not each.is_namespace and each.file is not None and each.file.place is ModuleOrigin.LAYER
        )

    @property
    def outermost_ns(self) -> int:
        """The time of all imports together."""
        return sum(each.duration_ns for each in self.imports if each.parent is None)


def prelude(*, traced: bool, stubbed: Sequence[str] = ()) -> str | None:
    """Return source to run in a process before its handler: the tracer, and empty modules instead of *stubbed*; nothing if neither."""
    parts = [_source("stub"), f"install_stubs({tuple(stubbed)!r})\n"] if stubbed else []
    parts += [_source("tracer"), "install(report_fd)\n"] if traced else []
    return "".join([_FUTURE, *parts]) if parts else None


def _source(name: str) -> str:
    text = (Path(__file__).parent / "guest" / f"{name}.py").read_text(encoding="utf-8")
    # One source may have this line only at its beginning, and so may their sum.
    return text.replace(_FUTURE, "")


def read(report: bytes, directories: Directories) -> Trace:
    """
    Return what the tracer wrote into *report*, of a process that saw *directories*.

    Raises InvokeError if a line is not the tracer's.
    """
    rows: list[tuple[Any, ...]] = []
    compiled: set[str] = set()
    files: dict[str, int] = {}
    missing: list[tuple[str, tuple[str, ...]]] = []
    # A process that is ended in the middle of a line leaves it without its end.
    for line in report[: report.rfind(b"\n") + 1].splitlines():
        try:
            told: dict[str, Any] = ast.literal_eval(line.decode())
        except (ValueError, SyntaxError) as error:
            raise InvokeError("The tracer's report cannot be read: something else wrote to its descriptor") from error
        rows += told["imports"]
        compiled |= set(told["compiled"])
        files |= dict(told["files"])
        missing += [(name, tuple(chain)) for name, chain in told["failed"] if name]
    return Trace(
        imports=_imports(sorted(rows), directories),
        compiled=tuple(_file(path, directories) for path in sorted(compiled)),
        files=tuple((_file(path, directories), size) for path, size in sorted(files.items())),
        missing=tuple(missing),
    )


def _imports(rows: list[tuple[Any, ...]], directories: Directories) -> tuple[TracedImport, ...]:
    index = {row[0]: position for position, row in enumerate(rows)}
    within = dict.fromkeys(index, 0)
    for _, parent, _, began, ended, *_ in rows:
        if parent in within:
            within[parent] += ended - began
    first = min((row[3] for row in rows), default=0)
    return tuple(
        TracedImport(
            module=name,
            parent=index.get(parent),
            begin_ns=began - first,
            duration_ns=ended - began,
            self_ns=max(0, ended - began - within[number]),
            file=_file(origin, directories) if origin is not None else None,
            is_namespace=is_namespace,
            ok=ok,
        )
        for number, parent, name, began, ended, ok, origin, is_namespace in rows
    )


def _file(path: str, directories: Directories) -> File:
    for place, directory in (
        (ModuleOrigin.PACKAGE, directories.task),
        (ModuleOrigin.LAYER, directories.opt),
        (ModuleOrigin.RUNTIME, directories.runtime),
    ):
        if path.startswith(f"{directory}/"):
            return File(place=place, path=path[len(directory) + 1 :])
    return File(place=ModuleOrigin.STANDARD_LIBRARY, path=path)
