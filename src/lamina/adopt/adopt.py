"""
Adopt a layer of somebody else into a project.

::

    plan ──▶ AdoptionPlan ──confirm──▶ write requirements, lock ──▶ build ──▶ prove ──▶ remove the ARN ──▶ Adoption

The build for the proof is written to a temporary directory. Until the proof succeeds, `ProjectFiles` can put everything back that was written.
Nothing in the layer is run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.adopt.configuration import Removal, remove_arn, template_lines
from lamina.adopt.files import ProjectFiles
from lamina.adopt.managers import add
from lamina.adopt.proof import differences
from lamina.adopt.trial import errors_before, try_build
from lamina.core.errors import CheckFailedError
from lamina.core.frozen import frozen
from lamina.core.text import count
from lamina.pipeline.build import build
from lamina.project import file
from lamina.project.pinned import LOCK_NAME

if TYPE_CHECKING:
    from lamina.adopt.plan import AdoptionPlan
    from lamina.adopt.proof import ProofOfModules
    from lamina.audit.diff.values import ArchiveChanges
    from lamina.pipeline.build import Result
    from lamina.pipeline.context import BuildContext


@frozen
class Adoption:
    """A layer that a project has made its own."""

    plan: AdoptionPlan
    proof: ProofOfModules
    result: Result
    """The build of the project with the requirements and without the ARN."""
    removal: Removal
    """What happened to the ARN in the configuration."""
    differences: ArchiveChanges
    """What differs between the old layer and the most similar new one."""
    places: tuple[str, ...]
    """The lines of deploy descriptions, and the configuration, if they still name the ARN."""


def adopt(plan: AdoptionPlan, context: BuildContext) -> Adoption:
    """
    Write the requirements of *plan*, build, and prove that the new layers have the modules of the old one; then remove its ARN.

    If anything fails, the files that lamina knows of are as before. Raises `CheckFailedError` if modules are missing, if the layers exceed
    Lambda's limit, or if the service has errors that it did not have before, and the errors of `add` and of a build.
    """
    arn, project = plan.archive.zip.arn, context.project
    written = plan.adding.files if plan.adding is not None else ()
    files = ProjectFiles((*written, file.read(project).path, project / LOCK_NAME))
    with files.put_back_unless_done():
        if plan.adding is not None:
            context.reporter.stage(f"adding requirements with {plan.adding.commands[0][0]}")
            add(plan.adding)
        proof, errors = try_build(plan, context)
        if errors:
            with files.put_back_meanwhile():
                errors -= errors_before(context)
        if errors:
            raise CheckFailedError(
                "\n  ".join(
                    (
                        f"the service has {count(len(errors), 'error')} that it does not have with the layer",
                        *sorted(errors),
                    )
                ),
                hint=f"{plan.as_before}; correct the code or the requirements, or keep the layer",
            )
        removal = Removal.ABSENT if arn is None else remove_arn(project, arn)
        result = build(project, context.options, store=context.store, reporter=context.reporter)
    return Adoption(
        plan=plan,
        proof=proof,
        result=result,
        removal=removal,
        differences=differences(plan.archive, result.build, context.store),
        places=(
            *((file.read(project).path.name,) if removal is Removal.LEFT else ()),
            *(template_lines(plan.service, arn, context.store, context.reporter) if arn is not None else ()),
        ),
    )
