"""Deployments of the example with ``sam deploy``, from what lamina has built."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from benchmarks.cloud import BUCKET, ROLE
from benchmarks.states import CURRENT, EVENTS
from benchmarks.tools import MissingToolError, tool
from benchmarks.values import Row, Unavailable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benchmarks.bench import Bench
    from benchmarks.stage import Stage
    from benchmarks.states import Event
    from benchmarks.values import Runner, Sample

__all__ = ["rows"]

# As AWS expands SAM's own kinds of resources, which the emulated one does not: a layer's name in the template
# changes with its content, and old versions stay. What is uploaded is the same.
_SAM_FUNCTION = """\
  Function{number}:
    Type: AWS::Lambda::Function
    Properties:
      FunctionName: {name}
      Handler: {handler}
      Runtime: {runtime}
      Role: {role}
      Code: {code}
      Layers: [!Ref {resource}]
"""
_SAM_TEMPLATE = """\
Resources:
  {resource}:
    Type: AWS::Lambda::LayerVersion
    DeletionPolicy: Retain
    Properties:
      LayerName: {layer}
      Content: {content}
      CompatibleRuntimes: [{runtime}]
"""


def rows(stage: Stage) -> Sequence[Row | Unavailable]:
    """Return a row for each event."""
    try:
        sam = tool(stage.bench, "aws-sam-cli", "sam")
    except MissingToolError as error:
        return [Unavailable(name="deploy-sam-first", title="sam deploy", reason=str(error))]
    return [_row(stage, event, sam) for event in EVENTS]


def _row(stage: Stage, event: Event, sam: Path) -> Row:
    place = stage.bench.work / f"deploying-sam-{event.name}"
    template = place / "template.yaml"
    argv = (
        *(str(sam), "deploy", "--template-file", str(template), "--stack-name", stage.builds[CURRENT].service),
        *("--s3-bucket", BUCKET, "--no-confirm-changeset", "--no-fail-on-empty-changeset", "--no-progressbar"),
    )
    # Neither a report to its makers nor a search for a newer release is part of a deployment.
    quiet = {"SAM_CLI_TELEMETRY": "0", "HOME": str(_home(stage.bench))}

    def prepare() -> None:
        place.mkdir(exist_ok=True)
        stage.cloud.renew()
        if event.before is not None:
            template.write_text(_template(stage, event.before), "utf-8")
            stage.bench.run(stage.bench.command(*argv, directory=place, more=stage.cloud.nearby | quiet))
        template.write_text(_template(stage, event.after), "utf-8")

    def run(runner: Runner) -> Sample:
        return stage.cloud.measure(runner, stage.bench.command(*argv, directory=place, more=stage.cloud.far | quiet))

    return Row(
        name=f"deploy-sam-{event.name}",
        title=f"sam deploy, {event.title}",
        run=run,
        prepare=prepare,
        verify=lambda: stage.verify(stage.code(stage.builds[event.after]), layer_versions=event.layer_versions),
        slow=True,
    )


def _home(bench: Bench) -> Path:
    """Return a home directory in which SAM has just looked for a newer release of itself."""
    home = bench.work / "sam-home"
    (home / ".aws-sam").mkdir(parents=True, exist_ok=True)
    (home / ".aws-sam" / "metadata.json").write_text(json.dumps({"lastVersionCheck": time.time()}), "utf-8")
    return home


def _template(stage: Stage, state: str) -> str:
    build, runtime = stage.builds[state], stage.bench.target.runtime
    [layer] = build.layers
    resource = f"Dependencies{layer.digest[:10]}"
    functions = [
        _SAM_FUNCTION.format(
            number=number,
            name=stage.function_name(package),
            handler=package.handler,
            runtime=runtime,
            role=ROLE,
            resource=resource,
            code=package.path,
        )
        for number, package in enumerate(build.packages)
    ]
    return _SAM_TEMPLATE.format(layer=stage.layer, content=layer.path, runtime=runtime, resource=resource) + "".join(
        functions
    )
