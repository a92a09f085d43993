"""Repositories that the Serverless Framework describes."""

from __future__ import annotations

from pipeline.repositories.repository import (
    COMPILE,
    OTHER,
    OTHER_ARCHITECTURE,
    OTHER_RUNTIME,
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

_ARN = "arn:aws:lambda:eu-west-1:017000801446:layer:AWSLambdaPowertoolsPythonV3-python313-x86_64:7"
_PROVIDER = """service: shop
provider:
  name: aws
  runtime: $RUNTIME
  architecture: $ARCHITECTURE
"""

REPOSITORIES = (
    Repository(
        name="settings of the provider, and handlers as paths",
        files={
            "serverless.yml": _PROVIDER
            + """  memorySize: 512
  timeout: 20
functions:
  create:
    handler: src/handlers/create.main
    events: [{httpApi: 'POST /orders'}]
  list-orders:
    handler: src/handlers/list.main
    memorySize: 256
""",
            "src/handlers/create.py": handler("create", "alpha", "src.shared.names", function="main"),
            "src/handlers/list.py": handler("list", "beta", function="main"),
            "src/shared/names.py": module("names"),
            "pylock.toml": locked("alpha", "beta"),
        },
        services={
            ".": Service(
                functions={
                    "create": Function("src/handlers/create.main", ".", "create alpha names"),
                    "list-orders": Function("src/handlers/list.main", ".", "list beta"),
                }
            )
        },
    ),
    Repository(
        name="variables of the service itself",
        files={
            "serverless.yml": """service: shop
custom:
  stage: ${opt:stage, self:provider.stage}
  machines: {dev: $ARCHITECTURE, prod: $ARCHITECTURE}
  code: handlers
provider:
  name: aws
  stage: dev
  runtime: ${self:custom.python}
  architecture: ${self:custom.machines.${self:custom.stage}}
functions:
  create:
    handler: ${self:custom.code}/create.handler
""".replace("  code:", "  python: $RUNTIME\n  code:"),
            "handlers/create.py": handler("create", "alpha"),
            "pylock.toml": locked("alpha"),
        },
        services={".": Service(functions={"create": Function("handlers/create.handler", ".", "create alpha")})},
    ),
    Repository(
        name="functions in another file",
        files={
            "serverless.yml": _PROVIDER + "functions: ${file(config/functions.yml)}\n",
            "config/functions.yml": "create:\n  handler: app.create\nreport:\n  handler: app.report\n",
            "app.py": handler("create", "alpha", function="create") + handler("report", "names", function="report"),
            "names.py": module("names"),
            "pylock.toml": locked("alpha"),
        },
        services={
            ".": Service(
                functions={
                    "create": Function("app.create", ".", "create alpha"),
                    "report": Function("app.report", ".", "report names"),
                }
            )
        },
    ),
    Repository(
        name="a list of files with functions",
        files={
            "serverless.yml": _PROVIDER
            + """functions:
  - ${file(orders/functions.yml)}
  - ${file(billing/functions.yml)}
  - ping: {handler: ping.handler}
""",
            "orders/functions.yml": "create: {handler: orders/app.handler}\n",
            "billing/functions.yml": "invoice: {handler: billing/app.handler}\n",
            "orders/app.py": handler("create", "orders.names"),
            "orders/names.py": module("orders"),
            "billing/app.py": handler("invoice", "alpha"),
            "ping.py": handler("ping"),
            "pylock.toml": locked("alpha"),
        },
        services={
            ".": Service(
                functions={
                    "create": Function("orders/app.handler", ".", "create orders"),
                    "invoice": Function("billing/app.handler", ".", "invoice alpha"),
                    "ping": Function("ping.handler", ".", "ping"),
                }
            )
        },
    ),
    Repository(
        name="a module for each function, with the same requirements",
        files={
            "serverless.yml": _PROVIDER
            + """package: {individually: true}
functions:
  create: {handler: app.handler, module: functions/create}
  report: {handler: app.handler, module: functions/report}
plugins: [serverless-python-requirements]
""",
            "functions/create/app.py": handler("create", "alpha"),
            "functions/create/requirements.txt": "alpha\n",
            "functions/report/app.py": handler("report", "alpha", "names"),
            "functions/report/names.py": module("names"),
            "functions/report/requirements.txt": "alpha\n",
        },
        services={
            ".": Service(
                functions={
                    "create": Function("app.handler", "functions/create/*", "create alpha"),
                    "report": Function("app.handler", "functions/report/*", "report alpha names"),
                },
                lock="requirements-lock.txt",
                command=f"{COMPILE} functions/create/requirements.txt -o requirements-lock.txt",
            )
        },
        translations={
            "plugins: serverless-python-requirements": "remove the plugin after you have moved its settings: lamina builds the "
            "layers from the lock file"
        },
        locks={"requirements-lock.txt": locked("alpha")},
    ),
    Repository(
        name="a module for each function, with other requirements",
        files={
            "serverless.yml": _PROVIDER
            + """package: {individually: true}
functions:
  create: {handler: app.handler, module: create}
  report: {handler: app.handler, module: report}
""",
            "create/app.py": handler("create", "alpha"),
            "create/requirements.txt": "alpha\n",
            "report/app.py": handler("report", "beta"),
            "report/requirements.txt": "beta\n",
        },
        services={
            "create": Service(
                functions={"create": Function("app.handler", ".", "create alpha")},
                lock="create/requirements-lock.txt",
                command=f"{COMPILE} requirements.txt -o requirements-lock.txt",
            ),
            "report": Service(
                functions={"report": Function("app.handler", ".", "report beta")},
                lock="report/requirements-lock.txt",
                command=f"{COMPILE} requirements.txt -o requirements-lock.txt",
            ),
        },
        locks={"create/requirements-lock.txt": locked("alpha"), "report/requirements-lock.txt": locked("beta")},
    ),
    Repository(
        name="patterns",
        files={
            "serverless.yml": _PROVIDER
            + """package:
  patterns: ['!**', 'handlers/**', 'shared/**']
functions:
  create: {handler: handlers/create.handler}
  report: {handler: handlers.report.handler}
""",
            "handlers/create.py": handler("create", "alpha", "shared.names"),
            "handlers/report.py": handler("report", "shared.names"),
            "shared/names.py": module("names"),
            "notes/large.py": "raise SystemExit\n",
            "package.json": "{}",
            "pylock.toml": locked("alpha"),
        },
        services={
            ".": Service(
                functions={
                    "create": Function("handlers/create.handler", ("handlers", "shared"), "create alpha names"),
                    "report": Function("handlers.report.handler", ("handlers", "shared"), "report names"),
                }
            )
        },
    ),
    Repository(
        name="patterns for each function",
        files={
            "serverless.yml": _PROVIDER
            + """package:
  individually: true
  patterns: ['!./**']
functions:
  create:
    handler: orders/create.handler
    package: {patterns: ['!**', './orders/**']}
  report:
    handler: reports/report.handler
    package: {patterns: ['!**', 'reports/**', 'shared/*.py']}
""",
            "orders/create.py": handler("create", "orders.names"),
            "orders/names.py": module("names"),
            "reports/report.py": handler("report", "shared.texts", "alpha"),
            "shared/texts.py": module("texts"),
            "pylock.toml": locked("alpha"),
        },
        services={
            ".": Service(
                functions={
                    "create": Function("orders/create.handler", "orders", "create names"),
                    "report": Function("reports/report.handler", ("reports", "shared"), "report texts alpha"),
                }
            )
        },
    ),
    Repository(
        name="settings of serverless-python-requirements",
        files={
            "serverless.yml": _PROVIDER
            + """custom:
  pythonRequirements:
    layer: true
    slim: true
    slimPatterns: ['**/*.dist-info*']
    noDeploy: [boto3, botocore, beta]
    dockerizePip: non-linux
functions:
  create:
    handler: app.handler
    layers: [{Ref: PythonRequirementsLambdaLayer}]
""",
            "app.py": handler("create", "alpha"),
            "requirements.txt": "alpha\nbeta\n",
        },
        services={
            ".": Service(
                functions={"create": Function("app.handler", ".", "create alpha")},
                lock="requirements-lock.txt",
                command=f"{COMPILE} requirements.txt -o requirements-lock.txt",
                notes=("lamina's layer `common` takes the place of `pythonRequirements` (serverless.yml:8)",),
            )
        },
        translations={
            "custom.pythonRequirements.layer": "not needed: lamina always builds a layer; refer to its zip in "
            "`layers.common.package.artifact`",
            "custom.pythonRequirements.slim": "not needed: lamina leaves the wheels' files unchanged; list files to leave out in "
            "`exclude`",
            "custom.pythonRequirements.slimPatterns": "set `exclude` to these patterns",
            "custom.pythonRequirements.noDeploy": "list these distributions in `without` of the layer",
            "custom.pythonRequirements.dockerizePip": "not needed: lamina selects wheels for the target without Docker",
        },
        locks={"requirements-lock.txt": locked("alpha", "beta")},
    ),
    Repository(
        name="a distribution that is not deployed, and a group for one function",
        files={
            "serverless.yml": _PROVIDER
            + """custom:
  pythonRequirements: {noDeploy: [beta]}
functions:
  create: {handler: app.handler}
  report: {handler: app.handler}
""",
            "app.py": handler("create", "alpha"),
            "pyproject.toml": project("alpha", "beta") + "[dependency-groups]\nreport = []\n",
            "pylock.toml": locked("alpha", "beta", groups=("report",)),
            ".serverless/cloudformation-template-update-stack.json": '{"AWSTemplateFormatVersion": "2010-09-09"}',
        },
        services={
            ".": Service(
                functions={
                    "create": Function("app.handler", ".", "create alpha"),
                    "report": Function("app.handler", ".", "create alpha"),
                },
            )
        },
        translations={
            "custom.pythonRequirements.noDeploy": "list these distributions in `without` of the layer",
        },
    ),
    Repository(
        name="requirements with another name",
        files={
            "serverless.yml": _PROVIDER
            + """custom:
  pythonRequirements: {fileName: requirements/production.txt}
functions:
  create: {handler: app.handler}
""",
            "app.py": handler("create", "alpha"),
            "requirements/production.txt": "alpha\n",
        },
        services={
            ".": Service(
                functions={"create": Function("app.handler", ".", "create alpha")},
                lock="requirements-lock.txt",
                command=f"{COMPILE} requirements/production.txt -o requirements-lock.txt",
            )
        },
        translations={
            "custom.pythonRequirements.fileName": "set `lock` to this file; it needs hashes, such as those of `uv export` or "
            "`pip-compile --generate-hashes`"
        },
        locks={"requirements-lock.txt": locked("alpha")},
    ),
    Repository(
        name="parameters of stages in version 4",
        files={
            "serverless.yml": """service: shop
frameworkVersion: '4'
stages:
  default: {params: {python: $RUNTIME, size: 128}}
  dev: {params: {size: 256}}
provider:
  name: aws
  runtime: ${param:python}
  architecture: $ARCHITECTURE
  memorySize: ${param:size}
functions:
  create: {handler: src/app.handler}
""",
            "src/app.py": handler("create", "alpha"),
            "pyproject.toml": project("alpha"),
            "pylock.toml": locked("alpha"),
        },
        services={".": Service(functions={"create": Function("src/app.handler", ".", "create alpha")})},
    ),
    Repository(
        name="layers by their ARNs, and other languages",
        files={
            "serverless.yml": _PROVIDER
            + f"""  environment: {{TABLE: orders}}
functions:
  create:
    handler: app.handler
    layers: ['{_ARN}']
    environment: {{QUEUE: mail}}
  page: {{handler: page.handler, runtime: nodejs22.x}}
  picture: {{image: picture}}
  stored: {{handler: app.handler, package: {{artifact: stored.zip}}}}
""",
            "app.py": handler("create", "alpha"),
            "pylock.toml": locked("alpha"),
        },
        services={
            ".": Service(
                functions={"create": Function("app.handler", ".", "create alpha")},
                notes=(
                    f"`create` also uses the layer `{_ARN}`; lamina does not build it, so keep it in the template",
                    "the template sets `QUEUE`, `TABLE`; for local runs, pass them with `lamina invoke NAME --env QUEUE=…`",
                ),
            )
        },
        skipped={
            "page": "runtime nodejs22.x is not Python",
            "picture": "code is a container image",
            "stored": "code is a prebuilt package `stored.zip`",
        },
    ),
    Repository(
        name="JSON",
        files={
            "serverless.json": document(
                {
                    "service": "shop",
                    "provider": {"name": "aws", "runtime": "$RUNTIME", "architecture": "$ARCHITECTURE"},
                    "functions": {"create": {"handler": "app.handler"}},
                }
            ),
            "app.py": handler("create", "alpha"),
            "pylock.toml": locked("alpha"),
        },
        services={".": Service(functions={"create": Function("app.handler", ".", "create alpha")})},
    ),
    Repository(
        name="two services",
        files={
            "orders/serverless.yml": _PROVIDER + "functions:\n  create: {handler: app.handler}\n",
            "orders/app.py": handler("create", "alpha"),
            "orders/requirements.txt": "alpha\n",
            "billing/serverless.yml": _PROVIDER + "functions:\n  invoice: {handler: src/invoice.handler}\n",
            "billing/src/invoice.py": handler("invoice", "src.names"),
            "billing/src/names.py": module("names"),
        },
        services={
            "billing": Service(
                functions={"invoice": Function("src/invoice.handler", ".", "invoice names")},
                lock=None,
                command=TOUCH,
            ),
            "orders": Service(
                functions={"create": Function("app.handler", ".", "create alpha")},
                lock="orders/requirements-lock.txt",
                command=f"{COMPILE} requirements.txt -o requirements-lock.txt",
            ),
        },
        locks={"orders/requirements-lock.txt": locked("alpha")},
    ),
    Repository(
        name="a Python that this machine lacks",
        files={
            "serverless.yml": "service: shop\nprovider: {name: aws, runtime: $OTHER_RUNTIME, architecture: arm64}\n"
            "functions:\n  create: {handler: app.handler}\n",
            "app.py": handler("create", "alpha"),
            "pylock.toml": locked("alpha"),
        },
        services={
            ".": Service(
                functions={"create": Function("app.handler", ".", "")},
                runtime=OTHER_RUNTIME,
                architecture="arm64",
                missing=OTHER,
            )
        },
    ),
    Repository(
        name="compiled wheels for another processor",
        files={
            "serverless.yml": "service: shop\nprovider: {name: aws, runtime: $RUNTIME, architecture: $OTHER_ARCHITECTURE}\n"
            "functions:\n  create: {handler: app.handler}\n",
            "app.py": handler("create", "native"),
            "pylock.toml": locked("native"),
        },
        services={
            ".": Service(
                functions={"create": Function("app.handler", ".", "")},
                architecture=OTHER_ARCHITECTURE,
                missing=Missing("invoke", "wheels for Linux on $OTHER_ARCHITECTURE: `native"),
            )
        },
    ),
    Repository(
        name="a program as the description",
        files={
            "serverless.ts": "export default { functions: {} };\n",
            ".python-version": "$RUNTIME\n",
            "src/app.py": handler("create", "names"),
            "src/names.py": module("names"),
            "pylock.toml": locked("alpha"),
        },
        services={
            ".": Service(
                functions={"app": Function("app.handler", ("src/app.py", "src/names.py"), "create names")},
                architecture="x86_64",
            )
        },
        skipped={
            "serverless.ts": "it is a program; lamina reads `serverless.yml`, `serverless.yaml` and `serverless.json`"
        },
    ),
)
