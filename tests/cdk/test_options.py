"""The options of a function that are typed are those that CDK has."""

from __future__ import annotations

import inspect

from aws_cdk.aws_lambda import FunctionOptions

from lamina.cdk.options import FunctionKeywords

OURS = {"layers", "architecture"}


def test_options_are_known() -> None:
    """Each typed option is one of CDK's, and none of those that the construct's own arguments are."""
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
