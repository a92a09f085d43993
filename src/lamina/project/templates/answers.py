"""
Keep in the store what deploy descriptions say, so that an unchanged description is not parsed again.

An answer is found by the tool, the path and the content of the main file. It is valid while every file and directory that the
reader has seen is unchanged.
"""

from __future__ import annotations

import hashlib
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from lamina import __version__
from lamina.core.errors import TemplateError
from lamina.core.frozen import as_dict, replace
from lamina.core.store import key_of
from lamina.project.snapshot import Snapshot
from lamina.project.templates.files import JSON_BYTES, TemplateFiles
from lamina.project.templates.types import (
    Deployed,
    LayerExport,
    LayerReference,
    Origin,
    Skipped,
    Stated,
    Template,
    TemplateAnswer,
    TemplateFunction,
    TemplateLayer,
    Tool,
    Translation,
    UnknownSetting,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from lamina.core.store import Store
    from lamina.project.templates.find import Description

_AREA = "templates"
_FORMAT = 5

READERS: Final[Mapping[str, tuple[str, str]]] = {
    "cloudformation": ("cloudformation.reader", "read"),
    "serverless": ("serverless.reader", "read"),
    "terraform": ("terraform.reader", "read"),
    "terraform-plan": ("terraform.plan", "read_plan"),
    "cdk": ("cdk.reader", "read"),
}
"""The module of this package and its function that reads each kind of description."""


def ask(kind: str, path: str, root: Path, store: Store) -> TemplateAnswer:
    """
    Return what the description at *path*, relative to *root*, says; *kind* is a key of `READERS`.

    Raises `TemplateError` if the description is invalid.
    """
    files = TemplateFiles(root, store)
    place = _place(kind, path, files, store)
    kept = _recall(place, files, store)
    if kept is not None:
        return kept
    module, function = READERS[kind]
    template: Template = getattr(import_module(f"lamina.project.templates.{module}"), function)(path, files)
    answer = TemplateAnswer(template=template, inputs=files.snapshot)
    document = {"inputs": answer.inputs.to_json(), "template": _row(template)}
    store.write_document(place, document)
    return answer


def ask_all(
    descriptions: Iterable[Description], root: Path, store: Store, *, searched: bool
) -> tuple[tuple[TemplateAnswer, ...], tuple[Skipped, ...]]:
    """
    Return what `ask_each` does. The code of an own layer is added to the functions that use it.

    Raises `TemplateError` if a description is invalid, unless they were *searched* and another one has functions.
    """
    answers, failures = ask_each(descriptions, root, store)
    kept = [_with_layer_code(answer, root) for answer in answers]
    if failures and not (searched and any(answer.template.functions for answer in kept)):
        raise failures[0][1]
    skipped = [Skipped(name=path, reason=str(error), origin=Origin(file=path)) for path, error in failures]
    return tuple(kept), tuple(skipped)


def ask_each(
    descriptions: Iterable[Description], root: Path, store: Store
) -> tuple[tuple[TemplateAnswer, ...], tuple[tuple[str, TemplateError], ...]]:
    """
    Return what *descriptions* say, without those that another one includes, and the paths and errors of those that are invalid.

    *descriptions* are in the order of their depth, which saves reading modules and nested templates twice.
    """
    answers: dict[str, TemplateAnswer] = {}
    failures: list[tuple[str, TemplateError]] = []
    included: set[str] = set()
    for description in descriptions:
        if description.path in included or description.kind == "cdk-app":
            continue
        try:
            answer = ask(description.kind, description.path, root, store)
        except TemplateError as error:
            failures.append((description.path, error))
            continue
        answers[description.path] = answer
        included |= {*answer.template.includes} - {description.path}
    return tuple(answer for path, answer in answers.items() if path not in included), tuple(failures)


def _with_layer_code(answer: TemplateAnswer, root: Path) -> TemplateAnswer:
    """Add the Python code in own layers to the functions that use them, because lamina's layers contain distributions only."""
    files = TemplateFiles(root)
    template = answer.template
    code = {layer.name: _code_of(layer.source, files) for layer in template.layers if layer.source is not None}
    if not any(code.values()):
        return answer
    functions = tuple(
        replace(
            function,
            more=(*function.more, *(path for layer in function.layers if (path := code.get(layer.name)) is not None)),
        )
        for function in template.functions
    )
    inputs = Snapshot(observations=(*answer.inputs.observations, *files.snapshot.observations))
    return TemplateAnswer(template=replace(template, functions=functions), inputs=inputs)


def _code_of(layer: str, files: TemplateFiles) -> str | None:
    """Return the directory in *layer* whose Python modules functions can import, or ``None`` if it has none."""
    for directory in (f"{layer}/python", layer):
        if any(path.startswith(f"{directory}/") and path.endswith(".py") for path in files.paths):
            return directory
    return None


def _place(kind: str, path: str, files: TemplateFiles, store: Store) -> Path:
    content: object
    if files.is_directory(path):
        content = files.names(path)
    else:
        content = hashlib.sha256(files.read(path, limit=JSON_BYTES)).hexdigest()
    key = key_of(_FORMAT, __version__, str(files.root), kind, path, content)
    return store.entry(_AREA, key, ".json")


def _recall(place: Path, files: TemplateFiles, store: Store) -> TemplateAnswer | None:
    kept = store.read_document(place, _parse)
    return kept if kept is not None and kept.inputs.unchanged(files.root) else None


def _parse(content: Mapping[str, Any]) -> TemplateAnswer:
    """Return the answer in *content*, that of a file of the store. Raises an error of `lamina.core.documents.INVALID`."""
    inputs, template = Snapshot.from_json(content["inputs"]), _template(content["template"])
    if inputs is None or not all(map(_has_its_types, template.functions)):
        raise ValueError("not an answer")
    return TemplateAnswer(template=template, inputs=inputs)


def _has_its_types(function: Any) -> bool:
    texts = (function.name, function.handler, function.source, function.runtime, function.architecture)
    several = (*function.patterns, *function.environment, *function.more, *(layer.name for layer in function.layers))
    numbers = (function.memory_mb, function.timeout_seconds)
    return (
        isinstance(function.name, str)
        and all(isinstance(each, str | None) for each in texts)
        and all(isinstance(each, str) for each in several)
        and all(isinstance(each, int | None) for each in numbers)
    )


def _row(value: Any) -> Any:
    """Return a value class as JSON values, with all values inside it."""
    if isinstance(value, tuple):
        return [_row(item) for item in value]
    if isinstance(value, Tool):
        return value.value
    if hasattr(value, "__frozen_fields__"):
        return {name: _row(item) for name, item in as_dict(value).items()}
    return value


def _template(row: Any) -> Template:
    return Template(
        tool=Tool(row["tool"]),
        path=str(row["path"]),
        includes=tuple(row["includes"]),
        functions=tuple(_function(each) for each in row["functions"]),
        layers=tuple(TemplateLayer(**_placed(each)) for each in row["layers"]),
        deployed=tuple(_deployed(each) for each in row["deployed"]),
        exports=tuple(LayerExport(**_placed(each)) for each in row["exports"]),
        skipped=tuple(Skipped(**_placed(each)) for each in row["skipped"]),
        translations=tuple(
            Translation(
                **_placed(each) | {"configuration": tuple((key, value) for key, value in each["configuration"])}
            )
            for each in row["translations"]
        ),
    )


def _function(row: Any) -> TemplateFunction:
    return TemplateFunction(
        **_placed(row)
        | {
            "more": tuple(row["more"]),
            "patterns": tuple(row["patterns"]),
            "environment": tuple(row["environment"]),
            "layers": tuple(LayerReference(**each) for each in row["layers"]),
            "unknown": _unknown(row),
        }
    )


def _deployed(row: Any) -> Deployed:
    several = ("runtimes", "architectures", "layers", "imports")
    return Deployed(
        **_placed(row)
        | {name: tuple(Stated(**_placed(each)) for each in row[name]) for name in several}
        | {"unknown": _unknown(row)}
    )


def _unknown(row: Any) -> tuple[UnknownSetting, ...]:
    return tuple(UnknownSetting(**(each if each["origin"] is None else _placed(each))) for each in row["unknown"])


def _placed(row: Any) -> dict[str, Any]:
    return {**row, "origin": Origin(**row["origin"])}
