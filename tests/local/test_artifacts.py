"""Tests of the limits, environment variables and functions that a local run uses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from built import configure, make_build, package_at
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
        ({"memory_mb": 64}, "memory of 64 MB is outside Lambda's limits", "use a value from 128 to 10240 MB"),
        (
            {"timeout_seconds": 901},
            "timeout of 901 seconds is outside Lambda's limits",
            "use a value from 1 to 900 seconds",
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
    record = json.loads(path.read_text())
    record["functions"][0]["layers"] = []
    path.write_text(json.dumps(record))
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
