"""The interpreter of the target's minor version, and the processes of it that one build needs."""

from __future__ import annotations

from contextlib import ExitStack
from functools import cached_property
from typing import TYPE_CHECKING, Self

from lamina.bytecode.interpreter import find

if TYPE_CHECKING:
    from lamina.bytecode.compiler import Compiler
    from lamina.bytecode.imports.index import Scanner
    from lamina.bytecode.interpreter import Interpreter
    from lamina.core.store import Store


class Toolchain:
    """
    The target's interpreter, looked for when the first stage needs it; a context manager.

    Finding none is a `BytecodeError` then, and never a layer that differs from another machine's.
    """

    def __init__(self, python: tuple[int, int], store: Store) -> None:
        """Look for the minor *python*, and remember in *store* where it was."""
        self.python = python
        self._store = store
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @cached_property
    def interpreter(self) -> Interpreter:
        """What runs the compiler."""
        return find(self.python, cache=self._store.root / "interpreters.json")

    @property
    def release(self) -> tuple[int, int, int]:
        """The interpreter's version."""
        return self.interpreter.version

    @cached_property
    def scanner(self) -> Scanner:
        """Reads sources for what they import."""
        from lamina.bytecode.imports.index import Scanner

        return self._stack.enter_context(Scanner(self.interpreter))

    @cached_property
    def compiler(self) -> Compiler:
        """Compiles sources."""
        from lamina.bytecode.compiler import Compiler

        return self._stack.enter_context(Compiler(self.interpreter))
