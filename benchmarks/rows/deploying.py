"""
Measure time, bytes and requests of deploying the example over a slow line to an emulated AWS, with lamina and with other tools.

lamina's rows include its build, with wheels and segments in the store. The other tools deploy artifacts built by lamina beforehand.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from benchmarks import sam, scripts
from benchmarks.bench import remove
from benchmarks.cloud import BUCKET, ROLE
from benchmarks.stage import Stage
from benchmarks.states import EVENTS, due_bytes
from benchmarks.values import Budget, Measure, Row, Unavailable
from lamina.core.errors import LaminaError
from lamina.pipeline import report

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.bench import Bench
    from benchmarks.states import Event
    from benchmarks.values import Runner, Sample

__all__ = ["BUDGETS", "rows"]

_QUESTION_BYTES = 100_000
"""The bytes allowed for finding out that nothing has changed, for ten functions."""
_TALK_BYTES = 200_000
"""The bytes allowed beyond content when ten functions change: about 8 requests of 800 bytes for each function, and
the index entries that other machines need to publish a small wheel without downloading it."""
_LARGE_TALK_BYTES = 350_000
"""The same for a large wheel such as numpy: its central directory has 25 kB, the record of its modules' imports 106 kB."""
_QUESTION_REQUESTS = 2 * 10 + 10
"""The requests allowed for finding out that nothing has changed, for ten functions."""
_BUMP_REQUESTS = 100
"""The requests to Lambda allowed for a new layer version for ten functions. The requests to S3 depend on the layer, and have no such limit."""
_SETTINGS = f"""
[tool.lamina.publish]
bucket = "{BUCKET}"

[tool.lamina.deploy]
alias = "live"
"""

BUDGETS = (
    Budget(what="sent of layer and code", row="deploy-lamina-first", measure=Measure.DUE, at_most=1.05),
    *(
        Budget(what=what, row=f"deploy-lamina-{event}", measure=Measure.EXCESS, at_most=most)
        for event, what, most in (
            ("unchanged", "sent", _QUESTION_BYTES),
            ("certifi", "sent beyond wheel and tail", _TALK_BYTES),
            ("numpy", "sent beyond wheel and tail", _LARGE_TALK_BYTES),
            ("code", "sent beyond code", _TALK_BYTES),
        )
    ),
    Budget(what="requests", row="deploy-lamina-unchanged", measure=Measure.REQUESTS, at_most=_QUESTION_REQUESTS),
    *(
        Budget(
            what="requests to Lambda",
            row=f"deploy-lamina-{event}",
            measure=Measure.LAMBDA_REQUESTS,
            at_most=_BUMP_REQUESTS,
        )
        for event in ("certifi", "numpy")
    ),
    *(
        Budget(
            what="bytes",
            row=f"deploy-lamina-{event.name}",
            against=f"deploy-sam-{event.name}",
            measure=Measure.SENT,
            at_most=1.05,
        )
        for event in EVENTS
        if event.name in ("first", "certifi", "numpy")
    ),
    *(
        Budget(
            what="time",
            row=f"deploy-lamina-{event.name}",
            against=f"deploy-sam-{event.name}",
            measure=Measure.TIMES,
            at_most=1,
            aim=True,
        )
        for event in EVENTS
    ),
)


def rows(bench: Bench) -> Sequence[Row | Unavailable]:
    """Build the example in all its states, start the emulated AWS, and return the rows."""
    try:
        stage = Stage.of(bench)
    except LaminaError as error:
        return [Unavailable(name="deploy", title="deployments over a slow line", reason=str(error))]
    return [*_lamina(stage), *sam.rows(stage), *scripts.rows(stage)]


def _lamina(stage: Stage) -> Sequence[Row]:
    return [_lamina_row(stage, event) for event in EVENTS]


def _lamina_row(stage: Stage, event: Event) -> Row:
    project = stage.states.project(f"deploying-lamina-{event.name}", _SETTINGS)
    deploy = ("deploy", "--quiet", "--project", str(project))
    create = (*deploy, "--create", "--role", ROLE)
    links = {"UV_FIND_LINKS": str(stage.states.wheels), "PIP_FIND_LINKS": str(stage.states.wheels)}

    def prepare() -> None:
        stage.cloud.renew()
        if event.before is None:
            remove(project / ".lamina")
        else:
            stage.states.put(project, event.before)
            stage.bench.run(stage.bench.lamina(*create, more=stage.cloud.nearby | links))
        stage.states.put(project, event.after)

    def run(runner: Runner) -> Sample:
        words = create if event.before is None else deploy
        sample = stage.cloud.measure(runner, stage.bench.lamina(*words, more=stage.cloud.far | links))
        if sample.traffic is None:
            raise RuntimeError("the line did not count any traffic")
        due = due_bytes(event, report.read(project))
        return replace(sample, traffic=replace(sample.traffic, due_bytes=due))

    def verify() -> None:
        code = stage.code(report.read(project))
        stage.verify(code, layer_versions=event.layer_versions, qualifier="live")

    return Row(
        name=f"deploy-lamina-{event.name}",
        title=f"lamina deploy, {event.title}",
        run=run,
        prepare=prepare,
        verify=verify,
        slow=True,
    )
