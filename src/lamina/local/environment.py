"""
Say what a process of one function sees: directories, interpreter, environment. Starts nothing but the interpreter, to ask where it lives.

There are two ways to show it. In a *namespace*, directories are where Lambda has them, everything but ``/tmp`` is
read-only, and of the host there are only system directories. By *path*, the same files are used where they were unpacked; the search
path is the same, the names of the directories and the rest of the host are not.
"""

from __future__ import annotations

import os
import platform
import subprocess
import uuid
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.bytecode import interpreter as interpreters
from lamina.core.errors import ConfigError, InvokeError
from lamina.core.target import Architecture
from lamina.local import runtime_client, unpack
from lamina.local.facts import facts
from lamina.local.process import RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from lamina.bytecode.interpreter import Interpreter
    from lamina.core.target import Target
    from lamina.core.values import Package
    from lamina.local.artifacts import Artifacts
    from lamina.local.facts import Directories
    from lamina.local.guest.request import RootPlan
    from lamina.local.process import Process
    from lamina.project.service import Function

_PROBE = """
import json, os, site, sys
print(json.dumps({"prefix": os.path.realpath(sys.base_prefix), "site": site.getsitepackages([sys.base_prefix, sys.base_exec_prefix])}))
"""


class Mode(StrEnum):
    """How the environment is shown."""

    AUTO = "auto"
    """In a namespace if the kernel allows it, by path otherwise."""
    NAMESPACE = "namespace"
    PATH = "path"


@dataclass(frozen=True, kw_only=True, slots=True)
class Home:
    """Where an interpreter's own files are."""

    interpreter: Interpreter
    prefix: Path
    site: tuple[Path, ...]
    """Directories of distributions installed for it, which no function may see."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FunctionEnvironment:
    """Everything that decides what a function's process finds."""

    function: Function
    target: Target
    home: Home
    layer: Path
    """What is ``/opt``: the layers, merged."""
    package: Path
    """What is ``/var/task``."""
    runtime: Path
    """What is ``/var/runtime``."""
    scratch: Path
    """An empty directory of this project, to mount on."""
    mode: Mode = Mode.AUTO
    additional: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """Environment variables beyond the configured ones, which may be secrets; they win."""

    @property
    def arn(self) -> str:
        """The name that the function would have in AWS, with a made-up account."""
        known = facts()
        return f"arn:aws:lambda:{self.region}:{known.account}:function:{self.function.name}"

    @property
    def region(self) -> str:
        """The region that the function believes to be in."""
        given = dict(self.additional)
        return given.get("AWS_REGION") or given.get("AWS_DEFAULT_REGION") or facts().region

    def directories(self, mode: Mode) -> Directories:
        """Return where the function finds things in *mode*."""
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
        """Return the interpreter as the function's process names it; raises RefusedError if a namespace cannot hold it."""
        path, prefix = self.home.interpreter.path, self.home.prefix
        if mode is not Mode.NAMESPACE:
            return str(path)
        if not path.is_relative_to(prefix):
            raise RefusedError(
                f"The interpreter `{path}` does not live in its own prefix `{prefix}`, and so cannot be moved",
                hint=f"name another one in `{interpreters.environment_variable(self.target.python)}`, or use --mode path",
            )
        return f"{facts().directories.lang}/{path.relative_to(prefix).as_posix()}"

    def variables(self, mode: Mode) -> dict[str, str]:
        """
        Return exactly the variables that the process gets: Lambda's, the configured ones, the additional ones. Nothing of the host's.

        Raises ConfigError if the configuration sets variables that Lambda reserves.
        """
        known = facts()
        wrong = sorted(name for name, _ in self.function.environment if name in known.reserved)
        if wrong:
            raise ConfigError(
                f"`{self.function.name}` sets variables that Lambda reserves: {', '.join(f'`{name}`' for name in wrong)}",
                hint="remove them from the function's environment: Lambda refuses such a configuration",
            )
        values = self._placeholders(mode)
        variables = {entry.name: entry.template.format_map(values) for entry in known.variables}
        variables.update(self.function.environment)
        variables.update(self.additional)
        if not variables.get("AWS_ACCESS_KEY_ID"):
            # On an EC2 host an SDK without credentials would find those of the machine, which nobody asked for.
            variables.setdefault("AWS_EC2_METADATA_DISABLED", "true")
        return variables

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
        Call *start* with the preferred mode, and by path where a namespace is only preferred and cannot be had; also return why not.

        Raises RefusedError if only a namespace would do and there is none.
        """
        reason = None
        if self.mode is not Mode.PATH:
            try:
                return start(Mode.NAMESPACE), Mode.NAMESPACE, None
            except RefusedError as error:
                if self.mode is Mode.NAMESPACE:
                    raise
                reason = str(error)
        return start(Mode.PATH), Mode.PATH, reason

    def plan(self, *, host: bool = False) -> RootPlan:
        """Return how to build this environment's root; with *host*, the rest of the host stays in place and writable."""
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


def prepare(
    artifacts: Artifacts,
    built: Package,
    function: Function,
    *,
    mode: Mode = Mode.AUTO,
    home: Home | None = None,
    additional: Mapping[str, str] | None = None,
) -> FunctionEnvironment:
    """
    Unpack what *built* consists of and return the environment of *function*.

    *home* is looked for if it is not given. What is unpacked is kept in ``.lamina/local`` of the project.

    Raises InvokeError if this machine cannot run the target, MissingExtraError without the runtime client, ArchiveError for a bad zip.
    """
    _check_machine(artifacts)
    cache = artifacts.project.resolve() / ".lamina" / "local"
    scratch = cache / "root"
    scratch.mkdir(parents=True, exist_ok=True)
    target = artifacts.build.target
    home = home or home_of(_interpreter(target, cache))
    return FunctionEnvironment(
        function=function,
        target=target,
        home=home,
        layer=unpack.unpack(artifacts.layers(built), cache / "trees"),
        package=unpack.unpack((built,), cache / "trees"),
        runtime=runtime_client.provide(cache / "runtime", home.interpreter),
        scratch=scratch,
        mode=mode,
        additional=tuple(sorted((additional or {}).items())),
    )


def home_of(interpreter: Interpreter) -> Home:
    """Ask *interpreter* where it lives; raises InvokeError if it does not answer."""
    try:
        told = interpreters.ask(interpreter.path, _PROBE)
        prefix, site = Path(told["prefix"]), tuple(Path(path) for path in told["site"])
    except (OSError, subprocess.SubprocessError, ValueError, KeyError) as error:
        raise InvokeError(
            f"The interpreter `{interpreter.path}` does not say where it lives",
            hint=f"name another one in `{interpreters.environment_variable(interpreter.version[:2])}`",
        ) from error
    return Home(interpreter=interpreter, prefix=prefix, site=site)


def _interpreter(target: Target, cache: Path) -> Interpreter:
    found = interpreters.search(target.python, cache=cache / "interpreters.json")
    if found is None:
        name = f"{target.python[0]}.{target.python[1]}"
        raise InvokeError(
            f"No CPython {name} was found on this machine to run `{target.runtime}`",
            hint=f"install that minor (such as `uv python install {name}`), "
            f"or name it in `{interpreters.environment_variable(target.python)}`",
        )
    return found


def _check_machine(artifacts: Artifacts) -> None:
    """Refuse compiled code of another instruction set or system; pure Python runs anywhere."""
    if os.name != "posix":
        raise InvokeError("Handlers run locally on Linux and macOS only", hint="use WSL on Windows")
    machine = platform.machine()
    native = Architecture.ARM64 if machine in {"aarch64", "arm64"} else machine
    if artifacts.native and (platform.system() != "Linux" or native != artifacts.build.target.architecture):
        shown = ", ".join(f"`{name}`" for name in artifacts.native)
        raise InvokeError(
            f"The layer holds code for Linux on {artifacts.build.target.architecture}, "
            f"and this machine is {platform.system()} on {machine}: {shown}",
            hint="run it on such a machine, or build for this one beside it, in another directory",
        )


def additional_variables(
    asked: Iterable[str], environ: Mapping[str, str], *, credentials: bool = False
) -> dict[str, str]:
    """
    Return the variables that the user names, as ``NAME=VALUE`` or as ``NAME`` of *environ*; with *credentials*, those of AWS as well.

    Raises ConfigError with all names that *environ* does not have.
    """
    found: dict[str, str] = {}
    missing: list[str] = []
    if credentials:
        known = facts()
        found |= {name: environ[name] for name in (*known.credentials, *known.companions) if name in environ}
        if "AWS_ACCESS_KEY_ID" not in found:
            missing.append("AWS_ACCESS_KEY_ID")
    for entry in asked:
        name, separator, value = entry.partition("=")
        if separator:
            found[name] = value
        elif name in environ:
            found[name] = environ[name]
        else:
            missing.append(name)
    if missing:
        raise ConfigError(
            f"The environment has no {', '.join(f'`{name}`' for name in missing)}",
            hint="set it, or give the value: --env NAME=VALUE",
        )
    return found
