"""Round trips through botocore: MiniStack checks bytes and checksums, moto checks the minimum part size."""

from __future__ import annotations

import json
import threading
import uuid
from typing import TYPE_CHECKING

import pytest

from aws.made import PART, make_layer, make_wanted
from lamina.aws.api.layers import Grant
from lamina.aws.api.s3 import BucketState
from lamina.aws.api.session import Access
from lamina.aws.publish.apply import Published, apply
from lamina.aws.publish.bucket_policy import ready_policy
from lamina.aws.publish.config import PublishConfig
from lamina.aws.publish.destinations import connect
from lamina.aws.publish.survey import survey
from lamina.aws.publish.zip_source import LayerJob, LayerZip
from lamina.core.errors import AwsError, IntegrityError, MissingBucketError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from emulators import Emulator
    from lamina.aws.api.s3 import Objects
    from lamina.aws.publish.desired import DesiredLayer

SIZES = {
    "none-large": {f"d{number:02}": 700_000 for number in range(20)},
    "one-large": {"big": PART + 1, "small": 1000},
    "many": {"big": PART + 7, "large": PART, "s1": PART // 2, "s2": PART // 2, "s3": 2_000_000},
}


def publish(wanted: DesiredLayer, *, observe: Callable[[str, str], None] | None = None) -> list[Published]:
    return list(apply(survey([LayerJob(wanted)], connect(wanted.config, observe=observe))))


def unique() -> str:
    return f"t{uuid.uuid4().hex[:12]}"


def wanted_in(
    directory: Path, emulator: Emulator, sizes: dict[str, int], service: str, **versions: str
) -> DesiredLayer:
    layer = make_layer(directory / uuid.uuid4().hex, sizes, versions=versions)
    return make_wanted(layer, PublishConfig(bucket=service, regions=(emulator.region,)), service=service)


@pytest.mark.parametrize("kind", SIZES)
def test_composed_object_is_the_local_zip_for_moto(tmp_path: Path, moto: Emulator, kind: str) -> None:
    """S3's minimum part size of 5 MiB, which moto enforces, is respected, and the composed object equals the local zip."""
    name = unique()
    moto.make_bucket(name)
    wanted = wanted_in(tmp_path, moto, SIZES[kind], name)
    (published,) = publish(wanted)

    assert published.version.code_sha256 == wanted.layer.code_sha256
    assert wanted.layer.path.read_bytes() == moto.content(name, f"lamina/layers/{wanted.layer.digest}.zip")
    # This checksum proves the layer even if this machine lacks some of its bytes.
    objects = Access(region=moto.region).connect().bucket(name)
    composed = objects.head(f"lamina/layers/{wanted.layer.digest}.zip")
    assert composed is not None
    assert LayerZip.hashed(wanted).composite_sha256 == composed.composite_sha256


def test_bytes_sent_to_ministack(tmp_path: Path, ministack: Emulator) -> None:
    """The first upload sends everything, the second sends nothing, and after a bump only the wheel's part and the tail are sent."""
    name = unique()
    ministack.make_bucket(name)
    first = wanted_in(tmp_path, ministack, SIZES["many"], name)
    bumped = wanted_in(tmp_path, ministack, SIZES["many"], name, s1="1.1")
    sent = [publish(wanted)[0].sent_bytes for wanted in (first, first, bumped)]

    assert [first.layer.zipped_bytes, 0, bumped.layer.zipped_bytes - 2 * PART - 7] == sent
    for wanted in (first, bumped):
        assert wanted.layer.path.read_bytes() == ministack.content(name, f"lamina/layers/{wanted.layer.digest}.zip")
    assert [bumped.description, first.description] == [
        row["Description"] for row in ministack.versions(f"{name}-common")
    ]


def test_two_publishers_at_once_make_one_version(tmp_path: Path, ministack: Emulator) -> None:
    """Of two publishers that both planned to publish, only one creates a version."""
    name = unique()
    ministack.make_bucket(name)
    wanted = wanted_in(tmp_path, ministack, {"alpha": 5000}, name)
    places = connect(wanted.config)
    plans = [survey([LayerJob(wanted)], places) for _ in range(2)]
    results: list[Published] = []
    threads = [threading.Thread(target=lambda steps=steps: results.extend(apply(steps))) for steps in plans]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(ministack.versions(f"{name}-common")) == 1
    assert [1, 1] == [each.version.number for each in results]
    assert [False, True] == sorted(each.new for each in results)


def test_several_regions_and_shared_versions(tmp_path: Path, ministack: Emulator) -> None:
    """Each region has its own bucket and version, and each version receives every grant once."""
    name = unique()
    regions = ("eu-west-1", "eu-central-1")
    for region in regions:
        ministack.make_bucket(f"{name}-000000000000-{region}", region=region)
    config = PublishConfig(
        bucket=f"{name}-{{account}}-{{region}}",
        regions=regions,
        share_with=(Grant(principal="123456789012"), Grant(principal="o-abcdefghij")),
        ssm_prefix="/layers/{service}",
    )
    wanted = make_wanted(make_layer(tmp_path, {"alpha": 5000}), config, service=name)
    published = publish(wanted)
    again = survey([LayerJob(wanted)], connect(config))

    arns = [f"arn:aws:lambda:{region}:000000000000:layer:{name}-common:1" for region in regions]
    assert arns == [each.version.arn for each in published]
    assert not any(step.action.is_change for step in again)
    for region, arn in zip(regions, arns, strict=True):
        parameter = ministack.client("ssm", region=region).get_parameter(Name=f"/layers/{name}/common")
        policy = ministack.client("lambda", region=region).get_layer_version_policy(
            LayerName=f"{name}-common", VersionNumber=1
        )

        assert arn == parameter["Parameter"]["Value"]
        assert ["lamina-123456789012", "lamina-o-abcdefghij"] == sorted(
            each["Sid"] for each in json.loads(policy["Policy"])["Statement"]
        )


def test_roles_are_assumed(tmp_path: Path, moto: Emulator) -> None:
    """Each role is another account, and the ARN of the published version contains that account."""
    roles = tuple(f"arn:aws:iam::{account}:role/publisher" for account in ("111111111111", "222222222222"))
    name = unique()
    config = PublishConfig(roles=roles, regions=("eu-west-1",))
    wanted = make_wanted(make_layer(tmp_path, {"alpha": 5000}), config, service=name)
    calls: list[tuple[str, str]] = []
    published = publish(wanted, observe=lambda service, operation: calls.append((service, operation)))

    assert calls.count(("sts", "AssumeRole")) == 2
    assert [each.account.id for each in published] == [role.split(":")[4] for role in roles]


def objects_of(emulator: Emulator) -> Objects:
    name = emulator.make_bucket(unique())
    return Access(region=emulator.region).connect().bucket(name)


def test_what_arrives_is_checked(ministack: Emulator) -> None:
    """S3 compares the checksum with the received content, and rejects content that differs."""
    objects = objects_of(ministack)
    with pytest.raises(IntegrityError) as caught:
        objects.put("key", b"content", sha256="00" * 32)

    assert f"cannot store `s3://{objects.bucket}/key`: AWS received different content than lamina sent" == str(
        caught.value
    )
    assert objects.head("key") is None


def test_conditions(ministack: Emulator) -> None:
    """An existing object is not overwritten, and is replaced only if its ETag is the expected one."""
    objects = objects_of(ministack)
    one, two = (
        ("1", "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b"),
        ("2", "d4735e3a265e16eee03f59718b9b5d03019c07d8b6c51f90da3a666eec13ab35"),
    )

    assert objects.put("key", one[0].encode(), sha256=one[1])
    seen = objects.head("key")
    assert seen is not None
    assert one[1] == seen.sha256
    assert not objects.put("key", two[0].encode(), sha256=two[1])
    assert objects.put("key", two[0].encode(), sha256=two[1], replacing=seen.etag)
    assert not objects.put("key", one[0].encode(), sha256=one[1], replacing=seen.etag)
    assert objects.get("key") == b"2"
    assert objects.get("nothing") is None


def test_unfinished_uploads_are_found_and_given_up(ministack: Emulator) -> None:
    """The unfinished uploads of a killed publisher can be listed and aborted."""
    objects = objects_of(ministack)
    upload, other = objects.begin("key"), objects.begin("keys/other")

    assert [("key", upload), ("keys/other", other)] == sorted((each.key, each.id) for each in objects.unfinished("key"))
    objects.abort("key", upload)
    assert [other] == [each.id for each in objects.unfinished("key")]
    objects.abort("key", upload)


def test_missing_bucket_is_named(ministack: Emulator) -> None:
    """A missing bucket is reported before anything is uploaded."""
    with pytest.raises(MissingBucketError) as caught:
        Access(region="eu-west-1").connect().bucket("no-such-bucket-here").region()

    assert str(caught.value) == "bucket `no-such-bucket-here` does not exist"


def test_state_of_a_bucket(ministack: Emulator) -> None:
    """The versioning state and the policy of a bucket are read."""
    objects = objects_of(ministack)
    account = Access(region="eu-west-1").connect().account
    policy = ready_policy(bucket=objects.bucket, prefix="lamina/", account=account)

    assert BucketState(versioned=False, policy=None) == objects.state()
    client = ministack.client("s3")
    client.put_bucket_versioning(Bucket=objects.bucket, VersioningConfiguration={"Status": "Enabled"})
    client.put_bucket_policy(Bucket=objects.bucket, Policy=policy)
    state = objects.state()

    assert state.versioned
    assert json.loads(policy) == json.loads(state.policy or "")


def test_unreachable_service_is_an_error_for_people(monkeypatch: pytest.MonkeyPatch, ministack: Emulator) -> None:
    """A refused connection names the service, and no credentials."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(AwsError) as caught:
        _ = Access(region="eu-west-1").connect().account

    assert str(caught.value) == "cannot look up the AWS account: no connection to `sts`"
