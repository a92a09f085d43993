"""Summarise the differences between two sets of locked distributions. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_OPTIONS = "exclusions, bytecode, the handlers' imports, or lamina's format"
RECIPE_CHANGED = f"same packages, different build options: {_OPTIONS}"
"""The reason for a new layer if no distribution differs."""
OWN_CODE_CHANGED = f"your code in the layer changed, or the build options: {_OPTIONS}"
"""The reason for a new layer with the service's own code if no distribution differs."""
_SHOWN = 5


class Named(Protocol):
    """A distribution to compare: locked, built or published."""

    @property
    def name(self) -> str:
        """The distribution's normalised name."""

    @property
    def version(self) -> str:
        """The distribution's version."""

    @property
    def sha256(self) -> str:
        """The SHA-256 of the distribution's file."""


def differences(before: Iterable[Named], after: Iterable[Named]) -> str:
    """
    Return a list of the updated, added and removed distributions, separated by commas; empty if all files are the same.

    If there are more than five, the list has four, and the number of the remaining ones.
    """
    old = {each.name: each for each in before}
    new = {each.name: each for each in after}
    words = [
        updated(name, old[name].version, each.version)
        for name, each in sorted(new.items())
        if name in old and old[name].sha256 != each.sha256
    ]
    words += [f"added {name} {each.version}" for name, each in sorted(new.items()) if name not in old]
    words += [f"removed {name} {old[name].version}" for name in sorted(old.keys() - new.keys())]
    return shortened(words)


def updated(name: str, before: str, after: str) -> str:
    """Return that the distribution *name* changed from the version *before* to *after*, or its file if they are equal."""
    return f"{name} {after} (different file)" if before == after else f"{name} {before} → {after}"


def shortened(words: Sequence[str]) -> str:
    """Return *words*, separated by commas. If there are more than five, return four of them, and the number of the remaining ones."""
    if len(words) > _SHOWN:
        words = [*words[: _SHOWN - 1], f"and {len(words) - _SHOWN + 1} more"]
    return ", ".join(words)
