"""The example service is what its documentation says; its own tests need its dependencies, these do not."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from lamina import config

ORDERS = Path(__file__).parents[1] / "examples" / "orders"
FUNCTIONS = config.load(ORDERS).functions


def test_the_service_has_ten_functions() -> None:
    """Ten functions share one layer: the case that lamina is measured with."""
    assert len(FUNCTIONS) == 10


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.name)
def test_every_handler_is_defined(function: config.Function) -> None:
    """Each configured handler names a module of the service and something that the module defines."""
    module, _, name = function.handler.rpartition(".")
    tree = ast.parse((ORDERS / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8"))
    defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}

    assert name in defined


def test_every_function_has_an_event_and_an_expectation() -> None:
    """What `examples/orders/README.md` promises: an event by the function's name, and what is in the answer."""
    names = {function.name for function in FUNCTIONS}
    events = {path.stem for path in (ORDERS / "events").glob("*.json")} - {"expected"}
    expected = json.loads((ORDERS / "events" / "expected.json").read_text(encoding="utf-8"))

    assert (events, set(expected)) == (names, names)


def test_the_lock_names_no_host_and_no_development_tool() -> None:
    """The committed lock works with any index, and holds nothing that only tests need."""
    lock = (ORDERS / "requirements.txt").read_text(encoding="utf-8")
    locked = {Requirement(line.rstrip("\\ ")).name for line in lock.splitlines() if re.match(r"\w", line)}

    assert re.findall(r"\w+://|--\w*index|--find-links", lock) == []
    assert locked & {"pytest", "moto", "pluggy", "iniconfig"} == set()
    assert {"boto3", "cryptography", "numpy", "pydantic-core", "sqlalchemy"} <= locked
