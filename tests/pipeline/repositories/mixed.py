"""Repositories with several deploy descriptions."""

from __future__ import annotations

from pipeline.repositories.repository import TOUCH, Function, Repository, Service, handler, locked, module, project

_SAM = """Transform: AWS::Serverless-2016-10-31
Globals:
  Function: {Runtime: $RUNTIME, Architectures: [$ARCHITECTURE]}
Resources:
  %s:
    Type: AWS::Serverless::Function
    Properties: {CodeUri: %s, Handler: %s}
"""
_SERVERLESS = """service: shop
provider: {name: aws, runtime: $RUNTIME, architecture: $ARCHITECTURE}
functions:
  %s: {handler: %s}
"""
_TERRAFORM = """data "archive_file" "code" {
  type        = "zip"
  source_dir  = "${path.module}/%s"
  output_path = "code.zip"
}
resource "aws_lambda_function" "%s" {
  function_name = "shop"
  handler       = "%s"
  runtime       = "$RUNTIME"
  architectures = ["$ARCHITECTURE"]
  filename      = data.archive_file.code.output_path
}
"""

REPOSITORIES = (
    Repository(
        name="a service with SAM and one with the Serverless Framework",
        files={
            "orders/template.yaml": _SAM % ("Create", "src", "app.handler"),
            "orders/src/app.py": handler("create", "alpha"),
            "orders/pylock.toml": locked("alpha"),
            "billing/serverless.yml": _SERVERLESS % ("invoice", "app.handler"),
            "billing/app.py": handler("invoice", "beta"),
            "billing/pylock.toml": locked("beta"),
        },
        services={
            "billing": Service(
                functions={"invoice": Function("app.handler", ".", "invoice beta")}, lock="billing/pylock.toml"
            ),
            "orders": Service(
                functions={"Create": Function("app.handler", "src/*", "create alpha")}, lock="orders/pylock.toml"
            ),
        },
    ),
    Repository(
        name="SAM for the functions, Terraform for the rest",
        files={
            "template.yaml": _SAM % ("Create", "src", "app.handler"),
            "terraform/main.tf": 'resource "aws_dynamodb_table" "orders" { name = "orders" }\n',
            "src/app.py": handler("create", "names"),
            "src/names.py": module("names"),
            "pyproject.toml": project("alpha"),
            "pylock.toml": locked("alpha"),
        },
        services={".": Service(functions={"Create": Function("app.handler", "src/*", "create names")})},
    ),
    Repository(
        name="SAM and Terraform for different functions of one project",
        files={
            "template.yaml": _SAM % ("Create", "src/orders", "create.handler"),
            "terraform/main.tf": _TERRAFORM % ("../src/billing", "invoice", "invoice.handler"),
            "src/orders/create.py": handler("create", "alpha"),
            "src/billing/invoice.py": handler("invoice", "names"),
            "src/billing/names.py": module("names"),
            "pyproject.toml": project("alpha"),
            "pylock.toml": locked("alpha"),
        },
        services={
            ".": Service(
                functions={
                    "Create": Function("create.handler", "src/orders/*", "create alpha"),
                    "invoice": Function("invoice.handler", "src/billing/*", "invoice names"),
                }
            )
        },
    ),
    Repository(
        name="SAM for local runs of the functions that Terraform deploys",
        files={
            "template.yaml": _SAM % ("create", "src", "app.handler"),
            "main.tf": _TERRAFORM % ("src", "create", "app.handler"),
            "src/app.py": handler("create", "alpha"),
            "pylock.toml": locked("alpha"),
        },
        services={".": Service(functions={"create": Function("app.handler", "src/*", "create alpha")})},
    ),
    Repository(
        name="SAM without dependencies in the project of a Serverless service",
        files={
            "serverless.yml": _SERVERLESS % ("create", "app.handler"),
            "app.py": handler("create", "names"),
            "names.py": module("names"),
            "jobs/template.yaml": _SAM % ("Nightly", "src", "job.handler"),
            "jobs/src/job.py": handler("nightly", "texts"),
            "jobs/src/texts.py": module("texts"),
        },
        services={
            ".": Service(functions={"create": Function("app.handler", ".", "create names")}, lock=None, command=TOUCH),
            "jobs": Service(
                functions={"Nightly": Function("job.handler", "src/*", "nightly texts")}, lock=None, command=TOUCH
            ),
        },
    ),
)
