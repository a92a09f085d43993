"""Cases in which the bucket is not used for a build. `tests/cli/test_publish_absent.py` tests the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lamina.aws.publish.config import PublishConfig
from lamina.aws.publish.remote.build import build_service
from lamina.core.store import Store
from lamina.pipeline.build import build
from lamina.project.options import BuildOptions
from services import make_service

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from lamina.aws.destination.destination import Destination

BUCKET = PublishConfig(bucket="artifacts")


def connect() -> Sequence[Destination]:
    pytest.fail("AWS was asked")


@pytest.mark.parametrize(
    ("settings", "options"),
    [
        (PublishConfig(), BuildOptions()),
        (PublishConfig(bucket="artifacts", fetches=True), BuildOptions()),
        (BUCKET, BuildOptions(offline=True)),
    ],
)
def test_not_wanted(tmp_path: Path, settings: PublishConfig, options: BuildOptions) -> None:
    """Without a bucket, with `missing-wheels = "fetch"`, and offline, everything is built in full."""
    project = make_service(tmp_path).write()
    store = Store(tmp_path / "store")

    made = build_service(project, settings, options, connect, directory=tmp_path / "work", store=store)

    assert made.remote is None
    assert [build.layers[0].path for build in made.builds] == [project / ".lamina/layers/common.zip"]


def test_no_use(tmp_path: Path) -> None:
    """If the store has all wheels, or all layers are up to date, lamina does not call AWS."""
    project = make_service(tmp_path).write()
    store, other = Store(tmp_path / "store"), Store(tmp_path / "other")
    build(project, BuildOptions(), store=store)

    for each in (store, other):
        made = build_service(project, BUCKET, BuildOptions(), connect, directory=tmp_path / "work", store=each)

        assert (None, [True]) == (made.remote, [each.reused for each in made.builds])
