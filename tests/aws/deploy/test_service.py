"""Tests of a whole deployment of a service against a fake Lambda that other deployers use too."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from aws.fakes import Cloud
from aws.lambdafakes import code, digest, unzipped
from lamina.aws.api.functions import Settings, Zip
from lamina.aws.deploy.apply import Progress
from lamina.aws.deploy.config import DeployConfig
from lamina.aws.deploy.service import ServiceDeployment
from lamina.aws.destination.destination import Destination
from lamina.core.target import Target
from lamina.core.values import Build, Package

if TYPE_CHECKING:
    from pathlib import Path

SETTINGS = Settings(layers=(), handler="app.handler", runtime="python3.13")
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
