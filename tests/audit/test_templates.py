"""What deploy descriptions deploy is compared with what lamina builds, and each finding has the line to change."""

from __future__ import annotations

import datetime as dt
import json
import shutil
from typing import TYPE_CHECKING, NamedTuple

import pytest

from built import write_zip
from lamina.audit.families.templates import check
from lamina.audit.inspection import Inspection
from lamina.core.frozen import replace
from lamina.core.reporter import Silent
from lamina.core.store import Store
from lamina.core.values import Severity
from lamina.pipeline.build import build
from lamina.project import config
from lamina.project.options import BuildOptions
from services import make_service

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from lamina.core.values import Build, Finding

TODAY = dt.date(2026, 11, 28)
POWERTOOLS = "arn:aws:lambda:eu-west-1:017000801446:layer:AWSLambdaPowertoolsPythonV3-python313-x86_64:27"
EXTENSION = "arn:aws:lambda:eu-west-1:464622532012:layer:Datadog-Extension:80"
HELLO = 'hello = "service.handlers.hello.lambda_handler"'


class Built(NamedTuple):
    """A service with one function and a native layer, as it was built once for all tests."""

    root: Path
    build: Build


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Build the service. Its layer works on x86_64 only."""
    directory = tmp_path_factory.mktemp("built")
    service = make_service(directory)
    service.add("native", "1", {"native/__init__.py": ""}, tag="cp313-cp313-manylinux_2_28_x86_64")
    root = service.write()
    result = build(root, BuildOptions(), store=Store.open(directory / "store"), reporter=Silent())
    return Built(root, result.targets[0].build)


class Checker:
    """Checks descriptions in copies of the built service."""

    def __init__(self, built: Built, directory: Path) -> None:
        self.directory = directory
        self._built, self._number = built, 0

    def __call__(
        self,
        files: dict[str, str],
        configuration: str = "",
        *,
        functions: str = "",
        arns: Sequence[str] = (),
        layers: Sequence[str] = (),
        above: bool = False,
    ) -> list[Finding]:
        """
        Return the findings on *files*.

        *configuration* and *functions* are added to the tables with these names. *arns* are the layers by ARN of the function `hello`,
        and *layers* those that lamina builds for it.
        *above* puts the files into the directory above.
        """
        self._number += 1
        repository = self.directory / str(self._number)
        (repository / ".git").mkdir(parents=True)
        root = repository / "service"
        shutil.copytree(self._built.root, root)
        pyproject = root / "pyproject.toml"
        text = pyproject.read_text().replace("[tool.lamina]\n", f"[tool.lamina]\n{configuration}\n")
        settings = (
            f"handler = {HELLO.partition('= ')[2]}, layers = {json.dumps(layers)}, layer-arns = {json.dumps(arns)}"
        )
        text = text.replace(HELLO, f"hello = {{ {settings} }}")
        pyproject.write_text(text + functions)
        for name, text in files.items():
            path = (repository if above else root) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        store = Store.open()
        return list(
            check(
                Inspection(
                    project=root,
                    service=config.load(root, store=store),
                    builds=(self._built.build,),
                    store=store,
                    reporter=Silent(),
                    today=TODAY,
                )
            )
        )


@pytest.fixture
def checked(built: Built, tmp_path: Path) -> Checker:
    return Checker(built, tmp_path)


def sam(*properties: str, layer: str = "") -> str:
    """Return a template with the function `hello`, its *properties*, and the layer that lamina builds with lines of its own."""
    lines = "".join(f"      {line}\n" for line in properties)
    return f"""\
Transform: AWS::Serverless-2016-10-31
Resources:
  Common:
    Type: AWS::Serverless::LayerVersion
    Properties:
      ContentUri: .lamina/layers/common.zip
{layer}  Hello:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: .lamina/functions/hello.zip
      Handler: service.handlers.hello.lambda_handler
{lines}"""


GOOD = ("Runtime: python3.13", "Layers: [!Ref Common]")


def rows(findings: list[Finding]) -> list[tuple[str, str, str | None, int | None]]:
    return [(each.rule, each.severity.value, each.file, each.line) for each in findings]


def test_nothing_to_find(checked: Checker) -> None:
    """A description that agrees with the build has no findings, and neither has a project without one."""
    assert [] == checked({"template.yaml": sam(*GOOD, "Architectures: [x86_64]")})
    assert [] == checked({"template.yaml": sam(*GOOD)})
    assert [] == checked({})


class TestTargets:
    """Runtimes and architectures."""

    def test_runtime(self, checked: Checker) -> None:
        """A function with another runtime than its package is an error at the line of the runtime."""
        [finding] = checked({"template.yaml": sam("Runtime: python3.12", "Layers: [!Ref Common]")})

        assert [("template-runtime", "error", "template.yaml", 12)] == rows([finding])
        assert finding.message == (
            "`Hello`: the runtime is `python3.12`, but lamina builds for `python3.13`; change one of the two"
        )

    def test_runtime_in_globals(self, checked: Checker) -> None:
        """Functions with the same cause share a finding. A function with the configured handler is compared, too."""
        template = """\
Transform: AWS::Serverless-2016-10-31
Globals:
  Function:
    Runtime: python3.12
Resources:
  First: {Type: AWS::Serverless::Function, Properties: {CodeUri: other/, Handler: service.handlers.hello.lambda_handler}}
  Second: {Type: AWS::Serverless::Function, Properties: {CodeUri: other/, Handler: service.handlers.hello.lambda_handler}}
  Foreign: {Type: AWS::Serverless::Function, Properties: {CodeUri: other/, Handler: app.main}}
"""
        [finding] = checked({"template.yaml": template})

        assert ("template-runtime", "template.yaml", 4) == (finding.rule, finding.file, finding.line)
        assert finding.message.startswith("`First`, `Second`: ")

    @pytest.mark.parametrize(
        ("deployed", "labels"),
        [
            ("hello: {Type: AWS::Serverless::Function, Properties: {CodeUri: other/, Handler: app.main}}", ["`hello`"]),
            (
                "Hello: {Type: AWS::Serverless::Function, Properties: {CodeUri: .lamina/functions/hello.zip, Runtime: python3.13}}",
                [],
            ),
        ],
    )
    def test_another_function_with_the_handler(self, checked: Checker, deployed: str, labels: list[str]) -> None:
        """If one function has the configured name or the zip, others with its handler are not what lamina builds."""
        template = f"""\
Transform: AWS::Serverless-2016-10-31
Globals:
  Function:
    Runtime: python3.12
Resources:
  {deployed}
  Old: {{Type: AWS::Serverless::Function, Properties: {{CodeUri: src/, Handler: service.handlers.hello.lambda_handler}}}}
"""
        assert labels == [each.message.partition(":")[0] for each in checked({"template.yaml": template})]

    def test_architecture(self, checked: Checker) -> None:
        """Another architecture is an error if the layer has native code."""
        [finding] = checked({"template.yaml": sam(*GOOD, "Architectures:", "  - arm64")})

        assert [("template-architecture", "error", "template.yaml", 14)] == rows([finding])
        assert "the architecture is `arm64`, but lamina's layers have native code for `x86_64`" in finding.message

    def test_layer(self, checked: Checker) -> None:
        """A layer that does not declare what it was built for is a warning."""
        layer = "      CompatibleRuntimes: [python3.12]\n      CompatibleArchitectures:\n        - arm64\n"

        found = checked({"template.yaml": sam(*GOOD, layer=layer)})

        assert rows(found) == [
            ("template-runtime", "warning", "template.yaml", 7),
            ("template-architecture", "warning", "template.yaml", 9),
        ]
        assert [] == checked(
            {"template.yaml": sam(*GOOD, layer=layer.replace("3.12", "3.13").replace("arm64", "x86_64"))}
        )

    def test_deprecated(self, checked: Checker) -> None:
        """A runtime whose end is near or past is a warning, never an error. It can be one that lamina does not know any more."""
        text = "".join(
            f"  F{name[-1]}: {{Type: AWS::Lambda::Function, Properties: {{Runtime: {name}, Code: old, Handler: old.main}}}}\n"
            for name in ("python3.8", "python3.9", "python3.14")
        )

        found = checked({"template.yaml": f"Resources:\n{text}"})

        assert rows(found) == [
            ("template-runtime-deprecated", "warning", "template.yaml", 2),
            ("template-runtime-deprecated", "warning", "template.yaml", 3),
        ]
        assert (
            "`F8`: `python3.8` is deprecated: no support since 2024-10-14; change it to `python3.14`"
            == found[0].message
        )
        assert "no new functions from 2027-02-01" in found[1].message

    def test_one_finding_on_a_runtime(self, checked: Checker) -> None:
        """A runtime that differs from the build's has to change anyway, so its end is not reported, too."""
        assert ["template-runtime"] == [
            each.rule for each in checked({"template.yaml": sam("Runtime: python3.9", "Layers: [!Ref Common]")})
        ]

    def test_another_zip_of_the_same_size(self, built: Built, checked: Checker) -> None:
        """A zip is lamina's if it has the same bytes."""
        own = ".lamina/functions/hello.zip"
        function = (
            "  {}: {{Type: AWS::Lambda::Function, Properties: {{Runtime: python3.12, Handler: a.b, Code: {}}}}}\n"
        )
        template = "Resources:\n" + function.format("Own", own) + function.format("Other", "other.zip")

        [finding] = checked({"template.yaml": template, "other.zip": "x" * (built.root / own).stat().st_size})

        assert finding.message.startswith("`Own`: the runtime is `python3.12`")

    def test_common_handler(self, built: Built, tmp_path: Path) -> None:
        """Functions of several services have a handler such as `app.handler`, so it does not tell which function it is."""
        [package] = built.build.packages
        build = replace(built.build, packages=(replace(package, handler="app.handler"),))
        template = """\
Resources:
  Other: {Type: AWS::Lambda::Function, Properties: {Runtime: python3.12, Handler: app.handler, Code: other/}}
"""
        assert [] == Checker(Built(built.root, build), tmp_path)({"template.yaml": template})

    def test_sibling(self, checked: Checker) -> None:
        """The code of a service whose directory starts with the same name is not that of this one."""
        template = sam("Runtime: python3.12").replace(".lamina", "service2/.lamina").replace("Hello:", "hello:")
        template += "Outputs: {Layer: {Value: !Ref Common, Export: {Name: common}}}\n"

        assert [] == checked({"template.yaml": template}, above=True)

    def test_above(self, checked: Checker) -> None:
        """A description above the service is checked for the functions with the service's code only."""
        template = sam("Runtime: python3.12").replace(".lamina", "service/.lamina")
        template += (
            f"  Other: {{Type: AWS::Serverless::Function, Properties: {{CodeUri: web, Layers: [{EXTENSION}]}}}}\n"
        )

        found = checked({"template.yaml": template}, above=True)

        assert rows(found) == [("template-runtime", "error", "../template.yaml", 12)]


SERVERLESS = f"""\
service: greeter
provider:
  name: aws
  runtime: python3.13
functions:
  hello:
    handler: service.handlers.hello.lambda_handler
    layers:
      - {EXTENSION}
"""
TERRAFORM = f"""\
resource "aws_lambda_function" "hello" {{
  function_name = "hello"
  filename      = ".lamina/functions/hello.zip"
  handler       = "service.handlers.hello.lambda_handler"
  runtime       = "python3.13"
  layers = [
    "{EXTENSION}",
  ]
}}
"""


def cdk(*layers: object, **more: object) -> dict[str, str]:
    """Return the files of a CDK app with the function `hello`, which has *layers*; *more* are further parts of the template."""
    function = {
        "Type": "AWS::Lambda::Function",
        "Properties": {
            "Code": {"S3Bucket": "b", "S3Key": "0b.zip"},
            "Handler": "service.handlers.hello.lambda_handler",
            "Layers": layers,
            "Runtime": "python3.13",
        },
        "Metadata": {"aws:cdk:path": "Orders/hello/Resource"},
    }
    stack = {"Resources": {"hello1": function}, **more}
    properties = {"templateFile": "Orders.template.json"}
    return {
        "cdk.json": "{}",
        "cdk.out/manifest.json": json.dumps(
            {"artifacts": {"Orders": {"type": "aws:cloudformation:stack", "properties": properties}}}
        ),
        "cdk.out/Orders.template.json": json.dumps(stack, indent=1),
    }


OTHER = "  Other: {{Type: AWS::Serverless::LayerVersion, Properties: {{ContentUri: {}}}}}\n".format


class TestPackaging:
    """The zips and layers that the configuration gives functions."""

    @pytest.mark.parametrize(
        ("layers", "other", "found"),
        [
            ("[!Ref Common]", "", []),
            ("[]", "", [7]),
            (f"[{EXTENSION}]", "", [7]),
            ("[!Ref Other]", ".lamina/layers/gone.zip", [14, 7]),
            ("[!Ref Common, !Ref Other]", ".lamina/layers/gone.zip", [14]),
            ("[!Ref Other]", "other/", [7]),
            # Only the deployment knows these layers, which may be the ones.
            ("[!Ref Other]", "{Bucket: b, Key: k}", []),
            ("[!Ref Other]", "dist/missing.zip", []),
            ("[!Ref Unknown]", "", []),
            ("['{{resolve:ssm:/layers/common}}']", "", []),
            ('[!Sub "arn:aws:lambda:eu-west-1:${AWS::AccountId}:layer:greeter-common:3"]', "", []),
            ("[arn:aws:lambda:eu-west-1:123456789012:layer:greeter-common:3]", "", []),
        ],
    )
    def test_layers(self, checked: Checker, layers: str, other: str, found: list[int]) -> None:
        """A function without its layer, and a layer that no build writes, are errors."""
        template = sam("Runtime: python3.13", f"Layers: {layers}") + (OTHER(other) if other else "")
        files = {"template.yaml": f"{template}Parameters: {{Unknown: {{Type: String}}}}\n", "other/own.txt": ""}
        findings = [each for each in checked(files, layers=["common"]) if each.rule == "template-packaging"]

        assert [("template-packaging", "error", "template.yaml", line) for line in found] == rows(findings)
        gone = "`Other`: `.lamina/layers/gone.zip` is deployed here, but `lamina build` does not write it; deploy what the configuration builds now"
        lacking = "`Hello`: the configuration gives it the layer `common`, which it does not have here; add the layer, or change `layers` of the function"
        assert [gone if line == 14 else lacking for line in found] == [each.message for each in findings]

    @pytest.mark.parametrize(
        ("path", "lacks"),
        [
            ('".lamina/layers/common.zip"', False),
            ('local.layer["common"].path', False),
            ('data.external.built.result["path"]', False),
            ('".lamina/layers/other"', True),
        ],
    )
    def test_terraform(self, checked: Checker, path: str, *, lacks: bool) -> None:
        """A layer of Terraform whose path is an expression may be the one."""
        terraform = TERRAFORM.replace(f'"{EXTENSION}"', "aws_lambda_layer_version.common.arn") + (
            'locals {\n  build = jsondecode(file(".lamina/build.json"))\n  layer = { for each in local.build.layers : each.name => each }\n}\n'
            f'resource "aws_lambda_layer_version" "common" {{\n  layer_name = "c"\n  filename = {path}\n}}\n'
        )
        found = checked({"main.tf": terraform, ".lamina/layers/other/x": ""}, layers=["common"])

        assert lacks is any(each.rule == "template-packaging" for each in found)

    def test_zips(self, checked: Checker) -> None:
        """A function whose zip no build writes is an error. One that deploys something else is not lamina's."""
        gone = sam(*GOOD).replace("hello.zip", "gone.zip")
        foreign = sam("Runtime: python3.13").replace(".lamina/functions/hello.zip", "other/")
        terraform = TERRAFORM.replace("hello.zip", "gone.zip")

        assert [("template-packaging", "error", "template.yaml", 7)] == rows(checked({"template.yaml": gone}))
        assert [] == checked({"template.yaml": foreign, "other/app.py": ""}, layers=["common"])
        assert ("template-packaging", "error", "main.tf", 1) in rows(checked({"main.tf": terraform}))

    def test_several_services(self, checked: Checker) -> None:
        """A description above the services is compared with the build of this one only."""
        template = sam(*GOOD).replace(".lamina/", "service/.lamina/") + OTHER("second/.lamina/layers/common.zip")
        gone = template.replace("service/.lamina/layers/common", "service/.lamina/layers/gone")

        assert [] == checked({"template.yaml": template}, layers=["common"], above=True)
        assert [3, 7] == sorted(
            each.line or 0 for each in checked({"template.yaml": gone}, layers=["common"], above=True)
        )


class TestExternal:
    """Layers of other accounts."""

    @pytest.mark.parametrize(
        ("files", "file", "line"),
        [
            ({"template.yaml": sam("Runtime: python3.13", "Layers:", f"  - {EXTENSION}")}, "template.yaml", 14),
            ({"serverless.yml": SERVERLESS}, "serverless.yml", 9),
            ({"main.tf": TERRAFORM}, "main.tf", 7),
            (cdk(EXTENSION), "cdk.out/Orders.template.json", 12),
        ],
        ids=["sam", "serverless", "terraform", "cdk"],
    )
    def test_every_tool(self, checked: Checker, files: dict[str, str], file: str, line: int) -> None:
        """The finding has the line of the ARN, and the cure: the entry that allows it."""
        [finding] = checked(files)

        assert [("external-layer", "error", file, line)] == rows([finding])
        name = "Orders/hello" if "cdk.json" in files else "Hello" if "template.yaml" in files else "hello"
        assert finding.message.startswith(
            f"`{name}`: the layer `{EXTENSION}` (Datadog Lambda Extension) is of another account; "
        )
        assert EXTENSION in files[file].splitlines()[line - 1]
        allow = f'allow-layers = [{{ arn = "{EXTENSION.removesuffix(":80")}", reason = "traces" }}]'
        assert [] == checked(files, allow)

    def test_parts_that_the_deployment_decides(self, checked: Checker) -> None:
        """Only account and name need to be known. A layer of the deployment's own account is not of others."""
        template = sam(
            "Runtime: python3.13",
            "Layers:",
            "  - !Sub arn:${AWS::Partition}:lambda:${AWS::Region}:464622532012:layer:Datadog-Extension:${Version}",
            "  - !Sub arn:aws:lambda:${AWS::Region}:${AWS::AccountId}:layer:other:3",
        )

        [finding] = checked({"template.yaml": template})

        assert [("external-layer", "error", "template.yaml", 14)] == rows([finding])
        assert '`{ arn = "arn:*:lambda:*:464622532012:layer:Datadog-Extension", reason' in finding.message

    def test_functions_that_lamina_does_not_build(self, checked: Checker) -> None:
        """Other Python functions are checked, those in other languages are not."""
        function = "  {}: {{Type: AWS::Lambda::Function, Properties: {{Runtime: {}, Code: x, Layers: [{}]}}}}\n"
        template = (
            "Resources:\n"
            + function.format("A", "python3.14", EXTENSION)
            + function.format("B", "nodejs22.x", POWERTOOLS)
        )

        assert rows(checked({"template.yaml": template})) == [("external-layer", "error", "template.yaml", 2)]

    def test_layers_of_the_configuration(self, checked: Checker) -> None:
        """The build has the finding on a layer that a configured function has, so it is not repeated."""
        functions = f'other = {{ handler = "service.handlers.hello.lambda_handler", layer-arns = ["{EXTENSION}"] }}\n'
        template = sam("Runtime: python3.13", f"Layers: [{EXTENSION}]")

        assert [] == checked({"template.yaml": template}, functions=functions)

    def test_replaceable(self, checked: Checker) -> None:
        """An allowed layer that requirements can replace is a note, whether a description or the configuration names it."""
        allow = f'allow-layers = [{{ arn = "{POWERTOOLS}", reason = "set up" }}, {{ arn = "{EXTENSION}", reason = "traces" }}]'
        template = sam("Runtime: python3.13", "Layers:", f"  - {POWERTOOLS}", f"  - {EXTENSION}")

        [finding] = checked({"template.yaml": template}, allow)

        assert [("replaceable-layer", "note", "template.yaml", 14)] == rows([finding])
        assert "could be left behind: lock `aws-lambda-powertools[all]` instead" in finding.message
        inside = POWERTOOLS.replace("eu-west-1", "*")
        assert [finding] == checked({"template.yaml": template}, allow, arns=[inside, EXTENSION])

    def test_replaceable_by_what_is_locked(self, checked: Checker, built: Built) -> None:
        """If the layers have the requirements already, only the ARN is left to remove."""
        allow = f'allow-layers = [{{ arn = "{POWERTOOLS}", reason = "set up" }}]'
        (layer,) = built.build.layers
        locked = replace(layer.distributions[0], name="aws-lambda-powertools")
        build = replace(built.build, layers=(replace(layer, distributions=(locked,)),))
        check_built = Checker(built._replace(build=build), checked.directory / "locked")

        [finding] = check_built({"template.yaml": sam("Runtime: python3.13", f"Layers: [{POWERTOOLS}]")}, allow)

        assert finding.rule == "replaceable-layer"
        assert finding.message.endswith(
            "has packages that the lock file has, too: `aws-lambda-powertools[all]`; remove the ARN from the deploy description, from "
            "`layer-arns` and from `allow-layers`"
        )

    def test_one_layer_in_two_places(self, checked: Checker) -> None:
        """A layer whose region only the template leaves open is that of the configuration, so the build alone refuses it."""
        template = sam("Runtime: python3.13", f"Layers: [!Sub '{EXTENSION.replace('eu-west-1', '${AWS::Region}')}']")

        assert [] == checked({"template.yaml": template}, arns=[EXTENSION])

    def test_unused_entry(self, checked: Checker) -> None:
        """An entry that allows no layer is a note in its line, unless the layers of a function are unknown."""
        used, unused = (f'{{ arn = "{arn}", reason = "needed" }}' for arn in (EXTENSION, POWERTOOLS))
        allow = f"allow-layers = [\n    {used},\n    {unused},\n]"
        template = sam("Runtime: python3.13", f"Layers: [{EXTENSION}]")

        [finding] = checked({"template.yaml": template}, allow)

        assert ("unused-allowed-layer", Severity.NOTE, "pyproject.toml") == (
            finding.rule,
            finding.severity,
            finding.file,
        )
        assert f"`allow-layers` allows `{POWERTOOLS}`, but no function" in finding.message
        assert [] == [each for each in checked({}, allow, arns=[EXTENSION, POWERTOOLS]) if each.rule == finding.rule]
        unknown = template.replace(f"[{EXTENSION}]", "[!Ref Arn]") + "Parameters: {Arn: {Type: String}}\n"
        assert "unused-allowed-layer" not in {each.rule for each in checked({"template.yaml": unknown}, allow)}

    @pytest.mark.parametrize(
        ("layers", "line", "fact"),
        [
            (f"[{EXTENSION}]", None, ""),
            (f"[!Sub '{EXTENSION.replace('eu-west-1', '${AWS::Region}')}']", None, ""),
            (f"[!Sub '{EXTENSION.replace(':80', ':${Version}')}']", None, ""),
            ("[!Ref Arn]", None, ""),
            ("[]", None, ""),
            (f"[{EXTENSION}1]", 13, f"the layer is `{EXTENSION}1` here, but `{EXTENSION}` in `layer-arns`; "),
            ("[!Ref Common]", 7, f"the layer `{EXTENSION}` is in `layer-arns`, but not here; "),
        ],
    )
    def test_other_layers_than_configured(self, checked: Checker, layers: str, line: int | None, fact: str) -> None:
        """A version that differs from `layer-arns` is a warning in its line, and a layer that is missing in that of the function."""
        allow = f'allow-layers = [{{ arn = "{EXTENSION.removesuffix(":80")}", reason = "traces" }}]'
        template = sam("Runtime: python3.13", f"Layers: {layers}") + "Parameters: {Arn: {Type: String}}\n"

        found = [
            each
            for each in checked({"template.yaml": template}, allow, arns=[EXTENSION])
            if each.rule == "layer-arns-differ"
        ]

        assert [("layer-arns-differ", "warning", "template.yaml", line)] * bool(fact) == rows(found)
        assert all(each.message.startswith(f"`Hello`: {fact}") for each in found)

    def test_another_function_with_the_handler(self, checked: Checker) -> None:
        """The layers of a function that only shares the handler with the configured one are not compared with `layer-arns`."""
        allow = f'allow-layers = [{{ arn = "{EXTENSION}", reason = "traces" }}]'
        other = """\
  Old:
    Type: AWS::Serverless::Function
    Properties:
      {CodeUri: src/, Handler: service.handlers.hello.lambda_handler, Runtime: python3.12, Layers: [!Ref Common]}
"""
        template = sam("Runtime: python3.13", f"Layers: [{EXTENSION}, !Ref Common]") + other

        found = checked({"template.yaml": template}, allow, arns=[EXTENSION])

        assert "layer-arns-differ" not in {each.rule for each in found}

    def test_undecided(self, checked: Checker) -> None:
        """Every layer that a condition can choose is refused. Two alternatives never shadow each other."""
        condition = "Parameters: {Stage: {Type: String}}\nConditions: {Prod: !Equals [!Ref Stage, prod]}\n"
        template = sam("Runtime: python3.13", f"Layers: [!If [Prod, '{POWERTOOLS}', '{EXTENSION}']]") + condition

        found = checked({"template.yaml": template})

        assert [("external-layer", "error", "template.yaml", 13)] * 2 == rows(found)
        assert [POWERTOOLS in found[0].message, EXTENSION in found[1].message] == [True, True]
        other = "  Other: {Type: AWS::Serverless::LayerVersion, Properties: {ContentUri: other}}\n"
        template = sam("Runtime: python3.13", "Layers: [!If [Prod, !Ref Common, !Ref Other]]") + other + condition
        files = {"template.yaml": template, "other/python/native/__init__.py": "\n"}
        assert [] == checked(files)

    ROLES = '[tool.lamina.publish]\nroles = ["arn:aws:iam::123456789012:role/publish"]\n'

    @pytest.mark.parametrize("version", ["17", "${Version}"])
    def test_name_of_an_own_layer(self, checked: Checker, version: str) -> None:
        """A layer of another account is refused, also if it has the name of the service's own layer."""
        arn = f"arn:aws:lambda:eu-west-1:999999999999:layer:greeter-common:{version}"
        template = sam("Runtime: python3.13", f'Layers: [!Sub "{arn}"]')

        for roles in ("", self.ROLES):
            assert [("external-layer", "error", "template.yaml", 13)] == rows(
                checked({"template.yaml": template}, functions=roles)
            )

    @pytest.mark.parametrize("prefix", ["${AWS::AccountId}", "123456789012"])
    def test_pinned(self, checked: Checker, prefix: str) -> None:
        """A version of the layer that the service publishes is a warning."""
        arn = f"arn:aws:lambda:eu-west-1:{prefix}:layer:greeter-common"

        template = sam("Runtime: python3.13", f'Layers: [!Sub "{arn}:17"]')
        [finding] = checked({"template.yaml": template}, functions=self.ROLES)

        assert [("pinned-layer-version", "warning", "template.yaml", 13)] == rows([finding])
        assert "version 17 of the service's own layer `greeter-common`" in finding.message
        template = sam("Runtime: python3.13", f'Layers: [!Sub "{arn}:${{Version}}"]')
        assert [] == checked({"template.yaml": template}, functions=self.ROLES)


class TestSharing:
    """Layers that hide each other, or that stacks share."""

    def test_shadow(self, checked: Checker) -> None:
        """The modules of a directory and a zip are compared, wherever in the layer Python finds them."""
        other = "  Other: {Type: AWS::Serverless::LayerVersion, Properties: {ContentUri: other}}\n"
        template = sam("Runtime: python3.13", "Layers:", "  - !Ref Common", "  - !Ref Other") + other
        site = "other/python/lib/python3.13/site-packages"

        [finding] = checked({"template.yaml": template, f"{site}/native/__init__.py": "", f"{site}/own.py": ""})

        assert [("layers-shadow", "warning", "template.yaml", 15)] == rows([finding])
        assert "the layers `Common` and `Other` both have `native`, and the files of `Other` replace" in finding.message
        assert [] == checked({"template.yaml": template, f"{site}/own.py": "", f"{site}/native-1.dist-info/RECORD": ""})

    def test_no_shadow(self, built: Built, checked: Checker, tmp_path: Path) -> None:
        """A layer does not hide itself, and the build has compared the layers that lamina builds for a function."""
        other = "  Other: {{Type: AWS::Serverless::LayerVersion, Properties: {{ContentUri: {}}}}}\n".format
        template = sam("Runtime: python3.13", "Layers: [!Ref Other, !Ref Other]") + other("other")
        assert [] == checked({"template.yaml": template, "other/python/own.py": ""})

        root = shutil.copytree(built.root, tmp_path / "two")
        path = root / ".lamina/layers/second.zip"
        sha256 = write_zip(path, {"python/native/__init__.py": ""})
        [common], [package] = built.build.layers, built.build.packages
        second = replace(common, name="second", path=path, sha256=sha256, zipped_bytes=path.stat().st_size)
        template = sam("Runtime: python3.13", "Layers: [!Ref Common, !Ref Other]") + other(".lamina/layers/second.zip")
        for names, rules in ((("common", "second"), []), (("common",), ["layers-shadow"])):
            build = replace(built.build, layers=(common, second), packages=(replace(package, layers=names),))
            found = Checker(Built(root, build), tmp_path / str(len(names)))({"template.yaml": template})
            assert rules == [each.rule for each in found]

    def test_damaged_layer(self, checked: Checker) -> None:
        """A damaged zip of somebody else's is a warning, and not compared."""
        other = "  Other: {Type: AWS::Serverless::LayerVersion, Properties: {ContentUri: other.zip}}\n"
        template = sam("Runtime: python3.13", "Layers: [!Ref Common, !Ref Other]") + other

        [finding] = checked({"template.yaml": template, "other.zip": "PK"})

        assert [("unchecked-template", "warning", "template.yaml", 14)] == rows([finding])
        assert finding.message.startswith("layer `Other` is not compared with others: `other.zip` is damaged: ")

    @pytest.mark.parametrize("name", ["orders-common", '!Sub "${AWS::StackName}-common"'])
    def test_export(self, checked: Checker, name: str) -> None:
        """An exported layer is a warning, with the functions of other stacks that import it."""
        template = sam(*GOOD) + f"Outputs:\n  Layer:\n    Value: !Ref Common\n    Export: {{Name: {name}}}\n"
        other = """\
Resources:
  Report:
    Type: AWS::Lambda::Function
    Properties:
      Runtime: python3.13
      Code: src
      Layers:
        - !ImportValue orders-common
"""
        [finding] = checked({"template.yaml": template, "other/template.yaml": other})

        assert [("exported-layer", "warning", "template.yaml", 15)] == rows([finding])
        assert "which `Report` imports; CloudFormation cannot update an export" in finding.message

        [alone] = checked({"other/template.yaml": other})

        assert [("exported-layer", "warning", "other/template.yaml", 8)] == rows([alone])

    def test_export_of_the_cdk(self, checked: Checker) -> None:
        """A CDK app exports a layer of one stack that a function of another stack has."""
        files = cdk({"Fn::ImportValue": "Shared:ExportsOutputRefCommon"})

        [finding] = checked(files)

        assert [("exported-layer", "warning", "cdk.out/Orders.template.json", 12)] == rows([finding])
        assert finding.message.startswith("`Orders/hello`: ")


class TestUnchecked:
    """What cannot be checked is said."""

    def test_invalid(self, checked: Checker) -> None:
        """An invalid file does not stop the check of the others."""
        files = {
            "template.yaml": sam("Runtime: python3.12"),
            "other/template.yaml": "Resources: [AWS::Lambda::Function\n",
        }

        found = checked(files)

        assert [(each.rule, each.severity, each.file) for each in found] == [
            ("unchecked-template", Severity.WARNING, "other/template.yaml"),
            ("template-runtime", Severity.ERROR, "template.yaml"),
        ]

    @pytest.mark.parametrize(
        ("file", "content", "line"),
        [
            ("infra/main.tf", 'resource "aws_lambda_function" "a" {\n', 1),
            ("infra/main.tf", 'resource "aws_lambda_function" "a" {\n  x = = 1\n}', 2),
            ("main.tf", '# aws_lambda_function\nlocals {\n  a = "x\n}', 3),
            ("main.tf.json", '{"aws_lambda_function":\n}', 2),
            ("template.yaml", "Resources:\n  A: {Type: AWS::Lambda::Function}\n  B: !What x\n", 3),
            ("template.json", '{"Resources":\n{"AWS::Lambda::Function":}}', 2),
        ],
    )
    def test_place(self, checked: Checker, file: str, content: str, line: int) -> None:
        """The finding on an invalid file has its line, and names no directory as the file, and not the file once more."""
        [finding] = checked({file: content})

        assert [("unchecked-template", "warning", file, line)] == rows([finding])
        assert finding.message.startswith("the deploy description is not checked: not valid ")

    def test_large_file(self, checked: Checker) -> None:
        """A file that is too large is named, also if it is only one of a directory."""
        large = f'resource "aws_lambda_function" "a" {{\n}}\n{"#" * 500_000}\n'

        [finding] = checked({"infra/main.tf": "locals {}\n", "infra/large.tf": large})

        assert [("unchecked-template", "warning", "infra/large.tf", None)] == rows([finding])
        assert "the file has 0.5 MB; lamina reads" in finding.message

    def test_directory(self, checked: Checker) -> None:
        """A directory as a whole is named in the message, but is not the file of the finding."""
        many = "[for x in range(10000) : [for y in range(10000) : y]][0]"

        [finding] = checked({"infra/main.tf": f'resource "aws_lambda_function" "a" {{\n  runtime = {many}\n}}\n'})

        assert [("unchecked-template", "warning", None, None)] == rows([finding])
        assert finding.message == (
            "the deploy description is not checked: `infra`: the Terraform configuration needs too many steps to evaluate; "
            "correct it"
        )

    @pytest.mark.parametrize("name", ["serverless.ts", "cdk.json"])
    def test_programs(self, checked: Checker, name: str) -> None:
        """A program, and a CDK app that has not been synthesized, are notes."""
        assert rows(checked({name: "{}"})) == [("unchecked-template", "note", name, None)]

    def test_unknown_account(self, checked: Checker) -> None:
        """A layer in an account for each region is a note; if the account is the same, only the region is unknown."""
        template = sam("Runtime: python3.13", "Layers:", "  - !FindInMap [Layers, !Ref AWS::Region, arn]")
        other = EXTENSION.replace("eu-west-1", "us-east-1")

        def found(second: str) -> list[tuple[str, str, str | None, int | None]]:
            text = f"Mappings: {{Layers: {{eu-west-1: {{arn: '{EXTENSION}'}}, us-east-1: {{arn: '{second}'}}}}}}\n"
            return rows(checked({"template.yaml": template + text}))

        assert [("unchecked-template", "note", "template.yaml", 14)] == found(other.replace("464622532012", "1" * 12))
        assert [("external-layer", "error", "template.yaml", 14)] == found(other)

    def test_unknown_layers(self, checked: Checker) -> None:
        """A layer that only the deployment knows is a note."""
        template = sam("Runtime: python3.13", "Layers: [!Ref Arn]") + "Parameters: {Arn: {Type: String}}\n"

        [finding] = checked({"template.yaml": template})

        assert [("unchecked-template", "note", "template.yaml", 13)] == rows([finding])
        assert finding.message == "`Hello`: not all layers are checked: parameter `Arn` has no default"
