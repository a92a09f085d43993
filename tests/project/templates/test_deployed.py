"""Every tool's description lists the functions that it deploys, with the line of each value, also for functions that lamina does not build."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from lamina.core.store import Store
from lamina.project.templates.answers import ask
from lamina.project.templates.types import Deployed, LayerExport, Origin, Stated

if TYPE_CHECKING:
    from pathlib import Path

    from lamina.project.templates.types import Template

ARN = "arn:aws:lambda:eu-west-1:017000801446:layer:Powertools:7"


def read(tmp_path: Path, kind: str, path: str, files: dict[str, str]) -> Template:
    """Return what the description *path* says, read twice: the second time from the store."""
    root, store = tmp_path / "project", Store.open()
    for name, text in files.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    first = ask(kind, path, root, store).template

    assert ask(kind, path, root, store).template == first

    return first


def rows(values: tuple[Stated, ...]) -> list[tuple[str, int | None]]:
    return [(each.value, each.origin.line) for each in values]


def facts(found: Deployed) -> dict[str, Any]:
    return {
        "runtimes": rows(found.runtimes),
        "architectures": rows(found.architectures),
        "layers": rows(found.layers),
        "content": found.content,
    }


def test_sam(tmp_path: Path) -> None:
    """Values have their own lines, those in `Globals` too. A prebuilt package is deployed, although lamina does not build it."""
    template = read(
        tmp_path,
        "cloudformation",
        "template.yaml",
        {
            "template.yaml": f"""\
Transform: AWS::Serverless-2016-10-31
Globals:
  Function:
    Runtime: python3.12
    Layers:
      - {ARN}
Resources:
  Common:
    Type: AWS::Serverless::LayerVersion
    Properties:
      ContentUri: .lamina/layers/common.zip
      CompatibleRuntimes:
        - python3.12
        - python3.13
      CompatibleArchitectures: [arm64]
  Create:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: .lamina/functions/create.zip
      Handler: app.main
      Architectures:
        - arm64
      Layers:
        - !Ref Common
        - !Sub "arn:${{AWS::Partition}}:lambda:${{AWS::Region}}:${{AWS::AccountId}}:layer:own:${{Version}}"
        - !ImportValue shared
  Web:
    Type: AWS::Serverless::Function
    Properties: {{Runtime: nodejs22.x, Handler: index.handler, CodeUri: web}}
Outputs:
  Plain: {{Value: !Ref Create}}
  Layer:
    Value: !Ref Common
    Export:
      Name: !Sub "${{AWS::StackName}}-common"
""",
        },
    )
    create, common = template.deployed

    assert facts(create) == {
        "runtimes": [("python3.12", 4)],
        "architectures": [("arm64", 21)],
        "layers": [(ARN, 6), ("Common", 24), ("arn:*:lambda:*:${AWS::AccountId}:layer:own:*", 25)],
        "content": ".lamina/functions/create.zip",
    }
    assert create.unknown == ()
    assert rows(create.imports) == [("shared", 26)]
    assert facts(common) == {
        "runtimes": [("python3.12", 13), ("python3.13", 14)],
        "architectures": [("arm64", 15)],
        "layers": [],
        "content": ".lamina/layers/common.zip",
    }
    assert [(each.name, each.layer, each.origin.line) for each in template.exports] == [("*-common", "Common", 32)]


def test_serverless(tmp_path: Path) -> None:
    """Lines are those of the list's items, in the service or the provider; CloudFormation's functions in ARNs are evaluated."""
    template = read(
        tmp_path,
        "serverless",
        "serverless.yml",
        {
            "serverless.yml": f"""\
service: orders
provider:
  name: aws
  runtime: python3.13
  layers:
    - {ARN}
functions:
  create:
    handler: app.main
    architecture: arm64
    package: {{artifact: .lamina/functions/create.zip}}
    layers:
      - !Ref CommonLambdaLayer
      - arn:aws:lambda:${{aws:region}}:${{aws:accountId}}:layer:own:3
      - !Sub "arn:aws:lambda:${{AWS::Region}}:017000801446:layer:Powertools:7"
      - Fn::Join: [":", ["arn:aws:lambda", !Ref AWS::Region, "017000801446:layer:Powertools", "${{param:version}}"]]
      - !ImportValue "${{self:service}}-layer"
  list:
    handler: app.main
layers:
  common:
    package: {{artifact: .lamina/layers/common.zip}}
    compatibleRuntimes:
      - python3.13
""",
            ".lamina/layers/common.zip": "",
        },
    )
    create, second, common = template.deployed

    assert facts(create) == {
        "runtimes": [("python3.13", 4)],
        "architectures": [("arm64", 10)],
        "layers": [
            ("common", 13),
            ("arn:aws:lambda:*:${AWS::AccountId}:layer:own:3", 14),
            ("arn:aws:lambda:*:017000801446:layer:Powertools:7", 15),
            ("arn:aws:lambda:*:017000801446:layer:Powertools:*", 16),
        ],
        "content": ".lamina/functions/create.zip",
    }
    assert rows(create.imports) == [("orders-layer", 17)]
    assert rows(second.layers) == [(ARN, 6)]
    assert (rows(common.runtimes), common.content, common.origin.line) == (
        [("python3.13", 24)],
        ".lamina/layers/common.zip",
        21,
    )


def test_terraform(tmp_path: Path) -> None:
    """Lines are those of the list's items, or of the argument if the list comes from elsewhere. Modules are read, too."""
    template = read(
        tmp_path,
        "terraform",
        ".",
        {
            "main.tf": f"""\
data "aws_caller_identity" "current" {{}}
data "aws_region" "current" {{}}
variable "release" {{}}
locals {{
  layers = ["{ARN}"]
}}
resource "aws_lambda_layer_version" "common" {{
  layer_name          = "common"
  filename            = "${{path.module}}/.lamina/layers/common.zip"
  compatible_runtimes = [
    "python3.13",
  ]
}}
resource "aws_lambda_function" "create" {{
  function_name = "create"
  filename      = ".lamina/functions/create.zip"
  handler       = "app.main"
  runtime       = "python3.13"
  architectures = ["arm64"]
  # Several.
  layers = [
    aws_lambda_layer_version.common.arn,
    "arn:aws:lambda:${{data.aws_region.current.name}}:017000801446:layer:Powertools:${{var.release}}",

    "arn:aws:lambda:eu-west-1:${{data.aws_caller_identity.current.account_id}}:layer:own:3",
  ]
}}
resource "aws_lambda_function" "other" {{
  function_name = "other"
  handler       = "index.handler"
  runtime       = "nodejs22.x"
  layers        = local.layers
}}
module "inner" {{
  source = "./inner"
  layers = local.layers
}}
""",
            "inner/main.tf": """\
variable "layers" {}
module "list" {
  source  = "terraform-aws-modules/lambda/aws"
  handler = "app.main"
  runtime = "python3.13"
  layers  = var.layers
  create_package         = false
  local_existing_package = ".lamina/functions/list.zip"
}
""",
        },
    )
    common, create, listed = template.deployed

    assert facts(create) == {
        "runtimes": [("python3.13", 18)],
        "architectures": [("arm64", 19)],
        "layers": [
            ("common", 22),
            ("arn:aws:lambda:*:017000801446:layer:Powertools:*", 23),
            ("arn:aws:lambda:eu-west-1:${AWS::AccountId}:layer:own:3", 25),
        ],
        "content": ".lamina/functions/create.zip",
    }
    assert (rows(common.runtimes), common.content) == ([("python3.13", 11)], ".lamina/layers/common.zip")
    assert (rows(listed.layers), listed.content) == ([(ARN, 6)], ".lamina/functions/list.zip")
    assert {each.origin.file for each in listed.layers} == {"inner/main.tf"}


def test_terraform_plan(tmp_path: Path) -> None:
    """A plan has no lines."""
    values = {"runtime": "python3.13", "handler": "app.main", "architectures": ["arm64"], "layers": [ARN]}
    resource = {"type": "aws_lambda_function", "name": "create", "values": values}
    plan = {"format_version": "1.2", "planned_values": {"root_module": {"resources": [resource]}}}

    (create,) = read(tmp_path, "terraform-plan", "plan.json", {"plan.json": json.dumps(plan)}).deployed

    assert rows(create.layers) == [(ARN, None)]


@pytest.mark.parametrize("has_metadata", [True, False])
def test_cdk(tmp_path: Path, has_metadata: bool) -> None:
    """The lines are those of the synthesized template, and messages have the path of the construct."""
    layer = {
        "Type": "AWS::Lambda::LayerVersion",
        "Properties": {
            "CompatibleRuntimes": ["python3.13"],
            "Content": {"S3Bucket": {"Fn::Sub": "cdk-${AWS::Region}"}, "S3Key": "0a.zip"},
        },
        "Metadata": {"aws:cdk:path": "Orders/Common/Resource"},
    }
    function = {
        "Type": "AWS::Lambda::Function",
        "Properties": {
            "Code": {"S3Bucket": "b", "S3Key": "0b.zip"},
            "Handler": "app.main",
            "Layers": [
                {"Ref": "Common1"},
                {"Fn::Join": ["", ["arn:aws:lambda:", {"Ref": "AWS::Region"}, ":017000801446:layer:Powertools:7"]]},
                {"Fn::ImportValue": "Other:ExportsOutputRefCommon"},
            ],
            "Runtime": "python3.13",
        },
        "Metadata": {"aws:cdk:path": "Orders/Create/Resource"} if has_metadata else {},
    }
    output = {"Value": {"Ref": "Common1"}, "Export": {"Name": "Orders:ExportsOutputRefCommon1"}}
    stack = {
        "Resources": {"Common1": layer, "Create2": function},
        "Outputs": {"ExportsOutputRefCommon1": output},
    }
    text = json.dumps(stack, indent=1)
    properties = {"templateFile": "Orders.template.json"}
    manifest = {"artifacts": {"Orders": {"type": "aws:cloudformation:stack", "properties": properties}}}

    template = read(
        tmp_path,
        "cdk",
        "cdk.out",
        {
            "cdk.out/manifest.json": json.dumps(manifest),
            "cdk.out/Orders.template.json": text,
            "cdk.out/asset.0a.zip": "",
        },
    )
    create, common = template.deployed
    lines = text.splitlines()

    assert (create.construct, common.construct) == (
        "Orders/Create" if has_metadata else "Orders/Create2",
        "Orders/Common",
    )
    assert [value for value, _ in rows(create.layers)] == ["Common", "arn:aws:lambda:*:017000801446:layer:Powertools:7"]
    found = [lines[(line or 0) - 1].strip() for _, line in (*rows(create.layers), *rows(create.imports))]
    assert found == ["{", "{", "{"]
    assert [line for _, line in rows(create.layers)] == [
        lines.index('    "Layers": [') + 2,
        lines.index('      "Fn::Join": ['),
    ]
    assert lines[(create.runtimes[0].origin.line or 0) - 1].strip() == '"Runtime": "python3.13"'
    assert (common.content, create.content) == ("cdk.out/asset.0a.zip", None)
    assert template.exports == (
        LayerExport(name="Orders:ExportsOutputRefCommon1", layer="Common", origin=template.exports[0].origin),
    )


def test_serverless_layer_in_another_file(tmp_path: Path) -> None:
    """A value that is not a list, in a layer that is in another file, has the line in that file."""
    (common,) = read(
        tmp_path,
        "serverless",
        "serverless.yml",
        {
            "serverless.yml": "provider: {name: aws, runtime: python3.13}\nlayers: {common: '${file(layers.yml):common}'}\n",
            "layers.yml": "common:\n  package: {artifact: common.zip}\n  compatibleRuntimes: python3.13\n",
            "common.zip": "",
        },
    ).deployed

    assert common.runtimes == (Stated(value="python3.13", origin=Origin(file="layers.yml", line=3)),)


@pytest.mark.parametrize(
    ("kind", "path", "text", "expected"),
    [
        (
            "cloudformation",
            "template.yaml",
            """\
Transform: AWS::Serverless-2016-10-31
Parameters: {Arn: {Type: String}, Stage: {Type: String}}
Resources:
  Create:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: code.zip
      Handler: app.main
      Runtime: python3.13
      Layers:
        - "{{resolve:ssm:/a/b}}"
        - !Ref Arn
        - !Sub "{{resolve:ssm:/${Stage}/b}}"
        - "arn:aws:lambda:eu-west-1:017000801446:layer:Powertools:{{resolve:ssm:/version}}"
""",
            [
                ("`{{resolve:ssm:/a/b}}` is known only during the deployment", 11),
                ("parameter `Arn` has no default", 12),
                ("parameter `Stage` has no default", 13),
            ],
        ),
        (
            "serverless",
            "serverless.yml",
            """\
service: orders
provider: {name: aws, runtime: python3.13}
functions:
  create:
    handler: app.main
    package: {artifact: code.zip}
    layers:
      - ${ssm:/a/b}
      - "{{resolve:ssm:/a/b}}"
      - arn:aws:lambda:eu-west-1:017000801446:layer:Powertools:{{resolve:ssm:/version}}
""",
            [
                ("the deployment decides `ssm:/a/b`", 8),
                ("`{{resolve:ssm:/a/b}}` is known only during the deployment", 9),
            ],
        ),
        (
            "terraform",
            ".",
            """\
variable "arn" {}
variable "release" {}
resource "aws_lambda_function" "create" {
  filename = "code.zip"
  handler  = "app.main"
  runtime  = "python3.13"
  layers = [
    "arn:aws:lambda:eu-west-1:017000801446:layer:Powertools:${var.release}",
    var.arn,
  ]
}
""",
            [("variable `arn` has no default", 9)],
        ),
    ],
)
def test_unknown_layers(tmp_path: Path, kind: str, path: str, text: str, expected: list[tuple[str, int]]) -> None:
    """A layer that only the deployment knows has the reason and its own line. An ARN of which a part is unknown is a pattern."""
    name = "main.tf" if path == "." else path
    (create,) = read(tmp_path, kind, path, {name: text, "code.zip": ""}).deployed

    assert expected == [(each.reason, each.origin.line) for each in create.unknown if each.origin is not None]
    assert [each.value for each in create.layers] == ["arn:aws:lambda:eu-west-1:017000801446:layer:Powertools:*"]


CFN_FUNCTION = """\
Parameters: {Stage: {Type: String}}
Conditions: {Prod: !Equals [!Ref Stage, prod]}
Resources:
  Create:
    Type: AWS::Lambda::Function
    Properties:
      Code: code.zip
      Handler: app.main
      Runtime: !If [Prod, python3.13, python3.12]
"""
TF_FUNCTION = """\
variable "stage" {}
resource "aws_lambda_function" "create" {
  filename = "code.zip"
  handler  = "app.main"
  runtime  = var.stage == "prod" ? "python3.13" : "python3.12"
"""
A, B = (f"arn:aws:lambda:eu-west-1:999999999999:layer:{name}:1" for name in "ab")


@pytest.mark.parametrize(
    ("kind", "path", "text", "layers"),
    [
        (
            "cloudformation",
            "template.yaml",
            f"{CFN_FUNCTION}      Layers:\n        - {ARN}\n        - !If [Prod, '{A}', !If [Prod, '{B}', !Ref AWS::NoValue]]\n",
            [(ARN, True), (A, False), (B, False)],
        ),
        (
            "cloudformation",
            "template.yaml",
            f"{CFN_FUNCTION}      Layers: !If [Prod, ['{A}', !Sub '{B}'], !Ref AWS::NoValue]\n",
            [(A, False), (B, False)],
        ),
        (
            "serverless",
            "serverless.yml",
            f"""\
service: orders
provider: {{name: aws, runtime: python3.13}}
functions:
  create:
    handler: app.main
    package: {{artifact: code.zip}}
    layers:
      - Fn::If: [Prod, "{A}", !If [Dev, "{B}", !Ref "AWS::NoValue"]]
""",
            [(A, False), (B, False)],
        ),
        (
            "terraform",
            ".",
            f'{TF_FUNCTION}  layers = ["{ARN}", var.stage == "prod" ? "{A}" : "{B}"]\n}}\n',
            [(ARN, True), (A, False), (B, False)],
        ),
        (
            "terraform",
            ".",
            f'{TF_FUNCTION}  layers = concat(["{ARN}"], var.stage != "" ? ["{A}", try(var.stage.arn, "{B}")] : [])\n}}\n',
            [(ARN, False), (A, False), (B, False)],
        ),
    ],
)
def test_undecided_layers(tmp_path: Path, kind: str, path: str, text: str, layers: list[tuple[str, bool]]) -> None:
    """All branches of a condition that only the deployment decides are listed, because each of them can be deployed."""
    name = "main.tf" if path == "." else path
    (create,) = read(tmp_path, kind, path, {name: text, "code.zip": ""}).deployed

    assert layers == [(each.value, each.is_certain) for each in create.layers]
    assert kind == "serverless" or [each.value for each in create.runtimes] == ["python3.13", "python3.12"]


def test_many_undecided_layers(tmp_path: Path) -> None:
    """Conditions in conditions, which can stand for very many values, are listed up to a limit."""
    text = f"{CFN_FUNCTION}      X0: &x0 '{A}'\n" + "".join(
        f"      X{number}: &x{number} !If [Prod, *x{number - 1}, *x{number - 1}]\n" for number in range(1, 11)
    )
    (create,) = read(tmp_path, "cloudformation", "t.yaml", {"t.yaml": f"{text}      Layers: [*x10]\n"}).deployed

    assert [each.value for each in create.layers] == [A]
    assert [each.reason for each in create.unknown] == ["more than 200 values are possible"]
