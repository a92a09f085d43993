"""Terraform's root modules and plans are read, and hostile ones end in one error."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lamina.core.errors import TemplateError
from lamina.project.templates.files import TemplateFiles
from lamina.project.templates.terraform.plan import read_plan
from lamina.project.templates.terraform.reader import read
from lamina.project.templates.types import (
    LayerReference,
    Origin,
    Skipped,
    Template,
    TemplateFunction,
    TemplateLayer,
    Translation,
    UnknownSetting,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

ARN = "arn:aws:lambda:eu-west-1:123456789012:layer:shared:3"
ARCHIVE = """
data "archive_file" "code" {
  type        = "zip"
  source_dir  = "${path.module}/src"
  output_path = "${path.module}/code.zip"
}
"""
FUNCTION = """
resource "aws_lambda_function" "api" {
  function_name = "api"
  handler       = "app.handler"
  runtime       = "python3.13"
  filename      = data.archive_file.code.output_path
}
"""


def write(root: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def template(root: Path, files: Mapping[str, str], directory: str = ".") -> Template:
    write(root, {"src/app.py": "", **files})
    return read(directory, TemplateFiles(root))


def function(name: str, line: int | None, file: str = "main.tf", **values: Any) -> TemplateFunction:
    return TemplateFunction(
        name=name,
        origin=Origin(file=file, line=line),
        **{"handler": "app.handler", "runtime": "python3.13", "source": "src", **values},
    )


def unknown(**reasons: str) -> tuple[UnknownSetting, ...]:
    return tuple(UnknownSetting(setting=setting, reason=reason) for setting, reason in reasons.items())


def evaluate(root: Path, expression: str, context: str = "") -> str | None:
    """Return what *expression* evaluates to, as the handler of a function, or why it is unknown."""
    found = template(
        root, {"main.tf": f"{context}\n{ARCHIVE}{FUNCTION.replace(chr(34) + 'app.handler' + chr(34), expression)}"}
    )
    return found.functions[0].handler or found.functions[0].why_unknown("handler")


def test_all_settings(tmp_path: Path) -> None:
    """A function's settings are read, and of its environment only the names."""
    text = """
data "archive_file" "code" {
  type        = "zip"
  source_dir  = "${path.module}/src"
  excludes    = ["tests", "**/*.md"]
  output_path = "code.zip"
}
resource "aws_lambda_layer_version" "deps" {
  layer_name = "anything"
  filename   = "deps.zip"
}
resource "aws_lambda_function" "api" { # the API
  function_name    = "${terraform.workspace}-api"
  filename         = "./code.zip"
  source_code_hash = data.archive_file.code.output_base64sha256
  handler          = "app.handler"
  runtime          = "python3.13"
  architectures    = ["arm64"]
  memory_size      = 2 * 256
  timeout          = "30"
  layers           = [aws_lambda_layer_version.deps.arn, "%s"]
  environment {
    variables = { TOKEN = "secret", "STAGE" : terraform.workspace }
  }
  dynamic "vpc_config" {
    for_each = var.subnets
    content { subnet_ids = vpc_config.value }
  }
}
"""
    found = template(tmp_path, {"main.tf": text % ARN, "deps.zip": ""})

    expected = function(
        "api",
        12,
        patterns=("!tests", "!**/*.md"),
        architecture="arm64",
        memory_mb=512,
        timeout_seconds=30,
        environment=("STAGE", "TOKEN"),
        layers=(LayerReference(name="deps"), LayerReference(name=ARN)),
    )
    assert (expected,) == found.functions
    assert (TemplateLayer(name="deps", origin=Origin(file="main.tf", line=8), source="deps.zip"),) == found.layers
    assert () == found.skipped
    assert "secret" not in repr(found)


def test_several_files(tmp_path: Path) -> None:
    """All files of the directory form one module; files of variables override defaults in Terraform's order."""
    found = template(
        tmp_path,
        {
            "infra/archive.tf": ARCHIVE.replace("${path.module}", "${path.module}/.."),
            "infra/main.tf": FUNCTION.replace('"python3.13"', "var.runtime").replace('"app.handler"', "var.handler"),
            "infra/variables.tf": 'variable "runtime" { default = "python3.9" }\nvariable "handler" {}\n',
            "infra/terraform.tfvars": 'runtime = "python3.11"\nhandler = "app.handler"\n',
            "infra/a.auto.tfvars.json": '{"runtime": "python3.12"}',
            "infra/b.auto.tfvars": 'runtime = "python3.14" # last\n',
            "infra/other.tf": 'resource "aws_iam_role" "x" { this is not = parsed }',
        },
        "infra",
    )

    assert (function("api", 2, "infra/main.tf", runtime="python3.14"),) == found.functions


def test_for_each(tmp_path: Path) -> None:
    """Each key of a map or set is a function; its name is the key."""
    text = """
locals {
  functions = {
    create = { file = "create.py", memory = 256 }
    "list" = { file = "list.py" }
  }
}
data "archive_file" "code" {
  for_each    = local.functions
  type        = "zip"
  source_file = "${path.module}/src/${each.value.file}"
  output_path = "${each.key}.zip"
}
resource "aws_lambda_function" "fn" {
  for_each    = local.functions
  handler     = "${trimsuffix(each.value.file, ".py")}.handler"
  runtime     = "python3.13"
  memory_size = try(each.value.memory, 128)
  filename    = data.archive_file.code[each.key].output_path
}
"""
    found = template(tmp_path, {"main.tf": text, "src/create.py": "", "src/list.py": ""})

    assert (
        function("create", 14, handler="create.handler", source="src/create.py", memory_mb=256),
        function("list", 14, handler="list.handler", source="src/list.py", memory_mb=128),
    ) == found.functions


def test_many_instances(tmp_path: Path) -> None:
    """Each of 300 functions finds its own archive among 300."""
    text = """
locals { names = [for i in range(300) : format("f%03d", i)] }
data "archive_file" "code" {
  for_each    = toset(local.names)
  source_dir  = "src"
  output_path = "${each.key}.zip"
}
resource "aws_lambda_function" "fn" {
  for_each = toset(local.names)
  handler  = "app.handler"
  runtime  = "python3.13"
  filename = data.archive_file.code[each.key].output_path
}
"""
    expected = tuple(function(f"f{index:03}", 8) for index in range(300))
    assert expected == template(tmp_path, {"main.tf": text}).functions


def test_names_collide(tmp_path: Path) -> None:
    """Keys that several resources use get the resource's name as a prefix."""
    each = (
        '{\n  for_each = toset(["a", "b"])\n  handler = "app.handler"\n  runtime = "python3.13"\n  filename = "x"\n}\n'
    )
    other = each.replace('"b"', '"c"')
    found = template(
        tmp_path,
        {"main.tf": f'resource "aws_lambda_function" "one" {each}resource "aws_lambda_function" "two" {other}'},
    )

    assert ["one-a", "b", "two-a", "c"] == [each.name for each in found.functions]


def test_count(tmp_path: Path) -> None:
    """``count`` numbers the functions; with an unknown count, they are skipped."""
    text = 'variable "n" {}\n' + ARCHIVE
    for name, count in (("many", "1 + 1"), ("none", "false ? 1 : 0"), ("some", "var.n"), ("one", "true ? 1 : 0")):
        text += FUNCTION.replace('"api" {', f'"{name}" {{\n  count = {count}')
    found = template(tmp_path, {"main.tf": text})

    assert (function("many-0", 9), function("many-1", 9), function("one", 33)) == found.functions
    reason = "its instances are unknown: variable `n` has no default"
    assert (Skipped(name="some", reason=reason, origin=Origin(file="main.tf", line=25)),) == found.skipped


def test_optional_layer(tmp_path: Path) -> None:
    """A splat refers to the only instance of a layer."""
    text = """
variable "create" { default = true }
resource "aws_lambda_layer_version" "deps" {
  count    = var.create ? 1 : 0
  filename = "deps.zip"
}
"""
    layers = "\n  layers = compact([one(aws_lambda_layer_version.deps[*].arn), null])\n}"
    found = template(tmp_path, {"main.tf": text + ARCHIVE + FUNCTION.replace("\n}", layers)})

    assert (function("api", 14, layers=(LayerReference(name="deps-0"),)),) == found.functions
    assert (TemplateLayer(name="deps-0", origin=Origin(file="main.tf", line=3)),) == found.layers


def test_dynamic_environment(tmp_path: Path) -> None:
    """The variables of a dynamic block are read."""
    block = """
  dynamic "environment" {
    for_each = length(local.names) == 0 ? [] : [true]
    content { variables = local.names }
  }
}
locals { names = { A = 1 } }
"""
    found = template(tmp_path, {"main.tf": ARCHIVE + FUNCTION.replace("\n}\n", block)})

    assert (function("api", 8, environment=("A",)),) == found.functions


def test_skipped(tmp_path: Path) -> None:
    """Functions with another runtime, images and override files are skipped; a missing runtime is unknown."""
    text = """resource "aws_lambda_function" "node" {
  runtime = "nodejs22.x"
}
resource "aws_lambda_function" "image" {
  package_type = "Image"
}
resource "aws_lambda_function" "bare" {
}
"""
    found = template(tmp_path, {"main.tf": text, "main_override.tf": ""})

    assert (
        Skipped(name="node", reason="runtime nodejs22.x is not Python", origin=Origin(file="main.tf", line=1)),
        Skipped(name="image", reason="code is a container image", origin=Origin(file="main.tf", line=4)),
        Skipped(
            name="main_override.tf",
            reason="lamina does not read override files",
            origin=Origin(file="main_override.tf"),
        ),
    ) == found.skipped
    missing = unknown(source="`filename` is not set", handler="`handler` is not set", runtime="`runtime` is not set")
    assert (function("bare", 7, handler=None, source=None, runtime=None, unknown=missing),) == found.functions


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ('filename = "dist/app.zip"', "`dist/app.zip` is built by something else"),
        ('s3_bucket = "b"', "the code is an object in S3"),
        ("", "`filename` is not set"),
        ("filename = [1]", "`filename` is not a string"),
        ("filename = data.external.x.result", "only the deployment knows the data source `data.external.x.result`"),
        ("filename = data.archive_file.outside.output_path", "`../src` is outside the project"),
        ("filename = data.archive_file.missing.output_path", "`nothing` does not exist"),
        ("filename = data.archive_file.text.output_path", "the archive is made of text in the description"),
    ],
)
def test_unknown_source(tmp_path: Path, code: str, reason: str) -> None:
    """Code that is not packed from a directory of the project has no source, and the reason says why."""
    text = f"""resource "aws_lambda_function" "api" {{
  handler = "app.handler"
  runtime = "python3.13"
  {code}
}}
data "archive_file" "outside" {{
  source_dir = "../src"
}}
data "archive_file" "missing" {{
  source_dir = "nothing"
}}
data "archive_file" "text" {{
  source {{
    content = "x"
  }}
}}
"""
    found = template(tmp_path, {"main.tf": text})

    assert (function("api", 1, source=None, unknown=unknown(source=reason)),) == found.functions


def test_unknown_settings(tmp_path: Path) -> None:
    """A setting without a static value is unknown, with the variable, resource or function that decides it."""
    text = """
variable "open" {}
variable "hidden" {
  default   = "hush"
  sensitive = true
}
resource "aws_lambda_function" "api" {
  handler       = var.hidden
  runtime       = "${var.open}"
  architectures = [local.a]
  memory_size   = 1.5
  timeout       = timestamp()
  layers        = [var.open, aws_lambda_layer_version.x.arn, 3]
  filename      = aws_s3_object.x.id
  environment {
    variables = merge({ A = 1 }, var.open)
  }
}
locals {
  a = local.b
  b = local.a
}
"""
    found = template(tmp_path, {"main.tf": text})

    assert (
        function(
            "api",
            7,
            handler=None,
            runtime=None,
            source=None,
            layers=(LayerReference(name="x"),),
            unknown=unknown(
                source="only the deployment knows the reference `aws_s3_object.x.id`",
                environment="variable `open` has no default",
                handler="variable `hidden` is sensitive",
                runtime="variable `open` has no default",
                architecture="`local.a` refers to itself",
                memory="`1.5` is not a whole number from 0 to 1,000,000",
                timeout="the function `timestamp` is not evaluated",
                layers="variable `open` has no default",
            ),
        ),
    ) == found.functions
    assert "hush" not in repr(found)


def test_local_modules(tmp_path: Path) -> None:
    """Local modules are read with the arguments of each call; references to archives and layers keep their module."""
    inner = """
variable "handler" {}
variable "layers" { default = [] }
variable "runtime" { default = "python3.13" }
data "archive_file" "code" {
  source_dir  = "${path.module}/../../src"
  output_path = "x.zip"
}
resource "aws_lambda_function" "this" {
  handler  = var.handler
  runtime  = var.runtime
  layers   = var.layers
  filename = data.archive_file.code.output_path
}
"""
    main = """
module "layer" {
  source = "./modules/layer"
}
module "one" {
  source  = "./modules/fn"
  handler = "app.one"
  layers  = [module.layer.arn]
}
module "many" {
  source   = "./modules/fn"
  for_each = { two = "app.two", three = "app.three" }
  handler  = each.value
  runtime  = "python3.12"
}
"""
    layer = """
resource "aws_lambda_layer_version" "deps" { filename = "x.zip" }
output "arn" { value = aws_lambda_layer_version.deps.arn }
"""
    files = {"main.tf": main, "modules/fn/main.tf": inner, "modules/layer/main.tf": layer}
    found = template(tmp_path, files)

    file = "modules/fn/main.tf"
    assert (
        function("one", 9, file, handler="app.one", layers=(LayerReference(name="layer-deps"),)),
        function("three", 9, file, handler="app.three", runtime="python3.12"),
        function("two", 9, file, handler="app.two", runtime="python3.12"),
    ) == found.functions
    assert (TemplateLayer(name="layer-deps", origin=Origin(file="modules/layer/main.tf", line=2)),) == found.layers


def test_module_with_several_functions(tmp_path: Path) -> None:
    """With several functions in a module, their names start with the name of the call."""
    found = template(
        tmp_path,
        {
            "main.tf": 'module "orders" { source = "./orders" }',
            "orders/main.tf": ARCHIVE.replace("${path.module}/src", "src")
            + FUNCTION
            + FUNCTION.replace('"api" {', '"job" {'),
        },
    )

    assert ["orders-api", "orders-job"] == [each.name for each in found.functions]
    assert ["src", "src"] == [each.source for each in found.functions]


def test_module_cycle(tmp_path: Path) -> None:
    """A module that calls itself is an error; too deep modules and modules outside the project are skipped."""
    with pytest.raises(TemplateError) as raised:
        template(
            tmp_path,
            {"main.tf": 'module "a" { source = "./a" }', "a/x.tf": 'module "b" {\n  source = "../a"\n}'},
        )

    assert "`a/x.tf`, line 2: not valid Terraform: the module `a` calls itself" == str(raised.value)


def test_deep_modules(tmp_path: Path) -> None:
    """Modules are read five deep, and only inside the project."""
    files = {f"{'m/' * depth}main.tf": 'module "m" { source = "./m" }' for depth in range(7)}
    found = template(tmp_path, files | {"out.tf": 'module "out" { source = "../x" }'})

    assert (
        Skipped(
            name="m-m-m-m-m-m",
            reason="modules are nested more than 5 deep",
            origin=Origin(file="m/m/m/m/m/main.tf", line=1),
        ),
        Skipped(name="out", reason="the module `../x` is outside the project", origin=Origin(file="out.tf", line=1)),
    ) == found.skipped


@pytest.mark.parametrize(
    "source",
    [
        "terraform-aws-modules/lambda/aws",
        "registry.terraform.io/terraform-aws-modules/lambda/aws",
        "git::https://github.com/terraform-aws-modules/terraform-aws-lambda.git?ref=v8.1.0",
        "github.com/terraform-aws-modules/terraform-aws-lambda",
        "git::ssh://git@github.com/terraform-aws-modules/terraform-aws-lambda.git",
        "git@github.com:terraform-aws-modules/terraform-aws-lambda.git",
    ],
)
def test_community_module(tmp_path: Path, source: str) -> None:
    """The community module's functions, layers and settings for packaging are read, whatever its address."""
    text = f"""
module "deps" {{
  source          = "{source}"
  create_function = false
  create_layer    = true
  layer_name      = "deps"
  runtime         = "python3.13"
  source_path = [{{
    path             = "${{path.module}}/src"
    poetry_install   = true
    prefix_in_zip    = "python"
    npm_requirements = false
  }}]
}}
module "api" {{
  source          = "{source}"
  handler         = "app.handler"
  runtime         = "python3.13"
  source_path     = "${{path.module}}/src"
  build_in_docker = true
  memory_size     = 512
  layers          = [module.deps.lambda_layer_arn]
  environment_variables = {{ A = "1" }}
}}
"""
    found = template(tmp_path, {"main.tf": text, "src/poetry.lock": ""})

    assert (
        function("api", 15, memory_mb=512, environment=("A",), layers=(LayerReference(name="deps"),)),
    ) == found.functions
    assert (TemplateLayer(name="deps", origin=Origin(file="main.tf", line=2), source="src"),) == found.layers
    assert () == found.skipped
    expected = (
        Translation(
            setting="source_path.poetry_install",
            replacement="set `lock`: lamina reads `poetry.lock` itself",
            origin=Origin(file="main.tf", line=8),
            configuration=(("lock", "src/poetry.lock"),),
        ),
        Translation(
            setting="source_path.prefix_in_zip",
            replacement="remove it: lamina puts a layer's distributions below `python/`",
            origin=Origin(file="main.tf", line=8),
        ),
        Translation(
            setting="build_in_docker",
            replacement="remove it: lamina takes the wheels for the target from the lock file and does not need Docker",
            origin=Origin(file="main.tf", line=20),
        ),
    )
    assert expected == found.translations


def test_other_modules(tmp_path: Path) -> None:
    """A function of another remote module is skipped; submodules and modules without a handler are ignored."""
    text = """
module "vpc" { source = "terraform-aws-modules/vpc/aws" }
module "alias" {
  source = "terraform-aws-modules/lambda/aws//modules/alias"
}
module "fn" {
  source  = "cloudposse/lambda-function/aws"
  handler = "app.handler"
  runtime = "python3.13"
}
module "several" {
  source      = "terraform-aws-modules/lambda/aws"
  handler     = "app.handler"
  runtime     = "python3.13"
  source_path = ["src", { path = "lib" }]
}
module "partly" {
  source      = "terraform-aws-modules/lambda/aws"
  handler     = "app.handler"
  runtime     = "python3.13"
  source_path = ["src", { path = "lost" }]
}
"""
    found = template(tmp_path, {"main.tf": text, "lib/names.py": ""})

    reason = "module `fn` from `cloudposse/lambda-function/aws` is not known to lamina"
    assert (Skipped(name="fn", reason=reason, origin=Origin(file="main.tf", line=6)),) == found.skipped
    assert (
        function("several", 11, source="src", more=("lib",)),
        function("partly", 17, source=None, unknown=unknown(source="`lost` does not exist")),
    ) == found.functions


def test_json_syntax(tmp_path: Path) -> None:
    """Files in JSON syntax are read; their strings are templates."""
    document = {
        "variable": {"version": {"default": "3.13"}},
        "data": {"archive_file": {"code": [{"source_dir": "${path.module}/src", "output_path": "x.zip"}]}},
        "resource": [
            {
                "aws_lambda_function": {
                    "api": {
                        "handler": "app.handler",
                        "runtime": "python${var.version}",
                        "filename": "${data.archive_file.code.output_path}",
                        "environment": [{"variables": {"B": "1", "A": '${upper("x")}'}}],
                    }
                }
            }
        ],
    }
    found = template(tmp_path, {"main.tf.json": json.dumps(document)})

    assert (function("api", None, "main.tf.json", environment=("A", "B")),) == found.functions


EXPRESSIONS = [
    ('"a${"b${1 + 1}"}-$${x}"', "ab2-${x}"),
    ('join(".", ["a", lower("B")])', "a.b"),
    ('format("%s.%s-%03d", "a", "b", 7)', "a.b-007"),
    ('{ a = "x", (local.k) = "y" }["k"]', "y"),
    ("{ a : 1, b : 2 }.b == 2 && !false ? local.k : null", "k"),
    ('[for k, v in { a = 1, b = 2 } : "${k}${v}" if v > 1][0]', "b2"),
    ('join(",", [for v in ["b", "a"] : v])', "b,a"),
    ('{ for v in ["x"] : v => upper(v) }.x', "X"),
    ('join(",", [{ n = "p" }, { n = "q" }][*].n)', "p,q"),
    ('lookup({}, "a", "d")', "d"),
    ('try(local.m.none.x, "t")', "t"),
    ('coalesce(null, "", "c")', "c"),
    ('merge({ a = "1" }, { a = "2" })["a"]', "2"),
    ('join("", flatten([["a"], [["b"]]]))', "ab"),
    ('element(["a", "b"], 3)', "b"),
    ('jsondecode("{\\"a\\": [\\"z\\"]}").a[0]', "z"),
    ('replace(trimprefix("x-a_b", "x-"), "_", ".")', "a.b"),
    ('join(",", sort(keys(zipmap(["b", "a"], [1, 2]))))', "a,b"),
    ('join(",", [for p in setproduct(["a"], ["b", "c"]) : join("", p)])', "ab,ac"),
    ('join(",", fileset(path.module, "src/*.py"))', "src/app.py"),
    ('basename(abspath("src/app"))', "app"),
    ('join(",", [for i in range(3) : i])', "0,1,2"),
    ('title("ab cd")', "Ab Cd"),
    ('split("/", "a/b")[1]', "b"),
    ('contains(["a"], "a") ? "yes" : "no"', "yes"),
    ('can(local.m.none) ? "yes" : "no"', "no"),
    ('concat(["a"], ["b"])[1]', "b"),
    ("local.heredoc", "one\n  two\n"),
    ('7 % 4 - 1 > 2 || false ? "a" : "b"', "b"),
]


@pytest.mark.parametrize(("expression", "value"), EXPRESSIONS)
def test_expression(tmp_path: Path, expression: str, value: str) -> None:
    """Expressions of static values are evaluated."""
    context = 'locals {\n  k = "k"\n  m = {}\n  heredoc = <<-EOT\n    one\n      two\n  EOT\n}'
    context = context.replace("\n  EOT", "\n    EOT")
    assert value == evaluate(tmp_path, expression, context)


UNKNOWN = [
    ("local.none", "local `none` is not defined"),
    ("var.none", "variable `none` is not declared"),
    ("terraform.workspace", "only the deployment knows `terraform.workspace`"),
    ("module.x.y[0].z", "only the deployment knows the reference `module.x.y[0].z`"),
    ('file("x")', "the function `file` is not evaluated"),
    ("[1, 2]", "expected a text, found a list"),
    ("1 / 0", "`/` cannot be evaluated with these values"),
    ("{}.a", "the value has no element `a`"),
    ('upper(["a"])', "the function `upper` cannot be evaluated: the arguments do not fit, or they are not known"),
    ('"a%{ if true }b%{ endif }"', "template directives such as `%{ if }` are not evaluated"),
    ("99999999999999999999", "the number is too large"),
    ("1e999", "the number is too large"),
    ('"x" ? 1 : 2', "the condition is not a boolean"),
    ("range(100000)", "the function `range` cannot be evaluated: the arguments do not fit, or they are not known"),
    ('fileset("..", "**")', "`fileset` with `**` is not evaluated"),
    (
        'format("%999999999d", 1)',
        "the function `format` cannot be evaluated: the arguments do not fit, or they are not known",
    ),
    ("+".join(["1"] * 300), "the expression is nested too deeply"),
    ("[for x in 5 : x][0]", "`for` needs a list or a map"),
    ("null.x", "the value has no element `x`"),
]


@pytest.mark.parametrize(("expression", "reason"), UNKNOWN, ids=[each[:20] for each, _ in UNKNOWN])
def test_unknown_expression(tmp_path: Path, expression: str, reason: str) -> None:
    """An expression that is not static, or too large, is unknown, with the reason."""
    assert reason == evaluate(tmp_path, expression)


def doubling(last: str, step: str) -> str:
    lines = [f"  a{index} = {step.format(f'local.a{index + 1}')}" for index in range(40)]
    return "locals {\n" + "\n".join([*lines, f"  a40 = {last}"]) + "\n}"


@pytest.mark.parametrize(
    ("last", "step", "expression"),
    [
        ('"xxxxxxxx"', '"${{{0}}}${{{0}}}"', "local.a0"),
        ("[]", "[{0}, {0}]", "flatten(local.a0)[0]"),
        ("[1, 2]", "[for x in {0} : [for y in {0} : x][0]]", "local.a0[0]"),
        ("[1, 2]", "concat({0}, {0})", "local.a0[0]"),
        ("{}", "{{ x = {0}, y = {0} }}", "local.a0 == local.a1"),
        ('"x,"', 'join({0}, split(",", {0}))', "local.a0"),
    ],
)
def test_no_exponential_work(tmp_path: Path, last: str, step: str, expression: str) -> None:
    """Values that double forty times end in an unknown value or an error, in a moment."""
    write(tmp_path, {"main.tf": ""})
    try:
        result = evaluate(tmp_path, expression, doubling(last, step))
    except TemplateError as error:
        result = str(error)

    assert result is not None
    assert len(result) < 1000


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('resource "aws_lambda_function" "a" {\n  x = = 1\n}', ", line 2: not valid Terraform: unexpected text"),
        ('resource "aws_lambda_function" "a" {\n', ", line 1: not valid Terraform: `{` is not closed"),
        ('# module\nlocals {\n  a = "x\n}', ", line 3: not valid Terraform: the string is not closed"),
        ("locals {\n  a = <<E\n", ", line 2: not valid Terraform: the heredoc `E` is not closed"),
        ("/* module", ", line 1: not valid Terraform: the comment is not closed"),
        ("module }", ", line 1: not valid Terraform: unexpected `}`"),
        ("locals {\n" + "[" * 100_000, ", line 2: not valid Terraform: expressions are nested too deeply"),
        ("module " + '"${' * 100_000, ", line 1: not valid Terraform: expressions are nested too deeply"),
        ("locals { a = <<A\n" + "\n" * 400_000, ", line 1: not valid Terraform: the heredoc `A` is not closed"),
        ("module" + "(" * 300_000, ", line 1: not valid Terraform: expressions are nested too deeply"),
    ],
    ids=range(10),
)
def test_invalid(tmp_path: Path, text: str, message: str) -> None:
    """A broken file is one error with file and line."""
    with pytest.raises(TemplateError) as raised:
        template(tmp_path, {"main.tf": text})

    assert f"`main.tf`{message}" == str(raised.value)


def test_heredoc_of_blank_lines(tmp_path: Path) -> None:
    """A long heredoc of blank lines is parsed in a moment."""
    text = 'resource "aws_lambda_function" "a" {\n  handler = <<E\n' + " \n" * 40_000 + 'E\n  runtime = "nodejs"\n}'
    found = template(tmp_path, {"main.tf": text})

    assert "runtime nodejs is not Python" == found.skipped[0].reason


def test_too_large(tmp_path: Path) -> None:
    """The functions, the instances and the files have limits."""
    with pytest.raises(TemplateError) as raised:
        template(tmp_path, {"main.tf": FUNCTION.replace("filename ", "x = 1 #") * 2000})
    expected = "`main.tf`, line 9718: functions, modules and variables have more than 50,000 words and signs"
    assert expected == str(raised.value)
    with pytest.raises(TemplateError) as raised:
        template(tmp_path, {"main.tf": 'resource "aws_lambda_function" "a" {\n  count = 10000\n}\n' * 2})
    assert "`main.tf`: there are more than 10,000 functions, layers and modules" == str(raised.value)
    many = "[for x in range(10000) : [for y in range(10000) : y]][0]"
    with pytest.raises(TemplateError) as raised:
        template(tmp_path, {"main.tf": f"{ARCHIVE}{FUNCTION}".replace('"app.handler"', many)})
    assert "`.`: the Terraform configuration needs too many steps to evaluate" == str(raised.value)
    with pytest.raises(TemplateError) as raised:
        template(tmp_path, {"main.tf": "module" * 100_000})
    assert "`main.tf`: the file has 0.6 MB; lamina reads deploy descriptions of this kind up to 0.5 MB" == str(
        raised.value
    )


SETTINGS = (
    *("handler", "runtime", "filename", "layers", "architectures", "memory_size", "timeout", "environment", "for_each"),
    *("count", "package_type", "image_uri", "source", "source_path", "create_layer", "create_function", "source_dir"),
    *("environment_variables", "excludes", "output_path", "default", "sensitive", "value", "local_existing_package"),
)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(
        ["", "x", "python3.13", "./m", "..", "\0", "${var.a}", "${each.key}", "${", "terraform-aws-modules/lambda/aws"]
    )
    | st.sampled_from(["${data.archive_file.a.output_path}", "${local.a[0].b}", "${module.a.b}", "${f(1)...}"])
    | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(SETTINGS) | st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=12,
)
ARGUMENTS = st.dictionaries(st.sampled_from(SETTINGS), VALUES, max_size=8) | VALUES
NAMED = st.dictionaries(st.sampled_from(["a", "b", ""]), ARGUMENTS, max_size=2) | VALUES
DOCUMENTS = st.fixed_dictionaries(
    {},
    optional={
        "resource": st.fixed_dictionaries({"aws_lambda_function": NAMED, "aws_lambda_layer_version": NAMED}) | VALUES,
        "data": st.fixed_dictionaries({"archive_file": NAMED}) | VALUES,
        "module": NAMED,
        "variable": NAMED,
        "locals": ARGUMENTS,
        "output": NAMED,
    },
)


@given(document=DOCUMENTS | VALUES, variables=VALUES)
@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
def test_wrong_types(tmp_path: Path, document: Any, variables: Any) -> None:
    """Values of any type in any place end in a template or a `TemplateError`."""
    files = {"main.tf.json": document, "m/main.tf.json": document, "terraform.tfvars.json": variables}
    with contextlib.suppress(TemplateError):
        assert isinstance(template(tmp_path, {name: json.dumps(each) for name, each in files.items()}), Template)


@given(data=st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_mutated_text(tmp_path: Path, data: st.DataObject) -> None:
    """A valid file with parts removed, repeated or replaced ends in a template or a `TemplateError`."""
    text = (
        ARCHIVE
        + FUNCTION
        + 'locals {\n  a = [for k, v in { x = 1 } : "${k}" if v > 0]\n}\nmodule "m" { source = "./m" }\n'
    )
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(start, min(len(text), start + 20)))
        new = data.draw(
            st.sampled_from(["", "{", "}", '"', "${", "<<E\n", "=", "[]", "null", "\n", "\\", "0", "...", "é", "%{"])
        )
        text = text[:start] + new + text[end:]
    with contextlib.suppress(TemplateError):
        assert isinstance(template(tmp_path, {"main.tf": text}), Template)


def plan(*resources: dict[str, Any], **others: Any) -> str:
    return json.dumps({"format_version": "1.2", "planned_values": {"root_module": {"resources": resources}}, **others})


def test_plan(tmp_path: Path) -> None:
    """A plan gives the values after evaluation; archives are in the state before it."""
    values = {
        "handler": "app.handler",
        "runtime": "python3.13",
        "filename": "code.zip",
        "memory_size": 128,
        "timeout": 3,
        "architectures": ["arm64"],
        "layers": [ARN],
        "environment": [{"variables": {"TOKEN": "secret"}}],
    }
    archive = {"type": "archive_file", "mode": "data", "values": {"output_path": "code.zip", "source_dir": "./src"}}
    resources = [
        {"address": "aws_lambda_function.api", "type": "aws_lambda_function", "name": "api", "values": values},
        {"type": "aws_lambda_function", "name": "node", "values": {"runtime": "nodejs22.x"}},
        {"type": "aws_lambda_function", "name": "fn", "index": "a", "values": {"runtime": "python3.13"}},
        {"type": "aws_lambda_layer_version", "name": "deps", "values": {"filename": "deps.zip"}},
    ]
    write(
        tmp_path,
        {
            "src/app.py": "",
            "deps.zip": "",
            "plan.json": plan(*resources, prior_state={"values": {"root_module": {"resources": [archive]}}}),
        },
    )
    found = read_plan("plan.json", TemplateFiles(tmp_path))

    pending = "the plan does not contain the value, because it is known only after apply"
    assert (
        function(
            "api",
            None,
            "plan.json",
            architecture="arm64",
            memory_mb=128,
            timeout_seconds=3,
            environment=("TOKEN",),
            layers=(LayerReference(name=ARN),),
        ),
        function(
            "fn-a",
            None,
            "plan.json",
            handler=None,
            source=None,
            unknown=unknown(source=pending, handler=pending, layers=pending),
        ),
    ) == found.functions
    assert (TemplateLayer(name="deps", origin=Origin(file="plan.json"), source="deps.zip"),) == found.layers
    assert (
        Skipped(name="node", reason="runtime nodejs22.x is not Python", origin=Origin(file="plan.json")),
    ) == found.skipped


def test_not_a_plan(tmp_path: Path) -> None:
    """Another JSON document is an error."""
    write(tmp_path, {"plan.json": "{}"})
    with pytest.raises(TemplateError) as raised:
        read_plan("plan.json", TemplateFiles(tmp_path))

    assert "`plan.json` is not a plan or state of Terraform" == str(raised.value)


def test_large_plan(tmp_path: Path) -> None:
    """A plan of 20 MB is read in less than two seconds."""
    other = {"type": "aws_iam_policy", "name": "x", "values": {"policy": "x" * 2000}}
    write(tmp_path, {"plan.json": plan(*[other] * 10_000)})
    found = read_plan("plan.json", TemplateFiles(tmp_path))

    assert () == found.functions


@given(
    document=st.fixed_dictionaries(
        {
            "format_version": st.just("1.0"),
            "values": st.fixed_dictionaries(
                {
                    "root_module": VALUES
                    | st.fixed_dictionaries(
                        {
                            "resources": st.lists(
                                st.fixed_dictionaries(
                                    {
                                        "type": st.sampled_from(
                                            ["aws_lambda_function", "archive_file", "aws_lambda_layer_version"]
                                        ),
                                        "values": ARGUMENTS,
                                        "name": VALUES,
                                        "index": VALUES,
                                        "address": VALUES,
                                    }
                                )
                            )
                        }
                    )
                }
            ),
        }
    )
)
@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
def test_plan_with_wrong_types(tmp_path: Path, document: Any) -> None:
    """Values of any type in any place of a plan end in a template or a `TemplateError`."""
    write(tmp_path, {"plan.json": json.dumps(document)})
    with contextlib.suppress(TemplateError):
        assert isinstance(read_plan("plan.json", TemplateFiles(tmp_path)), Template)
