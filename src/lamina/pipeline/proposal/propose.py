"""Propose ``[tool.lamina]`` for every service of a repository: from its templates, otherwise from its sources."""

from __future__ import annotations

import os
from collections import Counter
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from lamina.core import toml
from lamina.core.errors import ConfigError
from lamina.core.faults import exhausted
from lamina.core.files import read_file
from lamina.core.paths import relative_path
from lamina.core.target import Target
from lamina.core.text import count, decoded, undecodable
from lamina.pipeline.proposal.locking import named_like, propose_lock
from lamina.pipeline.proposal.runtime import choose_architecture, choose_runtime
from lamina.pipeline.proposal.services import ServiceGroup, absolute, group_handlers, group_templates
from lamina.pipeline.proposal.values import Proposal, ProposedFunction, ProposedService
from lamina.pipeline.report import OUTPUT_DIRECTORY
from lamina.project.external import allowed_layer, is_layer_version, may_be_own
from lamina.project.file import configures
from lamina.project.functions import setting
from lamina.project.members import configured as configured_members
from lamina.project.members import is_service
from lamina.project.templates.answers import ask_all
from lamina.project.templates.cdk.reader import CdkGuess, guess
from lamina.project.templates.entries import source_entries, unapplied_patterns
from lamina.project.templates.files import TemplateFiles
from lamina.project.templates.find import FoundDescriptions, describe, find, find_in_root
from lamina.project.templates.types import Origin, Skipped, Stated

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from lamina.core.store import Store
    from lamina.project.discovery import Handler
    from lamina.project.templates.types import Deployed, Template, TemplateFunction, Translation

_PYPROJECT = "pyproject.toml"
_STANDALONE = "lamina.toml"
# Keys that lamina decides from all functions of a service.
_DECIDED = frozenset({"architecture", "lock", "runtime", "source"})


def propose(
    root: Path,
    *,
    store: Store,
    today: dt.date,
    runtime: str | None = None,
    architecture: str | None = None,
    template: str | None = None,
    again: bool = False,
) -> Proposal:
    """
    Return configurations for all services in the directory *root*.

    *runtime* and *architecture* override the detected values. *template* is the only deploy description to read, as the user
    typed it; by default, lamina searches for them. With *again*, services that are already configured are proposed too.
    Raises ConfigError if every service is already configured, if the runtime is unknown, or if ``pyproject.toml`` is not valid
    TOML. Raises TemplateError if a deploy description is invalid.
    """
    root = Path(os.path.abspath(root))
    files = TemplateFiles(root, store)
    found = (
        find(files)
        if template is None
        else FoundDescriptions(descriptions=(describe(_below(root, template), files),), skipped=())
    )
    answers, failed = ask_all(found.descriptions, root, store, searched=template is None)
    templates = [answer.template for answer in answers]
    groups, incomplete = group_templates(templates, files)
    described: tuple[TemplateFunction, ...] = ()
    if not groups:
        # Functions without a known source still set the runtime and the architecture.
        described = tuple(function for each in templates for function in each.functions)
        groups = group_handlers(root, files) or {".": ServiceGroup(directory=".")}
    configured = [] if again else [each for each in groups if is_service(absolute(root, each))]
    if len(configured) == len(groups):
        raise _already_configured(root, configured)
    app, guessed, unsynthesized = _guess(found, files)
    services, others = [], []
    for directory, group in sorted(groups.items()):
        if directory not in configured:
            service, unfit = _service(
                root,
                group,
                guessed if _belongs(app, directory) else CdkGuess(),
                templates=templates,
                described=described,
                today=today,
                runtime=runtime,
                architecture=architecture,
            )
            services.append(service)
            others += unfit
    return Proposal(
        root=root,
        services=tuple(services),
        workspace=_workspace(root, groups),
        notes=(
            *_unlisted(root, [service.directory for service in services]),
            *(() if found.descriptions else _above(root, store)),
        ),
        skipped=(
            *found.skipped,
            *failed,
            *unsynthesized,
            *(each for one in templates for each in one.skipped),
            *incomplete,
            *others,
        ),
        translations=tuple(each for one in templates for each in one.translations),
        configured=tuple(absolute(root, each) for each in configured),
    )


def _workspace(root: Path, directories: Collection[str]) -> Path | None:
    """Return the file that will list the services in *directories*, or ``None`` if none is needed or it already exists."""
    path = root / _STANDALONE
    return None if len(directories) < 2 or "." in directories or path.exists() else path


def _below(root: Path, template: str) -> str:
    """Return the path *template*, as the user typed it, relative to *root*."""
    return relative_path(os.path.abspath(template), root)


def _unlisted(root: Path, directories: Sequence[Path]) -> tuple[str, ...]:
    """Return a note for each of *directories* that the workspace at *root* does not list among its members."""
    members = configured_members(root) if configures(root) else None
    if members is None:
        return ()
    names = [directory.relative_to(root).as_posix() for directory in directories]
    return tuple(
        f"add `{name}` to `members` in `{root / members.file}`, so that `lamina build` includes it"
        for name in names
        if not any(fnmatchcase(name, member.strip("/")) for member in members.members)
    )


def _above(root: Path, store: Store) -> tuple[str, ...]:
    """Return a note about the closest template above *root*, up to the repository's root, if there is one."""
    repository = next((each for each in (root, *root.parents) if (each / ".git").exists()), root)
    for directory in root.parents:
        if not directory.is_relative_to(repository):
            break
        for description in find_in_root(TemplateFiles(directory, store)).descriptions:
            path = relative_path(directory / description.path, root)
            return (f"`{path}` may describe functions too: to read it, run `lamina init` in `{directory}`",)
    return ()


def _already_configured(root: Path, configured: Sequence[str]) -> ConfigError:
    directory = absolute(root, configured[0])
    existing = _STANDALONE if (directory / _STANDALONE).exists() else _PYPROJECT
    return ConfigError(
        f"`{directory / existing}` already configures lamina",
        hint="show what the templates and sources say now: `lamina init --diff`",
    )


def _guess(found: FoundDescriptions, files: TemplateFiles) -> tuple[str, CdkGuess, list[Skipped]]:
    """Return the file of a CDK app without ``cdk.out``, the runtime and architecture in its sources, and what is missing."""
    app = next((each.path for each in found.descriptions if each.kind == "cdk-app"), None)
    if app is None:
        return "", CdkGuess(), []
    read = guess(files, app) or CdkGuess()
    reasons = [
        "it has no `cdk.out`: run `cdk synth` and `lamina init` again to read the functions of the app",
        *(each.reason for each in read.unknown),
    ]
    return app, read, [Skipped(name=app, reason=reason, origin=Origin(file=app)) for reason in reasons]


def _belongs(app: str, directory: str) -> bool:
    """Return whether the CDK app with the file *app* may deploy the service in *directory*: one is below the other."""
    place = PurePosixPath(app).parent
    return place.is_relative_to(directory) or PurePosixPath(directory).is_relative_to(place)


def _service(
    root: Path,
    group: ServiceGroup,
    guessed: CdkGuess,
    *,
    templates: Sequence[Template],
    described: Sequence[TemplateFunction],
    today: dt.date,
    runtime: str | None,
    architecture: str | None,
) -> tuple[ProposedService, list[Skipped]]:
    """
    Return the configuration of one service, and the functions that do not fit its target.

    *described* are functions that decide the target if *group* has none.
    """
    directory = absolute(root, group.directory)
    pyproject = directory / _PYPROJECT
    document = _document(pyproject) if pyproject.is_file() else {}
    deciding = group.functions or described
    chosen = choose_runtime(runtime, deciding, directory, document, root=root, guess=guessed, today=today)
    machine = choose_architecture(architecture, deciding, guess=guessed)
    target = Target.of(chosen.value, machine.value)
    fitting, skipped = _fitting(group.functions, target, forced=(runtime is not None, architecture is not None))
    functions = [_described(each, group, document) for each in fitting]
    functions += [_discovered(each, document) for each in group.handlers]
    source = _shared_source(functions)
    if group.handlers:
        functions, source = _united(functions)
    translations = [each for template in group.templates for each in template.translations]
    lock = propose_lock(directory, document, [root / path for path in group.requirements], target)
    return (
        ProposedService(
            directory=directory,
            path=pyproject if pyproject.is_file() else directory / _STANDALONE,
            target=target,
            runtime=chosen,
            architecture=machine,
            source=source,
            functions=tuple(functions),
            lock=lock,
            settings=_settings(translations),
            external=_external(functions, group.directory, templates),
            built=tuple(_built(group.directory, templates)),
            notes=tuple(_notes(group, functions)),
        ),
        skipped,
    )


def _document(path: Path) -> dict[str, Any]:
    try:
        return toml.parse(decoded(read_file(path)))
    except OSError as error:
        raise exhausted(error) or ConfigError(f"could not read `{path}`: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"`{path}` {undecodable(error)}") from error
    except ValueError as error:
        raise ConfigError(f"`{path}` is not valid TOML: {error}") from error


def _fitting(
    functions: Iterable[TemplateFunction], target: Target, *, forced: tuple[bool, bool]
) -> tuple[list[TemplateFunction], list[Skipped]]:
    """Divide *functions* into those for *target* and those for another one. A *forced* runtime or architecture fits all."""
    fitting, skipped = [], []
    for function in functions:
        other_runtime = not forced[0] and function.runtime not in {None, target.runtime}
        other_architecture = not forced[1] and function.target_architecture not in {None, str(target.architecture)}
        if other_runtime or other_architecture:
            other = function.runtime if other_runtime else function.target_architecture
            reason = f"uses {other}, but the service is for {target}; give the function a service of its own"
            skipped.append(Skipped(name=function.name, reason=reason, origin=function.origin))
        else:
            fitting.append(function)
    return fitting, skipped


def _described(function: TemplateFunction, group: ServiceGroup, document: dict[str, Any]) -> ProposedFunction:
    entries = source_entries(function, group.directory)
    source = tuple(entry for entry in entries if not entry.startswith("../"))
    group.notes += [
        f"`{function.name}` uses code outside its service, which is not packaged: `{entry}`; add it as a local package"
        for entry in entries
        if entry not in source
    ]
    names = (function.name, Path(function.source or ".").name)
    groups, extras = named_like(document, names)
    return ProposedFunction(
        name=function.name,
        handler=function.handler or "",
        source=source,
        origin=function.origin,
        memory_mb=_within("memory", function.memory_mb, function, group),
        timeout_seconds=_within("timeout", function.timeout_seconds, function, group),
        environment=function.environment,
        groups=groups,
        extras=extras,
        arns=tuple(layer.name for layer in function.layers if layer.is_arn),
        has_unknown_layers=function.why_unknown("layers") is not None,
    )


def _within(name: str, value: int | None, function: TemplateFunction, group: ServiceGroup) -> int | None:
    """Return *value*, or ``None`` with a note if Lambda does not support it for the setting *name*."""
    limits = setting(name)
    if value is None or limits.least <= value <= limits.most:
        return value
    group.notes.append(f"`{function.name}` sets {name} {value:,} ({function.origin}), which Lambda does not support")
    return None


def _discovered(handler: Handler, document: dict[str, Any]) -> ProposedFunction:
    groups, extras = named_like(document, (handler.name,))
    return ProposedFunction(
        name=handler.name,
        handler=handler.handler,
        source=handler.source,
        origin=Origin(file=handler.file),
        is_described=False,
        groups=groups,
        extras=extras,
    )


def _shared_source(functions: Sequence[ProposedFunction]) -> tuple[str, ...]:
    """Return the source that most functions have, or nothing if each function has its own."""
    common = Counter(function.source for function in functions).most_common(1)
    return common[0][0] if common and (common[0][1] > 1 or len(functions) == 1) else ()


def _united(functions: Sequence[ProposedFunction]) -> tuple[list[ProposedFunction], tuple[str, ...]]:
    """Give all discovered functions with the same root one source with everything that they need, so that they share a zip."""
    from dataclasses import replace

    united: dict[str, set[str]] = {}
    for function in functions:
        united.setdefault(_root(function), set()).update(function.source)
    changed = [replace(each, source=tuple(sorted(united[_root(each)]))) for each in functions]
    return changed, _shared_source(changed)


def _root(function: ProposedFunction) -> str:
    """Return the directory that Lambda will see as the root of the function's code."""
    return function.source[0].rpartition("/")[0] if function.source else ""


def _settings(translations: Iterable[Translation]) -> tuple[tuple[str, object], ...]:
    """Return the keys of ``[tool.lamina]`` that *translations* set. Lists for the same key are united."""
    settings: dict[str, object] = {}
    for translation in translations:
        for key, value in translation.configuration:
            known = settings.get(key)
            if isinstance(known, tuple) and isinstance(value, tuple | list):
                settings[key] = tuple(dict.fromkeys((*known, *value)))
            elif known is None and key not in _DECIDED:
                settings[key] = tuple(value) if isinstance(value, list) else value
    return tuple(settings.items())


def _external(
    functions: Iterable[ProposedFunction], directory: str, templates: Iterable[Template]
) -> tuple[Stated, ...]:
    """
    Return the layers of other accounts that the service in *directory* starts with, one version of each.

    They are those of all Python functions in the templates at and below *directory*, which `lamina check` checks, and those of
    *functions*.
    """
    stated = [
        layer
        for template in templates
        if PurePosixPath(template.path).is_relative_to(directory)
        for deployed in template.deployed
        for layer in deployed.layers
    ]
    stated += [Stated(value=arn, origin=function.origin) for function in functions for arn in function.arns]
    found: dict[str, Stated] = {}
    for each in stated:
        layer = each.value.rpartition(":")[0]
        # An invalid ARN cannot be allowed, and its deployment fails.
        if is_layer_version(each.value) and not may_be_own(each.value) and allowed_layer(layer, "") is not None:
            found.setdefault(layer, each)
    return tuple(found.values())


def _built(directory: str, templates: Iterable[Template]) -> Iterator[tuple[str, Deployed]]:
    """Yield the functions of *templates* that deploy a zip which lamina writes for the service in *directory*, each with the zip's name."""
    for template in templates:
        for deployed in template.deployed:
            path = PurePosixPath(deployed.content or "")
            parts = path.relative_to(directory).parts if path.is_relative_to(directory) else ()
            # Targets other than the first have a directory of their own in between.
            if parts[:1] == (OUTPUT_DIRECTORY,) and parts[-2:-1] == ("functions",) and path.suffix == ".zip":
                yield path.stem, deployed


def _notes(group: ServiceGroup, functions: Sequence[ProposedFunction]) -> list[str]:
    notes = list(dict.fromkeys(group.notes))
    notes += [
        f"{setting} of `{function.name}` is unknown: {reason} ({function.origin})"
        for function in group.functions
        for setting in ("runtime", "architecture", "layers")
        if (reason := function.why_unknown(setting)) is not None
    ]
    arns: dict[str, list[str]] = {}
    for proposed in functions:
        for arn in proposed.arns:
            arns.setdefault(arn, []).append(proposed.name)
    notes += [
        f"{count(len(users), 'function')} also use the layer `{arn}`; lamina does not build it, so keep it in the template"
        if len(users) > 1
        else f"`{users[0]}` also uses the layer `{arn}`; lamina does not build it, so keep it in the template"
        for arn, users in arns.items()
    ]
    own = sorted({f"`{layer.name}` ({layer.origin})" for template in group.templates for layer in template.layers})
    if own:
        added = (
            "; Python code in it is added to the functions that use it"
            if any(
                not relative_path(path, group.directory).startswith("../")
                for each in group.functions
                for path in each.more
            )
            else ""
        )
        notes.append(f"lamina's layer `common` takes the place of {', '.join(own)}{added}")
    for pattern in dict.fromkeys(each for function in group.functions for each in unapplied_patterns(function)):
        notes.append(
            f"`{pattern}` is not applied, so these files are packaged: list what to package in `source`, or add the files to "
            "`.gitignore`"
        )
    variables = sorted({name for proposed in functions for name in proposed.environment})
    if variables:
        listed = ", ".join(f"`{name}`" for name in variables)
        notes.append(
            f"the template sets {listed}; for local runs, pass them with `lamina invoke NAME --env {variables[0]}=…`"
        )
    return notes
