"""
Deploy the example with the AWS CDK to an emulated AWS on this machine: ``make cdk``.

The demo deploys the example, runs its end-to-end tests against the deployment, then changes code, then one dependency, and shows what
each deployment uploads. No container engine is on the search path. Requires Node.js; npm installs the command ``cdk`` in ``build``.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import boto3
from demo import HERE, ORDERS, configured_target, lamina, without_bytecode
from deploying import OLDER, older, say

from lamina.bytecode.interpreter import search

WORK = HERE.parent / "build" / "cdk"
COPY = WORK / "orders"
BIN = WORK / "bin"
STACK = "orders-dev"
ENGINES = ("docker", "podman", "finch", "nerdctl", "container")
# Disable telemetry and the version check of the command `cdk`.
QUIET = {
    "CDK_DISABLE_CLI_TELEMETRY": "true",
    "CDK_DISABLE_VERSION_CHECK": "1",
}


def main() -> int:
    """Return 0 if every deployment succeeded, answered correctly, and uploaded only what had changed."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        say("The AWS CDK requires Node.js, but `node` and `npm` are not both on the PATH.")
        return 2
    invoke = search(configured_target().python) is not None
    if not invoke:
        say(
            "The target's Python is not installed, so no function is invoked; run `make demo` to see how to install it."
        )
    shutil.rmtree(COPY, ignore_errors=True)
    source = ORDERS if invoke else without_bytecode()
    shutil.copytree(source, COPY, ignore=shutil.ignore_patterns(".lamina", "__pycache__", "cdk.out", "node_modules"))
    if code := install():
        return code
    words = [str(HERE / "cdk.py"), "invoke" if invoke else "no-invoke"]
    return lamina("sandbox", "--project", str(COPY), "--", sys.executable, *words)


def install() -> int:
    """Install the locked version of the command ``cdk``, and create a directory with links to all commands that the demo needs."""
    version = json.loads((ORDERS / "package.json").read_text("utf-8"))["devDependencies"]["aws-cdk"]
    package = WORK / f"aws-cdk-{version}"
    command = package / "node_modules" / "aws-cdk" / "bin" / "cdk"
    if not command.exists():
        say(f"Installing aws-cdk@{version} (first run only)")
        package.mkdir(parents=True, exist_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(ORDERS / name, package)
        words = ["npm", "ci", "--silent", "--no-audit", "--no-fund"]
        if code := subprocess.run(words, cwd=package, check=False).returncode:
            return code
    shutil.rmtree(BIN, ignore_errors=True)
    BIN.mkdir(parents=True)
    for name, path in (("cdk", command), ("node", shutil.which("node")), ("python", sys.executable)):
        # A script, because through a symbolic link Python would not find its virtual environment.
        (BIN / name).write_text(f'#!/bin/sh\nexec "{path}" "$@"\n', "utf-8")
        (BIN / name).chmod(0o755)
    return 0


def without_engines(path: str) -> str:
    """Return the search path *path* without the directories that contain a container engine."""
    kept = [each for each in path.split(os.pathsep) if not any(Path(each, engine).exists() for engine in ENGINES)]
    return os.pathsep.join((str(BIN), *kept))


@dataclass
class Deployment:
    """The uploads of one ``cdk deploy`` in bytes, and its duration in seconds."""

    name: str
    layer: int
    code: int
    seconds: float


class Demo:
    """A series of deployments of one copy of the example."""

    def __init__(self, *, invoke: bool) -> None:
        self.invoke = invoke
        self.deployments: list[Deployment] = []
        # The layer version of the alias's function at each invocation.
        self.asked: list[str] = []
        self.s3 = boto3.client("s3")
        self.functions = boto3.client("lambda")
        self.stacks = boto3.client("cloudformation")
        self.lock = COPY / "requirements.txt"
        self.current = self.lock.read_text("utf-8")
        self.environment = os.environ | QUIET | {"PATH": without_engines(os.environ["PATH"])}

    def run(self) -> int:
        """Run all deployments, and return 0 if they succeeded."""
        if found := [name for name in ENGINES if shutil.which(name, path=self.environment["PATH"])]:
            say(f"FAILED: a container engine is on the path: {', '.join(found)}")
            return 1
        if not (self.bootstrap() and self.deploy_older() and self.deploy_changes()):
            return 1
        self.show()
        return self.judge()

    def bootstrap(self) -> bool:
        """Create the resources that the CDK needs once in each account and region."""
        return self.cdk("bootstrap", f"aws://000000000000/{os.environ['AWS_REGION']}")

    def deploy_older(self) -> bool:
        """Deploy with an older release of one distribution, so that a later deployment can update it."""
        self.lock.write_text(older(self.current), "utf-8")
        say(f"\nFirst deployment, with {OLDER[0]} {OLDER[1]} in the lock file:")
        return self.deploy("first") and self.answers()

    def deploy_changes(self) -> bool:
        """Deploy without a change, after a change of code, and after a change of the lock file."""
        say("\nDeploying again without changes:")
        if not self.deploy("nothing changed"):
            return False
        say("\nAfter changing code:")
        with (COPY / "service" / "handlers" / "health.py").open("a", encoding="utf-8") as file:
            file.write("# changed\n")
        if not self.deploy("code changed"):
            return False
        say(f"\nAfter updating {OLDER[0]}:")
        self.lock.write_text(self.current, "utf-8")
        return self.deploy("1 wheel updated") and self.answers("-k", "remembered")

    def cdk(self, *words: str) -> bool:
        """Run ``cdk`` in the copy of the example, and show its output only if it fails."""
        say(f"$ cdk {' '.join(words)}")
        command = [str(BIN / "cdk"), *words, "--no-notices", "--no-color"]
        done = subprocess.run(
            command, cwd=COPY, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
        )
        if done.returncode:
            say(f"{done.stdout.decode()}FAILED: exit code {done.returncode}")
        return done.returncode == 0

    def deploy(self, name: str) -> bool:
        """Run ``cdk deploy``, and record its uploads and duration."""
        before, started = self.stored(), time.monotonic()
        if not self.cdk("deploy", "--require-approval", "never"):
            return False
        seconds = time.monotonic() - started
        new = {key: size for key, size in self.stored().items() if key not in before and key.endswith(".zip")}
        template = json.loads((COPY / "cdk.out" / f"{STACK}.template.json").read_text("utf-8"))
        kinds = template["Resources"].values()
        layers = {
            each["Properties"]["Content"]["S3Key"] for each in kinds if each["Type"] == "AWS::Lambda::LayerVersion"
        }
        layer = sum(size for key, size in new.items() if key in layers)
        self.deployments.append(Deployment(name, layer=layer, code=sum(new.values()) - layer, seconds=seconds))
        return True

    def stored(self) -> dict[str, int]:
        """Return the size of each object in the bucket that ``cdk deploy`` uploads to, by key."""
        (bucket,) = (each["Name"] for each in self.s3.list_buckets()["Buckets"] if each["Name"].startswith("cdk-"))
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        return {each["Key"]: each["Size"] for page in pages for each in page.get("Contents", ())}

    def answers(self, *options: str) -> bool:
        """Run the example's end-to-end tests against the API, and invoke the function without a route through its alias."""
        if not self.invoke:
            return True
        stack = self.stacks.describe_stacks(StackName=STACK)["Stacks"][0]
        (url,) = (each["OutputValue"] for each in stack["Outputs"] if each["OutputKey"] == "url")
        # The host name in the API's URL does not resolve on this machine.
        identifier = re.split(r"[/.]+", url)[1]
        base = f"{os.environ['AWS_ENDPOINT_URL']}/_aws/execute-api/{identifier}/$default"
        say(" ".join(("$ ORDERS_URL=… pytest tests/end_to_end", *options)))
        tests = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/end_to_end", *options]
        done = subprocess.run(tests, cwd=COPY, env=self.environment | {"ORDERS_URL": base}, check=False)
        return done.returncode == 0 and self.exports()

    def exports(self) -> bool:
        resources = self.stacks.describe_stack_resources(StackName=STACK)["StackResources"]
        (alias,) = (
            each["PhysicalResourceId"]
            for each in resources
            if each["ResourceType"] == "AWS::Lambda::Alias" and "exportreport" in each["LogicalResourceId"]
        )
        event = (COPY / "events" / "export-report.json").read_bytes()
        response = self.functions.invoke(FunctionName=alias, Payload=event)
        answer = json.loads(response["Payload"].read())
        right = isinstance(answer, dict) and answer.get("stored") is True
        (layer,) = self.functions.get_function_configuration(FunctionName=alias)["Layers"]
        self.asked.append(layer["Arn"].rpartition(":")[2])
        say(
            f"invoked {alias.rpartition(':function:')[2]}, version {response.get('ExecutedVersion', '?')}, "
            f"layer version {self.asked[-1]}: "
            f"{answer.get('statusCode') if right else f'FAILED: {answer}'}"
        )
        return right

    def show(self) -> None:
        say("\nuploaded                   layer          code       cdk deploy")
        for each in self.deployments:
            layer, code = (f"{size / 1e6:,.3f} MB" for size in (each.layer, each.code))
            say(f"  {each.name:16}{layer:>14}{code:>14}{each.seconds:>15.1f} s")

    def judge(self) -> int:
        """Return 1 if a deployment uploaded more than what had changed, or deleted a layer version."""
        first, again, code, bump = self.deployments
        layers = self.functions.list_layers()["Layers"]
        versions = [
            each["Version"]
            for layer in layers
            for each in self.functions.list_layer_versions(LayerName=layer["LayerName"])["LayerVersions"]
        ]
        say(f"layer versions: {', '.join(map(str, sorted(versions)))}")
        wrong = [
            words
            for words, bad in (
                ("the first deployment did not upload both layer and code", not (first.layer and first.code)),
                ("a deployment without changes uploaded something", again.layer + again.code > 0),
                ("a change of code uploaded the layer, or did not upload the code", code.layer > 0 or not code.code),
                ("a change of the lock file uploaded code", bump.code > 0),
                (f"expected 2 layer versions, got {len(versions)}", len(versions) != 2),
                (
                    f"expected layer versions 1 and 2 behind the alias, got {', '.join(self.asked)}",
                    self.invoke and self.asked != ["1", "2"],
                ),
            )
            if bad
        ]
        for words in wrong:
            say(f"FAILED: {words}")
        return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(Demo(invoke=sys.argv[1] == "invoke").run() if sys.argv[1:] else main())
