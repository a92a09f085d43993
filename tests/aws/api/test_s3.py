"""What lamina asks S3 about a bucket."""

from __future__ import annotations

from typing import Any

from lamina.aws.api.s3 import BucketState, S3Bucket


def test_state_takes_two_calls() -> None:
    """Whether a bucket can keep layers takes its versioning and its policy; nothing else is asked."""
    operations: list[str] = []

    def call(operation: str, **_: Any) -> dict[str, Any]:
        operations.append(operation)
        return {"Status": "Enabled", "Policy": "{}"}

    state = S3Bucket(call, "artifacts").state()  # type: ignore[arg-type]  # it reads no objects

    assert BucketState(versioned=True, policy="{}") == state
    assert ["GetBucketVersioning", "GetBucketPolicy"] == operations
