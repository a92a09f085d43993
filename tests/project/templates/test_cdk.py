"""Synthesized CDK apps are read, and the sources of their assets are found by content."""

from __future__ import annotations

import copy
import io
import json
import zipfile
from typing import TYPE_CHECKING, Any

import pytest

from lamina.core.errors import TemplateError
from lamina.project.templates.cdk.reader import CdkGuess, guess, read
from lamina.project.templates.files import TemplateFiles
from lamina.project.templates.types import LayerReference, Origin, Tool, UnknownSetting

if TYPE_CHECKING:
    from pathlib import Path

HANDLER = "def handler(event, context): ...\n"


def function(path: str, asset: str | None = "asset.1", **properties: Any) -> dict[str, Any]:
    """Return a function as the CDK synthesizes it."""
    metadata = {"aws:cdk:path": f"{path}/Resource"} | ({"aws:asset:path": asset} if asset else {})
    base = {"Handler": "app.handler", "Runtime": "python3.13", "Code": {"S3Bucket": {"Fn::Sub": "b"}, "S3Key": "1.zip"}}
    return {"Type": "AWS::Lambda::Function", "Metadata": metadata, "Properties": base | properties}


def app(root: Path, stacks: dict[str, dict[str, Any]], files: dict[str, str] | None = None) -> TemplateFiles:
    """Write a cloud assembly with *stacks*, and *files*."""
    artifacts = {
        name: {"type": "aws:cloudformation:stack", "properties": {"templateFile": f"{name}.template.json"}}
        for name in stacks
    }
    written = {"cdk.out/manifest.json": json.dumps({"version": "55.0.0", "artifacts": artifacts})}
    for name, resources in stacks.items():
        written[f"cdk.out/{name}.template.json"] = json.dumps({"Resources": resources}, indent=1)
    for name, text in (written | (files or {})).items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return TemplateFiles(root)


def sources(root: Path, files: dict[str, str], handler: str = "app.handler") -> tuple[str | None, str | None]:
    """Return the source of one function, and why it is unknown."""
    template = read("cdk.out", app(root, {"S": {"F1": function("S/F", Handler=handler)}}, files))

    return template.functions[0].source, template.functions[0].why_unknown("source")


class TestNames:
    def test_construct(self, tmp_path: Path) -> None:
        """A function has the ID of its construct, or else its logical ID."""
        plain = function("S/Other")
        del plain["Metadata"]
        files = app(
            tmp_path,
            {
                "S": {
                    "CreateOrder1A2B": function("S/CreateOrder", Architectures=["arm64"], MemorySize=512),
                    "Plain": plain,
                }
            },
            {"src/app.py": HANDLER, "cdk.out/asset.1/app.py": HANDLER},
        )

        template = read("cdk.out", files)

        assert template.tool is Tool.CDK
        assert [(each.name, each.source, each.architecture, each.memory_mb) for each in template.functions] == [
            ("CreateOrder", "src", "arm64", 512),
            ("Plain", "src", None, None),
        ]
        assert template.functions[0].origin == Origin(file="cdk.out/S.template.json", line=3)

    def test_stages(self, tmp_path: Path) -> None:
        """The same code in two stages is one function; settings that differ are unknown."""
        files = app(
            tmp_path,
            {
                "Dev": {"A": function("Dev/Create", MemorySize=128, Timeout=3)},
                "Prod": {"A": function("Prod/Create", MemorySize=512, Timeout=3)},
            },
            {"src/app.py": HANDLER, "cdk.out/asset.1/app.py": HANDLER},
        )

        found = read("cdk.out", files).functions

        assert [(each.name, each.timeout_seconds) for each in found] == [("Create", 3)]
        assert found[0].unknown == (UnknownSetting(setting="memory", reason="`Dev/Create` and `Prod/Create` differ"),)

    def test_different_code(self, tmp_path: Path) -> None:
        """Equal IDs with different code are qualified with the IDs above them."""
        files = app(
            tmp_path,
            {
                "Dev": {"A": function("Dev/Create")},
                "Prod": {"A": function("Prod/Create", Handler="other.handler")},
                "Jobs": {"A": function("Jobs/Api/Run"), "B": function("Jobs/Mail/Run", Handler="b.c")},
            },
        )

        assert [each.name for each in read("cdk.out", files).functions] == [
            "DevCreate",
            "ProdCreate",
            "ApiRun",
            "MailRun",
        ]

    @pytest.mark.parametrize(
        "identifier",
        [
            "Custom::CDKBucketDeployment8693BB64968944B69AAFB0CC9EB8756C",
            "LogRetentionaae0aa3c5b4d4f87b02d85b201efdd8a",
            "AWS679f53fac002430cb0da5b7982bd2287",
            "BucketNotificationsHandler050a0587b7544547bf325f094a3db834",
            "AWSCDKCfnUtilsProviderCustomResourceProvider",
        ],
    )
    def test_own_functions(self, tmp_path: Path, identifier: str) -> None:
        """Functions that the CDK adds are skipped."""
        template = read("cdk.out", app(tmp_path, {"S": {"F": function(f"S/{identifier}")}}))

        assert template.functions == ()
        assert [each.name for each in template.skipped] == [identifier]
        assert template.skipped[0].reason.startswith("the AWS CDK adds this for ")

    def test_similar_names(self, tmp_path: Path) -> None:
        """The user's own functions with similar names are not skipped."""
        template = read("cdk.out", app(tmp_path, {"S": {"F": function("S/LogRetentionReport")}}))

        assert [each.name for each in template.functions] == ["LogRetentionReport"]


class TestAssemblies:
    def test_nested(self, tmp_path: Path) -> None:
        """Nested assemblies and nested stacks are read; a layer of the parent stack keeps its name."""
        parent = {
            "Common1": {"Type": "AWS::Lambda::LayerVersion", "Metadata": {"aws:cdk:path": "P/S/Common/Resource"}},
            "Nested": {
                "Type": "AWS::CloudFormation::Stack",
                "Metadata": {"aws:asset:path": "N.nested.template.json"},
                "Properties": {"TemplateURL": {"Fn::Join": ["", []]}, "Parameters": {"Layer": {"Ref": "Common1"}}},
            },
        }
        nested = {
            "Parameters": {"Layer": {"Type": "String"}},
            "Resources": {"F": function("P/S/Nested/Inner", "../asset.1", Layers=[{"Ref": "Layer"}])},
        }
        stage = {"type": "aws:cloudformation:stack", "properties": {"templateFile": "S.template.json"}}
        assembly = {"type": "cdk:cloud-assembly", "properties": {"directoryName": "assembly-P"}}
        files = app(
            tmp_path,
            {},
            {
                "src/app.py": HANDLER,
                "cdk.out/manifest.json": json.dumps({"artifacts": {"P": assembly, "Tree": {"type": "cdk:tree"}}}),
                "cdk.out/assembly-P/manifest.json": json.dumps({"artifacts": {"S": stage}}),
                "cdk.out/assembly-P/S.template.json": json.dumps({"Resources": parent}),
                "cdk.out/assembly-P/N.nested.template.json": json.dumps(nested),
                "cdk.out/asset.1/app.py": HANDLER,
            },
        )

        found = read("cdk.out", files)

        assert [(each.name, each.source, each.layers) for each in found.functions] == [
            ("Inner", "src", (LayerReference(name="Common"),))
        ]
        assert [each.name for each in found.layers] == ["Common"]

    def test_shared_layer(self, tmp_path: Path) -> None:
        """A layer that another stack exports is found by the name of the export."""
        files = app(tmp_path, {"A": {}, "B": {"F": function("B/F", Layers=[{"Fn::ImportValue": "A:Common"}])}})
        layer = {"Type": "AWS::Lambda::LayerVersion", "Metadata": {"aws:cdk:path": "A/Common/Resource"}}
        output = {"O": {"Value": {"Ref": "L1"}, "Export": {"Name": "A:Common"}}}
        (tmp_path / "cdk.out/A.template.json").write_text(json.dumps({"Resources": {"L1": layer}, "Outputs": output}))

        assert read("cdk.out", files).functions[0].layers == (LayerReference(name="Common"),)

    def test_missing(self, tmp_path: Path) -> None:
        """Without a manifest, the error suggests `cdk synth`."""
        with pytest.raises(TemplateError) as caught:
            read("cdk.out", TemplateFiles(tmp_path))

        assert (str(caught.value), caught.value.hint) == ("`cdk.out/manifest.json` does not exist", "run `cdk synth`")

    def test_cycle(self, tmp_path: Path) -> None:
        """An assembly that contains itself is an error."""
        assembly = {"type": "cdk:cloud-assembly", "properties": {"directoryName": "."}}
        files = app(tmp_path, {}, {"cdk.out/manifest.json": json.dumps({"artifacts": {"P": assembly}})})

        with pytest.raises(TemplateError) as caught:
            read("cdk.out", files)

        assert str(caught.value) == "`cdk.out` includes itself: cdk.out → cdk.out"

    def test_large_asset_manifest(self, tmp_path: Path) -> None:
        """Manifests of assets are not read."""
        files = app(tmp_path, {"S": {"F": function("S/F")}}, {"cdk.out/S.assets.json": "not JSON"})

        assert len(read("cdk.out", files).functions) == 1


class TestSources:
    def test_dependencies(self, tmp_path: Path) -> None:
        """Installed dependencies in the asset do not matter."""
        files = {"orders/app.py": HANDLER, "cdk.out/asset.1/app.py": HANDLER, "cdk.out/asset.1/requests/api.py": "x"}

        assert sources(tmp_path, files) == ("orders", None)

    @pytest.mark.parametrize("handler", ["service.app.handler", "service/app.handler"])
    def test_package(self, tmp_path: Path, handler: str) -> None:
        """The source directory is the one from which the handler's module is imported."""
        files = {"src/service/app.py": HANDLER, "cdk.out/asset.1/service/app.py": HANDLER}

        assert sources(tmp_path, files, handler) == ("src", None)

    def test_same_handler(self, tmp_path: Path) -> None:
        """Other files of the asset decide between equal modules."""
        files = {
            "a/app.py": HANDLER,
            "a/shared.py": "a = 1",
            "b/app.py": HANDLER,
            "b/shared.py": "b = 1",
            "cdk.out/asset.1/app.py": HANDLER,
            "cdk.out/asset.1/shared.py": "b = 1",
        }

        assert sources(tmp_path, files) == ("b", None)

    def test_copies(self, tmp_path: Path) -> None:
        """Of identical directories, the shortest path is used."""
        files = {"copy-of-a/app.py": HANDLER, "a/app.py": HANDLER, "cdk.out/asset.1/app.py": HANDLER}

        assert sources(tmp_path, files) == ("a", None)

    def test_ambiguous(self, tmp_path: Path) -> None:
        """Different directories that agree equally are unknown."""
        files = {"a/app.py": HANDLER, "a/x.py": "1", "b/app.py": HANDLER, "cdk.out/asset.1/app.py": HANDLER}

        assert sources(tmp_path, files) == (None, "several directories contain the asset's files: `a`, `b`")

    def test_changed(self, tmp_path: Path) -> None:
        """A handler that changed since the last synthesis is unknown."""
        files = {"a/app.py": f"{HANDLER}#", "cdk.out/asset.1/app.py": HANDLER}

        assert sources(tmp_path, files) == (
            None,
            "no directory of the project has the same `app.py` as the asset; run `cdk synth` again",
        )

    def test_zip(self, tmp_path: Path) -> None:
        """Zip assets are compared by the checksums of their members."""
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("app.py", HANDLER)
        files = app(tmp_path, {"S": {"F": function("S/F", "asset.1.zip")}}, {"code/app.py": HANDLER})
        (tmp_path / "cdk.out/asset.1.zip").write_bytes(buffer.getvalue())

        assert read("cdk.out", files).functions[0].source == "code"

    @pytest.mark.parametrize("content", [b"", b"PK\x05\x06", b"PK\x03\x04" + b"\xff" * 200])
    def test_broken_zip(self, tmp_path: Path, content: bytes) -> None:
        """A damaged zip makes the source unknown."""
        files = app(tmp_path, {"S": {"F": function("S/F", "asset.1.zip")}}, {"code/app.py": HANDLER})
        (tmp_path / "cdk.out/asset.1.zip").write_bytes(content)

        assert read("cdk.out", files).functions[0].source is None

    def test_other_machine(self, tmp_path: Path) -> None:
        """An absolute path of another machine is found by its name."""
        files = app(
            tmp_path,
            {"S": {"F": function("S/F", "/builds/app/cdk.out/asset.1")}},
            {"code/app.py": HANDLER, "cdk.out/asset.1/app.py": HANDLER},
        )

        assert read("cdk.out", files).functions[0].source == "code"

    def test_unstaged(self, tmp_path: Path) -> None:
        """Without staging, the asset is the source directory itself."""
        files = app(tmp_path, {"S": {"F": function("S/F", str(tmp_path / "code"))}}, {"code/app.py": HANDLER})

        assert read("cdk.out", files).functions[0].source == "code"

    def test_inline_and_image(self, tmp_path: Path) -> None:
        """Inline code and images are skipped."""
        inline = function("S/A", None, Code={"ZipFile": "pass"})
        image = function("S/B", None, Code={"ImageUri": "x"}, PackageType="Image")

        assert [each.reason for each in read("cdk.out", app(tmp_path, {"S": {"A": inline, "B": image}})).skipped] == [
            "code is inline in the template",
            "code is a container image",
        ]


class TestGuess:
    def test_python(self, tmp_path: Path) -> None:
        """One runtime and one architecture in the sources are the guess; comments and strings do not count."""
        text = '''"""Uses Runtime.PYTHON_3_9."""
# lambda_.Runtime.PYTHON_3_10
runtime = lambda_.Runtime.PYTHON_3_12
other = "Runtime.PYTHON_3_11"
architecture = lambda_.Architecture.ARM_64
'''
        files = app(tmp_path, {}, {"cdk.json": "{}", "infra/stack.py": text, "node_modules/a.ts": "Runtime.PYTHON_3_8"})

        assert guess(files) == CdkGuess(
            runtime="python3.12",
            runtime_origin=Origin(file="infra/stack.py", line=3),
            architecture="arm64",
            architecture_origin=Origin(file="infra/stack.py", line=5),
        )

    def test_several(self, tmp_path: Path) -> None:
        """Several runtimes are named, and none is chosen."""
        text = "/* Runtime.PYTHON_3_9 */\nconst a = lambda.Runtime.PYTHON_3_12; // Runtime.PYTHON_3_8\nb = Runtime.PYTHON_3_13"
        files = app(tmp_path, {}, {"cdk.json": "{}", "lib/stack.ts": text})

        assert guess(files) == CdkGuess(
            unknown=(
                UnknownSetting(
                    setting="runtime",
                    reason="the app names several values: python3.12 (lib/stack.ts:2), python3.13 (lib/stack.ts:3)",
                ),
            )
        )

    def test_no_app(self, tmp_path: Path) -> None:
        """Without `cdk.json`, there is no guess."""
        assert guess(TemplateFiles(tmp_path)) is None

    @pytest.mark.parametrize("piece", ["/*", "`", '"""', "'", "\\", '"\\', "//"])
    def test_hostile(self, tmp_path: Path, piece: str) -> None:
        """Unterminated tokens do not take long."""
        text = "Runtime." + piece * (900_000 // len(piece))
        files = app(tmp_path, {}, {"cdk.json": "{}", "a.ts": text, "a.py": text})

        guess(files)


ODD: list[Any] = [None, True, -1, "", "x\0y", "../../..", "/", "\ud800", "a" * 5000, [], {}, [None], {"Ref": []}]


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the paths of all values in *value*."""
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, child in children for place in places(child, (*path, key)))]


def test_wrong_types(tmp_path: Path) -> None:
    """A wrong type anywhere in the manifest or in a template causes nothing but a TemplateError."""
    manifest = {
        "artifacts": {
            "S": {"type": "aws:cloudformation:stack", "properties": {"templateFile": "S.template.json"}},
            "P": {"type": "cdk:cloud-assembly", "properties": {"directoryName": "P"}},
        }
    }
    stack = {
        "Resources": {
            "F": function("S/F", Layers=[{"Ref": "L"}]),
            "L": {
                "Type": "AWS::Lambda::LayerVersion",
                "Metadata": {"aws:cdk:path": "S/L/Resource", "aws:asset:path": "asset.1"},
            },
        }
    }
    written: dict[str, Any] = {"cdk.out/manifest.json": manifest, "cdk.out/S.template.json": stack}
    files = app(
        tmp_path, {}, {"cdk.out/P/manifest.json": "{}", "src/app.py": HANDLER, "cdk.out/asset.1/app.py": HANDLER}
    )
    for name, value in written.items():
        for path in places(value):
            for odd in ODD:
                root: Any = copy.deepcopy(written)
                parent = root
                for key in (name, *path)[:-1]:
                    parent = parent[key]
                parent[(name, *path)[-1]] = odd
                for each, content in root.items():
                    (tmp_path / each).write_text(json.dumps(content))
                try:
                    read("cdk.out", files)
                except TemplateError as error:
                    assert len(str(error)) < 1000  # noqa: PT017
