"""Repositories that SAM and CloudFormation describe."""

from __future__ import annotations

from pipeline.repositories.repository import (
    ARCHITECTURE,
    COMPILE,
    OTHER,
    OTHER_ARCHITECTURE,
    OTHER_RUNTIME,
    RUNTIME,
    TOUCH,
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

_SAM = "Transform: AWS::Serverless-2016-10-31\n"
_GLOBALS = f"""{_SAM}Globals:
  Function:
    Runtime: $RUNTIME
    Architectures: [$ARCHITECTURE]
Resources:
"""


def _function(name: str, code: str, handler: str, *more: str) -> str:
    lines = [f"  {name}:", "    Type: AWS::Serverless::Function", "    Properties:", f"      CodeUri: {code}"]
    return "\n".join([*lines, f"      Handler: {handler}", *(f"      {line}" for line in more)]) + "\n"


REPOSITORIES = (
    Repository(
        name="one function with requirements, as `sam init` makes it",
        files={
            "template.yaml": _SAM
            + "Resources:\n"
            + _function(
                "HelloWorldFunction",
                "hello_world/",
                "app.lambda_handler",
                "Runtime: $RUNTIME",
                "Architectures: [$ARCHITECTURE]",
            ),
            "hello_world/__init__.py": "",
            "hello_world/app.py": handler("hello", "alpha", "helper", function="lambda_handler"),
            "hello_world/helper.py": module("helper"),
            "hello_world/requirements.txt": "alpha\n",
            "events/event.json": "{}",
            # What `sam build` leaves behind.
            ".aws-sam/build/template.yaml": _GLOBALS + _function("HelloWorldFunction", "Hello", "app.lambda_handler"),
            ".aws-sam/build/Hello/app.py": handler("old", function="lambda_handler"),
            "tests/unit/test_handler.py": handler("test"),
        },
        services={
            ".": Service(
                functions={"HelloWorldFunction": Function("app.lambda_handler", "hello_world/*", "hello alpha helper")},
                lock="requirements-lock.txt",
                command=f"{COMPILE} hello_world/requirements.txt -o requirements-lock.txt",
            )
        },
        locks={"requirements-lock.txt": locked("alpha")},
    ),
    Repository(
        name="globals and a package in src",
        files={
            "template.yaml": _GLOBALS
            + _function("Create", "src/", "orders.create.handler")
            + _function("Report", "./src", "orders.report.handler", "MemorySize: 512", "Timeout: 20"),
            "src/orders/__init__.py": "",
            "src/orders/create.py": handler("create", "alpha", "shared.names"),
            "src/orders/report.py": handler("report", "shared.names", "beta"),
            "src/shared/names.py": module("names"),
            "pyproject.toml": project("alpha", "beta"),
            "pylock.toml": locked("alpha", "beta"),
        },
        services={
            ".": Service(
                functions={
                    "Create": Function("orders.create.handler", "src/*", "create alpha names"),
                    "Report": Function("orders.report.handler", "src/*", "report names beta"),
                }
            )
        },
    ),
    Repository(
        name="a directory for each function with the same file names",
        files={
            "template.yml": _GLOBALS
            + _function("Create", "functions/create/", "app.handler")
            + _function("Report", "functions/report/", "app.handler"),
            "functions/create/app.py": handler("create", "helper", "alpha"),
            "functions/create/helper.py": module("creating"),
            "functions/report/app.py": handler("report", "helper"),
            "functions/report/helper.py": module("reporting"),
            "pylock.toml": locked("alpha"),
        },
        services={
            ".": Service(
                functions={
                    "Create": Function("app.handler", "functions/create/*", "create creating alpha"),
                    "Report": Function("app.handler", "functions/report/*", "report reporting"),
                }
            )
        },
    ),
    Repository(
        name="the same requirements for each function",
        files={
            "template.yaml": _GLOBALS
            + _function("Create", "create/", "app.handler")
            + _function("Report", "report/", "app.handler"),
            "create/app.py": handler("create", "alpha"),
            "create/requirements.txt": "alpha==1.0\n",
            "report/app.py": handler("report", "alpha"),
            "report/requirements.txt": "alpha==1.0\n",
        },
        services={
            ".": Service(
                functions={
                    "Create": Function("app.handler", "create/*", "create alpha"),
                    "Report": Function("app.handler", "report/*", "report alpha"),
                },
                lock="requirements-lock.txt",
                command=f"{COMPILE} create/requirements.txt -o requirements-lock.txt",
            )
        },
        locks={"requirements-lock.txt": locked("alpha")},
    ),
    Repository(
        name="other requirements for each function",
        files={
            "template.yaml": _GLOBALS
            + _function("Create", "create/", "app.handler")
            + _function("Report", "report/", "app.handler"),
            "create/app.py": handler("create", "alpha"),
            "create/requirements.txt": "alpha\n",
            "report/app.py": handler("report", "beta"),
            "report/requirements.txt": "beta\n",
        },
        services={
            "create": Service(
                functions={"Create": Function("app.handler", ".", "create alpha")},
                lock="create/requirements-lock.txt",
                command=f"{COMPILE} requirements.txt -o requirements-lock.txt",
            ),
            "report": Service(
                functions={"Report": Function("app.handler", ".", "report beta")},
                lock="report/requirements-lock.txt",
                command=f"{COMPILE} requirements.txt -o requirements-lock.txt",
            ),
        },
        locks={"create/requirements-lock.txt": locked("alpha"), "report/requirements-lock.txt": locked("beta")},
    ),
    Repository(
        name="a project for one of the functions",
        files={
            "template.yaml": _GLOBALS
            + _function("Create", "create/", "app.handler")
            + _function("Report", "report/src", "report.app.handler"),
            "create/app.py": handler("create", "names"),
            "create/names.py": module("names"),
            "report/pyproject.toml": project("beta"),
            "report/pylock.toml": locked("beta"),
            "report/src/report/app.py": handler("report", "beta"),
        },
        services={
            ".": Service(
                functions={"Create": Function("app.handler", "create/*", "create names")}, lock=None, command=TOUCH
            ),
            "report": Service(
                functions={"Report": Function("report.app.handler", "src/*", "report beta")}, lock="report/pylock.toml"
            ),
        },
    ),
    Repository(
        name="a project for each function, and one lock for all",
        files={
            "template.yaml": _GLOBALS
            + _function("Create", "services/orders/src", "orders.app.handler")
            + _function("Invoice", "services/billing", "app.handler"),
            "pyproject.toml": "[tool.ruff]\nline-length = 100\n",
            "pylock.toml": locked("alpha", "beta"),
            "services/orders/pyproject.toml": project("alpha"),
            "services/orders/src/orders/app.py": handler("create", "alpha", "orders.names"),
            "services/orders/src/orders/names.py": module("names"),
            "services/billing/pyproject.toml": project("beta"),
            "services/billing/app.py": handler("invoice", "beta"),
        },
        services={
            "services/billing": Service(functions={"Invoice": Function("app.handler", ".", "invoice beta")}),
            "services/orders": Service(
                functions={"Create": Function("orders.app.handler", "src/*", "create alpha names")}
            ),
        },
    ),
    Repository(
        name="two templates with the same names in one project",
        files={
            "stacks/orders.yaml": _GLOBALS + _function("Function", "../src/orders", "app.handler"),
            "stacks/billing.yaml": _GLOBALS + _function("Function", "../src/billing", "app.handler"),
            "src/orders/app.py": handler("orders", "alpha"),
            "src/billing/app.py": handler("billing", "names"),
            "src/billing/names.py": module("names"),
            "pyproject.toml": project("alpha"),
            "pylock.toml": locked("alpha"),
        },
        services={
            ".": Service(
                functions={
                    "Function": Function("app.handler", "src/billing/*", "billing names"),
                    "Function-2": Function("app.handler", "src/orders/*", "orders alpha"),
                },
                notes=("`Function` (stacks/orders.yaml:7) is named `Function-2` here",),
            )
        },
    ),
    Repository(
        name="requirements for one function, none for the other",
        files={
            "template.yaml": _GLOBALS
            + _function("Create", "create/", "app.handler")
            + _function("Ping", "ping/", "app.handler"),
            "create/app.py": handler("create", "alpha"),
            "create/requirements.txt": "alpha\n",
            "ping/app.py": handler("ping"),
        },
        services={
            ".": Service(
                functions={
                    "Create": Function("app.handler", "create/*", "create alpha"),
                    "Ping": Function("app.handler", "ping/*", "ping"),
                },
                lock="requirements-lock.txt",
                command=f"{COMPILE} create/requirements.txt -o requirements-lock.txt",
            ),
        },
        locks={"requirements-lock.txt": locked("alpha")},
    ),
    Repository(
        name="a layer with requirements",
        files={
            "template.yaml": _GLOBALS
            + _function("Create", "create/", "app.handler", "Layers: [!Ref Libraries]")
            + "  Libraries:\n    Type: AWS::Serverless::LayerVersion\n    Metadata: {BuildMethod: $RUNTIME}\n"
            + "    Properties: {ContentUri: libraries/}\n",
            "create/app.py": handler("create", "alpha"),
            "libraries/requirements.txt": "alpha\n",
        },
        services={
            ".": Service(
                functions={"Create": Function("app.handler", "create/*", "create alpha")},
                lock="requirements-lock.txt",
                command=f"{COMPILE} libraries/requirements.txt -o requirements-lock.txt",
                notes=("lamina's layer `common` takes the place of `Libraries` (template.yaml:13)",),
            ),
        },
        translations={
            f"Metadata.BuildMethod: {RUNTIME}": "lamina builds the layer from the lock file; set `ContentUri` of `Libraries` to "
            "lamina's zip and remove `BuildMethod`"
        },
        locks={"requirements-lock.txt": locked("alpha")},
    ),
    Repository(
        name="CloudFormation in JSON",
        files={
            "stack.json": document(
                {
                    "AWSTemplateFormatVersion": "2010-09-09",
                    "Resources": {
                        "Create": {
                            "Type": "AWS::Lambda::Function",
                            "Properties": {
                                "Code": "code/create",
                                "Handler": "index.handler",
                                "Runtime": "$RUNTIME",
                                "Architectures": ["$ARCHITECTURE"],
                            },
                        },
                        "Inline": {
                            "Type": "AWS::Lambda::Function",
                            "Properties": {
                                "Code": {"ZipFile": "def handler(event, context): ..."},
                                "Handler": "index.handler",
                                "Runtime": "$RUNTIME",
                            },
                        },
                        "Stored": {
                            "Type": "AWS::Lambda::Function",
                            "Properties": {
                                "Code": {"S3Bucket": "code", "S3Key": "stored.zip"},
                                "Handler": "index.handler",
                                "Runtime": "$RUNTIME",
                            },
                        },
                    },
                }
            ),
            "code/create/index.py": handler("create", "alpha"),
            "pylock.toml": locked("alpha"),
        },
        services={".": Service(functions={"Create": Function("index.handler", "code/create/*", "create alpha")})},
        skipped={"Inline": "code is inline in the template", "Stored": "code is in S3"},
    ),
    Repository(
        name="a template in infra",
        files={
            "infra/template.yaml": _GLOBALS + _function("Create", "../src", "orders.create.handler"),
            "src/orders/create.py": handler("create", "alpha", "orders.names"),
            "src/orders/names.py": module("names"),
            "pyproject.toml": project("alpha"),
            "pylock.toml": locked("alpha"),
        },
        services={".": Service(functions={"Create": Function("orders.create.handler", "src/*", "create alpha names")})},
    ),
    Repository(
        name="a template in infra, without dependencies",
        files={
            "infra/template.yaml": _GLOBALS + _function("Create", "../src", "create.handler"),
            "src/create.py": handler("create", "names"),
            "src/names.py": module("names"),
        },
        services={
            ".": Service(
                functions={"Create": Function("create.handler", "src/*", "create names")}, lock=None, command=TOUCH
            )
        },
    ),
    Repository(
        name="a template for each service",
        files={
            "services/orders/template.yaml": _GLOBALS + _function("Create", "src", "app.handler"),
            "services/orders/src/app.py": handler("create", "alpha"),
            "services/orders/pylock.toml": locked("alpha"),
            "services/billing/template.yaml": _GLOBALS + _function("Invoice", ".", "billing.app.handler"),
            "services/billing/billing/app.py": handler("invoice", "beta", "billing.names"),
            "services/billing/billing/names.py": module("names"),
            "services/billing/pylock.toml": locked("beta"),
        },
        services={
            "services/billing": Service(
                functions={"Invoice": Function("billing.app.handler", ".", "invoice beta names")},
                lock="services/billing/pylock.toml",
            ),
            "services/orders": Service(
                functions={"Create": Function("app.handler", "src/*", "create alpha")},
                lock="services/orders/pylock.toml",
            ),
        },
    ),
    Repository(
        name="parameters from samconfig.toml",
        files={
            "template.yaml": f"""{_SAM}Parameters:
  Python: {{Type: String}}
  Machine: {{Type: String, Default: $ARCHITECTURE}}
  Size: {{Type: Number, Default: 256}}
Resources:
"""
            + _function(
                "Create",
                "src",
                "app.handler",
                "Runtime: !Ref Python",
                "Architectures: [!Ref Machine]",
                "MemorySize: !Ref Size",
            ),
            "samconfig.toml": 'version = 0.1\n[default.deploy.parameters]\nparameter_overrides = "Python=$RUNTIME"\n',
            "src/app.py": handler("create", "alpha"),
            "pylock.toml": locked("alpha"),
        },
        services={".": Service(functions={"Create": Function("app.handler", "src/*", "create alpha")})},
    ),
    Repository(
        name="a loop",
        files={
            "template.yaml": """Transform: [AWS::LanguageExtensions, AWS::Serverless-2016-10-31]
Globals:
  Function: {Runtime: $RUNTIME, Architectures: [$ARCHITECTURE]}
Resources:
  Fn::ForEach::Functions:
    - Name
    - [create, report]
    - Function${Name}:
        Type: AWS::Serverless::Function
        Properties:
          CodeUri: !Sub functions/${Name}
          Handler: !Sub ${Name}.handler
""",
            "functions/create/create.py": handler("create", "alpha"),
            "functions/report/report.py": handler("report", "names"),
            "functions/report/names.py": module("names"),
            "pylock.toml": locked("alpha"),
        },
        services={
            ".": Service(
                functions={
                    "Functioncreate": Function("create.handler", "functions/create/*", "create alpha"),
                    "Functionreport": Function("report.handler", "functions/report/*", "report names"),
                }
            )
        },
    ),
    Repository(
        name="nested stacks",
        files={
            "template.yaml": f"""{_SAM}Resources:
  Orders:
    Type: AWS::Serverless::Application
    Properties:
      Location: stacks/orders.yaml
      Parameters: {{Machine: $ARCHITECTURE}}
  Billing:
    Type: AWS::CloudFormation::Stack
    Properties:
      TemplateURL: stacks/billing.yaml
""",
            "stacks/orders.yaml": f"{_SAM}Parameters: {{Machine: {{Type: String}}}}\nResources:\n"
            + _function("Api", "../src/orders", "app.handler", "Runtime: $RUNTIME", "Architectures: [!Ref Machine]"),
            "stacks/billing.yaml": _GLOBALS + _function("Api", "../src/billing", "app.handler"),
            "src/orders/app.py": handler("orders", "alpha"),
            "src/billing/app.py": handler("billing", "names"),
            "src/billing/names.py": module("names"),
            "pylock.toml": locked("alpha"),
        },
        services={
            ".": Service(
                functions={
                    "OrdersApi": Function("app.handler", "src/orders/*", "orders alpha"),
                    "BillingApi": Function("app.handler", "src/billing/*", "billing names"),
                }
            )
        },
    ),
    Repository(
        name="functions for other languages and runtimes",
        files={
            "template.yaml": _SAM
            + "Globals: {Function: {Runtime: $RUNTIME}}\nResources:\n"
            + _function("Create", "src", "app.handler", "Architectures: [$ARCHITECTURE]")
            + _function("Report", "src", "app.handler", "Architectures: [$ARCHITECTURE]")
            + _function("Page", "web", "index.handler", "Runtime: nodejs22.x")
            + _function("Old", "old", "app.handler", "Runtime: $OTHER_RUNTIME")
            + _function("Moved", "src", "app.handler", "Architectures: [$OTHER_ARCHITECTURE]")
            + "  Picture:\n    Type: AWS::Serverless::Function\n    Properties: {PackageType: Image}\n",
            "src/app.py": handler("create"),
            "old/app.py": handler("old"),
        },
        services={
            ".": Service(
                functions={
                    "Create": Function("app.handler", "src/*", "create"),
                    "Report": Function("app.handler", "src/*", "create"),
                },
                lock=None,
                command=TOUCH,
            )
        },
        skipped={
            "Page": "runtime nodejs22.x is not Python",
            "Picture": "code is a container image",
            "Old": f"uses {OTHER_RUNTIME}, but the service is for {RUNTIME} on {ARCHITECTURE}; "
            "give the function a service of its own",
            "Moved": f"uses {OTHER_ARCHITECTURE}, but the service is for {RUNTIME} on {ARCHITECTURE}; "
            "give the function a service of its own",
        },
    ),
    Repository(
        name="a Python that this machine lacks",
        files={
            "template.yaml": _SAM
            + "Resources:\n"
            + _function("Create", "src", "app.handler", "Runtime: $OTHER_RUNTIME"),
            "src/app.py": handler("create", "alpha"),
            "pylock.toml": locked("alpha"),
        },
        services={
            ".": Service(
                functions={"Create": Function("app.handler", "src/*", "")},
                runtime=OTHER_RUNTIME,
                architecture="x86_64",
                missing=OTHER,
            )
        },
    ),
    Repository(
        name="compiled wheels for another processor",
        files={
            "template.yaml": _SAM
            + "Resources:\n"
            + _function("Create", "src", "app.handler", "Runtime: $RUNTIME", "Architectures: [$OTHER_ARCHITECTURE]"),
            "src/app.py": handler("create", "native"),
            "pylock.toml": locked("native"),
        },
        services={
            ".": Service(
                functions={"Create": Function("app.handler", "src/*", "")},
                architecture=OTHER_ARCHITECTURE,
                missing=Missing("invoke", "the layers contain wheels for Linux on $OTHER_ARCHITECTURE: `native"),
            )
        },
    ),
    Repository(
        name="the whole repository as the code of each function",
        files={
            "template.yaml": _GLOBALS
            + _function("Create", ".", "src.create.handler")
            + _function("Report", "./", "src/report.handler"),
            "src/create.py": handler("create", "src.shared.names"),
            "src/report.py": handler("report", "alpha"),
            "src/shared/names.py": module("names"),
            "pyproject.toml": project("alpha"),
            "pylock.toml": locked("alpha"),
        },
        services={
            ".": Service(
                functions={
                    "Create": Function("src.create.handler", ".", "create names"),
                    "Report": Function("src/report.handler", ".", "report alpha"),
                }
            )
        },
    ),
)
