"""Test of the typed options of a function against those of CDK."""

from __future__ import annotations

import importlib.metadata
import inspect

import pytest
from aws_cdk.aws_lambda import FunctionOptions
from packaging.version import Version

from lamina.cdk.options import FunctionKeywords

OURS = {"layers", "architecture"}


@pytest.mark.skipif(
    Version(importlib.metadata.version("aws-cdk-lib")) < Version("2.275"),
    reason="the typed options are those of aws-cdk-lib 2.275",
)
def test_options_are_known() -> None:
    """Each typed option is an option of CDK's `Function`, and none is one of the construct's own arguments."""
    known = set(inspect.signature(FunctionOptions.__init__).parameters) - {"self"}

    assert known >= OURS
    assert set() == FunctionKeywords.__annotations__.keys() - (known - OURS)
    assert {
        "memory_size",
        "timeout",
        "environment",
        "tracing",
        "role",
        "vpc",
    } <= FunctionKeywords.__annotations__.keys()
