"""
Compile Python sources with an interpreter of the target's minor version, and find their imports. The results are reproducible.

The bytes of the bytecode depend only on the source, its file name, the `Invalidation` and the interpreter's version. They do not depend
on the working directory, the hash seed, the number of processes, or the sources compiled before.
"""

from __future__ import annotations

import json
import os
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lamina.bytecode.bounds import TOO_LARGE, is_too_large
from lamina.bytecode.interpreter import magic_number
from lamina.bytecode.workers import Program, Workers
from lamina.core.errors import BytecodeError
from lamina.core.frozen import frozen

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from lamina.bytecode.bounds import ProcessBounds
    from lamina.bytecode.interpreter import Interpreter

_COMPILE = Path(__file__).with_name("compile_worker.py")
_SCAN = Path(__file__).parent / "imports" / "scan.py"
_MODULES = Program(Path(__file__).with_name("module_worker.py"), parts=(_COMPILE, _SCAN))
# These two run nothing else, because other code changes which strings are interned (see `compile_worker.py`).
_FORK, _ONCE = Program(_COMPILE, "fork"), Program(_COMPILE, "once")
_REFUSED, _COMPILED, _NEEDS_FRESH_PROCESS, _NOT_COMPILED, _EXHAUSTED = range(5)


class Invalidation(Enum):
    """How Python validates a hash-based bytecode file when importing it (PEP 552). The value is the file's flags field."""

    UNCHECKED = 0b01
    """Python uses the bytecode without reading the source. For sources that never change, such as those of a layer."""
    CHECKED = 0b11
    """Python first compares the source's hash. For sources that can change, such as code edited in the Lambda console."""


@frozen
class Compiled:
    """The result of compiling one source."""

    path: str
    """The source's path, relative to the import root."""
    bytecode: bytes | None
    """The bytecode file, or ``None`` if the source does not compile."""
    reason: str | None = None
    """The interpreter's error message if the source does not compile, otherwise ``None``."""


def bytecode_path(source: str, python: tuple[int, int]) -> str:
    """Return the path at which the minor version *python* looks for the bytecode of the file *source* (PEP 3147)."""
    directory, slash, name = source.rpartition("/")
    return f"{directory}{slash}__pycache__/{name.removesuffix('.py')}.cpython-{python[0]}{python[1]}.pyc"


class Compiler(Workers):
    """
    A pool of processes that compile and scan sources, started with the first source; a context manager.

    Raises `BytecodeError` if the interpreter is a pre-release with other bytecode than the release, or if lamina does not
    support bytecode for its minor version.
    """

    def __init__(
        self,
        interpreter: Interpreter,
        *,
        jobs: int | None = None,
        bounds: ProcessBounds | None = None,
        forks: bool = hasattr(os, "fork"),
    ) -> None:
        """
        Process up to *jobs* sources at once, within *bounds*; `Workers` has the defaults.

        Some sources need a fresh process: a fork of a running interpreter, or without *forks*, a new interpreter.
        """
        wanted = magic_number(interpreter.version[:2])
        if interpreter.magic != wanted:
            version = ".".join(map(str, interpreter.version))
            minor = version.rpartition(".")[0]
            raise BytecodeError(
                f"`{interpreter.path}` (CPython {version}) writes bytecode with magic number {interpreter.magic}, "
                f"but Python {minor} on Lambda reads {wanted}",
                hint=f'install a release instead of a pre-release with `uv python install {minor}`, or set `bytecode = "none"`',
            )
        super().__init__(interpreter, jobs=jobs, bounds=bounds)
        self._forks = forks

    def compile(
        self, sources: Iterable[tuple[str, bytes]], *, root: str, invalidation: Invalidation = Invalidation.UNCHECKED
    ) -> Iterator[Compiled]:
        """
        Compile *sources* (pairs of path and content), and yield the results in the same order.

        *root* is the directory that tracebacks show before each path: absolute, with a slash at the end, such as
        ``/opt/python/``. *sources* is consumed as needed. A source that is too large is not compiled: `is_too_large` decides that.
        Raises `BytecodeError` if the interpreter fails to run, or if a source takes more than the memory or the time that there is.
        """
        return self.map(
            lambda source: self._compiled(source[0], source[1], root=root, invalidation=invalidation), sources
        )

    def scan(self, path: str, source: bytes, *, root: str | None = None) -> tuple[list[Any], Compiled | None]:
        """
        Return the imports of *source*, as JSON values for `lamina.bytecode.imports.scan.decode`, and its bytecode.

        The bytecode is as `compile` returns it, or ``None`` without a *root*. Call this in a thread of this pool, with `submit`
        or `map`. *source* must not be too large. Raises `BytecodeError` like `compile`.
        """
        request = _request((root or "") + path, source, None if root is None else Invalidation.UNCHECKED)
        worker = self.mine(_MODULES)
        state, answer = worker.ask(bytes((self.interpreter.version[1],)) + request, path)
        if state == _EXHAUSTED:
            raise worker.exhausted(path)
        imports, rest = _split(answer)
        try:
            row = json.loads(imports)
        except (RecursionError, ValueError) as error:
            raise worker.failure("its answer cannot be understood") from error
        return row, None if root is None else self._result(path, state, rest, request)

    def _compiled(self, path: str, source: bytes, *, root: str, invalidation: Invalidation) -> Compiled:
        if is_too_large(source):
            return Compiled(path=path, bytecode=None, reason=TOO_LARGE)
        request = _request(root + path, source, invalidation)
        state, answer = self.mine(_MODULES).ask(b"\0" + request, path)
        return self._result(path, state, _split(answer)[1], request)

    def _result(self, path: str, state: int, answer: bytes, request: bytes) -> Compiled:
        """Return the result in *answer*, compiling *request* again in a fresh process if *state* demands it."""
        if state == _NEEDS_FRESH_PROCESS:
            state, answer = self.mine(_FORK).ask(request, path) if self._forks else self.once(request, _ONCE, path)
        if state == _COMPILED:
            return Compiled(path=path, bytecode=answer)
        if state == _EXHAUSTED:
            raise self.mine(_MODULES).exhausted(path)
        if state != _REFUSED:
            raise self.mine(_MODULES).failure("its answer cannot be understood")
        return Compiled(path=path, bytecode=None, reason=answer.decode("utf-8", "replace"))


def _split(answer: bytes) -> tuple[bytes, bytes]:
    """Return the imports in *answer*, an answer of `module_worker.py`, and the bytecode file or the reason."""
    end = 4 + int.from_bytes(answer[:4], "little")
    return answer[4:end], answer[end:]


def _request(filename: str, source: bytes, invalidation: Invalidation | None) -> bytes:
    """Return a request to `compile_worker.py`; without *invalidation*, nothing is compiled."""
    name = filename.encode("utf-8")
    lengths = len(name).to_bytes(4, "little") + len(source).to_bytes(4, "little")
    return bytes((invalidation.value if invalidation else 0,)) + lengths + name + source
