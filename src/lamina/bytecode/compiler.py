"""
Compile Python sources with an interpreter of the target's minor version. The resulting bytes are reproducible.

The bytes depend only on the source, its file name, the `Invalidation` and the interpreter's version. They do not depend
on the working directory, the hash seed, the number of processes, or the sources compiled before.
"""

from __future__ import annotations

import os
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.bytecode.interpreter import magic_number
from lamina.bytecode.workers import Workers
from lamina.core.errors import BytecodeError
from lamina.core.frozen import frozen

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from lamina.bytecode.interpreter import Interpreter

_PROGRAM = Path(__file__).with_name("compile_worker.py")
_REFUSED, _COMPILED, _NEEDS_FRESH_PROCESS = range(3)


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
    A pool of compiler processes, started with the first source; a context manager.

    Raises `BytecodeError` if the interpreter is a pre-release with other bytecode than the release, or if lamina does not
    support bytecode for its minor version.
    """

    def __init__(self, interpreter: Interpreter, *, jobs: int | None = None, forks: bool = hasattr(os, "fork")) -> None:
        """
        Compile up to *jobs* sources at once (default: one per processor).

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
        super().__init__(interpreter, _PROGRAM, jobs=jobs)
        self._forks = forks

    def compile(
        self, sources: Iterable[tuple[str, bytes]], *, root: str, invalidation: Invalidation = Invalidation.UNCHECKED
    ) -> Iterator[Compiled]:
        """
        Compile *sources* (pairs of path and content), and yield the results in the same order.

        *root* is the directory that tracebacks show before each path: absolute, with a slash at the end, such as
        ``/opt/python/``. *sources* is consumed as needed. Raises `BytecodeError` if the interpreter fails to run.
        """
        return self.map(
            lambda source: self._compile(source[0], _request(root + source[0], source[1], invalidation)), sources
        )

    def _compile(self, path: str, request: bytes) -> Compiled:
        state, answer = self.mine("quick").ask(request)
        if state == _NEEDS_FRESH_PROCESS:
            state, answer = self.mine("fork").ask(request) if self._forks else self.once(request, "once")
        if state == _COMPILED:
            return Compiled(path=path, bytecode=answer)
        return Compiled(path=path, bytecode=None, reason=answer.decode("utf-8", "replace"))


def _request(filename: str, source: bytes, invalidation: Invalidation) -> bytes:
    name = filename.encode("utf-8")
    lengths = len(name).to_bytes(4, "little") + len(source).to_bytes(4, "little")
    return bytes((invalidation.value,)) + lengths + name + source
