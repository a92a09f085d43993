"""Make the needs of services for tests of advice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.advise.values import FunctionNeeds, Needs, WeighedDistribution

if TYPE_CHECKING:
    from collections.abc import Mapping

MB = 1_000_000


def make_needs(
    sizes: Mapping[str, int],
    functions: Mapping[str, str],
    *,
    own: int = 0,
    external: Mapping[str, tuple[int, int]] | None = None,
) -> Needs:
    """Return functions that need the distributions in a string of names, of *sizes* in MB; *external* are layers and MB by ARN."""
    layers = external or {}
    return Needs(
        distributions=tuple(
            WeighedDistribution(name=name, version="1", zipped_bytes=size * MB // 4, unzipped_bytes=size * MB)
            for name, size in sorted(sizes.items())
        ),
        functions=tuple(
            FunctionNeeds(
                function=name,
                distributions=frozenset(needed.split()),
                own_zipped_bytes=own * MB // 4,
                own_unzipped_bytes=own * MB,
                external_layers=layers.get(name, (0, 0))[0],
                external_unzipped_bytes=layers.get(name, (0, 0))[1] * MB,
            )
            for name, needed in functions.items()
        ),
    )
