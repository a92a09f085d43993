"""Reading the state of a bucket from S3."""

from __future__ import annotations

from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from lamina.aws.api.errors import Caller
from lamina.aws.api.s3 import BucketState, S3Bucket, SentPart


def test_state_takes_two_calls() -> None:
    """Reading a bucket's state needs two calls, one for its versioning and one for its policy."""
    operations: list[str] = []

    def call(operation: str, **_: Any) -> dict[str, Any]:
        operations.append(operation)
        return {"Status": "Enabled", "Policy": "{}"}

    state = S3Bucket(call, "artifacts").state()  # type: ignore[arg-type]  # it reads no objects

    assert BucketState(versioned=True, policy="{}") == state
    assert ["GetBucketVersioning", "GetBucketPolicy"] == operations


@pytest.mark.parametrize("code", ["ConditionalRequestConflict", "PreconditionFailed", "NoSuchUpload"])
def test_an_upload_that_is_not_completed(code: str) -> None:
    """A completion that S3 rejects because of another writer is not repeated: S3 requires a new upload."""
    client = boto3.client("s3", region_name="eu-west-1", aws_access_key_id="a", aws_secret_access_key="b")
    with Stubber(client) as stubber:
        stubber.add_client_error("complete_multipart_upload", service_error_code=code)
        completed = S3Bucket(Caller(client), "artifacts").complete(
            "k", "u", [SentPart(number=1, etag="e", sha256=None)]
        )

    assert not completed
