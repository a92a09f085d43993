"""Facts about AWS agree with what the AWS SDK itself knows."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.loaders import Loader

from lamina.aws.api.facts import waiter_seconds


@pytest.mark.parametrize("name", ["FunctionUpdated", "PublishedVersionActive"])
def test_waiters(name: str) -> None:
    """Lamina waits for Lambda as long as the SDK's waiters do."""
    waiters: dict[str, Any] = Loader().load_service_model("lambda", "waiters-2")["waiters"]

    assert waiters[name]["delay"] * waiters[name]["maxAttempts"] == waiter_seconds(name)
