"""Express the settings of a function, known or unknown, in one way for all readers of deploy descriptions."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from lamina.core.frozen import frozen
from lamina.project.external import is_layer_version
from lamina.project.templates.types import LayerReference, UnknownSetting

if TYPE_CHECKING:
    from collections.abc import Callable

_ARCHITECTURES = ("x86_64", "arm64")
_LARGEST = 1_000_000
# Far above what Lambda accepts: 5 layers, and 4 kB of variables.
_MOST_LAYERS = 50
_MOST_VARIABLES = 1_000


@frozen
class Unknown:
    """A value that the description does not decide, or that lamina does not evaluate."""

    reason: str


@frozen
class UnknownPart(Unknown):
    """A text of which the description does not decide all parts."""

    pattern: str
    """The text, with ``*`` for each unknown part."""


@frozen
class Undecided(Unknown):
    """A value that the deployment chooses or makes from *candidates*, such as those of an undecided condition."""

    candidates: tuple[Any, ...]


class FunctionSettings:
    """
    The settings of one function, from evaluated values: ``None`` if it is not set, or `Unknown`.

    A value that is unknown or invalid becomes ``None``, or is left out of a tuple, and its reason is recorded.
    """

    def __init__(self) -> None:
        self.reasons: dict[str, str] = {}
        """Why settings are unknown: the first reason by setting."""

    @property
    def unknown(self) -> tuple[UnknownSetting, ...]:
        """The unknown settings so far, in the order of their first reasons."""
        return tuple(UnknownSetting(setting=setting, reason=reason) for setting, reason in self.reasons.items())

    def mark_unknown(self, setting: str, reason: str) -> None:
        """Record that *setting* is unknown for *reason*, unless a reason is recorded already."""
        self.reasons.setdefault(setting, reason)

    def text(self, setting: str, value: Any) -> str | None:
        """Return the text *value* of a required setting."""
        if isinstance(value, str) and value:
            return value
        if value in (None, ""):
            self.mark_unknown(setting, f"`{setting}` is not set")
        else:
            self._reject(setting, "a text", value)
        return None

    def number(self, setting: str, value: Any) -> int | None:
        """Return the whole number *value*, which may be written as a text."""
        number = int(value) if isinstance(value, str) and re.fullmatch("[0-9]{1,9}", value) else value
        if number is None or (isinstance(number, int) and not isinstance(number, bool) and 0 <= number <= _LARGEST):
            return number
        self._reject(setting, f"a whole number from 0 to {_LARGEST:,}", value)
        return None

    def architecture(self, value: Any) -> str | None:
        """Return the architecture *value*, or the only one in a list."""
        if isinstance(value, list) and len(value) <= 1:
            value = value[0] if value else None
        if value is None or (isinstance(value, str) and value in _ARCHITECTURES):
            return value
        self._reject("architecture", "an architecture of Lambda", value)
        return None

    def names(self, *values: Any) -> tuple[str, ...]:
        """Return the sorted names of the environment variables in the mappings *values*."""
        found: set[str] = set()
        for value in values:
            if isinstance(value, dict) and len(found) + len(value) > _MOST_VARIABLES:
                self.mark_unknown("environment", f"more than {_MOST_VARIABLES:,} variables")
            elif isinstance(value, dict):
                found.update(map(str, value))
            elif value is not None:
                self.mark_unknown("environment", mismatch("a mapping", value))
        return tuple(sorted(found))

    def layers(self, values: Any, refer: Callable[[Any], Any]) -> tuple[LayerReference, ...]:
        """
        Return the layers in the list *values*, or the single layer.

        *refer* returns a `LayerReference` for an item that refers to a layer of the description, ``None`` for one that is
        not set, and the value of any other item.
        """
        items = values if isinstance(values, list) else [values]
        if len(items) > _MOST_LAYERS:
            self.mark_unknown("layers", f"more than {_MOST_LAYERS} layers")
            return ()
        found = [self.layer(refer(item)) for item in items]
        return tuple(layer for layer in found if layer is not None)

    def layer(self, value: Any) -> LayerReference | None:
        """Return the layer that *value* is, or whose ARN it is."""
        if value is None or isinstance(value, LayerReference):
            return value
        name = value.pattern if isinstance(value, UnknownPart) and is_layer_version(value.pattern) else value
        layer = LayerReference(name=name) if isinstance(name, str) else None
        if layer is not None and layer.is_arn:
            return layer
        self._reject("layers", "the ARN of a layer", value)
        return None

    def _reject(self, setting: str, expected: str, value: Any) -> None:
        is_shown = isinstance(value, str | float)
        reason = f"`{shown(str(value))}` is not {expected}" if is_shown else mismatch(expected, value)
        self.mark_unknown(setting, reason)


def not_python(runtime: Any) -> str | None:
    """Return why lamina does not build functions with *runtime*; ``None`` if it is Python, unknown or not set."""
    if runtime in (None, "") or isinstance(runtime, Unknown):
        return None
    if isinstance(runtime, str) and runtime.startswith("python"):
        return None
    return f"runtime {shown(runtime) if isinstance(runtime, str) else kind(runtime)} is not Python"


def shown(text: str) -> str:
    """Return *text* as messages show it: at most 100 characters, in one line."""
    line = " ".join(text[:400].split())
    return line if len(line) <= 100 and len(text) <= 400 else f"{line[:99]}…"


def kind(value: Any) -> str:
    """Return the type of *value* as messages name it, such as ``a list``."""
    if value is None:
        return "nothing"
    names = {dict: "a mapping", list: "a list", str: "a text", bool: "a boolean", int: "a number", float: "a number"}
    return next((name for each, name in names.items() if isinstance(value, each)), "another value")


def mismatch(expected: str, value: Any) -> str:
    """Return why *value* is not what is *expected*, such as ``a text``."""
    return value.reason if isinstance(value, Unknown) else f"expected {expected}, found {kind(value)}"
