"""Facts about AWS agree with what the AWS SDK itself knows."""

from __future__ import annotations

from typing import Any

import botocore
import pytest
from botocore.loaders import Loader

from lamina.aws.api.facts import waiter_seconds
from lamina.core.target import runtimes
from lamina.project.functions import setting

_NEW = tuple(map(int, botocore.__version__.split(".")[:2])) >= (1, 44)


@pytest.mark.parametrize("name", ["FunctionUpdated", "PublishedVersionActive"])
def test_waiters(name: str) -> None:
    """Lamina waits for Lambda as long as the SDK's waiters do."""
    waiters: dict[str, Any] = Loader().load_service_model("lambda", "waiters-2")["waiters"]

    assert waiters[name]["delay"] * waiters[name]["maxAttempts"] == waiter_seconds(name)


@pytest.mark.skipif(not _NEW, reason="earlier versions of botocore have earlier limits")
@pytest.mark.parametrize(("name", "shape"), [("memory", "MemorySize"), ("timeout", "Timeout")])
def test_settings(name: str, shape: str) -> None:
    """The limits of a function's settings are those of the SDK's model, where it states them."""
    model: dict[str, Any] = Loader().load_service_model("lambda", "service-2")
    limits, known = setting(name), model["shapes"][shape]

    assert limits.least == known["min"]
    assert limits.most == known.get("max", limits.most)
    text = model["shapes"]["CreateFunctionRequest"]["members"][shape].get("documentation", "")
    if shape == "Timeout":
        assert f"{limits.ordinary:,} seconds" in text
        assert f"{limits.most:,} seconds" in text


def test_runtimes() -> None:
    """Lambda has every runtime that lamina builds for, and every preview began before it became generally available."""
    model: dict[str, Any] = Loader().load_service_model("lambda", "service-2")
    known = set(model["shapes"]["Runtime"]["enum"])

    assert {runtime.name for runtime in runtimes() if runtime.preview is None} <= known
    assert ["python3.15"] == [runtime.name for runtime in runtimes() if runtime.preview is not None]
