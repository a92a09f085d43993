"""What the tests of the constructs need: Node, and projects to synthesize."""

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

# What runs the constructs says in a box that it would like a newer Node.
os.environ.setdefault("JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION", "18,20,22")
os.environ.setdefault("JSII_SILENCE_WARNING_UNTESTED_NODE_VERSION", "1")


class WithoutNode(pytest.Module):
    """A module of tests that is not imported, because importing aws_cdk starts Node."""

    def collect(self) -> Iterator[pytest.Item]:
        pytest.skip("aws-cdk-lib runs in Node, and there is no `node` on the PATH")


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> pytest.Module | None:
    """Skip the modules here where there is no Node."""
    if shutil.which("node") is not None:
        return None
    module: pytest.Module = WithoutNode.from_parent(parent, path=module_path)
    return module


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Service:
    """A service with two functions and one layer, not yet written, and a store of its own."""
    monkeypatch.setenv("LAMINA_CACHE_DIR", str(tmp_path / "store"))
    service = make_service(tmp_path)
    service.functions["report"] = "service.handlers.hello.lambda_handler"
    return service
