"""
Read the Lambda functions and layers in the JSON of a Terraform plan or state: the output of ``terraform show -json``.

Format: https://developer.hashicorp.com/terraform/internals/json-format (2026-11). Only the deployed values are read, and of the
environment only the names. The format has no lines.
"""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING, Any

from lamina.core.errors import TemplateError
from lamina.project.templates.deployed import deployed
from lamina.project.templates.documents import load
from lamina.project.templates.settings import FunctionSettings, Unknown, not_python, shown
from lamina.project.templates.types import (
    Deployed,
    Origin,
    Skipped,
    Template,
    TemplateFunction,
    TemplateLayer,
    Tool,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lamina.project.templates.files import TemplateFiles

_DEEPEST = 20
_MOST = 10_000
_PENDING = "the plan does not contain the value, because it is known only after apply"


def is_plan(document: Any) -> bool:
    """Return whether *document*, the content of a JSON file, is a plan or state of Terraform."""
    return (
        isinstance(document, dict)
        and isinstance(document.get("format_version"), str)
        and (isinstance(document.get("planned_values"), dict) or isinstance(document.get("values"), dict))
    )


def read_plan(path: str, files: TemplateFiles) -> Template:
    """Return what the plan or state in the JSON file *path* says. Raises `TemplateError` if it is another document."""
    document = load(path, files).value
    if not is_plan(document):
        raise TemplateError(
            f"`{path}` is not a plan or state of Terraform",
            hint=f"write it with `terraform show -json PLAN > {path}`",
        )
    values = document["planned_values"] if isinstance(document.get("planned_values"), dict) else document["values"]
    plan = _Plan(path, files)
    prior = document.get("prior_state")
    for state in (values, prior.get("values") if isinstance(prior, dict) else None):
        for each in _resources(state.get("root_module") if isinstance(state, dict) else None, path):
            plan.add_archive(each)
    for each in _resources(values.get("root_module"), path):
        plan.add(each)
    return Template(
        tool=Tool.TERRAFORM,
        path=path,
        functions=tuple(plan.functions),
        layers=tuple(plan.layers),
        deployed=tuple(plan.deployed),
        skipped=tuple(plan.skipped),
    )


def _resources(module: Any, path: str) -> Iterator[dict[str, Any]]:
    """Yield the resources of *module* and of the modules below it."""
    waiting, found = [(module, 0)], 0
    while waiting:
        current, depth = waiting.pop()
        if not isinstance(current, dict) or depth > _DEEPEST:
            continue
        for each in _list(current.get("resources")):
            if isinstance(each, dict) and isinstance(each.get("values"), dict):
                found += each.get("type") in {"aws_lambda_function", "aws_lambda_layer_version"}
                if found > _MOST:
                    raise TemplateError(f"`{path}` has more than {_MOST:,} functions and layers")
                yield each
        waiting += [(each, depth + 1) for each in reversed(_list(current.get("child_modules")))]


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


class _Plan:
    """The functions, layers and archives of a plan."""

    def __init__(self, path: str, files: TemplateFiles) -> None:
        self.functions: list[TemplateFunction] = []
        self.layers: list[TemplateLayer] = []
        self.deployed: list[Deployed] = []
        self.skipped: list[Skipped] = []
        self._directory, self._files = posixpath.dirname(path) or ".", files
        self._origin = Origin(file=path)
        self._archives: dict[str, str] = {}

    def add_archive(self, resource: dict[str, Any]) -> None:
        """Remember what *resource* packs if it is an archive."""
        values = resource["values"]
        output, source = values.get("output_path"), values.get("source_dir") or values.get("source_file")
        if resource.get("type") == "archive_file" and isinstance(output, str) and isinstance(source, str):
            local = self._files.join(self._directory, source)
            if local is not None and (self._files.is_directory(local) or local.endswith(".py")):
                self._archives[output] = local

    def add(self, resource: dict[str, Any]) -> None:
        """Add *resource* if it is a function or a layer."""
        kind, values = resource.get("type"), resource["values"]
        if kind == "aws_lambda_function":
            self._deploy(_address(resource), values, refer=_planned)
            self._function(_address(resource), values)
        elif kind == "aws_lambda_layer_version":
            source = self._local(values.get("filename"))
            self._deploy(_address(resource), values)
            self.layers.append(TemplateLayer(name=_address(resource), origin=self._origin, source=source))

    def _deploy(self, name: str, values: dict[str, Any], *, refer: Callable[[Any], Any] | None = None) -> None:
        """Record what the function or layer *values* deploys, unless it is an image or not for Python."""
        prefix = "compatible_" if refer is None else ""
        runtime = values.get("compatible_runtimes" if refer is None else "runtime")
        found = deployed(
            name,
            {
                "runtime": runtime,
                "architecture": values.get(f"{prefix}architectures"),
                "layers": _planned(values.get("layers")) if refer is not None else None,
            },
            lambda setting, index: self._origin,  # noqa: ARG005 - the format has no lines
            origin=self._origin,
            refer=refer,
            handler=values.get("handler"),
            content=self._local(values.get("filename")),
        )
        if found is not None and values.get("package_type") != "Image":
            self.deployed.append(found)

    def _function(self, name: str, values: dict[str, Any]) -> None:
        reason = unsupported(values.get)
        if reason is not None:
            self.skipped.append(Skipped(name=name, reason=reason, origin=self._origin))
            return
        settings = FunctionSettings()
        filename = values.get("filename")
        source = self._archives.get(filename) if isinstance(filename, str) else None
        if source is None:
            settings.mark_unknown("source", _code(values))
        blocks = [each for each in _list(values.get("environment")) if isinstance(each, dict)]
        self.functions.append(
            TemplateFunction(
                name=name,
                origin=self._origin,
                source=source,
                handler=settings.text("handler", _planned(values.get("handler"))),
                runtime=settings.text("runtime", _planned(values.get("runtime"))),
                architecture=settings.architecture(values.get("architectures")),
                memory_mb=settings.number("memory", values.get("memory_size")),
                timeout_seconds=settings.number("timeout", values.get("timeout")),
                environment=settings.names(*(each.get("variables") for each in blocks)),
                # A plan leaves out a list with a value that is not known yet, such as the ARN of a new layer version.
                layers=settings.layers(_planned(values.get("layers")), _planned),
                unknown=settings.unknown,
            )
        )

    def _local(self, filename: Any) -> str | None:
        """Return the zip *filename* relative to the project if it exists."""
        local = self._files.join(self._directory, filename) if isinstance(filename, str) else None
        return local if local is not None and self._files.is_file(local) else None


def _address(resource: dict[str, Any]) -> str:
    """Return a name for *resource*: the key of its instance, or its address without types."""
    name, index = resource.get("name"), resource.get("index")
    address = resource.get("address")
    modules = address.split(".")[1:-2:2] if isinstance(address, str) and address.startswith("module.") else []
    parts = [*modules, name if isinstance(name, str) else "function", *([] if index is None else [index])]
    return "-".join(
        str(part).replace('["', "-").replace('"]', "").replace("[", "-").replace("]", "") for part in parts
    )[:200]


def unsupported(get: Callable[[str], Any]) -> str | None:
    """Return why lamina does not build the function whose arguments *get* returns, or ``None``."""
    if get("package_type") == "Image" or get("image_uri") not in (None, ""):
        return "code is a container image"
    return not_python(get("runtime"))


def _planned(value: Any) -> Any:
    """Return *value*, or why a plan does not contain it."""
    return Unknown(reason=_PENDING) if value is None else value


def _code(values: dict[str, Any]) -> str:
    filename = values.get("filename")
    if isinstance(filename, str):
        return f"`{shown(filename)}` is built by something else"
    return "the code is an object in S3" if values.get("s3_bucket") else _PENDING
