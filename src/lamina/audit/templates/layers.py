"""
Check the layers that functions of deploy descriptions have by ARN.

========================  ========  ====================================================================================
rule                      severity  reported if
========================  ========  ====================================================================================
``external-layer``        error     the layer is of another account, and no entry of ``allow-layers`` covers it
``replaceable-layer``     note      the layer is allowed, but its Python packages could be locked instead
``unused-allowed-layer``  note      an entry of ``allow-layers`` covers no layer of a description or of the configuration
``layer-arns-differ``     warning   a function has other versions of layers than in its ``layer-arns``, or lacks some of these
``pinned-layer-version``  warning   the layer is the service's own, in a version that somebody wrote into the description
========================  ========  ====================================================================================
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from lamina.audit.location import Locator
from lamina.audit.templates.ties import configured_function
from lamina.core.names import normalized
from lamina.pipeline.checks.common import listed, note, warning
from lamina.pipeline.checks.external import places, refusal
from lamina.project.external import LayerArn, allowing, are_versions, is_of_unknown_account, may_be_own, may_be_same
from lamina.project.publishers import Content, publisher_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from lamina.audit.inspection import Inspection
    from lamina.audit.templates.descriptions import ReadDescription
    from lamina.core.values import Finding
    from lamina.project.templates.types import Deployed, Origin


def check(description: ReadDescription, inspection: Inspection) -> Iterator[Finding]:
    """Yield a finding for each refused or pinned layer and each line that names it."""
    # The build has a finding on those of the configuration.
    configured = {arn for function in inspection.service.functions for arn in function.layer_arns}
    users = _users(description)
    own = own_names(inspection) if users else set()
    for (arn, origin), labels in users.items():
        place = description.place(origin)
        name, _, version = arn.partition(":layer:")[2].partition(":")
        # Anybody can publish a layer with the name of an own one.
        if name in own and not inspection.service.refuses(arn):
            if version.isdecimal():
                fact = (
                    f"version {version} of the service's own layer `{name}` is written here, so a new version is not used until "
                    "somebody changes the line; refer to the layer's resource, or read the ARN from an SSM parameter"
                )
                yield warning("pinned-layer-version", labels[0], f"{listed(labels)}: {fact}", **place)
        elif inspection.service.refuses(arn) and not any(may_be_same(arn, each) for each in configured):
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
            if not any(may_be_same(arn, each) for each in found):
                found[arn] = (labels, description.place(origin))
    for function in service.functions:
        for arn in function.layer_arns:
            if not any(may_be_same(arn, each) for each in found):
                file, line = next(places(arn, service), (None, None))
                found[arn] = [function.name], {"file": file, "line": line}
    locked = {each.name for build in inspection.builds for layer in build.layers for each in layer.distributions}
    for arn, (labels, place) in found.items():
        fact = _replacement(arn, locked)
        if fact is not None and allowing(arn, service.allow_layers) is not None:
            yield note("replaceable-layer", labels[0], f"{listed(labels)}: {fact}", **place)


def check_allowed(descriptions: Sequence[ReadDescription], inspection: Inspection) -> Iterator[Finding]:
    """Yield a note for each entry of ``allow-layers`` that covers no known layer, unless some layers are unknown."""
    service = inspection.service
    arns = {arn for description in descriptions for arn, _ in _users(description)}
    arns |= {arn for function in service.functions for arn in function.layer_arns}
    if any(has_unknown_layers(each) for description in descriptions for each in description.functions):
        return
    locator = Locator(service)
    for entry in service.allow_layers:
        if not any(entry.covers(arn) for arn in arns):
            fact = (
                f"`allow-layers` allows `{entry.pattern}`, but no function of the configuration or of a deploy description has such a layer; "
                "remove the entry, unless functions have the layer only in AWS"
            )
            line = locator.line("allow-layers", entry.pattern)
            yield note("unused-allowed-layer", None, fact, file=locator.configuration, line=line)


def check_configured(description: ReadDescription, inspection: Inspection) -> Iterator[Finding]:
    """Yield a finding for each layer that a function of *description* has in another version than, or not as, in ``layer-arns``."""
    found: dict[tuple[str, Origin], list[str]] = {}
    for function in description.functions:
        configured = configured_function(function, description, inspection)
        for fact, origin in _differences(function, configured.layer_arns) if configured is not None else ():
            found.setdefault((fact, origin), []).append(function.label)
    for (fact, origin), labels in found.items():
        cure = "change one of the two; `lamina init --diff` compares both"
        yield warning("layer-arns-differ", labels[0], f"{listed(labels)}: {fact}; {cure}", **description.place(origin))


def _differences(function: Deployed, configured: Sequence[str]) -> Iterator[tuple[str, Origin]]:
    """Yield how the layers of *function* differ from the *configured* ones, each with the place to change."""
    for arn in configured:
        versions = [stated for stated in function.layers if are_versions(stated.value, arn)]
        if versions and not any(may_be_same(stated.value, arn) for stated in versions):
            yield f"the layer is `{versions[0].value}` here, but `{arn}` in `layer-arns`", versions[0].origin
        elif not versions and function.layers and not has_unknown_layers(function):
            yield f"the layer `{arn}` is in `layer-arns`, but not here", function.origin


def has_unknown_layers(function: Deployed) -> bool:
    """Return whether *function* has layers that the description does not tell."""
    return bool(function.imports) or any(each.setting == "layers" for each in function.unknown)


def _users(description: ReadDescription) -> dict[tuple[str, Origin], list[str]]:
    """Return the functions that have each layer by ARN, by the ARN and the line that names it."""
    users: dict[tuple[str, Origin], list[str]] = {}
    for function in description.functions:
        for stated in function.layers:
            if stated.value.startswith("arn:"):
                users.setdefault((stated.value, stated.origin), []).append(function.label)
    return users


def own_names(inspection: Inspection) -> set[str]:
    """Return the names in Lambda of the layers that the service publishes."""
    from lamina.aws.destination.naming import layer_name
    from lamina.aws.publish.config import load

    template = load(inspection.project).layer_name
    return {
        layer_name(template, service=build.service, layer=layer.name, target=build.target)
        for build in inspection.builds
        for layer in build.layers
    }


def _replacement(arn: str, present: Collection[str]) -> str | None:
    """Return what could take the place of the layer *arn*, or ``None`` if nothing is known to. *present* are the locked distributions."""
    layer = None if may_be_own(arn) else LayerArn.parse(arn)
    publisher = None if layer is None else publisher_of(layer)
    if layer is None or publisher is None or not publisher.locked(layer.name):
        return None
    locked = " and ".join(f"`{each}`" for each in publisher.locked(layer.name))
    more = f" ({publisher.note})" if publisher.note else ""
    names = {normalized(re.split(r"[\[<>=!~; ]", each)[0]) for each in publisher.locked(layer.name)}
    if publisher.kind is not Content.EXTENSION and names <= set(present):
        return (
            f"the layer `{arn}` ({publisher.name}) has packages that the lock file has, too: {locked}; remove the ARN from the deploy "
            "description, from `layer-arns` and from `allow-layers`"
        )
    instead = {
        Content.PYTHON: f"could be left behind: lock {locked} instead",
        Content.BOTH: f"has Python packages that could be locked instead: {locked}",
        Content.EXTENSION: f"could be left behind: {locked} does the same in code",
    }[publisher.kind]
    return f"the layer `{arn}` ({publisher.name}) {instead}{more}"
