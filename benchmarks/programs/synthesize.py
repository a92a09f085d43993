"""
Synthesize the built service in the given directory with lamina's constructs and with CDK's own, and print the times in seconds.

Prints the time of a stack with CDK's own constructs for the same zips, with Node running, and lamina's share. The share is the time for
importing lamina's constructs, for checking that the last build is up to date, and the additional time of a stack with them. Both stacks
are synthesized alternately. The minimum counts, because other processes on the machine only add time.
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import aws_cdk as cdk
from aws_cdk import aws_lambda as lambda_

ROUNDS = 7

project = Path(sys.argv[1])
build = json.loads((project / ".lamina" / "build.json").read_text("utf-8"))

first = cdk.App()
started = time.perf_counter()
from lamina.cdk import PythonFunction  # noqa: E402 - importing it is measured
from lamina.cdk.builds import SHARED  # noqa: E402

imported = time.perf_counter()
answer = SHARED.ask(project, app=first, build=True)
asked = time.perf_counter()


def own(stack: cdk.Stack) -> None:
    for row in build["functions"]:
        PythonFunction(stack, row["name"], entry=project, function=row["name"])


def plain(stack: cdk.Stack) -> None:
    runtime, architecture = lambda_.Runtime(build["target"]["runtime"]), lambda_.Architecture.X86_64
    layers = [
        lambda_.LayerVersion(
            stack,
            row["name"],
            code=code(row, "digest"),
            compatible_runtimes=[runtime],
            compatible_architectures=[architecture],
        )
        for row in build["layers"]
    ]
    for row in build["functions"]:
        lambda_.Function(
            stack,
            row["name"],
            code=code(row, "sha256"),
            handler=row["handler"],
            runtime=runtime,
            architecture=architecture,
            layers=layers,
        )


def code(row: dict[str, str], identity: str) -> lambda_.Code:
    path = str(project / row["path"])
    return lambda_.Code.from_asset(path, asset_hash=row[identity], asset_hash_type=cdk.AssetHashType.CUSTOM)


def seconds(fill: Callable[[cdk.Stack], None]) -> float:
    # Copying the zips into the cloud assembly is disabled: it is the same work for both stacks, and its time varies with the disk.
    with tempfile.TemporaryDirectory() as directory:
        begun = time.perf_counter()
        app = cdk.App(outdir=directory, context={"aws:cdk:disable-asset-staging": True})
        fill(cdk.Stack(app, "Orders"))
        app.synth()
        return time.perf_counter() - begun


seconds(plain)
taken = [(seconds(plain), seconds(own)) for _ in range(ROUNDS)]
if SHARED.runs or not answer.builds:
    sys.exit("the previous build was not up to date")
floor, whole = (min(side) for side in zip(*taken, strict=True))
print(json.dumps({"plain": floor, "share": asked - started + max(0.0, whole - floor)}))
