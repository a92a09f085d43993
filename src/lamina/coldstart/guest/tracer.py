"""
Watch a process import: who is imported by whom and for how long, what is compiled, and which files are opened.

Runs before the runtime client, on Python 3.9 or later. It imports only what every interpreter has loaded already, or the handler's
own imports would be cheaper than they are. After each outermost import it writes one line, a Python literal, to the given descriptor.
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
    """Begin to watch, and report to *descriptor*."""
    find_and_load = _frozen_importlib._find_and_load  # type: ignore[attr-defined]  # noqa: SLF001 - where every import passes
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
            # Each import on the way out sees the same error; the innermost saw it first.
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
        # Other threads go on importing meanwhile: each row is told once, and each line is whole.
        with telling:
            rows = [(*row, *_origin(modules.get(row[2]))) for row in _taken(finished)]
            data = repr({"imports": rows, "failed": _taken(failed), **files.take()}).encode() + b"\n"
            while data:
                data = data[os.write(descriptor, data) :]

    sys.addaudithook(files.watch)
    _frozen_importlib._find_and_load = traced  # type: ignore[attr-defined]  # noqa: SLF001


class Files:
    """Which files of the layer and the package are opened, and which are compiled."""

    def __init__(self) -> None:
        # Lambda's order of the search path: the function, then twice the layer.
        self.inside = (os.environ["LAMBDA_TASK_ROOT"] + "/", sys.path[2].rpartition("/")[0] + "/")
        self.opened: set[str] = set()
        self.compiled: set[str] = set()
        self.told: set[str] = set()
        self.told_compiled: set[str] = set()

    def watch(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Take note of an audit event; most are of no interest, and there are thousands."""
        if event == "open":
            path, names = arguments[0], self.opened
        elif event == "import" or event == "compile":  # noqa: PLR1714 - a membership test costs more
            path, names = arguments[1], self.opened if event == "import" else self.compiled
        else:
            return
        if path.__class__ is str and path.startswith(self.inside):
            names.add(path)

    def take(self) -> dict[str, Any]:
        """Return what is new since the last time."""
        new = (self.opened | set(_mapped(self.inside))) - self.told
        self.told |= new
        compiled = self.compiled - self.told_compiled
        self.told_compiled |= compiled
        return {"files": [(path, _size(path)) for path in new], "compiled": sorted(compiled)}


def _taken(rows: list[Any]) -> list[Any]:
    """Return all *rows* there are, and remove just these: more may be added at any moment."""
    taken = rows[:]
    del rows[: len(taken)]
    return taken


def _origin(module: Any) -> tuple[str | None, bool]:
    """Return the file that *module* came from, or a directory of a package without one; never asks the module itself, which may be lazy."""
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
        # Opening was tried, and there was nothing.
        return 0


def _mapped(inside: tuple[str, str]) -> list[str]:
    """Return the libraries that the dynamic linker took from the layer or the package; Python does not learn of them."""
    try:
        with open("/proc/self/maps") as stream:
            return [path for line in stream if (path := line[line.find("/") :].rstrip("\n")).startswith(inside)]
    except OSError:
        return []
