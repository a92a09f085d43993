"""The report of `lamina inspect` as text for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.core.text import count, megabytes, table, visible
from lamina.pipeline.checks.common import listed
from lamina.project.wrappers import known_wrapper

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lamina.audit.inspected.inspect import InspectedArchive, InspectionReport
    from lamina.audit.inspected.matching import Match
    from lamina.audit.inspected.shadowing import ModuleCopy, Shadowed
    from lamina.audit.vulnerabilities.audit import DatabaseAnswer
    from lamina.aws.api.functions import FunctionState
    from lamina.pipeline.provenance import Verification

_LONGEST_LICENCE = 40
_EXEC_WRAPPER = "AWS_LAMBDA_EXEC_WRAPPER"
_KINDS = {
    "unchecked": "used without a look at the source",
    "checked": "used if the hash of the source is the same",
    "time": "used if the time and size of the source are the same",
}


def lines(report: InspectionReport, *, width: int | None = None) -> Iterator[str]:
    """Yield the lines of *report*, with tables of at most *width* characters. What zips and AWS say adds no line of its own."""
    yield from (visible(line, keep="") for line in _lines(report, width))


def _lines(report: InspectionReport, width: int | None) -> Iterator[str]:
    if report.subject.function is not None:
        yield from _function(report.subject.function)
    for archive in report.archives:
        yield from _archive(archive, width)
    for each in report.shadowed:
        yield _shadowed(each)
    if report.answer is not None:
        yield from _vulnerabilities(report.answer)


def _vulnerabilities(answer: DatabaseAnswer) -> Iterator[str]:
    for each in answer.vulnerabilities:
        yield f"{'vulnerable' if each.entry is None or not each.is_ignored else each.entry.accepted}: {each}"
    for reason, subjects in answer.withheld.items():
        yield f"not auditable: {listed(subjects)}: {reason}"
    if not answer.asked:
        yield f"no distribution was audited ({answer.database})"
        return
    number = len(answer.vulnerabilities)
    known = f"{number or 'no'} known {'vulnerability' if number == 1 else 'vulnerabilities'}"
    yield f"{known} in {count(answer.asked, 'distribution')}, by {answer.database}"


def _function(state: FunctionState) -> Iterator[str]:
    yield f"function {state.name}, version {state.version}: {state.settings.runtime} on {state.architecture}"
    wrapper = known_wrapper(state.settings.handler)
    own = state.environment.get(wrapper.variable) if wrapper is not None else None
    if wrapper is None:
        yield f"  handler: {state.settings.handler}"
    else:
        yield f"  handler: {state.settings.handler} of {wrapper.vendor}, which calls {own or f'the handler in `{wrapper.variable}`'}"
    if started := state.environment.get(_EXEC_WRAPPER):
        yield f"  wrapper: {started}, in `{_EXEC_WRAPPER}`"
    if state.settings.layers:
        yield "  layers, in the order in which Lambda unpacks them:"
        yield from (f"    {arn}" for arn in state.settings.layers)


def _archive(archive: InspectedArchive, width: int | None) -> Iterator[str]:
    contents = archive.contents
    yield archive.zip.name + (f" ({archive.publisher.name})" if archive.publisher is not None else "")
    checked = ", as Lambda reports" if archive.zip.is_layer is not None else ""
    yield (
        f"  {megabytes(contents.zipped_bytes)} zipped, {megabytes(contents.unzipped_bytes)} unzipped, {count(contents.files, 'file')}, "
        f"SHA-256 {contents.sha256}{checked}"
    )
    stated = [("runtimes", ", ".join(archive.zip.runtimes)), ("architectures", ", ".join(archive.zip.architectures))]
    stated += [("licence", archive.zip.license or "")]
    if any(value for _, value in stated):
        yield f"  stated {'; '.join(f'{name}: {value}' for name, value in stated if value)}"
    if archive.provenance is not None:
        yield f"  provenance: {_provenance(archive.provenance)}"
    rows = [
        (each.name, each.version, megabytes(each.size), _short(each.licence, each.classifiers))
        for each in contents.distributions
    ]
    yield from table(("distribution", "version", "size", "licence"), rows, width=width, droppable=(3, 2))
    yield from (f"  {each}" for each in _facts(archive))


def _provenance(verification: Verification) -> str:
    provenance = verification.provenance
    if verification.problem is not None or provenance is None:
        return f"not verified: {verification.problem}"
    source = f" from {provenance.repository or 'a git repository'} at {provenance.commit}" if provenance.commit else ""
    changes = ", with changes that are not committed" if provenance.is_modified else ""
    return f"built by lamina {provenance.lamina}{source}{changes}, as the unsigned statement next to the zip says"


def _facts(archive: InspectedArchive) -> Iterator[str]:
    contents, fitness = archive.contents, archive.fitness
    yield from map(_match, archive.matches)
    if unknown := archive.unmatched_modules:
        yield f"without metadata: {count(len(unknown), 'module')}: {listed(unknown)}"
    if archive.files.changed:
        yield f"changed: {count(len(archive.files.changed), 'file')} with other content than in the RECORD of the distribution: {listed(archive.files.changed)}"
    if missing := [path for each in contents.distributions for path in each.missing]:
        yield f"missing: {count(len(missing), 'file')} in a RECORD, but not in the zip: {listed(missing)}"
    if fitness.machines:
        machines = ", ".join(f"{number} for {machine}" for machine, number in fitness.machines.items())
        needs = f"; they need glibc {fitness.glibc} or newer" if fitness.glibc is not None else ""
        yield f"binaries: {machines}{needs}"
    for each in fitness.bytecode:
        python = f"Python {each.python}" if each.python else "an unknown Python"
        yield f"bytecode: {count(each.files, 'file')} for {python}, {_KINDS[each.kind]}"
    yield from (f"problem: {problem}" for problem in fitness.problems)
    if contents.extensions:
        yield f"extensions: {listed(contents.extensions)}"
    if contents.wrappers:
        paths = " or ".join(f"`/opt/{path}`" for path in contents.wrappers)
        yield f"wrapper scripts: set `{_EXEC_WRAPPER}` to {paths}"
    for wrapper in archive.handlers:
        yield f"handler of {wrapper.vendor}: set the handler to `{wrapper.handler}`, and `{wrapper.variable}` to your own handler"
    if archive.unexplained:
        yield f"of no distribution: {count(len(archive.unexplained), 'file')}: {listed(archive.unexplained)}"
    yield from _locked(archive)


def _match(match: Match) -> str:
    name = f"{listed(match.modules)}: {match.name} {match.version}"
    if match.is_exact:
        return f"identified {name}, by the hashes of {count(len(match.matching), 'file')} in `{match.wheel}`"
    return (
        f"similar {name}: {count(len(match.matching), 'file')} as in `{match.wheel}`, {len(match.differing):,} changed, "
        f"{len(match.extra):,} added"
    )


def _locked(archive: InspectedArchive) -> Iterator[str]:
    same = [each.name for each in archive.locked if each.version == each.locked]
    if same:
        yield f"in your lock in the same version: {listed(same)}"
    for each in archive.locked:
        if each.version != each.locked:
            yield f"in your lock in another version: {each.name} {each.locked or 'without a version'}, here {each.version}"


def _shadowed(shadowed: Shadowed) -> str:
    how = "its files replace and join those of" if shadowed.is_merged else "hides that of"
    hidden = " and ".join(map(_copy, shadowed.hidden))
    return f"`{shadowed.module}` comes from {_copy(shadowed.used)}, and {how} {hidden}"


def _copy(copy: ModuleCopy) -> str:
    version = f" ({copy.distribution} {copy.version})" if copy.distribution is not None else ""
    return f"`{copy.archive}`{version}"


def _short(licence: str | None, classifiers: Sequence[str]) -> str:
    text = licence or " / ".join(each.rpartition(" :: ")[2] for each in classifiers) or "unknown"
    return text if len(text) <= _LONGEST_LICENCE else f"{text[: _LONGEST_LICENCE - 1]}…"
