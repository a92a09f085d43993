"""
Let imports of modules that are not there succeed with something empty, so that what imports them can be measured without them.

Runs before the tracer, on Python 3.9 or later, and imports nothing itself. What is really there is always preferred.
"""

from __future__ import annotations

import _frozen_importlib
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Anything(type):
    """A class of nothing in particular: calling, indexing, comparing and subclassing it all work and mean nothing."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        return Nothing

    def __call__(cls, *arguments: Any, **keywords: Any) -> Any:
        """Return nothing in particular, or what is decorated."""
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
    """What every attribute of an empty module is."""


class Empty(type(sys)):  # type: ignore[misc]
    """A module that has whatever it is asked for."""

    __version__ = "0"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        return Nothing


class Finder:
    """Finds the modules *names*, everything below them and the packages above them; it is asked last."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names

    def find_spec(self, name: str, _path: object = None, _target: object = None) -> Any:
        """Return how to load *name*, or nothing."""
        for known in self.names:
            if name == known or name.startswith(known + ".") or known.startswith(name + "."):
                return _frozen_importlib.ModuleSpec(name, self, is_package=True)  # type: ignore[arg-type]
        return None

    def create_module(self, spec: Any) -> Any:
        """Return an empty module."""
        return Empty(spec.name)

    def exec_module(self, module: Any) -> None:
        """Leave it empty."""


def install_stubs(names: tuple[str, ...]) -> None:
    """Let *names* be found."""
    sys.meta_path.append(Finder(names))
