"""Tests of the rate limits for requests to Lambda."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from lamina.aws.api.errors import Caller
from lamina.aws.api.pace import LambdaPace, Pace
from lamina.aws.api.session import Access
from lamina.core.errors import ThrottledError

if TYPE_CHECKING:
    from emulators import Emulator


def test_pace() -> None:
    """Calls are made at the configured rate, without extra waiting if enough time has passed since the last call."""
    slept: list[float] = []
    times = iter([0.0, 0.0, 10.0])
    pace = Pace(2, sleep=slept.append, clock=lambda: next(times))
    for _ in range(3):
        pace.wait()

    assert [0.5] == slept


def test_threads_share_a_pace() -> None:
    """Each of several threads that call at the same time has its own turn, so together they keep to the rate."""
    slept: list[float] = []
    pace = Pace(4, sleep=slept.append, clock=lambda: 0.0)
    with ThreadPoolExecutor(8) as pool:
        for _ in range(20):
            pool.submit(pace.wait)

    assert [number / 4 for number in range(1, 20)] == sorted(slept)


def test_pace_of_each_operation() -> None:
    """``GetFunction`` has a limit of its own in Lambda, so it does not slow down the operations that change something."""
    slept: dict[str, list[float]] = {"shared": [], "reads": []}
    paces = {name: Pace(2, sleep=each.append, clock=lambda: 0.0) for name, each in slept.items()}
    asked: list[str] = []

    def call(operation: str, **_: Any) -> dict[str, Any]:
        asked.append(operation)
        return {}

    limited = LambdaPace(paces["shared"], paces["reads"]).limit(call)
    operations = ["GetFunction", "GetFunction", "UpdateAlias", "PublishVersion", "ListLayerVersions"]
    for operation in operations:
        limited(operation, doing="test")

    assert operations == asked
    assert {"shared": [0.5, 1.0], "reads": [0.5]} == slept


@pytest.mark.parametrize("throttled", [2, 99])
def test_throttled_calls_are_repeated_more_slowly(throttled: int) -> None:
    """If Lambda throttles, all calls become slower, and the call is repeated with growing pauses, but not forever."""
    waited: list[float] = []
    pace, asked = Pace(1000), []

    def call(operation: str, **_: Any) -> dict[str, Any]:
        asked.append(operation)
        if len(asked) <= throttled:
            raise ThrottledError("slow down")
        return {"Name": operation}

    limited = LambdaPace(pace).limit(call, sleep=waited.append)
    if throttled == 2:
        assert {"Name": "UpdateAlias"} == limited("UpdateAlias", doing="test")
    else:
        with pytest.raises(ThrottledError):
            limited("UpdateAlias", doing="test")

    assert {2: 3, 99: 5}[throttled] == len(asked)
    assert len(asked) - 1 == len(waited)
    assert all(0.5 * 2**turn <= seconds <= 2**turn for turn, seconds in enumerate(waited))
    assert pytest.approx(4 / 1000) == pace.interval


def test_a_call_that_must_not_be_repeated_is_not() -> None:
    """The caller of such an operation looks for its result first. The other calls become slower all the same."""
    asked = []

    def call(operation: str, **_: Any) -> dict[str, Any]:
        asked.append(operation)
        raise ThrottledError("slow down")

    pace = Pace(1000)
    with pytest.raises(ThrottledError):
        LambdaPace(pace).limit(call, repeats=False)("PublishLayerVersion", doing="test")
    assert ["PublishLayerVersion"] == asked
    assert pytest.approx(2 / 1000) == pace.interval


@pytest.mark.parametrize(
    ("endpoint", "limited"),
    [
        ("https://lambda.eu-west-1.amazonaws.com", True),
        ("https://vpce-1.lambda.eu-west-1.vpce.amazonaws.com", True),
        ("http://127.0.0.1:4566", False),
        ("http://localhost:4566", False),
        ("http://[::1]:4566", False),
    ],
)
def test_only_aws_has_a_limit(endpoint: str, limited: bool) -> None:
    """An emulator on this machine has no other users, so requests to it do not wait."""
    assert limited == (LambdaPace.of(endpoint).shared.interval > 0)
    assert not limited or LambdaPace.of(endpoint).shared.interval == pytest.approx(1 / 7.5)


def test_users_of_one_account_share_a_pace(monkeypatch: pytest.MonkeyPatch, ministack: Emulator) -> None:
    """Layers, functions and the inventory of one account and region keep to the rate together."""
    turns: list[str] = []
    services = Access(region=ministack.region).connect()
    monkeypatch.setattr(Pace, "wait", lambda pace: turns.append("shared" if pace is services._pace.shared else "other"))
    services.layers.versions("no-such-layer")
    services.functions.alias("no-such-function", "live")
    services.functions.get("no-such-function")
    list(services.inventory.layers())

    assert ["shared", "shared", "other", "shared"] == turns


def test_throttled_calls_of_the_inventory_are_repeated(monkeypatch: pytest.MonkeyPatch, ministack: Emulator) -> None:
    """``lamina prune`` repeats a throttled request to each service, as the commands that publish and deploy do."""
    asked: list[str] = []
    call = Caller.__call__

    def throttled_once(caller: Caller, operation: str, **parameters: Any) -> dict[str, Any] | None:
        asked.append(operation)
        if asked.count(operation) == 1:
            raise ThrottledError("slow down")
        return call(caller, operation, **parameters)

    monkeypatch.setattr(Caller, "__call__", throttled_once)
    monkeypatch.setattr(random, "uniform", lambda *_: 0.0)
    services = Access(region=ministack.region).connect()
    list(services.inventory.layers())
    list(services.inventory.stacks())
    list(services.parameters.below("/no-such-path"))
    list(services.parameters.history("/no-such-parameter"))

    operations = ("ListLayers", "DescribeStacks", "GetParametersByPath", "GetParameterHistory")
    # Other tests may have filled several pages.
    assert dict.fromkeys(operations, True) == {each: asked.count(each) > 1 for each in asked}
