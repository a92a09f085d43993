"""
Find layers by ARN of which lamina does not know what they contain. Pure: the configuration and the pins in, findings out.

====================  ========  =================================================================
rule                  severity  reported if
====================  ========  =================================================================
``layer-not-pinned``  warning   a function has an allowed layer by ARN that `lamina pin` has not pinned
====================  ========  =================================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.pipeline.checks.common import listed, warning
from lamina.pipeline.checks.external import places
from lamina.project.pinned import is_pinnable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lamina.core.values import Finding
    from lamina.project.service import Service


def check(service: Service) -> tuple[Finding, ...]:
    """
    Return a warning for the layers by ARN of *service* that are not pinned. Functions with the same ones share it.

    A layer that the configuration does not allow is the subject of `lamina.pipeline.checks.external`.
    """
    return tuple(_not_pinned(service))


def _not_pinned(service: Service) -> Iterator[Finding]:
    alike: dict[tuple[str, ...], list[str]] = {}
    for function in service.functions:
        if missing := tuple(
            arn
            for arn in function.layer_arns
            if is_pinnable(arn) and not service.pins_of((arn,)) and not service.refuses(arn)
        ):
            alike.setdefault(missing, []).append(function.name)
    for arns, names in alike.items():
        file, line = next(places(arns[0], service), (None, None))
        yield warning(
            "layer-not-pinned",
            names[0],
            f"{listed(names)}: `lamina-layers.lock` lacks {listed(arns)}, so lamina does not know the size and modules; run `lamina pin`",
            file=file,
            line=line,
        )
