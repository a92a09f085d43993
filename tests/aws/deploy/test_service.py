"""Tests of a whole deployment of a service against a fake Lambda that other deployers use too."""

from __future__ import annotations

import hashlib
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from aws.fakes import Cloud
from aws.lambdafakes import code, digest, unzipped
from lamina.aws.api.functions import Settings, Zip
from lamina.aws.api.layers import Publication
from lamina.aws.deploy.apply import Progress
from lamina.aws.deploy.claim import ClaimTimes
from lamina.aws.deploy.config import DeployConfig
from lamina.aws.deploy.function_change import Creation, Patience
from lamina.aws.deploy.report import planned_rows
from lamina.aws.deploy.service import ServiceDeployment, ServicePlan
from lamina.aws.destination import destination as destination_module
from lamina.aws.destination.destination import Destination
from lamina.core.errors import AwsError, CheckFailedError, DeployError, MissingPermissionError, StoppedError
from lamina.core.target import Target
from lamina.core.values import Build, Package
from lamina.project.external import AllowedLayer
from pipeline.checks.made import make_service

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ROLE = "arn:aws:iam::123456789012:role/service"
SETTINGS = Settings(layers=(), handler="app.handler", runtime="python3.13")
DATADOG = "arn:aws:lambda:eu-west-1:464622532012:layer:Datadog-Extension:80"
TOOLS = "arn:aws:lambda:eu-west-1:999999999999:layer:tools:3"
OLD, NEW, THEIRS = code("old"), code("new"), code("theirs")


def deployment(
    directory: Path, *names: str, content: bytes = NEW, create: bool = False, known: tuple[str, ...] = ()
) -> ServiceDeployment:
    """Return the deployment of functions *names*, without layers; *known* are the names of all, if there are more."""
    directory.mkdir(exist_ok=True)
    path = directory / "new.zip"
    path.write_bytes(content)
    packages = tuple(
        Package(
            name=name,
            handler="app.handler",
            path=path,
            sha256=hashlib.sha256(content).hexdigest(),
            zipped_bytes=len(content),
            unzipped_bytes=unzipped(content),
            files=1,
            layers=(),
            total_unzipped_bytes=unzipped(content),
            console_editable=True,
        )
        for name in names
    )
    build = Build(
        service="shop",
        target=Target.of("python3.13", "x86_64"),
        layers=(),
        packages=packages,
        findings=(),
        reused=False,
        seconds=0,
    )
    return ServiceDeployment(
        build=build,
        layers=(),
        config=DeployConfig(),
        creation=Creation(role=ROLE) if create else None,
        directory=directory,
        names=tuple(f"shop-{name}" for name in known or names),
        claim_times=ClaimTimes(poll_seconds=0.005),
        patience=Patience(poll_seconds=0.01),
    )


def test_reads_the_functions_again_when_it_has_the_claim(tmp_path: Path) -> None:
    """A deployment is based on what another one has left, although it did not wait for that one, also in functions that it would have kept."""
    cloud = Cloud()
    functions = cloud.functions
    functions.hold("shop-alpha", OLD, SETTINGS)
    functions.hold("shop-beta", NEW, SETTINGS)
    destination = Destination(cloud.connect(), bucket=None, prefix="")
    plan = deployment(tmp_path, "alpha", "beta").plan((), [destination], create=False)
    for name, content in (("shop-alpha", NEW), ("shop-beta", THEIRS)):
        held = functions.functions[name]
        functions.update_code(name, Zip(content=content), architecture="x86_64", revision=held.state.revision)
        held.busy_polls = 0
    functions.calls.clear()
    (place,) = plan.apply().places

    assert (None, Progress.DEPLOYED) == (place.error, place.progress)
    assert [digest(NEW)] * 2 == [functions.serving(f"shop-{name}")[0] for name in ("alpha", "beta")]
    assert ["UpdateFunctionCode"] == [each for each in functions.calls if each.startswith("Update")]


def test_an_alias_that_another_deployment_has_created(tmp_path: Path) -> None:
    """A function is the same after another deployment has created its alias, which this one then moves."""
    cloud = Cloud()
    functions = cloud.functions
    functions.hold("shop-alpha", OLD, SETTINGS)
    destination = Destination(cloud.connect(), bucket=None, prefix="")
    service = replace(deployment(tmp_path, "alpha"), config=DeployConfig(alias="live"))
    plan = service.plan((), [destination], create=False)
    functions.create_alias("shop-alpha", "live", "$LATEST")
    (place,) = plan.apply().places

    assert (None, Progress.DEPLOYED) == (place.error, place.progress)
    assert digest(NEW) == functions.serving("shop-alpha", "live")[0]


OURS = f"lamina:{'0' * 64} python3.13 on x86_64 for shop: alpha 1.0"


def layer_of(cloud: Cloud, description: str, unzipped_bytes: int = 100, *, name: str = "shop-old") -> str:
    """Publish a layer version with *description*, and return its ARN."""
    publication = Publication(name=name, description=description, code=Zip(content=b""), runtimes=(), architectures=())
    arn = cloud.connect().layers.publish(publication).arn
    cloud.functions.layer_bytes |= {arn: unzipped_bytes}
    return arn


@pytest.mark.parametrize(
    ("description", "outcome"),
    [
        (OURS, "removes"),
        (OURS.partition(": alpha")[0], "removes"),
        (OURS.replace("for shop", "for shop-orders"), ""),
        ("by hand for shop", ""),
        (OURS.replace(" for shop", ""), "keeps"),
        ("deleted", "keeps"),
        ("denied", "keeps"),
    ],
)
def test_layers_that_the_configuration_no_longer_has(tmp_path: Path, description: str, outcome: str) -> None:
    """A layer of the service leaves the function whatever its name; another stays, with a note if it may be the service's."""
    cloud = Cloud()
    arn = layer_of(cloud, description)
    if description == "deleted":
        cloud.connect().layers.delete("shop-old", 1)
    cloud.functions.layer_bytes |= {DATADOG: 0}
    cloud.functions.hold("shop-alpha", NEW, replace(SETTINGS, layers=(DATADOG, arn)))

    def deny(operation: str) -> None:
        if description == "denied" and operation == "GetLayerVersion":
            raise MissingPermissionError("denied", actions=("lambda:GetLayerVersion",))

    destination = Destination(cloud.connect(before=deny), bucket=None, prefix="")
    plan = deployment(tmp_path, "alpha").plan((), [destination], create=False)
    (row,) = planned_rows(plan.functions[destination], destination.services.account)

    assert (outcome == "removes") is plan.is_change
    assert ([outcome] if outcome else []) == [str(note).partition(" ")[0] for note in row["notes"]]  # type: ignore[attr-defined]
    (place,) = plan.apply().places
    assert place.error is None
    left = (DATADOG,) if outcome == "removes" else (DATADOG, arn)
    assert left == cloud.functions.functions["shop-alpha"].state.settings.layers


def test_layer_that_stays_and_leaves_no_room(tmp_path: Path) -> None:
    """A plan that Lambda would reject because of a layer that is not in the configuration is refused, and the message names the layer."""
    cloud = Cloud()
    arn = layer_of(cloud, "by hand", 262_144_000 - 9)
    cloud.functions.hold("shop-alpha", code("old", 9), replace(SETTINGS, layers=(arn,)))
    destination = Destination(cloud.connect(), bucket=None, prefix="")

    with pytest.raises(DeployError) as caught:
        deployment(tmp_path, "alpha").plan((), [destination], create=False)

    assert str(caught.value) == (
        "function `shop-alpha` would have at least 262,144,001 bytes unzipped with the layers that are not in the configuration "
        f"(`{arn}`), but Lambda's limit is 262,144,000 bytes: detach what it does not need"
    )


@pytest.mark.parametrize(("size", "updates"), [(262_143_990, ["code", "layers"]), (262_143_991, ["layers", "code"])])
def test_order_without_layers(tmp_path: Path, size: int, updates: list[str]) -> None:
    """New code that needs no layers comes before the old ones go, so that no call fails, if there is room for both."""
    cloud = Cloud()
    arn = layer_of(cloud, OURS, size)
    cloud.functions.hold("shop-alpha", code("old", 9), replace(SETTINGS, layers=(arn,)))
    destination = Destination(cloud.connect(), bucket=None, prefix="")
    plan = deployment(tmp_path, "alpha").plan((), [destination], create=False)
    (row,) = planned_rows(plan.functions[destination], destination.services.account)

    assert (updates, "so calls fail" in str(row["window"])) == (row["updates"], updates == ["layers", "code"])
    (place,) = plan.apply().places
    assert place.error is None


def refusing(directory: Path, *patterns: str) -> ServiceDeployment:
    """Return the deployment of two functions of a service that allows only layers of *patterns*."""
    allowed = tuple(AllowedLayer(pattern=pattern, reason="for the test") for pattern in patterns)
    return replace(deployment(directory, "alpha", "beta"), service=replace(make_service(), allow_layers=allowed))


@pytest.mark.parametrize("content", [OLD, NEW, None])
def test_configured_layers(tmp_path: Path, content: bytes | None) -> None:
    """Configured layers by ARN are attached to functions that lack them, and to new ones; then nothing is left to do."""
    cloud = Cloud()
    destination = Destination(cloud.connect(), bucket=None, prefix="")
    cloud.functions.layer_bytes |= {DATADOG: 0}
    if content is not None:
        cloud.functions.hold("shop-alpha", content, SETTINGS)
    service = deployment(tmp_path, "alpha", create=content is None)
    (package,) = service.build.packages
    package = replace(package, layer_arns=(DATADOG.replace("eu-west-1", "*"),))
    allowing = replace(make_service(), allow_layers=(AllowedLayer(pattern="arn:aws:*", reason="bought"),))
    service = replace(service, build=replace(service.build, packages=(package,)), service=allowing)

    plan = service.plan((), [destination], create=content is None)

    assert plan.is_change
    (row,) = planned_rows(plan.functions[destination], destination.services.account)
    assert ([DATADOG], [f"attaches the layer `{DATADOG}`"]) == (row["layers"], row["notes"])
    (place,) = plan.apply().places
    assert place.error is None
    assert (DATADOG,) == cloud.functions.functions["shop-alpha"].state.settings.layers
    assert not service.plan((), [destination], create=False).is_change


@pytest.mark.parametrize("content", [OLD, NEW])
def test_layers_of_other_accounts(tmp_path: Path, content: bytes) -> None:
    """Functions with layers that are not allowed are refused before any change, also those that would be kept as they are."""
    cloud = Cloud()
    destination = Destination(cloud.connect(), bucket=None, prefix="")
    own = f"arn:aws:lambda:eu-west-1:{destination.services.account.id}:layer:tools:3"
    cloud.functions.layer_bytes |= dict.fromkeys((own, DATADOG, TOOLS), 0)
    cloud.functions.hold("shop-alpha", content, replace(SETTINGS, layers=(own, DATADOG)))
    cloud.functions.hold("shop-beta", content, replace(SETTINGS, layers=(TOOLS, DATADOG)))

    def refusal(*patterns: str) -> str:
        with pytest.raises(CheckFailedError) as caught:
            refusing(tmp_path, *patterns).plan((), [destination], create=False)
        assert "no function was changed" in str(caught.value.hint)
        return str(caught.value)

    of_datadog = (
        f"the layer `{DATADOG}` (Datadog Lambda Extension) of another account; no Python package replaces this extension: copy "
        "it to your account, or allow it: add `{ arn = "
        '"arn:aws:lambda:*:464622532012:layer:Datadog-Extension", reason = "…" }` to `allow-layers`'
    )
    assert refusal(DATADOG).startswith(
        f"function `shop-beta` has the layer `{TOOLS}` of another account; build it from"
    )
    assert [
        "2 layers of other accounts are not allowed:",
        f"  functions `shop-alpha`, `shop-beta` have {of_datadog}",
    ] == [line for line in refusal().splitlines() if TOOLS not in line]
    assert [] == [call for call in cloud.functions.calls if call.startswith(("Update", "Publish"))]

    plan = refusing(tmp_path, DATADOG, "arn:aws:lambda:*:999999999999:layer:*").plan((), [destination], create=False)
    assert (content == OLD) == plan.is_change


ALL = ("alpha", "beta", "gamma")


@pytest.mark.parametrize(
    "others", [ALL, ("beta", "gamma"), ("alpha", "beta"), ("beta", "delta"), ("gamma",)], ids="-".join
)
def test_two_deployers_create_the_functions_at_once(tmp_path: Path, others: tuple[str, ...]) -> None:
    """If no function exists, one deployer waits for the other, also if they create different ones, and then deploys on top."""
    cloud = Cloud()
    destinations = [Destination(cloud.connect(), bucket=None, prefix="") for _ in range(2)]
    plans = [
        deployment(tmp_path / name, *names, content=content, create=True).plan((), [destination], create=True)
        for name, names, content, destination in zip(
            ("one", "other"), (ALL, others), (NEW, THEIRS), destinations, strict=True
        )
    ]
    with ThreadPoolExecutor(2) as pool:
        outcomes = list(pool.map(ServicePlan.apply, plans))

    assert [None, None] == [outcome.error for outcome in outcomes]
    found = {name: held.state.code_sha256 for name, held in cloud.functions.functions.items()}
    assert {f"shop-{name}" for name in (*ALL, *others)} == set(found)
    assert len({found[f"shop-{name}"] for name in set(ALL) & set(others)}) == 1
    assert {digest(NEW)} >= {found[f"shop-{name}"] for name in set(ALL) - set(others)}
    assert not any(held.aliases for held in cloud.functions.functions.values())


def test_functions_that_another_deployer_has_created_since_the_plan(tmp_path: Path) -> None:
    """A plan that only creates functions is made again if one of them exists in the meantime."""
    cloud = Cloud()
    destination = Destination(cloud.connect(), bucket=None, prefix="")
    plan = deployment(tmp_path, "alpha", "beta", create=True).plan((), [destination], create=True)
    cloud.functions.hold("shop-beta", THEIRS, SETTINGS)
    (place,) = plan.apply().places

    assert (None, Progress.DEPLOYED) == (place.error, place.progress)
    assert {digest(NEW)} == {held.state.code_sha256 for held in cloud.functions.functions.values()}


def test_failed_creation_of_the_first_function(tmp_path: Path) -> None:
    """If the first function is created but a later one is not, nothing is left of either."""
    cloud = Cloud()
    destination = Destination(cloud.connect(), bucket=None, prefix="")
    plan = deployment(tmp_path, "alpha", "beta", create=True).plan((), [destination], create=True)

    def refuse(operation: str) -> None:
        if operation == "CreateFunction" and cloud.functions.functions:
            raise AwsError("no")

    cloud.functions.before = refuse
    (place,) = plan.apply().places

    assert "no; all functions and aliases were rolled back" == str(place.error)
    assert (Progress.ROLLED_BACK, {}) == (place.progress, cloud.functions.functions)


@pytest.fixture
def ctrl_c() -> Iterator[Callable[[], None]]:
    """A function that interrupts the main thread as Ctrl-C does, also if the tests run in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield lambda: signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
    signal.signal(signal.SIGINT, before)


def is_stopped(destination: Destination) -> bool:
    try:
        destination.stop.check()
    except StoppedError:
        return True
    return False


@pytest.mark.parametrize(
    ("operations", "message"),
    [
        (
            ["PublishVersion", "UpdateFunctionCode"],
            "interrupted again during the rollback; these functions may have new code or layers: `shop-alpha`, `shop-beta`",
        ),
        (["GetFunction", "GetFunction"], "interrupted again; no function is half deployed"),
    ],
)
def test_interrupted_twice(
    tmp_path: Path,
    ctrl_c: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
    operations: list[str],
    message: str,
) -> None:
    """A second Ctrl-C does not wait for the rollback. The error names the functions that may be half deployed, and how to go on."""
    monkeypatch.setattr(destination_module, "_REPEATED_SECONDS", 0)
    cloud, goes_on = Cloud(), threading.Event()
    for name in ("shop-alpha", "shop-beta"):
        cloud.functions.hold(name, OLD, SETTINGS, alias="live")
    destination = Destination(cloud.connect(), bucket=None, prefix="")
    plan = deployment(tmp_path, "alpha", "beta").plan((), [destination], create=False)
    pressed: list[str] = []

    def press(called: str) -> None:
        if not pressed and called == operations[0]:
            pressed.append(called)
            time.sleep(0.05)  # until the main thread waits
            ctrl_c()
            while not is_stopped(destination):
                time.sleep(0.01)
        if len(pressed) == 1 and called == operations[1]:
            pressed.append(called)
            ctrl_c()
            goes_on.wait(20)

    cloud.functions.before = press
    outcome = plan.apply()
    goes_on.set()
    for thread in threading.enumerate():
        if thread.name.startswith("lamina-place"):
            thread.join()

    assert operations == pressed
    assert isinstance(outcome.error, StoppedError)
    assert message == str(outcome.error)
    (place,) = outcome.places
    assert (place.progress is Progress.FAILED) == ("these functions" in message)
    assert (outcome.error.hint == "finish the deployment: `lamina deploy`") == ("these functions" in message)


def test_one_interruption_that_comes_twice(tmp_path: Path, ctrl_c: Callable[[], None]) -> None:
    """`timeout` sends its signal to the process and to its group. That does not end a rollback."""
    cloud = Cloud()
    cloud.functions.hold("shop-alpha", OLD, SETTINGS, alias="live")
    destination = Destination(cloud.connect(), bucket=None, prefix="")
    plan = deployment(tmp_path, "alpha").plan((), [destination], create=False)

    def press(called: str) -> None:
        if called == "PublishVersion" and not is_stopped(destination):
            time.sleep(0.05)  # until the main thread waits
            ctrl_c()
            while not is_stopped(destination):
                time.sleep(0.01)
            ctrl_c()

    cloud.functions.before = press
    outcome = plan.apply()

    assert "interrupted; all functions and aliases were rolled back" == str(outcome.error)
    assert Progress.ROLLED_BACK is outcome.places[0].progress
    assert digest(OLD) == cloud.functions.serving("shop-alpha")[0]


def test_functions_that_can_never_be_created(tmp_path: Path) -> None:
    """If Lambda says that a function exists when it is created, but not when it is read, lamina does not try for ever."""
    cloud = Cloud()
    cloud.functions.after = lambda operation: (
        cloud.functions.functions.clear() if operation == "CreateFunction" else None
    )
    cloud.functions.repeated = "CreateFunction"
    destination = Destination(cloud.connect(), bucket=None, prefix="")
    plan = deployment(tmp_path, "alpha", create=True).plan((), [destination], create=True)
    (place,) = plan.apply().places

    assert "another run creates functions of this service at the same time; nothing was changed" == str(place.error)
    assert place.progress is Progress.UNTOUCHED
