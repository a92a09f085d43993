"""Remove a layer by ARN from the configuration of a service, and find the lines of deploy descriptions that name it."""

from __future__ import annotations

import datetime as dt
import re
from typing import TYPE_CHECKING, Any

from lamina.audit.inspection import Inspection
from lamina.audit.templates.descriptions import read_descriptions
from lamina.core import toml
from lamina.core.files import read_file, replace_file
from lamina.core.frozen import replace
from lamina.core.text import decoded
from lamina.project import file
from lamina.project.config import load
from lamina.project.external import can_name
from lamina.project.pinned import read_pins, write_pins

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from lamina.core.reporter import Reporter
    from lamina.core.store import Store
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
    path = file.read(project).path
    text = decoded(read_file(path))
    document = toml.parse(text)
    wanted = _mapped(document, lambda arns: [each for each in arns if not can_name(each, arn)])
    if wanted == document:
        return None
    changed = text
    for entry in _entries(project, arn, store):
        changed = _without(changed, entry)
    if not _is_document(changed, wanted):
        return False
    replace_file(path, changed.encode())
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


def _without(text: str, arn: str) -> str:
    """Return the TOML document *text* without *arn* in its ``layer-arns``, as far as they are written as usual."""
    array = re.compile(rf"((?:^|[\s,{{.]){_KEY}\s*=\s*\[)([^\]]*)\]", re.MULTILINE)
    return array.sub(lambda found: f"{found[1]}{_without_item(found[2], arn)}]", text)


def _is_document(text: str, wanted: Mapping[str, Any]) -> bool:
    try:
        return toml.parse(text) == wanted
    except ValueError:
        return False


def _without_item(items: str, arn: str) -> str:
    quoted = rf"[\"']{re.escape(arn)}[\"']"
    # The comma after the item goes with it, or else the one before it.
    after = re.sub(rf"{quoted}[ \t]*,[ \t]*(?:\r?\n[ \t]*(?=[\"']))?", "", items)
    return re.sub(rf"(?:,\s*)?{quoted}[ \t]*", "", after)


def _mapped(value: Any, change: Callable[[list[Any]], list[Any]]) -> Any:
    """Return the TOML *value* with all lists at the key ``layer-arns`` changed."""
    if isinstance(value, dict):
        return {
            name: change(each) if name == _KEY and isinstance(each, list) else _mapped(each, change)
            for name, each in value.items()
        }
    return [_mapped(each, change) for each in value] if isinstance(value, list) else value
