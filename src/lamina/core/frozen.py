"""
Make classes of values as ``@dataclass(frozen=True, kw_only=True, slots=True)`` does, at a twentieth of the cost.

`dataclasses` writes and compiles five functions for each class, which takes a millisecond; a build loads some seventy
classes of values, and that was a quarter of its time (measured 2026-11). These share their functions instead.
They may be given to `dataclasses.replace`, `asdict` and `fields`, which then pay for what they need; `replace` costs nothing.
Modules that a build does not load use `dataclasses`; the two mix freely, but not in one line of inheritance.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, dataclass_transform

if TYPE_CHECKING:
    from collections.abc import Mapping
    from dataclasses import Field

__all__ = ["field_names", "frozen", "replace"]

_Class = TypeVar("_Class")
_REQUIRED = object()
_set = object.__setattr__


class _Value(Protocol):
    """What every such class has."""

    __frozen_fields__: Mapping[str, object]
    """Names in their order, and defaults or `_REQUIRED`."""


@dataclass_transform(frozen_default=True, kw_only_default=True)
def frozen(cls: type[_Class]) -> type[_Class]:
    """
    Return *cls* as a class of values: made from keywords, compared and hashed by content, never changed.

    Its annotations are the fields, after those of its base; what is assigned to one in the class is its default, which must
    be immutable. With a `cached_property` in it, a class has a ``__dict__`` too, for that.
    """
    names = tuple(cls.__annotations__)
    members = {name: value for name, value in vars(cls).items() if name not in {"__dict__", "__weakref__"}}
    inherited: Mapping[str, object] = getattr(cls, "__frozen_fields__", {})
    own = {name: members.pop(name, _REQUIRED) for name in names}
    members |= {
        "__slots__": (
            *(name for name in names if name not in inherited),
            *(("__dict__",) if any(isinstance(value, cached_property) for value in members.values()) else ()),
        ),
        "__frozen_fields__": {**inherited, **own},
        "__dataclass_fields__": _Fields(),
        "__qualname__": cls.__qualname__,
        **{name: function for name, function in _SHARED.items() if name not in members},
    }
    made: type[_Class] = type.__new__(type(cls), cls.__name__, cls.__bases__, members)
    return made


def replace(value: _Class, **changes: object) -> _Class:
    """Return *value*, of a class made by `frozen`, with *changes*; raises TypeError for what is no field of it."""
    return type(value)(**{name: getattr(value, name) for name in field_names(type(value))} | changes)


def field_names(cls: type) -> tuple[str, ...]:
    """Return the names of the fields of *cls*, which `frozen` has made, in their order."""
    fields: Mapping[str, object] = getattr(cls, "__frozen_fields__", {})
    return tuple(fields)


def _init(self: _Value, /, **given: object) -> None:
    for name, default in self.__frozen_fields__.items():
        value = given.pop(name, default)
        if value is _REQUIRED:
            raise TypeError(f"{type(self).__qualname__}() misses the keyword argument {name!r}")
        _set(self, name, value)
    if given:
        unexpected = ", ".join(map(repr, given))
        raise TypeError(f"{type(self).__qualname__}() got unexpected keyword arguments: {unexpected}")


def _values(self: _Value) -> tuple[object, ...]:
    return tuple([getattr(self, name) for name in self.__frozen_fields__])


def _eq(self: _Value, other: object) -> bool:
    return (
        _values(self) == _values(other)
        if isinstance(other, type(self)) and type(other) is type(self)
        else NotImplemented
    )


def _hash(self: _Value) -> int:
    return hash(_values(self))


def _repr(self: _Value) -> str:
    shown = ", ".join(f"{name}={_shown(getattr(self, name))}" for name in self.__frozen_fields__)
    return f"{type(self).__qualname__}({shown})"


def _shown(value: object) -> str:
    return f"<{len(value):,} bytes>" if isinstance(value, bytes) else repr(value)


def _refuse(self: _Value, name: str, *_: object) -> None:
    raise AttributeError(f"`{name}` of a {type(self).__qualname__} cannot be changed")


def _getstate(self: _Value) -> tuple[object, ...]:
    return _values(self)


def _setstate(self: _Value, state: tuple[object, ...]) -> None:
    for name, value in zip(self.__frozen_fields__, state, strict=True):
        _set(self, name, value)


_SHARED = {
    "__init__": _init,
    "__eq__": _eq,
    "__hash__": _hash,
    "__repr__": _repr,
    "__setattr__": _refuse,
    "__delattr__": _refuse,
    "__getstate__": _getstate,
    "__setstate__": _setstate,
}


class _Fields:
    """What `dataclasses` looks for in a class, made when it does."""

    def __get__(self, _: object, owner: type[_Value]) -> dict[str, Field[Any]]:
        from dataclasses import field, fields, make_dataclass  # noqa: PLC0415 - what this module saves

        rows = [
            (name, object, field() if default is _REQUIRED else field(default=default))
            for name, default in owner.__frozen_fields__.items()
        ]
        return {each.name: each for each in fields(make_dataclass(owner.__name__, rows, kw_only=True))}
