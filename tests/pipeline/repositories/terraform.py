"""Repositories that Terraform describes."""

from __future__ import annotations

from pipeline.repositories.repository import (
    ARCHITECTURE,
    COMPILE,
    OTHER,
    OTHER_ARCHITECTURE,
    OTHER_RUNTIME,
    RUNTIME,
    Function,
    Missing,
    Repository,
    Service,
    document,
    handler,
    locked,
    module,
    project,
)

_SETTINGS = '  runtime       = "$RUNTIME"\n  architectures = ["$ARCHITECTURE"]\n'


def _archive(name: str, source: str, *more: str) -> str:
    lines = [f'data "archive_file" "{name}" {{', '  type = "zip"', f"  {source}", *(f"  {line}" for line in more)]
    return "\n".join([*lines, f'  output_path = "${{path.module}}/build/{name}.zip"', "}", ""])


def _function(name: str, handler: str, archive: str, *more: str, settings: str = _SETTINGS) -> str:
    lines = [f'resource "aws_lambda_function" "{name}" {{', f'  function_name = "{name}"', f'  handler = "{handler}"']
    lines += [f"  filename = data.archive_file.{archive}.output_path", *(f"  {line}" for line in more)]
    return "\n".join([*lines, settings + "}", ""])


_MODULE = """resource "aws_lambda_function" "this" {
  function_name    = var.name
  handler          = "app.handler"
  runtime          = var.runtime
  architectures    = ["$ARCHITECTURE"]
  filename         = data.archive_file.this.output_path
  source_code_hash = data.archive_file.this.output_base64sha256
}
data "archive_file" "this" {
  type        = "zip"
  source_dir  = var.directory
  output_path = "${path.module}/${var.name}.zip"
}
variable "name" { type = string }
variable "runtime" {
  type    = string
  default = "$RUNTIME"
}
variable "directory" { type = string }
"""
_GUESSED = "guessed from the only file that fits its handler `app.handler`"
_DOCKER = "remove it: lamina takes the wheels for the target from the lock file and does not need Docker"
_PIP = "remove it: lamina packages the distributions of the lock file into a layer"

REPOSITORIES = (
    Repository(
        name="an archive of a directory",
        files={
            "main.tf": 'provider "aws" {}\n'
            + _archive("code", 'source_dir = "${path.module}/src"')
            + _function("create", "orders.create.handler", "code", "memory_size = 512", "timeout = 20"),
            "src/orders/create.py": handler("create", "alpha", "orders.names"),
            "src/orders/names.py": module("names"),
            "pyproject.toml": project("alpha"),
            "pylock.toml": locked("alpha"),
        },
        services={
            ".": Service(
                functions={"create": Function("orders.create.handler", "src/*", "create alpha names")},
            )
        },
    ),
    Repository(
        name="an archive of a file",
        files={
            "main.tf": _archive("code", 'source_file = "lambda/create.py"')
            + _function("create", "create.handler", "code"),
            "lambda/create.py": handler("create", "alpha"),
            "pylock.toml": locked("alpha"),
        },
        services={".": Service(functions={"create": Function("create.handler", "lambda/create.py", "create alpha")})},
    ),
    Repository(
        name="an archive for each function",
        files={
            "functions.tf": _archive("create", 'source_dir = "functions/create"')
            + _archive("report", 'source_dir = "functions/report"', 'excludes = ["tests"]')
            + _function("create", "app.handler", "create")
            + _function("report", "app.handler", "report"),
            "functions/create/app.py": handler("create", "helper", "alpha"),
            "functions/create/helper.py": module("creating"),
            "functions/report/app.py": handler("report", "helper"),
            "functions/report/helper.py": module("reporting"),
            "pylock.toml": locked("alpha"),
        },
        services={
            ".": Service(
                functions={
                    "create": Function("app.handler", "functions/create/*", "create creating alpha"),
                    "report": Function("app.handler", "functions/report/*", "report reporting"),
                }
            )
        },
    ),
    Repository(
        name="locals, and variables with values in a file",
        files={
            "main.tf": """variable "python" {}
variable "machine" { default = "none" }
locals {
  code = "${path.root}/code"
  tags = { service = "shop" }
}
"""
            + _archive("code", "source_dir = local.code")
            + _function(
                "create",
                "app.handler",
                "code",
                settings="  runtime = var.python\n  architectures = [var.machine]\n",
            ),
            "terraform.tfvars": 'python = "$RUNTIME"\nmachine = "none"\n',
            "machine.auto.tfvars": 'machine = "$ARCHITECTURE"\n',
            "code/app.py": handler("create", "alpha"),
            "pylock.toml": locked("alpha"),
        },
        services={".": Service(functions={"create": Function("app.handler", "code/*", "create alpha")})},
    ),
    Repository(
        name="an instance for each entry of a map",
        files={
            "main.tf": """locals {
  functions = {
    create = { handler = "create.handler", memory = 128 }
    report = { handler = "report.handler", memory = 256 }
  }
}
data "archive_file" "code" {
  for_each    = local.functions
  type        = "zip"
  source_dir  = "${path.module}/functions/${each.key}"
  output_path = "${path.module}/${each.key}.zip"
}
resource "aws_lambda_function" "all" {
  for_each      = local.functions
  function_name = "shop-${each.key}"
  handler       = each.value.handler
  memory_size   = each.value.memory
  filename      = data.archive_file.code[each.key].output_path
"""
            + _SETTINGS
            + "}\n",
            "functions/create/create.py": handler("create", "alpha"),
            "functions/report/report.py": handler("report", "names"),
            "functions/report/names.py": module("names"),
            "pylock.toml": locked("alpha"),
        },
        services={
            ".": Service(
                functions={
                    "create": Function("create.handler", "functions/create/*", "create alpha"),
                    "report": Function("report.handler", "functions/report/*", "report names"),
                }
            )
        },
    ),
    Repository(
        name="a number of instances",
        files={
            "main.tf": _archive("code", 'source_dir = "src"')
            + _function("worker", "app.handler", "code", "count = 2")
            + _function("never", "app.handler", "code", "count = 0"),
            "src/app.py": handler("work", "alpha"),
            "pylock.toml": locked("alpha"),
        },
        services={
            ".": Service(
                functions={
                    "worker-0": Function("app.handler", "src/*", "work alpha"),
                    "worker-1": Function("app.handler", "src/*", "work alpha"),
                }
            )
        },
    ),
    Repository(
        name="the community module",
        files={
            "main.tf": """module "create" {
  source          = "terraform-aws-modules/lambda/aws"
  version         = "8.1.0"
  function_name   = "create"
  handler         = "app.handler"
  source_path     = "${path.module}/src/create"
  build_in_docker = true
"""
            + _SETTINGS
            + "}\n",
            "src/create/app.py": handler("create", "alpha"),
            "src/create/requirements.txt": "alpha\n",
            # What `terraform init` downloads.
            ".terraform/modules/create/main.tf": _function("this", "app.handler", "code"),
        },
        services={
            ".": Service(
                functions={"create": Function("app.handler", "src/create/*", "create alpha")},
                lock="requirements-lock.txt",
                command=f"{COMPILE} src/create/requirements.txt -o requirements-lock.txt",
            )
        },
        translations={"build_in_docker": _DOCKER},
        locks={"requirements-lock.txt": locked("alpha")},
    ),
    Repository(
        name="the community module with a list of paths",
        files={
            "main.tf": """module "create" {
  source        = "terraform-aws-modules/lambda/aws"
  function_name = "create"
  handler       = "app.handler"
  source_path = [
    "${path.module}/src/create",
    { pip_requirements = "${path.module}/requirements/create.txt", prefix_in_zip = "vendor" },
  ]
"""
            + _SETTINGS
            + "}\n",
            "src/create/app.py": handler("create", "alpha"),
            "requirements/create.txt": "alpha\n",
        },
        services={
            ".": Service(
                functions={"create": Function("app.handler", "src/create/*", "create alpha")},
                lock="requirements-lock.txt",
                command=f"{COMPILE} requirements/create.txt -o requirements-lock.txt",
            )
        },
        translations={
            "source_path.pip_requirements": _PIP,
            "source_path.prefix_in_zip": "remove it: lamina puts a layer's distributions below `python/`",
        },
        locks={"requirements-lock.txt": locked("alpha")},
    ),
    Repository(
        name="the community module with several directories",
        files={
            "main.tf": """module "create" {
  source        = "terraform-aws-modules/lambda/aws"
  function_name = "create"
  handler       = "app.handler"
  source_path   = ["${path.module}/src/create", { path = "${path.module}/src/shared" }]
"""
            + _SETTINGS
            + "}\n",
            "src/create/app.py": handler("create", "alpha", "names"),
            "src/shared/names.py": module("names"),
            "pylock.toml": locked("alpha"),
        },
        services={
            ".": Service(
                functions={"create": Function("app.handler", ("src/create/*", "src/shared/*"), "create alpha names")}
            )
        },
    ),
    Repository(
        name="a local module",
        files={
            "main.tf": """module "create" {
  source    = "./modules/function"
  name      = "create"
  directory = "${path.root}/src/create"
}
module "report" {
  source    = "./modules/function"
  name      = "report"
  directory = "src/report"
}
""",
            "modules/function/main.tf": _MODULE,
            "src/create/app.py": handler("create", "alpha"),
            "src/report/app.py": handler("report", "names"),
            "src/report/names.py": module("names"),
            "pylock.toml": locked("alpha"),
        },
        services={
            ".": Service(
                functions={
                    "create": Function("app.handler", "src/create/*", "create alpha"),
                    "report": Function("app.handler", "src/report/*", "report names"),
                }
            )
        },
    ),
    Repository(
        name="two environments with one module",
        files={
            **{
                f"envs/{name}/main.tf": f"""module "shop" {{
  source    = "../../modules/function"
  name      = "shop-{name}"
  directory = "../../src"
}}
"""
                for name in ("dev", "prod")
            },
            "modules/function/main.tf": _MODULE,
            "src/app.py": handler("create", "alpha"),
            "src/requirements.txt": "alpha\n",
        },
        services={
            ".": Service(
                functions={"shop": Function("app.handler", "src/*", "create alpha")},
                lock="requirements-lock.txt",
                command=f"{COMPILE} src/requirements.txt -o requirements-lock.txt",
            )
        },
        locks={"requirements-lock.txt": locked("alpha")},
    ),
    Repository(
        name="a directory for Terraform",
        files={
            "terraform/main.tf": 'terraform { required_version = ">= 1.5" }\n'
            + _archive("code", 'source_dir = "${path.module}/../src"')
            + _function("create", "orders.create.handler", "code"),
            "terraform/network.tf": 'resource "aws_vpc" "main" { cidr_block = "10.0.0.0/16" }\n',
            "src/orders/create.py": handler("create", "alpha", "orders.names"),
            "src/orders/names.py": module("names"),
            "pyproject.toml": project("alpha"),
            "pylock.toml": locked("alpha"),
        },
        services={".": Service(functions={"create": Function("orders.create.handler", "src/*", "create alpha names")})},
    ),
    Repository(
        name="JSON",
        files={
            "main.tf.json": document(
                {
                    "data": {
                        "archive_file": {
                            "code": {"type": "zip", "source_dir": "${path.module}/src", "output_path": "code.zip"}
                        }
                    },
                    "resource": {
                        "aws_lambda_function": {
                            "create": {
                                "function_name": "create",
                                "handler": "app.handler",
                                "runtime": "$RUNTIME",
                                "architectures": ["$ARCHITECTURE"],
                                "filename": "${data.archive_file.code.output_path}",
                            }
                        }
                    },
                }
            ),
            "src/app.py": handler("create", "alpha"),
            "pylock.toml": locked("alpha"),
        },
        services={".": Service(functions={"create": Function("app.handler", "src/*", "create alpha")})},
    ),
    Repository(
        name="a plan",
        files={
            "plan.json": document(
                {
                    "format_version": "1.2",
                    "planned_values": {
                        "root_module": {
                            "resources": [
                                {
                                    "address": "aws_lambda_function.create",
                                    "type": "aws_lambda_function",
                                    "name": "create",
                                    "values": {
                                        "handler": "app.handler",
                                        "runtime": "$RUNTIME",
                                        "architectures": ["$ARCHITECTURE"],
                                        "filename": "./code.zip",
                                        "layers": [],
                                    },
                                }
                            ]
                        }
                    },
                    "prior_state": {
                        "values": {
                            "root_module": {
                                "resources": [
                                    {
                                        "address": "data.archive_file.code",
                                        "type": "archive_file",
                                        "name": "code",
                                        "values": {"source_dir": "./src", "output_path": "./code.zip"},
                                    }
                                ]
                            }
                        }
                    },
                }
            ),
            "src/app.py": handler("create", "alpha"),
            "pylock.toml": locked("alpha"),
        },
        services={".": Service(functions={"create": Function("app.handler", "src/*", "create alpha")})},
    ),
    Repository(
        name="code in S3, and other languages",
        files={
            "main.tf": """resource "aws_lambda_function" "create" {
  function_name = "create"
  handler       = "app.handler"
  s3_bucket     = "code"
  s3_key        = "create.zip"
"""
            + _SETTINGS
            + """}
resource "aws_lambda_function" "page" {
  function_name = "page"
  handler       = "index.handler"
  runtime       = "nodejs22.x"
  filename      = "page.zip"
}
resource "aws_lambda_function" "picture" {
  function_name = "picture"
  package_type  = "Image"
  image_uri     = "picture"
}
resource "aws_lambda_function" "built" {
  function_name = "built"
  handler       = "lost.handler"
  filename      = "build/lost.zip"
"""
            + _SETTINGS
            + "}\n",
            "src/app.py": handler("create", "alpha"),
            "pylock.toml": locked("alpha"),
        },
        services={
            ".": Service(
                functions={"create": Function("app.handler", "src/*", "create alpha")},
                notes=(f"source of `create` {_GUESSED}: the code is an object in S3",),
            )
        },
        skipped={
            "page": "runtime nodejs22.x is not Python",
            "picture": "code is a container image",
            "built": "its source is unknown: `build/lost.zip` is built by something else; no file fits the handler "
            "`lost.handler`",
        },
    ),
    Repository(
        name="zips that a script builds",
        files={
            "main.tf": "".join(
                f'resource "aws_lambda_function" "{name}" {{\n  function_name = "{name}"\n  handler = "app.handler"\n'
                f'  filename = "build/{name}.zip"\n{_SETTINGS}}}\n'
                for name in ("create", "report")
            ),
            "functions/create/app.py": handler("create", "alpha", "names"),
            "functions/create/names.py": module("creating"),
            "functions/report/app.py": handler("report", "names"),
            "functions/report/names.py": module("reporting"),
            "pylock.toml": locked("alpha"),
        },
        services={
            ".": Service(
                functions={
                    "create": Function("app.handler", "functions/create/*", "create alpha creating"),
                    "report": Function("app.handler", "functions/report/*", "report reporting"),
                }
            )
        },
        skipped={
            name: f"its source is unknown: `build/{name}.zip` is built by something else; 2 files fit the handler "
            "`app.handler`"
            for name in ("create", "report")
        },
    ),
    Repository(
        name="functions for other runtimes, and a Python that this machine lacks",
        files={
            "main.tf": _archive("code", 'source_dir = "src"')
            + _function("create", "app.handler", "code", settings=_SETTINGS.replace("$RUNTIME", "$OTHER_RUNTIME"))
            + _function("report", "app.handler", "code", settings=_SETTINGS.replace("$RUNTIME", "$OTHER_RUNTIME"))
            + _function("new", "app.handler", "code"),
            "src/app.py": handler("create", "alpha"),
            "pylock.toml": locked("alpha"),
        },
        services={
            ".": Service(
                functions={
                    "create": Function("app.handler", "src/*", ""),
                    "report": Function("app.handler", "src/*", ""),
                },
                runtime=OTHER_RUNTIME,
                missing=OTHER,
            )
        },
        skipped={
            "new": f"uses {RUNTIME}, but the service is for {OTHER_RUNTIME} on {ARCHITECTURE}; "
            "give the function a service of its own"
        },
    ),
    Repository(
        name="compiled wheels for another processor",
        files={
            "main.tf": _archive("code", 'source_dir = "src"')
            + _function(
                "create", "app.handler", "code", settings=_SETTINGS.replace("$ARCHITECTURE", "$OTHER_ARCHITECTURE")
            ),
            "src/app.py": handler("create", "native"),
            "pylock.toml": locked("native"),
        },
        services={
            ".": Service(
                functions={"create": Function("app.handler", "src/*", "")},
                architecture=OTHER_ARCHITECTURE,
                missing=Missing("invoke", "wheels for Linux on $OTHER_ARCHITECTURE: `native"),
            )
        },
    ),
)
