"""Manage the interpreter of the target's minor version, and its processes during one build."""

from __future__ import annotations

from contextlib import ExitStack
from functools import cached_property
from typing import TYPE_CHECKING, Self

from lamina.bytecode.interpreter import cache_in, find, search

if TYPE_CHECKING:
    from lamina.bytecode.compiler import Compiler
    from lamina.bytecode.installation import Installer
    from lamina.bytecode.interpreter import Interpreter
    from lamina.core.store import Store


class Toolchain:
    """
    The target's interpreter, searched for when first needed; a context manager.

    lamina never uses another minor version instead, so a layer is the same on every machine.
    """

    def __init__(self, python: tuple[int, int], store: Store, *, installer: Installer | None = None) -> None:
        """
        Use an interpreter of the minor version *python*. Once found, it is remembered in *store*.

        If there is none, *installer* may install it.
        """
        self.python = python
        self._store = store
        self._installer = installer
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @cached_property
    def is_installed(self) -> bool:
        """Whether this machine has the interpreter. Raises ConfigError if the one in the environment is unsuitable."""
        return search(self.python, cache=cache_in(self._store)) is not None

    @cached_property
    def interpreter(self) -> Interpreter:
        """
        The interpreter that compiles and scans sources.

        Raises BytecodeError if there is none, and ConfigError if the one that the environment specifies is unsuitable.
        """
        if self._installer is not None:
            return self._installer.provide(self.python, self._store)
        return find(self.python, cache=cache_in(self._store))

    @property
    def release(self) -> tuple[int, int, int]:
        """The interpreter's version: major, minor and patch release. Raises the errors of `interpreter`."""
        return self.interpreter.version

    @cached_property
    def compiler(self) -> Compiler:
        """The processes that compile and scan sources. Raises the errors of `interpreter`."""
        from lamina.bytecode.compiler import Compiler

        return self._stack.enter_context(Compiler(self.interpreter))
