"""A version and an alias for a function, so that code and layers change for its callers at one moment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aws_cdk import FeatureFlags
from aws_cdk.aws_lambda import Alias

from lamina.cdk.annotations import add_warning
from lamina.cdk.function import PythonFunction

if TYPE_CHECKING:
    from aws_cdk.aws_lambda import Function

__all__ = ["live_alias"]

_RECOGNIZES_LAYERS = "@aws-cdk/aws-lambda:recognizeLayerVersion"


def live_alias(function: Function, alias_name: str = "live") -> Alias:
    """
    Return the alias of *function* that points to its current version, made on the first call.

    Lambda updates code and configuration one after the other, so callers of ``$LATEST`` meet new code with old layers. A version
    has both. A new one is published when the code, the configuration or the content of a layer changes.
    """
    found = function.node.try_find_child(f"Alias{alias_name}")
    if isinstance(found, Alias):
        return found
    is_unknown = not isinstance(function, PythonFunction) or function.layers_unknown
    if is_unknown and not FeatureFlags.of(function).is_enabled(_RECOGNIZES_LAYERS):
        add_warning(
            function,
            "stale-version",
            f"A change of a layer alone would publish no version: set the feature flag `{_RECOGNIZES_LAYERS}`, "
            "or make the function with `PythonFunction` and its layers with `PythonLayerVersion`",
        )
    return function.add_alias(alias_name)
