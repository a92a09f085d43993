"""Read the deploy descriptions of a project: those in it, and those above it that deploy its code."""

from __future__ import annotations

import datetime as dt
import os
from functools import cached_property
from typing import TYPE_CHECKING, Any

from lamina.audit.inspection import Inspection
from lamina.core.frozen import frozen, replace
from lamina.core.paths import relative_path
from lamina.pipeline.checks.common import listed, note, warning
from lamina.project.templates.answers import ask_each
from lamina.project.templates.files import TemplateFiles
from lamina.project.templates.find import find, find_in_root

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from lamina.core.errors import TemplateError
    from lamina.core.reporter import Reporter
    from lamina.core.store import Store
    from lamina.core.values import Finding
    from lamina.project.service import Service
    from lamina.project.templates.types import Deployed, Origin, Template

_RULE = "unchecked-template"


@frozen
class ReadDescription:
    """A deploy description, and how its paths become those of the project."""

    template: Template
    root: Path
    """The directory that the paths of *template* are relative to."""
    project: Path

    @property
    def functions(self) -> tuple[Deployed, ...]:
        """The deployed functions."""
        return tuple(each for each in self.template.deployed if not each.is_layer)

    @cached_property
    def names(self) -> frozenset[str]:
        """The names under which the functions can be configured, with those of the zips that they deploy."""
        return frozenset().union(*(function.claimed_names for function in self.functions))

    def layer(self, name: str) -> Deployed | None:
        """Return the layer *name* of the description, or ``None``."""
        return next((each for each in self.template.deployed if each.is_layer and each.name == name), None)

    def path(self, deployed: Deployed | None) -> Path | None:
        """Return the absolute path of the content of *deployed*, or ``None`` if it is unknown."""
        return None if deployed is None or deployed.content is None else self.root / deployed.content

    def place(self, origin: Origin) -> dict[str, Any]:
        """Return the arguments ``file`` and ``line`` of a finding about *origin*."""
        return {"file": relative_path(self.root / origin.file, self.project), "line": origin.line}

    def shown(self, origin: Origin) -> str:
        """Return *origin* as messages name it, such as ``template.yaml:12``."""
        return str(replace(origin, file=self.place(origin)["file"]))


def descriptions_of(service: Service, store: Store, reporter: Reporter) -> tuple[list[ReadDescription], list[Finding]]:
    """Return what `read_descriptions` does for *service*, of which no build is needed."""
    return read_descriptions(
        Inspection(
            project=service.root,
            service=service,
            builds=(),
            store=store,
            reporter=reporter,
            today=dt.datetime.now(tz=dt.UTC).date(),
        )
    )


def read_descriptions(inspection: Inspection) -> tuple[list[ReadDescription], list[Finding]]:
    """Return the descriptions that deploy code of the project, and the findings on what could not be read."""
    # The paths of descriptions are compared with those of the build.
    project = inspection.project.absolute()
    files = TemplateFiles(project, inspection.store)
    found = find(files)
    answers, failures = ask_each(found.descriptions, project, inspection.store)
    descriptions = [ReadDescription(template=each.template, root=project, project=project) for each in answers]
    findings = [_unread(path, error, project) for path, error in failures]
    findings += [
        note(_RULE, each.name, f"`{each.name}` is not checked: {each.reason}", file=each.origin.file)
        for each in found.skipped
    ]
    findings += [
        note(
            _RULE, each.path, f"`{each.path}` is not checked: the app has no `cdk.out`; run `cdk synth`", file=each.path
        )
        for each in found.descriptions
        if each.kind == "cdk-app"
    ]
    descriptions += _above(project, inspection.store)
    for description in descriptions:
        findings += _unknown_layers(description)
    return descriptions, findings


def _unread(path: str, error: TemplateError, project: Path) -> Finding:
    """Return the finding on the description *path*, at the place of the *error* in it. Reports show no directory as a file."""
    file = error.file or path
    if not (project / file).is_file():
        return warning(_RULE, path, f"the deploy description is not checked: {error}; correct it")
    return warning(
        _RULE,
        path,
        f"the deploy description is not checked: {error.problem}; correct the file",
        file=file,
        line=error.line,
    )


def _above(project: Path, store: Store) -> Iterator[ReadDescription]:
    """Yield the descriptions in the directories above *project* in its repository that deploy its code, with only that."""
    repository = next((each for each in (project, *project.parents) if (each / ".git").exists()), project)
    for directory in project.parents:
        if not directory.is_relative_to(repository):
            break
        found = find_in_root(TemplateFiles(directory, store)).descriptions
        # A description that another service needs corrected is that service's finding.
        answers, _ = ask_each(found, directory, store)
        for answer in answers:
            sources = {each.name: each.source for each in answer.template.functions}
            kept = tuple(
                each
                for each in answer.template.deployed
                if each.is_layer or _is_below(directory, (each.content, sources.get(each.name)), project)
            )
            if not all(each.is_layer for each in kept):
                template = replace(answer.template, deployed=kept)
                yield ReadDescription(template=template, root=directory, project=project)


def _is_below(directory: Path, paths: Iterable[str | None], project: Path) -> bool:
    absolute = (os.path.normpath(directory / path) for path in paths if path is not None)
    return any(path == str(project) or path.startswith(f"{project}{os.sep}") for path in absolute)


def _unknown_layers(description: ReadDescription) -> Iterator[Finding]:
    reasons: dict[str, tuple[Origin, list[str]]] = {}
    for function in description.functions:
        for unknown in function.unknown:
            if unknown.setting == "layers":
                _, labels = reasons.setdefault(unknown.reason, (unknown.origin or function.origin, []))
                labels.append(function.label)
    for reason, (origin, labels) in reasons.items():
        fact = f"{listed(labels)}: not all layers are checked: {reason}"
        yield note(_RULE, labels[0], fact, **description.place(origin))
