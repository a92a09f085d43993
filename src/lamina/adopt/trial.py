"""Build a project with its new requirements and without the old layer, in a temporary directory, to see whether the adoption works."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from lamina.adopt.configuration import without_layer
from lamina.adopt.proof import prove
from lamina.adopt.reductions import reductions
from lamina.adopt.requirements import importable
from lamina.core.errors import CheckFailedError, LaminaError
from lamina.core.frozen import replace
from lamina.core.target import quotas
from lamina.core.temporary import temporary_directory
from lamina.core.text import count
from lamina.core.values import Severity
from lamina.pipeline.build import apply
from lamina.pipeline.checks import limits
from lamina.pipeline.checks.common import listed
from lamina.pipeline.plan import resolve
from lamina.project.config import load

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lamina.adopt.plan import AdoptionPlan
    from lamina.adopt.proof import ProofOfModules
    from lamina.pipeline.build import Result
    from lamina.pipeline.context import BuildContext
    from lamina.project.service import Service


def try_build(plan: AdoptionPlan, context: BuildContext) -> tuple[ProofOfModules, frozenset[str]]:
    """
    Build the project without the layer of *plan*, and compare its modules with those of the layer.

    Return the proof that all of them are provided, and the errors that checks of the build found. Raises `CheckFailedError` if modules are
    missing, or if the layers exceed Lambda's limit, and the errors of a build.
    """
    arn, archive = plan.archive.zip.arn, plan.archive
    service = load(context.project, context.options, store=context.store)
    if arn is not None:
        service = without_layer(service, arn)
    with _built(service, context) as (result, trial):
        _check_size(result, plan, trial, service)
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
        raise _unproven(proof, plan)
    return proof, _errors(result)


def errors_before(context: BuildContext) -> frozenset[str]:
    """Return the errors of the project as it is; none if it cannot be built."""
    try:
        with _built(load(context.project, context.options, store=context.store), context) as (result, _):
            return _errors(result)
    except LaminaError as error:
        # What does not build has no errors of a built service that could excuse those after the adoption.
        context.reporter.note(f"without the new requirements, the service cannot be built: {error}")
        return frozenset()


@contextmanager
def _built(service: Service, context: BuildContext) -> Iterator[tuple[Result, BuildContext]]:
    """Build *service* in a temporary directory, which is deleted at the end."""
    started_ns = time.time_ns()
    with temporary_directory("adopt") as directory:
        trial = replace(context, output=directory)
        yield apply(resolve(trial, service), trial, started_ns=started_ns), trial


def _errors(result: Result) -> frozenset[str]:
    return frozenset(
        finding.message
        for built in result.targets
        for finding in built.build.findings
        if finding.severity is Severity.ERROR
    )


def _unproven(proof: ProofOfModules, plan: AdoptionPlan) -> CheckFailedError:
    changed = ", ".join(f"`{each.name}` {each.old} → {each.new or 'missing'}" for each in proof.changes)
    required = {each.name for each in plan.requirements}
    pins = [each for each in proof.lacking if each not in required]
    cures = [plan.as_before]
    if changed:
        cures.append(f"other versions: {changed}")
    if pins or not proof.lacking:
        cures.append(
            "to require the distributions of these modules at the version in the layer, run the command with "
            f"`{' '.join(f'--pin {each}' for each in pins) or '--pin-all'}`"
        )
    else:
        cures.append(
            f"the layers lack modules of {listed(proof.lacking)} although they are required: look which groups your layers have, and "
            "whether the package manager locked them"
        )
    return CheckFailedError(
        f"the new layers lack {count(len(proof.missing), 'module')} of `{plan.archive.zip.name}`: {listed(proof.missing)}",
        hint="; ".join((*cures, "to do without a module, pass `--accept-missing MODULE`")),
    )


def _check_size(result: Result, plan: AdoptionPlan, trial: BuildContext, service: Service) -> None:
    """Raise `CheckFailedError` if the layers exceed Lambda's limit, with the largest distributions and what would bring them below."""
    found = result.build
    # Findings of other kinds, such as on other layers by ARN, were there before.
    findings = (
        found.findings if result.refused else limits.check(found.layers, found.packages, result.plan.service, quotas())
    )
    if not (errors := [finding.message for finding in findings if finding.severity is Severity.ERROR]):
        return
    start = f"{plan.as_before}; the publisher may have removed parts of these distributions from the layer; to bring yours below the limit:"
    cures = [
        *reductions(plan, trial, service),
        "divide the functions between layers with groups, or require fewer extras; then run the command again",
    ]
    raise CheckFailedError("\n  ".join(errors), hint="\n".join((start, *(f"- {each}" for each in cures))))
