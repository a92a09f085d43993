"""Connect to every account and region that the configuration names."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from lamina.aws.api.session import Access
from lamina.aws.publish.survey import Destination

if TYPE_CHECKING:
    from collections.abc import Callable

    from lamina.aws.publish.config import PublishConfig

__all__ = ["connect"]


def connect(config: PublishConfig, *, observe: Callable[[str, str], None] | None = None) -> tuple[Destination, ...]:
    """
    Return all accounts in all regions of *config*, each one having accepted our credentials.

    *observe* is told of each call. Raises as `Access.connect` does, and AwsError and its kinds.
    """
    roles: tuple[str | None, ...] = config.roles or (None,)
    regions: tuple[str | None, ...] = config.regions or (None,)

    def connect_one(access: Access) -> Destination:
        services = access.connect()
        # Whatever is wrong with the credentials comes out here, in the first call that nothing forbids.
        _ = services.account
        return Destination(services, bucket=config.bucket, prefix=config.prefix)

    wanted = [Access(region=region, role=role, observe=observe) for role in roles for region in regions]
    with ThreadPoolExecutor(len(wanted), "lamina-connect") as pool:
        return tuple(pool.map(connect_one, wanted))
