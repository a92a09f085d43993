"""Repositories without a deploy description: the handlers are found in the sources."""

from __future__ import annotations

from built import MINOR
from pipeline.repositories.repository import (
    ARCHITECTURE,
    COMPILE,
    TOUCH,
    Function,
    Repository,
    Service,
    handler,
    locked,
    module,
    project,
)

_PYTHON = {".python-version": f"{MINOR}\n"}

REPOSITORIES = (
    Repository(
        name="src layout",
        files={
            "pyproject.toml": project("alpha"),
            "pylock.toml": locked("alpha"),
            "src/orders/__init__.py": "",
            "src/orders/create.py": handler("create", "alpha", "shared.names", function="lambda_handler"),
            "src/orders/report.py": handler("report", "shared.names"),
            "src/shared/names.py": module("names"),
            "src/unused.py": module("unused"),
            "tests/test_create.py": handler("test"),
        },
        services={
            ".": Service(
                functions={
                    "create": Function(
                        "orders.create.lambda_handler", ("src/orders", "src/shared"), "create alpha names"
                    ),
                    "report": Function("orders.report.handler", ("src/orders", "src/shared"), "report names"),
                },
                architecture="x86_64",
            )
        },
    ),
    Repository(
        name="siblings",
        files={
            **_PYTHON,
            "lambda_function.py": handler("create", "alpha", "helper", function="lambda_handler"),
            "helper.py": module("helper"),
            "pylock.toml": locked("alpha"),
        },
        services={
            ".": Service(
                functions={
                    "lambda-function": Function(
                        "lambda_function.lambda_handler", ("helper.py", "lambda_function.py"), "create alpha helper"
                    )
                },
                architecture="x86_64",
            )
        },
    ),
    Repository(
        name="a directory for each function",
        files={
            **_PYTHON,
            "functions/create/app.py": handler("create", "names", "alpha"),
            "functions/create/names.py": module("creating"),
            "functions/report/app.py": handler("report", "names"),
            "functions/report/names.py": module("reporting"),
            "pylock.toml": locked("alpha"),
        },
        services={
            ".": Service(
                functions={
                    "create": Function("app.handler", "functions/create/*", "create creating alpha"),
                    "report": Function("app.handler", "functions/report/*", "report reporting"),
                },
                architecture="x86_64",
            )
        },
    ),
    Repository(
        name="a directory with requirements for each function",
        files={
            **_PYTHON,
            "create/app.py": handler("create", "alpha"),
            "create/requirements.txt": "alpha\n",
            "report/app.py": handler("report", "beta", "names"),
            "report/names.py": module("names"),
            "report/requirements.txt": "beta\n",
        },
        services={
            "create": Service(
                functions={"create": Function("app.handler", "app.py", "create alpha")},
                architecture="x86_64",
                lock="create/requirements-lock.txt",
                command=f"{COMPILE} requirements.txt -o requirements-lock.txt".replace(ARCHITECTURE, "x86_64"),
            ),
            "report": Service(
                functions={"report": Function("app.handler", ("app.py", "names.py"), "report beta names")},
                architecture="x86_64",
                lock="report/requirements-lock.txt",
                command=f"{COMPILE} requirements.txt -o requirements-lock.txt".replace(ARCHITECTURE, "x86_64"),
            ),
        },
        locks={"create/requirements-lock.txt": locked("alpha"), "report/requirements-lock.txt": locked("beta")},
    ),
    Repository(
        name="dashes",
        files={
            **_PYTHON,
            "my-functions/create-order/index.py": handler("create", "names"),
            "my-functions/create-order/names.py": module("names"),
            "my-functions/ping-all.py": handler("ping"),
        },
        services={
            ".": Service(
                functions={
                    "create-order": Function("index.handler", "my-functions/create-order/*", "create names"),
                    "ping-all": Function("my-functions.ping-all.handler", "my-functions", "ping"),
                },
                architecture="x86_64",
                lock=None,
                command=TOUCH,
                notes=(),
            )
        },
    ),
    Repository(
        name="packages of one project",
        files={
            "pyproject.toml": project("alpha"),
            "pylock.toml": locked("alpha"),
            "handlers/create.py": handler("create", "alpha", "common.names"),
            "handlers/report.py": handler("report", "common.names"),
            "common/names.py": module("names"),
            "infrastructure/deploy.py": "import nothing\n",
        },
        services={
            ".": Service(
                functions={
                    "create": Function("handlers.create.handler", ("common", "handlers"), "create alpha names"),
                    "report": Function("handlers.report.handler", ("common", "handlers"), "report names"),
                },
                architecture="x86_64",
            )
        },
    ),
    Repository(
        name="a project for each service",
        files={
            "services/orders/pyproject.toml": project("alpha"),
            "services/orders/pylock.toml": locked("alpha"),
            "services/orders/src/orders/create.py": handler("create", "alpha", "orders.names"),
            "services/orders/src/orders/names.py": module("names"),
            "services/billing/pyproject.toml": project("beta"),
            "services/billing/pylock.toml": locked("beta"),
            "services/billing/app.py": handler("invoice", "beta", "names"),
            "services/billing/names.py": module("names"),
        },
        services={
            "services/billing": Service(
                functions={"billing": Function("app.handler", ("app.py", "names.py"), "invoice beta names")},
                architecture="x86_64",
                lock="services/billing/pylock.toml",
            ),
            "services/orders": Service(
                functions={"create": Function("orders.create.handler", "src/orders", "create alpha names")},
                architecture="x86_64",
                lock="services/orders/pylock.toml",
            ),
        },
    ),
)
