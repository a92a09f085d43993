"""Tests of synthesized apps: their assets and resources, the builds they cause, and their warnings."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from aws_cdk import NestedStack, RemovalPolicy, Stack, Stage
from aws_cdk.assertions import Template
from aws_cdk.aws_lambda import Architecture, Code, Function, LayerVersion, Runtime

from cdk.apps import UNSELECTED, app_of, make_app, nameless, service_stack, synthesize, synthesized
from lamina.cdk import PythonFunction, PythonLayerVersion, live_alias
from lamina.cdk.builds import SHARED
from wheels import sha256

if TYPE_CHECKING:
    import pytest

    from cdk.apps import Synthesized
    from services import Service

PROGRAM = Path(__file__).parent / "elsewhere.py"


def whole(project: Path) -> Synthesized:
    """Return the result of synthesizing an app with the whole service."""
    return synthesized(*app_of(project))


def test_builds_once(service: Service, capfd: pytest.CaptureFixture[str]) -> None:
    """`cdk ls`, two synths, three stages and twenty templates cause one build, which prints one line."""
    project, runs = service.write(), SHARED.runs
    app_of(project, context=UNSELECTED)[0].synth()

    assert not (project / ".lamina").exists()

    for _ in range(2):
        app_of(project)[0].synth()
    staged = make_app()
    for name in ("Dev", "Test", "Production"):
        service_stack(Stage(staged, name), project, "hello")
    staged.synth()
    templates = [Template.from_stack(app_of(project, "hello")[1]).to_json() for _ in range(20)]

    assert 1 == SHARED.runs - runs
    assert templates[1:] == templates[:-1]
    said = [line for line in capfd.readouterr().err.splitlines() if line.startswith("lamina: ")]
    assert 1 == len(said)
    assert said[0].startswith("lamina: built layer common: not built before; packed 2 functions, in ")


def test_dependencies_in_the_zip(service: Service) -> None:
    """Functions whose dependencies are in their zips have no layers, and the zips as code."""
    service.settings["packaging"] = '"zip"'
    project = service.write()

    result = whole(project)

    assert {} == result.resources("LayerVersion")
    assert ["Layers" in row["Properties"] for row in result.resources("Function").values()] == [False, False]
    zips = sorted((project / ".lamina" / "functions").glob("*.zip"))
    assert {sha256(path) for path in zips} == {
        sha256(result.directory / result.files[key]) for key in result.code_keys().values()
    }


def test_unselected_stack_gets_what_cannot_be_deployed(service: Service) -> None:
    """A stack that the command did not select has one placeholder, which is not a zip, for all code, and its own settings."""
    project = service.write()

    app, stack = app_of(project, context=UNSELECTED)
    result = synthesized(app, stack)

    keys = {*result.code_keys().values(), *result.layer_keys()}
    assert 1 == len(keys)
    [file] = (result.directory / name for name in result.files.values())
    assert b"lamina built nothing here" in file.read_bytes()
    assert {"service.handlers.hello.lambda_handler"} == {
        row["Properties"]["Handler"] for row in result.resources("Function").values()
    }


def test_nested_stack_is_wanted_with_its_parent(service: Service) -> None:
    """A nested stack is built if the command selects the stack that contains it."""
    project, runs = service.write(), SHARED.runs
    app = make_app({"aws:cdk:bundling-stacks": ["Orders"]})
    service_stack(Stack(app, "Others"), project, "hello", name="Inner")
    before = SHARED.runs
    PythonFunction(NestedStack(Stack(app, "Orders"), "Nested"), "Hello", entry=project, function="hello")

    assert (0, 1) == (before - runs, SHARED.runs - runs)


def test_function_and_layer(service: Service) -> None:
    """A function has the configured runtime, architecture, handler and layer, and the layer has the policy `Retain`."""
    result = whole(service.write())

    [(layer_id, layer)] = result.resources("LayerVersion").items()
    digest = layer["Properties"].pop("Description").removeprefix("lamina:").partition(" ")[0]
    function = next(iter(result.resources("Function").values()))["Properties"]
    assert "Laminagreetercommon40624880" == layer_id
    assert ("Retain", "Retain") == (layer["DeletionPolicy"], layer["UpdateReplacePolicy"])
    assert ["python3.13"] == layer["Properties"]["CompatibleRuntimes"]
    # The layer has no native code, so it supports both architectures.
    assert ["x86_64", "arm64"] == layer["Properties"]["CompatibleArchitectures"]
    assert digest == json.loads((service.root / ".lamina/build.json").read_bytes())["layers"][0]["digest"]
    assert "service.handlers.hello.lambda_handler" == function["Handler"]
    assert ("python3.13", ["x86_64"]) == (function["Runtime"], function["Architectures"])
    assert [{"Ref": layer_id}] == function["Layers"]


def test_handler_edit_changes_code_only(service: Service) -> None:
    """Editing a handler changes only the code's asset; the layer's asset and resource stay the same."""
    project = service.write()
    before = whole(project)
    (project / "service/handlers/hello.py").write_text("def lambda_handler(event, context): ...\n")

    after = whole(project)

    assert before.resources("LayerVersion") == after.resources("LayerVersion")
    assert set(before.code_keys().values()).isdisjoint(after.code_keys().values())
    assert set(before.files) & set(after.files) == set(before.layer_keys())


def test_lock_bump_changes_the_layer_only(service: Service) -> None:
    """Updating a locked distribution changes the layer's asset and publishes new function versions; the code stays the same."""
    before = whole(service.write())
    service.add("beta", "2.1", {"beta.py": "import alpha\n"})

    after = whole(service.write())

    assert before.code_keys() == after.code_keys()
    assert before.layer_keys() != after.layer_keys()
    assert list(before.resources("LayerVersion")) == list(after.resources("LayerVersion"))
    assert set(before.resources("Version")).isdisjoint(after.resources("Version"))


def test_layer_that_is_added_later_is_one_of_the_version(service: Service) -> None:
    """A change in a layer that was added with `add_layers` publishes a new function version, too."""
    project = service.write()

    def make(stack: Stack) -> None:
        function = PythonFunction(stack, "Hello", entry=project, function="hello", layers=[])
        live_alias(function)
        function.add_layers(PythonLayerVersion.for_stack(stack, entry=project))

    before = synthesize(make)
    service.add("beta", "2.1", {"beta.py": "import alpha\n"})
    service.write()

    assert 1 == len(before.resources("Version"))
    assert set(before.resources("Version")).isdisjoint(synthesize(make).resources("Version"))


def test_development_bump_changes_nothing(service: Service) -> None:
    """Updating a development dependency does not change the template or the assets."""
    service.markers["testing"] = "'dev' in dependency_groups"
    service.add("testing", "1.0")
    before = whole(service.write())
    service.add("testing", "1.1")
    service.comment = "locked again"

    after = whole(service.write())

    assert before.template == after.template
    assert before.files == after.files


def test_same_in_another_checkout(service: Service, tmp_path: Path) -> None:
    """Template and assets are the same in another directory, umask, time zone and process, and without a container engine."""
    project = service.write()
    here = [whole(project).template, whole(project).files]
    there = tmp_path / "somebody" / "else" / "checkout"
    shutil.copytree(project, there, ignore=shutil.ignore_patterns(".lamina"))
    (there / "pylock.toml").touch()
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "node").symlink_to(str(shutil.which("node")))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment |= {"PATH": str(tools), "TZ": "Pacific/Kiritimati", "LAMINA_CACHE_DIR": str(tmp_path / "store2")}

    done = subprocess.run(
        [sys.executable, str(PROGRAM), str(project), str(there)],
        env=environment | {"PYTHONPATH": os.pathsep.join(sys.path)},
        umask=0o077,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert 0 == done.returncode, done.stderr
    cached, made = json.loads(done.stdout)
    assert {"template": here[0], "files": here[1], "runs": 0, "pipeline": False} == cached
    assert {"template": here[0], "files": here[1], "runs": 1, "pipeline": True} == made
    assert 1 == sum(line.startswith("lamina: ") for line in done.stderr.splitlines())


def test_name_of_the_directory_is_in_no_id(service: Service, tmp_path: Path) -> None:
    """A project without a name has the same template in directories of different names."""
    project = service.write()
    (project / "pyproject.toml").write_text(nameless(project))

    here, there = (whole(each).template for each in (project, shutil.copytree(project, tmp_path / "worktree")))

    assert here == there


def test_one_layer_for_each_stack(service: Service) -> None:
    """Two stacks each have their own layer over one shared asset, so neither stack exports a layer to the other."""
    project, app = service.write(), make_app()
    stacks = [service_stack(app, project, name=name) for name in ("First", "Second")]

    first, second = (synthesized(app, stack) for stack in stacks)

    assert first.layer_keys() == second.layer_keys()
    assert 1 == len(first.layer_keys())
    assert "Outputs" not in first.template
    assert "Outputs" not in second.template


def test_layer_of_another_stack_is_warned_of(service: Service) -> None:
    """Passing a layer of another stack works, and adds a warning; a layer of a parent stack adds none."""
    project, app = service.write(), make_app()
    shared = PythonLayerVersion(Stack(app, "Layers"), "Common", entry=project)
    stack = Stack(app, "Orders")
    PythonFunction(stack, "Hello", entry=project, function="hello", layers=[shared])
    own = PythonLayerVersion(stack, "Own", entry=project)
    PythonFunction(NestedStack(stack, "Nested"), "Hello", entry=project, function="hello", layers=[own])

    ours = [text for text in synthesized(app, stack).warnings if "lamina:" in text]
    message = (
        "layer `Layers/Common` is in another stack and cannot be updated while this stack uses it: "
        "use `PythonLayerVersion.for_stack`, or omit `layers` [ack: lamina:cross-stack-layer]"
    )
    assert [message] == ours


def test_missing_configured_layer_is_warned_of(service: Service) -> None:
    """Passed layers replace the configured ones, and a warning names each configured layer that is omitted."""
    project = service.write()

    result = synthesize(lambda stack: PythonFunction(stack, "Hello", entry=project, function="hello", layers=[]))

    message = (
        "the configured layers of function `hello` include `common`, but its argument `layers` does not: packages in a missing layer "
        "cannot be imported"
    )
    assert (f"{message} [ack: lamina:missing-layer]",) == result.warnings
    assert "Layers" not in next(iter(result.resources("Function").values()))["Properties"]


def test_plain_function_behind_an_alias(service: Service) -> None:
    """If neither lamina nor CDK's feature flag publishes a version for a changed layer, the alias adds a warning."""
    project = service.write()
    flag = "@aws-cdk/aws-lambda:recognizeLayerVersion"

    def make(stack: Stack) -> None:
        layer = PythonLayerVersion.for_stack(stack, entry=project)
        code = Code.from_inline("def lambda_handler(event, context): ...")
        function = Function(
            stack, "Plain", code=code, handler="index.lambda_handler", runtime=Runtime.PYTHON_3_13, layers=[layer]
        )

        assert live_alias(function).node.path == live_alias(function).node.path

    message = (
        f"a change to a layer alone will not publish a new version of this function: set the feature flag `{flag}`, "
        "or use `PythonFunction` with layers from `PythonLayerVersion` [ack: lamina:stale-version]"
    )
    assert (message,) == synthesize(make).warnings
    assert () == synthesize(make, context={flag: True}).warnings

    def make_with_other_layer(stack: Stack) -> None:
        common = PythonLayerVersion.for_stack(stack, entry=project)
        other = LayerVersion(stack, "Other", code=Code.from_asset(str(project / "service")))
        live_alias(PythonFunction(stack, "Hello", entry=project, function="hello", layers=[common, other]))

    assert (message,) == synthesize(make_with_other_layer).warnings
    assert () == synthesize(make_with_other_layer, context={flag: True}).warnings


def test_other_arguments_reach_the_layer(service: Service) -> None:
    """The arguments of CDK's container-based construct are accepted, and `bundling` adds a warning."""
    project = service.write()

    def make(stack: Stack) -> None:
        PythonLayerVersion(
            stack,
            "Common",
            entry=str(project / ".build" / "common_layer"),
            compatible_runtimes=[Runtime.PYTHON_3_13],
            compatible_architectures=[Architecture.X86_64],
            removal_policy=RemovalPolicy.DESTROY,
            description="What we all need",
            layer_version_name="common",
            license="Apache-2.0",
            bundling={"platform": "linux/amd64"},
        )

    result = synthesize(make)

    [layer] = result.resources("LayerVersion").values()
    content = layer["Properties"].pop("Content")
    assert content["S3Key"] in result.files
    assert {
        "CompatibleArchitectures": ["x86_64"],
        "CompatibleRuntimes": ["python3.13"],
        "Description": "What we all need",
        "LayerName": "common",
        "LicenseInfo": "Apache-2.0",
    } == layer["Properties"]
    assert "Delete" == layer["DeletionPolicy"]
    assert (
        "`bundling` has no effect, because lamina uses no container: remove it, and set the target in `[tool.lamina]` [ack: lamina:bundling]",
    ) == result.warnings


def test_bucket(service: Service) -> None:
    """With a bucket, the layer is the object that `lamina publish` writes under the layer's digest, and CDK uploads no asset for it."""
    project = service.write()
    with (project / "pyproject.toml").open("a") as file:
        file.write('[tool.lamina.publish]\nbucket = "layers-{account}-{region}"\nprefix = "team"\n')

    result = synthesize(lambda stack: PythonFunction(stack, "Hello", entry=project, function="hello"))

    [layer] = result.resources("LayerVersion").values()
    digest = json.loads((project / ".lamina/build.json").read_bytes())["layers"][0]["digest"]
    bucket = {"Fn::Join": ["", ["layers-", {"Ref": "AWS::AccountId"}, "-", {"Ref": "AWS::Region"}]]}
    assert {"S3Bucket": bucket, "S3Key": f"team/layers/{digest}.zip"} == layer["Properties"]["Content"]
    assert list(result.code_keys().values()) == list(result.files)
    # CDK's own warning about objects without a version is acknowledged.
    assert () == result.warnings


def test_bucket_of_the_construct(service: Service) -> None:
    """A construct's `bucket` replaces the configured one, and `as_asset` makes the zip an asset despite a bucket."""
    project = service.write()
    with (project / "pyproject.toml").open("a") as file:
        file.write('[tool.lamina.publish]\nbucket = "layers"\n')

    def make(stack: Stack) -> None:
        PythonLayerVersion(stack, "A", entry=project, bucket="others")
        PythonLayerVersion(stack, "B", entry=project, as_asset=True)

    result = synthesize(make)

    named, asset = (row["Properties"]["Content"] for row in result.resources("LayerVersion").values())
    assert "others" == named["S3Bucket"]
    assert [asset["S3Key"]] == list(result.files)


def test_several_targets(service: Service) -> None:
    """A function has the package and the layer of the target with its architecture."""
    del service.settings["runtime"], service.settings["architecture"]
    service.settings["targets"] = '["python3.13-arm64", "python3.13-x86_64"]'
    arm = service.add("native", "1.0", {"native.so": "arm"}, tag="cp313-cp313-manylinux_2_17_aarch64")
    service.add("native", "1.0", {"native.so": "x86"}, tag="cp313-cp313-manylinux_2_17_x86_64")
    project = service.write()
    row = f'[[packages.wheels]]\nname = "{arm.name}"\npath = "{arm}"\nhashes = {{sha256 = "{sha256(arm)}"}}\n'
    lock = project / "pylock.toml"
    lock.write_text(f"{lock.read_text('utf-8')}\n{row}", "utf-8")

    def make(stack: Stack) -> None:
        PythonFunction(stack, "Arm", entry=project, function="hello")
        PythonFunction(stack, "X86", entry=project, function="hello", architecture=Architecture.X86_64)

    result = synthesize(make)

    assert [["arm64"], ["x86_64"]] == [
        row["Properties"]["Architectures"] for row in result.resources("Function").values()
    ]
    assert [["arm64"], ["x86_64"]] == [
        row["Properties"]["CompatibleArchitectures"] for row in result.resources("LayerVersion").values()
    ]
    assert () == result.errors


def test_several_runtimes_of_an_unselected_stack(service: Service) -> None:
    """In a stack that is not built, functions for different targets have layers for their targets, without errors."""
    del service.settings["runtime"], service.settings["architecture"]
    service.settings["targets"] = '["python3.13-arm64", "python3.12-x86_64", "python3.13-x86_64"]'
    project = service.write()

    def make(stack: Stack) -> None:
        common = PythonLayerVersion(stack, "Common", entry=project)
        PythonFunction(stack, "First", entry=project, function="hello")
        PythonFunction(stack, "Older", entry=project, function="hello", runtime=Runtime.PYTHON_3_12)
        PythonFunction(
            stack,
            "X86",
            entry=project,
            function="hello",
            layers=[common],
            runtime=Runtime.PYTHON_3_13,
            architecture=Architecture.X86_64,
        )

    result = synthesize(make, context=UNSELECTED)

    layers = [row["Properties"]["CompatibleRuntimes"] for row in result.resources("LayerVersion").values()]
    assert [["python3.13"], ["python3.13"], ["python3.12"]] == layers
    assert () == result.errors
