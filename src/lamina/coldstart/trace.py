"""Provide the source of the tracer that runs in a function's process, and read the imports from its report."""

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
    """The part of a function's environment that a module was loaded from."""

    LAYER = "layer"
    PACKAGE = "package"
    RUNTIME = "runtime"
    """The runtime client, which Lambda provides."""
    STANDARD_LIBRARY = "standard-library"


@dataclass(frozen=True, kw_only=True, slots=True)
class File:
    """A file that the process opened, mapped into memory or compiled."""

    place: ModuleOrigin
    path: str
    """The path relative to the directory of *place*; an absolute path for the standard library."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TracedImport:
    """One import of a module that was not loaded yet."""

    module: str
    parent: int | None
    """Index in `Trace.imports` of the import during which this one started; ``None`` for an outermost import."""
    begin_ns: int
    """Nanoseconds from the start of the first import to the start of this one."""
    duration_ns: int
    self_ns: int
    """The duration in nanoseconds, without nested imports."""
    file: File | None
    """The file of the module; ``None`` if the import failed, or if the module has no file."""
    is_namespace: bool
    """Whether the module is a namespace package, so that *file* is a directory."""
    ok: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Trace:
    """The imports and files of one process, from its start until it was ended."""

    imports: tuple[TracedImport, ...]
    compiled: tuple[File, ...]
    """Source files of the layer and the package that Python compiled because they had no bytecode."""
    files: tuple[tuple[File, int], ...]
    """Files of the layer and the package that were opened or mapped into memory, with their sizes in bytes."""
    missing: tuple[tuple[str, tuple[str, ...]], ...]
    """Modules that were not found, each with its import chain: the imports in progress at that time, outermost first."""

    @property
    def layer_modules(self) -> frozenset[str]:
        """Names of the modules that were imported from the layer, without namespace packages."""
        return frozenset(
            each.module
            for each in self.imports
            if each.ok and not each.is_namespace and each.file is not None and each.file.place is ModuleOrigin.LAYER
        )

    @property
    def outermost_ns(self) -> int:
        """The total import time in nanoseconds: the sum of the durations of all outermost imports."""
        return sum(each.duration_ns for each in self.imports if each.parent is None)


def prelude(*, traced: bool, stubbed: Sequence[str] = ()) -> str | None:
    """
    Return Python source to run in a function's process before the handler, or ``None`` if there is nothing to do.

    With *traced*, the source starts the tracer. It also provides empty modules in place of the missing modules *stubbed*.
    """
    parts = [_source("stub"), f"install_stubs({tuple(stubbed)!r})\n"] if stubbed else []
    parts += [_source("tracer"), "install(report_fd)\n"] if traced else []
    return "".join([_FUTURE, *parts]) if parts else None


def _source(name: str) -> str:
    text = (Path(__file__).parent / "guest" / f"{name}.py").read_text(encoding="utf-8")
    # This import must come first in a source, so `prelude` adds it once before the combined sources.
    return text.replace(_FUTURE, "")


def read(report: bytes, directories: Directories) -> Trace:
    """
    Parse *report*, which the tracer wrote. *directories* are the function's directories, as the traced process accessed them.

    Raises `InvokeError` if the report contains a line that the tracer did not write.
    """
    # If the process was ended while it wrote, the last line is incomplete and is ignored.
    lines = report[: report.rfind(b"\n") + 1].splitlines()
    try:
        return _trace([ast.literal_eval(line.decode()) for line in lines], directories)
    # Whatever the function wrote can be a literal of any type and depth.
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        MemoryError,
        RecursionError,
        SyntaxError,
        TypeError,
        ValueError,
    ) as error:
        raise InvokeError(
            "failed to read the recorded imports: the function also wrote to the file descriptor that records them",
            hint="check that the function writes only to file descriptors that it opened itself",
        ) from error


def _trace(told: list[dict[str, Any]], directories: Directories) -> Trace:
    rows = [tuple(row) for each in told for row in each["imports"]]
    compiled = {path for each in told for path in each["compiled"]}
    files = {path: size for each in told for path, size in dict(each["files"]).items()}
    return Trace(
        imports=_imports(sorted(rows), directories),
        compiled=tuple(_file(path, directories) for path in sorted(compiled)),
        files=tuple((_file(path, directories), size) for path, size in sorted(files.items())),
        missing=tuple((name, tuple(chain)) for each in told for name, chain in each["failed"] if name),
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
