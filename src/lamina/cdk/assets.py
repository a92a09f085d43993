"""
Hand zips to CDK under the identity that lamina gives them, so that an asset changes exactly when its content does.

A layer's asset hash comes from its digest, a function's from its package's SHA-256. CDK takes both through another SHA-256 (an asset's
key is the hash of the string that was passed; read in aws-cdk-lib 2.275, 2026-11).
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

# A warning that code without an object's version is not updated with the object (aws-cdk-lib 2.275, 2026-11).
_UNVERSIONED = "@aws-cdk/aws-lambda:codeFromBucketObjectVersionNotSpecified"
_NOT_BUILT = data_path("not-built.zip")


def layer_zip(layer: Layer) -> Code:
    """Return *layer* as an asset, which ``cdk deploy`` uploads where it is not there yet."""
    return _asset(layer.path, layer.digest)


def package_zip(package: Package) -> Code:
    """Return *package* as an asset."""
    return _asset(package.path, package.sha256)


def not_built() -> Code:
    """Return what stands for something that was not built: the same everywhere, and nothing that Lambda would take."""
    return _asset(_NOT_BUILT, "lamina-not-built")


def _asset(path: Path, identity: str) -> Code:
    return Code.from_asset(str(path), asset_hash=identity, asset_hash_type=AssetHashType.CUSTOM)


def layer_in_bucket(scope: Construct, layer: Layer, bucket: str, *, prefix: str) -> Code:
    """
    Return the object that ``lamina publish --upload-only`` puts together from *layer* below *prefix*; nothing is uploaded for it.

    Lambda copies it, whatever ``storage`` says: a reference needs the object's version, which only asking S3 tells.
    """
    return Code.from_bucket(_bucket(scope, bucket), Keys(prefix).layer(layer.digest))


def _bucket(scope: Construct, name: str) -> IBucket:
    """Return a construct of its own for the bucket, so that what is acknowledged for it is acknowledged for lamina's keys only."""
    from aws_cdk.aws_s3 import Bucket

    stack = Stack.of(scope)
    id_ = f"LaminaBucket {name}"
    for each in stack.node.children:
        if each.node.id == id_:
            return each  # type: ignore[return-value]  # made below
    here = Account(id=stack.account, partition=stack.partition, region=stack.region)
    made = Bucket.from_bucket_name(stack, id_, fill(name, here))
    # Another content has another key.
    Annotations.of(made).acknowledge_warning(_UNVERSIONED)
    return made


@cache
def lambda_runtime(name: str) -> Runtime:
    """Return what CDK calls the runtime *name*; one that it does not know yet is described to it."""
    known = getattr(Runtime, name.upper().replace("PYTHON", "PYTHON_").replace(".", "_"), None)
    return known if isinstance(known, Runtime) else Runtime(name, RuntimeFamily.PYTHON, supports_inline_code=True)


@cache
def lambda_architecture(name: str) -> Architecture:
    """Return what CDK calls the architecture *name*."""
    return Architecture.ARM_64 if name == "arm64" else Architecture.X86_64
