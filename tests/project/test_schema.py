"""The JSON Schema and the functions that read the configuration agree: on keys, types, values and limits."""

from __future__ import annotations

import ast
import json
import re
import textwrap
import tomllib
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import rtoml
from jsonschema import Draft7Validator

import lamina
from lamina.advise import thresholds as advising
from lamina.audit.vulnerabilities import settings as auditing
from lamina.aws.deploy import config as deploying
from lamina.aws.publish import config as publishing
from lamina.core.errors import ConfigError, InvalidConfigError
from lamina.project import config, members
from lamina.project.schema import schema

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jsonschema.exceptions import ValidationError

SOURCES = Path(lamina.__file__).parent
ROOT = Path(__file__).parents[2]
READERS = [
    *(SOURCES / "project").glob("*.py"),
    *(Path(str(each.__file__)) for each in (publishing, deploying, auditing, advising)),
]
# A mistake that needs only the configuration itself. The schema has to find all of these.
STRUCTURAL = re.compile(
    r"unknown key|unknown value|expected an? |the list contains|invalid \w+ name|.* is out of range|the table is empty"
    r"|Lambda has no (Python runtime|architecture)|.* does not have the form .runtime-arch|not allowed together"
    r"|missing required (key; list the directories of the services|key; example: .service\.)|.*contains a space"
)


def literals(*paths: Path) -> Iterator[str]:
    """Yield the string literals in the modules at *paths*."""
    for node in chain.from_iterable(ast.walk(ast.parse(path.read_bytes())) for path in paths):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def refused(values: object) -> set[str]:
    """Return the dotted keys of *values*, the content of ``[tool.lamina]``, in which the schema finds an error."""
    # Editors convert TOML to JSON, which has no dates.
    content = json.loads(json.dumps(values, default=str))
    return {".".join(path) for error in Draft7Validator(schema()).iter_errors(content) for path in places(error)}


def places(error: ValidationError) -> Iterator[tuple[str, ...]]:
    path = tuple(part for part in error.absolute_path if isinstance(part, str))
    match error.validator:
        case "additionalProperties":
            yield from ((*path, name) for name in error.instance if name not in error.schema["properties"])
        case "required":
            yield from ((*path, name) for name in error.validator_value if name not in error.instance)
        case "maxProperties":
            yield from ((*path, name) for name in error.instance if name != "workspace")
        case "anyOf":
            inner = [place for each in error.context or () for place in places(each)]
            yield max(inner, key=len)
        case _ if "propertyNames" in error.absolute_schema_path:
            yield (*path, str(error.instance))
        case _:
            yield path


def complaints(root: Path, values: dict[str, Any]) -> dict[str, str]:
    """Return the mistakes that lamina finds in *values*, by dotted key."""
    (root / "service").mkdir(parents=True, exist_ok=True)
    (root / "lamina.toml").write_text(rtoml.dumps(values), encoding="utf-8")
    found: dict[str, str] = {}
    readers = (
        (members.configured,)
        if "workspace" in values
        else (config.load, publishing.load, deploying.load, auditing.load, advising.load)
    )
    for load in readers:
        try:
            load(root)
        except InvalidConfigError as error:
            if error.file == "lamina.toml":
                found |= dict(error.mistakes)
        except ConfigError:
            # Not about the configuration alone, such as a template that does not exist.
            continue
    return found


def disagreements(root: Path, values: dict[str, Any]) -> tuple[set[str], set[str]]:
    """Return the keys that only the schema refuses, and those that only lamina refuses although the schema could know."""
    mistakes, wrong = complaints(root, values), refused(values)
    structural = {key for key, fact in mistakes.items() if STRUCTURAL.match(fact)}
    return wrong - mistakes.keys(), structural - wrong


def written() -> Iterator[dict[str, Any]]:
    """Yield every configuration in the examples, in the documentation and in the tests, right and wrong ones."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    texts = [block for page in pages for block in re.findall(r"(?ms)^ *```toml\n(.*?)^ *```$", page.read_text("utf-8"))]
    texts += [path.read_text("utf-8") for path in sorted((ROOT / "examples").glob("*/pyproject.toml"))]
    texts += [text for text in literals(*sorted((ROOT / "tests").rglob("*.py"))) if "[tool.lamina" in text]
    for text in texts:
        try:
            values = tomllib.loads(textwrap.dedent(text)).get("tool", {}).get("lamina")
        except tomllib.TOMLDecodeError:
            continue
        if isinstance(values, dict):
            yield values


def test_every_configuration_that_is_written_somewhere(tmp_path: Path) -> None:
    """On each configuration in the repository, the schema and lamina find the same mistakes."""
    found = list(written())
    differing = [(values, *sets) for values in found if any(sets := disagreements(tmp_path, values))]

    assert [] == differing
    assert len(found) > 80


def with_words(words: set[str], value: object) -> dict[str, Any]:
    """Return a configuration that has each of *words* as a key with *value* in every table."""
    keys = dict.fromkeys(sorted(words), value)
    tables = {
        "functions": {"f": keys},
        "layers": {"l": keys},
        "publish": keys,
        "deploy": keys,
        "audit": keys,
        "advise": keys,
    }
    return keys | tables


def test_the_same_keys_exist(tmp_path: Path) -> None:
    """Every word in the readers' modules is a key for the schema exactly where it is a key for lamina."""
    words = {word for word in literals(*READERS) if re.fullmatch(r"[a-z]+(-[a-z]+)*", word)} - {"workspace"}

    assert {"runtime", "share-with", "minus", "handler"} <= words
    assert (set(), set()) == disagreements(tmp_path, with_words(words, 0.5))
    assert (set(), set()) == disagreements(tmp_path, {"workspace": dict.fromkeys(words, 0.5)})


@pytest.mark.parametrize(
    "value",
    [True, 3, 2.5, "no such value", "", [], ["x"], ["x", "x"], ["x", ""], ["x", 1], {}, {"x": "y"}, {"x": 1}],
    ids=json.dumps,
)
def test_every_key_has_the_same_type(tmp_path: Path, value: object) -> None:
    """A value of any type is wrong for the schema exactly where it is wrong for lamina."""
    properties = schema()["properties"]
    function = properties["functions"]["additionalProperties"]["properties"]
    layer = properties["layers"]["additionalProperties"]["properties"]
    whole = dict.fromkeys(properties.keys() - {"workspace"}, value)
    nested = {
        **{
            name: dict.fromkeys(properties[name]["properties"], value)
            for name in ("publish", "deploy", "audit", "advise")
        },
        "functions": {"f": dict.fromkeys(function, value), "g": value},
        "layers": {"l": dict.fromkeys(layer, value), "m": value},
    }
    workspace = {"workspace": dict.fromkeys(properties["workspace"]["properties"], value)}

    # `targets` excludes `runtime` and `architecture`, and without `functions` a template is read.
    for values in (whole | nested, whole | {"functions": {}}, nested, workspace):
        for left_out in ({"targets"}, {"runtime", "architecture"}):
            kept = {key: each for key, each in values.items() if key not in left_out}
            assert (set(), set()) == disagreements(tmp_path, kept), kept


def enumerations(node: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], list[Any]]]:
    """Yield the path of each key that has fixed values or limits, and values at and beyond them."""
    if "enum" in node:
        yield path, [*node["enum"], "no such value", str(node["enum"][0]).upper()]
    if "maximum" in node:
        yield path, [node["minimum"] - 1, node["minimum"], node["maximum"], node["maximum"] + 1]
    for name, below in node.get("properties", {}).items():
        yield from enumerations(below, (*path, name))
    if isinstance(below := node.get("additionalProperties"), dict):
        yield from enumerations(below, (*path, "x"))
    for below in node.get("anyOf", ()):
        yield from enumerations(below, path)
    if "items" in node:
        yield from ((place, [[each] for each in values]) for place, values in enumerations(node["items"], path))


def test_every_key_has_the_same_values(tmp_path: Path) -> None:
    """The values and limits in the schema are those that lamina accepts, and lamina names no others."""
    found = dict(enumerations(schema()))
    for path, tried in found.items():
        for value in tried:
            values: Any = value
            for name in reversed(path):
                values = {name: values}
            assert (set(), set()) == disagreements(tmp_path, values), values

    assert {"runtime", "architecture", "targets", "bytecode", "local", "sdk"} <= {path[0] for path in found}
    assert {("publish", "storage"), ("publish", "missing-wheels"), ("local", "x")} <= found.keys()
    assert {("functions", "x", "memory"), ("functions", "x", "timeout")} <= found.keys()


def test_lamina_offers_no_other_values(tmp_path: Path) -> None:
    """The values that lamina lists after an unknown one are those in the schema."""
    values = {path: tried[:-2] for path, tried in enumerations(schema()) if isinstance(tried[0], str)}
    for path, known in values.items():
        wrong: Any = "no such value"
        for name in reversed(path):
            wrong = {name: wrong}
        fact = complaints(tmp_path, wrong | {"runtime": wrong.get("runtime", "python3.13")})[".".join(path)]
        listed = re.split(r"(?:one of|supported:) ", fact)[1]

        assert set(known) == {each.strip("`") for each in listed.split(", ")}


def test_the_schema_is_valid() -> None:
    """The schema follows its own draft, and each key has a text for editors to show, without links."""
    Draft7Validator.check_schema(schema())
    texts = re.findall(r'"description": "(.*?)(?<!\\)"', json.dumps(schema()))

    assert len(texts) > 30
    assert [] == [text for text in texts if "](" in text or not text.endswith(".")]


def test_the_schema_of_pyproject() -> None:
    """The schema of `pyproject.toml` describes only `[tool.lamina]`; other tables may have anything."""
    validator = Draft7Validator(schema(pyproject=True))
    values = tomllib.loads((ROOT / "examples" / "orders" / "pyproject.toml").read_text("utf-8"))

    validator.validate(values)
    values["tool"]["lamina"]["runtme"] = "python3.13"
    (error,) = validator.iter_errors(values)

    assert (["tool", "lamina"], "additionalProperties") == (list(error.absolute_path), error.validator)
