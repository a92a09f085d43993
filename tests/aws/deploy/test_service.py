"""Tests of a whole deployment of a service against a fake Lambda that other deployers use too."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from aws.fakes import Cloud
from aws.lambdafakes import code, digest, unzipped
from lamina.aws.api.functions import Settings, Zip
from lamina.aws.deploy.apply import Progress
from lamina.aws.deploy.config import DeployConfig
from lamina.aws.deploy.service import ServiceDeployment
from lamina.aws.destination.destination import Destination
from lamina.core.errors import CheckFailedError
from lamina.core.target import Target
from lamina.core.values import Build, Package
from lamina.project.external import AllowedLayer
from pipeline.checks.made import make_service

if TYPE_CHECKING:
    from pathlib import Path

SETTINGS = Settings(layers=(), handler="app.handler", runtime="python3.13")
DATADOG = "arn:aws:lambda:eu-west-1:464622532012:layer:Datadog-Extension:80"
TOOLS = "arn:aws:lambda:eu-west-1:999999999999:layer:tools:3"
OLD, NEW, THEIRS = code("old"), code("new"), code("theirs")


def deployment(directory: Path, *names: str) -> ServiceDeployment:
    """Return the deployment of functions *names*, without layers."""
    path = directory / "new.zip"
    path.write_bytes(NEW)
    packages = tuple(
        Package(
            name=name,
            handler="app.handler",
            path=path,
            sha256=hashlib.sha256(NEW).hexdigest(),
            zipped_bytes=len(NEW),
            unzipped_bytes=unzipped(NEW),
            files=1,
            layers=(),
            total_unzipped_bytes=unzipped(NEW),
            console_editable=True,
        )
        for name in names
    )
    build = Build(
        service="shop",
        target=Target.of("python3.13", "x86_64"),
        layers=(),
        packages=packages,
        findings=(),
        reused=False,
        seconds=0,
    )
    return ServiceDeployment(
        build=build,
        layers=(),
        config=DeployConfig(),
        creation=None,
        directory=directory,
        names=tuple(f"shop-{name}" for name in names),
    )


def test_reads_the_functions_again_when_it_has_the_claim(tmp_path: Path) -> None:
    """A deployment is based on what another one has left, although it did not wait for that one, also in functions that it would have kept."""
    cloud = Cloud()
    functions = cloud.functions
    functions.hold("shop-alpha", OLD, SETTINGS)
    functions.hold("shop-beta", NEW, SETTINGS)
    destination = Destination(cloud.connect(), bucket=None, prefix="")
    plan = deployment(tmp_path, "alpha", "beta").plan((), [destination], create=False)
    for name, content in (("shop-alpha", NEW), ("shop-beta", THEIRS)):
        held = functions.functions[name]
        functions.update_code(name, Zip(content=content), architecture="x86_64", revision=held.state.revision)
        held.busy_polls = 0
    functions.calls.clear()
    (place,) = plan.apply().places

    assert (None, Progress.DEPLOYED) == (place.error, place.progress)
    assert [digest(NEW)] * 2 == [functions.serving(f"shop-{name}")[0] for name in ("alpha", "beta")]
    assert ["UpdateFunctionCode"] == [each for each in functions.calls if each.startswith("Update")]


def refusing(directory: Path, *patterns: str) -> ServiceDeployment:
    """Return the deployment of two functions of a service that allows only layers of *patterns*."""
    allowed = tuple(AllowedLayer(pattern=pattern, reason="for the test") for pattern in patterns)
    return replace(deployment(directory, "alpha", "beta"), service=replace(make_service(), allow_layers=allowed))


@pytest.mark.parametrize("content", [OLD, NEW])
def test_layers_of_other_accounts(tmp_path: Path, content: bytes) -> None:
    """Functions with layers that are not allowed are refused before any change, also those that would be kept as they are."""
    cloud = Cloud()
    destination = Destination(cloud.connect(), bucket=None, prefix="")
    own = f"arn:aws:lambda:eu-west-1:{destination.services.account.id}:layer:tools:3"
    cloud.functions.layer_bytes |= dict.fromkeys((own, DATADOG, TOOLS), 0)
    cloud.functions.hold("shop-alpha", content, replace(SETTINGS, layers=(own, DATADOG)))
    cloud.functions.hold("shop-beta", content, replace(SETTINGS, layers=(TOOLS, DATADOG)))

    def refusal(*patterns: str) -> str:
        with pytest.raises(CheckFailedError) as caught:
            refusing(tmp_path, *patterns).plan((), [destination], create=False)
        assert "no function was changed" in str(caught.value.hint)
        return str(caught.value)

    of_datadog = (
        f"has the layer `{DATADOG}` (Datadog Lambda Extension) of another account; no Python package replaces this extension: copy "
        "it to your account, or allow it with `allow-layers = [{ arn = "
        '"arn:aws:lambda:*:464622532012:layer:Datadog-Extension", reason = "…" }]`'
    )
    assert refusal(DATADOG).startswith(
        f"function `shop-beta` has the layer `{TOOLS}` of another account; build it from"
    )
    assert [
        "3 layers of other accounts are not allowed",
        f"  function `shop-alpha` {of_datadog}",
        f"  function `shop-beta` {of_datadog}",
    ] == [line for line in refusal().splitlines() if TOOLS not in line]
    assert [] == [call for call in cloud.functions.calls if call.startswith(("Update", "Publish"))]

    plan = refusing(tmp_path, DATADOG, "arn:aws:lambda:*:999999999999:layer:*").plan((), [destination], create=False)
    assert (content == OLD) == plan.is_change
