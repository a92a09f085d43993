"""What apps come out as: which assets change, what is built when, and what is said where something is wrong."""

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
    """Return what an app with the whole service comes out as."""
    return synthesized(*app_of(project))


def test_builds_once(service: Service, capfd: pytest.CaptureFixture[str]) -> None:
    """`cdk ls`, two synths, three stages and twenty templates build once, and say so in one line."""
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


def test_unselected_stack_gets_what_cannot_be_deployed(service: Service) -> None:
    """A stack that was not asked for has the same placeholder for everything, which is no zip, and its own settings."""
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
    """A stack in a stack that was asked for is built, although only the outer one was named."""
    project, runs = service.write(), SHARED.runs
    app = make_app({"aws:cdk:bundling-stacks": ["Orders"]})
    service_stack(Stack(app, "Others"), project, "hello", name="Inner")
    before = SHARED.runs
    PythonFunction(NestedStack(Stack(app, "Orders"), "Nested"), "Hello", entry=project, function="hello")

    assert (0, 1) == (before - runs, SHARED.runs - runs)


def test_function_and_layer(service: Service) -> None:
    """Runtime, architecture, handler and layer of a function are those of the configuration; the layer is retained."""
    result = whole(service.write())

    [(layer_id, layer)] = result.resources("LayerVersion").items()
    digest = layer["Properties"].pop("Description").removeprefix("lamina:").partition(" ")[0]
    function = next(iter(result.resources("Function").values()))["Properties"]
    assert "Laminagreetercommon40624880" == layer_id
    assert ("Retain", "Retain") == (layer["DeletionPolicy"], layer["UpdateReplacePolicy"])
    assert ["python3.13"] == layer["Properties"]["CompatibleRuntimes"]
    # It has no native code, so it is the same one on both.
    assert ["x86_64", "arm64"] == layer["Properties"]["CompatibleArchitectures"]
    assert digest == json.loads((service.root / ".lamina/build.json").read_bytes())["layers"][0]["digest"]
    assert "service.handlers.hello.lambda_handler" == function["Handler"]
    assert ("python3.13", ["x86_64"]) == (function["Runtime"], function["Architectures"])
    assert [{"Ref": layer_id}] == function["Layers"]


def test_handler_edit_changes_code_only(service: Service) -> None:
    """Code is another asset, and the layer the same; the layer's resource does not change at all."""
    project = service.write()
    before = whole(project)
    (project / "service/handlers/hello.py").write_text("def lambda_handler(event, context): ...\n")

    after = whole(project)

    assert before.resources("LayerVersion") == after.resources("LayerVersion")
    assert set(before.code_keys().values()).isdisjoint(after.code_keys().values())
    assert set(before.files) & set(after.files) == set(before.layer_keys())


def test_lock_bump_changes_the_layer_only(service: Service) -> None:
    """The layer is another asset in the same resource, and code the same; aliases get a version with the new layer."""
    before = whole(service.write())
    service.add("beta", "2.1", {"beta.py": "import alpha\n"})

    after = whole(service.write())

    assert before.code_keys() == after.code_keys()
    assert before.layer_keys() != after.layer_keys()
    assert list(before.resources("LayerVersion")) == list(after.resources("LayerVersion"))
    assert set(before.resources("Version")).isdisjoint(after.resources("Version"))


def test_layer_that_is_added_later_is_one_of_the_version(service: Service) -> None:
    """An alias gets a version with the new content of a layer, also of one that the function was not made with."""
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
    """Another version of what only developers have gives the same template."""
    service.markers["testing"] = "'dev' in dependency_groups"
    service.add("testing", "1.0")
    before = whole(service.write())
    service.add("testing", "1.1")
    service.comment = "locked again"

    after = whole(service.write())

    assert before.template == after.template
    assert before.files == after.files


def test_same_in_another_checkout(service: Service, tmp_path: Path) -> None:
    """Another directory, umask, time zone and process, without a container engine: the same template and assets."""
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
    """A project that does not call itself anything comes out the same in directories of other names, too."""
    project = service.write()
    (project / "pyproject.toml").write_text(nameless(project))

    here, there = (whole(each).template for each in (project, shutil.copytree(project, tmp_path / "worktree")))

    assert here == there


def test_one_layer_for_each_stack(service: Service) -> None:
    """Two stacks have a layer each over one asset, so that neither exports what the other would hold fast."""
    project, app = service.write(), make_app()
    stacks = [service_stack(app, project, name=name) for name in ("First", "Second")]

    first, second = (synthesized(app, stack) for stack in stacks)

    assert first.layer_keys() == second.layer_keys()
    assert 1 == len(first.layer_keys())
    assert "Outputs" not in first.template
    assert "Outputs" not in second.template


def test_layer_of_another_stack_is_warned_of(service: Service) -> None:
    """A layer that another stack has is used as asked, and what comes of it is said."""
    project, app = service.write(), make_app()
    shared = PythonLayerVersion(Stack(app, "Layers"), "Common", entry=project)
    stack = Stack(app, "Orders")
    PythonFunction(stack, "Hello", entry=project, function="hello", layers=[shared])
    own = PythonLayerVersion(stack, "Own", entry=project)
    PythonFunction(NestedStack(stack, "Nested"), "Hello", entry=project, function="hello", layers=[own])

    ours = [text for text in synthesized(app, stack).warnings if "lamina:" in text]
    message = (
        "Layer `Layers/Common` is in another stack, and cannot be updated while this one uses it: take "
        "`PythonLayerVersion.for_stack`, or leave `layers` out [ack: lamina:cross-stack-layer]"
    )
    assert [message] == ours


def test_missing_configured_layer_is_warned_of(service: Service) -> None:
    """Layers that are given replace those that are configured, and what then cannot be imported is said."""
    project = service.write()

    result = synthesize(lambda stack: PythonFunction(stack, "Hello", entry=project, function="hello", layers=[]))

    message = "`hello` is configured with `common` and not given it: what is in there cannot be imported"
    assert (f"{message} [ack: lamina:missing-layer]",) == result.warnings
    assert "Layers" not in next(iter(result.resources("Function").values()))["Properties"]


def test_plain_function_behind_an_alias(service: Service) -> None:
    """CDK makes no version for new content of a layer unless a feature flag is set, which is said where lamina does not see to it."""
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
        f"A change of a layer alone would publish no version: set the feature flag `{flag}`, or make the function with "
        "`PythonFunction` and its layers with `PythonLayerVersion` [ack: lamina:stale-version]"
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
    """What the container construct takes is taken, and that there is no container is said."""
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
        "`bundling` configures a container, and lamina uses none: what it builds for is in `[tool.lamina]` [ack: lamina:bundling]",
    ) == result.warnings


def test_bucket(service: Service) -> None:
    """With a bucket the layer is the object that publishing puts together, named by its digest, and nothing is uploaded for it."""
    project = service.write()
    with (project / "pyproject.toml").open("a") as file:
        file.write('[tool.lamina.publish]\nbucket = "layers-{account}-{region}"\nprefix = "team"\n')

    result = synthesize(lambda stack: PythonFunction(stack, "Hello", entry=project, function="hello"))

    [layer] = result.resources("LayerVersion").values()
    digest = json.loads((project / ".lamina/build.json").read_bytes())["layers"][0]["digest"]
    bucket = {"Fn::Join": ["", ["layers-", {"Ref": "AWS::AccountId"}, "-", {"Ref": "AWS::Region"}]]}
    assert {"S3Bucket": bucket, "S3Key": f"team/layers/{digest}.zip"} == layer["Properties"]["Content"]
    assert list(result.code_keys().values()) == list(result.files)
    # CDK cannot know that another content has another key.
    assert () == result.warnings


def test_bucket_of_the_construct(service: Service) -> None:
    """A construct may name another bucket, or have the zip as an asset although there is one."""
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
    """A function gets the package and the layer of the target that its architecture names."""
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
    """Where nothing is built, a function of another runtime or architecture gets a layer for that, too, and no complaint."""
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
