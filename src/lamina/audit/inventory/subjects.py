"""What is audited: the distributions of a service, and the code that belongs to none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.core.frozen import frozen
from lamina.pipeline.checks.common import listed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Self

    from lamina.audit.inventory.origins import Obstacle
    from lamina.core.values import Finding
    from lamina.project.service import Service


@frozen
class StatedLicence:
    """What the metadata of a distribution says of its licence."""

    expression: str | None
    """The licence as an SPDX expression; ``None`` if the metadata does not name one clearly."""
    text: str
    """The licence in the words of the metadata; may be empty."""


@frozen
class AuditedDistribution:
    """A distribution in one version, in one or more zips."""

    name: str
    version: str
    places: tuple[str, ...]
    """The names of the layers and functions that contain it."""
    obstacle: Obstacle | None
    """Why no database of advisories is asked about it; ``None`` if one is."""
    licence: StatedLicence | None = None
    """``None`` if its metadata was not read."""


@frozen
class UnknownCode:
    """Code that no database of advisories can be asked about, because it belongs to no known distribution."""

    place: str
    """The layer that contains it, or the service."""
    what: str

    @classmethod
    def of_modules(cls, place: str, modules: Iterable[str]) -> Iterator[Self]:
        """Yield the code of *modules* without metadata in *place*; nothing if there are none."""
        if names := sorted({*modules}):
            yield cls(place=place, what=f"modules without metadata: {listed(names)}")


@frozen
class AuditSubject:
    """What is audited."""

    service: Service
    distributions: tuple[AuditedDistribution, ...]
    unknown: tuple[UnknownCode, ...]
    reached: Callable[[str, str, Iterable[str]], bool | None] | None
    """
    Whether handlers reach one of some modules of a distribution in a version; see `lamina.audit.inventory.built.Audited.reached`.

    ``None`` for what is deployed: nothing says which modules the handlers of an earlier build could import.
    """
    findings: tuple[Finding, ...] = ()
    """Findings about the functions themselves."""
