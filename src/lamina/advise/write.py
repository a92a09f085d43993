"""Put a layout into the configuration of a service, and change nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lamina.core.errors import ConfigError
from lamina.core.frozen import frozen, replace
from lamina.pipeline.checks.common import listed
from lamina.project.edit import ConfigEditor
from lamina.project.functions import DEFAULT_LAYER, read_functions, read_layers
from lamina.project.service import LayerConfig, Packaging
from lamina.project.table import Table

if TYPE_CHECKING:
    from lamina.advise.values import Layout, LayoutFunction, Needs
    from lamina.project.edit import ConfigurationChange
    from lamina.project.service import Function, Service

_SETS = ("minus", "only", "without")
"""The keys of a layer that say which of its distributions it has."""
_INHERITED = ("groups", "extras", "exclude")
_BUDGETS = ("max-growth", "max-unzipped")


@frozen
class LayoutChange:
    """A change of the configuration to a layout."""

    change: ConfigurationChange
    notes: tuple[str, ...]
    """What else changes with it."""


def layout_change(service: Service, needs: Needs, layout: Layout) -> LayoutChange | None:
    """
    Return the change of the configuration of *service* after which it has *layout*, or ``None`` if it has it already.

    The first layer names what it leaves out, so that a new dependency is in it; the others name what they have. A service whose layers
    all name what they have keeps that. Functions from a deploy description are written into the configuration if they get different layers.

    Raises `ConfigError` if the configuration has something that a layout cannot express, and the errors of `ConfigEditor`.
    """
    _check(service)
    layout = _renamed(layout, service)
    editor = ConfigEditor(service.root)
    notes = []
    if "functions" not in editor.table and _needs_functions(layout):
        _write_described(editor, service)
        notes.append(
            "the functions are now those of the configuration, and not of the deploy description; `lamina init --diff` compares them"
        )
    _write_layers(editor, service, needs, layout)
    _write_functions(editor, layout)
    change = editor.change()
    if change is None:
        return None
    _check_result(change, service, needs, layout)
    return LayoutChange(change=change, notes=tuple(notes))


def _check(service: Service) -> None:
    if own := [layer.name for layer in service.selected if layer.first_party]:
        raise ConfigError(
            f"layer {listed(own)} contains your own code (`first-party`), which no recommended layout has",
            hint="remove `first-party`, or divide the layers by hand",
        )
    if len({layer.exclude for layer in service.selected}) > 1:
        raise ConfigError(
            f"layers {listed([layer.name for layer in service.selected])} have different `exclude`",
            hint="set `exclude` in `[tool.lamina]` for all layers",
        )


def _renamed(layout: Layout, service: Service) -> Layout:
    """Return *layout* with a name of *service* for its first layer, so that no other layer is published in its place."""
    names = [layer.name for layer in sorted(service.layers, key=lambda layer: layer.only is not None)]
    taken = {layer.name.lower() for layer in layout.layers[1:]}
    if not names or DEFAULT_LAYER in names or names[0].lower() in taken:
        return layout

    def renamed(name: str) -> str:
        return names[0] if name == DEFAULT_LAYER else name

    return replace(
        layout,
        layers=tuple(replace(each, name=renamed(each.name)) for each in layout.layers),
        functions=tuple(
            replace(each, layers=tuple(renamed(name) for name in each.layers)) for each in layout.functions
        ),
    )


def _needs_functions(layout: Layout) -> bool:
    """Return whether functions differ, so that the configuration has to say something about each."""
    return len({(each.packaging, each.layers) for each in layout.functions}) > 1 or len(layout.layers) > 1


def _write_described(editor: ConfigEditor, service: Service) -> None:
    """Write what the deploy description says into the configuration."""
    editor.set((), "template", None)
    if "targets" not in editor.table:
        editor.set((), "runtime", service.target.runtime)
        editor.set((), "architecture", str(service.target.architecture))
    editor.add((), "functions", {})
    for function in service.functions:
        editor.add(("functions",), *_row(function, service))


def _row(function: Function, service: Service) -> tuple[str, dict[str, Any]]:
    """Return the name and the table of a *function* that a deploy description has."""
    row: dict[str, Any] = {"handler": function.handler}
    if function.source is not None and function.source != service.source:
        row["source"] = function.source
    default = read_functions(
        Table({"functions": {function.name: function.handler}}, key="", mistakes=[]), (), service.root
    )[0]
    if function.memory_mb != default.memory_mb:
        row["memory"] = function.memory_mb
    if function.timeout_seconds != default.timeout_seconds:
        row["timeout"] = function.timeout_seconds
    if function.layer_arns:
        row["layer-arns"] = function.layer_arns
    return function.name, row


def _write_layers(editor: ConfigEditor, service: Service, needs: Needs, layout: Layout) -> None:
    rows = _layer_rows(service, needs, layout)
    if "layers" not in editor.table:
        if list(rows) == [DEFAULT_LAYER] and not rows[DEFAULT_LAYER]:
            return
        editor.add((), "layers", {})
    layers, attached = editor.table["layers"], _attached(layout)
    for name in [name for name in layers if name not in rows]:
        del layers[name]
    for name, row in rows.items():
        if name not in layers:
            editor.add(("layers",), name, row)
            continue
        for key in (*_SETS, *_INHERITED, *(() if name in attached else _BUDGETS)):
            editor.set(("layers", name), key, row.get(key))
    if list(layers) == [DEFAULT_LAYER] and not layers[DEFAULT_LAYER]:
        del editor.table["layers"]


def _layer_rows(service: Service, needs: Needs, layout: Layout) -> dict[str, dict[str, Any]]:
    """Return the keys of each layer, by its name."""
    everything = frozenset(each.name for each in needs.distributions)
    left_out = frozenset(name for each in service.selected for name in each.without) - everything
    is_open = any(layer.only is None for layer in service.selected)
    rows = {}
    for number, layer in enumerate(layout.layers):
        row = _inherited(service)
        if is_open and (layer.distributions == everything or not number):
            if without := sorted(everything - layer.distributions | left_out):
                row["without"] = without
        else:
            row["only"] = sorted(layer.distributions)
        rows[layer.name] = row
    return rows


def _attached(layout: Layout) -> frozenset[str]:
    """Return the names of the sets that are built as layers."""
    return frozenset(name for each in layout.functions if each.packaging is Packaging.LAYER for name in each.layers)


def _inherited(service: Service) -> dict[str, Any]:
    """Return what every layer has in common and the service does not set: all groups and extras that a layer has today, and globs."""
    groups = dict.fromkeys(name for layer in service.selected for name in layer.groups)
    extras = dict.fromkeys(name for layer in service.selected for name in layer.extras)
    exclude = service.selected[0].exclude
    own = {
        "groups": (tuple(groups), service.groups),
        "extras": (tuple(extras), service.extras),
        "exclude": (exclude, service.exclude),
    }
    return {key: list(values) for key, (values, default) in own.items() if set(values) != set(default)}


def _write_functions(editor: ConfigEditor, layout: Layout) -> None:
    packagings = {each.packaging for each in layout.functions}
    everywhere = Packaging.ZIP if packagings == {Packaging.ZIP} else Packaging.LAYER
    editor.set((), "packaging", None if everywhere is Packaging.LAYER else everywhere.value)
    if "functions" not in editor.table:
        return
    names = [layer.name for layer in layout.layers]
    default = (DEFAULT_LAYER,) if DEFAULT_LAYER in names else tuple(names) if len(names) == 1 else None
    for each in layout.functions:
        place = ("functions", each.name)
        editor.set(place, "layers", None if each.layers == default else list(each.layers))
        editor.set(place, "packaging", None if each.packaging is everywhere else each.packaging.value)


def _check_result(change: ConfigurationChange, service: Service, needs: Needs, layout: Layout) -> None:
    """Raise `ConfigError` unless the changed configuration, as lamina reads it, has *layout*."""
    mistakes: list[tuple[str, str]] = []
    reader = Table(change.values, key="", mistakes=mistakes)
    layers = read_layers(reader, LayerConfig(name=DEFAULT_LAYER))
    everything = frozenset(each.name for each in needs.distributions)
    found = {
        layer.name: everything.difference(layer.without) if layer.only is None else frozenset(layer.only)
        for layer in layers
    }
    packaging = Packaging(change.values.get("packaging", Packaging.LAYER.value))
    functions = {each.name: each for each in read_functions(reader, layers, service.root, packaging)}
    is_same = {each.name: each.distributions for each in layout.layers} == found and all(
        _is_packaged(functions[each.name], each) for each in layout.functions if functions
    )
    if mistakes or not is_same:
        raise ConfigError(
            f"`{change.path}` cannot express the layout `{layout.title}`"
            + "".join(f"; `{key}`: {fact}" for key, fact in mistakes),
            hint="divide the layers by hand",
        )


def _is_packaged(function: Function, wanted: LayoutFunction) -> bool:
    return (function.packaging, (*function.layers, *function.bundled)) == (wanted.packaging, wanted.layers)
