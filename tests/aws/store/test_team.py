"""When a build uses the team store."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lamina.aws.store.team import team_store
from lamina.core.reporter import Silent
from lamina.core.store import Store
from lamina.pipeline.context import BuildContext
from lamina.project import config
from lamina.project.options import BuildOptions
from services import make_service

if TYPE_CHECKING:
    from pathlib import Path


class NoWarnings(Silent):
    """A reporter that fails the test on any warning."""

    def warn(self, message: str, *, hint: str | None = None) -> None:
        pytest.fail(message)


@pytest.mark.parametrize(("address", "offline"), [(None, False), ("s3://team/cache", True)])
def test_build_is_left_alone(tmp_path: Path, address: str | None, offline: bool) -> None:
    """Without a configured team store, and offline, a build keeps its context and does not access a bucket."""
    service = make_service(tmp_path)
    if address is not None:
        service.settings["store"] = f'"{address}"'
    project = service.write()
    store = Store(tmp_path / "store")
    context = BuildContext.open(project, BuildOptions(offline=offline), store=store, reporter=NoWarnings())

    with team_store(context, config.load(project)) as found:
        assert context is found
