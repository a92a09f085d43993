"""Small CDK apps for a project, and the results of synthesizing them."""

from __future__ import annotations

import inspect
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aws_cdk import App, Stack, Stage

from lamina.cdk import PythonFunction, live_alias

if TYPE_CHECKING:
    from collections.abc import Callable

    from constructs import Construct

__all__ = [
    "UNSELECTED",
    "WITHOUT_RULES",
    "Synthesized",
    "app_of",
    "make_app",
    "nameless",
    "service_stack",
    "synthesize",
    "synthesized",
]

WITHOUT_RULES: dict[str, Any] = {
    name: False
    for name in ("builtin_cloud_formation_validation",)
    if name in inspect.signature(App.__init__).parameters
}
"""The arguments of `App` that turn CDK's own rules off, which need ten seconds; empty for older versions without rules."""
UNSELECTED: dict[str, object] = {"aws:cdk:bundling-stacks": []}
"""The context of commands that need no assets, such as ``cdk ls``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Synthesized:
    """A synthesized stack."""

    template: dict[str, Any]
    errors: tuple[str, ...]
    warnings: tuple[str, ...]
    files: dict[str, str]
    """The assets that would be uploaded: their keys, mapped to the names of the files in the cloud assembly."""
    directory: Path

    def resources(self, kind: str) -> dict[str, dict[str, Any]]:
        """Return the resources of the CloudFormation type ``AWS::Lambda::`` *kind*, by logical id."""
        rows = self.template["Resources"].items()
        return {name: row for name, row in rows if row["Type"] == f"AWS::Lambda::{kind}"}

    def code_keys(self) -> dict[str, str]:
        """Return the key of each function's code, by handler and logical id."""
        return {name: row["Properties"]["Code"]["S3Key"] for name, row in self.resources("Function").items()}

    def layer_keys(self) -> list[str]:
        """Return the keys of the layers' zips."""
        return [row["Properties"]["Content"]["S3Key"] for row in self.resources("LayerVersion").values()]


def service_stack(scope: Construct, entry: Path, *functions: str, name: str = "Orders") -> Stack:
    """Return a stack with *functions*, each with an alias."""
    stack = Stack(scope, name)
    for function in functions or ("hello", "report"):
        live_alias(PythonFunction(stack, function, entry=entry, function=function))
    return stack


def nameless(project: Path) -> str:
    """Return the configuration of *project* without the project's name."""
    return (project / "pyproject.toml").read_text("utf-8").replace('name = "greeter"\n', "")


def make_app(context: dict[str, object] | None = None) -> App:
    """Return an app without CDK's own rules."""
    return App(context=context, **WITHOUT_RULES)


def app_of(entry: Path, *functions: str, context: dict[str, object] | None = None) -> tuple[App, Stack]:
    """Return an app with one stack of *functions*, and the stack."""
    app = make_app(context)
    return app, service_stack(app, entry, *functions)


def synthesize(make: Callable[[Stack], object], *, context: dict[str, object] | None = None) -> Synthesized:
    """Return the result of synthesizing a stack that *make* fills."""
    app = make_app(context)
    stack = Stack(app, "Orders")
    make(stack)
    return synthesized(app, stack)


def synthesized(app: App, stack: Stack) -> Synthesized:
    """Return the result of synthesizing *stack* of *app*."""
    stage = Stage.of(stack)
    assert stage is not None
    assembly = app.synth()
    nested = assembly if stage is app else assembly.get_nested_assembly(stage.artifact_id)
    artifact = nested.get_stack_artifact(stack.artifact_id)
    found = [(message.entry.type, message.entry.data) for message in artifact.messages]
    directory = Path(nested.directory)
    manifest = json.loads((directory / f"{stack.artifact_id}.assets.json").read_text("utf-8"))
    zips = [row for row in manifest["files"].values() if not row["source"]["path"].endswith(".template.json")]
    return Synthesized(
        template=artifact.template,
        errors=tuple(f"{text}" for kind, text in found if kind == "aws:cdk:error"),
        warnings=tuple(f"{text}" for kind, text in found if kind == "aws:cdk:warning"),
        files={next(iter(row["destinations"].values()))["objectKey"]: row["source"]["path"] for row in zips},
        directory=directory,
    )
