"""Options of a build that override the configuration. Every build imports this module, so keep its imports to the minimum."""

from __future__ import annotations

from lamina.core.frozen import frozen

TYPE_CHECKING = False  # a build with nothing to do does not import `typing`
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


@frozen
class BuildOptions:
    """Options of a build that override or extend the project's configuration."""

    runtime: str | None = None
    architecture: str | None = None
    groups: tuple[str, ...] = ()
    """Dependency groups in addition to the configured ones."""
    extras: tuple[str, ...] = ()
    """Extras in addition to the configured ones."""
    offline: bool = False

    @classmethod
    def of(cls, asked: Mapping[str, Any]) -> BuildOptions:
        """Create options from a result of `asked`."""
        return cls(
            runtime=asked.get("runtime"),
            architecture=asked.get("architecture"),
            groups=tuple(asked.get("groups", ())),
            extras=tuple(asked.get("extras", ())),
        )

    def asked(self) -> dict[str, object]:
        """Return the options that can change the build's result, as JSON values. *offline* is not included."""
        return {
            "runtime": self.runtime,
            "architecture": self.architecture,
            "groups": list(self.groups),
            "extras": list(self.extras),
        }
