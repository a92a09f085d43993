"""Find out whose layers functions have, and how large these are. This module changes nothing in AWS."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from lamina.aws.destination.naming import digest_in, service_in
from lamina.core.errors import MissingPermissionError
from lamina.project.external import LayerArn

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lamina.aws.api.account import Services


class PresentLayers:
    """The layer versions of one account and region that functions of *service* have. Each is read at most once."""

    def __init__(self, services: Services, service: str) -> None:
        """Read through *services*. *service* is the name in the configuration."""
        self._services = services
        self._service = service
        self.is_own = cache(self._is_own)
        self._size = cache(self._unzipped_bytes)

    def sizes(self, arns: Iterable[str]) -> dict[str, int]:
        """Return the unzipped sizes in bytes of the layer versions *arns*, as far as they can be read. Raises `AwsError`."""
        return {arn: size for arn in arns if (size := self._size(arn)) is not None}

    def _is_own(self, arn: str) -> bool | None:
        """
        Return whether lamina published the layer version *arn* for the service; ``None`` if nothing proves it either way.

        lamina writes the service into the description. That of a deleted version is unknown. Raises `AwsError`.
        """
        layer = self._here(arn)
        if layer is None:
            return False
        try:
            found = self._services.layers.version(*layer)
        except MissingPermissionError:
            return None
        if found is None:
            return None
        service = service_in(found.description)
        if service is not None:
            return service == self._service
        return None if digest_in(found.description) is not None else False

    def _unzipped_bytes(self, arn: str) -> int | None:
        layer = self._here(arn)
        try:
            size = None if layer is None else self._services.inventory.code_size(*layer)
        except MissingPermissionError:
            return None
        return None if size is None else size.unzipped_bytes

    def _here(self, arn: str) -> tuple[str, int] | None:
        """Return the name and number of the layer version *arn*, or ``None`` if it is of another account or region."""
        layer, account = LayerArn.parse(arn), self._services.account
        if layer is None or layer.version is None or (layer.account, layer.region) != (account.id, account.region):
            return None
        return layer.name, layer.version
