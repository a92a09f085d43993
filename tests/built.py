"""Create the result of `lamina build` quickly for tests: zips of given files, and the record of the build."""

from __future__ import annotations

import hashlib
import sys
import zipfile
from typing import TYPE_CHECKING, NamedTuple, Protocol

from lamina.core.target import Target
from lamina.core.values import Build, Distribution, Layer, Package
from lamina.local.artifacts import Artifacts, read
from lamina.local.runtime_process import RuntimeProcess
from lamina.pipeline import report
from lamina.project.service import Function

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from lamina.core.supervised.process import Ended
    from lamina.local.environment import FunctionEnvironment, Mode
    from lamina.local.response import Failure

MINOR = f"{sys.version_info[0]}.{sys.version_info[1]}"


def write_zip(path: Path, files: Mapping[str, str | bytes]) -> str:
    """Write *files* into a zip dated 1980 and return its SHA-256."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            member = zipfile.ZipInfo(name)
            member.external_attr = 0o100644 << 16
            archive.writestr(member, content)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def make_build(
    project: Path,
    package: Mapping[str, str | bytes],
    *,
    layers: Sequence[Mapping[str, str | bytes]] = (),
    handlers: Mapping[str, str] | None = None,
    runtime: str = f"python{MINOR}",
    architecture: str = "x86_64",
    wheels: Sequence[str] = (),
) -> Artifacts:
    """Write a build of functions that all have the zip *package* and all *layers*, and return the build as read from disk."""
    made = []
    for number, files in enumerate(layers):
        path = project / f".lamina/layers/layer{number}.zip"
        shares = tuple(
            Distribution(name=name, version="1", artifact=name, sha256="", zipped_bytes=0, unzipped_bytes=0)
            for name in wheels
        )
        made.append(layer_at(path, write_zip(path, files), distributions=shares))
    packages = []
    for name, handler in (handlers or {"orders": "app.handler"}).items():
        path = project / f".lamina/functions/{name}.zip"
        packages.append(package_at(path, write_zip(path, package), handler, [layer.name for layer in made]))
    build = Build(
        service="shop",
        target=Target.of(runtime, architecture),
        layers=tuple(made),
        packages=tuple(packages),
        findings=(),
        reused=False,
        seconds=0.1,
    )
    (project / ".lamina" / "build.json").write_bytes(report.encode(build, project=project))
    return read(project)


def layer_at(path: Path, sha256: str, distributions: tuple[Distribution, ...] = ()) -> Layer:
    """Return the record of the layer at *path*, with placeholder values except for name, hash and distributions."""
    return Layer(
        name=path.stem,
        path=path,
        digest=sha256,
        sha256=sha256,
        zipped_bytes=0,
        unzipped_bytes=0,
        files=0,
        distributions=distributions,
    )


def package_at(path: Path, sha256: str, handler: str, layers: Sequence[str]) -> Package:
    """Return the record of the function package at *path*, with placeholder sizes."""
    return Package(
        name=path.stem,
        handler=handler,
        path=path,
        sha256=sha256,
        zipped_bytes=0,
        unzipped_bytes=0,
        files=0,
        layers=tuple(layers),
        total_unzipped_bytes=0,
        console_editable=True,
    )


def configure(project: Path, *, functions: str = 'orders = "app.handler"', runtime: str = f"python{MINOR}") -> None:
    """Write the ``pyproject.toml`` of such a build."""
    (project / "app.py").touch()
    (project / "pyproject.toml").write_text(
        f'[project]\nname = "shop"\nversion = "1"\n[tool.lamina]\nruntime = "{runtime}"\narchitecture = "x86_64"\n'
        f'source = ["app.py"]\n[tool.lamina.functions]\n{functions}\n'
    )


def function(
    *,
    handler: str = "app.handler",
    memory_mb: int = 256,
    timeout_seconds: int = 60,
    environment: tuple[tuple[str, str], ...] = (),
) -> Function:
    """Return settings with enough memory and time for a test's handler."""
    return Function(
        name="orders",
        handler=handler,
        layers=(),
        memory_mb=memory_mb,
        timeout_seconds=timeout_seconds,
        environment=environment,
    )


class MakeEnvironment(Protocol):
    """A function that creates an environment for a test."""

    def __call__(
        self,
        package: Mapping[str, str] | str,
        *,
        layers: Sequence[Mapping[str, str]] = (),
        settings: Function | None = None,
        additional: Mapping[str, str] | None = None,
        mode: Mode | None = None,
    ) -> FunctionEnvironment:
        """Unpack *package* (a mapping of files, or the content of ``app.py``) and *layers*."""
        ...


class Initialised(NamedTuple):
    """The result of one initialisation, after the process has ended."""

    milliseconds: float | None
    failure: Failure | None
    ended: Ended | None
    memory_bytes: int
    mode: Mode
    logs: str
    report: bytes


def initialise(environment: FunctionEnvironment, *, prelude: str | None = None, timeout: float = 10) -> Initialised:
    """Start a new process in *environment*, wait until it requests an event, and stop it."""
    written: list[bytes] = []
    with RuntimeProcess(environment, on_log=written.append, prelude=prelude) as runtime:
        milliseconds = runtime.wait_ready(timeout)
        failure, memory = runtime.api.init_failure, runtime.process.memory()
        ended = runtime.process.wait(2 if failure is not None else 0)
    logs = b"".join(written).decode(errors="replace")
    return Initialised(milliseconds, failure, ended, memory, runtime.mode, logs, runtime.process.reported)
