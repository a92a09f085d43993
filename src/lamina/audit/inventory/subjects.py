"""What is audited: the distributions of a service, and the code that belongs to none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.core.frozen import frozen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from lamina.project.service import Service


@frozen
class AuditedDistribution:
    """A distribution in one version, in one or more zips."""

    name: str
    version: str
    places: tuple[str, ...]
    """The names of the layers and functions that contain it."""
    licence: str | None
    """The licence as an SPDX expression; ``None`` if the metadata does not name one clearly."""
    stated: str
    """What the metadata says of the licence; may be empty."""
    obstacle: str | None
    """Why no database of advisories can be asked about it; ``None`` if one can."""


@frozen
class UnknownCode:
    """Code that no database of advisories can be asked about, because it belongs to no known distribution."""

    place: str
    """The layer that contains it, or the service."""
    what: str


@frozen
class AuditSubject:
    """What is audited."""

    service: Service
    distributions: tuple[AuditedDistribution, ...]
    unknown: tuple[UnknownCode, ...]
    reached: Callable[[str, str, Iterable[str]], bool | None]
    """Whether handlers reach one of some modules of a distribution in a version; see `lamina.audit.inventory.built.Audited.reached`."""
    has_licences: bool = True
    """Whether the licences of the distributions are known."""
