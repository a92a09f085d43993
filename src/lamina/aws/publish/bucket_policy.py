"""Check whether Lambda can read layers directly from a bucket (``storage = "reference"``), and create a policy that allows it."""

from __future__ import annotations

import json
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from lamina.aws.api.errors import parsing
from lamina.core.errors import PublishError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lamina.aws.api.account import Account
    from lamina.aws.destination.bucket import Bucket

# Lambda developer guide, "Self-managed S3 code storage" (read 2026-11-23).
_PRINCIPAL = "lambda.amazonaws.com"
_ACTIONS = ("s3:GetObject", "s3:GetObjectVersion")


def check(bucket: Bucket, *, account: Account) -> None:
    """
    Check that *bucket* is versioned and that its policy allows Lambda to read layers.

    Raises `PublishError` listing everything that is missing. Conditions in the bucket policy are not evaluated: an ``Allow``
    statement counts even if it has a condition, and a ``Deny`` statement with a condition is ignored.
    """
    state, name, prefix = bucket.objects.state(), bucket.name, bucket.keys.prefix
    missing: list[str] = []
    hints: list[str] = []
    if not state.versioned:
        missing.append("versioning is not enabled")
        hints.append(
            "enable versioning: "
            f"`aws s3api put-bucket-versioning --bucket {name} --versioning-configuration Status=Enabled`",
        )
    resource = f"arn:{account.partition}:s3:::{name}/{prefix}layers/x.zip"
    allowed = [action for action in _ACTIONS if _allows(state.policy, action, resource)]
    if lacking := [action for action in _ACTIONS if action not in allowed]:
        missing.append(
            f"the bucket policy does not allow Lambda to call {' and '.join(f'`{action}`' for action in lacking)}"
        )
        hints.append(
            f"set this bucket policy, or add its statement to the existing policy:\n{ready_policy(bucket=name, prefix=prefix, account=account)}"
        )
    if missing:
        raise PublishError(
            f"Lambda cannot read layers from bucket `{name}`: {'; '.join(missing)}", hint="\n".join(hints)
        )


def ready_policy(*, bucket: str, prefix: str, account: Account) -> str:
    """Return a bucket policy that allows Lambda to read layers from *bucket*, only on behalf of *account* in its region."""
    statement = {
        "Sid": "LambdaReadsLayers",
        "Effect": "Allow",
        "Principal": {"Service": _PRINCIPAL},
        "Action": list(_ACTIONS),
        "Resource": f"arn:{account.partition}:s3:::{bucket}/{prefix}layers/*",
        "Condition": {"ArnLike": {"aws:SourceArn": f"arn:{account.partition}:lambda:{account.region}:{account.id}:*"}},
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]}, indent=2)


def _allows(policy: str | None, action: str, resource: str) -> bool:
    statements = list(_statements(policy))
    return any(_applies(each, action, resource) for each in statements if each.get("Effect") == "Allow") and not any(
        _applies(each, action, resource) and "Condition" not in each
        for each in statements
        if each.get("Effect") == "Deny"
    )


def _statements(policy: str | None) -> Iterator[dict[str, Any]]:
    if policy is not None:
        with parsing("s3", "read the bucket policy"):
            statements = json.loads(policy).get("Statement", [])
            yield from [dict(each) for each in (statements if isinstance(statements, list) else [statements])]


def _applies(statement: dict[str, Any], action: str, resource: str) -> bool:
    principal = statement.get("Principal")
    services = principal.get("Service") if isinstance(principal, dict) else principal
    return (
        bool({"*", _PRINCIPAL}.intersection(_listed(services)))
        and any(fnmatchcase(action.lower(), pattern.lower()) for pattern in _listed(statement.get("Action")))
        and any(fnmatchcase(resource, pattern) for pattern in _listed(statement.get("Resource")))
    )


def _listed(value: object) -> list[str]:
    return [str(each) for each in value] if isinstance(value, list) else [] if value is None else [str(value)]
