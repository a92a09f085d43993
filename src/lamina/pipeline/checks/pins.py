"""
Compare the layers by ARN of functions with their pins. Pure: the configuration and the pins in, findings out.

=======================  ========  ==================================================================================
rule                     severity  reported if
=======================  ========  ==================================================================================
``layer-not-pinned``     warning   a function has an allowed layer by ARN that `lamina pin` has not pinned
``layer-other-target``   warning   the publisher of a pinned layer states other runtimes or architectures than the target
=======================  ========  ==================================================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.pipeline.checks.common import listed, warning
from lamina.pipeline.checks.external import places
from lamina.project.pinned import is_pinnable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lamina.core.values import Finding
    from lamina.project.pinned import PinnedLayer
    from lamina.project.service import Service


def check(service: Service) -> tuple[Finding, ...]:
    """
    Return a warning for the layers by ARN of *service* that are not pinned, and for each pinned one that is for another target.

    Functions with the same layers share it. A layer that the configuration does not allow is the subject of
    `lamina.pipeline.checks.external`.
    """
    return (*_not_pinned(service), *_other_target(service))


def _other_target(service: Service) -> Iterator[Finding]:
    users: dict[PinnedLayer, list[str]] = {}
    for function in service.functions:
        for pin in service.pins_of(function.layer_arns):
            users.setdefault(pin, []).append(function.name)
    target = service.target
    for pin, names in users.items():
        stated = [
            f"only for {listed(offered)}"
            for offered, own in ((pin.runtimes, target.runtime), (pin.architectures, str(target.architecture)))
            if offered and own not in offered
        ]
        if stated:
            yield warning(
                "layer-other-target",
                names[0],
                f"{listed(names)}: the publisher of layer `{pin.arn}` offers it {' and '.join(stated)}, but lamina builds for {target}; set "
                "the version for this target in `layer-arns`, then run `lamina pin`",
            )


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
