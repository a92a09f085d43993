"""Remove a layer by ARN from the configuration of a service, and find the lines of deploy descriptions that name it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import TYPE_CHECKING

from lamina.audit.inspection import Inspection
from lamina.audit.templates.descriptions import read_descriptions
from lamina.core.errors import ConfigError
from lamina.core.frozen import replace
from lamina.project.config import load
from lamina.project.edit import ConfigEditor
from lamina.project.external import can_name
from lamina.project.pinned import read_pins, write_pins

if TYPE_CHECKING:
    from pathlib import Path

    from lamina.core.reporter import Reporter
    from lamina.core.store import Store
    from lamina.project.edit import ConfigurationChange
    from lamina.project.service import Service

_KEY = "layer-arns"


def without_layer(service: Service, arn: str) -> Service:
    """Return *service* with functions that lack the layer *arn*."""
    functions = tuple(
        replace(each, layer_arns=tuple(other for other in each.layer_arns if not can_name(other, arn)))
        for each in service.functions
    )
    return replace(service, functions=functions)


def remove_arn(project: Path, arn: str, store: Store) -> bool | None:
    """
    Remove *arn* from all ``layer-arns`` in the configuration of *project*, and its pin, if no function has it any more.

    An entry that leaves parts of the ARN to the deployment goes, too.
    Return whether it is removed, or ``None`` if no ``layer-arns`` has it. The configuration is left alone if its text cannot be changed
    without changing something else, too.
    """
    try:
        change = _without(ConfigEditor(project), arn)
    except ConfigError:
        # The caller names the file, so that the user removes the ARN by hand.
        return False
    if change is None:
        return None
    change.write()
    pins = read_pins(project)
    if any(pin.arn == arn for pin in pins) and not _entries(project, arn, store):
        write_pins(project, [pin for pin in pins if pin.arn != arn])
    return True


def _entries(project: Path, arn: str, store: Store) -> frozenset[str]:
    """Return the ARNs in ``layer-arns`` and in deploy descriptions of *project* that can be the layer *arn*."""
    functions = load(project, store=store).functions
    return frozenset(each for function in functions for each in function.layer_arns if can_name(each, arn))


def template_lines(service: Service, arn: str, store: Store, reporter: Reporter) -> tuple[str, ...]:
    """Return the lines of deploy descriptions that name the layer *arn*, such as ``template.yaml:12``, sorted."""
    inspection = Inspection(
        project=service.root,
        service=service,
        builds=(),
        store=store,
        reporter=reporter,
        today=dt.datetime.now(tz=dt.UTC).date(),
    )
    descriptions, _ = read_descriptions(inspection)
    found = {
        description.shown(stated.origin)
        for description in descriptions
        for function in description.functions
        for stated in function.layers
        if can_name(stated.value, arn)
    }
    return tuple(sorted(found))


def _without(editor: ConfigEditor, arn: str) -> ConfigurationChange | None:
    """Return the change of the configuration without *arn* in its ``layer-arns``, or ``None`` if it has none."""
    for function in editor.table.get("functions", {}).values():
        arns = function.get(_KEY, []) if isinstance(function, Mapping) else []
        for each in [each for each in arns if can_name(each, arn)]:
            arns.remove(each)
    return editor.change()
