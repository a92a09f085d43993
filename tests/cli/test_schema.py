"""`lamina schema` prints a schema that validates a configuration."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
from jsonschema import Draft7Validator

from lamina.cli.main import main
from lamina.project.schema import schema

ORDERS = Path(__file__).parents[2] / "examples" / "orders" / "pyproject.toml"


@pytest.mark.parametrize("pyproject", [False, True], ids=["lamina.toml", "pyproject.toml"])
def test_schema(pyproject: bool, capsys: pytest.CaptureFixture[str]) -> None:
    """The printed schema is that of `lamina.toml`, or of `pyproject.toml` with `--pyproject`."""
    code = main(["schema", *(["--pyproject"] if pyproject else [])])
    printed = json.loads(capsys.readouterr().out)
    values = tomllib.loads(ORDERS.read_text("utf-8"))

    assert (0, schema(pyproject=pyproject)) == (code, printed)
    Draft7Validator(printed).validate(values if pyproject else values["tool"]["lamina"])
