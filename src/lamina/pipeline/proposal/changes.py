"""Compare a service's configuration with what its templates and sources say now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lamina.project.external import AllowedLayer, allowing, are_versions, may_be_same
from lamina.project.functions import setting

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from lamina.pipeline.proposal.values import ProposedFunction, ProposedService
    from lamina.project.file import ConfigFile


def changes(file: ConfigFile, proposed: ProposedService, *, skipped: Collection[str] = ()) -> tuple[str, ...]:
    """
    Return what differs between the configuration *file* and the service *proposed* now, one line for each difference.

    Only what a template says is compared. The configuration need not be valid: sources may have moved, and the lock may be
    missing. *skipped* are the functions in templates that lamina could not take over.
    """
    return tuple(_changes(file.values, proposed, skipped))


def _changes(values: Mapping[str, Any], proposed: ProposedService, skipped: Collection[str]) -> Iterator[str]:
    for name, decision in (("runtime", proposed.runtime), ("architecture", proposed.architecture)):
        before = values.get(name, decision.value)
        if decision.is_described and "targets" not in values and before != decision.value:
            yield f"~ {name}: {before} → {decision.value} ({decision.reason})"
    yield from _new_layers(values, proposed)
    functions = values.get("functions")
    if not isinstance(functions, dict):
        # The builds read the functions from the template.
        return
    known = {name: each if isinstance(each, dict) else {"handler": each} for name, each in functions.items()}
    deployed = {each.origin for _, each in proposed.built}
    described = [each for each in proposed.functions if each.is_described and each.origin not in deployed]
    for function in described:
        if function.name not in known:
            yield f"+ {function.name} = {function.handler} ({function.origin})"
            continue
        row = {"source": values.get("source", []), **known[function.name]}
        for name, before, after in (*_settings(row, function), *_layer_arns(row, function)):
            yield f"~ {function.name}: {name} {before} → {after} ({function.origin})"
    yield from _built(known, proposed)
    names = {*skipped, *(function.name for function in described), *(name for name, _ in proposed.built)}
    if described or proposed.built:
        yield from (f"- {name} = {row.get('handler')}" for name, row in known.items() if name not in names)


def _built(known: Mapping[str, Mapping[str, Any]], proposed: ProposedService) -> Iterator[str]:
    """Yield a line for each zip in a template that the configuration does not make, or makes for another handler."""
    for name, deployed in proposed.built:
        handler = known.get(name, {}).get("handler")
        if name not in known:
            yield f"+ {name} = {deployed.handler} ({deployed.origin})"
        elif deployed.handler not in {None, handler}:
            yield f"~ {name}: handler {handler} → {deployed.handler} ({deployed.origin})"


def _new_layers(values: Mapping[str, Any], proposed: ProposedService) -> Iterator[str]:
    """Yield a line for each layer of another account in a template that the configuration does not allow."""
    written = values.get("allow-layers")
    patterns = [each.get("arn") for each in written if isinstance(each, dict)] if isinstance(written, list) else []
    allowed = [AllowedLayer(pattern=each, reason="") for each in patterns if isinstance(each, str)]
    for layer in proposed.external:
        if allowing(layer.value, allowed) is None:
            yield f"+ allow-layers: {layer.value} ({layer.origin})"


def _settings(row: Mapping[str, Any], proposed: ProposedFunction) -> Iterator[tuple[str, object, object]]:
    source = row["source"]
    for name, before, now in (
        ("handler", row.get("handler"), proposed.handler),
        # `source = ["."]` is often narrowed by hand.
        ("source", _listed(source), _listed(proposed.source) if proposed.source != (".",) else None),
        ("memory", row.get("memory", setting("memory").default), proposed.memory_mb),
        ("timeout", row.get("timeout", setting("timeout").default), proposed.timeout_seconds),
    ):
        if now is not None and before != now:
            yield name, before, now


def _layer_arns(row: Mapping[str, Any], proposed: ProposedFunction) -> Iterator[tuple[str, object, object]]:
    """Yield the layers by ARN if those of the template differ. One that only the deployment knows may be any of the configured ones."""
    written = row.get("layer-arns", [])
    before = [each for each in written if isinstance(each, str)] if isinstance(written, list) else []
    new = [arn for arn in proposed.arns if not any(may_be_same(arn, each) for each in before)]
    kept = [
        arn
        for arn in before
        if any(may_be_same(arn, each) for each in proposed.arns)
        or (proposed.has_unknown_layers and not any(are_versions(arn, each) for each in new))
    ]
    if new or kept != before:
        yield "layer-arns", _listed(before) or "none", _listed([*kept, *new]) or "none"


def _listed(source: Any) -> str:
    return ", ".join(map(str, source)) if isinstance(source, list | tuple) else str(source)
