"""Measure deploying the example with ``sam deploy``, from artifacts built by lamina."""

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

# The resources into which AWS expands SAM's own resource types, which the emulated AWS does not support. A layer's logical id
# changes with its content, and old versions are retained. The uploaded content is the same.
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
    """Return a row for each event, or an unavailable row if SAM cannot be installed."""
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
    # Disable telemetry and the update check, which are not part of a deployment.
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
    """Return a home directory that records a recent update check, so that SAM does not make another one."""
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
