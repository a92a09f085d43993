"""
Read and validate the tables ``functions`` and ``layers`` of the configuration, by Lambda's own rules for names.

Lambda's limits and defaults are in ``data/functions.toml``. Only this module reads that file.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from lamina.core import toml
from lamina.core.facts import fact, read_facts
from lamina.core.frozen import frozen, replace
from lamina.core.names import normalized
from lamina.project.budgets import NO_BUDGET, read_budget
from lamina.project.entries import read_source
from lamina.project.service import Function, LayerConfig, Packaging
from lamina.project.table import Table, did_you_mean

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Sequence
    from pathlib import Path

DEFAULT_LAYER = "common"
"""The name of the only layer of a service that configures no layers."""
_ARN_EXAMPLE = "arn:aws:lambda:eu-west-1:123456789012:layer:tools:1"
UNITS = {"memory": "MB", "timeout": "seconds"}
"""The units of the numeric settings of functions, by name."""


@frozen
class Setting:
    """The default and the limits of one setting of a Lambda function."""

    name: str
    default: int | str
    source: str
    read: dt.date
    least: int = 0
    most: int = 0
    ordinary: int = 0
    """The greatest value of a function that does not run on Lambda Managed Instances."""


@fact
def setting(name: str) -> Setting:
    """Return Lambda's default and limits for the setting *name*."""
    return next(Setting(**row) for row in _facts()["setting"] if row["name"] == name)


@fact
def _facts() -> dict[str, Any]:
    return read_facts("functions.toml")


def name_pattern(rule: str) -> str:
    """Return the regular expression of Lambda's *rule* for names, such as ``function_name``."""
    return next(str(row["pattern"]) for row in _facts()["rule"] if row["name"] == rule)


def read_layers(reader: Table, common: LayerConfig) -> tuple[LayerConfig, ...]:
    """Return the configured layers, or only *common* if there are none. A layer inherits missing keys from *common*."""
    tables = reader.table("layers")
    if tables is None:
        return (common,)
    _check_names(tables, rule="layer_name", kind="layer")
    layers: list[LayerConfig] = []
    for name in tables:
        table = _layer_table(tables, name)
        if table is None:
            continue
        own = {key: values for key in ("groups", "extras", "exclude") if (values := table.strings(key)) is not None}
        minus = _minus(table, name, list(tables))
        without = _names(table, "without") or ()
        only = _names(table, "only")
        if without and only is not None:
            table.complain("only", "conflicts with `without`; remove one of the two")
        first_party = table.boolean("first-party") or False
        budget = read_budget(table)
        table.done()
        layers.append(
            replace(
                common,
                name=name,
                minus=minus,
                without=without,
                only=only,
                first_party=first_party,
                budget=budget,
                **own,
            )
        )
    if "layers" in reader and not list(tables):
        reader.complain("layers", f"the table is empty; remove it to build one layer named `{DEFAULT_LAYER}`")
    _check_circles(tables, layers)
    return tuple(layers)


def _names(table: Table, key: str) -> tuple[str, ...] | None:
    names = table.strings(key)
    return None if names is None else tuple(normalized(name) for name in names)


def _layer_table(tables: Table, name: str) -> Table | None:
    """Return the table of the layer *name*. A list is a mistake: nothing says whether it has groups, extras or names."""
    if isinstance(entries := tables.value(name), list):
        example = toml.value([str(entry) for entry in entries] or ["NAME"])
        tables.complain(
            name,
            f"expected a table, found a list: write `{{ groups = {example} }}` for dependency groups, or "
            f"`{{ extras = {example} }}` for extras, or `{{ only = {example} }}` for single distributions",
        )
        return None
    return tables.table(name)


def _minus(table: Table, name: str, known: list[str]) -> tuple[str, ...]:
    entries = table.strings("minus") or ()
    for entry in entries:
        if entry == name:
            table.complain("minus", f"`{name}` refers to itself")
        elif entry not in known:
            table.complain("minus", f"unknown layer `{entry}`{did_you_mean(entry, known)}")
    return tuple(entry for entry in entries if entry != name and entry in known)


def _check_circles(tables: Table, layers: Sequence[LayerConfig]) -> None:
    """Record a mistake if layers refer to each other in `minus`, because no order could resolve them."""
    minus = {layer.name: layer.minus for layer in layers}

    def below(name: str, seen: frozenset[str]) -> frozenset[str]:
        for other in minus.get(name, ()):
            if other not in seen:
                seen = below(other, seen | {other})
        return seen

    circle = [f"`{name}`" for name in minus if name in below(name, frozenset())]
    if circle:
        tables.complain(circle[0].strip("`"), f"layers refer to each other in `minus`: {', '.join(circle)}")


def _check_names(tables: Table, *, rule: str, kind: str) -> None:
    pattern = name_pattern(rule)
    folded: dict[str, str] = {}
    for name in tables:
        if re.fullmatch(pattern, name) is None:
            tables.complain(name, f"invalid {kind} name; it must match `{pattern}`")
        # The names become file names, and some file systems ignore case.
        if (other := folded.setdefault(name.lower(), name)) != name:
            tables.complain(name, f"differs from `{other}` only by case; rename one of the two")


def read_functions(
    reader: Table, layers: tuple[LayerConfig, ...], project: Path, packaging: Packaging = Packaging.LAYER
) -> tuple[Function, ...]:
    """
    Return the configured functions, and record mistakes.

    *layers* are the layers that functions can use. *project* is the directory in which their ``source`` must exist.
    *packaging* is that of the functions that set none.
    """
    tables = reader.table("functions")
    if tables is None:
        return ()
    _check_names(tables, rule="function_name", kind="function")
    functions: list[Function] = []
    for name in tables:
        entry = tables.string_or_table(name)
        if isinstance(entry, str):
            _check_handler(tables, name, entry)
            table = Table({}, key=tables.key(name), mistakes=[])
            own = _default_layers(tables, name, layers)
            functions.append(_packaged(_function(name, entry, table, own), packaging))
        elif entry is not None:
            functions.append(_packaged(_long_form(name, entry, layers, project), _packaging(entry, packaging)))
            entry.done()
    return tuple(functions)


def _packaging(table: Table, default: Packaging) -> Packaging:
    value = table.one_of("packaging", [each.value for each in Packaging])
    return default if value is None else Packaging(value)


def _packaged(function: Function, packaging: Packaging) -> Function:
    """Return *function*, whose layers are all that it needs, with *packaging*."""
    if packaging is Packaging.LAYER:
        return function
    return replace(function, packaging=packaging, layers=(), bundled=function.layers)


def divide_layers(
    reader: Table, layers: tuple[LayerConfig, ...], functions: tuple[Function, ...], packaging: Packaging
) -> tuple[tuple[LayerConfig, ...], tuple[LayerConfig, ...]]:
    """
    Return the *layers* to build, and those that only the zips of *functions* contain. Record mistakes.

    *packaging* is that of the service, which decides about layers that no function uses.
    """
    attached = {name for function in functions for name in function.layers}
    bundled = {name for function in functions for name in function.bundled}
    if packaging is Packaging.ZIP and not functions:
        reader.complain(
            "packaging", "no function has a zip to put the distributions into; set `functions`, or remove the key"
        )
        return layers, ()
    bundles = tuple(
        layer
        for layer in layers
        if layer.name not in attached and (layer.name in bundled or packaging is Packaging.ZIP)
    )
    for layer in bundles:
        if layer.budget != NO_BUDGET:
            reader.complain(
                f"layers.{layer.name}", "no layer is built that could have a budget; set those of the functions"
            )
    by_name = {layer.name: layer for layer in layers}
    for function in functions:
        kinds = {by_name[name].exclude: name for name in function.bundled if name in by_name}
        if len(kinds) > 1:
            names = " and ".join(f"`{name}`" for name in kinds.values())
            reader.complain(
                f"functions.{function.name}",
                f"layers {names} have different `exclude`, but the function's zip contains both",
            )
    return tuple(layer for layer in layers if layer not in bundles), bundles


def _long_form(name: str, table: Table, layers: tuple[LayerConfig, ...], project: Path) -> Function:
    handler = table.string("handler")
    if handler is not None:
        _check_handler(table, "handler", handler)
    elif "handler" not in table:
        table.complain("handler", 'missing required key; example: "service.handlers.report.lambda_handler"')
    own = _layers_of(table, layers)
    source = read_source(table, project)
    if source is None and "source" in table:
        # The mistake is already recorded. Do not require the service's `source` in addition.
        source = ()
    return replace(
        _function(name, handler or "", table, own),
        source=source,
        layer_arns=_layer_arns(table),
        wrapper=read_wrapper(table),
        budget=read_budget(table),
    )


def read_wrapper(table: Table) -> str | None:
    """Return the handler at ``wrapper`` of *table*; an empty string stands for no wrapper. Record a mistake if Lambda cannot import it."""
    wrapper = table.string("wrapper")
    if wrapper:
        _check_handler(table, "wrapper", wrapper)
    return wrapper


def _layers_of(table: Table, layers: tuple[LayerConfig, ...]) -> tuple[str, ...]:
    own = table.strings("layers")
    if own is None:
        own = () if "layers" in table else _default_layers(table, "layers", layers)
    known = [layer.name for layer in layers]
    for wanted in own:
        if wanted not in known:
            configured = ", ".join(f"`{entry}`" for entry in known)
            table.complain(
                "layers", f"unknown layer `{wanted}`{did_you_mean(wanted, known)}; configured layers: {configured}"
            )
    for layer in layers:
        for other in layer.minus:
            if layer.name in own and other not in own:
                table.complain(
                    "layers",
                    f"add `{other}`: layer `{layer.name}` leaves out the distributions of layer `{other}` (`minus`)",
                )
    return own


def _layer_arns(table: Table) -> tuple[str, ...]:
    arns = table.strings("layer-arns") or ()
    for arn in arns:
        if not arn.startswith("arn:"):
            table.complain("layer-arns", f"`{arn}` is not the ARN of a layer version; example: `{_ARN_EXAMPLE}`")
    return arns


def _default_layers(table: Table, name: str, layers: tuple[LayerConfig, ...]) -> tuple[str, ...]:
    """
    Return the layers of a function that configures none: ``common``, or the service's only layer.

    If there are several layers and none is ``common``, record a mistake at *name* and return no layers.
    """
    names = [layer.name for layer in layers]
    if DEFAULT_LAYER in names:
        return (DEFAULT_LAYER,)
    if len(names) > 1:
        choices = ", ".join(f"`{entry}`" for entry in names)
        table.complain(
            name,
            f"no layers are set, and there is no layer `{DEFAULT_LAYER}` to use by default; set `layers` to one or more of "
            f'{choices}, such as `{{ handler = "…", layers = ["{names[0]}"] }}`',
        )
        return ()
    return tuple(names)


def _function(name: str, handler: str, table: Table, layers: tuple[str, ...]) -> Function:
    environment = table.table("environment") or Table({}, key="", mistakes=[])
    variables = [(variable, value) for variable in environment if (value := environment.string(variable)) is not None]
    return Function(
        name=name,
        handler=handler,
        layers=layers,
        memory_mb=_number(table, "memory"),
        timeout_seconds=_number(table, "timeout"),
        environment=tuple(sorted(variables)),
    )


def _number(table: Table, name: str) -> int:
    limits = setting(name)
    value = table.integer(name)
    if value is None:
        return int(limits.default)
    if not limits.least <= value <= limits.most:
        unit = UNITS[name]
        table.complain(
            name, f"{value:,} {unit} is out of range; Lambda supports {limits.least:,} to {limits.most:,} {unit}"
        )
    return value


def _check_handler(table: Table, name: str, handler: str) -> None:
    """Record a mistake if Lambda cannot import *handler*."""
    if (fact := handler_mistake(handler)) is not None:
        table.complain(name, fact)


def handler_mistake(handler: str) -> str | None:
    """
    Return why Lambda cannot import *handler*, or ``None`` if it can.

    Lambda replaces each ``/`` in the module with a dot and passes the result to `importlib.import_module`, so the names of
    directories and files can contain any character but a dot, such as ``-`` (awslambdaric 4.2, `_get_handler`).
    """
    if _is_handler(handler):
        return None
    module, dot, function = handler.rpartition(".")
    fact = f'`{handler}` does not have the form "package.module.function"'
    without_empty = re.sub(r"([./])[./]+", r"\1", handler).strip("./")
    if any(character.isspace() for character in handler):
        fact = f"`{handler}` contains a space, which Lambda does not allow in a handler"
    elif handler and re.fullmatch(name_pattern("handler"), handler) is None:
        fact = f"the handler has {len(handler):,} characters; it must match `{name_pattern('handler')}`"
    elif ":" in handler:
        dotted = handler.replace(".py:", ".").replace(":", ".").replace("/", ".")
        fact += f" (did you mean `{dotted}`?)"
    elif handler.endswith(".py") or (not dot and "/" in handler):
        fact += "; the function is missing"
    elif not module.strip("./"):
        fact += "; the module is missing"
    elif without_empty != handler and _is_handler(without_empty):
        fact += f" (did you mean `{without_empty}`?)"
    elif not function.isidentifier():
        fact += f"; `{function}` is not a valid function name"
    return fact


def _is_handler(handler: str) -> bool:
    module, _, function = handler.rpartition(".")
    return (
        re.fullmatch(name_pattern("handler"), handler) is not None
        and all(module.replace("/", ".").split("."))
        and function.isidentifier()
        and ":" not in module
        and not handler.endswith(".py")
    )
