"""Known publishers of layers: whose layer an ARN is, and what to do instead of using it."""

from __future__ import annotations

import re

import pytest

from lamina.project.external import LayerArn, allowing, read_allowed
from lamina.project.publishers import Content, cure, described, entry, publisher_of, publishers
from lamina.project.table import Table
from lamina.project.wrappers import wrapper_of_vendor


def layer(text: str) -> LayerArn:
    found = LayerArn.parse(text)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("arn", "name", "locked"),
    [
        (
            "arn:aws:lambda:eu-west-1:017000801446:layer:AWSLambdaPowertoolsPythonV3-python313-arm64:27",
            "Powertools for AWS Lambda (Python)",
            ("aws-lambda-powertools[all]",),
        ),
        (
            "arn:aws-us-gov:lambda:us-gov-west-1:165093116878:layer:AWSLambdaPowertoolsPythonV3-python313-arm64:27",
            "Powertools for AWS Lambda (Python)",
            ("aws-lambda-powertools[all]",),
        ),
        (
            "arn:aws:lambda:us-east-1:770693421928:layer:Klayers-p312-arm64-beautifulsoup4:3",
            "Klayers",
            ("beautifulsoup4",),
        ),
        ("arn:aws:lambda:us-east-1:770693421928:layer:Klayers-python38-Pillow:3", "Klayers", ("Pillow",)),
        (
            "arn:aws:lambda:eu-west-1:336392948345:layer:AWSSDKPandas-Python313:7",
            "AWS SDK for pandas",
            ("awswrangler",),
        ),
        ("arn:aws:lambda:eu-west-1:464622532012:layer:Datadog-Extension-ARM:80", "Datadog Lambda Extension", ()),
        (
            "arn:aws:lambda:eu-west-1:464622532012:layer:Datadog-Python313:110",
            "Datadog Lambda Library for Python",
            ("datadog-lambda",),
        ),
        (
            "arn:aws:lambda:af-south-1:012438385374:layer:LambdaInsightsExtension-Arm64:25",
            "CloudWatch Lambda Insights Extension",
            (),
        ),
    ],
)
def test_publisher_of_a_layer(arn: str, name: str, locked: tuple[str, ...]) -> None:
    """A publisher is known by its account and the layer's name. Its requirements can depend on the name."""
    found = publisher_of(layer(arn))

    assert found is not None
    assert (name, locked) == (found.name, found.locked(layer(arn).name))


@pytest.mark.parametrize(
    "arn",
    [
        "arn:aws:lambda:eu-west-1:999999999999:layer:Datadog-Extension:80",
        "arn:aws:lambda:eu-west-1:017000801446:layer:AWSLambdaPowertoolsTypeScriptV2:27",
    ],
)
def test_layer_of_an_unknown_publisher(arn: str) -> None:
    """Neither the name alone nor the account alone makes a known layer."""
    assert publisher_of(layer(arn)) is None
    assert f"`{arn}`" == described(arn)
    assert cure(arn).startswith(
        "build it from your lock file, or if the account is yours or you trust it, allow it: add `"
    )


def test_account_of_another_region() -> None:
    """A layer has another account in each region: an ARN of which only the region was changed is recognised, and corrected."""
    arn = "arn:aws:lambda:eu-west-1:177933569100:layer:AWS-Parameters-and-Secrets-Lambda-Extension:11"

    assert cure(arn).startswith("in eu-west-1 its account is `015030872274`; ")


@pytest.mark.parametrize(
    "arn",
    [
        "arn:aws-cn:lambda:cn-north-1:498634801083:layer:AWSLambdaPowertoolsPythonV3-python313-arm64:27",
        "arn:aws:lambda:eu-west-1:464622532012:layer:Datadog-Extension:80",
        "arn:aws:lambda:eu-west-1:999999999999:layer:tools:1",
        "arn:aws:lambda:::awslayer:AmazonLinux1803",
    ],
)
def test_entry_of_the_cure_allows_the_layer(arn: str) -> None:
    """The entry that a message shows allows the layer as soon as it has a reason."""
    import tomllib

    mistakes: list[tuple[str, str]] = []

    def allowed(reason: str) -> bool:
        rows = tomllib.loads(f"allow-layers = [{entry(arn).replace('…', reason)}]")
        return allowing(arn, read_allowed(Table(rows, key="", mistakes=mistakes))) is not None

    assert allowed("bought")
    assert [] == mistakes
    assert not any(map(allowed, ["…", "...", ""]))
    assert mistakes == [
        ("allow-layers[0].reason", "`…` is a placeholder; write why"),
        ("allow-layers[0].reason", "`...` is a placeholder; write why"),
        ("allow-layers[0].reason", "required, but missing or empty"),
    ]
    assert f"`{entry(arn)}`" in cure(arn)


def test_no_entry_for_what_is_no_layer_version() -> None:
    """An ARN that no entry could allow has no example of one."""
    arn = "arn:aws:lambda:eu-west-1:999999999999:layer:tools:$LATEST"

    assert ("", "correct the ARN, which Lambda does not accept") == (entry(arn), cure(arn))


def test_each_publisher_is_complete() -> None:
    """Each publisher has valid patterns and accounts, and requirements unless it publishes an extension."""
    for each in publishers():
        re.compile(each.layers)
        accounts = [account for accounts in each.accounts.values() for account in accounts]

        assert accounts
        assert [] == [account for account in accounts if re.fullmatch("[0-9]{12}", account) is None]
        assert each.requirements or each.kind is Content.EXTENSION, each.name
        assert not each.vendor or wrapper_of_vendor(each.vendor) is not None, each.name


def test_no_two_publishers_have_the_same_layer() -> None:
    """Each layer of a publisher's documentation belongs to one row of the data."""
    names = [
        "AWSLambdaPowertoolsPythonV3-python313-arm64",
        "AWSSDKPandas-Python313-Arm64",
        "Klayers-p313-numpy",
        "Datadog-Python313-ARM",
        "Datadog-Extension-ARM-FIPS",
        "NewRelicPython313ARM64",
        "NewRelicLambdaExtensionARM64",
        "lumigo-python-tracer",
        "SentryPythonServerlessSDK",
        "LambdaInsightsExtension",
        "AWS-Parameters-and-Secrets-Lambda-Extension-Arm64",
        "AWS-AppConfig-Extension-Arm64",
        "AWSOpenTelemetryDistroPython",
        "aws-otel-python-arm64-ver-1-32-0",
        "aws-otel-collector-amd64-ver-0-117-0",
        "opentelemetry-python-0_13_0",
        "opentelemetry-collector-arm64-0_15_0",
    ]

    found = {name: [each.name for each in publishers() if re.fullmatch(each.layers, name)] for name in names}

    assert dict.fromkeys(names, 1) == {name: len(known) for name, known in found.items()}
    assert {each.name for each in publishers()} == {known[0] for known in found.values()}
