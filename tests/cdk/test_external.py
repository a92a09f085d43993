"""Tests that functions with layers of other accounts are refused, unless a project allows them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from aws_cdk import Aspects, Environment, Fn, Stack
from aws_cdk.aws_lambda import Code, Function, LambdaInsightsVersion, LayerVersion, Runtime

from cdk.apps import make_app, synthesize, synthesized
from lamina.cdk import PythonFunction, PythonLayerVersion, RefuseExternalLayers

if TYPE_CHECKING:
    from pathlib import Path

    from aws_cdk.aws_lambda import ILayerVersion

    from services import Service

DATADOG = "arn:aws:lambda:eu-west-1:464622532012:layer:Datadog-Extension:80"
TOOLS = "arn:aws:lambda:eu-west-1:999999999999:layer:tools:3"


def imported(stack: Stack, name: str, arn: str) -> ILayerVersion:
    return LayerVersion.from_layer_version_arn(stack, name, arn)


def plain(stack: Stack, name: str, *layers: ILayerVersion) -> Function:
    code = Code.from_inline("def lambda_handler(event, context): ...")
    return Function(stack, name, code=code, handler="index.f", runtime=Runtime.PYTHON_3_13, layers=list(layers))


def allowing(service: Service, *patterns: str) -> Path:
    """Write *service* with an entry of `allow-layers` for each of *patterns*, and return its directory."""
    rows = ", ".join(f'{{ arn = "{pattern}", reason = "for the test" }}' for pattern in patterns)
    service.settings["allow-layers"] = f"[{rows}]"
    return service.write()


def test_functions_of_lamina(service: Service) -> None:
    """A `PythonFunction` is refused with any layer of another account, also with one that was added later; the hint is the cure."""
    project = allowing(service, "arn:aws:lambda:*:464622532012:layer:Datadog-Extension*")

    def make(stack: Stack) -> None:
        common = PythonLayerVersion(stack, "Common", entry=project)
        tools = imported(stack, "Tools", TOOLS)
        of_region = f"arn:{stack.partition}:lambda:{stack.region}:017000801446:layer:AWSLambdaPowertoolsPythonV3-x:27"
        layers = [common, imported(stack, "Datadog", DATADOG), imported(stack, "Powertools", of_region)]
        function = PythonFunction(stack, "Hello", entry=project, function="hello", layers=layers)
        function.add_layers(tools)
        plain(stack, "Other", tools)

    errors = synthesize(make).errors

    assert errors[0] == (
        "function `Orders/Hello` has the layer `arn:*:lambda:*:017000801446:layer:AWSLambdaPowertoolsPythonV3-x:27` "
        "(Powertools for AWS Lambda (Python)) of another account\nhint: lock `aws-lambda-powertools[all]` instead, or allow it: add "
        '`{ arn = "arn:*:lambda:*:017000801446:layer:AWSLambdaPowertoolsPythonV3-x", reason = "…" }` to `allow-layers`'
    )
    assert [f"function `Orders/Hello` has the layer `{TOOLS}` of another account"] == [
        error.partition("\nhint: ")[0] for error in errors[1:]
    ]


def test_layers_that_are_no_others(service: Service) -> None:
    """Layers of the stack, of its account, of other stacks and parameters are not of another account, as far as a template shows."""
    project = allowing(service)
    app = make_app()
    stack = Stack(app, "Orders", env=Environment(account="999999999999", region="eu-west-1"))
    common = PythonLayerVersion(stack, "Common", entry=project)
    own = f"arn:aws:lambda:{stack.region}:{stack.account}:layer:tools:3"
    exported = imported(stack, "Exported", Fn.import_value("layer"))
    layers = [common, imported(stack, "Tools", own), exported]
    PythonFunction(stack, "Hello", entry=project, function="hello", layers=layers)

    assert () == synthesized(app, stack).errors


def test_every_way_to_write_an_arn(service: Service) -> None:
    """A layer is refused however its ARN is put together; one of an unknown account may be the own one."""
    project = allowing(service)

    def make(stack: Stack) -> None:
        of_stack = "arn:${AWS::Partition}:lambda:${AWS::Region}:999999999999:layer:tools:3"
        parts = ["arn", "aws", "lambda", stack.region, "999999999999", "layer", "tools", "3"]
        own = Fn.sub("arn:aws:lambda:${AWS::Region}:${AWS::AccountId}:layer:tools:3")
        for name, arn in (("Sub", Fn.sub(of_stack)), ("Join", Fn.join(":", parts)), ("Own", own)):
            plain(stack, name, imported(stack, f"{name}Layer", arn))
        Aspects.of(stack).add(RefuseExternalLayers(project))

    assert ["function `Orders/Sub`", "function `Orders/Join`"] == [
        error.partition(" has the layer ")[0] for error in synthesize(make).errors
    ]


def test_layer_of_an_option_of_cdk(service: Service) -> None:
    """CDK adds layers of AWS to a function with certain options. They are of another account, too."""
    project = allowing(service)
    app = make_app()
    stack = Stack(app, "Orders", env=Environment(account="123456789012", region="eu-west-1"))
    insights = LambdaInsightsVersion.VERSION_1_0_229_0
    PythonFunction(stack, "Hello", entry=project, function="hello", insights_version=insights)

    [error] = synthesized(app, stack).errors

    assert "(CloudWatch Lambda Insights Extension) of another account\nhint: no Python package replaces" in error


@pytest.mark.parametrize("accounts", [(), ("999999999999",)])
def test_aspect(service: Service, accounts: tuple[str, ...]) -> None:
    """The aspect checks functions of every construct. It allows what the projects allow, and the layers of given accounts."""
    project = allowing(service, DATADOG)

    def make(stack: Stack) -> None:
        layers = imported(stack, "Datadog", DATADOG), imported(stack, "Tools", TOOLS)
        plain(stack, "First", *layers)
        plain(stack, "Second")
        Aspects.of(stack).add(RefuseExternalLayers(project, accounts=accounts))

    found = [error.partition("\nhint: ")[0] for error in synthesize(make).errors]

    assert [f"function `Orders/First` has the layer `{TOOLS}` of another account"][len(accounts) :] == found


def test_aspect_without_a_project(tmp_path: Path) -> None:
    """Without a project, every layer of another account is refused. A project that does not exist is an error."""

    def make(stack: Stack, *entries: Path) -> None:
        plain(stack, "First", imported(stack, "Datadog", DATADOG))
        Aspects.of(stack).add(RefuseExternalLayers(*entries))

    assert [True] == [DATADOG in error for error in synthesize(make).errors]
    assert [False, True] == sorted(DATADOG in error for error in synthesize(lambda stack: make(stack, tmp_path)).errors)
