"""Plan the adoption of a layer: what a project has to require, and what that changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.adopt.files import as_before
from lamina.adopt.managers import adding
from lamina.adopt.proof import VersionChange, modules_of_contents
from lamina.adopt.requirements import importable, is_same_version, requirements_of
from lamina.audit.inspected.inspect import inspect, locked_versions
from lamina.core.errors import CheckFailedError, UsageError
from lamina.core.frozen import frozen
from lamina.core.names import normalized
from lamina.core.paths import PREFIX
from lamina.core.text import count
from lamina.lock import formats
from lamina.pipeline.checks.common import listed
from lamina.pipeline.checks.modules import modules_of
from lamina.pipeline.checks.sdk import left_out
from lamina.project import file
from lamina.project.external import can_name
from lamina.project.pinned import LOCK_NAME
from lamina.project.table import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from pathlib import Path

    from lamina.adopt.managers import Adding
    from lamina.adopt.requirements import WrittenRequirement
    from lamina.audit.inspected.inspect import InspectedArchive
    from lamina.audit.inspected.subjects import InspectedSubject
    from lamina.core.target import Target
    from lamina.pipeline.context import BuildContext
    from lamina.project.service import Service
    from lamina.project.wrappers import Wrapper

_CODE = (".py", ".pyc", ".so")


@frozen
class AdoptionPlan:
    """What adopting a layer changes in a project."""

    archive: InspectedArchive
    service: Service
    requirements: tuple[WrittenRequirement, ...]
    adding: Adding | None
    """How the requirements are written; ``None`` if the lock file has everything already."""
    kept_versions: tuple[VersionChange, ...]
    """The distributions that the lock file has in another version than the layer, and that are not required."""
    functions: tuple[str, ...]
    """The functions that have the layer by ARN."""
    replaced: tuple[Wrapper, ...]
    """The handlers of vendors that only the layer has, so that functions need their own handler instead."""
    kept: tuple[Wrapper, ...]
    """The handlers of vendors that the new layer has, too."""
    accepted: tuple[str, ...]
    """The modules and packages that the new layers may lack."""
    notes: tuple[str, ...]

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that exist and that can change."""
        own = (file.read(self.service.root).path, self.service.root / LOCK_NAME) if self.functions else ()
        written = self.adding.files if self.adding is not None else ()
        return tuple(path for path in dict.fromkeys((*written, *own)) if path.exists())

    @property
    def as_before(self) -> str:
        """What to say of the files if the adoption fails."""
        return as_before(self.files) if self.files else "nothing was changed"


def plan_adoption(
    subject: InspectedSubject,
    context: BuildContext,
    service: Service,
    *,
    pinned: Iterable[str] = (),
    everything: bool = False,
    accepted: Iterable[str] = (),
) -> AdoptionPlan:
    """
    Return what to change so that the layers of *service* provide what is in the layer *subject*.

    The distributions *pinned*, or all of them with *everything*, are required at their version in the layer. The modules in *accepted* may
    be missing afterwards.

    Raises `CheckFailedError` if the layer has no Python modules, or modules that belong to no known distribution, `UsageError` if it
    lacks one of *pinned* or *accepted*, `ConfigError` if requirements cannot be added to the lock file, and the errors of `inspect`, of
    finding the lock file and of reading it.
    """
    report = inspect(subject, context, service=None, target=None, matches=not context.options.offline)
    (archive,) = report.archives
    target = service.target
    modules = modules_of_contents(archive.contents, target)
    if not modules:
        raise _without_modules(archive, target)
    pins = list(map(normalized, pinned))
    _check_names(archive, target, pins, accepted, modules)
    lock_file = formats.find(service.root, service.lock, target=target)
    locked = locked_versions(service, context)
    requirements = requirements_of(archive, target, locked=locked, pinned=pins, everything=everything)
    only_here = [each for each in archive.handlers if each.handler.partition(".")[0] in archive.unknown_modules]
    allowed = (*accepted, *(each.handler.partition(".")[0] for each in only_here))
    _check_modules(archive, requirements, {*pins, *locked}, allowed)
    required = {each.name for each in requirements}
    return AdoptionPlan(
        archive=archive,
        service=service,
        requirements=requirements,
        adding=adding([each.text for each in requirements], lock_file, (target, *service.others))
        if requirements
        else None,
        kept_versions=tuple(
            VersionChange(name=each.name, old=each.version, new=locked[each.name])
            for each in importable(archive, target)
            if each.name in locked.keys() - required - left_out(service)
            and not is_same_version(locked[each.name], each.version)
        ),
        functions=tuple(
            each.name
            for each in service.functions
            if archive.zip.arn is not None and any(can_name(arn, archive.zip.arn) for arn in each.layer_arns)
        ),
        replaced=tuple(only_here),
        kept=tuple(each for each in archive.handlers if each not in only_here),
        accepted=allowed,
        notes=(*report.notes, *_notes(archive)),
    )


def _without_modules(archive: InspectedArchive, target: Target) -> CheckFailedError:
    name = archive.zip.name
    return CheckFailedError(
        f"`{name}` has no modules that {target.runtime} imports",
        hint="it has extensions; to publish the same bytes in your account, run the command with `--copy`"
        if archive.contents.extensions
        else f"look into it: `lamina inspect {name}`",
    )


def _check_names(
    archive: InspectedArchive, target: Target, pinned: Iterable[str], accepted: Iterable[str], modules: Iterable[str]
) -> None:
    """Raise `UsageError` unless the layer has the distributions *pinned*, and the modules or packages *accepted*."""
    distributions = {each.name for each in importable(archive, target, [each.name for each in archive.matches])}
    names = {*modules, *archive.unknown_modules}
    packages = {name[:end] for name in names for end, each in enumerate(name) if each == "."}
    for option, given, known, noun in (
        ("--pin", pinned, distributions, "distribution"),
        ("--accept-missing", accepted, names | packages, "module"),
    ):
        if unknown := [each for each in given if each not in known]:
            raise UsageError(
                f"`{archive.zip.name}` has no {noun} `{unknown[0]}`{did_you_mean(unknown[0], sorted(known))}",
                hint=f"`{option}` accepts {noun}s of the layer: `lamina inspect {archive.zip.name}` lists what is in it",
            )


def _check_modules(
    archive: InspectedArchive,
    requirements: Iterable[WrittenRequirement],
    known: Collection[str],
    accepted: Collection[str],
) -> None:
    """
    Raise `CheckFailedError` if the layer has modules of no known distribution that are not in *accepted*.

    Known are the distributions of *requirements*, and, of those whose files the publisher changed, the ones in *known*.
    """
    similar = {module: each for each in archive.matches if not each.is_exact for module in each.modules}
    covered = {module for each in requirements for module in modules_of(each.name)}
    covered |= {module for module, each in similar.items() if each.name in known}
    unknown = [each for each in archive.unknown_modules if each not in covered and each not in accepted]
    if not unknown:
        return
    facts = [
        f"`{module}` is similar to {each.name} {each.version}; the layer has other content of {listed([*each.differing, *each.extra])}"
        for module in unknown
        if (each := similar.get(module)) is not None
    ]
    pins = list(dict.fromkeys(similar[each].name for each in unknown if each in similar))
    original = (
        f"to take the original, run the command with `{' '.join(f'--pin {each}' for each in pins)}`; " if pins else ""
    )
    verb = "belongs" if len(unknown) == 1 else "belong"
    fact = f"{count(len(unknown), 'module')} in `{archive.zip.name}` {verb} to no known distribution: {listed(unknown)}"
    raise CheckFailedError(
        "\n  ".join((fact, *facts)),
        hint=f"{original}add them to your own sources if you need them, then run the command with "
        f"`{' '.join(f'--accept-missing {each}' for each in unknown)}`",
    )


def _notes(archive: InspectedArchive) -> Iterator[str]:
    if archive.publisher is not None and archive.publisher.note:
        yield archive.publisher.note
    if archive.contents.extensions:
        yield (
            f"the layer also has {listed(archive.contents.extensions)}, which no Python package replaces; `--copy` copies the layer as it is"
        )
    if data := [
        path for path in archive.unexplained if not path.endswith(_CODE) and not path.startswith(f"{PREFIX}bin/")
    ]:
        yield f"{count(len(data), 'file')} of no distribution will be missing in your layers: {listed(data)}"
