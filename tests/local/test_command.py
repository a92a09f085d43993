"""Tests of running commands in a function's environment."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from built import MINOR
from lamina.core.errors import ConfigError, InvokeError
from lamina.local.command import run_command
from lamina.local.environment import Mode
from loopback import IndexServer
from wheels import make_wheel

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from built import MakeEnvironment
    from lamina.local.environment import FunctionEnvironment


def _run(
    environment: FunctionEnvironment,
    command: Sequence[str],
    *,
    tools: Sequence[str] = (),
    environ: Mapping[str, str] | None = None,
) -> tuple[int, str]:
    project = environment.scratch.parent.parent.parent
    written: list[bytes] = []
    result = run_command(
        environment, command, project=project, tools=tools, environ=environ or {}, on_log=written.append
    )
    return result.exit_code, b"".join(written).decode()


def test_python_is_the_functions(make_environment: MakeEnvironment, mode: Mode) -> None:
    """`python` runs in the project's directory, and imports layer and package but no packages installed on the host."""
    environment = make_environment("X = 1", layers=[{"python/dep.py": "N = 2"}], mode=mode)
    code = (
        "import app, dep, importlib.util, os, sys; "
        "print(app.X, dep.N, importlib.util.find_spec('pytest'), os.getcwd(), sys.version_info[:2])"
    )
    expected = f"1 2 None {environment.scratch.parent.parent.parent} {sys.version_info[:2]}\n"

    for name in ("python", "python3", f"python{MINOR}"):
        assert (0, expected) == _run(environment, [name, "-c", code])


def test_exit_code(make_environment: MakeEnvironment, mode: Mode) -> None:
    """The result has the command's exit code, or 128 plus the signal's number."""
    environment = make_environment("", mode=mode)

    assert 7 == _run(environment, ["sh", "-c", "exit 7"])[0]
    assert 128 + 15 == _run(environment, ["sh", "-c", "kill -TERM $$"])[0]


def test_environment(make_environment: MakeEnvironment, mode: Mode) -> None:
    """The command has the function's variables, and only the terminal's variables of the host."""
    environment = make_environment("", mode=mode, additional={"ASKED": "yes"})
    environ = {"HOST_SECRET": "leaked", "TERM": "dumb"}
    _, output = _run(
        environment, ["sh", "-c", 'echo "$AWS_LAMBDA_FUNCTION_NAME $ASKED $TERM [$HOST_SECRET]"'], environ=environ
    )

    assert "orders yes dumb []\n" == output


def test_project_stays_writable(make_environment: MakeEnvironment, mode: Mode, tmp_path: Path) -> None:
    """The command can write into the project, but not into the layer."""
    environment = make_environment("", layers=[{"python/dep.py": ""}], mode=mode)

    assert (0, "") == _run(environment, ["sh", "-c", "echo result > result.txt"])
    assert "result\n" == (tmp_path / "result.txt").read_text()
    if mode is Mode.NAMESPACE:
        code, output = _run(environment, ["sh", "-c", "echo x > /opt/python/new"])
        assert code != 0
        assert "Read-only file system" in output


def test_tool_of_the_project(make_environment: MakeEnvironment, mode: Mode) -> None:
    """A tool is available with its dependencies and commands, without other packages of its environment."""
    environment = make_environment("", layers=[{"python/dep.py": "N = 2"}], mode=mode)
    code = (
        "import dep, importlib.util, iniconfig, pluggy, pytest; "
        "print(dep.N, importlib.util.find_spec('mypy'), importlib.util.find_spec('lamina'))"
    )
    environ = {"VIRTUAL_ENV": sys.prefix}

    assert (0, "2 None None\n") == _run(environment, ["python", "-c", code], tools=["pytest"], environ=environ)
    _, version = _run(environment, ["pytest", "--version"], tools=["PyTest"], environ=environ)
    assert f"pytest {pytest.__version__}\n" == version


def test_directory_of_tools(make_environment: MakeEnvironment, mode: Mode, tmp_path: Path) -> None:
    """A directory of tools comes last on the search path."""
    environment = make_environment("", layers=[{"python/dep.py": "N = 'layer'"}], mode=mode)
    for name in ("dep", "tool"):
        (tmp_path / "tools").mkdir(exist_ok=True)
        (tmp_path / "tools" / f"{name}.py").write_text("N = 'directory'")

    tools = [str(tmp_path / "tools")]
    assert (0, "layer directory\n") == _run(
        environment, ["python", "-c", "import dep, tool; print(dep.N, tool.N)"], tools=tools
    )


def test_unknown_distribution(make_environment: MakeEnvironment) -> None:
    """The error lists all tools that are not installed, each with the closest name."""
    with pytest.raises(ConfigError) as caught:
        _run(make_environment(""), ["true"], tools=["pytset", "pytest"], environ={"VIRTUAL_ENV": sys.prefix})

    site = Path(sys.prefix) / "lib" / f"python{MINOR}" / "site-packages"
    assert f"packages are not installed in `{site}`: `pytset` (did you mean `pytest`?)" == str(caught.value)


def test_environment_of_another_minor(make_environment: MakeEnvironment, tmp_path: Path) -> None:
    """A virtual environment for another Python version is an error, and the hint creates another one beside it."""
    (tmp_path / ".venv" / "lib" / "python3.1" / "site-packages").mkdir(parents=True)
    with pytest.raises(ConfigError) as caught:
        _run(make_environment(""), ["true"], tools=["pytest"], environ={"VIRTUAL_ENV": str(tmp_path / "none")})

    expected = (
        f"`--with` needs a virtual environment for Python {MINOR}, but `{tmp_path / '.venv'}` is for another version"
    )
    assert expected == str(caught.value)
    other = shlex.quote(str(tmp_path / f".venv-{MINOR}"))
    assert str(caught.value.hint).endswith(f"then select it: `export VIRTUAL_ENV={other}`")


def test_missing_environment(
    make_environment: MakeEnvironment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a virtual environment, the hint is the command that creates one with the tools. After it, the tools are there."""
    environment, command = make_environment(""), ["python", "-c", "import tool"]
    monkeypatch.setenv("PATH", os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    with pytest.raises(ConfigError) as caught:
        _run(environment, command, tools=["tool"])

    expected = f"`--with` needs a virtual environment for Python {MINOR}, but `{tmp_path / '.venv'}` does not exist"
    assert expected == str(caught.value)
    creation = str(caught.value.hint).removeprefix("create it: `").removesuffix("`")
    make_wheel(tmp_path / "wheels", "tool", "1.0")
    with IndexServer(tmp_path / "wheels") as index:
        settings = {
            "UV_DEFAULT_INDEX": index.simple,
            "UV_CACHE_DIR": str(tmp_path / "uv-cache"),
            "UV_PYTHON_DOWNLOADS": "never",
        }
        subprocess.run(["sh", "-c", creation], check=True, capture_output=True, env=os.environ | settings)

    assert (0, "") == _run(environment, command, tools=["tool"])


def test_environment_without_uv(
    make_environment: MakeEnvironment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without uv, the hint uses the modules of the interpreter."""
    environment = make_environment("")
    monkeypatch.setenv("PATH", "/usr/sbin")
    with pytest.raises(ConfigError) as caught:
        _run(environment, ["true"], tools=["pytest", "moto"])

    venv, python = shlex.quote(str(tmp_path / ".venv")), shlex.quote(str(environment.home.interpreter.path))
    expected = f"create it: `{python} -m venv {venv} && {venv}/bin/python -m pip install pytest moto`"
    assert expected == caught.value.hint


def test_environment_of_the_project(make_environment: MakeEnvironment, tmp_path: Path) -> None:
    """If the active virtual environment is for another Python version, the project's own is used."""
    (tmp_path / "other" / "lib" / "python3.1" / "site-packages").mkdir(parents=True)
    (tmp_path / ".venv").symlink_to(sys.prefix)

    code, _ = _run(
        make_environment(""),
        ["python", "-c", "import pytest"],
        tools=["pytest"],
        environ={"VIRTUAL_ENV": str(tmp_path / "other")},
    )
    assert 0 == code


def test_unknown_command(make_environment: MakeEnvironment, mode: Mode) -> None:
    """The error names a command that does not exist."""
    with pytest.raises(InvokeError) as caught:
        _run(make_environment("", mode=mode), ["lamina-no-such-command"])

    assert "failed to start `lamina-no-such-command`: No such file or directory" == str(caught.value)


def test_project_below_a_covered_directory(make_environment: MakeEnvironment, namespace: Mode) -> None:
    """A project inside a directory that the function's environment replaces is an error."""
    with pytest.raises(ConfigError) as caught:
        run_command(make_environment("", mode=namespace), ["true"], project=Path("/opt/shop"), environ={})

    expected = "the project `/opt/shop` is inside `/opt`, which the function's environment replaces"
    assert expected == str(caught.value)


def test_nothing_is_left(make_environment: MakeEnvironment, mode: Mode) -> None:
    """A run deletes its temporary files."""
    environment = make_environment("", mode=mode)
    _run(environment, ["true"])

    assert [] == os.listdir(environment.scratch.parent / "runs")
