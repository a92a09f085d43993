"""Compare a service's configuration with what its templates and sources say now."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lamina.pipeline.proposal.values import ProposedService
    from lamina.project.service import Function, Service


def changes(configured: Service, proposed: ProposedService) -> tuple[str, ...]:
    """Return what differs between the *configured* service and the one *proposed* now, one line for each difference."""
    return tuple(_changes(configured, proposed))


def _changes(configured: Service, proposed: ProposedService) -> Iterator[str]:
    if configured.target.runtime != proposed.target.runtime:
        yield f"~ runtime: {configured.target.runtime} → {proposed.target.runtime} ({proposed.runtime_reason})"
    if configured.target.architecture != proposed.target.architecture:
        reason = proposed.architecture_reason
        yield f"~ architecture: {configured.target.architecture} → {proposed.target.architecture} ({reason})"
    known = {function.name: function for function in configured.functions}
    for function in proposed.functions:
        if function.name not in known:
            yield f"+ {function.name} = {function.handler} ({function.origin})"
            continue
        for setting, before, now in _settings(configured, known[function.name], proposed, function.name):
            yield f"~ {function.name}: {setting} {before} → {now} ({function.origin})"
    names = {function.name for function in proposed.functions}
    yield from (
        f"- {function.name} = {function.handler}" for function in configured.functions if function.name not in names
    )


def _settings(
    service: Service, configured: Function, proposal: ProposedService, name: str
) -> Iterator[tuple[str, object, object]]:
    proposed = next(function for function in proposal.functions if function.name == name)
    source = service.source if configured.source is None else configured.source
    for setting, before, now in (
        ("handler", configured.handler, proposed.handler),
        ("source", ", ".join(source), ", ".join(proposed.source) if proposed.source != (".",) else None),
        ("memory", configured.memory_mb, proposed.memory_mb),
        ("timeout", configured.timeout_seconds, proposed.timeout_seconds),
    ):
        if now is not None and before != now:
            yield setting, before, now
