"""
Compare the zips and layers that functions of deploy descriptions have with those that the configuration gives them.

======================  ========  =========================================================================================
rule                    severity  reported if
======================  ========  =========================================================================================
``template-packaging``  error     a path is below ``.lamina``, but no build writes it, or a function lacks a layer of its own
======================  ========  =========================================================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.audit.templates.layers import has_unknown_layers, own_names
from lamina.audit.templates.ties import built_layers, configured_function
from lamina.core.paths import relative_path
from lamina.pipeline.checks.common import error, listed
from lamina.pipeline.report import OUTPUT_DIRECTORY
from lamina.project.external import LayerArn, may_be_own

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lamina.audit.inspection import Inspection
    from lamina.audit.templates.descriptions import ReadDescription
    from lamina.core.values import Finding
    from lamina.project.templates.types import Deployed, Origin

_RULE = "template-packaging"


def check(description: ReadDescription, inspection: Inspection) -> Iterator[Finding]:
    """Yield a finding for each path that no build writes, and for each function without one of its layers."""
    unwritten: dict[tuple[str, Origin], list[str]] = {}
    lacking: dict[tuple[str, Origin], list[str]] = {}
    for each in description.template.deployed:
        path = _output(each, description)
        if path is not None and not _is_written(each, description, inspection):
            unwritten.setdefault((path, each.origin), []).append(each.label)
        for name in () if each.is_layer else _lacking(each, description, inspection):
            lacking.setdefault((name, each.origin), []).append(each.label)
    for (path, origin), labels in unwritten.items():
        fact = (
            f"`{path}` is deployed here, but `lamina build` does not write it; deploy what the configuration builds now"
        )
        yield error(_RULE, labels[0], f"{listed(labels)}: {fact}", **description.place(origin))
    for (name, origin), labels in lacking.items():
        fact = f"the configuration gives it the layer `{name}`, which it does not have here; add the layer, or change `layers` of the function"
        yield error(_RULE, labels[0], f"{listed(labels)}: {fact}", **description.place(origin))


def _output(deployed: Deployed, description: ReadDescription) -> str | None:
    """Return the path of the content of *deployed* relative to the project, if it is below the directory of builds."""
    path = description.path(deployed)
    shown = None if path is None else relative_path(path, description.project)
    return shown if shown is not None and shown.startswith(f"{OUTPUT_DIRECTORY}/") else None


def _is_written(deployed: Deployed, description: ReadDescription, inspection: Inspection) -> bool:
    """Return whether a build writes the content of *deployed*. A directory is somebody else's copy."""
    path = description.path(deployed)
    return path is not None and (path.is_dir() or bool(inspection.outputs.copied(path)))


def _lacking(function: Deployed, description: ReadDescription, inspection: Inspection) -> Iterator[str]:
    """
    Yield the layers that the configuration gives *function*, but *description* does not.

    Nothing is known of functions with layers whose content only the deployment knows, and of those that deploy nothing of lamina's.
    """
    configured = configured_function(function, description, inspection)
    if configured is None or has_unknown_layers(function):
        return
    present: set[str] = set()
    for stated in function.layers:
        layer = description.layer(stated.value)
        own = {each.name for _, each in built_layers(layer, description, inspection)}
        if not own and (
            _may_be_published(stated.value, inspection) if layer is None else _is_elsewhere(layer, description)
        ):
            return
        present |= own
    if present or _output(function, description) is not None:
        yield from (name for name in configured.layers if name not in present)


def _is_elsewhere(layer: Deployed, description: ReadDescription) -> bool:
    """Return whether the content of *layer* is unknown, or missing outside of the directory of builds, so that it may be a copy."""
    path = description.path(layer)
    return path is None or (_output(layer, description) is None and not path.exists())


def _may_be_published(arn: str, inspection: Inspection) -> bool:
    layer = LayerArn.parse(arn)
    return layer is None or may_be_own(arn) or layer.name in own_names(inspection)
