"""Each command that a message tells the reader to run works: it runs here, or it is at least valid and a reason says why it cannot run."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from pip._internal.commands import create_command

import messages
from emulators import REGION, ministack_server
from lamina.bytecode.interpreter import environment_variable, find_uv
from lamina.cli.main import build_parser, main
from lamina.core.errors import UsageError
from loopback import IndexServer
from services import HANDLER
from wheels import make_wheel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from emulators import Emulator
    from messages import Message

__all__ = ["ministack_server"]

pytestmark = pytest.mark.skipif(not messages.SOURCES.exists(), reason="there is no source tree")

PROGRAMS: Final = (
    "lamina",
    "uv",
    "uvx",
    "python",
    "python3",
    "pip",
    "pipx",
    "poetry",
    "pdm",
    "pipenv",
    "git",
    "aws",
    "cdk",
    "npx",
)
"""The programs whose commands messages contain. A text in backticks that starts with one of them and a space is a command."""

CANNOT_RUN: Final = {
    r"aws ": "needs the AWS CLI, which is not a development dependency",
    r"cdk ": "needs Node.js and the AWS CDK; `make cdk` runs it",
    r"git lfs ": "needs Git LFS, which is not part of git",
    r"(pdm|pipenv|poetry) ": "needs another package manager, which is not a development dependency",
    r"pip install ": "installs into the environment that runs the tests; the test of the installation page runs it in another one",
    r"uv python install ": "downloads a Python",
    r"uv build ": "downloads the build backend of the package, which is that of the reader's project",
    r"lamina audit(?! .*--osv)": "asks OSV itself; `tests/cli/test_audit.py` runs it with one on loopback",
    r"lamina coldstart --aws ": "needs the logs of real functions",
    r"lamina sandbox": "downloads the emulator; `test_guides.py` runs it with an installed one",
}
"""The commands that do not run here, as regular expressions for their beginning, and why."""

PLACEHOLDERS: Final = {
    "[OPTIONS] [-- COMMAND]": "-- true",
    "[OPTIONS] [FUNCTION] -- COMMAND": "-- python -V",
    "-- COMMAND --json": "-- python -c pass --json",
    "build options": "build --architecture arm64",
    "--project compare": "--project .",
    "--project quote": "--project .",
    "--python quote join": "--python .venv beta",
    "invoke NAME": "invoke hello",
    "lamina words": "lamina build --project .",
    "lamina uv lock": "lamina build",
    "lamina COMMAND [OPTIONS]": "lamina build",
    "uv add {name}": "uv add beta",
    "inspect common": "inspect arn:aws:lambda:eu-west-1:000000004711:layer:greeter-common:1",
    "--osv FILE": "--osv all.zip",
    "ARN": "arn:aws:iam::000000000000:role/any",
    "FUNCTION": "greeter-hello",
    "=…": "=1",
    messages.SAMPLES["path"]: "baseline.json",
}
"""What a reader puts in place of the placeholders in a command, and of the samples that `messages.py` renders."""

UV: Final = find_uv() or "uv"
MINOR: Final = f"{sys.version_info.major}.{sys.version_info.minor}"
CONFIGURATION: Final = f"""
[tool.lamina]
runtime = "python{MINOR}"
source = ["service"]

[tool.lamina.functions]
hello = "service.handlers.hello.lambda_handler"
"""


def failure_of(line: str, project: Path) -> str:
    """Run the command *line* in *project*, the current directory, and return how it failed; empty if it succeeded."""
    program, *arguments = shlex.split(line)
    if program == "lamina":
        code = main(arguments)
        return f"exit code {code}" if code else ""
    done = subprocess.run([program, *arguments], cwd=project, capture_output=True, text=True, check=False)
    return f"exit code {done.returncode}: {done.stderr}" if done.returncode else ""


def without_configuration(project: Path) -> None:
    """Remove the configuration, as in a project before `lamina init`."""
    path = project / "pyproject.toml"
    path.write_text(path.read_text("utf-8").replace(CONFIGURATION, ""), "utf-8")


def after(*lines: str) -> Callable[[Path], None]:
    """Return a function that runs commands of lamina."""

    def run(_project: Path) -> None:
        for line in lines:
            assert 0 == main(shlex.split(line)[1:]), line

    return run


def with_repository(project: Path) -> None:
    """Make *project* a git repository with a remote one, which has a branch with the name that `messages.py` uses."""
    for line in (
        "init -q",
        "-c user.name=tests -c user.email=tests@example.com commit -q --allow-empty -m Start",
        "branch revision",
        f"remote add origin {shlex.quote(project.as_uri())}",
    ):
        subprocess.run(["git", *shlex.split(line)], cwd=project, check=True)


def shallow(project: Path) -> None:
    """Make *project* a git repository with the last of two commits of a remote one."""
    origin = project.parent / f"{project.name}-origin"
    commit = "-c user.name=tests -c user.email=tests@example.com commit -q --allow-empty -m Change"
    for directory, line in (
        (project, f"init -q {shlex.quote(str(origin))}"),
        *((origin, commit) for _ in range(2)),
        (project, "init -q"),
        (project, f"remote add origin {shlex.quote(origin.as_uri())}"),
        (project, "fetch -q --depth 1 origin"),
    ):
        subprocess.run(["git", *shlex.split(line)], cwd=directory, check=True)


def with_environment(project: Path) -> None:
    """Create the virtual environment of *project*."""
    subprocess.run(["uv", "venv", "-q"], cwd=project, check=True)


def repository(project: Path) -> None:
    """Create a git repository."""
    subprocess.run(["git", "init", "-q"], cwd=project, check=True)


def with_advisories(project: Path) -> None:
    """Create OSV's zip, with an advisory about another distribution."""
    with zipfile.ZipFile(project / "all.zip", "w") as archive:
        archive.writestr("PYSEC-1.json", '{"affected": [{"package": {"name": "other", "ecosystem": "PyPI"}}]}')


PREPARATIONS: Final[Mapping[str, Callable[[Path], None]]] = {
    r"git reset": repository,
    r"git (branch|fetch(?! --unshallow))": with_repository,
    r"git fetch --unshallow": shallow,
    r"lamina audit": with_advisories,
    r"lamina cache import": after("lamina cache export --bytecode bytecode.zip"),
    r"lamina deploy$": after("lamina deploy --create --role arn:aws:iam::000000000000:role/any"),
    r"lamina init(?! --diff)": without_configuration,
    r"lamina inspect": after("lamina publish"),
    r"uv pip install --python": with_environment,
}
"""What the reader has done before some commands, as regular expressions for their beginning."""


@pytest.fixture(scope="module")
def commands() -> list[str]:
    return sorted(set(commands_in(messages.collect())))


def commands_in(collected: Iterable[Message]) -> Iterator[str]:
    """Yield the commands in hints, and in texts that become hints. Other messages only mention commands."""
    for message in collected:
        for text in (*message.hints, *(message.texts if message.kind == "text" else ())):
            for span in re.findall(r"`([^`]+)`", text):
                if span.startswith(tuple(f"{program} " for program in PROGRAMS)):
                    yield span


def typed(command: str) -> str:
    """Return *command* with values in place of its placeholders."""
    for placeholder, value in PLACEHOLDERS.items():
        command = command.replace(placeholder, value)
    return command


def reason_to_skip(command: str) -> str | None:
    return next((why for pattern, why in CANNOT_RUN.items() if re.match(pattern, command)), None)


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ministack_server: Emulator) -> Iterator[Path]:
    """Lock and build a small service, and return its directory. The environment names an index and an emulated AWS."""
    project, wheels = tmp_path / "greeter", tmp_path / "wheels"
    make_wheel(wheels, "alpha", "1.0")
    make_wheel(wheels, "beta", "2.0")
    (project / "service" / "handlers").mkdir(parents=True)
    (project / "service" / "handlers" / "hello.py").write_text(f"import alpha\n\n\n{HANDLER}")
    (project / "pyproject.toml").write_text(
        f'[project]\nname = "greeter"\nversion = "1"\nrequires-python = ">={MINOR}"\ndependencies = ["alpha"]\n{CONFIGURATION}'
    )
    with IndexServer(wheels) as index:
        environment = {
            "LAMINA_CACHE_DIR": str(tmp_path / "store"),
            environment_variable(sys.version_info[:2]): sys.executable,
            "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])),
            "UV_CACHE_DIR": str(tmp_path / "uv-cache"),
            "UV_DEFAULT_INDEX": index.simple,
            "UV_PYTHON": sys.executable,
            "UV_PYTHON_DOWNLOADS": "never",
            # A new hint that installs something must not change the machine before it has a reason above.
            "HOME": str(tmp_path),
            "UV_TOOL_DIR": str(tmp_path / "tools"),
            "UV_TOOL_BIN_DIR": str(tmp_path / "bin"),
            "PIP_DRY_RUN": "1",
            "PIP_INDEX_URL": index.simple,
            "AWS_ENDPOINT_URL": ministack_server.url,
            "AWS_ACCESS_KEY_ID": "000000004711",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": REGION,
        }
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.chdir(project)
        assert 0 == subprocess.run(["uv", "lock", "-q"], check=False).returncode
        assert 0 == main(["build", "-q"])
        yield project


def test_each_command_runs(
    commands: list[str], shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Each command that a message contains succeeds in a small service, unless a reason says why it cannot run here."""
    failures = {}
    for number, command in enumerate(each for each in commands if reason_to_skip(each) is None):
        project = shutil.copytree(shop, tmp_path / str(number) / "greeter")
        monkeypatch.chdir(project)
        for pattern, prepare in PREPARATIONS.items():
            if re.match(pattern, command):
                prepare(project)
        if failure := failure_of(typed(command), project):
            failures[command] = failure + capfd.readouterr().err

    assert {} == failures


def test_each_command_is_valid(commands: list[str]) -> None:
    """Each command of lamina, uv and pip has only options that exist, whether it can run here or not."""
    invalid = [command for command in commands if not is_valid(shlex.split(typed(command)))]

    assert [] == invalid


def is_valid(words: list[str]) -> bool:
    """Return whether the program accepts the options; true for a program that is not a development dependency."""
    program, *arguments = words
    try:
        if program == "lamina":
            build_parser(arguments[0]).parse_args(arguments)
        elif program == "pip":
            create_command(arguments[0]).parse_args(arguments[1:])
    except UsageError:
        return False
    except SystemExit as error:
        return not error.code
    return program not in {"uv", "uvx"} or uv_accepts(arguments)


def uv_accepts(arguments: list[str]) -> bool:
    """Return whether the help of the command of uv lists each option among *arguments*."""
    names = [each for each in arguments if re.fullmatch(r"[a-z]+", each)]
    command = names[: 2 if arguments[0] in {"pip", "python", "tool"} else 1]
    done = subprocess.run([UV, *command, "--help"], capture_output=True, text=True, check=False)
    options = [each.partition("=")[0] for each in arguments if each.startswith("-")]
    return done.returncode == 0 and all(re.search(rf"(?<![\w-]){each}(?![\w-])", done.stdout) for each in options)


def test_every_reason_and_stand_in_is_needed(commands: list[str]) -> None:
    """Each entry of the tables above matches a command."""
    patterns = (*CANNOT_RUN, *PREPARATIONS)

    assert [] == [pattern for pattern in patterns if not any(re.match(pattern, command) for command in commands)]
    assert [] == [text for text in PLACEHOLDERS if not any(text in command for command in commands)]


@pytest.mark.parametrize(
    "line",
    ["lamina biuld", "lamina build --no-such-option", "uv lock --no-such-option", "pip install --no-such-option"],
)
def test_an_invalid_command_is_noticed(line: str) -> None:
    """A command or an option that does not exist is invalid."""
    assert not is_valid(shlex.split(line))
