"""Repositories with CDK apps in Python and TypeScript, with what `cdk synth` writes."""

from __future__ import annotations

from typing import Any

from pipeline.repositories.repository import (
    COMPILE,
    OTHER,
    OTHER_ARCHITECTURE,
    OTHER_RUNTIME,
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

_UNSYNTHESIZED = "it has no `cdk.out`: run `cdk synth` and `lamina init` again to read the functions of the app"
_PYTHON_APP = {
    ".gitignore": "__pycache__\n.venv\ncdk.out\n",
    "cdk.json": '{"app": "python3 app.py"}\n',
    "app.py": "import aws_cdk\n\napp = aws_cdk.App()\napp.synth()\n",
}
_TYPESCRIPT_APP = {
    ".gitignore": "*.js\n!jest.config.js\n*.d.ts\nnode_modules\n.cdk.staging\ncdk.out\n",
    "node_modules/aws-cdk-lib/template.yaml": "Transform: AWS::Serverless-2016-10-31\n",
    "cdk.json": '{"app": "npx ts-node bin/shop.ts"}\n',
    "package.json": '{"name": "shop"}\n',
    "bin/shop.ts": 'import * as cdk from "aws-cdk-lib";\nconst app = new cdk.App();\n',
}


def _function(path: str, asset: str, handler: str, **properties: Any) -> dict[str, Any]:
    return {
        "Type": "AWS::Lambda::Function",
        "Metadata": {"aws:cdk:path": f"{path}/Resource", "aws:asset:path": asset, "aws:asset:property": "Code"},
        "Properties": {
            "Handler": handler,
            "Runtime": "$RUNTIME",
            "Architectures": ["$ARCHITECTURE"],
            "Code": {"S3Bucket": {"Fn::Sub": "cdk-assets-${AWS::AccountId}"}, "S3Key": f"{asset[6:]}.zip"},
            **properties,
        },
    }


def _stack(*functions: dict[str, Any]) -> dict[str, Any]:
    return {"Resources": {f"Function{number}": each for number, each in enumerate(functions)}}


def _output(*, directory: str = "cdk.out", **stacks: dict[str, Any]) -> dict[str, str]:
    """Return the files of a cloud assembly with *stacks*."""
    artifacts = {
        name: {"type": "aws:cloudformation:stack", "properties": {"templateFile": f"{name}.template.json"}}
        for name in stacks
    }
    return {
        f"{directory}/manifest.json": document({"version": "48.0.0", "artifacts": artifacts}),
        **{f"{directory}/{name}.template.json": document(stack) for name, stack in stacks.items()},
    }


def _staged(asset: str, sources: dict[str, str], *, output: str = "cdk.out") -> dict[str, str]:
    """Return copies of the *sources*, paths below their directory, as the asset."""
    return {f"{output}/{asset}/{path}": content for path, content in sources.items()}


def _placed(directory: str, sources: dict[str, str]) -> dict[str, str]:
    return {f"{directory}/{path}": content for path, content in sources.items()}


_CREATE = {"index.py": handler("create", "alpha", "names"), "names.py": module("creating")}
_REPORT = {"index.py": handler("report", "names"), "names.py": module("reporting")}
_PACKAGE = {
    "orders/__init__.py": "",
    "orders/create.py": handler("create", "alpha", "shared.names"),
    "orders/report.py": handler("report", "shared.names"),
    "shared/names.py": module("names"),
}

REPOSITORIES = (
    Repository(
        name="a Python app with one function",
        files={
            **_PYTHON_APP,
            **_output(Shop=_stack(_function("Shop/Create", "asset.1", "index.handler", MemorySize=512))),
            **_staged("asset.1", _CREATE),
            **_placed("lambda", _CREATE),
            "requirements.txt": "aws-cdk-lib\n",
            "lambda/requirements.txt": "alpha\n",
            **_staged("asset.1", {"requirements.txt": "alpha\n"}),
        },
        services={
            ".": Service(
                functions={"Create": Function("index.handler", "lambda/*", "create alpha creating")},
                lock="requirements-lock.txt",
                command=f"{COMPILE} lambda/requirements.txt -o requirements-lock.txt",
            )
        },
        locks={"requirements-lock.txt": locked("alpha")},
    ),
    Repository(
        name="a TypeScript app with one function",
        files={
            **_TYPESCRIPT_APP,
            **_output(Shop=_stack(_function("Shop/Create", "asset.1", "index.handler"))),
            **_staged("asset.1", _CREATE),
            **_placed("lambda/create", _CREATE),
            "pylock.toml": locked("alpha"),
        },
        services={
            ".": Service(functions={"Create": Function("index.handler", "lambda/create/*", "create alpha creating")})
        },
    ),
    Repository(
        name="a TypeScript app with a directory for each function",
        files={
            **_TYPESCRIPT_APP,
            **_output(
                Shop=_stack(
                    _function("Shop/Create", "asset.1", "index.handler"),
                    _function("Shop/Report", "asset.2", "index.handler"),
                )
            ),
            **_staged("asset.1", _CREATE),
            **_staged("asset.2", _REPORT),
            **_placed("lambda/create", _CREATE),
            **_placed("lambda/report", _REPORT),
            "pylock.toml": locked("alpha"),
        },
        services={
            ".": Service(
                functions={
                    "Create": Function("index.handler", "lambda/create/*", "create alpha creating"),
                    "Report": Function("index.handler", "lambda/report/*", "report reporting"),
                }
            )
        },
    ),
    Repository(
        name="a Python app with functions in one package",
        files={
            **_PYTHON_APP,
            **_output(
                Shop=_stack(
                    _function("Shop/Create", "asset.1", "orders.create.handler"),
                    _function("Shop/Report", "asset.1", "orders.report.handler"),
                )
            ),
            **_staged("asset.1", _PACKAGE),
            **_placed("src", _PACKAGE),
            "pyproject.toml": project("alpha"),
            "pylock.toml": locked("alpha"),
        },
        services={
            ".": Service(
                functions={
                    "Create": Function("orders.create.handler", "src/*", "create alpha names"),
                    "Report": Function("orders.report.handler", "src/*", "report names"),
                }
            )
        },
    ),
    Repository(
        name="two stages",
        files={
            **_PYTHON_APP,
            "cdk.out/manifest.json": document(
                {
                    "version": "48.0.0",
                    "artifacts": {
                        f"assembly-{stage}": {
                            "type": "cdk:cloud-assembly",
                            "properties": {"directoryName": f"assembly-{stage}"},
                        }
                        for stage in ("Dev", "Prod")
                    },
                }
            ),
            **_output(
                directory="cdk.out/assembly-Dev",
                DevShop=_stack(_function("Dev/Shop/Create", "../asset.1", "index.handler", MemorySize=128)),
            ),
            **_output(
                directory="cdk.out/assembly-Prod",
                ProdShop=_stack(_function("Prod/Shop/Create", "../asset.1", "index.handler", MemorySize=512)),
            ),
            **_staged("asset.1", _CREATE),
            **_placed("runtime", _CREATE),
            "pylock.toml": locked("alpha"),
        },
        services={".": Service(functions={"Create": Function("index.handler", "runtime/*", "create alpha creating")})},
    ),
    Repository(
        name="a nested stack",
        files={
            **_TYPESCRIPT_APP,
            **_output(
                Shop={
                    "Resources": {
                        "Nested": {
                            "Type": "AWS::CloudFormation::Stack",
                            "Metadata": {"aws:asset:path": "ShopNested.nested.template.json"},
                            "Properties": {"TemplateURL": {"Fn::Join": ["", ["https://s3/", "nested.json"]]}},
                        }
                    }
                }
            ),
            "cdk.out/ShopNested.nested.template.json": document(
                _stack(_function("Shop/Nested/Create", "asset.1", "index.handler"))
            ),
            **_staged("asset.1", _CREATE),
            **_placed("lambda", _CREATE),
            "pylock.toml": locked("alpha"),
        },
        services={".": Service(functions={"Create": Function("index.handler", "lambda/*", "create alpha creating")})},
    ),
    Repository(
        name="a bundled asset with its dependencies",
        files={
            **_PYTHON_APP,
            **_output(Shop=_stack(_function("Shop/Create", "asset.1", "index.handler"))),
            **_staged(
                "asset.1",
                {**_CREATE, "alpha.py": module("alpha"), "alpha-1.0.dist-info/METADATA": "Name: alpha\n"},
            ),
            **_placed("functions/create", _CREATE),
            "functions/create/requirements.txt": "alpha\n",
        },
        services={
            ".": Service(
                functions={"Create": Function("index.handler", "functions/create/*", "create alpha creating")},
                lock="requirements-lock.txt",
                command=f"{COMPILE} functions/create/requirements.txt -o requirements-lock.txt",
            )
        },
        locks={"requirements-lock.txt": locked("alpha")},
    ),
    Repository(
        name="other requirements for each function",
        files={
            **_TYPESCRIPT_APP,
            **_output(
                Shop=_stack(
                    _function("Shop/Create", "asset.1", "create.handler"),
                    _function("Shop/Report", "asset.2", "report.handler"),
                )
            ),
            **_staged("asset.1", {"create.py": handler("create", "alpha"), "requirements.txt": "alpha\n"}),
            **_staged("asset.2", {"report.py": handler("report", "beta"), "requirements.txt": "beta\n"}),
            **_placed("lambda/create", {"create.py": handler("create", "alpha"), "requirements.txt": "alpha\n"}),
            **_placed("lambda/report", {"report.py": handler("report", "beta"), "requirements.txt": "beta\n"}),
        },
        services={
            "lambda/create": Service(
                functions={"Create": Function("create.handler", ".", "create alpha")},
                lock="lambda/create/requirements-lock.txt",
                command=f"{COMPILE} requirements.txt -o requirements-lock.txt",
            ),
            "lambda/report": Service(
                functions={"Report": Function("report.handler", ".", "report beta")},
                lock="lambda/report/requirements-lock.txt",
                command=f"{COMPILE} requirements.txt -o requirements-lock.txt",
            ),
        },
        locks={
            "lambda/create/requirements-lock.txt": locked("alpha"),
            "lambda/report/requirements-lock.txt": locked("beta"),
        },
    ),
    Repository(
        name="an app in infra",
        files={
            **{f"infra/{path}": content for path, content in _TYPESCRIPT_APP.items()},
            **_output(
                directory="infra/cdk.out", Shop=_stack(_function("Shop/Create", "asset.1", "orders.create.handler"))
            ),
            **_staged("asset.1", _PACKAGE, output="infra/cdk.out"),
            **_placed("src", _PACKAGE),
            "pyproject.toml": project("alpha"),
            "pylock.toml": locked("alpha"),
        },
        services={".": Service(functions={"Create": Function("orders.create.handler", "src/*", "create alpha names")})},
    ),
    Repository(
        name="functions that the CDK adds, and other languages",
        files={
            **_TYPESCRIPT_APP,
            **_output(
                Shop=_stack(
                    _function("Shop/Create", "asset.1", "index.handler"),
                    _function("Shop/LogRetentionaae0aa3c5b4d4f87b02d85b201efdd8a", "asset.9", "index.handler"),
                    _function("Shop/Page", "asset.8", "index.handler", Runtime="nodejs22.x"),
                )
            ),
            **_staged("asset.1", _CREATE),
            **_placed("lambda", _CREATE),
            "pylock.toml": locked("alpha"),
        },
        services={".": Service(functions={"Create": Function("index.handler", "lambda/*", "create alpha creating")})},
        skipped={
            "LogRetentionaae0aa3c5b4d4f87b02d85b201efdd8a": "the AWS CDK adds this for log retention",
            "Page": "runtime nodejs22.x is not Python",
        },
    ),
    Repository(
        name="a Python app that was not synthesized",
        files={
            **_PYTHON_APP,
            "stacks/shop.py": "from aws_cdk import aws_lambda\n\nRUNTIME = aws_lambda.Runtime.$CDK_RUNTIME\n"
            "ARCHITECTURE = aws_lambda.Architecture.$CDK_ARCHITECTURE\n",
            **_placed("lambda", _CREATE),
            "pylock.toml": locked("alpha"),
        },
        services={".": Service(functions={"lambda": Function("index.handler", "lambda/*", "create alpha creating")})},
        skipped={"cdk.json": _UNSYNTHESIZED},
    ),
    Repository(
        name="a TypeScript app in infra that was not synthesized",
        files={
            **{f"infra/{path}": content for path, content in _TYPESCRIPT_APP.items()},
            "infra/lib/shop.ts": "new lambda.Function(this, 'Create', {\n  runtime: lambda.Runtime.$CDK_RUNTIME,\n"
            "  architecture: lambda.Architecture.$CDK_ARCHITECTURE,\n});\n",
            **_placed("functions/create", _CREATE),
            **_placed("functions/report", _REPORT),
            "pylock.toml": locked("alpha"),
        },
        services={
            ".": Service(
                functions={
                    "create": Function("index.handler", "functions/create/*", "create alpha creating"),
                    "report": Function("index.handler", "functions/report/*", "report reporting"),
                }
            )
        },
        skipped={"infra/cdk.json": _UNSYNTHESIZED},
    ),
    Repository(
        name="a Python that this machine lacks",
        files={
            **_PYTHON_APP,
            **_output(Shop=_stack(_function("Shop/Create", "asset.1", "index.handler", Runtime="$OTHER_RUNTIME"))),
            **_staged("asset.1", _CREATE),
            **_placed("lambda", _CREATE),
            "pylock.toml": locked("alpha"),
        },
        services={
            ".": Service(
                functions={"Create": Function("index.handler", "lambda/*", "")}, runtime=OTHER_RUNTIME, missing=OTHER
            )
        },
    ),
    Repository(
        name="compiled wheels for another processor",
        files={
            **_TYPESCRIPT_APP,
            **_output(
                Shop=_stack(_function("Shop/Create", "asset.1", "index.handler", Architectures=["$OTHER_ARCHITECTURE"]))
            ),
            **_staged("asset.1", {"index.py": handler("create", "native")}),
            **_placed("lambda", {"index.py": handler("create", "native")}),
            "pylock.toml": locked("native"),
        },
        services={
            ".": Service(
                functions={"Create": Function("index.handler", "lambda/*", "")},
                architecture=OTHER_ARCHITECTURE,
                missing=Missing("invoke", "wheels for Linux on $OTHER_ARCHITECTURE: `native"),
            )
        },
    ),
)
