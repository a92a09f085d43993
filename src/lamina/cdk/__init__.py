"""
Constructs for the AWS CDK: a layer from the project's lock, and functions that use it, without a container.

::

    entry ──builds──▶ Answer (Service, Build, Problem) ──lookup──▶ Layer, Package ──assets──▶ Code ──▶ LayerVersion, Function
                                                  └──────────────annotations──────────────────────────▶ annotations of the stack

`builds` asks the same `lamina.pipeline.build.build` as the command, once, and knows nothing of CDK; `lookup` picks what a construct wants;
`function` decides on the layers of a function; `assets` hands zips over under the identity
that lamina gives them; `annotations` words what is wrong as CDK shows it, and nothing here raises for it. Needs the extra ``cdk``.
"""

from __future__ import annotations

from lamina.core.errors import MissingExtraError

try:
    import aws_cdk as _aws_cdk
except ModuleNotFoundError as error:
    raise MissingExtraError(extra="cdk", purpose="`lamina.cdk`") from error

from lamina.cdk.function import PythonFunction, live_alias
from lamina.cdk.layer import PythonLayerVersion

__all__ = ["PythonFunction", "PythonLayerVersion", "live_alias"]

del _aws_cdk
