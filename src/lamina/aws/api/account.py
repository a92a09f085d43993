"""Define `Account`, an AWS account in one region, and `Services`, the protocol of its AWS services. Never imports botocore."""

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
    """An AWS account, and one region in it."""

    id: str
    partition: str
    """The partition in the account's ARNs, such as ``aws``, ``aws-cn`` or ``aws-us-gov``."""
    region: str

    def __str__(self) -> str:
        return f"{self.id} in {self.region}"


class Services(Protocol):
    """The AWS services of one account in one region."""

    @property
    def account(self) -> Account:
        """The account and region."""

    @property
    def layers(self) -> Layers:
        """The account's Lambda layers in the region."""

    @property
    def functions(self) -> Functions:
        """The account's Lambda functions in the region."""

    @property
    def inventory(self) -> Inventory:
        """All layers, functions and CloudFormation stacks of the account in the region."""

    @property
    def parameters(self) -> Parameters:
        """The account's Systems Manager parameters in the region."""

    def bucket(self, name: str) -> Objects:
        """Return the objects of the S3 bucket *name*, without checking that the bucket exists."""
