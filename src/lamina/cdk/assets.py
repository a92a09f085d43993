"""
Pass zips to CDK with asset hashes from lamina, so that an asset changes exactly when its content changes.

A layer's asset hash is computed from the layer's digest, a function's from the SHA-256 of its package. CDK hashes the passed string
again with SHA-256 to get the asset's key (read in aws-cdk-lib 2.275, 2026-11).
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from aws_cdk import Annotations, AssetHashType, Stack
from aws_cdk.aws_lambda import Architecture, Code, Runtime, RuntimeFamily

from lamina.aws.api.account import Account
from lamina.aws.destination.naming import Keys, fill
from lamina.core.toml import data_path

if TYPE_CHECKING:
    from pathlib import Path

    from aws_cdk.aws_s3 import IBucket
    from constructs import Construct

    from lamina.core.values import Layer, Package

# The id of CDK's warning that a function is not updated with a bucket object whose version is not given (aws-cdk-lib 2.275, 2026-11).
_UNVERSIONED = "@aws-cdk/aws-lambda:codeFromBucketObjectVersionNotSpecified"
_NOT_BUILT = data_path("not-built.zip")


def layer_zip(layer: Layer) -> Code:
    """Return *layer* as an asset, which ``cdk deploy`` uploads unless it is already uploaded."""
    return _asset(layer.path, layer.digest)


def package_zip(package: Package) -> Code:
    """Return *package* as an asset."""
    return _asset(package.path, package.sha256)


def not_built() -> Code:
    """Return a placeholder for a layer or package that was not built. It is the same on every machine, and Lambda rejects it."""
    return _asset(_NOT_BUILT, "lamina-not-built")


def _asset(path: Path, identity: str) -> Code:
    return Code.from_asset(str(path), asset_hash=identity, asset_hash_type=AssetHashType.CUSTOM)


def layer_in_bucket(scope: Construct, layer: Layer, bucket: str, *, prefix: str) -> Code:
    """
    Return *layer* as the object in *bucket*, below *prefix*, that ``lamina publish --upload-only`` writes. CDK uploads nothing.

    Lambda copies the object, even with ``storage = "reference"``: a reference would need the object's version, which only a request
    to S3 returns.
    """
    return Code.from_bucket(_bucket(scope, bucket), Keys(prefix).layer(layer.digest))


def _bucket(scope: Construct, name: str) -> IBucket:
    """
    Return lamina's construct for the bucket *name*; create it on the first call.

    lamina acknowledges a warning of CDK on this construct only. The app's own constructs for the bucket still show the warning.
    """
    from aws_cdk.aws_s3 import Bucket

    stack = Stack.of(scope)
    id_ = f"LaminaBucket {name}"
    for each in stack.node.children:
        if each.node.id == id_:
            return each  # type: ignore[return-value]  # created below
    here = Account(id=stack.account, partition=stack.partition, region=stack.region)
    made = Bucket.from_bucket_name(stack, id_, fill(name, here))
    # The key contains the layer's digest, so different content always has a different key.
    Annotations.of(made).acknowledge_warning(_UNVERSIONED)
    return made


@cache
def lambda_runtime(name: str) -> Runtime:
    """Return CDK's object for the runtime *name*, such as ``python3.13``; create one if this version of CDK does not define the runtime."""
    known = getattr(Runtime, name.upper().replace("PYTHON", "PYTHON_").replace(".", "_"), None)
    return known if isinstance(known, Runtime) else Runtime(name, RuntimeFamily.PYTHON, supports_inline_code=True)


@cache
def lambda_architecture(name: str) -> Architecture:
    """Return CDK's object for the architecture *name*."""
    return Architecture.ARM_64 if name == "arm64" else Architecture.X86_64
