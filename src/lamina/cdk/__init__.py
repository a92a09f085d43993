"""
AWS CDK constructs for a layer built from the project's lock file, and for functions that use the layer. No container is needed.

::

    entry ──builds──▶ Answer (Service, Build, Problem) ──lookup──▶ Layer, Package ──assets──▶ Code ──▶ LayerVersion, Function
                                                  └──────────────annotations──────────────────────────▶ annotations of the stack

- `builds` builds the project once with `lamina.pipeline.build.build`, like the command `lamina build`. It does not import CDK.
- `lookup` finds the layer or function that a construct needs. It does not import CDK.
- `layer` and `function` are the constructs.
- `external` refuses layers of other accounts.
- `assets` passes zips to CDK with hashes that depend on their content only.
- `annotations` reports errors and warnings as CDK annotations. The constructs raise no exceptions for them.

Requires the extra ``cdk``.
"""

from __future__ import annotations

from lamina.core.errors import MissingExtraError

try:
    import aws_cdk as _aws_cdk
except ModuleNotFoundError as error:
    raise MissingExtraError(extra="cdk", purpose="`lamina.cdk`") from error

from lamina.cdk.external import RefuseExternalLayers
from lamina.cdk.function import PythonFunction, live_alias
from lamina.cdk.layer import PythonLayerVersion

__all__ = ["PythonFunction", "PythonLayerVersion", "RefuseExternalLayers", "live_alias"]

del _aws_cdk
