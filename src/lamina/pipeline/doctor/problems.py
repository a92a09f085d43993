"""Collect what prevents builds, instead of stopping at the first error."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from lamina.core.errors import LaminaError

if TYPE_CHECKING:
    from collections.abc import Iterator


class Problems:
    """The errors that a build on this machine would end with. Each is listed once."""

    def __init__(self) -> None:
        self._found: dict[str, LaminaError] = {}

    def __iter__(self) -> Iterator[LaminaError]:
        return iter(self._found.values())

    def add(self, error: LaminaError) -> None:
        """Add *error*."""
        self._found.setdefault(str(error), error)

    @contextmanager
    def collected(self) -> Iterator[None]:
        """Add a `LaminaError` of the context instead of raising it."""
        try:
            yield
        except LaminaError as error:
            self.add(error)
