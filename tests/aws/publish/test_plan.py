"""Planning publishes a version only if no existing version has the layer's content, and every action states its reason."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aws.made import make_layer, make_record, make_wanted
from lamina.aws.api.layers import Grant, LayerVersion, PublishedVersion
from lamina.aws.destination.naming import describe, digest_in, may_be_layer, service_in
from lamina.aws.publish.config import PublishConfig
from lamina.aws.publish.layer_record import decode_record
from lamina.aws.publish.plan import KeepLayer, LayerState, PublishLayer, plan
from lamina.core.values import Pin, Sha256

if TYPE_CHECKING:
    from pathlib import Path

    from lamina.aws.publish.desired import DesiredLayer


def listed(number: int, description: str) -> LayerVersion:
    created = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    return LayerVersion(
        name="shop-common", number=number, arn=f"arn:{number}", description=description, created=created
    )


def real(number: int, code_sha256: str | None) -> PublishedVersion:
    assert code_sha256 is not None
    return PublishedVersion(number=number, arn=f"arn:{number}", code_sha256=code_sha256, code_bytes=1)


@pytest.fixture
def wanted(tmp_path: Path) -> DesiredLayer:
    return make_wanted(make_layer(tmp_path, {"alpha": 100, "beta": 200}))


def test_first_publication(wanted: DesiredLayer) -> None:
    """Without an existing version, the complete layer is uploaded."""
    assert plan(wanted, LayerState()) == PublishLayer(
        reason="not published before", upload_bytes=wanted.layer.zipped_bytes
    )


def test_the_same_content_is_kept(wanted: DesiredLayer) -> None:
    """A version with the layer's digest in its description and with its CodeSha256 is kept."""
    same = real(3, wanted.layer.code_sha256)
    state = LayerState(versions=(listed(3, wanted.description),), candidates=(same,))
    action = plan(wanted, state)

    assert KeepLayer(version=same, reason="unchanged") == action
    assert not action.is_change


def test_an_older_version_is_found(wanted: DesiredLayer) -> None:
    """Going back to an earlier lock file reuses the version that was published for it."""
    same = real(3, wanted.layer.code_sha256)
    versions = (listed(5, describe("5" * 64, "python3.13", ())), listed(4, "by hand"), listed(3, wanted.description))

    assert KeepLayer(version=same, reason="version 3 is identical, but is not the newest version") == plan(
        wanted, LayerState(versions=versions, candidates=(same,))
    )


def test_the_oldest_of_several_is_kept(wanted: DesiredLayer) -> None:
    """Publishers that raced select the same version, the oldest."""
    candidates = (real(3, wanted.layer.code_sha256), real(4, wanted.layer.code_sha256))
    versions = tuple(listed(number, wanted.description) for number in (4, 3))
    action = plan(wanted, LayerState(versions=versions, candidates=candidates))

    assert isinstance(action, KeepLayer)
    assert action.version.number == 3


def test_a_description_alone_proves_nothing(wanted: DesiredLayer) -> None:
    """A version whose description has the layer's digest but whose content differs is not kept."""
    state = LayerState(versions=(listed(3, wanted.description),), candidates=(real(3, "other"),))

    assert plan(wanted, state).reason == "version 3 has the same digest, but different content"


def test_the_reason_names_what_changed(tmp_path: Path, wanted: DesiredLayer) -> None:
    """The reason lists the differences from the record of the previous version."""
    before = decode_record(make_record(wanted))
    newer = make_wanted(make_layer(tmp_path, {"alpha": 100, "gamma": 5}, versions={"alpha": "1.1"}))
    state = LayerState(versions=(listed(1, wanted.description),), record=before)

    assert plan(newer, state).reason == "alpha 1.0 → 1.1, added gamma 1.0, removed beta 1.0"


def test_the_reason_names_another_target(wanted: DesiredLayer) -> None:
    """The same distributions on another runtime are another layer, and the reason names both platforms."""
    record = decode_record(make_record(wanted).replace(b"python3.13 on x86_64 and arm64", b"python3.12 on arm64"))
    state = LayerState(versions=(listed(1, "lamina:" + "0" * 64),), record=record)

    assert plan(wanted, state).reason == "python3.12 on arm64 → python3.13 on x86_64 and arm64"


def test_the_reason_without_a_record(wanted: DesiredLayer) -> None:
    """Without a record, the reason names the newest version that lamina published, or states that there is none."""
    ours = LayerState(versions=(listed(2, "by hand"), listed(1, "lamina:" + "0" * 64)))

    assert plan(wanted, ours).reason == "the content differs from version 1"
    assert (
        plan(wanted, LayerState(versions=(listed(2, "by hand"),))).reason
        == "lamina published none of the existing versions; the newest is version 2"
    )


def test_missing_grants_and_parameter_are_part_of_the_plan(tmp_path: Path) -> None:
    """A version with the right content that lacks a grant or its parameter is kept, and the plan adds both."""
    grants = (Grant(principal="210987654321"), Grant(principal="o-abcdefghij"))
    wanted = make_wanted(make_layer(tmp_path, {"alpha": 1}), PublishConfig(share_with=grants))
    same = real(1, wanted.layer.code_sha256)
    state = LayerState(
        versions=(listed(1, wanted.description),), candidates=(same,), granted=frozenset({"lamina-210987654321"})
    )
    action = plan(wanted, state, parameter="/layers/common")

    assert KeepLayer(version=same, reason="unchanged", grants=grants[1:], parameter="/layers/common") == action
    assert action.is_change


def test_description_carries_the_digest_within_the_limit(tmp_path: Path) -> None:
    """A description lists as many distributions as fit within the limit, and lamina can read the digest from it."""
    few = make_layer(tmp_path, {"alpha": 1, "beta": 1})
    many = make_layer(tmp_path, {f"distribution-{number:02}": 1 for number in range(40)})

    assert f"lamina:{few.digest} python3.13 on arm64: alpha 1.0, beta 1.0" == describe(
        few.digest, "python3.13 on arm64", few.distributions
    )
    text = describe(many.digest, "python3.13", many.distributions)

    assert len(text) <= 256
    assert text.endswith("more")
    assert many.digest == digest_in(text)


@given(st.text("abz-_.09", min_size=1, max_size=170), st.sampled_from(["python3.13", "python3.14 on arm64 and x86_64"]))
def test_description_carries_the_service(service: str, platform: str) -> None:
    """Lamina can read the service from a description, unless it is longer than Lambda's limit leaves room for, and always the digest."""
    pins = [Pin(name="for", version="1.0", filename="for-1.0-py3-none-any.whl", sha256=Sha256("0" * 64), url="")]
    text = describe("5" * 64, platform, pins, service=service)

    assert ("5" * 64, len(text) <= 256) == (digest_in(text), True)
    assert (service if len(f"lamina:{'5' * 64} {platform} for {service}") <= 256 else None) == service_in(text)
    assert None is service_in(describe("5" * 64, platform, pins))


@pytest.mark.parametrize(
    ("name", "template", "expected"),
    [
        ("shop-common", "{service}-{layer}", True),
        ("shop-orders-common", "{service}-{layer}", True),
        ("shop-", "{service}-{layer}", False),
        ("my-shop-common", "{service}-{layer}", False),
        ("prod-common-python313", "prod-{layer}-{runtime}", True),
        ("test-common-python313", "prod-{layer}-{runtime}", False),
    ],
)
def test_names_of_layers(name: str, template: str, *, expected: bool) -> None:
    """The template tells whether a name may be that of a layer, also of one that no configuration has."""
    assert expected is may_be_layer(name, template, service="shop")


@pytest.mark.parametrize("description", ["", "lamina:abc", "about lamina:" + "0" * 64, "lamina:" + "0" * 65])
def test_foreign_descriptions_have_no_digest(description: str) -> None:
    """A description that lamina did not write has no digest."""
    assert digest_in(description) is None


@pytest.mark.parametrize("content", [b'{"version": "1"}', b'{"version": "2"}', b"[]", b"\xff", b""])
def test_damaged_records_say_nothing(content: bytes) -> None:
    """A damaged record is ignored, and the reason is then derived from the digests."""
    assert decode_record(content) is None
