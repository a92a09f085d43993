"""Tests of the limits, environment variables and functions that a local run uses."""

from __future__ import annotations

import platform
import sys
from pathlib import Path

import pytest

from built import MINOR, configure, make_build, package_at
from lamina.bytecode.interpreter import environment_variable
from lamina.core.documents import open_sealed, seal
from lamina.core.errors import ConfigError
from lamina.local.artifacts import function_of, read
from lamina.local.environment import additional_variables
from lamina.project.config import load

_BUILT = package_at(Path("orders.zip"), "0" * 64, "app.new", ["common"])


def test_lambdas_own_defaults() -> None:
    """Without configured limits, Lambda's default memory and timeout apply."""
    found = function_of(_BUILT, None)

    assert ("orders", "app.new", ("common",), 128, 3) == (
        found.name,
        found.handler,
        found.layers,
        found.memory_mb,
        found.timeout_seconds,
    )


def test_configured_limits_and_the_built_handler(tmp_path: Path) -> None:
    """Arguments override configured limits, and the handler is the one of the build."""
    table = 'orders = { handler = "app.old", memory = 512, timeout = 20, environment = { TABLE = "t" } }'
    configure(tmp_path, functions=table)
    service = load(tmp_path)
    found = function_of(_BUILT, service, timeout_seconds=7)

    assert ("app.new", 512, 7, (("TABLE", "t"),)) == (
        found.handler,
        found.memory_mb,
        found.timeout_seconds,
        found.environment,
    )


@pytest.mark.parametrize(
    ("limits", "message", "hint"),
    [
        ({"memory_mb": 64}, "memory of 64 MB is outside Lambda's limits", "use a value from 128 to 32768 MB"),
        (
            {"timeout_seconds": 5401},
            "timeout of 5401 seconds is outside Lambda's limits",
            "use a value from 1 to 5400 seconds",
        ),
    ],
)
def test_impossible_limits(limits: dict[str, int], message: str, hint: str) -> None:
    """Limits outside Lambda's range are rejected for local runs too."""
    with pytest.raises(ConfigError) as caught:
        function_of(_BUILT, None, **limits)

    assert (message, hint) == (str(caught.value), caught.value.hint)


def test_variables_by_value_and_by_name() -> None:
    """A variable is passed with its value, or by name with its value in the environment."""
    assert {"A": "1", "B": "=", "C": "host"} == additional_variables(["A=1", "B==", "C"], {"C": "host", "D": "no"})


def test_credentials_only_if_asked() -> None:
    """Credentials and their region are passed only on request."""
    environ = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_REGION": "eu-west-1", "AWS_PROFILE": "p"}

    assert {} == additional_variables([], environ)
    expected = {name: value for name, value in environ.items() if name != "AWS_PROFILE"}
    assert expected == additional_variables([], environ, credentials=True)


def test_missing_variables() -> None:
    """The error lists all variables that are not set."""
    with pytest.raises(ConfigError) as caught:
        additional_variables(["A", "B=1", "C"], {}, credentials=True)

    assert "environment variables are not set: `AWS_ACCESS_KEY_ID`, `A`, `C`" == str(caught.value)


def test_any_function_of_equal_ones(tmp_path: Path) -> None:
    """If all functions have the same layers, the first function is chosen."""
    artifacts = make_build(tmp_path, {}, layers=[{}], handlers={"b": "app.b", "a": "app.a"})

    assert "b" == artifacts.any_function().name


def test_any_function_of_different_ones(tmp_path: Path) -> None:
    """If the functions have different layers, the error asks for a function's name."""
    make_build(tmp_path, {}, layers=[{"x": ""}], handlers={"a": "app.a", "b": "app.b"})
    path = tmp_path / ".lamina" / "build.json"
    record = open_sealed(path.read_bytes(), ".lamina/build.json")
    record["functions"][0]["layers"] = []
    path.write_bytes(seal(record, ".lamina/build.json"))
    with pytest.raises(ConfigError) as caught:
        read(tmp_path).any_function()

    expected = ("no function is specified, and the functions have different layers", "specify one before `--`: a, b")
    assert expected == (str(caught.value), caught.value.hint)


def test_nothing_built(tmp_path: Path) -> None:
    """Without a build, the hint is to run ``lamina build``."""
    with pytest.raises(ConfigError) as caught:
        read(tmp_path)

    assert (f"no build found in `{tmp_path}`", "run `lamina build`") == (
        str(caught.value),
        caught.value.hint,
    )


def test_another_version_of_the_record(tmp_path: Path) -> None:
    """A build report of an unsupported version is rejected."""
    make_build(tmp_path, {})
    path = tmp_path / ".lamina" / "build.json"
    path.write_text(path.read_text().replace('"version": "1"', '"version": "2"'))
    with pytest.raises(ConfigError) as caught:
        read(tmp_path)

    assert f"`{path}` is not a readable build report of version 1" == str(caught.value)


def test_files_that_are_gone(tmp_path: Path) -> None:
    """The error lists all zips that no longer exist."""
    make_build(tmp_path, {}, layers=[{}])
    for path in (tmp_path / ".lamina").rglob("*.zip"):
        path.unlink()
    with pytest.raises(ConfigError) as caught:
        read(tmp_path)

    expected = "files of the last build no longer exist: `.lamina/functions/orders.zip`, `.lamina/layers/layer0.zip`"
    assert expected == str(caught.value)


def test_unknown_function(tmp_path: Path) -> None:
    """For an unknown function, the error suggests the closest name."""
    with pytest.raises(ConfigError) as caught:
        make_build(tmp_path, {}).function("order")

    assert "the build has no function `order` (did you mean `orders`?)" == str(caught.value)


def _targets(project: Path, *targets: tuple[str, str], wheels: tuple[str, ...] = ()) -> None:
    """Write a build for each of *targets*, the first one as the main target."""
    for number, (runtime, architecture) in reversed(list(enumerate(targets))):
        make_build(project, {"app.py": ""}, layers=[{}], runtime=runtime, architecture=architecture, wheels=wheels)
        if number:
            other = project / ".lamina" / f"{runtime}-{architecture}"
            other.mkdir()
            made = project / ".lamina" / "build.json"
            content = open_sealed(made.read_bytes(), ".lamina/build.json")
            (other / "build.json").write_bytes(seal(content, f".lamina/{other.name}/build.json"))
            made.unlink()


_OWN, _OTHER = ("x86_64", "arm64") if platform.machine() == "x86_64" else ("arm64", "x86_64")


@pytest.mark.parametrize("wheels", [(), ("b-1-cp313-cp313-linux_any.whl",)])
def test_target_of_this_machine(tmp_path: Path, wheels: tuple[str, ...]) -> None:
    """Among several targets, the one with this machine's architecture is used, with and without compiled code."""
    _targets(tmp_path, (f"python{MINOR}", _OTHER), (f"python{MINOR}", _OWN), wheels=wheels)

    assert _OWN == read(tmp_path).build.target.architecture
    assert _OTHER == read(tmp_path, architecture=_OTHER).build.target.architecture


def test_target_with_an_interpreter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Among several runtimes, one whose interpreter is installed is used."""
    monkeypatch.setenv(environment_variable(sys.version_info[:2]), sys.executable)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    # No machine has an interpreter of this runtime, which is the first target, unless it is the running one.
    missing = next(name for name in ("python3.15", "python3.9") if name != f"python{MINOR}")
    _targets(tmp_path, (missing, _OWN), (f"python{MINOR}", _OWN))

    assert f"python{MINOR}" == read(tmp_path).build.target.runtime
    assert missing == read(tmp_path, runtime=missing).build.target.runtime


def test_target_that_was_not_built(tmp_path: Path) -> None:
    """A target that the last build lacks is an error, which lists the targets and names the command that builds it."""
    _targets(tmp_path, ("python3.13", "x86_64"), ("python3.13", "arm64"))
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, runtime="python3.12", architecture="arm64")

    expected = "the last build has no target for `python3.12` on `arm64`; it has 2 targets: python3.13 on x86_64, python3.13 on arm64"
    assert expected == str(caught.value)
    assert "build for it: `lamina build --runtime python3.12 --architecture arm64`" == caught.value.hint


def test_env_file(tmp_path: Path) -> None:
    """An env file sets variables, passes named ones through, and is overridden by later files and by `--env`."""
    first, second = tmp_path / ".env", tmp_path / "second.env"
    first.write_text(
        "\ufeff# a comment\nexport A='one two' # why\nB=first\nC=\"x\\ny\"\nD=${B}/d\nHOME_TOWN\n\nE=\n", "utf-8"
    )
    second.write_text("B=second\nA2=\n")
    found = additional_variables(["A2=asked"], {"HOME_TOWN": "Ulm", "SECRET": "s"}, files=[first, second])

    expected = {"A": "one two", "B": "second", "C": "x\ny", "D": "first/d", "HOME_TOWN": "Ulm", "E": "", "A2": "asked"}
    assert expected == found


def test_wrong_env_file(tmp_path: Path) -> None:
    """An env file that is missing, is not UTF-8 or has invalid lines is an error that names it, and the lines."""
    path = tmp_path / "none.env"

    def message() -> str:
        with pytest.raises(ConfigError) as caught:
            additional_variables([], {}, files=[path])
        return str(caught.value)

    assert f"failed to read the env file `{path}`: No such file or directory" == message()
    path.write_bytes(b"A=\xff\n")
    assert message().startswith(f"failed to read the env file `{path}`: it is not valid UTF-8 at byte ")
    path.write_text("A=1\nB='open\nC C\n")
    assert f"the env file `{path}` has lines that are not in the form `NAME=VALUE`: 2, 3" == message()
