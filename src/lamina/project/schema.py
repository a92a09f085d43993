"""
Describe the configuration as a JSON Schema, for editors.

The keys, types and texts are in ``data/configuration.toml``, which the documentation and hints for unknown keys read, too. The schema
is weaker than the functions that read the configuration: it knows neither the project's files nor the names of its layers.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from lamina.core.target import Architecture, runtimes
from lamina.core.toml import read_data
from lamina.project.budgets import PATTERNS
from lamina.project.functions import name_pattern, setting

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# The draft with which taplo 0.9 and Tombi 1.9, the TOML language servers of editors, were tested (2026-11).
_DRAFT = "http://json-schema.org/draft-07/schema#"
_TABLES = {"functions": "function_name", "layers": "layer_name"}
_WORKSPACE = "workspace"
_NEVER: dict[str, Any] = {"not": {}}


def schema(*, pyproject: bool = False) -> dict[str, Any]:
    """Return the schema of ``lamina.toml``; if *pyproject*, of a ``pyproject.toml`` in which only ``[tool.lamina]`` is described."""
    tables = {row["path"]: _table(row["key"]) for row in read_data("configuration.toml")["table"]}
    service = tables[""]
    properties = service["properties"]
    for name in ("publish", "deploy", "audit", "advise"):
        properties[name] |= tables[name]
    properties["allow-layers"] |= {"type": "array", "items": tables["allow-layers[]"]}
    for name, rule in _TABLES.items():
        properties[name] |= _by_name(tables[f"{name}.*"], rule)
    properties["layers"]["minProperties"] = 1
    # A string is the short form of a function: its handler. The keywords for tables do not apply to strings.
    function = properties["functions"]["additionalProperties"]
    function |= {"type": ["string", "object"], "pattern": function["properties"]["handler"]["pattern"]}
    properties[_WORKSPACE] = {
        "description": "The services of a repository, in the configuration at its root.",
        **tables[_WORKSPACE],
    }
    service["allOf"] = [
        {"if": {"required": [_WORKSPACE]}, "then": {"maxProperties": 1}},
        {"if": {"required": ["targets"]}, "then": {"properties": {"runtime": _NEVER, "architecture": _NEVER}}},
    ]
    head = {"$schema": _DRAFT, "title": "lamina"}
    if pyproject:
        return head | {"type": "object", "properties": {"tool": {"type": "object", "properties": {"lamina": service}}}}
    return head | service


def _table(keys: list[dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "type": "object",
        "properties": {key["name"]: _key(key) for key in keys},
        "additionalProperties": False,
    }
    required = [key["name"] for key in keys if key.get("required")]
    return found | ({"required": required} if required else {})


def _by_name(table: dict[str, Any], rule: str) -> dict[str, Any]:
    """Return the schema of a table of tables, whose names follow Lambda's *rule* for them."""
    return {"propertyNames": {"pattern": f"^{name_pattern(rule)}$"}, "additionalProperties": table}


def _key(key: Mapping[str, Any]) -> dict[str, Any]:
    kind = _list_of_tables(key) if "fields" in key else _type(key["type"], dict(_limits(key)))
    found = {"description": _plain(key["meaning"]), **kind}
    return found | ({"default": key["default"]} if "default" in key else {})


def _list_of_tables(key: Mapping[str, Any]) -> dict[str, Any]:
    # The language servers of editors pass a date as a string.
    text = {"type": "string", "minLength": 1}
    item = {
        "type": "object",
        "properties": dict.fromkeys(key["fields"], text),
        "additionalProperties": False,
        "required": [name for name, need in key["fields"].items() if need == "required"],
    }
    if key["type"] == "list of strings or tables":
        return {"type": "array", "items": {"anyOf": [text, item]}, "uniqueItems": True}
    return {"type": "array", "items": item}


def _type(kind: str, limits: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a value of *kind*. The *limits* apply to the value, or to those that it contains."""
    text = {"type": "string", **limits}
    match kind:
        case "list of strings":
            return {"type": "array", "items": {"minLength": 1, **text}, "uniqueItems": True}
        case "table of strings":
            return {"type": "object", "additionalProperties": text}
        case "string or table" | "integer or string":
            other = (
                {"type": "object", "additionalProperties": text}
                if "table" in kind
                else {"type": "integer", "minimum": 0}
            )
            return {"anyOf": [text, other]}
        case "boolean or list of strings":
            return {"anyOf": [{"type": "boolean"}, _type("list of strings", limits)]}
        case "table":
            return {"type": "object"}
        case _:
            return {"type": kind, **limits}


def _limits(key: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    match key["name"], key["type"]:
        case "runtime", _:
            yield "enum", [runtime.name for runtime in runtimes()]
        case "architecture", _:
            yield "enum", [str(architecture) for architecture in Architecture]
        case "targets", _:
            offered = [(runtime.name, architecture) for runtime in runtimes() for architecture in runtime.architectures]
            yield "enum", [f"{runtime}-{architecture}" for runtime, architecture in offered]
        case "handler", _:
            yield "pattern", f"^{name_pattern('handler')}$"
        case "wrapper", _:
            yield "pattern", f"^({name_pattern('handler')})?$"
        case name, "integer or string":
            yield "pattern", PATTERNS[name]
        case _, "integer" if "least" in key:
            yield "minimum", key["least"]
            yield "maximum", key["most"]
        case name, "integer":
            limits = setting(name)
            yield "minimum", limits.least
            yield "maximum", limits.most
        case _:
            if "values" in key:
                yield "enum", key["values"]


def _plain(meaning: str) -> str:
    """Return *meaning* without references and links, whose targets are relative to the documentation."""
    return re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", meaning.partition(". See [")[0]) + "."
