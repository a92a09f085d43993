"""Reading the state of a bucket from S3."""

from __future__ import annotations

from typing import Any

from lamina.aws.api.s3 import BucketState, S3Bucket


def test_state_takes_two_calls() -> None:
    """Reading a bucket's state needs two calls, one for its versioning and one for its policy."""
    operations: list[str] = []

    def call(operation: str, **_: Any) -> dict[str, Any]:
        operations.append(operation)
        return {"Status": "Enabled", "Policy": "{}"}

    state = S3Bucket(call, "artifacts").state()  # type: ignore[arg-type]  # it reads no objects

    assert BucketState(versioned=True, policy="{}") == state
    assert ["GetBucketVersioning", "GetBucketPolicy"] == operations
