"""
The worlds in which no command may end as a bug of lamina: files, directories, limits and environments that are broken in every way.

`WORLDS` maps the name of a world to what breaks a place. `ARGUMENTS` has what each command of lamina is run with.
"""

from __future__ import annotations

import os
import shutil
import sys
import zipfile
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from built import MINOR
from forks import BANNER, MOST_SECONDS, Case
from lamina.bytecode.interpreter import environment_variable
from lamina.core.toml import read_data
from services import make_service

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from forks import Outcome

PYTHON = environment_variable(sys.version_info[:2])
_DEEP = 100_000
_CODES = {0, 1, 2, 3, 4, 5, 6, 130, 141}
"""The documented exit codes. The commands that `run` and `sandbox` start here end with one of them."""
_OWN_TRACEBACKS = {"invoke", "run", "coldstart"}
"""Commands whose stderr has the output of a function or of another program."""

ARGUMENTS: dict[str, Sequence[str]] = {
    "init": ("init", "--dry-run"),
    "build": ("build",),
    "check": ("check",),
    "check --venv": ("check", "--no-build", "--venv", "--format", "sarif"),
    "build --dry-run": ("build", "--dry-run", "--json"),
    "invoke": ("invoke", "hello", "--mode", "path", "--event", "event.json", "--env-file", ".env"),
    "run": ("run", "--mode", "path", "--", "python", "-c", ""),
    "coldstart": ("coldstart", "--repeat", "1", "--mode", "path"),
    "pin": ("pin",),
    "inspect": ("inspect", "--no-match", ".lamina/layers/common.zip"),
    "adopt": ("adopt", "--yes", ".lamina/layers/common.zip"),
    "audit": ("audit", "--advisories", "none", "--sbom", "sbom.json"),
    "diff": ("diff", "--no-build", "pylock.toml"),
    "advise": ("advise",),
    "publish": ("publish",),
    "deploy": ("deploy",),
    "prune": ("prune",),
    "policy": ("policy", "layers"),
    "sandbox": ("sandbox", "--python", "missing", "--", "true"),
    "cache verify": ("cache", "verify"),
    "cache import": ("cache", "import", "bytecode.zip"),
    "report": ("report",),
    "doctor": ("doctor",),
    "schema": ("schema",),
    "completion": ("completion", "bash"),
}
"""At least one for each command."""


@dataclass
class Place:
    """A service that was built, its store, and the process that a command runs in."""

    root: Path
    environment: dict[str, str]
    limits: dict[str, int] = field(default_factory=dict)
    streams: dict[int, str] = field(default_factory=dict)
    obeys_permissions: bool = False
    deleted: bool = False
    directory: str = "greeter"

    @property
    def project(self) -> Path:
        return self.root / "greeter"

    @property
    def store(self) -> Path:
        return self.root / "store"

    def case(self, arguments: Sequence[str]) -> Case:
        return Case(
            arguments=arguments,
            directory=str(self.root / self.directory),
            environment=self.environment,
            limits=self.limits,
            streams=self.streams,
            obeys_permissions=self.obeys_permissions,
            deleted=self.deleted,
        )


def template(directory: Path) -> Place:
    """Write a service with everything that lamina reads. Build it, and copy its directory for each world."""
    service = make_service(directory)
    service.requires_python = f">={MINOR}"
    service.settings["runtime"] = f'"python{MINOR}"'
    root = service.write()
    lock = (root / "pylock.toml").read_text()
    (root / "pylock.toml").write_text(lock.replace(service.wheels.as_posix(), "../wheels"))
    with (root / "pyproject.toml").open("a") as file:
        file.write(
            '[tool.lamina.publish]\nbucket = "layers"\n[tool.lamina.deploy]\nfunction-name = "greeter-{function}"\n'
        )
    (root / ".gitignore").write_text("*.log\n")
    (root / "template.yaml").write_text("Resources: {}\n")
    (root / "serverless.yml").write_text("service: greeter\nprovider: {name: aws}\n")
    (root / "main.tf").write_text('resource "aws_sns_topic" "greetings" {}\n')
    (root / "event.json").write_text("{}")
    (root / ".env").write_text("TABLE=greetings\n")
    with zipfile.ZipFile(root / "bytecode.zip", "w"):
        pass
    for name in ("home", "bin"):
        (directory / name).mkdir()
    return Place(
        directory,
        environment={
            "HOME": str(directory / "home"),
            "PATH": str(directory / "bin"),
            "LAMINA_CACHE_DIR": str(directory / "store"),
            PYTHON: sys.executable,
            "PIP_CONFIG_FILE": os.devnull,
            "UV_NO_CONFIG": "1",
            "UV_PYTHON_DOWNLOADS": "never",
            "AWS_ACCESS_KEY_ID": "000000000000",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": "eu-west-1",
            "AWS_MAX_ATTEMPTS": "1",
            # Nothing listens on the port of the discard service.
            "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        },
    )


def copied(place: Place, directory: Path) -> Place:
    """Return a copy of *place* in *directory*, which need not exist. Times are kept, so that nothing seems to have changed."""
    shutil.copytree(place.root, directory, symlinks=True)
    moved = {name: value.replace(str(place.root), str(directory)) for name, value in place.environment.items()}
    return Place(directory, environment=moved)


def changed(place: Place) -> None:
    """Change the source of the service and the version of a distribution, so that there is something to build."""
    with (place.project / "service" / "handlers" / "hello.py").open("a") as file:
        file.write("# changed\n")
    shutil.rmtree(place.store / "segments", ignore_errors=True)


FILES = {
    "configuration": "greeter/pyproject.toml",
    "separate configuration": "greeter/lamina.toml",
    "lock": "greeter/pylock.toml",
    "other lock": "greeter/uv.lock",
    "ignore file": "greeter/.gitignore",
    "source": "greeter/service/handlers/hello.py",
    "SAM template": "greeter/template.yaml",
    "Serverless template": "greeter/serverless.yml",
    "Terraform template": "greeter/main.tf",
    "CDK template": "greeter/cdk.json",
    "record of the build": "greeter/.lamina/build.json",
    "state of the build": "greeter/.lamina/state.json",
    "layer": "greeter/.lamina/layers/common.zip",
    "package": "greeter/.lamina/functions/hello.zip",
    "event": "greeter/event.json",
    "variables": "greeter/.env",
    "archive": "greeter/bytecode.zip",
    "wheel": "wheels/alpha-1.0-py3-none-any.whl",
    "directory of Git": "greeter/.git",
    "environment of the project": "greeter/.venv",
}
"""What lamina reads, relative to a place."""

WAITED_FOR = {"event", "variables"}
"""Files that a user may name as pipes, as in ``--event <(command)``."""


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)


def _with(content: bytes, path: Path) -> None:
    _remove(path)
    path.write_bytes(content)


def _link(target: str, path: Path) -> None:
    _remove(path)
    path.symlink_to(target)


def _directory(path: Path) -> None:
    _remove(path)
    path.mkdir()


def _fifo(path: Path) -> None:
    _remove(path)
    os.mkfifo(path)


def _unreadable(path: Path) -> None:
    if path.exists():
        path.chmod(0)


BREAKAGES: dict[str, Callable[[Path], None]] = {
    "absent": _remove,
    "empty": partial(_with, b""),
    "a directory": _directory,
    "a FIFO": _fifo,
    "an endless device": partial(_link, "/dev/zero"),
    "a full device": partial(_link, "/dev/full"),
    "a loop of links": lambda path: _link(path.name, path),
    "a link to nothing": partial(_link, "nothing"),
    "unreadable": _unreadable,
    "binary": partial(_with, bytes(range(256)) * 8),
    "UTF-16": partial(_with, "[project]\nname = 'x'\n".encode("utf-16")),
    "deep arrays": partial(_with, b"a = " + b"[" * _DEEP),
    "deep JSON": partial(_with, b"[" * _DEEP),
    "deep objects": partial(_with, b'{"a":' * _DEEP),
    "deep tables": partial(_with, b"[" + b"a." * _DEEP + b"a]\n"),
    "deep keys": partial(_with, b"a." * _DEEP + b"a = 1\n"),
    "one long line": partial(_with, b"a" * 1_000_000),
    "JSON of another kind": partial(_with, b'{"version": 1, "layers": 5, "packages": [null], "functions": "x"}'),
    "huge numbers": partial(_with, b'{"version": ' + b"9" * 5_000 + b', "size": 1e999}'),
}
"""What can be in place of a file."""


def _in_place(name: str, breakage: Callable[[Path], None], place: Place) -> None:
    breakage(place.root / FILES[name])
    place.obeys_permissions = True


def _read_only(name: str, place: Place) -> None:
    changed(place)
    place.obeys_permissions = True
    for directory, _, files in os.walk(place.root / name):
        for file in files:
            os.chmod(os.path.join(directory, file), 0o444)
        os.chmod(directory, 0o555)  # noqa: S103 - no one may write


def _variable(name: str, value: str | None, place: Place) -> None:
    place.environment.pop(name, None)
    if value is not None:
        place.environment[name] = value


def _no_credentials(place: Place) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        del place.environment[name]


def _limit(name: str, value: int, place: Place) -> None:
    changed(place)
    place.limits[name] = value


def _stream(number: int, path: str, place: Place) -> None:
    place.streams[number] = path


def _deleted(place: Place) -> None:
    (place.root / "gone").mkdir()
    place.directory, place.deleted = "gone", True


def _no_interpreter(place: Place) -> None:
    changed(place)
    _variable(PYTHON, None, place)


def _interpreter(answer: str, place: Place) -> None:
    changed(place)
    program = place.root / "bin" / f"python{MINOR}"
    program.write_text(f"#!/bin/sh\n{answer}\n")
    program.chmod(0o755)
    _variable(PYTHON, str(program), place)


def _no_index(place: Place) -> None:
    """Lock a distribution that no store has, of an index that does not listen."""
    shutil.rmtree(place.store)
    lock = place.project / "pylock.toml"
    lock.write_text(lock.read_text().replace('path = "../wheels', 'url = "http://127.0.0.1:9'))


def _dated(seconds: int, place: Place) -> None:
    for directory, _, files in os.walk(place.root):
        for name in (*files, "."):
            os.utime(os.path.join(directory, name), (seconds, seconds))


def _strange(path: str, place: Place) -> None:
    """Every file of the store has the content of another kind."""
    for directory, _, files in os.walk(place.root / path):
        for name in files:
            _with(b"[]" if name.endswith(".json") else b"\0" * 100, place.root / directory / name)


def _emptied(path: str, place: Place) -> None:
    """Every file of the store is a directory."""
    for directory, _, files in os.walk(place.root / path):
        for name in files:
            _directory(place.root / directory / name)


def variables() -> list[str]:
    """Return the names of all environment variables that lamina reads, with an example in place of a placeholder."""
    rows = (row["name"] for group in read_data("environment.toml")["group"] for row in group["variable"])
    names = [name.strip() for row in rows for name in row.split(",")]
    return [name.replace("<MAJOR>_<MINOR>", MINOR.replace(".", "_")).replace("<NAME>", "COMPANY") for name in names]


GARBAGE = ("", "\n", "http://[", "http://u:p@[::1/x", "\udcff", "a" * 100_000, "/dev/zero", "\x1b[31m")
"""Values of environment variables."""

WORLDS: dict[str, Callable[[Place], None]] = {
    "as it should be": lambda place: None,
    "something to build": changed,
    "project is read-only": partial(_read_only, "greeter"),
    "store is read-only": partial(_read_only, "store"),
    "HOME is unset": partial(_variable, "HOME", None),
    "HOME is a file": partial(_variable, "HOME", "/dev/null"),
    "PATH is unset": partial(_variable, "PATH", None),
    "TERM is unset": partial(_variable, "TERM", None),
    "LANG is C": partial(_variable, "LC_ALL", "C"),
    "store is a device": partial(_variable, "LAMINA_CACHE_DIR", "/dev/full"),
    "store is below a file": partial(_variable, "LAMINA_CACHE_DIR", "/dev/null/store"),
    "store is a directory of the kernel": partial(_variable, "LAMINA_CACHE_DIR", "/proc/self/store"),
    "temporary files are impossible": partial(_variable, "TMPDIR", "/proc"),
    "disk is full": partial(_limit, "RLIMIT_FSIZE", 0),
    "disk is nearly full": partial(_limit, "RLIMIT_FSIZE", 1_000),
    "8 file descriptors": partial(_limit, "RLIMIT_NOFILE", 8),
    "12 file descriptors": partial(_limit, "RLIMIT_NOFILE", 12),
    "24 file descriptors": partial(_limit, "RLIMIT_NOFILE", 24),
    "no further processes": partial(_limit, "RLIMIT_NPROC", 0),
    "100 MB of addresses": partial(_limit, "RLIMIT_AS", 100_000_000),
    "300 MB of addresses": partial(_limit, "RLIMIT_AS", 300_000_000),
    "current directory was deleted": _deleted,
    "stdin is closed": partial(_stream, 0, ""),
    "stdout is closed": partial(_stream, 1, ""),
    "stderr is closed": partial(_stream, 2, ""),
    "stdout is full": partial(_stream, 1, "/dev/full"),
    "stderr is full": partial(_stream, 2, "/dev/full"),
    "no interpreter": _no_interpreter,
    "interpreter is silent": partial(_interpreter, "exit 0"),
    "interpreter answers garbage": partial(_interpreter, "echo '[[[[{\"a\": 1e999}'; exit 0"),
    "interpreter answers a list": partial(_interpreter, "echo '[]'"),
    "interpreter answers without end": partial(_interpreter, "exec cat /dev/zero"),
    "interpreter fails": partial(_interpreter, "echo no >&2; exit 3"),
    "interpreter crashes": partial(_interpreter, "kill -11 $$"),
    "index is gone": _no_index,
    "1970": partial(_dated, 0),
    "2100": partial(_dated, 4_102_444_800),
    "before 1970": partial(_dated, -1_000_000_000),
    "store has other content": partial(_strange, "store"),
    "store has directories": partial(_emptied, "store"),
    "no credentials": _no_credentials,
    **{
        f"{name} is {how}": partial(_in_place, name, breakage)
        for name in FILES
        for how, breakage in BREAKAGES.items()
        if how != "a FIFO" or name not in WAITED_FOR
    },
    **{
        f"{name} is garbage {number}": partial(_variable, name, value)
        for name in variables()
        for number, value in enumerate(GARBAGE)
    },
}
"""What breaks a place, by the world's name."""


def faults(outcome: Outcome, place: Place, command: str) -> list[str]:
    """Return what is wrong with the *outcome* of *command*, whatever the world."""
    speaks = place.streams.get(2) is None
    checks = {
        f"took more than {MOST_SECONDS:.0f} s": outcome.code is None,
        "exit code is not documented": outcome.code not in _CODES,
        "is a bug of lamina": BANNER in outcome.err,
        "has a traceback": "Traceback (most" in outcome.err and command not in _OWN_TRACEBACKS,
        "says no error": speaks and (outcome.code or 0) in range(2, 7) and "error: " not in outcome.err,
    }
    return [fault for fault, is_so in checks.items() if is_so]
