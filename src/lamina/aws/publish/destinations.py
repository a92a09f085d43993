"""Connect to all accounts in all regions that the configuration names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.aws.api.session import Access
from lamina.aws.destination.destination import Destination
from lamina.aws.destination.parallel import in_parallel

if TYPE_CHECKING:
    from lamina.aws.api.session import CallObserver
    from lamina.aws.publish.config import PublishConfig


def connect(config: PublishConfig, *, observe: CallObserver | None = None) -> tuple[Destination, ...]:
    """
    Return all accounts in all regions of *config*, each one having accepted our credentials.

    *observe* is called before each call. Raises as `Access.connect` does, and AwsError and its kinds.
    """
    roles: tuple[str | None, ...] = config.roles or (None,)
    regions: tuple[str | None, ...] = config.regions or (None,)

    def connect_one(access: Access) -> Destination:
        services = access.connect()
        # The first call that needs no permission: it fails if anything is wrong with the credentials.
        _ = services.account
        return Destination(services, bucket=config.bucket, prefix=config.prefix)

    accesses = [Access(region=region, role=role, observe=observe) for role in roles for region in regions]
    return tuple(in_parallel(connect_one, accesses, workers=len(accesses)))
