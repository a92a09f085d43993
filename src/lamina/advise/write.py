"""Put a layout into the configuration of a service, and change nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lamina.advise.layer_names import first_name, named
from lamina.advise.layouts import check_excludes
from lamina.advise.values import LayoutLayer
from lamina.core.errors import ConfigError
from lamina.core.frozen import frozen, replace
from lamina.pipeline.checks.common import listed
from lamina.project.edit import ConfigEditor
from lamina.project.functions import DEFAULT_LAYER, read_functions, read_layers
from lamina.project.service import LayerConfig, Packaging
from lamina.project.table import Table

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

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
    layout: Layout
    """The layout with the names that its layers get."""
    notes: tuple[str, ...]
    """What else changes with it."""


def layout_change(
    service: Service,
    needs: Needs,
    layout: Layout,
    *,
    current: Layout | None = None,
    elsewhere: frozenset[str] = frozenset(),
) -> LayoutChange | None:
    """
    Return the change of the configuration of *service* after which it has *layout*, or ``None`` if it has it already.

    The first layer names what it leaves out, so that a new dependency is in it; the others name what they have. A service whose layers
    all name what they have keeps that. For zips with less than everything, a layer that no function has still lists what the service
    selects, so that the way back to another layout needs no more. Layers keep their names if they have mostly the same content as in the
    *current* layout. Functions from a deploy description are written into the configuration if they get different layers.

    *elsewhere* are the distributions that only other targets of the service have. Each function gets them, too.

    Raises `ConfigError` if the configuration has something that a layout cannot express, and the errors of `ConfigEditor`.
    """
    _check(service)
    layout = named(layout, service, needs, current)
    layout = _for_all_targets(layout, _open(layout, service, needs), elsewhere)
    editor = ConfigEditor(service.root)
    rows = _layer_rows(service, needs, layout)
    notes = [*_write_layers(editor, rows, _attached(layout)), *_write_functions(editor, service, layout, rows)]
    change = editor.change()
    if change is None:
        return None
    _check_result(change, service, needs, layout)
    if change.lost_comments:
        notes.append(f"comments go with what they are about: {_all(change.lost_comments)}")
    return LayoutChange(change=change, layout=layout, notes=(*notes, *_left_out(needs, layout)))


def _all(names: Iterable[str]) -> str:
    """Return *names* for a message that must not leave out any."""
    return ", ".join(f"`{name}`" for name in names)


def _left_out(needs: Needs, layout: Layout) -> Iterator[str]:
    """Yield what *layout* leaves out of today's distributions."""
    names = {each.name for each in needs.distributions}.difference(*(each.distributions for each in layout.layers))
    if names:
        back = "write another layout" if layout.is_zipped else "remove the name from `without`"
        yield (
            f"no function has {_all(sorted(names))}, because none is known to need it; a function that imports it by a computed name "
            f"fails: record such imports with `lamina coldstart --record`; to have it again, {back}"
        )


def _check(service: Service) -> None:
    if own := [layer.name for layer in service.selected if layer.first_party]:
        raise ConfigError(
            f"layer {listed(own)} contains your own code (`first-party`), which no recommended layout has",
            hint="remove `first-party`, or divide the layers by hand",
        )
    check_excludes(service)


def _open(layout: Layout, service: Service, needs: Needs) -> frozenset[str]:
    """Return the names of the layers that list what they leave out; if none of *layout* does, that of the one that no function has."""
    if all(layer.only is not None for layer in service.selected):
        return frozenset()
    everything, is_zipped = frozenset(each.name for each in needs.distributions), layout.is_zipped
    named = {
        each.name
        for number, each in enumerate(layout.layers)
        if each.distributions == everything or not (number or is_zipped)
    }
    return frozenset(named or {first_name(service)})


def _for_all_targets(layout: Layout, opened: frozenset[str], elsewhere: frozenset[str]) -> Layout:
    """Return *layout* in which each function also has what *elsewhere* only other targets have. Raises `ConfigError` if it cannot."""
    lacking = [each for each in layout.functions if not opened.intersection(each.layers)] if elsewhere else []
    sets = {name for each in lacking for name in each.layers}
    if any(len(each.layers) != 1 for each in lacking) or any(
        len(each.layers) > 1 and sets.intersection(each.layers) for each in layout.functions
    ):
        raise ConfigError(
            f"the layout `{layout.title}` does not have {listed(sorted(elsewhere))} for {listed([each.name for each in lacking])}, which "
            "only other targets of the service have",
            hint="write `one-layer` or `zip-everything`, or divide the layers by hand",
        )
    return replace(
        layout,
        layers=tuple(
            replace(each, distributions=each.distributions | elsewhere) if each.name in sets else each
            for each in layout.layers
        ),
    )


def _row(function: Function, service: Service) -> dict[str, Any]:
    """Return the table of a *function* that a deploy description has."""
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
    return row


def _write_layers(
    editor: ConfigEditor, rows: Mapping[str, Mapping[str, Any]], attached: frozenset[str]
) -> Iterator[str]:
    """Write *rows* as the layers, of which functions have those that are *attached*. Yield the budgets that go."""
    written: Any = editor.table.get("layers")
    tables: dict[str, dict[str, Any]] = {} if written is None else written.unwrap()
    for name, table in tables.items():
        budgets = [key for key in _BUDGETS if key in table and not (name in rows and name in attached)]
        if budgets:
            yield f"layer `{name}` loses its budget: {_all(budgets)}"
    changed = {*_SETS, *_INHERITED, *(() if DEFAULT_LAYER in attached else _BUDGETS)}
    if rows == {DEFAULT_LAYER: {}} and tables.get(DEFAULT_LAYER, {}).keys() <= changed:
        # The default needs no table. One that says nothing may stay.
        if tables and tables != rows:
            editor.remove((), "layers")
        return
    for name in tables.keys() - rows.keys():
        editor.remove(("layers",), name)
    for name, row in rows.items():
        if name not in tables:
            editor.add(("layers",), name, row)
            continue
        for key in (*_SETS, *_INHERITED, *(() if name in attached else _BUDGETS)):
            editor.set(("layers", name), key, row.get(key))


def _layer_rows(service: Service, needs: Needs, layout: Layout) -> dict[str, dict[str, Any]]:
    """Return the keys of each layer, by its name."""
    everything = frozenset(each.name for each in needs.distributions)
    left_out = frozenset(name for each in service.selected for name in each.without) - everything
    opened = _open(layout, service, needs)
    rows = {}
    for each in _with_unused(layout, service, everything):
        row = rows[each.name] = _inherited(service)
        if each.name not in opened:
            row["only"] = sorted(each.distributions)
        elif without := sorted(everything - each.distributions | left_out):
            row["without"] = without
    return rows


def _with_unused(layout: Layout, service: Service, everything: frozenset[str]) -> tuple[LayoutLayer, ...]:
    """Return the layers of *layout*, after one with *everything* that no function has if zips have less."""
    if not layout.is_zipped or any(each.distributions >= everything for each in layout.layers):
        return layout.layers
    return (LayoutLayer(name=first_name(service), distributions=everything), *layout.layers)


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


def _write_functions(editor: ConfigEditor, service: Service, layout: Layout, layers: Collection[str]) -> Iterator[str]:
    """Write the packaging of each function, of which *layers* are the configured ones. Yield what else changes."""
    packagings = {each.packaging for each in layout.functions}
    everywhere = Packaging.ZIP if packagings == {Packaging.ZIP} else Packaging.LAYER
    editor.set((), "packaging", None if everywhere is Packaging.LAYER else everywhere.value)
    default = (DEFAULT_LAYER,) if DEFAULT_LAYER in layers else tuple(layers) if len(layers) == 1 else None
    keys = {
        each.name: {
            "layers": None if each.layers == default else list(each.layers),
            "packaging": None if each.packaging is everywhere else each.packaging.value,
        }
        for each in layout.functions
    }
    if "functions" in editor.table:
        for name, row in keys.items():
            for key, value in row.items():
                editor.set(("functions", name), key, value)
    elif any(value is not None for row in keys.values() for value in row.values()):
        editor.set((), "template", None)
        if "targets" not in editor.table:
            editor.set((), "runtime", service.target.runtime)
            editor.set((), "architecture", str(service.target.architecture))
        for function in service.functions:
            own = {key: value for key, value in keys[function.name].items() if value is not None}
            editor.add(("functions",), function.name, _row(function, service) | own)
        yield (
            "the functions are now those of the configuration, and not of the deploy description; `lamina init --diff` compares them"
        )


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
    wanted = {each.name: each.distributions for each in layout.layers}
    is_same = wanted == {name: held for name, held in found.items() if name in wanted} and all(
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
