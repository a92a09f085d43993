"""``lamina adopt``: make a layer of somebody else the project's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lamina.cli.options import add_install_python

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from pathlib import Path

    from lamina.adopt.adopt import Adoption, AdoptionPlan
    from lamina.adopt.copies import CopiedLayer
    from lamina.audit.inspected.subjects import InspectedSubject
    from lamina.cli.console import Console
    from lamina.pipeline.context import BuildContext

HELP = (
    "Replace a layer by ARN with packages from your lock file: require what is in the layer with your package manager, build, and prove that "
    "your own layer has every module of the old one. If it lacks one, all files are put back. Nothing in the layer is run."
)
EXAMPLE = """\
examples:
  lamina adopt --dry-run arn:aws:lambda:eu-west-1:017000801446:layer:AWSLambdaPowertoolsPythonV3-python313-x86_64:7
  lamina adopt layer.zip --yes          # adopt a zip, without a question
  lamina adopt --copy arn:aws:lambda:eu-west-1:464622532012:layer:Datadog-Extension:103    # copy an extension to your account
"""
PAGE = "how-to/adopt.md"
_AGREE = "agree in advance with `--yes`, or look at the changes with `--dry-run`"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``lamina adopt`` to *parser*."""
    parser.add_argument("subject", metavar="ARN|ZIP", help="the layer version or zip")
    parser.add_argument("--dry-run", action="store_true", help="show what would be changed, without changing it")
    parser.add_argument("--yes", action="store_true", help="do not ask before files are changed or a copy is published")
    parser.add_argument(
        "--pin",
        action="append",
        default=[],
        metavar="NAME",
        help="also require this distribution at its version in the layer (repeatable)",
    )
    parser.add_argument(
        "--pin-all",
        action="store_true",
        help="require every distribution at its version in the layer (default: those that no other one requires)",
    )
    parser.add_argument(
        "--accept-missing",
        action="append",
        default=[],
        metavar="MODULE",
        help="adopt the layer without this module or package (repeatable)",
    )
    parser.add_argument("--copy", action="store_true", help="publish the same bytes in your account instead")
    add_install_python(parser)


def run(arguments: argparse.Namespace) -> int:
    """Adopt or copy the layer. Return 1 if the user does not agree; a proof that fails is a `CheckFailedError`."""
    from lamina.audit.inspected.subjects import located
    from lamina.cli.console import Console
    from lamina.cli.options import project_of
    from lamina.core.errors import ConfigError
    from lamina.core.store import Store
    from lamina.pipeline.context import BuildContext
    from lamina.project.options import BuildOptions

    project = project_of(arguments)
    store = Store.open()
    with (
        Console.of(arguments) as console,
        store.in_use(console),
        located(arguments.subject, project=project, store=store, offline=False, reporter=console) as subject,
    ):
        if subject.function is not None:
            raise ConfigError(
                f"`{arguments.subject}` is a function, not a layer",
                hint="pass the ARN of one of its layers",
            )
        if arguments.copy:
            return _copy(arguments, subject, project, console)
        context = BuildContext.open(project, BuildOptions(), store=store, reporter=console)
        return _adopt(arguments, subject, context, console)


def _adopt(arguments: argparse.Namespace, subject: InspectedSubject, context: BuildContext, console: Console) -> int:
    from lamina.adopt.adopt import adopt, plan_adoption
    from lamina.cli.asking import agreed
    from lamina.cli.console import emit_json
    from lamina.project.config import load

    plan = plan_adoption(
        subject,
        context,
        load(context.project, store=context.store),
        pinned=arguments.pin,
        everything=arguments.pin_all,
        accepted=arguments.accept_missing,
    )
    console.close()
    console.say(*_plan_lines(plan))
    for note in plan.notes:
        console.note(note)
    if arguments.dry_run:
        if arguments.json:
            emit_json(_document(plan))
        return 0
    if not agreed(arguments, "Change these files?", console, hint=_AGREE):
        return 1
    done = adopt(plan, context)
    console.close()
    if arguments.json:
        emit_json(_document(plan, done))
    console.say(*_result_lines(done))
    for finding in dict.fromkeys(done.result.build.findings):
        console.finding(finding.severity.value, finding.message)
    return 0


def _copy(arguments: argparse.Namespace, subject: InspectedSubject, project: Path, console: Console) -> int:
    from lamina.adopt.copies import copy_layer
    from lamina.aws.publish import config
    from lamina.cli.asking import agreed
    from lamina.cli.console import emit, emit_json

    (old,) = subject.zips
    settings = config.load(project)
    console.close()
    if arguments.dry_run:
        console.say(f"copy {old.name} to your account, in its region")
        return 0
    if not agreed(arguments, f"Publish a copy of {old.name} in your account?", console, hint=_AGREE):
        return 1
    done = copy_layer(old, settings, console)
    console.close()
    if arguments.json:
        emit_json(_copied_document(old.name, done))
    else:
        emit(done.arn)
    console.say(
        f"{'published' if done.new else 'unchanged'}: {done.arn} has the bytes of {old.name} (CodeSha256 {done.code_sha256})",
        "set the new ARN in place of the old one",
    )
    return 0


def _plan_lines(plan: AdoptionPlan) -> Iterator[str]:
    yield f"adopt {plan.archive.zip.name}"
    for each in plan.requirements:
        locked = "" if each.locked is None else f" (locked: {each.locked or 'without a version'})"
        yield f"  require {each.text}{locked}"
    if plan.adding is None:
        yield "  the lock file has everything already"
    else:
        yield from (f"  run {command}" for command in plan.adding.shown)
    for name in plan.functions:
        yield f"  replace the layer of function {name}"


def _result_lines(done: Adoption) -> Iterator[str]:
    from lamina.core.text import count, from_here, megabytes

    plan, proof = done.plan, done.proof
    for layer in done.result.build.layers:
        yield f"built {from_here(layer.path)}: {megabytes(layer.zipped_bytes)} zipped, {megabytes(layer.unzipped_bytes)} unzipped"
    provided = (
        "your layers provide all of its"
        if not plan.accepted
        else "apart from accepted ones, your layers provide all of its"
    )
    yield f"proven: {provided} {count(proof.modules, 'module')}"
    for change in proof.changes:
        yield f"  {change.name} {change.old} → {change.new or 'no longer included'}"
    if proof.runtime:
        yield f"  from the runtime: {', '.join(proof.runtime)}"
    if done.is_removed:
        yield "removed the ARN from `layer-arns`"
    yield from (f"remove the layer from {line}" for line in done.places)
    for wrapper in plan.kept:
        yield f"{wrapper.vendor}: set the handler to `{wrapper.handler}`, and `{wrapper.variable}` to your own handler"
    for wrapper in plan.replaced:
        yield f"{wrapper.vendor}: `{wrapper.handler}` is only in the old layer; set your own handler, and remove `{wrapper.variable}`"
    for path in plan.archive.contents.wrappers:
        yield f"`/opt/{path}` is only in the old layer; remove `AWS_LAMBDA_EXEC_WRAPPER` if it is set to it"


def _document(plan: AdoptionPlan, done: Adoption | None = None) -> dict[str, Any]:
    document: dict[str, Any] = {
        "version": "1",
        "layer": plan.archive.zip.name,
        "requirements": [
            {"requirement": each.text, "name": each.name, "locked": each.locked} for each in plan.requirements
        ],
        "commands": list(plan.adding.shown) if plan.adding is not None else [],
        "functions": list(plan.functions),
        "handlers": [
            {"handler": each.handler, "variable": each.variable, "provided": each in plan.kept}
            for each in (*plan.kept, *plan.replaced)
        ],
        "exec_wrappers": [f"/opt/{path}" for path in plan.archive.contents.wrappers],
        "adopted": done is not None,
    }
    if done is not None:
        document |= {
            "layers": [
                {"name": each.name, "path": str(each.path), "sha256": each.sha256} for each in done.result.build.layers
            ],
            "modules": done.proof.modules,
            "changes": [{"name": each.name, "old": each.old, "new": each.new} for each in done.proof.changes],
            "from_runtime": list(done.proof.runtime),
            "removed_arn": done.is_removed,
            "places": list(done.places),
        }
    return document


def _copied_document(origin: str, done: CopiedLayer) -> dict[str, Any]:
    return {"version": "1", "origin": origin, "arn": done.arn, "code_sha256": done.code_sha256, "new": done.new}
