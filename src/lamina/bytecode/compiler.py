"""
Compile Python sources by an interpreter of the target's minor version, to the same bytes whatever else is compiled.

The bytes depend on the source, the name it is compiled under and the interpreter's version; not on directory, hash seed,
order or number of processes.
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
    """What the import system does before it trusts a hash-based bytecode file (PEP 552); the value is its flags."""

    UNCHECKED = 0b01
    """Nothing: for sources that never change, such as a layer's."""
    CHECKED = 0b11
    """Hash the source: for sources that may be edited where they run, such as a function's in the console."""


@frozen
class Compiled:
    """What became of one source."""

    path: str
    """The source's path, relative to the root it is compiled for."""
    bytecode: bytes | None
    """The bytecode file, or ``None`` where the interpreter refuses the source."""
    reason: str | None = None
    """Why it was refused, in the interpreter's words."""


def bytecode_path(source: str, python: tuple[int, int]) -> str:
    """Return where the minor *python* looks for the bytecode of the file *source* (PEP 3147)."""
    directory, slash, name = source.rpartition("/")
    return f"{directory}{slash}__pycache__/{name.removesuffix('.py')}.cpython-{python[0]}{python[1]}.pyc"


class Compiler(Workers):
    """
    Processes of one interpreter that compile, started when the first source comes; a context manager.

    Raises `BytecodeError` for an interpreter whose bytecode the target would not read.
    """

    def __init__(self, interpreter: Interpreter, *, jobs: int | None = None, forks: bool = hasattr(os, "fork")) -> None:
        """Use *jobs* processes (default: one for each processor); without *forks* some sources cost a process each."""
        wanted = magic_number(interpreter.version[:2])
        if interpreter.magic != wanted:
            version = ".".join(map(str, interpreter.version))
            raise BytecodeError(
                f"`{interpreter.path}` (CPython {version}) writes bytecode with magic number {interpreter.magic}, "
                f"and the target reads {wanted}",
                hint='it is not a release: install one, or build without bytecode: bytecode = "none"',
            )
        super().__init__(interpreter, _PROGRAM, jobs=jobs)
        self._forks = forks

    def compile(
        self, sources: Iterable[tuple[str, bytes]], *, root: str, invalidation: Invalidation = Invalidation.UNCHECKED
    ) -> Iterator[Compiled]:
        """
        Compile *sources*, pairs of path and content, as the files they will be below *root*; yield in the same order.

        *root* is absolute and ends with a slash (``/opt/python/``): tracebacks name it. Sources are drawn as they are needed.
        Raises `BytecodeError` if the interpreter cannot be run.
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
