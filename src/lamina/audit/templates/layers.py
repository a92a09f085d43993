"""
Check the layers that functions of deploy descriptions have by ARN.

========================  ========  ====================================================================================
rule                      severity  reported if
========================  ========  ====================================================================================
``external-layer``        error     the layer is of another account, and no entry of ``allow-layers`` covers it
``replaceable-layer``     note      the layer is allowed, but its Python packages could be locked instead
``pinned-layer-version``  warning   the layer is the service's own, in a version that somebody wrote into the description
========================  ========  ====================================================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lamina.pipeline.checks.common import listed, note, warning
from lamina.pipeline.checks.external import places, refusal
from lamina.project.external import LayerArn, allowing, is_of_unknown_account, may_be_own
from lamina.project.publishers import Content, publisher_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lamina.audit.inspection import Inspection
    from lamina.audit.templates.descriptions import ReadDescription
    from lamina.core.values import Finding
    from lamina.project.templates.types import Origin


def check(description: ReadDescription, inspection: Inspection) -> Iterator[Finding]:
    """Yield a finding for each refused or pinned layer and each line that names it."""
    # The build has a finding on those of the configuration.
    configured = {arn for function in inspection.service.functions for arn in function.layer_arns}
    users = _users(description)
    own = _own_names(inspection) if users else set()
    for (arn, origin), labels in users.items():
        place = description.place(origin)
        name, _, version = arn.partition(":layer:")[2].partition(":")
        if name in own:
            if version.isdecimal():
                fact = (
                    f"version {version} of the service's own layer `{name}` is written here, so a new version is not used until "
                    "somebody changes the line; refer to the layer's resource, or read the ARN from an SSM parameter"
                )
                yield warning("pinned-layer-version", labels[0], f"{listed(labels)}: {fact}", **place)
        elif arn not in configured and inspection.service.refuses(arn):
            yield refusal(arn, labels, **place)
        elif is_of_unknown_account(arn):
            fact = f"the layer `{arn}` is not checked, because only the deployment decides its account"
            yield note("unchecked-template", labels[0], f"{listed(labels)}: {fact}", **place)


def check_replaceable(descriptions: Sequence[ReadDescription], inspection: Inspection) -> Iterator[Finding]:
    """Yield a note for each allowed layer whose packages could be locked instead, in the first line that names it."""
    service = inspection.service
    found: dict[str, tuple[list[str], dict[str, Any]]] = {}
    for description in descriptions:
        for (arn, origin), labels in _users(description).items():
            found.setdefault(arn, (labels, description.place(origin)))
    for function in service.functions:
        for arn in function.layer_arns:
            if arn not in found:
                file, line = next(places(arn, service), (None, None))
                found[arn] = [function.name], {"file": file, "line": line}
    for arn, (labels, place) in found.items():
        fact = _replacement(arn)
        if fact is not None and allowing(arn, service.allow_layers) is not None:
            yield note("replaceable-layer", labels[0], f"{listed(labels)}: {fact}", **place)


def _users(description: ReadDescription) -> dict[tuple[str, Origin], list[str]]:
    """Return the functions that have each layer by ARN, by the ARN and the line that names it."""
    users: dict[tuple[str, Origin], list[str]] = {}
    for function in description.functions:
        for stated in function.layers:
            if stated.value.startswith("arn:"):
                users.setdefault((stated.value, stated.origin), []).append(function.label)
    return users


def _own_names(inspection: Inspection) -> set[str]:
    """Return the names in Lambda of the layers that the service publishes."""
    from lamina.aws.destination.naming import layer_name
    from lamina.aws.publish.config import load

    template = load(inspection.project).layer_name
    return {
        layer_name(template, service=build.service, layer=layer.name, target=build.target)
        for build in inspection.builds
        for layer in build.layers
    }


def _replacement(arn: str) -> str | None:
    """Return what could take the place of the layer *arn*, or ``None`` if nothing is known to."""
    layer = None if may_be_own(arn) else LayerArn.parse(arn)
    publisher = None if layer is None else publisher_of(layer)
    if layer is None or publisher is None or not publisher.locked(layer.name):
        return None
    locked = " and ".join(f"`{each}`" for each in publisher.locked(layer.name))
    more = f" ({publisher.note})" if publisher.note else ""
    instead = {
        Content.PYTHON: f"could be left behind: lock {locked} instead",
        Content.BOTH: f"has Python packages that could be locked instead: {locked}",
        Content.EXTENSION: f"could be left behind: {locked} does the same in code",
    }[publisher.kind]
    return f"the layer `{arn}` ({publisher.name}) {instead}{more}"
