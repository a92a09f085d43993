"""Tell from a wheel's file name, cheaply, that a target cannot take it. Never wrong about one that it could."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lamina.core.target import Target

__all__ = ["near"]

_T = TypeVar("_T")


def near(wheels: Sequence[_T], filename_of: Callable[[_T], str], target: Target) -> Sequence[_T]:
    """
    Return the *wheels* that *target* may take, or all of them if it can take none, so that an error can name them.

    A lock of 47 distributions lists 950 wheels, most of them for other machines and Pythons; parsing the tags of all
    would take longer than everything else (40 ms of 100, measured 2026-11).
    """
    interpreter = f"cp{target.python[0]}{target.python[1]}"
    machine = f"_{target.architecture.machine}"
    return [wheel for wheel in wheels if _may_fit(filename_of(wheel), interpreter, machine)] or wheels


def _may_fit(filename: str, interpreter: str, machine: str) -> bool:
    python, abi, platform = (
        filename.removesuffix(".whl").rsplit("-", 3)[-3:] if filename.count("-") > 2 else ("", "", "")
    )
    if not platform:
        # Whatever this is, the validation has something to say about it.
        return True
    if platform != "any" and not ("linux" in platform and machine in platform) and "any" not in platform.split("."):
        return False
    return "abi3" in abi or any(part == interpreter or part.startswith("py") for part in python.split("."))
