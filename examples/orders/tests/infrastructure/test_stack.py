"""Tests of the stack's template, which build no layer and make no AWS calls."""

import tomllib
from pathlib import Path

import aws_cdk as cdk
import pytest
from aws_cdk.assertions import Match, Template

from infrastructure.stack import ROUTES, OrdersStack

ROOT = Path(__file__).parents[2]
FUNCTIONS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["lamina"]["functions"]


@pytest.fixture(scope="session")
def template():
    # For speed, code is a placeholder and CDK's own rules are off; `cdk synth` builds the code and checks the rules.
    app = cdk.App(context={"aws:cdk:bundling-stacks": []}, builtin_cloud_formation_validation=False)
    return Template.from_stack(OrdersStack(app, "orders-test"))


def resources(template, kind):
    return template.find_resources(kind).values()


def test_every_function_is_deployed_with_the_one_layer(template):
    (layer,) = template.find_resources("AWS::Lambda::LayerVersion")
    found = [function["Properties"] for function in resources(template, "AWS::Lambda::Function")]

    assert sorted(FUNCTIONS.values()) == sorted(function["Handler"] for function in found)
    assert [[{"Ref": layer}]] * len(FUNCTIONS) == [function["Layers"] for function in found]


def test_every_function_is_traced(template):
    template.all_resources_properties("AWS::Lambda::Function", {"TracingConfig": {"Mode": "Active"}})


def test_old_layer_versions_stay(template):
    template.has_resource("AWS::Lambda::LayerVersion", {"DeletionPolicy": "Retain", "UpdateReplacePolicy": "Retain"})


def test_nobody_calls_an_unpublished_function(template):
    aliases = set(template.find_resources("AWS::Lambda::Alias", {"Properties": {"Name": "live"}}))
    allowed = {each["Properties"]["FunctionName"]["Ref"] for each in resources(template, "AWS::Lambda::Permission")}
    (stream,) = resources(template, "AWS::Lambda::EventSourceMapping")

    assert len(FUNCTIONS) == len(aliases)
    assert allowed <= aliases
    # The event source refers to a part of the alias's ARN.
    assert aliases & set(words(stream["Properties"]["FunctionName"]))


def words(value):
    """Yield every string in the nested *value*."""
    match value:
        case str():
            yield value
        case list():
            for item in value:
                yield from words(item)
        case dict():
            yield from words(list(value.values()))


def test_every_route_leads_to_a_function(template):
    found = {route["Properties"]["RouteKey"] for route in resources(template, "AWS::ApiGatewayV2::Route")}

    assert {f"{method} {path}" for method, path in ROUTES.values()} == found


def test_readers_cannot_write(template):
    template.has_resource_properties(
        "AWS::IAM::Policy",
        {
            "PolicyName": Match.string_like_regexp("getorder.*"),
            "PolicyDocument": {
                "Statement": Match.not_(
                    Match.array_with([Match.object_like({"Action": Match.array_with(["dynamodb:PutItem"])})])
                )
            },
        },
    )


def test_logs_are_kept_for_a_month(template):
    template.resource_count_is("AWS::Logs::LogGroup", len(FUNCTIONS))
    template.all_resources_properties("AWS::Logs::LogGroup", {"RetentionInDays": 30})
