"""Say in a few words how one set of locked distributions differs from another. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable

_SHOWN = 5


class Named(Protocol):
    """What is compared: a pin, or a distribution that was built or published."""

    @property
    def name(self) -> str:
        """Normalised."""

    @property
    def version(self) -> str:
        """As locked."""

    @property
    def sha256(self) -> str:
        """Of the artifact."""


def differences(before: Iterable[Named], after: Iterable[Named]) -> str:
    """Return what was bumped, added and removed, at most five of it; empty where all artifacts are the same."""
    old = {each.name: each for each in before}
    new = {each.name: each for each in after}
    words = [
        f"{name} {old[name].version} → {each.version}"
        if old[name].version != each.version
        else f"{name} {each.version} (another file)"
        for name, each in sorted(new.items())
        if name in old and old[name].sha256 != each.sha256
    ]
    words += [f"added {name} {each.version}" for name, each in sorted(new.items()) if name not in old]
    words += [f"removed {name} {old[name].version}" for name in sorted(old.keys() - new.keys())]
    if len(words) > _SHOWN:
        words = [*words[: _SHOWN - 1], f"and {len(words) - _SHOWN + 1} more"]
    return ", ".join(words)
