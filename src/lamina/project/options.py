"""What a caller asks of a build beyond the project's configuration. A build with nothing to do loads this, so it imports nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping


class BuildOptions(NamedTuple):
    """What a caller asks of a build beyond the project's configuration."""

    runtime: str | None = None
    architecture: str | None = None
    groups: tuple[str, ...] = ()
    """Dependency groups in addition to the configured ones."""
    extras: tuple[str, ...] = ()
    """Extras in addition to the configured ones."""
    offline: bool = False

    @classmethod
    def of(cls, asked: Mapping[str, Any]) -> BuildOptions:
        """Return the options of which `asked` gives *asked*."""
        return cls(
            runtime=asked.get("runtime"),
            architecture=asked.get("architecture"),
            groups=tuple(asked.get("groups", ())),
            extras=tuple(asked.get("extras", ())),
        )

    def asked(self) -> dict[str, object]:
        """Return, as plain JSON values, the options that can change the result."""
        return {
            "runtime": self.runtime,
            "architecture": self.architecture,
            "groups": list(self.groups),
            "extras": list(self.extras),
        }
