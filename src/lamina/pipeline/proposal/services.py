"""
Divide the functions of a repository into services: one for each set of dependencies.

A function belongs to the closest directory above its code that declares dependencies. A template whose functions have
requirements files of their own is one service if the files are the same, and one service for each file otherwise.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from lamina.core.frozen import replace
from lamina.core.names import unused, valid_function_name
from lamina.lock.commands import REQUIREMENTS
from lamina.project.discovery import discover
from lamina.project.functions import handler_mistake
from lamina.project.templates.types import Skipped

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lamina.project.discovery import Handler
    from lamina.project.templates.files import TemplateFiles
    from lamina.project.templates.types import Template, TemplateFunction

_MANIFESTS = ("uv.lock", "pylock.toml", "poetry.lock", "pdm.lock", "Pipfile.lock", "Pipfile")
_PYPROJECT = "pyproject.toml"
_LARGEST_PYPROJECT = 1_000_000
_DECLARES = re.compile(rb"^[ \t]*\[(?:project|dependency-groups|tool\.(?:poetry|pdm|lamina)[\].])", re.MULTILINE)


@dataclass(kw_only=True, slots=True)
class ServiceGroup:
    """The functions of one service, as the repository describes them."""

    directory: str
    """The service's directory relative to the root; ``.`` for the root itself."""
    templates: list[Template] = field(default_factory=list)
    functions: list[TemplateFunction] = field(default_factory=list)
    handlers: list[Handler] = field(default_factory=list)
    """Handlers that were found in sources, if there is no template."""
    requirements: list[str] = field(default_factory=list)
    """The requirements files that the functions and layers of a template use, relative to the root."""
    by_name: dict[str, TemplateFunction] = field(default_factory=dict)
    """The first of *functions* by its name in the template."""
    taken: set[str] = field(default_factory=set)
    """The names of *functions* in lower case."""
    notes: list[str] = field(default_factory=list)
    """What the user should know about the functions, one sentence each."""


def group_templates(
    templates: Sequence[Template], files: TemplateFiles
) -> tuple[dict[str, ServiceGroup], tuple[Skipped, ...]]:
    """Return the services of *templates* by directory, and the functions that lack a handler or a source."""
    groups: dict[str, ServiceGroup] = {}
    skipped: list[Skipped] = []
    for template in templates:
        placed: list[tuple[TemplateFunction, str]] = []
        guesses: dict[str, str] = {}
        for function in template.functions:
            found, problem = _complete(function, files, guesses)
            if found is None:
                skipped.append(Skipped(name=function.name, reason=problem, origin=function.origin))
            else:
                placed.append((found, _code_directory(found)))
        for directory, functions, requirements in _divide(template, placed, files):
            group = groups.setdefault(directory, ServiceGroup(directory=directory))
            group.templates.append(template)
            group.requirements += [path for path in requirements if path not in group.requirements]
            for function in functions:
                _add(group, function)
                group.notes += [guesses[function.name]] if function.name in guesses else []
    return groups, tuple(skipped)


def group_handlers(root: Path, files: TemplateFiles) -> dict[str, ServiceGroup]:
    """Return the services whose handlers were found in the sources below *root*, by directory."""
    homes = {"."} | {
        directory
        for directory in {path.rpartition("/")[0] or "." for path in files.paths}
        if _declaration(directory, files) is not None
    }
    projects = {directory: absolute(root, directory) for directory in homes}
    groups = {}
    for directory, project in projects.items():
        others = {other for other in projects.values() if other != project}
        name = None if directory == "." else project.name
        if handlers := discover(project, without=others, name=name):
            groups[directory] = ServiceGroup(directory=directory, handlers=list(handlers))
    return groups


def _complete(
    function: TemplateFunction, files: TemplateFiles, guesses: dict[str, str]
) -> tuple[TemplateFunction | None, str]:
    """Return *function* with a source, searched for by its handler if the template does not tell it, or the reason why not."""
    if function.handler is None:
        return None, f"its handler is unknown: {function.why_unknown('handler') or 'the template sets none'}"
    if (mistake := handler_mistake(function.handler)) is not None:
        return None, mistake
    if function.source is not None and "\\" in function.source:
        return None, f"the name of its directory `{function.source}` contains a backslash"
    if function.source is not None:
        return function, ""
    reason = function.why_unknown("source") or "the template does not name a directory"
    module = function.handler.rpartition(".")[0].replace(".", "/")
    wanted = [f"{module}.py", f"{module}/__init__.py"]
    places = [
        path.removesuffix(name).rstrip("/")
        for name in wanted
        for path in files.find(PurePosixPath(name).name)
        if f"/{path}".endswith(f"/{name}")
    ]
    if len(places) != 1:
        found = f"{len(places)} files fit the handler" if places else "no file fits the handler"
        return None, f"its source is unknown: {reason}; {found} `{function.handler}`"
    guesses[function.name] = (
        f"source of `{function.name}` guessed from the only file that fits its handler `{function.handler}`: {reason}"
    )
    return replace(function, source=places[0] or "."), ""


def _code_directory(function: TemplateFunction) -> str:
    source = function.source or "."
    return (PurePosixPath(source).parent.as_posix()) if source.endswith(".py") else source


def _divide(
    template: Template, placed: Sequence[tuple[TemplateFunction, str]], files: TemplateFiles
) -> Iterator[tuple[str, list[TemplateFunction], list[str]]]:
    """Yield the directory, functions and requirements files of each service of *template*."""
    base = template.path if files.is_directory(template.path) else PurePosixPath(template.path).parent.as_posix()
    shared = [path for layer in template.layers if layer.source for path in _requirements_in(layer.source, files)]
    own: dict[str, list[TemplateFunction]] = {}
    loose: dict[tuple[str, ...], list[tuple[TemplateFunction, str]]] = {}
    for function, code in placed:
        directory, requirements = _home(code, files)
        if directory is not None and requirements is None:
            own.setdefault(directory, []).append(function)
        else:
            loose.setdefault((requirements,) if requirements else (), []).append((function, code))
    yield from ((directory, functions, []) for directory, functions in own.items())
    contents = {files.read(path[0]) for path in loose if path}
    if len(contents) <= 1:
        functions = [each for several in loose.values() for each in several]
        if functions:
            chosen = _named_requirements(template, files) or [path for key in loose for path in key][:1]
            yield _common([base, *(code for _, code in functions)]), [each for each, _ in functions], [*chosen, *shared]
        return
    for requirements_key, several in loose.items():
        places = [PurePosixPath(path).parent.as_posix() for path in requirements_key]
        directory = places[0] if places else _common([code for _, code in several])
        yield directory, [function for function, _ in several], [*requirements_key, *shared]


def _named_requirements(template: Template, files: TemplateFiles) -> list[str]:
    """Return the requirements files that *template* names, such as ``custom.pythonRequirements.fileName``."""
    settings = [pair for translation in template.translations for pair in translation.configuration]
    named = [value for key, value in settings if key == "lock" and isinstance(value, str)]
    return [path for path in dict.fromkeys(named) if path.endswith((".txt", ".in")) and files.is_file(path)]


def _home(code: str, files: TemplateFiles) -> tuple[str | None, str | None]:
    """
    Return the closest directory at or above *code* that declares dependencies, or ``None``.

    The second result is its requirements file, if it has no other declaration.
    """
    place = PurePosixPath(code)
    for directory in map(PurePosixPath.as_posix, (place, *place.parents)):
        declaration = _declaration(directory, files)
        if declaration is not None:
            requirements = (PurePosixPath(directory) / REQUIREMENTS).as_posix()
            return directory, requirements if declaration == REQUIREMENTS else None
    return None, None


def _declaration(directory: str, files: TemplateFiles) -> str | None:
    """Return the name of the file with which *directory* declares dependencies, or ``None``."""
    names = files.names(directory)
    found = next((name for name in _MANIFESTS if name in names), None)
    if found is None and _PYPROJECT in names:
        content = files.head((PurePosixPath(directory) / _PYPROJECT).as_posix(), _LARGEST_PYPROJECT)
        found = _PYPROJECT if _DECLARES.search(content) else None
    return REQUIREMENTS if found is None and REQUIREMENTS in names else found


def _requirements_in(layer: str, files: TemplateFiles) -> list[str]:
    return [path for path in (f"{layer}/{REQUIREMENTS}", f"{layer}/python/{REQUIREMENTS}") if files.is_file(path)][:1]


def _common(directories: Sequence[str]) -> str:
    return os.path.commonpath([os.path.normpath(os.path.join("/", each)) for each in directories]).strip("/") or "."


def _add(group: ServiceGroup, function: TemplateFunction) -> None:
    """Add *function* to *group*, unless another template describes the same one; number a name that is taken."""
    same = group.by_name.get(function.name)
    if same is not None and (same.handler, same.source) == (function.handler, function.source):
        settings = ("runtime", "architecture", "memory_mb", "timeout_seconds")
        if any(getattr(same, setting) != getattr(function, setting) for setting in settings):
            group.notes.append(
                f"`{function.name}` has other settings in {function.origin} than in {same.origin}, which count"
            )
        return
    name = unused(valid_function_name(function.name), group.taken)
    group.taken.add(name.lower())
    if name != function.name:
        group.notes.append(f"`{function.name}` ({function.origin}) is named `{name}` here")
    named = replace(function, name=name)
    group.by_name.setdefault(function.name, named)
    group.functions.append(named)


def absolute(root: Path, directory: str) -> Path:
    """Return *directory*, relative to *root*, as an absolute path."""
    return Path(os.path.normpath(root / directory))
