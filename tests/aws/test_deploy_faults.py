"""Deploying over a bad line: whatever call fails, and whether it was done or not, functions and aliases end as wanted."""

from __future__ import annotations

import hashlib
import uuid
from typing import TYPE_CHECKING

import pytest

from aws.faults import faulty
from aws.lambdafakes import code, unzipped
from lamina.aws.client import Access
from lamina.aws.deploy import Creation, Deployment, Patience
from lamina.aws.deployconfig import DeployConfig
from lamina.aws.deployplan import WantedFunction, WantedLayer
from lamina.aws.deploysurvey import survey
from lamina.aws.functions import Functions, unversioned
from lamina.aws.naming import Keys
from lamina.model import Package

if TYPE_CHECKING:
    from pathlib import Path

    from emulators import Emulator

ROLE = "arn:aws:iam::000000000000:role/r"
OPERATIONS = (
    "CreateFunction",
    "CreateAlias",
    "PublishVersion",
    "GetFunctionConfiguration",
    "GetAlias",
    "UpdateFunctionConfiguration",
    "UpdateFunctionCode",
    "UpdateAlias",
)


class Shop:
    """One function, of which each deployment has other code and another layer."""

    def __init__(self, directory: Path, emulator: Emulator) -> None:
        self.name = f"t{uuid.uuid4().hex[:12]}"
        self.directory = directory
        self.client = emulator.client("lambda")
        self.wanted: WantedFunction

    def deploy(self, functions: Functions, content: str) -> bool:
        """Deploy *content*; return whether anything was to do."""
        layer = self.client.publish_layer_version(LayerName=self.name, Content={"ZipFile": code(f"layer {content}")})
        return self.again(functions, content, layer["LayerVersionArn"])

    def again(self, functions: Functions, content: str, arn: str) -> bool:
        path = self.directory / f"{content}.zip"
        path.write_bytes(code(content))
        package = Package(
            name="hello", handler="app.handler", path=path, sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
            zipped_bytes=path.stat().st_size, unzipped_bytes=unzipped(path.read_bytes()), files=1, layers=("common",),
            total_unzipped_bytes=20, console_editable=True,
        )  # fmt: skip
        self.wanted = WantedFunction(
            function="hello", name=self.name, code_sha256=package.code_sha256, zipped_bytes=package.zipped_bytes,
            unzipped_bytes=package.unzipped_bytes, handler="app.handler", runtime="python3.13", architecture="x86_64",
            layers=(WantedLayer(layer=unversioned(arn), arn=arn, unzipped_bytes=10),),
        )  # fmt: skip
        directory = self.directory / uuid.uuid4().hex
        directory.mkdir()
        steps = survey(
            functions,
            [self.wanted],
            {"hello": package},
            config=DeployConfig(alias="live"),
            create=True,
            directory=directory,
            has_bucket=False,
        )
        Deployment(
            functions,
            steps,
            directory=directory,
            objects=None,
            keys=Keys(""),
            creation=Creation(role=ROLE),
            patience=Patience(poll_seconds=0.1),
        ).run()
        return any(step.action.is_change for step in steps)

    def serving(self) -> tuple[str, list[str]]:
        found = self.client.get_function_configuration(FunctionName=self.name, Qualifier="live")
        return found["CodeSha256"], [row["Arn"] for row in found["Layers"]]


@pytest.mark.parametrize("kind", ["503", "unanswered"])
def test_one_fault_at_each_call(
    tmp_path: Path, ministack: Emulator, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """The SDK repeats the call, and what had been done already is taken for what it is."""
    with faulty(ministack.url) as (url, fault):
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        functions = Access(region=ministack.region).connect().functions
        # Waiting between refusals is tested elsewhere.
        functions._call._sleep = lambda _: None
        shop = Shop(tmp_path, ministack)
        for number, operation in enumerate(OPERATIONS):
            if operation in {"CreateAlias", "PublishVersion"}:
                shop = Shop(tmp_path, ministack)
            fault.operation, fault.kind, fault.hits = operation, kind, 0
            shop.deploy(functions, f"{kind} {number}")
            (layer,) = shop.wanted.layers

            assert fault.hits == 1, operation
            assert (shop.wanted.code_sha256, [layer.arn]) == shop.serving(), operation
            assert not shop.again(functions, f"{kind} {number}", layer.reference), operation
