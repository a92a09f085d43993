"""Publishing against AWS in memory: bytes sent, recovery after a kill at any call, and concurrent publishers."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from aws.fakes import Cloud, Fake, Killed, Version
from aws.made import PART, make_layer, make_wanted
from lamina.aws.api.account import Account
from lamina.aws.api.functions import Storage
from lamina.aws.api.layers import Grant
from lamina.aws.api.s3 import BucketState
from lamina.aws.destination.destination import Destination, everywhere
from lamina.aws.publish.apply import Published, apply
from lamina.aws.publish.bucket_policy import ready_policy
from lamina.aws.publish.config import PublishConfig
from lamina.aws.publish.idempotent import Leases
from lamina.aws.publish.plan import KeepLayer, PublishLayer
from lamina.aws.publish.survey import survey
from lamina.aws.publish.zip_source import LayerJob
from lamina.core.errors import (
    AwsError,
    IntegrityError,
    MissingBucketError,
    MissingPermissionError,
    PublishError,
    StoppedError,
    UnavailableError,
    UnreachableError,
    WrongRegionError,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from lamina.aws.publish.desired import DesiredLayer

CONFIG = PublishConfig(bucket="artifacts", share_with=(Grant(principal="210987654321"),), ssm_prefix="/layers")
SIZES = {"big": PART, "small-a": PART // 2, "small-b": PART // 2 + 100}
KEY = "lamina/layers/"


def publish(wanted: DesiredLayer, fake: Fake, *, leases: Leases | None = None) -> Published:
    place = Destination(fake, bucket=wanted.config.bucket, prefix=wanted.config.prefix)
    (published,) = apply(survey([LayerJob(wanted)], [place]), leases=leases or Leases(sleep=fake.cloud.pass_time))
    return published


def planned(wanted: DesiredLayer, fake: Fake) -> KeepLayer | PublishLayer:
    place = Destination(fake, bucket=wanted.config.bucket, prefix=wanted.config.prefix)
    (step,) = survey([LayerJob(wanted)], [place])
    return step.action


@pytest.fixture(scope="module")
def wanted(tmp_path_factory: pytest.TempPathFactory) -> DesiredLayer:
    return make_wanted(make_layer(tmp_path_factory.mktemp("first"), SIZES), CONFIG)


@pytest.fixture(scope="module")
def bumped(tmp_path_factory: pytest.TempPathFactory) -> DesiredLayer:
    return make_wanted(make_layer(tmp_path_factory.mktemp("second"), SIZES, versions={"small-a": "1.1"}), CONFIG)


def test_first_publication_sends_the_layer_once(wanted: DesiredLayer) -> None:
    """The layer is uploaded once. The version has the bytes of the local zip, is shared, and is named by the parameter."""
    cloud = Cloud()
    fake = cloud.connect()
    published = publish(wanted, fake)
    (version,) = cloud.live("shop-common")

    assert published.new
    assert wanted.layer.path.read_bytes() == version.content
    assert wanted.layer.zipped_bytes == published.sent_bytes
    assert ["lamina-210987654321"] == list(version.grants)
    assert {"/layers/common": published.version.arn} == cloud.parameters
    assert {} == cloud.uploads
    assert not any("claims" in key for key in cloud.stored_keys())


def test_unchanged_layer_sends_nothing(wanted: DesiredLayer) -> None:
    """Publishing an unchanged layer only reads from AWS, and does not even read the zip."""
    cloud = Cloud()
    publish(wanted, cloud.connect())
    again = cloud.connect()
    published = publish(wanted, again)

    assert not published.new
    assert {"ListLayerVersions", "GetLayerVersion", "GetLayerVersionPolicy", "GetParameter"} == set(again.calls)


def test_bump_sends_its_part_and_the_tail(wanted: DesiredLayer, bumped: DesiredLayer) -> None:
    """After a bump of a small wheel, only its group and the tail are uploaded. S3 copies the rest."""
    cloud = Cloud()
    publish(wanted, cloud.connect())
    fake = cloud.connect()
    action = planned(bumped, fake)
    published = publish(bumped, fake)

    assert isinstance(action, PublishLayer)
    assert action.reason == "small-a 1.0 → 1.1"
    assert bumped.layer.zipped_bytes - PART == action.upload_bytes == published.sent_bytes
    assert bumped.layer.path.read_bytes() == cloud.live("shop-common")[-1].content


def test_going_back_publishes_nothing(wanted: DesiredLayer, bumped: DesiredLayer) -> None:
    """Going back to an earlier layer finds its version among all versions, and updates the parameter."""
    cloud = Cloud()
    first = publish(wanted, cloud.connect())
    publish(bumped, cloud.connect())
    fake = cloud.connect()
    back = publish(wanted, fake)

    assert back.version == first.version
    assert fake.sent == 0
    assert {"/layers/common": first.version.arn} == cloud.parameters
    assert len(cloud.live("shop-common")) == 2


def test_without_a_bucket_the_zip_is_in_the_call(tmp_path: Path) -> None:
    """A layer that is small enough is published inside the API call, without a bucket."""
    cloud = Cloud()
    wanted = make_wanted(make_layer(tmp_path, {"alpha": 1000}), PublishConfig())
    fake = cloud.connect()
    published = publish(wanted, fake)

    assert published.sent_bytes == fake.sent == wanted.layer.zipped_bytes
    assert wanted.layer.path.read_bytes() == cloud.live("shop-common")[0].content
    assert [] == cloud.stored_keys()


def test_small_layer_is_a_plain_object(tmp_path: Path) -> None:
    """A layer smaller than a part is uploaded as a single object."""
    cloud = Cloud()
    wanted = make_wanted(make_layer(tmp_path, {"alpha": 1000}), PublishConfig(bucket="artifacts"))
    fake = cloud.connect()
    publish(wanted, fake)

    assert "CreateMultipartUpload" not in fake.calls
    assert [f"{KEY}{wanted.layer.digest}.{suffix}" for suffix in ("json", "zip")] == cloud.stored_keys()


def killer(limit: int, count: list[int]) -> Callable[[str], None]:
    """Return a callback that allows *limit* calls and then raises Killed."""

    def kill(_: str) -> None:
        count[0] += 1
        if count[0] > limit:
            raise Killed

    return kill


@pytest.mark.parametrize("moment", ["before", "after"])
def test_killed_at_any_call_and_run_again(wanted: DesiredLayer, bumped: DesiredLayer, moment: str) -> None:
    """At whatever call a publisher is killed, the next run leaves one complete and shared version."""
    prepared = Cloud()
    publish(wanted, prepared.connect())
    calls = 0
    for limit in range(1000):
        versions = {"shop-common": list(prepared.live("shop-common"))}
        cloud = Cloud(objects=dict(prepared.objects), versions=versions, numbers=prepared.numbers)
        count = [0]
        kill = killer(limit, count)
        fake = cloud.connect(before=kill) if moment == "before" else cloud.connect(after=kill)
        try:
            publish(bumped, fake)
        except Killed:
            pass
        else:
            calls = limit
            break
        published = publish(bumped, cloud.connect())
        matching = [each for each in cloud.live("shop-common") if each.description == bumped.description]

        assert [published.version.number] == [each.number for each in matching], limit
        assert bumped.layer.path.read_bytes() == matching[0].content
        assert ["lamina-210987654321"] == list(matching[0].grants)
        assert {"/layers/common": published.version.arn} == cloud.parameters

    assert calls > 15


def test_failure_gives_the_upload_up(wanted: DesiredLayer) -> None:
    """If S3 denies copying a part, the upload is aborted, so that the bucket does not keep its parts."""

    def forbid(operation: str) -> None:
        if operation == "UploadPartCopy":
            raise MissingPermissionError("AWS denied permission to copy", actions=("s3:GetObject",))

    cloud = Cloud()
    with pytest.raises(MissingPermissionError):
        publish(wanted, cloud.connect(before=forbid))

    assert {} == cloud.uploads
    assert [] == cloud.live("shop-common")
    assert publish(wanted, cloud.connect()).new


@pytest.mark.parametrize(
    "operation",
    [
        "PutObject",
        "CreateMultipartUpload",
        "UploadPartCopy",
        "UploadPart",
        "CompleteMultipartUpload",
        "PublishLayerVersion",
        "AddLayerVersionPermission",
        "PutParameter",
        "DeleteObject",
    ],
)
def test_lost_replies_change_nothing(wanted: DesiredLayer, operation: str) -> None:
    """If the SDK repeats a call because its reply was lost, there is still only one version, with the right content."""
    cloud = Cloud()
    published = publish(wanted, cloud.connect(repeated=operation))
    (version,) = cloud.live("shop-common")

    assert version.number == published.version.number
    assert wanted.layer.path.read_bytes() == version.content
    assert ["lamina-210987654321"] == list(version.grants)


@pytest.mark.parametrize("bucket", ["artifacts", None])
def test_ten_publishers_end_on_one_version(tmp_path: Path, bucket: str | None) -> None:
    """Ten concurrent publishers that all planned to publish create one version, and all of them report it."""
    cloud = Cloud()
    wanted = make_wanted(make_layer(tmp_path, {"alpha": 5000}), PublishConfig(bucket=bucket))
    barrier = threading.Barrier(10)
    results: list[Published] = []

    def work() -> None:
        place = Destination(cloud.connect(), bucket=bucket, prefix="lamina/")
        steps = survey([LayerJob(wanted)], [place])
        barrier.wait()
        results.extend(apply(steps, leases=Leases(poll_seconds=0.01)))

    threads = [threading.Thread(target=work) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [version.number for version in cloud.live("shop-common")] == list({each.version.number for each in results})
    assert len(results) == 10
    assert sum(each.new for each in results) == 1
    assert not any("claims" in key for key in cloud.stored_keys())


def test_claim_of_a_killed_publisher_runs_out(wanted: DesiredLayer) -> None:
    """The lease of a killed publisher expires by the server's clock, and another publisher then takes it over."""
    cloud = Cloud()

    def kill(operation: str) -> None:
        if operation == "CreateMultipartUpload":
            raise Killed

    before = [0]

    def dead(operation: str) -> None:
        before[0] += operation == "CreateMultipartUpload"
        if before[0]:
            kill("CreateMultipartUpload")

    with pytest.raises(Killed):
        publish(wanted, cloud.connect(before=dead))
    waited: list[float] = []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        cloud.pass_time(seconds)

    published = publish(wanted, cloud.connect(), leases=Leases(sleep=sleep))

    assert published.new
    assert 60 <= sum(waited) <= 61


def test_damaged_part_is_replaced(wanted: DesiredLayer) -> None:
    """A part with the right name but the wrong content or size counts as missing."""
    cloud = Cloud()
    publish(wanted, cloud.connect())
    good = {key: each for (_, key), each in cloud.objects.items() if "parts/" in key}
    assert good
    cloud.versions.clear()
    for key in [key for key in cloud.stored_keys() if "layers/" in key]:
        del cloud.objects["artifacts", key]
    for key, each in good.items():
        cloud.objects["artifacts", key].sha256 = None
        cloud.objects["artifacts", key].content = b"x" * len(each.content)
    published = publish(wanted, cloud.connect())

    assert published.new
    assert wanted.layer.path.read_bytes() == cloud.live("shop-common")[0].content


def test_wrong_content_is_taken_back(wanted: DesiredLayer) -> None:
    """A version whose content differs is deleted, and the next run repairs the bucket."""
    cloud = Cloud()
    publish(wanted, cloud.connect())
    cloud.versions.clear()
    layer = cloud.objects["artifacts", f"{KEY}{wanted.layer.digest}.zip"]
    layer.content = b"x" * len(layer.content)
    with pytest.raises(IntegrityError) as caught:
        publish(wanted, cloud.connect())

    assert caught.value.hint == "run again; lamina has deleted the faulty version"
    assert [] == cloud.live("shop-common")
    assert publish(wanted, cloud.connect()).new
    assert wanted.layer.path.read_bytes() == cloud.live("shop-common")[0].content


def test_changed_zip_is_not_published(tmp_path: Path) -> None:
    """A zip that has changed since the build is not published."""
    cloud = Cloud()
    wanted = make_wanted(make_layer(tmp_path, {"alpha": 1000}), CONFIG)
    wanted.layer.path.write_bytes(b"x" * wanted.layer.zipped_bytes)
    with pytest.raises(IntegrityError) as caught:
        publish(wanted, cloud.connect())

    assert f"`{wanted.layer.path}` is missing or has changed since the build" == str(caught.value)
    assert [] == cloud.stored_keys()


def test_bucket_of_another_region_is_refused(wanted: DesiredLayer) -> None:
    """A bucket in another region is rejected before anything is uploaded."""
    cloud = Cloud(bucket_region="us-east-1")
    with pytest.raises(WrongRegionError) as caught:
        publish(wanted, cloud.connect())

    assert (
        str(caught.value)
        == "bucket `artifacts` is in us-east-1, but Lambda in eu-west-1 reads only buckets in its own region"
    )


def test_reference_needs_a_bucket_that_keeps(tmp_path: Path) -> None:
    """The error lists everything that the bucket lacks, with the policy to add, before anything is uploaded."""
    cloud = Cloud()
    config = PublishConfig(bucket="artifacts", storage=Storage.REFERENCE)
    wanted = make_wanted(make_layer(tmp_path, SIZES), config)
    with pytest.raises(PublishError) as caught:
        publish(wanted, cloud.connect())
    policy = ready_policy(bucket="artifacts", prefix="lamina/", account=cloud.account)

    assert (
        str(caught.value) == "Lambda cannot read layers from bucket `artifacts`: versioning is not enabled; "
        "the bucket policy does not allow Lambda to call `s3:GetObject` and `s3:GetObjectVersion`"
    )
    assert caught.value.hint is not None
    assert policy in caught.value.hint
    assert [] == cloud.stored_keys()

    cloud.bucket_state = BucketState(versioned=True, policy=policy)
    publish(wanted, cloud.connect())
    (version,) = cloud.live("shop-common")

    assert version.publication.code.version_id == "v1"  # type: ignore[union-attr]
    assert version.publication.code.storage is Storage.REFERENCE  # type: ignore[union-attr]


def test_one_place_failing_does_not_stop_the_others(wanted: DesiredLayer) -> None:
    """A failure in one region is reported with the region and its own class, and the other regions are still published."""

    def refuse(operation: str) -> None:
        if operation == "PublishLayerVersion":
            raise MissingBucketError("no", hint="create it")

    good, bad = Cloud(), Cloud()
    places = [
        Destination(fake, bucket="artifacts", prefix="lamina/") for fake in (bad.connect(before=refuse), good.connect())
    ]
    with pytest.raises(MissingBucketError) as caught:
        apply(survey([LayerJob(wanted)], places))

    assert f"1 of 2 destinations failed\n  {places[0].services.account}: no" == str(caught.value)
    assert "create it" == caught.value.hint
    assert len(good.live("shop-common")) == 1


@pytest.mark.parametrize(("lost", "attempts"), [(1, 1), (3, 3)])
def test_publication_is_looked_for_before_it_is_repeated(wanted: DesiredLayer, lost: int, attempts: int) -> None:
    """If a reply is lost, the versions are listed before the request is repeated, because Lambda would create another version."""
    cloud = Cloud()
    asked: list[str] = []

    def drop(operation: str) -> None:
        asked.append(operation)
        if operation == "PublishLayerVersion" and asked.count(operation) <= lost:
            raise UnreachableError("no answer")

    done = lost == attempts == 1
    fake = cloud.connect(after=drop) if done else cloud.connect(before=drop)
    published = publish(wanted, fake)

    assert [published.version.number] == [each.number for each in cloud.live("shop-common")]
    assert published.new
    assert asked.count("PublishLayerVersion") == (1 if done else attempts + 1)


def test_publication_is_not_repeated_for_ever(wanted: DesiredLayer) -> None:
    """Publishing fails after five attempts."""
    cloud = Cloud()
    asked: list[str] = []

    def fail(operation: str) -> None:
        asked.append(operation)
        if operation == "PublishLayerVersion":
            raise UnavailableError("no")

    with pytest.raises(UnavailableError):
        publish(wanted, cloud.connect(before=fail))

    assert asked.count("PublishLayerVersion") == 5
    assert [] == cloud.live("shop-common")


def test_version_that_came_twice_is_taken_back(wanted: DesiredLayer) -> None:
    """If a request is delivered twice, the newer of the two versions is deleted."""
    cloud = Cloud()
    twin: list[Version] = []

    def deliver(operation: str) -> None:
        if operation == "PublishLayerVersion" and not twin:
            (first,) = cloud.versions["shop-common"]
            twin.append(replace(first, number=next(cloud.numbers)))
            cloud.versions["shop-common"] += twin

    published = publish(wanted, cloud.connect(after=deliver))

    assert [published.version.number] == [each.number for each in cloud.live("shop-common")]
    assert published.version.number < twin[0].number


def test_uploads_that_others_left_are_given_up(wanted: DesiredLayer) -> None:
    """Publishing a layer aborts the uploads that a killed publisher of the same layer left."""
    cloud = Cloud()
    left = cloud.connect().bucket("artifacts")
    left.begin(f"{KEY}{wanted.layer.digest}.zip")
    other = left.begin(f"{KEY}another.zip")
    publish(wanted, cloud.connect())

    assert [other] == list(cloud.uploads)


def test_upload_that_a_faster_publisher_gave_up(wanted: DesiredLayer) -> None:
    """If a faster publisher has composed the same bytes for another service, the slower one uses that object."""
    cloud = Cloud()
    raced: list[Published] = []
    other = make_wanted(wanted.layer, CONFIG, service="stall")

    def race(operation: str) -> None:
        if operation == "UploadPart" and not raced:
            raced.append(publish(other, cloud.connect()))

    published = publish(wanted, cloud.connect(before=race))

    assert published.new
    assert raced[0].new
    assert {} == cloud.uploads
    assert wanted.layer.path.read_bytes() == cloud.live("shop-common")[0].content


def test_every_hint_is_shown() -> None:
    """If destinations fail for several reasons, the hint has the cure of each, once."""
    places = [
        Destination(
            Cloud(account=Account(id=number * 12, partition="aws", region="eu-west-1")).connect(), bucket="b", prefix=""
        )
        for number in "123"
    ]
    hints = {"1" * 12: "sign in", "2" * 12: "create the bucket", "3" * 12: "sign in"}

    def fail(place: Destination) -> None:
        raise AwsError("denied", hint=hints[place.services.account.id])

    with pytest.raises(AwsError) as caught:
        everywhere(fail, places)

    assert caught.value.hint == "sign in\ncreate the bucket"


def test_interrupted_everywhere(wanted: DesiredLayer) -> None:
    """After an interruption all destinations stop and clean up, and the error lists each of them."""
    clouds = [Cloud(account=Account(id=number * 12, partition="aws", region="eu-west-1")) for number in "12"]
    places = [Destination(cloud.connect(), bucket="artifacts", prefix="lamina/") for cloud in clouds]
    steps = survey([LayerJob(wanted)], places)
    for place in places:
        place.stop.request()
    with pytest.raises(StoppedError) as caught:
        apply(steps)

    assert str(caught.value) == (
        "2 of 2 destinations failed\n  111111111111 in eu-west-1: interrupted\n  222222222222 in eu-west-1: interrupted"
        "; no layer version was published"
    )
    assert [[], []] == [cloud.stored_keys() for cloud in clouds]
