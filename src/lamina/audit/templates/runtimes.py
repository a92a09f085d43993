"""
Compare runtimes and architectures in deploy descriptions with those that lamina builds for.

===============================  ========  ==============================================================================
rule                             severity  reported if
===============================  ========  ==============================================================================
``template-runtime``             error     a function has another runtime; a warning if a layer does not declare it
``template-architecture``        error     a function has another architecture; a warning if a layer does not declare it
``template-runtime-deprecated``  warning   a function has another runtime, one that AWS does not support or soon rejects
===============================  ========  ==============================================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.audit.templates.ties import fitting_function, fitting_layer
from lamina.core.target import retired_runtimes, runtimes, supported_runtimes
from lamina.pipeline.checks.common import error, listed, warning
from lamina.pipeline.checks.runtime import why_deprecated
from lamina.project.functions import setting

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator, Sequence

    from lamina.audit.inspection import Inspection
    from lamina.audit.templates.descriptions import ReadDescription
    from lamina.audit.templates.ties import Fitting
    from lamina.core.values import Finding
    from lamina.project.templates.types import Deployed, Origin

    _Rows = Iterator[tuple[str, Origin, str]]

_RUNTIME = "template-runtime"
_ARCHITECTURE = "template-architecture"
_DEPRECATED = "template-runtime-deprecated"


def check(description: ReadDescription, inspection: Inspection) -> Iterator[Finding]:
    """Yield the findings, one for all functions with the same cause in the same line."""
    found: dict[tuple[str, Origin, str], list[str]] = {}
    for function in description.functions:
        rows = list(_mismatches(function, description, inspection))
        if not any(rule == _RUNTIME for rule, _, _ in rows):
            rows += _deprecated(function, inspection)
        for row in rows:
            found.setdefault(row, []).append(function.label)
    for (rule, origin, fact), labels in found.items():
        make = warning if rule == _DEPRECATED else error
        yield make(rule, labels[0], f"{listed(labels)}: {fact}", **description.place(origin))
    for layer in description.template.deployed:
        fitting = fitting_layer(layer, description, inspection) if layer.is_layer else None
        for rule, origin, fact in () if fitting is None else _undeclared(layer, fitting):
            yield warning(rule, layer.label, f"layer `{layer.label}` {fact}", **description.place(origin))


def _mismatches(function: Deployed, description: ReadDescription, inspection: Inspection) -> _Rows:
    fitting = fitting_function(function, description, inspection)
    if not fitting:
        return
    names = tuple(dict.fromkeys(each.runtime for each in fitting))
    for runtime in function.runtimes:
        if runtime.value not in names:
            fact = f"the runtime is `{runtime.value}`, but lamina builds for {listed(names)}; change one of the two"
            yield _RUNTIME, runtime.origin, fact
    architectures = tuple(dict.fromkeys(name for each in fitting for name in each.architectures))
    wanted = f"lamina's layers have native code for {listed(architectures)}"
    for architecture in function.architectures:
        if architecture.value not in architectures:
            fact = f"the architecture is `{architecture.value}`, but {wanted}; change one of the two"
            yield _ARCHITECTURE, architecture.origin, fact
    default = str(setting("architecture").default)
    is_unknown = any(each.setting == "architecture" for each in function.unknown)
    if not function.architectures and not is_unknown and default not in architectures:
        fact = f"no architecture is set, so Lambda uses `{default}`, but {wanted}; set it to `{architectures[0]}`"
        yield _ARCHITECTURE, function.origin, fact


def _undeclared(layer: Deployed, fitting: Fitting) -> _Rows:
    if layer.runtimes and fitting.runtime not in [each.value for each in layer.runtimes]:
        yield (
            _RUNTIME,
            layer.runtimes[0].origin,
            f"does not declare the runtime `{fitting.runtime}`, for which lamina builds it",
        )
    declared = [each.value for each in layer.architectures]
    if declared and not set(declared) & set(fitting.architectures):
        fact = f"does not declare {_either(fitting.architectures)}, for which lamina builds it"
        yield _ARCHITECTURE, layer.architectures[0].origin, fact


def _either(names: Sequence[str]) -> str:
    return " or ".join(f"`{name}`" for name in names)


def _deprecated(function: Deployed, inspection: Inspection) -> _Rows:
    # The build has a finding on the runtimes of the service.
    own = {build.target.runtime for build in inspection.builds}
    newest = next(reversed(supported_runtimes(inspection.today)), None)
    for runtime in function.runtimes:
        fact = None if runtime.value in own else _end_of(runtime.value, inspection.today)
        if fact is not None and newest is not None:
            yield _DEPRECATED, runtime.origin, f"{fact}; change it to `{newest.name}`"


def _end_of(name: str, today: dt.date) -> str | None:
    """Return the dates of the end of the runtime *name*, or ``None`` if it is supported or unknown."""
    known = next((each for each in runtimes() if each.name == name), None)
    if known is not None:
        return why_deprecated(known, today)
    retired = retired_runtimes().get(name)
    return None if retired is None else f"`{name}` is deprecated: no support since {retired}"
