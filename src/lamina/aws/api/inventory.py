"""What lamina asks about everything that an account holds in a region, as a small protocol. No client, no botocore."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Iterator

__all__ = ["Attachment", "Inventory", "UnsettledStack", "VersionRow"]


@dataclass(frozen=True, kw_only=True, slots=True)
class VersionRow:
    """A layer version as it is listed."""

    name: str
    """Of the layer."""
    number: int
    arn: str
    description: str
    created: dt.datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Attachment:
    """The layers of one version of one function, `$LATEST` included."""

    function: str
    """Its ARN with the version."""
    layers: tuple[str, ...]
    """ARNs of layer versions."""

    @property
    def name(self) -> str:
        """The function's."""
        return self.function.partition(":function:")[2].partition(":")[0]


@dataclass(frozen=True, kw_only=True, slots=True)
class UnsettledStack:
    """A CloudFormation stack that may still go back to what it was."""

    name: str
    status: str
    layers: frozenset[str]
    """ARNs, without version, of the layers that its template, parameters, outputs or resources name."""
    functions: frozenset[str] = frozenset()
    """Names of its functions: what layers they had need not stand in the template, which may refer to parameters of Systems Manager."""


class Inventory(Protocol):
    """All of one account in one region; everything is read page by page."""

    def layers(self) -> Iterator[str]:
        """Yield the names of all layers."""

    def versions(self, name: str) -> Iterator[VersionRow]:
        """Yield all versions of the layer *name*."""

    def attachments(self) -> Iterator[Attachment]:
        """Yield every version of every function that has layers."""

    def unsettled_stacks(self) -> Iterable[UnsettledStack]:
        """Return the stacks whose status says that they may still go back."""

    def code_bytes(self, name: str, number: int) -> int | None:
        """Return the zipped size of a layer version, or nothing where it has been deleted."""

    def is_shared(self, name: str, number: int) -> bool:
        """Say whether others may use a layer version: what uses it there cannot be seen from here."""

    def delete(self, name: str, number: int) -> None:
        """Delete a layer version."""
