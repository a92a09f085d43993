"""Connect to every account and region in the publishing configuration."""

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
    Return a destination for each account and region in *config*, after checking that AWS accepts the credentials there.

    *observe* is called before each AWS API call. Raises `AwsError`, and the same errors as `Access.connect`.
    """
    roles: tuple[str | None, ...] = config.roles or (None,)
    regions: tuple[str | None, ...] = config.regions or (None,)

    def connect_one(access: Access) -> Destination:
        services = access.connect()
        # This looks up the account, a call that needs no permission and fails if the credentials are invalid.
        _ = services.account
        return Destination(services, bucket=config.bucket, prefix=config.prefix)

    # Find the credentials before the threads start, because a failure would be repeated in each of them.
    Access(region=regions[0], observe=observe).connect()
    accesses = [Access(region=region, role=role, observe=observe) for role in roles for region in regions]
    return tuple(in_parallel(connect_one, accesses, workers=len(accesses)))
