"""
Record the imports of a process with their nesting and durations, the modules that are compiled, and the files that are opened.

Runs before the runtime client, on Python 3.9 or later. The tracer imports only modules that Python has already loaded. If it
imported another module first, the record would lack the time that the handler needs to import that module. After each outermost import,
the tracer writes one line, a Python literal, to a file descriptor.
"""

from __future__ import annotations

import _frozen_importlib
import _thread
import os
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def install(descriptor: int) -> None:
    """Start recording, and write the report to the file descriptor *descriptor*."""
    find_and_load = _frozen_importlib._find_and_load  # type: ignore[attr-defined]  # noqa: SLF001 - all imports call this function
    clock, thread, modules = time.perf_counter_ns, _thread.get_ident, sys.modules
    numbers = iter(range(1 << 60))
    stacks: dict[int, list[Any]] = {}
    finished: list[Any] = []
    failed: list[Any] = []
    seen = [0]
    telling = _thread.RLock()
    files = Files()

    def traced(name: str, import_: Any) -> Any:
        if name in modules:
            return find_and_load(name, import_)
        stack = stacks.setdefault(thread(), [])
        row = [next(numbers), stack[-1][0] if stack else -1, name, 0, 0, True]
        stack.append(row)
        row[3] = clock()
        try:
            return find_and_load(name, import_)
        except BaseException as error:
            row[5] = False
            # The error passes through all enclosing imports. Only the innermost one, which comes first, is recorded.
            if isinstance(error, ModuleNotFoundError) and id(error) != seen[0]:
                seen[0] = id(error)
                failed.append((error.name, [each[2] for each in stack]))
            raise
        finally:
            row[4] = clock()
            stack.pop()
            finished.append(row)
            if not stack:
                tell()

    def tell() -> None:
        # Other threads may import at the same time. The lock makes sure that each row is written once and each line is complete.
        with telling:
            rows = [(*row, *_origin(modules.get(row[2]))) for row in _taken(finished)]
            data = repr({"imports": rows, "failed": _taken(failed), **files.take()}).encode() + b"\n"
            while data:
                data = data[os.write(descriptor, data) :]

    sys.addaudithook(files.watch)
    _frozen_importlib._find_and_load = traced  # type: ignore[attr-defined]  # noqa: SLF001


class Files:
    """The files of the layer and the function package that the process has opened, mapped into memory or compiled."""

    def __init__(self) -> None:
        # The search path starts with the function package and two directories of the layer.
        self.inside = (os.environ["LAMBDA_TASK_ROOT"] + "/", sys.path[2].rpartition("/")[0] + "/")
        self.opened: set[str] = set()
        self.compiled: set[str] = set()
        self.told: set[str] = set()
        self.told_compiled: set[str] = set()

    def watch(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Record the file of an audit event if it is in the layer or the package. This runs for thousands of events, so it must be fast."""
        if event == "open":
            path, names = arguments[0], self.opened
        elif event == "import" or event == "compile":  # noqa: PLR1714 - a membership test costs more
            path, names = arguments[1], self.opened if event == "import" else self.compiled
        else:
            return
        if path.__class__ is str and path.startswith(self.inside):
            names.add(path)

    def take(self) -> dict[str, Any]:
        """Return the opened files, with their sizes in bytes, and the compiled files. Each file is returned by one call only."""
        new = (self.opened | set(_mapped(self.inside))) - self.told
        self.told |= new
        compiled = self.compiled - self.told_compiled
        self.told_compiled |= compiled
        return {"files": [(path, _size(path)) for path in new], "compiled": sorted(compiled)}


def _taken(rows: list[Any]) -> list[Any]:
    """Remove all rows from the list *rows*, and return them. Rows that other threads append during the call stay in the list."""
    taken = rows[:]
    del rows[: len(taken)]
    return taken


def _origin(module: Any) -> tuple[str | None, bool]:
    """
    Return the file of *module*, and whether it is a namespace package.

    The file of a namespace package is its first directory; ``None`` if the module has no file or was not imported.
    Only the module's ``__dict__`` is read, because reading an attribute would load a lazy module.
    """
    spec = vars(module).get("__spec__") if isinstance(module, type(sys)) else None
    if spec is None:
        return None, False
    if spec.has_location:
        return spec.origin, False
    places = spec.submodule_search_locations
    if places is None:
        return None, False
    return next(iter(places), None), True


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        # The process tried to open a file that does not exist.
        return 0


def _mapped(inside: tuple[str, str]) -> list[str]:
    """Return the libraries that the dynamic linker loaded from the layer or the package; Python has no audit events for them."""
    try:
        with open("/proc/self/maps") as stream:
            return [path for line in stream if (path := line[line.find("/") :].rstrip("\n")).startswith(inside)]
    except OSError:
        return []
