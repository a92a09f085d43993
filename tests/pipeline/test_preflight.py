"""Estimates before the download: sizes from the wheels' central directories, and findings from those sizes."""

from __future__ import annotations

import shutil
import struct
from typing import TYPE_CHECKING

import pytest

from lamina.archive.placement import Outline
from lamina.core.frozen import replace
from lamina.core.store import Store
from lamina.core.target import quotas
from lamina.core.values import Severity
from lamina.pipeline.build import build
from lamina.pipeline.context import BuildContext
from lamina.pipeline.estimate import DistributionEstimate, Estimate, estimate
from lamina.pipeline.plan import resolve
from lamina.pipeline.preflight import estimated_findings, preflight_findings
from lamina.project import config
from lamina.project.options import BuildOptions
from loopback import IndexServer
from pipeline.fakes import FakeRemoteStore
from services import Service, make_service
from wheels import sha256

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lamina.pipeline.plan import BuildPlan

LIMIT = quotas().unzipped_bytes


@pytest.fixture
def server(tmp_path: Path) -> Iterator[IndexServer]:
    (tmp_path / "wheels").mkdir()
    with IndexServer(tmp_path / "wheels") as server:
        yield server


@pytest.fixture
def service(tmp_path: Path, server: IndexServer) -> Service:
    """A service whose wheels are on a server."""
    return make_service(tmp_path, base_url=f"{server.url}/files")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def resolved(service: Service, store: Store, *, offline: bool = False) -> tuple[BuildPlan, BuildContext]:
    context = BuildContext.open(service.write(), BuildOptions(offline=offline), store=store)
    return resolve(context, config.load(service.root)), context


def weighing(plan: BuildPlan, missing_bytes: int) -> BuildPlan:
    """Return *plan* with the given number of missing bytes, according to the lock file."""
    (target,) = plan.targets
    first, *others = target.missing
    rest = sum(pin.size or 0 for pin in others)
    return replace(plan, targets=(replace(target, missing=(replace(first, size=missing_bytes - rest), *others)),))


def estimated(unzipped_bytes: int, plan: BuildPlan) -> list[Estimate]:
    pin = plan.targets[0].layers[0].selection.pins[0]
    outline = Outline(zipped_bytes=1, unzipped_bytes=unzipped_bytes)
    return [Estimate(name="common", shares=(DistributionEstimate(pin=pin, outline=outline, in_store=False),))]


def test_estimate_is_what_the_layer_will_be(service: Service, store: Store) -> None:
    """Without bytecode, the estimated sizes of each distribution equal those of the finished layer."""
    plan, context = resolved(service, store)

    ((before,),) = estimate(plan, context)

    (layer,) = build(service.root, BuildOptions(), store=store).build.layers
    assert [(each.name, each.zipped_bytes, each.unzipped_bytes) for each in layer.distributions] == [
        (share.pin.name, share.outline.zipped_bytes, share.outline.unzipped_bytes)
        for share in before.shares
        if share.outline
    ]
    assert before.complete


def test_estimate_fetches_no_wheel(service: Service, store: Store, server: IndexServer) -> None:
    """Only ranges of the wheels are requested, and the store stays empty."""
    plan, context = resolved(service, store)

    ((found,),) = estimate(plan, context)

    assert [False, False] == [share.in_store for share in found.shares]
    assert all(request.range for request in server.requests)
    assert all(store.wheel(sha256(path)) is None for path in service.locked.values())


def test_estimate_reads_the_store_first(service: Service, store: Store, server: IndexServer) -> None:
    """For a wheel in the store, no request is sent."""
    build(service.write(), BuildOptions(), store=store)
    shutil.rmtree(service.root / ".lamina")
    server.requests.clear()
    plan, context = resolved(service, store)

    ((found,),) = estimate(plan, context)

    assert [] == server.requests
    assert ([True, True], True) == ([share.in_store for share in found.shares], found.complete)


def test_estimate_leaves_out_what_is_excluded(service: Service, store: Store) -> None:
    """Files that the configuration excludes are not counted."""
    plan, context = resolved(service, store)
    service.settings["exclude"] = '["*.bin"]'
    excluded, _ = resolved(service, store)

    assert [40 * 256] == [
        before.unzipped_bytes - after.unzipped_bytes
        for before, after in zip(*estimate(plan, context), *estimate(excluded, context), strict=True)
    ]


def test_estimate_without_ranges(service: Service, store: Store, server: IndexServer) -> None:
    """A wheel whose server does not support ranges has an unknown size, and the estimate is incomplete."""
    server.behaviour.ranges = False
    plan, context = resolved(service, store)

    ((found,),) = estimate(plan, context)

    assert ([None, None], False) == ([share.outline for share in found.shares], found.complete)
    assert (0, 0) == (found.zipped_bytes, found.unzipped_bytes)


def test_estimate_of_something_else(service: Service, store: Store, server: IndexServer) -> None:
    """A file that is not a wheel has an unknown size; the build fetches it and reports the error."""
    alpha = service.locked["alpha"]
    server.behaviour.replace[alpha.name] = bytes(alpha.stat().st_size)
    plan, context = resolved(service, store)

    ((found,),) = estimate(plan, context)

    assert [False, True] == [share.outline is not None for share in found.shares]


def test_estimate_offline(service: Service, store: Store, server: IndexServer) -> None:
    """In offline mode, no request is sent."""
    plan, context = resolved(service, store, offline=True)

    ((found,),) = estimate(plan, context)

    assert ([], False) == (server.requests, found.complete)


def test_over_the_limit(service: Service, store: Store) -> None:
    """A layer that certainly exceeds the limit is an error for its functions, with the largest distributions."""
    plan, _ = resolved(service, store)

    (finding,) = estimated_findings(plan.targets[0], estimated(LIMIT + 1, plan))

    assert ("unzipped-limit", Severity.ERROR) == (finding.rule, finding.severity)
    assert finding.message.endswith(
        f"(code 0 + layer `common` {LIMIT + 1:,}); largest distributions: `alpha` {LIMIT + 1:,}"
    )


def test_within_the_limit(service: Service, store: Store) -> None:
    """Only errors are reported before the download; warnings and notes need the finished layer."""
    plan, _ = resolved(service, store)
    (found,) = estimated(LIMIT, plan)
    large = Outline(zipped_bytes=quotas().direct_upload_bytes + 1, unzipped_bytes=LIMIT)
    share = DistributionEstimate(pin=found.shares[0].pin, outline=large, in_store=False)

    assert () == estimated_findings(plan.targets[0], [Estimate(name="common", shares=(share,))])


def test_little_to_download_is_not_looked_at(service: Service, store: Store, server: IndexServer) -> None:
    """If less than a quarter of the limit is missing, no request is sent."""
    plan, context = resolved(service, store)

    assert ((),) == preflight_findings(weighing(plan, LIMIT // 4 - 1), context)
    assert [] == server.requests


def test_much_to_download_is_looked_at(service: Service, store: Store, server: IndexServer) -> None:
    """If a quarter of the limit or more is missing, the wheels' central directories are read."""
    plan, context = resolved(service, store)

    assert ((),) == preflight_findings(weighing(plan, LIMIT // 4), context)
    assert {path.name for path in service.locked.values()} == {
        request.path.rpartition("/")[2] for request in server.requests
    }


def inflated(path: Path) -> bytes:
    """Return the wheel at *path* with a central directory that states sizes over Lambda's limit."""
    content = bytearray(path.read_bytes())
    row = content.index(b"PK\x01\x02")
    sizes = struct.Struct("<LL")
    _, size = sizes.unpack_from(content, row + 20)
    assert size == 2000
    sizes.pack_into(content, row + 20, LIMIT // 8, LIMIT + 1)
    return bytes(content)


def test_too_much_to_download_is_refused(service: Service, store: Store, server: IndexServer) -> None:
    """A service that exceeds the limits is refused after reading only the wheels' central directories."""
    alpha = service.locked["alpha"]
    server.behaviour.replace[alpha.name] = inflated(alpha)
    plan, context = resolved(service, store)

    ((finding,),) = preflight_findings(weighing(plan, LIMIT), context)

    assert ("unzipped-limit", Severity.ERROR) == (finding.rule, finding.severity)


def test_offline_nothing_is_looked_at(service: Service, store: Store, server: IndexServer) -> None:
    """In offline mode the check is skipped, even for wheels in the store; the build lists the missing files."""
    plan, context = resolved(service, store, offline=True)
    alpha = service.locked["alpha"]
    path = store.wheel_destination(sha256(alpha), alpha.name)
    path.parent.mkdir(parents=True)
    path.write_bytes(inflated(alpha))

    assert ((),) == preflight_findings(weighing(plan, LIMIT), context)
    assert [] == server.requests


def test_with_a_remote_store_nothing_is_looked_at(service: Service, store: Store, server: IndexServer) -> None:
    """With a remote store no request is sent, because most missing wheels are not downloaded."""
    plan, context = resolved(service, store)
    context = replace(context, remote=FakeRemoteStore(store, store))

    assert ((),) == preflight_findings(weighing(plan, LIMIT), context)
    assert [] == server.requests
