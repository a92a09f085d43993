"""Classes of values behave as dataclasses do, whatever they cost."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from functools import cached_property

import pytest

from lamina.core.frozen import as_dict, frozen, replace


@frozen
class Point:
    """A place."""

    x: int
    y: int = 0

    @property
    def sum(self) -> int:
        """Both."""
        return self.x + self.y


@frozen
class Named(Point):
    """A place with a name."""

    name: str | None = None

    @cached_property
    def shout(self) -> str:
        """The name, louder."""
        return f"{self.name}!"


@frozen
class Blob:
    """Many bytes."""

    content: bytes


def test_content() -> None:
    """Values with equal content are equal and hash alike; another class is never equal."""
    assert Point(x=1) == Point(y=0, x=1)
    assert {Point(x=1), Point(x=1, y=0)} == {Point(x=1)}
    assert Point(x=1) != Point(x=2)
    assert Named(x=1) != Point(x=1)
    assert Point(x=1).__eq__((1, 0)) is NotImplemented


def test_bases() -> None:
    """A class has the fields of its base first, with their defaults, and its methods."""
    value = Named(x=1, y=2, name="here")

    assert ([("x", 1), ("y", 2), ("name", "here")], 3, "here!") == ([*as_dict(value).items()], value.sum, value.shout)


def test_unchangeable() -> None:
    """Neither a field nor anything else can be set or deleted, and there is no room for more."""
    value = Point(x=1)
    with pytest.raises(AttributeError) as caught:
        value.x = 2  # type: ignore[misc]
    with pytest.raises(AttributeError):
        del value.x
    with pytest.raises(AttributeError):
        value.z = 2  # type: ignore[attr-defined]

    assert "`x` of a Point cannot be changed" == str(caught.value)
    assert not hasattr(value, "__dict__")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "Point() misses the keyword argument 'x'"),
        ({"x": 1, "z": 2, "w": 3}, "Point() got unexpected keyword arguments: 'z', 'w'"),
    ],
)
def test_wrong_arguments(arguments: dict[str, int], message: str) -> None:
    """What is missing, or no field, is a TypeError that names it."""
    with pytest.raises(TypeError) as caught:
        Point(**arguments)

    assert message == str(caught.value)


def test_replace() -> None:
    """A value with changes is another value of the same class; what is no field is refused."""
    value = Named(x=1, name="here")

    assert Named(x=1, y=5, name="here") == replace(value, y=5) == dataclasses.replace(value, y=5)
    with pytest.raises(TypeError):
        replace(value, z=1)


def test_dataclasses() -> None:
    """The functions of `dataclasses` take these classes for theirs."""
    value = Named(x=1, name="here")

    assert {"x": 1, "y": 0, "name": "here"} == dataclasses.asdict(value)
    assert ["x", "y", "name"] == [field.name for field in dataclasses.fields(Named)]
    assert dataclasses.is_dataclass(value)


def test_copies() -> None:
    """Values survive copying and pickling."""
    value = Point(x=1, y=2)

    assert [value, value, value] == [copy.copy(value), copy.deepcopy(value), pickle.loads(pickle.dumps(value))]  # noqa: S301


def test_shown() -> None:
    """A value shows its fields as a dataclass does, except that bytes are counted."""
    assert "Named(x=1, y=0, name='here')" == repr(Named(x=1, name="here"))
    assert "Blob(content=<2,000 bytes>)" == repr(Blob(content=bytes(2000)))
    assert "A place." == Point.__doc__
