"""Tests of deploying against a fake Lambda that enforces its size limit in every call."""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from aws.fakes import Cloud, FakeObjects, Killed
from aws.lambdafakes import FakeFunctions, code, digest, unzipped
from lamina.aws.api.functions import PUBLISHED, CodeStorage, Settings, Storage
from lamina.aws.deploy import apply
from lamina.aws.deploy.apply import Deployment, DeployOutcome, Progress
from lamina.aws.deploy.claim import Claim, ClaimTimes
from lamina.aws.deploy.config import DeployConfig
from lamina.aws.deploy.function_change import Creation, Patience
from lamina.aws.deploy.plan import (
    DesiredFunction,
    DesiredLayerVersion,
    DetachLayers,
    Found,
    UpdateCode,
    UpdateFunction,
    UpdateSettings,
    plan,
)
from lamina.aws.deploy.present import PresentLayers
from lamina.aws.deploy.survey import FunctionStep, survey
from lamina.aws.destination.bucket import Bucket
from lamina.aws.destination.destination import Cancellation
from lamina.aws.destination.naming import Keys
from lamina.core.errors import AwsError, ChangedMeanwhileError, DeployError, StoppedError, UnreachableError
from lamina.core.reporter import SILENT
from lamina.core.values import Package

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LIMIT = 1000
LAYER = "arn:aws:lambda:eu-west-1:123456789012:layer:shop-common"
OLD, NEW = f"{LAYER}:1", f"{LAYER}:2"
NAMES = ("alpha", "beta", "gamma")
ROLE = "arn:aws:iam::123456789012:role/service"
IMPATIENT = Patience(poll_seconds=0, change_seconds=5, version_seconds=5, sleep=lambda _: None)
# The sizes (old code, old layer, new code, new layer) that lead to each of the three orders.
SIZES = {"layers first": (10, 500, 10, 500), "code first": (900, 0, 10, 500), "no layers between": (100, 900, 900, 100)}
ORDERS: dict[str, list[type]] = {
    "layers first": [UpdateSettings, UpdateCode],
    "code first": [UpdateCode, UpdateSettings],
    "no layers between": [DetachLayers, UpdateCode, UpdateSettings],
}


def settings(*layers: str) -> Settings:
    return Settings(layers=layers, handler="app.handler", runtime="python3.13")


class Shop:
    """Three functions with old code and layers in Lambda, and their desired state."""

    def __init__(self, directory: Path, kind: str = "layers first", *, alias: str | None = "live") -> None:
        old_code, old_layer, new_code, new_layer = SIZES[kind]
        self.directory = directory
        self.lambda_ = FakeFunctions(limit=LIMIT, layers={OLD: old_layer, NEW: new_layer})
        self.old_settings = settings(OLD) if old_layer else settings()
        self.new = code("new", new_code)
        self.new_layer = new_layer
        for name in NAMES:
            # Only an unknown size of the old code leads to the order that detaches the layers.
            old = code(f"old {name}", old_code, linked=kind == "no layers between")
            self.lambda_.hold(f"shop-{name}", old, self.old_settings, alias=alias)
        path = directory / "new.zip"
        path.write_bytes(self.new)
        self.packages = {
            name: Package(
                name=name,
                handler="app.handler",
                path=path,
                sha256=hashlib.sha256(self.new).hexdigest(),
                zipped_bytes=len(self.new),
                unzipped_bytes=unzipped(self.new),
                files=1,
                layers=("common",),
                total_unzipped_bytes=unzipped(self.new) + new_layer,
                console_editable=True,
            )
            for name in NAMES
        }

    def wanted(self, name: str) -> DesiredFunction:
        package = self.packages[name]
        return DesiredFunction(
            function=name,
            name=f"shop-{name}",
            code_sha256=package.code_sha256,
            zipped_bytes=package.zipped_bytes,
            unzipped_bytes=package.unzipped_bytes,
            layers=(DesiredLayerVersion(layer=LAYER, arn=NEW, unzipped_bytes=self.new_layer),),
            handler="app.handler",
            runtime="python3.13",
            architecture="x86_64",
            own_layers=frozenset({LAYER}),
        )

    def steps(self, alias: str | None = "live", *, create: bool = False) -> tuple[FunctionStep, ...]:
        config = DeployConfig(alias=alias)
        wanted = [self.wanted(name) for name in NAMES]
        found = survey(
            self.lambda_,
            PresentLayers(Cloud(functions=self.lambda_).connect(), "shop"),
            wanted,
            self.packages,
            config=config,
            create=create,
            directory=self.directory,
            has_bucket=False,
        )
        # The survey plans for Lambda's real limit; the fake Lambda has a smaller one.
        return tuple(
            replace(step, action=self.again(step.action.found, each, alias))
            if isinstance(step.action, UpdateFunction)
            else step
            for step, each in zip(found, wanted, strict=True)
        )

    @staticmethod
    def again(found: Found, wanted: DesiredFunction, alias: str | None) -> UpdateFunction:
        action = plan(wanted, found, alias=alias, default_alias="live", limit=LIMIT)
        assert isinstance(action, UpdateFunction)
        return action

    def deployment(
        self, steps: tuple[FunctionStep, ...], creation: Creation | None = None, claim: Claim | None = None
    ) -> Deployment:
        return Deployment(
            self.lambda_,
            steps,
            directory=self.directory,
            bucket=None,
            creation=creation,
            claim=claim,
            patience=IMPATIENT,
        )

    def deploy(self) -> tuple[DeployOutcome, ...]:
        return self.deployment(self.steps()).run()

    def complete(self) -> tuple[str, Settings]:
        return digest(self.new), settings(NEW)


@pytest.mark.parametrize("kind", SIZES)
def test_deploys(tmp_path: Path, kind: str) -> None:
    """In each order of updates, `$LATEST` and the alias are the new function after the deployment."""
    shop = Shop(tmp_path, kind)
    steps = shop.steps()
    deployed = shop.deployment(steps).run()

    assert [[*ORDERS[kind]]] * 3 == [
        [type(each) for each in step.action.updates] for step in steps if isinstance(step.action, UpdateFunction)
    ]
    assert {f"shop-{name}": (*shop.complete(), {"live": shop.complete()}) for name in NAMES} == shop.lambda_.snapshot()
    assert ["2", "2", "2"] == [each.version for each in deployed]
    assert {len(shop.new)} == {each.sent_bytes for each in deployed}


@pytest.mark.parametrize("kind", SIZES)
def test_alias_never_half_updated(tmp_path: Path, kind: str) -> None:
    """After every call, each alias serves either the complete old function or the complete new one."""
    shop = Shop(tmp_path, kind)
    old = {name: shop.lambda_.serving(name, "live") for name in shop.lambda_.functions}
    seen: list[bool] = []

    def look(_: str) -> None:
        seen.extend(
            shop.lambda_.serving(name, "live") in (old[name], shop.complete()) for name in shop.lambda_.functions
        )

    shop.lambda_.after = look
    shop.deploy()

    assert len(seen) > 30
    assert all(seen)


def calls_of(directory: Path, kind: str) -> Counter[str]:
    directory.mkdir()
    shop = Shop(directory, kind)
    steps = shop.steps()
    shop.lambda_.calls.clear()
    shop.deployment(steps).run()
    return Counter(shop.lambda_.calls)


def refusing(operation: str) -> Callable[[str], None]:
    """Return a hook that makes every call of *operation* fail."""

    def hook(called: str) -> None:
        if called == operation:
            raise AwsError("no")

    return hook


def failing_once(operation: str, number: int) -> Callable[[str], None]:
    """Return a hook that makes only call *number* of *operation* fail."""
    seen = Counter[str]()

    def hook(called: str) -> None:
        seen[called] += 1
        if called == operation and seen[called] == number:
            raise AwsError(f"{operation} failed")

    return hook


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("kind", SIZES)
def test_put_back(tmp_path: Path, kind: str, when: str) -> None:
    """If any call fails, before or after its effect, all functions are rolled back, the error says so, and a second run succeeds."""
    for operation, count in calls_of(tmp_path / "count", kind).items():
        for number in range(1, count + 1):
            directory = tmp_path / f"{operation}-{number}"
            directory.mkdir()
            shop = Shop(directory, kind)
            steps = shop.steps()
            before = shop.lambda_.snapshot()
            setattr(shop.lambda_, when, failing_once(operation, number))
            try:
                shop.deployment(steps).run()
            except (DeployError, AwsError) as error:
                told = str(error)

                assert before == shop.lambda_.snapshot(), f"{operation} {number}: {told}"
                assert f"{operation} failed" in told
                assert told.endswith(("all functions and aliases were rolled back", "nothing was changed", " failed"))
            setattr(shop.lambda_, when, lambda _: None)
            shop.deploy() if any(each.action.is_change for each in shop.steps()) else None

            assert shop.complete() == shop.lambda_.serving("shop-beta", "live")


@pytest.mark.parametrize(
    "operation", ["UpdateFunctionCode", "UpdateFunctionConfiguration", "PublishVersion", "UpdateAlias"]
)
def test_lost_replies(tmp_path: Path, operation: str) -> None:
    """A deployment succeeds although a reply is lost and the SDK repeats the request with an outdated revision."""
    shop = Shop(tmp_path)
    shop.lambda_.repeated = operation
    shop.deploy()

    assert {f"shop-{name}": (*shop.complete(), {"live": shop.complete()}) for name in NAMES} == shop.lambda_.snapshot()


@pytest.mark.parametrize(
    "operation", ["UpdateFunctionCode", "UpdateFunctionConfiguration", "PublishVersion", "UpdateAlias"]
)
def test_killed(tmp_path: Path, operation: str) -> None:
    """If a deployment is killed at any call, aliases serve complete functions, and a second run completes the deployment."""
    shop = Shop(tmp_path)
    old = {name: shop.lambda_.serving(name, "live") for name in shop.lambda_.functions}

    def die(called: str) -> None:
        dead.append(called)
        if operation in dead:
            raise Killed

    dead: list[str] = []
    steps = shop.steps()
    shop.lambda_.after = die
    with pytest.raises(Killed):
        shop.deployment(steps).run()
    shop.lambda_.after = lambda _: None
    for name in shop.lambda_.functions:
        assert shop.lambda_.serving(name, "live") in (old[name], shop.complete())
        shop.lambda_.functions[name].busy_polls = 0
    shop.deploy()

    assert {f"shop-{name}": (*shop.complete(), {"live": shop.complete()}) for name in NAMES} == shop.lambda_.snapshot()


def test_changed_by_others(tmp_path: Path) -> None:
    """A function that someone else changes during the deployment is neither overwritten nor rolled back."""
    shop = Shop(tmp_path)
    steps = shop.steps()
    theirs = settings(OLD, "arn:aws:lambda:eu-west-1:1:layer:x:1")
    shop.lambda_.layer_bytes[theirs.layers[1]] = 0
    held = shop.lambda_.functions["shop-beta"]
    held.state = replace(held.state, settings=theirs, revision="theirs")
    with pytest.raises(ChangedMeanwhileError) as caught:
        shop.deployment(steps).run()

    assert "function `shop-beta` was changed by someone else during the deployment" in str(caught.value)
    assert theirs == held.state.settings
    assert shop.old_settings == shop.lambda_.functions["shop-alpha"].state.settings


def test_version_that_cannot_run(tmp_path: Path) -> None:
    """A version that Lambda could not activate, for example without its snapshot, receives no traffic."""
    shop = Shop(tmp_path)
    before = shop.lambda_.snapshot()

    def fail(operation: str) -> None:
        if operation == "PublishVersion":
            versions = shop.lambda_.functions["shop-beta"].versions
            versions.update({"2": replace(versions["2"], failure="no snapshot")} if "2" in versions else {})

    shop.lambda_.after = fail
    with pytest.raises(DeployError) as caught:
        shop.deploy()

    assert (
        "Lambda could not publish version 2 of function `shop-beta`: no snapshot; "
        "all functions and aliases were rolled back"
    ) == str(caught.value)
    assert before == shop.lambda_.snapshot()


class Clock:
    """A clock that advances while one sleeps, and calls *at_end* after *seconds*."""

    def __init__(self, seconds: float, at_end: Callable[[], None]) -> None:
        self.now, self.seconds, self.at_end = 0.0, seconds, at_end

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        if self.now >= self.seconds:
            self.at_end()

    def patience(self) -> Patience:
        return Patience(sleep=self.sleep, clock=lambda: self.now)


def test_waits_for_a_version_as_long_as_aws_does(tmp_path: Path) -> None:
    """With SnapStart, a version may be pending for many minutes. The deployment waits; after AWS's own limit it rolls everything back."""
    shop = Shop(tmp_path)
    before = shop.lambda_.snapshot()
    held = shop.lambda_.functions["shop-beta"]

    def deploy(seconds: float) -> Clock:
        held.pending_versions = True
        clock = Clock(seconds, lambda: setattr(held, "pending_versions", False))
        deployment = Deployment(shop.lambda_, shop.steps(), directory=tmp_path, bucket=None, patience=clock.patience())
        deployment.run()
        return clock

    with pytest.raises(DeployError) as caught:
        deploy(26 * 60 + 30)
    assert "Lambda is still preparing version 2 of function `shop-beta` after 1,560 s: its state is `Pending`" in str(
        caught.value
    )
    assert before == shop.lambda_.snapshot()

    assert 20 * 60 == pytest.approx(deploy(20 * 60).now, abs=6)
    assert {"live": shop.complete()} == shop.lambda_.snapshot()["shop-beta"][2]


def test_waits_for_all_versions_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lambda prepares the versions of all functions at the same time, so many of them take as long as one, however few threads wait."""
    monkeypatch.setattr(apply, "_WORKERS", 1)
    shop = Shop(tmp_path)
    for held in shop.lambda_.functions.values():
        held.pending_versions = True
    pending: list[int] = []

    def become_active() -> None:
        pending.append(sum(len(held.versions) == 2 for held in shop.lambda_.functions.values()))
        for held in shop.lambda_.functions.values():
            held.pending_versions = False

    clock = Clock(3 * 60, become_active)
    Deployment(shop.lambda_, shop.steps(), directory=tmp_path, bucket=None, patience=clock.patience()).run()

    assert len(NAMES) == pending[0]
    assert {"live": shop.complete()} == shop.lambda_.snapshot()["shop-gamma"][2]


def test_requests_of_one_function(tmp_path: Path) -> None:
    """A deployment uses Lambda's replies, and asks again only while a change is in progress."""
    shop = Shop(tmp_path)
    steps = shop.steps()
    reading = Counter(shop.lambda_.calls)
    shop.lambda_.calls.clear()
    shop.deployment(steps).run()
    changing = Counter(shop.lambda_.calls)
    shop.lambda_.calls.clear()
    shop.steps()

    functions = len(NAMES)
    # The version, the alias, and the old code, whose size decides the order.
    assert {"GetFunction": 3 * functions, "GetAlias": functions} == reading
    assert {
        "UpdateFunctionConfiguration": functions,
        "UpdateFunctionCode": functions,
        "PublishVersion": functions,
        "UpdateAlias": functions,
        # Two looks at each of two changes, and one at the version.
        "GetFunction": 5 * functions,
    } == changing
    assert {"GetFunction": 2 * functions} == Counter(shop.lambda_.calls)


def test_the_storage_of_the_code_stays(tmp_path: Path) -> None:
    """New code, and the old code after a rollback, keeps the customer's key and the storage by reference that the function had."""
    storages = {
        "shop-alpha": CodeStorage(kms_key="arn:aws:kms:eu-west-1:123456789012:key/1"),
        "shop-beta": CodeStorage(storage=Storage.REFERENCE),
        "shop-gamma": CodeStorage(),
    }
    shop, cloud = Shop(tmp_path), Cloud()
    cloud.bucket_state = replace(cloud.bucket_state, versioned=True)
    for name, storage in storages.items():
        shop.lambda_.functions[name].storage = storage
    before = shop.lambda_.snapshot()

    def kept() -> dict[str, CodeStorage]:
        return {name: held.storage for name, held in shop.lambda_.functions.items()}

    shop.lambda_.before = refusing("UpdateAlias")
    with pytest.raises(DeployError, match="all functions and aliases were rolled back"):
        through_bucket(shop, cloud=cloud)[0].run()
    assert (before, storages) == (shop.lambda_.snapshot(), kept())

    shop.lambda_.before = lambda _: None
    through_bucket(shop, cloud=cloud)[0].run()
    assert {f"shop-{name}": (*shop.complete(), {"live": shop.complete()}) for name in NAMES} == shop.lambda_.snapshot()
    assert storages == kept()
    # Lambda reads this object for as long as the function exists, so `lamina prune` must not take it for one of its own.
    referenced = [key for key in cloud.stored_keys() if "/code/" in key]
    assert referenced
    assert not any(Keys("lamina/").is_ours(key) for key in referenced)


@pytest.mark.parametrize("bucket", [False, True])
def test_code_by_reference_needs_a_versioned_bucket(tmp_path: Path, bucket: bool) -> None:
    """If code by reference cannot stay so, nothing is changed."""
    shop = Shop(tmp_path)
    shop.lambda_.functions["shop-beta"].storage = CodeStorage(storage=Storage.REFERENCE)
    before = shop.lambda_.snapshot()
    cloud = Cloud()
    cloud.bucket_state = replace(cloud.bucket_state, versioned=False)
    deployment = through_bucket(shop, cloud=cloud)[0] if bucket else shop.deployment(shop.steps())
    with pytest.raises(DeployError) as caught:
        deployment.run()

    assert ("does not keep versions" if bucket else "needs a bucket too") in str(caught.value)
    assert before == shop.lambda_.snapshot()
    assert not {"UpdateFunctionCode", "UpdateFunctionConfiguration"} & set(shop.lambda_.calls)


def test_managed_instances(tmp_path: Path) -> None:
    """Callers of a function on Lambda Managed Instances use another version than `$LATEST`, which is published too, and rolled back."""
    shop = Shop(tmp_path, alias=None)
    for name in NAMES:
        held = shop.lambda_.functions[f"shop-{name}"]
        held.state = replace(held.state, is_managed=True)
        held.versions[PUBLISHED] = replace(held.state, version=PUBLISHED)

    def reached() -> list[tuple[str, Settings]]:
        versions = [shop.lambda_.functions[f"shop-{name}"].versions[PUBLISHED] for name in NAMES]
        return [(version.code_sha256, version.settings) for version in versions]

    before = reached()
    failing = failing_once("PublishVersion", 2)
    shop.lambda_.before = failing
    with pytest.raises(DeployError):
        shop.deployment(shop.steps(None)).run()
    assert before == reached()

    shop.lambda_.before = lambda _: None
    steps = shop.steps(None)
    window = (
        "for some seconds between the updates, $LATEST runs the old code with the new layers; "
        "callers without a version are not affected, because they use $LATEST.PUBLISHED"
    )
    assert {window} == {step.action.window for step in steps if isinstance(step.action, UpdateFunction)}
    shop.deployment(steps).run()
    assert [shop.complete()] * 3 == reached()
    assert not any(step.action.is_change for step in shop.steps(None))

    versions = shop.lambda_.functions["shop-beta"].versions
    versions[PUBLISHED] = replace(versions[PUBLISHED], code_sha256="earlier")
    assert ["callers without a version use `$LATEST.PUBLISHED`, which is older"] == [
        step.action.reason for step in shop.steps(None) if step.action.is_change
    ]


def test_cannot_be_put_back(tmp_path: Path) -> None:
    """The error lists each function that could not be rolled back."""
    shop = Shop(tmp_path)
    steps = shop.steps()

    def refuse(called: str) -> None:
        if called == "PublishVersion" or (called == "UpdateFunctionCode" and "PublishVersion" in shop.lambda_.calls):
            raise AwsError(f"{called} failed")

    shop.lambda_.before = refuse
    deployment = shop.deployment(steps)
    with pytest.raises(DeployError) as caught:
        deployment.run()

    assert (Progress.FAILED, {None}) == (deployment.progress, {each.version for each in deployment.outcomes()})
    assert (
        "PublishVersion failed; some functions could not be rolled back\n"
        "  `shop-alpha` could not be rolled back: UpdateFunctionCode failed\n"
        "  `shop-beta` could not be rolled back: UpdateFunctionCode failed\n"
        "  `shop-gamma` could not be rolled back: UpdateFunctionCode failed"
    ) == str(caught.value)


def test_creates(tmp_path: Path) -> None:
    """Missing functions are created on request, with a version and an alias, and deleted again after a failure."""
    shop = Shop(tmp_path)
    del shop.lambda_.functions["shop-beta"]
    steps = shop.steps(create=True)
    before = shop.lambda_.snapshot()
    shop.lambda_.before = failing_once("CreateAlias", 1)
    with pytest.raises(DeployError):
        shop.deployment(steps, Creation(role=ROLE)).run()

    assert before == shop.lambda_.snapshot()
    shop.lambda_.before = lambda _: None
    shop.deployment(shop.steps(create=True), Creation(role=ROLE)).run()

    assert {"live": shop.complete()} == shop.lambda_.snapshot()["shop-beta"][2]


def test_interrupted(tmp_path: Path) -> None:
    """A requested stop ends the deployment between two steps, but does not interrupt the rollback."""
    shop = Shop(tmp_path)
    before, stop = shop.lambda_.snapshot(), Cancellation()
    deployment = Deployment(
        shop.lambda_,
        shop.steps(),
        directory=tmp_path,
        bucket=None,
        patience=IMPATIENT,
        stop=stop,
    )
    shop.lambda_.after = lambda operation: stop.request() if operation == "UpdateFunctionCode" else None
    with pytest.raises(StoppedError) as caught:
        deployment.run()

    assert str(caught.value) == "interrupted; all functions and aliases were rolled back"
    assert before == shop.lambda_.snapshot()


def test_interrupted_before_the_first_change(tmp_path: Path) -> None:
    """If a stop is requested while the old code is saved, the error says that no function was changed."""
    shop = Shop(tmp_path)
    before, stop = shop.lambda_.snapshot(), Cancellation()
    stop.request()
    deployment = Deployment(shop.lambda_, shop.steps(), directory=tmp_path, bucket=None, stop=stop)
    with pytest.raises(StoppedError) as caught:
        deployment.run()

    assert "interrupted; no function was changed" == str(caught.value)
    assert (before, Progress.UNTOUCHED) == (shop.lambda_.snapshot(), deployment.progress)
    assert ["1", "1", "1"] == [each.version for each in deployment.outcomes()]


def test_making_whose_answer_got_lost(tmp_path: Path) -> None:
    """If the reply to a creation is lost, the error says that the function may exist, and the next run succeeds."""
    shop = Shop(tmp_path)
    shop.lambda_.functions.clear()
    steps = shop.steps(create=True)

    def lose(operation: str) -> None:
        if operation == "CreateFunction":
            raise UnreachableError("Cannot make it: `lambda` cannot be reached")

    shop.lambda_.after = lose
    creation = Creation(role=ROLE)
    with pytest.raises(DeployError) as caught:
        shop.deployment(steps[:1], creation).run()
    shop.lambda_.after = lambda _: None
    again = shop.deployment(shop.steps(create=True), creation).run()

    assert (
        str(caught.value)
        == "Cannot make it: `lambda` cannot be reached; nothing was changed, but function `shop-alpha` may have been created"
    )
    assert ["1", "1", "1"] == [each.version for each in again]


def test_what_keeps_from_deploying(tmp_path: Path) -> None:
    """One run reports every problem that prevents the deployment, before it changes anything."""
    shop = Shop(tmp_path)
    del shop.lambda_.functions["shop-alpha"]
    beta, gamma = shop.lambda_.functions["shop-beta"], shop.lambda_.functions["shop-gamma"]
    beta.state = replace(beta.state, is_image=True)
    gamma.aliases["live"] = replace(gamma.aliases["live"], is_split=True)
    with pytest.raises(DeployError) as caught:
        shop.steps()

    assert (
        "3 problems prevent the deployment\n"
        "  function `shop-beta` is a container image, which does not support layers: deploy to another `function-name`\n"
        "  alias `live` of `shop-gamma` splits its traffic between two versions: point it to one of them first\n"
        "  function not found in Lambda: `shop-alpha`"
    ) == str(caught.value)
    assert not {"UpdateFunctionCode", "UpdateFunctionConfiguration"} & set(shop.lambda_.calls)


def through_bucket(
    shop: Shop, *, direct_bytes: int | None = None, cloud: Cloud | None = None
) -> tuple[Deployment, FakeObjects]:
    objects = (cloud or Cloud()).connect().bucket("artifacts")
    shop.lambda_.objects = objects
    deployment = Deployment(
        shop.lambda_,
        shop.steps(),
        directory=shop.directory,
        bucket=Bucket(objects=objects, keys=Keys("lamina/")),
        patience=IMPATIENT,
        direct_bytes=direct_bytes,
    )
    return deployment, objects


def test_large_code_through_the_bucket(tmp_path: Path) -> None:
    """Old and new code too large for an API call is stored in the bucket under its hash before any function is changed."""
    shop, cloud = Shop(tmp_path), Cloud()
    deployment, _ = through_bucket(shop, direct_bytes=0, cloud=cloud)
    shop.lambda_.before = lambda operation: stored.append((operation, len(cloud.stored_keys())))
    stored: list[tuple[str, int]] = []
    deployment.run()

    assert {f"shop-{name}": (*shop.complete(), {"live": shop.complete()}) for name in NAMES} == shop.lambda_.snapshot()
    assert {4} == {count for operation, count in stored if operation.startswith("Update")}
    assert f"lamina/functions/{hashlib.sha256(shop.new).hexdigest()}.zip" in cloud.stored_keys()


def test_code_of_several_functions_is_sent_once(tmp_path: Path) -> None:
    """A package that several functions share is uploaded to the bucket once, and replaces different content under the same key."""
    shop, cloud = Shop(tmp_path), Cloud()
    deployment, objects = through_bucket(shop, cloud=cloud)
    sha256 = hashlib.sha256(shop.new).hexdigest()
    key = f"lamina/functions/{sha256}.zip"
    objects.put(key, b"something else", sha256=hashlib.sha256(b"something else").hexdigest())
    deployed = deployment.run()

    assert {f"shop-{name}": (*shop.complete(), {"live": shop.complete()}) for name in NAMES} == shop.lambda_.snapshot()
    assert [0, 0, len(shop.new)] == sorted(each.sent_bytes for each in deployed)
    assert [key] == list(cloud.stored_keys())


def test_put_back_with_shared_code(tmp_path: Path) -> None:
    """If functions share their new code, a rollback restores the different old code of each function."""
    shop = Shop(tmp_path)
    before = shop.lambda_.snapshot()
    deployment, _ = through_bucket(shop)
    shop.lambda_.before = refusing("UpdateAlias")
    with pytest.raises(DeployError, match="all functions and aliases were rolled back"):
        deployment.run()

    assert before == shop.lambda_.snapshot()


class OtherArchitecture(Shop):
    """Functions with the desired code and layers that should run on another architecture."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        for name in NAMES:
            self.lambda_.hold(f"shop-{name}", self.new, settings(NEW), alias="live")

    def wanted(self, name: str) -> DesiredFunction:
        return replace(super().wanted(name), architecture="arm64")

    def architectures(self) -> set[str]:
        return {held.state.architecture for held in self.lambda_.functions.values()}


def test_another_architecture_alone(tmp_path: Path) -> None:
    """Changing only the architecture sends the same code again, and a rollback restores the old architecture."""
    shop = OtherArchitecture(tmp_path)
    before = shop.lambda_.snapshot()
    deployment, _ = through_bucket(shop)
    shop.lambda_.before = refusing("UpdateAlias")
    with pytest.raises(DeployError, match="no; all functions and aliases were rolled back"):
        deployment.run()

    assert (before, {"x86_64"}) == (shop.lambda_.snapshot(), shop.architectures())

    shop.lambda_.before = lambda _: None
    through_bucket(shop)[0].run()

    assert {"arm64"} == shop.architectures()


@pytest.mark.parametrize(("content", "present", "noted"), [("same", "layered.handler", True), ("same", "app.other", False), ("old", "layered.handler", True), ("old", "app.other", False)])  # fmt: skip
def test_a_handler_of_a_layer_is_not_replaced_silently(tmp_path: Path, content: str, present: str, noted: bool) -> None:
    """If the old code has no module for the old handler, a layer has it, perhaps an unknown wrapper: the plan says how to keep it."""
    shop = Shop(tmp_path)
    code_before = shop.new if content == "same" else code("old")
    shop.lambda_.hold("shop-beta", code_before, replace(settings(NEW), handler=present), alias="live")
    action = shop.steps()[1].action

    assert isinstance(action, UpdateFunction)
    assert "app.handler" == action.settings.handler
    assert noted == any(
        note.endswith(f'set `beta = {{ handler = "app.handler", wrapper = "{present}" }}` in `[tool.lamina.functions]`')
        for note in action.notes
    )


def test_a_new_handler_with_new_layers(tmp_path: Path) -> None:
    """If handler, layers and code change, a failure of any update is rolled back, and a success is complete."""
    calls = [("UpdateFunctionConfiguration", 1), ("UpdateFunctionCode", 1), ("UpdateFunctionConfiguration", 2)]
    for operation, number in calls:
        directory = tmp_path / f"{operation}-{number}"
        directory.mkdir()
        shop = Shop(directory)
        shop.lambda_.hold("shop-beta", code("old"), replace(settings(OLD), handler="index.handler"), alias="live")
        steps, before = shop.steps()[1:2], shop.lambda_.snapshot()
        shop.lambda_.before = failing_once(operation, number)
        with pytest.raises(DeployError):
            shop.deployment(steps).run()

        assert before == shop.lambda_.snapshot()
        shop.lambda_.before = lambda _: None
        shop.deployment(steps).run()

        assert (digest(shop.new), settings(NEW)) == shop.lambda_.serving("shop-beta", "live")


@pytest.mark.parametrize("operation", ["UpdateFunctionConfiguration", "PublishVersion", "UpdateAlias"])
def test_changes_nothing_more_without_the_claim(tmp_path: Path, operation: str) -> None:
    """A deployment whose claim was taken over neither continues nor rolls back, and reports the functions that it had changed."""
    shop = Shop(tmp_path)
    names = [f"shop-{name}" for name in NAMES]
    steps = shop.steps()
    times = ClaimTimes(renew_seconds=900, sleep=lambda _: None)
    first, second = (
        Claim(shop.lambda_, names, existing=names, stop=Cancellation(), reporter=SILENT, times=times) for _ in range(2)
    )
    left: list[object] = []

    def stalls(called: str) -> None:
        if called == operation and not left:
            left.append(called)
            shop.lambda_.clock += times.valid_seconds + 1
            with second.hold():
                left.append(shop.lambda_.snapshot())
            shop.lambda_.calls.clear()

    deployment = shop.deployment(steps, claim=first)
    with first.hold():
        shop.lambda_.after = stalls
        with pytest.raises(DeployError) as caught:
            deployment.run()

    changes = {each for each in shop.lambda_.calls if not each.startswith("Get")}
    assert changes <= {"UpdateAlias"}
    assert deployment.progress is Progress.FAILED
    assert "some functions could not be rolled back" in str(caught.value)
    assert "another run took over the claim" in str(caught.value)


def test_rejected_first_change(tmp_path: Path) -> None:
    """If Lambda rejects the first change, nothing was changed, and the deployment says so."""
    shop = Shop(tmp_path)
    deployment = shop.deployment(shop.steps())
    shop.lambda_.before = refusing("UpdateFunctionConfiguration")
    with pytest.raises(DeployError, match="nothing was changed"):
        deployment.run()

    assert deployment.progress is Progress.UNTOUCHED


def test_functions_are_rolled_back_at_the_same_time(tmp_path: Path) -> None:
    """A rollback of many functions takes about as long as that of one."""
    shop = Shop(tmp_path)
    before = shop.lambda_.snapshot()
    together = threading.Barrier(len(NAMES), timeout=20)
    shop.lambda_.before = refusing("UpdateAlias")

    def sleep(_: float) -> None:
        # Lambda is asked for the state of a change in progress, and no function is ready before all are asked for.
        if "UpdateAlias" in shop.lambda_.calls:
            together.wait()

    patience = Patience(poll_seconds=0, sleep=sleep)
    with pytest.raises(DeployError, match="no; all functions and aliases were rolled back"):
        Deployment(shop.lambda_, shop.steps(), directory=tmp_path, bucket=None, patience=patience).run()

    assert before == shop.lambda_.snapshot()


def test_managed_instances_that_are_not_published(tmp_path: Path) -> None:
    """If publishing for callers without a version fails before Lambda accepts it, nothing was changed."""
    shop = Shop(tmp_path, alias=None)
    shop.lambda_.hold("shop-beta", shop.new, settings(NEW))
    held = shop.lambda_.functions["shop-beta"]
    held.state = replace(held.state, is_managed=True)
    held.versions[PUBLISHED] = replace(held.state, version=PUBLISHED, code_sha256="earlier")
    steps = tuple(step for step in shop.steps(None) if step.action.desired.name == "shop-beta")
    deployment = shop.deployment(steps)
    shop.lambda_.before = refusing("PublishVersion")
    with pytest.raises(DeployError, match="no; nothing was changed"):
        deployment.run()

    assert deployment.progress is Progress.UNTOUCHED


def test_created_function_that_somebody_changes_is_not_deleted(tmp_path: Path) -> None:
    """A function is read right before it is deleted, because a deletion names no revision."""
    shop = Shop(tmp_path)
    del shop.lambda_.functions["shop-beta"]
    steps = shop.steps(create=True)
    rejected = refusing("CreateAlias")
    asked: list[str] = []

    def change(operation: str) -> None:
        if "CreateAlias" in shop.lambda_.calls and operation == "GetFunction" and not asked:
            asked.append(operation)
            held = shop.lambda_.functions["shop-beta"]
            held.state = replace(held.state, revision="theirs")

    shop.lambda_.before, shop.lambda_.after = rejected, change
    with pytest.raises(DeployError) as caught:
        shop.deployment(steps[1:2], Creation(role=ROLE)).run()

    assert "`shop-beta` could not be rolled back: function `shop-beta` was changed by someone else" in str(caught.value)
    assert "shop-beta" in shop.lambda_.functions


def test_created_alias_that_somebody_moves_is_not_deleted(tmp_path: Path) -> None:
    """An alias is read right before it is deleted: after the check of the claim, which may take long."""
    shop = Shop(tmp_path, alias=None)

    class Slow(Claim):
        """A claim whose check takes so long that somebody moves the alias."""

        def check(self) -> None:
            held = shop.lambda_.functions["shop-alpha"]
            if "refused" in shop.lambda_.calls and "live" in held.aliases:
                held.aliases["live"] = replace(held.aliases["live"], version="$LATEST", revision="theirs")

    def refuse(operation: str) -> None:
        if operation == "CreateAlias" and operation in shop.lambda_.calls[:-1]:
            shop.lambda_.calls.append("refused")
            raise AwsError("no")

    claim = Slow(shop.lambda_, (), existing=(), stop=Cancellation(), reporter=SILENT)
    steps = shop.steps("live")
    shop.lambda_.before = refuse
    with pytest.raises(DeployError):
        shop.deployment(steps[:2], claim=claim).run()

    assert "theirs" in {alias.revision for held in shop.lambda_.functions.values() for alias in held.aliases.values()}
