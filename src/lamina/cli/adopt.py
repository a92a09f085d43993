"""``lamina adopt``: make a layer of somebody else the project's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lamina.cli.options import add_install_python

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from pathlib import Path

    from lamina.adopt.adopt import Adoption
    from lamina.adopt.copies import CopiedLayer
    from lamina.adopt.plan import AdoptionPlan
    from lamina.audit.diff.values import ArchiveChanges
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
    from lamina.core.store import Store
    from lamina.pipeline.context import BuildContext
    from lamina.project.options import BuildOptions

    _check_subject(arguments)
    project = project_of(arguments)
    store = Store.open()
    with (
        Console.of(arguments) as console,
        store.in_use(console),
        located(arguments.subject, project=project, store=store, offline=False, reporter=console) as subject,
    ):
        if arguments.copy:
            return _copy(arguments, subject, project, console)
        context = BuildContext.open(project, BuildOptions(), store=store, reporter=console)
        return _adopt(arguments, subject, context, console)


def _check_subject(arguments: argparse.Namespace) -> None:
    """Raise `UsageError` unless the subject is an existing file or the ARN of a layer version, before AWS is asked."""
    from pathlib import Path

    from lamina.core.errors import UsageError
    from lamina.project.external import LayerArn
    from lamina.project.pinned import is_pinnable

    text = arguments.subject
    if Path(text).is_file():
        return
    is_exact = not {"*", "$"} & {*text}
    if is_exact and is_pinnable(text):
        return
    if is_exact and LayerArn.parse(text) is not None:
        raise UsageError(
            f"`{text}` names a layer, not one of its versions",
            hint=f"add the number of a version, as in `{text}:1`",
        )
    if text.startswith("arn:") and ":function:" in text:
        raise UsageError(f"`{text}` is a function, not a layer", hint="pass the ARN of one of its layers")
    raise UsageError(
        f"`{text}` is neither the ARN of a layer version nor a zip",
        hint="pass the ARN of a layer version or the path of a zip; for a function, pass the ARNs of its layers",
    )


def _adopt(arguments: argparse.Namespace, subject: InspectedSubject, context: BuildContext, console: Console) -> int:
    from lamina.adopt.adopt import adopt
    from lamina.adopt.plan import plan_adoption
    from lamina.cli.asking import agreed
    from lamina.cli.console import emit_json
    from lamina.core.values import Severity
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
    console.say(*_plan_lines(plan, context.project))
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
        if finding.severity is Severity.ERROR:
            # An error that the service did not have before ends the adoption.
            console.warn(f"an error as before: {finding.message}")
        else:
            console.finding(finding.severity.value, finding.message)
    if plan.requirements:
        console.hint("look for known vulnerabilities in what you require now: `lamina audit`")
    return 0


def _copy(arguments: argparse.Namespace, subject: InspectedSubject, project: Path, console: Console) -> int:
    from lamina.adopt.copies import NO_BUCKET_HINT, copy_layer, plan_copy
    from lamina.aws.publish import config
    from lamina.cli.asking import agreed
    from lamina.cli.console import emit, emit_json
    from lamina.core.errors import UsageError

    if arguments.pin or arguments.pin_all or arguments.accept_missing:
        raise UsageError(
            "`--copy` publishes the layer as it is, so it accepts neither `--pin` and `--pin-all` nor `--accept-missing`",
            hint="run the command without them",
        )
    (old,) = subject.zips
    plan = plan_copy(old, config.load(project), console)
    console.close()
    if arguments.dry_run:
        if arguments.json:
            emit_json(_copied_document(old.name, plan.existing))
        console.say(
            f"copy {old.name} to your account, in its region"
            if plan.existing is None
            else f"nothing to do: {plan.existing.arn} has the bytes of {old.name}"
        )
        if plan.obstacle is not None:
            console.warn(plan.obstacle, hint=NO_BUCKET_HINT)
        return 0
    question = f"Publish a copy of {old.name} in your account?"
    if plan.existing is None and not agreed(arguments, question, console, hint=_AGREE):
        return 1
    done = copy_layer(plan, console)
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


def _plan_lines(plan: AdoptionPlan, project: Path) -> Iterator[str]:
    from lamina.core.paths import relative_path

    yield f"adopt {plan.archive.zip.name}"
    for each in plan.requirements:
        locked = "" if each.locked is None else f" (locked: {each.locked or 'without a version'})"
        yield f"  require {each.text}{locked}"
    if plan.adding is None:
        yield "  the lock file has everything already"
    else:
        yield from (f"  {line}" for line in plan.adding.shown)
    for kept in plan.kept_versions:
        yield f"  keep {kept.name} {kept.new} of the lock file; the layer has {kept.old}, which `--pin {kept.name}` requires"
    for name in plan.functions:
        yield f"  replace the layer of function {name}"
    yield f"  files: {', '.join(relative_path(path, project) for path in plan.files)}"


def _result_lines(done: Adoption) -> Iterator[str]:
    from lamina.adopt.configuration import Removal
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
    yield from _differences(done.differences)
    if proof.runtime:
        yield f"  from the runtime: {', '.join(proof.runtime)}"
    if done.removal is Removal.REMOVED:
        yield "removed the ARN from `layer-arns`"
    yield from (f"remove the layer from {line}" for line in done.places)
    for wrapper in plan.kept:
        yield f"{wrapper.vendor}: set the handler to `{wrapper.handler}`, and `{wrapper.variable}` to your own handler"
    for wrapper in plan.replaced:
        yield f"{wrapper.vendor}: `{wrapper.handler}` is only in the old layer; set your own handler, and remove `{wrapper.variable}`"
    for path in plan.archive.contents.wrappers:
        yield f"`/opt/{path}` is only in the old layer; remove `AWS_LAMBDA_EXEC_WRAPPER` if it is set to it"


def _differences(found: ArchiveChanges) -> Iterator[str]:
    """Yield the sizes of the old layer and of the new one that is most like it, and how many files differ."""
    from lamina.audit.diff.text import signed, sizes
    from lamina.core.text import megabytes

    parts = [
        f"{name} {megabytes(old)} → {megabytes(new)} ({signed(new - old)})"
        for name, old, new in sizes(found)
        if old != new
    ]
    if parts:
        yield f"  {', '.join(parts)}"
    if found.files:
        rows = (("added", found.files.added), ("removed", found.files.removed), ("changed", found.files.changed))
        yield f"  files: {', '.join(f'{len(paths):,} {word}' for word, paths in rows if paths)}"


def _document(plan: AdoptionPlan, done: Adoption | None = None) -> dict[str, Any]:
    from lamina.adopt.configuration import Removal

    document: dict[str, Any] = {
        "version": "1",
        "layer": plan.archive.zip.name,
        "requirements": [
            {"requirement": each.text, "name": each.name, "locked": each.locked} for each in plan.requirements
        ],
        "changes_of_requirements": [
            {"file": str(each.file), "old": each.old, "new": each.new} for each in plan.adding.changes
        ]
        if plan.adding is not None
        else [],
        "commands": list(plan.adding.shown_commands) if plan.adding is not None else [],
        "kept_versions": [{"name": each.name, "layer": each.old, "locked": each.new} for each in plan.kept_versions],
        "functions": list(plan.functions),
        "handlers": [
            {"handler": each.handler, "variable": each.variable, "provided": each in plan.kept}
            for each in (*plan.kept, *plan.replaced)
        ],
        "exec_wrappers": [f"/opt/{path}" for path in plan.archive.contents.wrappers],
        "adopted": done is not None,
    }
    if done is not None:
        files = done.differences.files
        document |= {
            "layers": [
                {"name": each.name, "path": str(each.path), "sha256": each.sha256} for each in done.result.build.layers
            ],
            "modules": done.proof.modules,
            "changes": [{"name": each.name, "old": each.old, "new": each.new} for each in done.proof.changes],
            "from_runtime": list(done.proof.runtime),
            "removed_arn": done.removal is Removal.REMOVED,
            "places": list(done.places),
            "files": None
            if files is None
            else {"added": list(files.added), "removed": list(files.removed), "changed": list(files.changed)},
            "findings": [
                {"rule": each.rule, "severity": each.severity.value, "message": each.message}
                for each in dict.fromkeys(done.result.build.findings)
            ],
        }
    return document


def _copied_document(origin: str, done: CopiedLayer | None) -> dict[str, Any]:
    """Return the JSON of a copy; *done* is ``None`` in a dry run if the account has none yet."""
    return {
        "version": "1",
        "origin": origin,
        "arn": None if done is None else done.arn,
        "code_sha256": None if done is None else done.code_sha256,
        "new": done is None or done.new,
    }
