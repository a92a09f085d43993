"""Remove a layer by ARN from the configuration of a service, and find the lines of deploy descriptions that name it."""

from __future__ import annotations

import datetime as dt
import re
from enum import Enum
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
    from collections.abc import Mapping
    from pathlib import Path

    from lamina.core.reporter import Reporter
    from lamina.core.store import Store
    from lamina.project.service import Service

_KEY = "layer-arns"
# An empty list: on a line of its own, or with the comma before or after it in an inline table.
_EMPTY = re.compile(
    rf"^[ \t]*{_KEY}\s*=\s*\[\s*\][ \t]*(?:\r?\n|\Z)|,\s*{_KEY}\s*=\s*\[\s*\]|(?<=[{{\s]){_KEY}\s*=\s*\[\s*\]\s*,[ \t]*",
    re.MULTILINE,
)


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


def remove_arn(project: Path, arn: str, store: Store) -> Removal:
    """
    Remove *arn* from all ``layer-arns`` in the configuration of *project*, and its pin.

    An entry that leaves parts of the ARN to the deployment goes, too. So does a list that is empty then.
    """
    path = file.read(project).path
    text = decoded(read_file(path))
    document = toml.parse(text)
    if _mapped(document, arn) == document:
        return Removal.ABSENT
    changed = text
    for entry in _entries(project, arn, store):
        changed = _without(changed, entry)
    if _is_document(shorter := _EMPTY.sub("", changed), _mapped(document, arn, keep_empty=False)):
        changed = shorter
    elif not _is_document(changed, _mapped(document, arn)):
        return Removal.LEFT
    replace_file(path, changed.encode())
    pins = read_pins(project)
    if any(pin.arn == arn for pin in pins):
        write_pins(project, [pin for pin in pins if pin.arn != arn])
    return Removal.REMOVED


def _entries(project: Path, arn: str, store: Store) -> frozenset[str]:
    """Return the ARNs in ``layer-arns`` of *project*, as they are written, that can be the layer *arn*."""
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


def _mapped(value: Any, arn: str, *, keep_empty: bool = True) -> Any:
    """Return the TOML *value* without *arn* in its lists at the key ``layer-arns``, and without those that are empty then if asked."""
    if isinstance(value, list):
        return [_mapped(each, arn, keep_empty=keep_empty) for each in value]
    if not isinstance(value, dict):
        return value
    found = {}
    for name, each in value.items():
        if name != _KEY or not isinstance(each, list):
            found[name] = _mapped(each, arn, keep_empty=keep_empty)
        elif (kept := [other for other in each if not can_name(other, arn)]) or keep_empty:
            found[name] = kept
    return found
