"""
Adopt a layer of somebody else into a project.

::

    plan ──▶ AdoptionPlan ──confirm──▶ write requirements, lock ──▶ build ──▶ prove ──▶ remove the ARN ──▶ Adoption

The build for the proof is written to a temporary directory. Until the proof succeeds, `ProjectFiles` can put everything back that was written.
Nothing in the layer is run.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from lamina.adopt.configuration import remove_arn, template_lines, without_layer
from lamina.adopt.files import ProjectFiles
from lamina.adopt.managers import add, adding
from lamina.adopt.proof import modules_of_contents, prove
from lamina.adopt.requirements import importable, requirements_of
from lamina.audit.inspected.inspect import inspect, locked_versions
from lamina.core.errors import CheckFailedError
from lamina.core.frozen import frozen, replace
from lamina.core.names import normalized
from lamina.core.paths import PREFIX
from lamina.core.target import quotas
from lamina.core.temporary import temporary_directory
from lamina.core.text import count
from lamina.core.values import Severity
from lamina.lock import formats
from lamina.pipeline.build import apply, build
from lamina.pipeline.checks import limits
from lamina.pipeline.checks.common import listed
from lamina.pipeline.checks.modules import modules_of
from lamina.pipeline.plan import resolve
from lamina.project import file
from lamina.project.config import load
from lamina.project.external import can_name
from lamina.project.pinned import LOCK_NAME

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lamina.adopt.managers import Adding
    from lamina.adopt.proof import ProofOfModules
    from lamina.adopt.requirements import WrittenRequirement
    from lamina.audit.inspected.inspect import InspectedArchive
    from lamina.audit.inspected.subjects import InspectedSubject
    from lamina.pipeline.build import Result
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
    functions: tuple[str, ...]
    """The functions that have the layer by ARN."""
    replaced: tuple[Wrapper, ...]
    """The handlers of vendors that only the layer has, so that functions need their own handler instead."""
    kept: tuple[Wrapper, ...]
    """The handlers of vendors that the new layer has, too."""
    accepted: tuple[str, ...]
    """The modules and packages that the new layers may lack."""
    notes: tuple[str, ...]


@frozen
class Adoption:
    """A layer that a project has made its own."""

    plan: AdoptionPlan
    proof: ProofOfModules
    result: Result
    """The build of the project with the requirements and without the ARN."""
    is_removed: bool
    """Whether ``layer-arns`` in the configuration had the ARN, and has it no more."""
    places: tuple[str, ...]
    """The lines of deploy descriptions, and the configuration, if they still name the ARN."""


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

    Raises `CheckFailedError` if the layer has no Python modules, or modules that belong to no known distribution, `ConfigError` if
    requirements cannot be added to the lock file, and the errors of `inspect`, of finding the lock file and of reading it.
    """
    report = inspect(subject, context, service=None, target=None, matches=not context.options.offline)
    (archive,) = report.archives
    name, target, publisher = archive.zip.name, service.target, archive.publisher
    modules = modules_of_contents(archive.contents, target)
    if not modules:
        extension = (
            "it has extensions; to publish the same bytes in your account, run the command with `--copy`"
            if archive.contents.extensions
            else f"look into it: `lamina inspect {name}`"
        )
        raise CheckFailedError(f"`{name}` has no modules that {target.runtime} imports", hint=extension)
    lock_file = formats.find(service.root, service.lock, target=target)
    requirements = requirements_of(
        archive,
        target,
        locked=locked_versions(service, context),
        pinned=list(map(normalized, pinned)),
        everything=everything,
    )
    only_here = [each for each in archive.handlers if each.handler.partition(".")[0] in archive.unknown_modules]
    covered = {module for each in requirements for module in modules_of(each.name)}
    allowed = (*accepted, *(each.handler.partition(".")[0] for each in only_here))
    if unknown := [each for each in archive.unknown_modules if each not in covered and each not in allowed]:
        options = " ".join(f"--accept-missing {each}" for each in unknown)
        raise CheckFailedError(
            f"{count(len(unknown), 'module')} in `{name}` belong{'s' if len(unknown) == 1 else ''} to no known distribution: {listed(unknown)}",
            hint=f"add them to your own sources if you need them, then run the command with `{options}`",
        )
    notes = list(report.notes)
    if publisher is not None and publisher.note:
        notes.append(publisher.note)
    if archive.contents.extensions:
        notes.append(
            f"the layer also has {listed(archive.contents.extensions)}, which no Python package replaces; `--copy` copies the layer as it is"
        )
    if data := [
        path for path in archive.unexplained if not path.endswith(_CODE) and not path.startswith(f"{PREFIX}bin/")
    ]:
        notes.append(f"{count(len(data), 'file')} of no distribution will be missing in your layers: {listed(data)}")
    return AdoptionPlan(
        archive=archive,
        service=service,
        requirements=requirements,
        adding=adding([each.text for each in requirements], lock_file, target) if requirements else None,
        functions=tuple(
            each.name
            for each in service.functions
            if archive.zip.arn is not None and any(can_name(arn, archive.zip.arn) for arn in each.layer_arns)
        ),
        replaced=tuple(only_here),
        kept=tuple(each for each in archive.handlers if each not in only_here),
        accepted=allowed,
        notes=tuple(notes),
    )


def adopt(plan: AdoptionPlan, context: BuildContext) -> Adoption:
    """
    Write the requirements of *plan*, build, and prove that the new layers have the modules of the old one; then remove its ARN.

    If anything fails, all files are as before. Raises `CheckFailedError` if modules are missing, or if the layers exceed Lambda's limit,
    and the errors of `add` and of a build.
    """
    service, arn, project = plan.service, plan.archive.zip.arn, context.project
    written = plan.adding.files if plan.adding is not None else ()
    with ProjectFiles((*written, file.read(project).path, project / LOCK_NAME)).put_back_unless_done():
        if plan.adding is not None:
            context.reporter.stage(f"adding requirements with {plan.adding.commands[0][0]}")
            add(plan.adding)
        proof = _proven(plan, context)
        is_removed = None if arn is None else remove_arn(project, arn, context.store)
        result = build(project, context.options, store=context.store, reporter=context.reporter)
    return Adoption(
        plan=plan,
        proof=proof,
        result=result,
        is_removed=bool(is_removed),
        places=(
            *((file.read(project).path.name,) if is_removed is False else ()),
            *(template_lines(service, arn, context.store, context.reporter) if arn is not None else ()),
        ),
    )


def _proven(plan: AdoptionPlan, context: BuildContext) -> ProofOfModules:
    """Build the project without the ARN in a temporary directory, and compare. Raises `CheckFailedError`, and the errors of a build."""
    arn, archive = plan.archive.zip.arn, plan.archive
    started_ns = time.time_ns()
    with temporary_directory("adopt") as directory:
        trial = replace(context, output=directory)
        service = load(context.project, context.options, store=context.store)
        if arn is not None:
            service = without_layer(service, arn)
        result = apply(resolve(trial, service), trial, started_ns=started_ns)
        _check_size(result)
        proofs = [
            prove(
                archive,
                {each.name: each.version for each in importable(archive, built.plan.service.target)},
                built.build,
                built.plan.service,
                functions=plan.functions,
                accepted=plan.accepted,
                store=context.store,
            )
            for built in result.targets
        ]
    proof = next((each for each in proofs if not each), proofs[0])
    if not proof:
        changed = ", ".join(f"`{each.name}` {each.old} → {each.new or 'missing'}" for each in proof.changes)
        raise CheckFailedError(
            f"the new layers lack {count(len(proof.missing), 'module')} of `{archive.zip.name}`: {listed(proof.missing)}",
            hint="the files are as before; "
            + (f"other versions: {changed}; " if changed else "")
            + "to require the distributions of these modules at the version in the layer, run the command with "
            f"`{' '.join(f'--pin {each}' for each in proof.lacking) or '--pin-all'}`; to do without a module, pass `--accept-missing MODULE`",
        )
    return proof


def _check_size(result: Result) -> None:
    """Raise `CheckFailedError` if the layers exceed Lambda's limit, with the largest distributions and what would bring them below."""
    found = result.build
    # Findings of other kinds, such as on other layers by ARN, were there before.
    findings = (
        found.findings if result.refused else limits.check(found.layers, found.packages, result.plan.service, quotas())
    )
    if errors := [finding for finding in findings if finding.severity is Severity.ERROR]:
        raise CheckFailedError(
            "\n  ".join(finding.message for finding in errors),
            hint="the files are as before; the publisher may have removed parts of these distributions from the layer: to bring yours below the "
            "limit, set `exclude` in `[tool.lamina]` for files that you do not use, set `without` for distributions that your functions do "
            "not import, divide the functions between layers with groups, or require fewer extras yourself; then run the command again",
        )
