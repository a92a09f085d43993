"""Value classes made by `frozen` behave like dataclasses."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from functools import cached_property

import pytest

from lamina.core.frozen import as_dict, frozen, replace


@frozen
class Point:
    """A value class with a required field and a default."""

    x: int
    y: int = 0

    @property
    def sum(self) -> int:
        """The sum of both fields."""
        return self.x + self.y


@frozen
class Named(Point):
    """A value class that inherits from another and caches a property."""

    name: str | None = None

    @cached_property
    def shout(self) -> str:
        """The name with an exclamation mark."""
        return f"{self.name}!"


@frozen
class Blob:
    """A value class with a field of bytes."""

    content: bytes


def test_content() -> None:
    """Values are equal and have the same hash if they have the same class and content."""
    assert Point(x=1) == Point(y=0, x=1)
    assert {Point(x=1), Point(x=1, y=0)} == {Point(x=1)}
    assert Point(x=1) != Point(x=2)
    assert Named(x=1) != Point(x=1)
    assert Point(x=1).__eq__((1, 0)) is NotImplemented


def test_bases() -> None:
    """A class inherits the fields of its base, with their defaults, and its methods."""
    value = Named(x=1, y=2, name="here")

    assert ([("x", 1), ("y", 2), ("name", "here")], 3, "here!") == ([*as_dict(value).items()], value.sum, value.shout)


def test_unchangeable() -> None:
    """Fields cannot be set or deleted, and new attributes cannot be added."""
    value = Point(x=1)
    with pytest.raises(AttributeError) as caught:
        value.x = 2  # type: ignore[misc]
    with pytest.raises(AttributeError):
        del value.x
    with pytest.raises(AttributeError):
        value.z = 2  # type: ignore[attr-defined]

    assert "`x` of `Point` is read-only" == str(caught.value)
    assert not hasattr(value, "__dict__")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "Point() is missing the keyword argument 'x'"),
        ({"x": 1, "z": 2, "w": 3}, "Point() got unexpected keyword arguments: 'z', 'w'"),
    ],
)
def test_wrong_arguments(arguments: dict[str, int], message: str) -> None:
    """A missing or unknown keyword argument raises a TypeError with its name."""
    with pytest.raises(TypeError) as caught:
        Point(**arguments)

    assert message == str(caught.value)


def test_replace() -> None:
    """`replace` returns a changed copy of the same class, and rejects unknown fields."""
    value = Named(x=1, name="here")

    assert Named(x=1, y=5, name="here") == replace(value, y=5) == dataclasses.replace(value, y=5)
    with pytest.raises(TypeError):
        replace(value, z=1)


def test_dataclasses() -> None:
    """The functions of `dataclasses` accept value classes."""
    value = Named(x=1, name="here")

    assert {"x": 1, "y": 0, "name": "here"} == dataclasses.asdict(value)
    assert ["x", "y", "name"] == [field.name for field in dataclasses.fields(Named)]
    assert dataclasses.is_dataclass(value)


def test_copies() -> None:
    """Values can be copied and pickled."""
    value = Point(x=1, y=2)

    assert [value, value, value] == [copy.copy(value), copy.deepcopy(value), pickle.loads(pickle.dumps(value))]  # noqa: S301


def test_shown() -> None:
    """The repr of a value looks like a dataclass's, except that bytes are shown by their length."""
    assert "Named(x=1, y=0, name='here')" == repr(Named(x=1, name="here"))
    assert "Blob(content=<2,000 bytes>)" == repr(Blob(content=bytes(2000)))
    assert "A value class with a required field and a default." == Point.__doc__
