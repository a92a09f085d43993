"""
Find exclusions of a layer that have no effect, which are mostly misspelled names. Pure: selections in, findings out.

====================  ========  ===========================================================
rule                  severity  reported if
====================  ========  ===========================================================
``nothing-left-out``  warning   ``without`` lists a distribution that is not in the layer
====================  ========  ===========================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.pipeline.checks.common import warning
from lamina.project.table import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lamina.core.values import Finding, Selection
    from lamina.project.service import Service


def check(service: Service, selections: Mapping[str, Selection]) -> tuple[Finding, ...]:
    """Return a finding for each ``without`` entry of *service* that is not in the layer's entry of *selections*."""
    if "nothing-left-out" in service.ignore:
        return ()
    names = {layer.name: [pin.name for pin in selections[layer.name].pins] for layer in service.layers}
    return tuple(
        warning(
            "nothing-left-out",
            layer.name,
            f"layer `{layer.name}`: `without` lists `{name}`, which is not among the layer's locked distributions"
            f"{did_you_mean(name, names[layer.name])}",
        )
        for layer in service.layers
        for name in layer.without
        if name not in names[layer.name]
    )
