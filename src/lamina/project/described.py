"""The functions of a service without a ``functions`` table: those of the deploy description in its directory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lamina.core.frozen import frozen
from lamina.core.names import unused, valid_function_name
from lamina.project.table import Table
from lamina.project.templates.answers import ask_all
from lamina.project.templates.entries import source_entries
from lamina.project.templates.files import TemplateFiles
from lamina.project.templates.find import describe, find_in_root

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from lamina.core.store import Store
    from lamina.project.templates.find import Description
    from lamina.project.templates.types import Template, TemplateFunction

_SYNTHESIZED = frozenset({"cdk", "cdk-app"})


@frozen
class DescribedFunctions:
    """The functions that a deploy description says a service has."""

    path: str
    """The description's path relative to the project, or an empty string if there is none."""
    functions: dict[str, dict[str, object]]
    """The functions in the form of the configuration's table ``functions``."""
    runtime: str | None
    architecture: str | None
    notes: tuple[str, ...]
    """The functions of the description that are not built, with the reasons."""
    inputs: tuple[Path, ...]
    """Every file and directory that decided the functions, as absolute paths."""

    def table(self, reader: Table, mistakes: list[tuple[str, str]]) -> Table:
        """
        Return a table with ``functions``.

        If *reader*, the configuration, sets ``source``, it takes the place of the functions' own directories.
        """
        dropped = {"source"} if "source" in reader else set()
        functions = {
            name: {key: value for key, value in row.items() if key not in dropped}
            for name, row in self.functions.items()
        }
        return Table({"functions": functions} if functions else {}, key="", mistakes=mistakes)


def read_described(reader: Table, project: Path, store: Store) -> DescribedFunctions:
    """
    Return the functions in the description that ``template`` names, or in the one in the directory *project*.

    A mistake is recorded in *reader* for each function that lacks a handler or a source, and if there are several
    descriptions. Raises TemplateError if the description is invalid.
    """
    files = TemplateFiles(project, store)
    named = reader.string("template")
    if named is not None:
        found: tuple[Description, ...] = (describe(named, files),)
    else:
        # `cdk.out` is used only if it is configured: it may be older than the sources.
        found = tuple(each for each in find_in_root(files).descriptions if each.kind not in _SYNTHESIZED)
    answers, _ = ask_all(found, project, store, searched=False)
    templates = [answer.template for answer in answers if answer.template.functions]
    if len(templates) > 1:
        listed = ", ".join(f"`{template.path}`" for template in templates)
        reader.complain(
            "template", f"missing required key; set it to one of {listed}, or add `[tool.lamina.functions]`"
        )
    template = templates[0] if templates else None
    snapshots = [files.snapshot, *(answer.inputs for answer in answers)]
    return DescribedFunctions(
        path="" if template is None else template.path,
        functions={} if template is None else dict(_rows(template, reader)),
        runtime=None if template is None else _one(template, "runtime", reader),
        architecture=None if template is None else _one(template, "architecture", reader),
        notes=tuple(
            f"`{each.name}` ({each.origin}) is not built: {each.reason}"
            for answer in answers
            for each in answer.template.skipped
        ),
        inputs=tuple({project / seen.path: None for snapshot in snapshots for seen in snapshot.observations}),
    )


def _rows(template: Template, reader: Table) -> Iterable[tuple[str, dict[str, object]]]:
    names: set[str] = set()
    for function in template.functions:
        missing = [name for name in ("handler", "source") if getattr(function, name) is None]
        for name in missing:
            reason = function.why_unknown(name) or "it is not set"
            fact = f"`{function.name}` ({function.origin}): unknown {name}: {reason}; add the functions by hand"
            reader.complain("functions", fact)
        if not missing:
            name = unused(valid_function_name(function.name), names)
            names.add(name.lower())
            yield name, _row(function)


def _row(function: TemplateFunction) -> dict[str, object]:
    row: dict[str, Any] = {"handler": function.handler, "source": list(source_entries(function, "."))}
    if function.memory_mb is not None:
        row["memory"] = function.memory_mb
    if function.timeout_seconds is not None:
        row["timeout"] = function.timeout_seconds
    if arns := [layer.name for layer in function.layers if layer.is_arn]:
        row["layer-arns"] = arns
    return row


def _one(template: Template, setting: str, reader: Table) -> str | None:
    """Return the value of *setting* that all functions have. Record a mistake if it is not configured and they differ."""
    values = [
        function.target_architecture if setting == "architecture" else function.runtime
        for function in template.functions
    ]
    known = sorted({value for value in values if value is not None})
    if "targets" in reader:
        return None
    if setting in reader:
        configured = reader.string(setting)
        for function in template.functions:
            own = function.target_architecture if setting == "architecture" else function.runtime
            if own not in {None, configured} and getattr(function, setting) is not None:
                fact = f"`{function.name}` ({function.origin}) uses `{own}`; add `[tool.lamina.functions]` without it"
                reader.complain(setting, fact)
        return None
    for function in template.functions:
        if (reason := function.why_unknown(setting)) is not None:
            reader.complain(setting, f"missing required key; `{function.name}` ({function.origin}): {reason}")
            return None
    if len(known) > 1:
        listed = ", ".join(f"`{value}`" for value in known)
        reader.complain(setting, f"missing required key; the functions in `{template.path}` use {listed}")
    return known[0] if known else None
