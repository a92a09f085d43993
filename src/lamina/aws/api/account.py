"""One account in one region, and the protocol of what it offers. No client, no botocore."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from lamina.aws.api.functions import Functions
    from lamina.aws.api.inventory import Inventory
    from lamina.aws.api.layers import Layers
    from lamina.aws.api.s3 import Objects
    from lamina.aws.api.ssm import Parameters


@dataclass(frozen=True, kw_only=True, slots=True)
class Account:
    """Who we are, and where."""

    id: str
    partition: str
    """``aws``, ``aws-cn``, ``aws-us-gov``, as ARNs there begin."""
    region: str

    def __str__(self) -> str:
        return f"{self.id} in {self.region}"


class Services(Protocol):
    """What one account offers in one region."""

    @property
    def account(self) -> Account:
        """Who, and where."""

    @property
    def layers(self) -> Layers:
        """Its layers."""

    @property
    def functions(self) -> Functions:
        """Its functions."""

    @property
    def inventory(self) -> Inventory:
        """Everything in it."""

    @property
    def parameters(self) -> Parameters:
        """Its parameters."""

    def bucket(self, name: str) -> Objects:
        """Return one of its buckets."""
