"""
Find entries of ``without`` that leave out nothing, usually because they are misspelled. Pure: selections in, findings out.

====================  ========  ===============================================================
rule                  severity  reported if
====================  ========  ===============================================================
``nothing-left-out``  warning   ``without`` lists a distribution that the layer does not select
====================  ========  ===============================================================
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
    """
    Return a warning for each ``without`` entry of *service* that the layer's groups and extras do not select.

    *selections* are the locked distributions of each layer, by layer name.
    """
    names = {
        name: [*(pin.name for pin in selection.pins), *selection.left_out] for name, selection in selections.items()
    }
    return tuple(
        warning(
            "nothing-left-out",
            layer.name,
            f"layer `{layer.name}`: `without` lists `{name}`, which is not among the layer's locked distributions"
            f"{did_you_mean(name, names[layer.name])}",
        )
        for layer in service.selected
        for name in layer.without
        if name not in names[layer.name]
    )
