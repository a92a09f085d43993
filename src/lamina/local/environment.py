"""
Describe the environment of a function's process: directories, interpreter and environment variables.

The environment has two modes. In *namespace* mode, the directories have the same paths as in Lambda, only ``/tmp`` is writable, and only
system directories of the host are visible. In *path* mode, the process uses the files where they were unpacked. The order of the
search path is the same, but the directories have other names, and all files of the host are visible.

This module does not start the function's process; `lamina.core.supervised.process` does.
"""

from __future__ import annotations

import io
import os
import platform
import subprocess
import uuid
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Protocol

from lamina.bytecode import interpreter as interpreters
from lamina.core.documents import INVALID
from lamina.core.errors import ConfigError, InvokeError, MissingExtraError, StartError
from lamina.core.faults import exhausted
from lamina.core.files import own_directory, read_file
from lamina.core.store import Store
from lamina.core.supervised.process import RefusedError
from lamina.core.target import Architecture
from lamina.core.text import undecodable
from lamina.local import runtime_client, unpack
from lamina.local.facts import facts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from lamina.bytecode.interpreter import Interpreter
    from lamina.core.supervised.process import Process
    from lamina.core.supervised.request import RootPlan
    from lamina.core.target import Target
    from lamina.core.values import Package, Wheel
    from lamina.local.artifacts import Artifacts
    from lamina.local.facts import Directories
    from lamina.local.provided import LocalWheels
    from lamina.project.service import Function

_PROBE = """
import json, os, site, sys
print(json.dumps({"prefix": os.path.realpath(sys.base_prefix), "site": site.getsitepackages([sys.base_prefix, sys.base_exec_prefix])}))
"""


class Mode(StrEnum):
    """How the files of a function's environment are made available to its process. The module's docstring describes both modes."""

    AUTO = "auto"
    """Namespace mode if the kernel allows it, otherwise path mode."""
    NAMESPACE = "namespace"
    PATH = "path"


@dataclass(frozen=True, kw_only=True, slots=True)
class Home:
    """An interpreter and its installation directories."""

    interpreter: Interpreter
    prefix: Path
    site: tuple[Path, ...]
    """The interpreter's ``site-packages`` directories, which are hidden from functions."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FunctionEnvironment:
    """The settings, files and variables that make up a function's environment."""

    function: Function
    target: Target
    home: Home
    layer: Path
    """The host directory for ``/opt``, with all layers merged."""
    package: Path
    """The host directory for ``/var/task``."""
    runtime: Path
    """The host directory for ``/var/runtime``."""
    scratch: Path
    """An empty directory in the project: the mount point of the root directory in namespace mode, the home directory in path mode."""
    mode: Mode = Mode.AUTO
    additional: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """Environment variables that override the configured ones. They may be secret, so ``repr`` leaves them out."""

    @property
    def arn(self) -> str:
        """The ARN that the function receives. Its account ID is a placeholder."""
        known = facts()
        return f"arn:aws:lambda:{self.region}:{known.account}:function:{self.function.name}"

    @property
    def region(self) -> str:
        """``AWS_REGION`` or else ``AWS_DEFAULT_REGION`` in *additional*; without both, the placeholder in ``data/local.toml``."""
        given = dict(self.additional)
        return given.get("AWS_REGION") or given.get("AWS_DEFAULT_REGION") or facts().region

    def directories(self, mode: Mode) -> Directories:
        """Return the paths of the function's directories, as its process sees them in *mode*."""
        usual = facts().directories
        if mode is Mode.NAMESPACE:
            return usual
        return replace(
            usual,
            task=str(self.package),
            runtime=str(self.runtime),
            opt=str(self.layer),
            lang=str(self.home.prefix),
        )

    def python(self, mode: Mode) -> str:
        """
        Return the interpreter's path, as the function's process sees it in *mode*.

        Raises `RefusedError` in namespace mode if the interpreter is outside its prefix, because only the prefix is mounted.
        """
        path, prefix = self.home.interpreter.path, self.home.prefix
        if mode is not Mode.NAMESPACE:
            return str(path)
        if not path.is_relative_to(prefix):
            raise RefusedError(
                f"the interpreter `{path}` is outside its installation directory `{prefix}`, which namespace mode does not support",
                hint=f"set `{interpreters.environment_variable(self.target.python)}` to another interpreter, or pass `--mode path`",
            )
        return f"{facts().directories.lang}/{path.relative_to(prefix).as_posix()}"

    def variables(self, mode: Mode) -> dict[str, str]:
        """
        Return all environment variables of the process: Lambda's, overridden by the function's, overridden by *additional*.

        The process inherits no variables from the host. Without AWS credentials, SDKs are kept from using those of an EC2 host.
        Raises `ConfigError` if the function's configuration sets variables that Lambda reserves, or if a variable is not possible.
        """
        known = facts()
        wrong = sorted(name for name, _ in self.function.environment if name in known.reserved)
        if wrong:
            raise ConfigError(
                f"function `{self.function.name}` sets environment variables that Lambda reserves: "
                f"{', '.join(f'`{name}`' for name in wrong)}",
                hint="remove them from `environment` in the function's configuration",
            )
        values = self._placeholders(mode)
        variables = {entry.name: entry.template.format_map(values) for entry in known.variables}
        variables.update(self.function.environment)
        variables.update(self.additional)
        if impossible := [name for name, value in variables.items() if not name or "=" in name or "\0" in name + value]:
            raise ConfigError(
                f"environment variables have an empty name, `=` in the name, or a null character: {', '.join(map(repr, impossible))}",
                hint="correct `environment` in the function's configuration, `--env` or the env file",
            )
        if not variables.get("AWS_ACCESS_KEY_ID"):
            # On an EC2 host, an SDK without credentials would use those of the machine.
            variables.setdefault("AWS_EC2_METADATA_DISABLED", "true")
        return variables

    @property
    def wrapper(self) -> str | None:
        """The value of ``AWS_LAMBDA_EXEC_WRAPPER``: a program that Lambda starts with the runtime's command line as its arguments."""
        return dict((*self.function.environment, *self.additional)).get("AWS_LAMBDA_EXEC_WRAPPER") or None

    @property
    def has_wrapper(self) -> bool:
        """Whether the function has a wrapper, and a layer or the package contains it."""
        return self.wrapper is not None and self._host_path(self.wrapper).is_file()

    def command(self, mode: Mode, arguments: Sequence[str]) -> list[str]:
        """
        Return the command line that starts the interpreter with *arguments* in *mode*, by the wrapper if the function has one.

        A wrapper outside the package may be in a layer that lamina did not build, so the function then starts without it.
        Raises `ConfigError` if the package lacks the wrapper, if the wrapper is not executable, or if the interpreter in its first
        line does not exist.
        """
        python = [self.python(mode), *arguments]
        if self.wrapper is None:
            return python
        path = self._host_path(self.wrapper)
        if not self.has_wrapper:
            if path.is_relative_to(self.package):
                raise ConfigError(
                    f"`AWS_LAMBDA_EXEC_WRAPPER` is `{self.wrapper}`, which is not in the function's package",
                    hint="correct the path, or add the file to `source` or `include`, then run `lamina build`",
                )
            return python
        if not os.access(path, os.X_OK):
            raise ConfigError(
                f"`AWS_LAMBDA_EXEC_WRAPPER` is `{self.wrapper}`, which is not executable",
                hint="start the file with a line such as `#!/bin/bash`, then run `lamina build`",
            )
        if (program := _program_of_script(path)) is not None and not self._host_path(program).exists():
            raise ConfigError(
                f"`AWS_LAMBDA_EXEC_WRAPPER` is `{self.wrapper}`, whose first line names {program!r}, which does not exist",
                hint="start the file with a line such as `#!/bin/bash`, without a carriage return at its end, then run `lamina build`",
            )
        return [self.wrapper if mode is Mode.NAMESPACE else str(path), *python]

    def _host_path(self, path: str) -> Path:
        """Return the file on the host that the function sees at *path*, as far as *path* is in a layer, the package, or the interpreter."""
        usual = facts().directories
        absolute = PurePosixPath(usual.task, path)
        for inside, outside in ((usual.opt, self.layer), (usual.task, self.package), (usual.lang, self.home.prefix)):
            if absolute.is_relative_to(inside):
                return outside / absolute.relative_to(inside)
        return Path(absolute)

    def _placeholders(self, mode: Mode) -> dict[str, str]:
        return {
            "handler": self.function.handler,
            "region": self.region,
            "identifier": self.target.runtime,
            "function": self.function.name,
            "memory": str(self.function.memory_mb),
            "version": facts().version,
            "stream": f"local/[{facts().version}]{uuid.uuid4().hex}",
            **asdict(self.directories(mode)),
        }

    def start(self, start: Callable[[Mode], Process]) -> tuple[Process, Mode, str | None]:
        """
        Start a process by calling *start* with a mode. Return the process, its mode, and why path mode replaced namespace mode, or ``None``.

        In the mode `Mode.AUTO`, path mode is used if namespace mode is not available; in the mode `Mode.NAMESPACE`, `RefusedError` is raised.
        Raises `InvokeError` if the program of the function or the command does not start. Also raises what *start* raises.
        """
        reason = None
        try:
            if self.mode is not Mode.PATH:
                try:
                    return start(Mode.NAMESPACE), Mode.NAMESPACE, None
                except RefusedError as error:
                    if self.mode is Mode.NAMESPACE:
                        raise
                    reason = str(error)
            return start(Mode.PATH), Mode.PATH, reason
        except StartError as error:
            raise InvokeError(str(error), hint=error.hint) from error

    def plan(self, *, host: bool = False) -> RootPlan:
        """
        Return the content of this environment's root directory in namespace mode.

        With *host*, all other directories of the host are included and stay writable. Without it, only its system directories are included.
        """
        usual = facts().directories
        prefix, lang = self.home.prefix, usual.lang
        binds = [
            (str(self.layer), usual.opt),
            (str(self.package), usual.task),
            (str(self.runtime), usual.runtime),
            (str(prefix), lang),
        ]
        hidden = []
        for path in self.home.site:
            if path.is_relative_to(prefix):
                hidden.append(f"{lang}/{path.relative_to(prefix).as_posix()}")
            if not host:
                hidden.append(str(path))
        return {
            "root": str(self.scratch),
            "binds": binds,
            "empty": hidden,
            "host": host,
            "ephemeral_bytes": facts().limits.ephemeral_mb * 1_048_576,
        }


class ExternalSource(Protocol):
    """Provides the layers of functions that lamina does not build."""

    def zips(self, arns: Sequence[str]) -> Sequence[unpack.Archive]:
        """Return the zips of the layers *arns*, as far as they are pinned, in their order."""


def prepare(
    artifacts: Artifacts,
    built: Package,
    function: Function,
    *,
    mode: Mode = Mode.AUTO,
    home: Home | None = None,
    additional: Mapping[str, str] | None = None,
    wheels: LocalWheels | None = None,
    external: ExternalSource | None = None,
    debugged: bool = False,
    code: Sequence[bytes] = (),
) -> FunctionEnvironment:
    """
    Unpack the layers and the package of *built*, and return the environment of *function*.

    If *home* is ``None``, lamina searches for an interpreter of the target's version. The unpacked files stay in ``.lamina/local``
    of the project, and are reused. *wheels* provides the runtime's SDK if the function's code or other *code* imports it, and the debugger
    if the function is to be *debugged*; without *wheels*, the runtime has only its client. *external* provides the layers by ARN, over which
    the service's own layers are unpacked, in the order in which `lamina deploy` attaches them; without it, the function runs without them.

    Raises `InvokeError` if this machine cannot run the layers' compiled code, or if no interpreter is found or it does not work. Raises
    `ConfigError` if the user specified an unsuitable interpreter, and `MissingExtraError` if the runtime client is not installed.
    Also raises what `unpack.unpack`, `LocalWheels.debugger` and *external* raise.
    """
    _check_machine(artifacts)
    cache = artifacts.project.resolve() / ".lamina" / "local"
    scratch = cache / "root"
    for name in ("root", "trees", "runtime"):
        own_directory(cache.parents[1], f".lamina/local/{name}")
    target = artifacts.build.target
    home = home or home_of(_interpreter(target))
    others = () if external is None else external.zips(function.layer_arns)
    layer = unpack.unpack((*others, *artifacts.layers(built)), cache / "trees")
    package = unpack.unpack((built,), cache / "trees")
    provided: tuple[Wheel, ...] = ()
    if wheels is not None:
        provided = (*wheels.sdk(target, (layer, package), code), *(wheels.debugger(target) if debugged else ()))
    return FunctionEnvironment(
        function=function,
        target=target,
        home=home,
        layer=layer,
        package=package,
        runtime=runtime_client.provide(cache / "runtime", home.interpreter, provided),
        scratch=scratch,
        mode=mode,
        additional=tuple(sorted((additional or {}).items())),
    )


def _program_of_script(path: Path) -> str | None:
    """Return the interpreter that the first line of the script *path* names; ``None`` if it names none."""
    with path.open("rb") as script:
        first = script.readline(256)  # as much as the kernel reads
    # The kernel separates the interpreter from its argument at spaces and tabs, and regards a carriage return as part of the name.
    words = first[2:].rstrip(b"\n").replace(b"\t", b" ").split(b" ")
    return next((os.fsdecode(word) for word in words if word), None) if first.startswith(b"#!") else None


def home_of(interpreter: Interpreter) -> Home:
    """Run *interpreter* to find its installation directories. Raises `InvokeError` if it fails or prints invalid output."""
    try:
        told = interpreters.ask(interpreter.path, _PROBE)
        prefix, site = Path(told["prefix"]), tuple(Path(path) for path in told["site"])
    except (OSError, subprocess.SubprocessError, *INVALID) as error:
        raise exhausted(error) or InvokeError(
            f"the interpreter `{interpreter.path}` did not report its installation directories",
            hint=f"set `{interpreters.environment_variable(interpreter.version[:2])}` to another interpreter",
        ) from error
    return Home(interpreter=interpreter, prefix=prefix, site=site)


def _interpreter(target: Target) -> Interpreter:
    found = interpreters.search(target.python, cache=interpreters.cache_in(Store.open()))
    if found is None:
        raise InvokeError(
            f"CPython {target.python[0]}.{target.python[1]}, which runtime `{target.runtime}` requires, was not found on this machine",
            hint=f"install it: `{interpreters.command_to_install(target.python)}`; "
            f"or set `{interpreters.environment_variable(target.python)}` to its executable",
        )
    return found


def _check_machine(artifacts: Artifacts) -> None:
    """Raise `InvokeError` on Windows, or if the layers contain compiled code for another architecture or system."""
    if os.name != "posix":
        raise InvokeError("handlers run locally only on Linux and macOS", hint="use WSL on Windows")
    if not artifacts.fits_machine:
        architecture, machine = artifacts.build.target.architecture, platform.machine()
        shown = ", ".join(f"`{name}`" for name in artifacts.native)
        targets = ", ".join(f'"{artifacts.build.target.runtime}-{name}"' for name in Architecture)
        raise InvokeError(
            f"this machine is {platform.system()} on {machine}, "
            f"but the layers contain wheels for Linux on {architecture}: {shown}",
            hint=f"build for this machine too: set `targets = [{targets}]` in place of `runtime` and `architecture`, "
            "then run `lamina build`"
            if platform.system() == "Linux"
            else f"run lamina on Linux on {architecture}",
        )


def additional_variables(
    asked: Iterable[str], environ: Mapping[str, str], *, credentials: bool = False, files: Iterable[Path] = ()
) -> dict[str, str]:
    """
    Return the environment variables that the user passes to the function.

    Each entry of *asked* is ``NAME=VALUE``, or the ``NAME`` of a variable in *environ*. *files* contain such entries too, which *asked*
    overrides. With *credentials*, the AWS credentials and region in *environ* are added. Raises `ConfigError` if *environ* lacks variables
    that are asked for, or ``AWS_ACCESS_KEY_ID`` with *credentials*, or if one of *files* is unreadable.
    """
    found: dict[str, str] = {}
    missing: list[str] = []
    if credentials:
        known = facts()
        found |= {name: environ[name] for name in (*known.credentials, *known.companions) if name in environ}
        if "AWS_ACCESS_KEY_ID" not in found:
            missing.append("AWS_ACCESS_KEY_ID")
    for entry in (*(entry for path in files for entry in _file_entries(path)), *asked):
        name, separator, value = entry.partition("=")
        if separator:
            found[name] = value
        elif name in environ:
            found[name] = environ[name]
        else:
            missing.append(name)
    if missing:
        raise ConfigError(
            f"environment variables are not set: {', '.join(f'`{name}`' for name in missing)}",
            hint="set them, or pass values with `--env NAME=VALUE`",
        )
    return found


def _file_entries(path: Path) -> list[str]:
    """
    Return the variables in the env file *path*, each as ``NAME=VALUE`` or, without a value, as ``NAME``.

    Raises `ConfigError` if the file cannot be read or has an invalid line, and `MissingExtraError` if python-dotenv is not installed.
    """
    try:
        from dotenv import dotenv_values
        from dotenv.parser import parse_stream
    except ModuleNotFoundError as error:
        raise MissingExtraError(extra="local", purpose="`--env-file`") from error
    try:
        text = read_file(path, special=True).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else f"it {undecodable(error)}"
        raise exhausted(error) or ConfigError(
            f"failed to read the env file `{path}`: {reason}", hint="pass a file with lines such as `TABLE=orders-dev`"
        ) from error
    if wrong := [str(binding.original.line) for binding in parse_stream(io.StringIO(text)) if binding.error]:
        raise ConfigError(
            f"the env file `{path}` has lines that are not in the form `NAME=VALUE`: {', '.join(wrong)}",
            hint="quote values with spaces or quotes: `NAME='a value'`",
        )
    values = dotenv_values(stream=io.StringIO(text))
    return [name if value is None else f"{name}={value}" for name, value in values.items()]
