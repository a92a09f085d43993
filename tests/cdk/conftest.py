"""Fixtures for the tests of the constructs, which are skipped without Node."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from services import make_service

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from services import Service

# Silence the box in which jsii recommends a newer Node.
os.environ.setdefault("JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION", "18,20,22")
os.environ.setdefault("JSII_SILENCE_WARNING_UNTESTED_NODE_VERSION", "1")


class WithoutNode(pytest.Module):
    """A test module that is skipped without importing it, because importing aws_cdk starts Node."""

    def collect(self) -> Iterator[pytest.Item]:
        pytest.skip("aws-cdk-lib requires Node, but `node` is not on the PATH")


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> pytest.Module | None:
    """Skip the modules in this folder if Node is not installed."""
    if shutil.which("node") is not None:
        return None
    module: pytest.Module = WithoutNode.from_parent(parent, path=module_path)
    return module


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Service:
    """A service with two functions, one layer, and its own store; its files are not written yet."""
    monkeypatch.setenv("LAMINA_CACHE_DIR", str(tmp_path / "store"))
    service = make_service(tmp_path)
    service.functions["report"] = "service.handlers.hello.lambda_handler"
    return service
