"""
Find what a layer's configuration leaves out to no effect, which is mostly a misspelling. Pure: selections in, findings out.

====================  ========  ===========================================================
rule                  severity  found where
====================  ========  ===========================================================
``nothing-left-out``  warning   ``without`` names what the layer would not hold anyway
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
    """Return what the layers of *service* leave out of *selections*, which are by layer, without its being there."""
    if "nothing-left-out" in service.ignore:
        return ()
    names = {layer.name: [pin.name for pin in selections[layer.name].pins] for layer in service.layers}
    return tuple(
        warning(
            "nothing-left-out",
            layer.name,
            f"Layer `{layer.name}`: `without` names `{name}`, which it would not hold anyway"
            f"{did_you_mean(name, names[layer.name])}",
        )
        for layer in service.layers
        for name in layer.without
        if name not in names[layer.name]
    )
