"""Real sets of distributions, each of which tests something that has broken layer builders."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

__all__ = ["ORDERS", "SETS", "RealSet"]

ORDERS = Path(__file__).parents[2] / "examples" / "orders"


@dataclass(frozen=True, kw_only=True, slots=True)
class RealSet:
    """The requirements to lock, their target, and the reason for testing them."""

    name: str
    why: str
    requirements: tuple[str, ...]
    runtime: str
    architecture: str
    imports: tuple[str, ...]
    """The modules to import from the layer, if this machine can run the target."""
    lock: Path | None = None
    """An existing lock file; ``None`` creates one."""

    @property
    def python(self) -> str:
        """The target's Python version, such as ``3.13``."""
        return self.runtime.removeprefix("python")

    @property
    def platform(self) -> str:
        """The target in uv's notation. Amazon Linux 2 has glibc 2.26; the closest platform that uv supports is 2.17."""
        machine = {"x86_64": "x86_64", "arm64": "aarch64"}[self.architecture]
        newest = "2_34" if int(self.python.split(".")[1]) >= 12 else "2_17"
        return f"{machine}-manylinux_{newest}"


def _orders(architecture: str) -> RealSet:
    project = tomllib.loads((ORDERS / "pyproject.toml").read_text(encoding="utf-8"))
    return RealSet(
        name=f"orders-{architecture}",
        why="the example service, from its committed lock",
        requirements=tuple(project["project"]["dependencies"]),
        runtime=project["tool"]["lamina"]["runtime"],
        architecture=architecture,
        imports=("aws_lambda_powertools", "boto3", "cryptography.fernet", "numpy", "pydantic", "sqlalchemy.orm"),
        lock=ORDERS / "requirements.txt",
    )


SETS = (
    _orders("x86_64"),
    _orders("arm64"),
    RealSet(
        name="pandas",
        why="large extension modules, bundled time zones",
        requirements=("pandas", "openpyxl"),
        runtime="python3.13",
        architecture="x86_64",
        imports=("pandas", "openpyxl"),
    ),
    RealSet(
        name="scikit-learn",
        why="SciPy's hundreds of extension modules and bundled BLAS, for another machine",
        requirements=("scikit-learn",),
        runtime="python3.13",
        architecture="arm64",
        imports=("sklearn.linear_model",),
    ),
    RealSet(
        name="sqlalchemy",
        why="extras, headers in the wheel's data directory, a driver with bundled libraries",
        requirements=("sqlalchemy[asyncio]", "psycopg[binary]", "greenlet"),
        runtime="python3.12",
        architecture="x86_64",
        imports=("sqlalchemy.ext.asyncio", "psycopg", "greenlet"),
    ),
    RealSet(
        name="google-cloud",
        why="namespace packages `google` and `google.cloud` over many distributions",
        requirements=("google-cloud-storage", "google-cloud-bigquery", "google-cloud-firestore", "google-cloud-pubsub"),
        runtime="python3.12",
        architecture="x86_64",
        imports=("google.cloud.storage", "google.cloud.bigquery", "google.cloud.firestore", "google.cloud.pubsub"),
    ),
    RealSet(
        name="zope",
        why="namespace packages of the old kind, with `-nspkg.pth` files",
        requirements=(
            "zope.interface==5.5.2",
            "zope.event==4.6",
            "zope.component==5.1.0",
            "zope.hookable",
            "zope.i18nmessageid",
        ),
        runtime="python3.10",
        architecture="x86_64",
        imports=("zope.interface", "zope.event", "zope.component"),
    ),
    RealSet(
        name="opentelemetry",
        why="behaviour found through entry points alone",
        requirements=(
            "opentelemetry-distro",
            "opentelemetry-exporter-otlp-proto-http",
            "opentelemetry-instrumentation-requests",
            "opentelemetry-instrumentation-botocore",
        ),
        runtime="python3.13",
        architecture="arm64",
        imports=("opentelemetry.sdk.trace", "opentelemetry.distro"),
    ),
    RealSet(
        name="data",
        why="wheels with data, scripts and headers in `.data`",
        requirements=(
            "widgetsnbextension",
            "notebook-shim",
            "jmespath==1.0.1",
            "greenlet",
            "docutils==0.20.1",
            "bokeh",
        ),
        runtime="python3.12",
        architecture="arm64",
        imports=("jmespath", "docutils.core"),
    ),
    RealSet(
        name="unreadable",
        why="members of mode 0600, which Lambda could not read",
        requirements=("fastapi==0.61.0", "uvicorn"),
        runtime="python3.11",
        architecture="x86_64",
        imports=("fastapi", "uvicorn"),
    ),
    RealSet(
        name="numpy",
        why="extension modules for another machine and an older runtime",
        requirements=("numpy",),
        runtime="python3.12",
        architecture="arm64",
        imports=("numpy",),
    ),
    RealSet(
        name="pyarrow",
        why="the largest shared libraries, Cython sources and headers among modules",
        requirements=("pyarrow",),
        runtime="python3.13",
        architecture="x86_64",
        imports=("pyarrow.parquet",),
    ),
    RealSet(
        name="stable-abi",
        why="abi3 wheels, libraries in `.libs` directories",
        requirements=("cryptography", "bcrypt", "pynacl", "lxml", "pillow", "grpcio", "protobuf"),
        runtime="python3.13",
        architecture="arm64",
        imports=("cryptography.hazmat.primitives.ciphers", "PIL.Image", "lxml.etree"),
    ),
    RealSet(
        name="oldest",
        why="a retired runtime on Amazon Linux 2",
        requirements=("boto3", "pydantic", "aws-lambda-powertools[parser]", "numpy", "pyyaml", "importlib-metadata"),
        runtime="python3.9",
        architecture="x86_64",
        imports=("boto3", "pydantic", "numpy", "yaml", "aws_lambda_powertools.utilities.parser"),
    ),
    RealSet(
        name="odd-names",
        why="file names beyond ASCII, vendored distributions, modules without packages",
        requirements=("setuptools", "six", "typing-extensions", "pyramid", "pip"),
        runtime="python3.14",
        architecture="x86_64",
        imports=("setuptools", "six"),
    ),
)
