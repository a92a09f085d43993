"""Remove a layer by ARN from the configuration of a service, and find the lines of deploy descriptions that name it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any

from lamina.audit.templates.descriptions import descriptions_of
from lamina.core.errors import ConfigError
from lamina.core.frozen import replace
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


class Removal(Enum):
    """What happened to a layer by ARN in the configuration."""

    REMOVED = "removed"
    ABSENT = "absent"
    """No ``layer-arns`` has it."""
    LEFT = "left"
    """It is written so that it cannot be removed without changing something else, too."""


def without_layer(service: Service, arn: str) -> Service:
    """Return *service* with functions that lack the layer *arn*."""
    functions = tuple(
        replace(each, layer_arns=tuple(other for other in each.layer_arns if not can_name(other, arn)))
        for each in service.functions
    )
    return replace(service, functions=functions)


def remove_arn(project: Path, arn: str) -> Removal:
    """
    Remove *arn* from all ``layer-arns`` in the configuration of *project*, and its pin.

    An entry that leaves parts of the ARN to the deployment goes, too. So does a list that is empty then.
    """
    try:
        change = _without(ConfigEditor(project), arn)
    except ConfigError:
        # The caller names the file, so that the user removes the ARN by hand.
        return Removal.LEFT
    if change is None:
        return Removal.ABSENT
    change.write()
    pins = read_pins(project)
    if any(pin.arn == arn for pin in pins):
        write_pins(project, [pin for pin in pins if pin.arn != arn])
    return Removal.REMOVED


def template_lines(service: Service, arn: str, store: Store, reporter: Reporter) -> tuple[str, ...]:
    """Return the lines of deploy descriptions that name the layer *arn*, such as ``template.yaml:12``, sorted."""
    descriptions, _ = descriptions_of(service, store, reporter)
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
    for name, function in tuple(editor.table.get("functions", {}).items()):
        arns: Any = function.get(_KEY, []) if isinstance(function, Mapping) else []
        removed = [each for each in arns if can_name(each, arn)]
        # An empty list stays if it has a comment.
        if removed and len(removed) == len(arns) and not arns.trivia.comment:
            editor.set(("functions", name), _KEY, None)
        else:
            for each in removed:
                arns.remove(each)
    return editor.change()
