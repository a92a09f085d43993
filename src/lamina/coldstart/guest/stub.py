"""
Provide empty modules in place of missing ones, so that a function that imports them can start and be measured.

Runs before the tracer, on Python 3.9 or later, and imports only built-in modules. Modules that exist are imported as usual.
"""

from __future__ import annotations

import _frozen_importlib
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Anything(type):
    """The metaclass of `Nothing`, so that code can call, index, compare, iterate over and subclass `Nothing` without an error."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        return Nothing

    def __call__(cls, *arguments: Any, **keywords: Any) -> Any:
        """Return the argument if it is the only one and callable, so that decorators work, else `Nothing`. Subclasses are instantiated."""
        if cls is not Nothing:
            return super().__call__(*arguments, **keywords)
        return arguments[0] if len(arguments) == 1 and callable(arguments[0]) and not keywords else Nothing

    def __getitem__(cls, key: Any) -> Any:
        return Nothing

    def __or__(cls, other: Any) -> Any:
        return Nothing

    __ror__ = __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = __or__

    def __lt__(cls, other: Any) -> bool:
        return False

    __gt__ = __le__ = __ge__ = __lt__

    def __iter__(cls) -> Any:
        return iter(())

    def __len__(cls) -> int:
        return 0

    def __enter__(cls) -> Any:
        return Nothing

    def __exit__(cls, *arguments: object) -> None:
        pass


class Nothing(metaclass=Anything):
    """The value of each attribute of an empty module."""


class Empty(type(sys)):  # type: ignore[misc]
    """An empty module. Every attribute has the value `Nothing`, except special names such as ``__all__``, which are missing."""

    __version__ = "0"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        return Nothing


class Finder:
    """
    An import finder that provides empty modules for *names*, their submodules and their parent packages.

    It must be last in ``sys.meta_path``, so that modules that exist are found first.
    """

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names

    def find_spec(self, name: str, _path: object = None, _target: object = None) -> Any:
        """Return the spec of an empty module if this finder provides *name*, else ``None``."""
        for known in self.names:
            if name == known or name.startswith(known + ".") or known.startswith(name + "."):
                return _frozen_importlib.ModuleSpec(name, self, is_package=True)  # type: ignore[arg-type]
        return None

    def create_module(self, spec: Any) -> Any:
        """Return an empty module with the name in *spec*."""
        return Empty(spec.name)

    def exec_module(self, module: Any) -> None:
        """Execute no code, because the module stays empty."""


def install_stubs(names: tuple[str, ...]) -> None:
    """Provide an empty module whenever one of the missing modules *names* is imported."""
    sys.meta_path.append(Finder(names))
