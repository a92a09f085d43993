"""Tests of the plan for a function: its updates, their order, and their reasons."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.aws.api.account import Account
from lamina.aws.api.functions import LATEST, AliasState, FunctionState, Settings, unversioned
from lamina.aws.deploy.plan import (
    Action,
    ConfiguredLayer,
    CreateFunction,
    DesiredFunction,
    DesiredLayerVersion,
    DetachLayers,
    Found,
    KeepFunction,
    UpdateCode,
    UpdateFunction,
    UpdateSettings,
    attach,
    plan,
    states,
)
from lamina.aws.deploy.report import planned as doing
from lamina.aws.deploy.survey import FunctionStep, configured_layer
from lamina.core.toml import read_data
from lamina.core.values import Package

LAYER = "arn:aws:lambda:eu-west-1:123456789012:layer:shop-common"
FOREIGN = "arn:aws:lambda:eu-west-1:999999999999:layer:insights:7"
OLD, NEW = f"{LAYER}:1", f"{LAYER}:2"
LIMIT = 1000


def wanted_function(
    *, code: str = "new", arn: str | None = NEW, unzipped: int = 10, layer: int = 500
) -> DesiredFunction:
    return DesiredFunction(
        function="hello",
        name="shop-hello",
        code_sha256=code,
        zipped_bytes=5,
        unzipped_bytes=unzipped,
        layers=(DesiredLayerVersion(layer=LAYER, arn=arn, unzipped_bytes=layer),),
        handler="app.handler",
        runtime="python3.13",
        architecture="x86_64",
        own_layers=frozenset({LAYER}),
    )


def function(*, code: str = "old", layers: tuple[str, ...] = (OLD,), version: str = LATEST) -> FunctionState:
    return FunctionState(
        name="shop-hello",
        version=version,
        revision="r1",
        code_sha256=code,
        code_bytes=5,
        settings=Settings(layers=layers, handler="app.handler", runtime="python3.13"),
        architecture="x86_64",
    )


def found(latest: FunctionState, *, code_bytes: int | None = 10, layer_bytes: int | None = None) -> Found:
    return Found(latest=latest, code_unzipped_bytes=code_bytes, layers_unzipped_bytes=layer_bytes)


def planned(wanted: DesiredFunction, found: Found | None, alias: str | None = None) -> Action:
    return plan(wanted, found, alias=alias, default_alias="live", limit=LIMIT)


def deployed(wanted: DesiredFunction, found: Found, alias: str | None = None) -> UpdateFunction:
    action = planned(wanted, found, alias)
    assert isinstance(action, UpdateFunction)
    return action


def test_nothing_to_do() -> None:
    """A function that already has the desired code and layers is kept unchanged."""
    wanted = wanted_function()

    assert KeepFunction(desired=wanted, reason="unchanged", layers=(NEW,)) == planned(
        wanted, found(function(code="new", layers=(NEW,)))
    )


def test_no_function() -> None:
    """A function that does not exist is created with the configured alias."""
    wanted = wanted_function()

    assert CreateFunction(desired=wanted, reason="the function does not exist", alias="live") == planned(
        wanted, None, "live"
    )


def test_layers_first() -> None:
    """If both orders fit, layers are updated first, because old code mostly works with new dependencies."""
    action = deployed(wanted_function(), found(function()))

    assert [UpdateSettings, UpdateCode] == [type(each) for each in action.updates]
    assert "the code changed, the layers changed" == action.reason
    assert (
        "for some seconds between the updates, $LATEST runs the old code with the new layers; "
        "this affects every call that names no version"
    ) == action.window


def test_code_first() -> None:
    """If the old code contains its dependencies and leaves no room for the layer, code is updated first."""
    action = deployed(wanted_function(), found(function(layers=()), code_bytes=600, layer_bytes=0))

    assert [UpdateCode, UpdateSettings] == [type(each) for each in action.updates]


def test_no_layers_in_between() -> None:
    """If the size of the old code is unknown, the service's layers are detached first, and layers of other services stay attached."""
    action = deployed(wanted_function(), found(function(layers=(FOREIGN, OLD)), code_bytes=None))

    assert [DetachLayers, UpdateCode, UpdateSettings] == [type(each) for each in action.updates]
    assert [(FOREIGN, OLD), (FOREIGN,), (FOREIGN,), (FOREIGN, NEW)] == [each.settings.layers for each in states(action)]


def test_one_update() -> None:
    """If only code or only layers change, the plan has one update and no window."""
    code = deployed(wanted_function(arn=OLD), found(function()))
    layers = deployed(wanted_function(code="old"), found(function()))

    assert [[UpdateCode], [UpdateSettings]] == [[type(each) for each in action.updates] for action in (code, layers)]
    assert (None, None) == (code.window, layers.window)


@pytest.mark.parametrize(
    ("settings", "window"),
    [
        (
            Settings(layers=(OLD,), handler="index.handler", runtime="python3.13"),
            (
                "runs the old code with the new layers, and then "
                "runs the new code with the old handler `index.handler`, so calls fail unless the new code still has it"
            ),
        ),
        (
            Settings(layers=(NEW,), handler="index.handler", runtime="python3.13"),
            "runs the new code with the old handler `index.handler`, so calls fail unless the new code still has it",
        ),
        (
            Settings(layers=(OLD,), handler="app.handler", runtime="python3.12"),
            "runs the old code with the new layers on python3.13, so calls fail if the old code includes modules compiled for python3.12",
        ),
        (
            Settings(layers=(NEW,), handler="app.handler", runtime="python3.12"),
            "runs the new code on python3.12",
        ),
    ],
)
def test_the_window_says_when_calls_fail(settings: Settings, window: str) -> None:
    """Old code never runs with a new handler, and the plan says which calls fail between the updates."""
    action = deployed(wanted_function(), found(replace(function(), settings=settings)))

    assert {settings.handler} == {each.settings.handler for each in states(action)[:-1]}
    assert f"for some seconds between the updates, $LATEST {window}; this affects every call that names no version" == (
        action.window
    )


def test_a_new_handler_comes_last() -> None:
    """With new layers, code and handler, the old code gets the layers first and the handler changes after the code."""
    latest = replace(function(), settings=Settings(layers=(OLD,), handler="index.handler", runtime="python3.13"))
    action = deployed(wanted_function(), found(latest))

    assert [UpdateSettings, UpdateCode, UpdateSettings] == [type(each) for each in action.updates]
    assert [
        ("old", OLD, "index.handler"),
        ("old", NEW, "index.handler"),
        ("new", NEW, "index.handler"),
        ("new", NEW, "app.handler"),
    ] == [(each.code_sha256, *each.settings.layers, each.settings.handler) for each in states(action)]


def test_alias_hides_the_window() -> None:
    """The plan states that callers of an alias are not affected by the window."""
    alias = AliasState(name="live", version="3", revision="r")
    action = deployed(wanted_function(), replace(found(function()), alias=alias))

    assert "live" == action.alias
    assert (action.window or "").endswith("; callers of alias `live` are not affected")


def test_alias_behind() -> None:
    """If only the alias is outdated, a new version is published and the alias moved to it."""
    latest = function(code="new", layers=(NEW,))
    alias = AliasState(name="live", version="3", revision="r")
    there = Found(latest=latest, alias=alias, pointed=function(version="3"))
    action = deployed(wanted_function(), there)
    kept = planned(wanted_function(), replace(there, pointed=replace(latest, version="3")))
    elsewhere = deployed(wanted_function(), replace(there, pointed=replace(latest, version="3", architecture="arm64")))

    assert ((), "alias `live` still points to version 3") == (action.updates, action.reason)
    assert isinstance(kept, KeepFunction)
    assert action.reason == elsewhere.reason


@pytest.mark.parametrize(
    ("code", "layers", "handler", "words"),
    [
        ("new", (NEW,), "other.handler", "update settings, then publish a version, then move alias live (other.handler → app.handler)"),
        ("new", (OLD,), "other.handler", "update layers, then publish a version, then move alias live (the layers changed, other.handler → app.handler)"),
        ("new", (NEW,), "app.handler", "publish a version, then move alias live (alias `live` is missing)"),
    ],
)  # fmt: skip
def test_words(code: str, layers: tuple[str, ...], handler: str, words: str) -> None:
    """The plan's line lists exactly the updates, with their reasons."""
    latest = function(code=code, layers=layers)
    latest = replace(latest, settings=replace(latest.settings, handler=handler))
    action = deployed(wanted_function(), found(latest), "live")
    account = Account(id="123456789012", partition="aws", region="eu-west-1")
    package = Package(
        name="hello", handler="app.handler", path=Path("hello.zip"), sha256="0" * 64, zipped_bytes=5, unzipped_bytes=10,
        files=1, layers=("common",), total_unzipped_bytes=510, console_editable=True,
    )  # fmt: skip
    (line,) = doing([FunctionStep(package=package, action=action)], account)

    assert ("function", "shop-hello", str(account), words) == (line.noun, line.name, line.place, line.words)


def test_alias_on_latest() -> None:
    """An alias that points to `$LATEST` is moved to a version, even if nothing else changes."""
    alias = AliasState(name="live", version=LATEST, revision="r")
    action = deployed(wanted_function(), Found(latest=function(code="new", layers=(NEW,)), alias=alias))

    assert "alias `live` points to `$LATEST` instead of a version" == action.reason


DATADOG = "datadog_lambda.handler.handler"


def with_handler(handler: str, **environment: str) -> FunctionState:
    latest = function(code="new", layers=(FOREIGN, NEW))
    return replace(latest, settings=replace(latest.settings, handler=handler), environment=environment)


@pytest.mark.parametrize("row", read_data("wrappers.toml")["wrapper"], ids=lambda row: row["vendor"])
def test_known_wrappers_stay(row: dict[str, str]) -> None:
    """A function whose handler is a vendor's wrapper keeps it, and the plan says so; the wrapper's variable must name the function's own handler."""
    kept = planned(wanted_function(), found(with_handler(row["handler"], **{row["variable"]: "app.handler"})))
    moved = deployed(
        wanted_function(code="newer"), found(with_handler(row["handler"], **{row["variable"]: "old.handler"}))
    )
    keeps = f"keeps the handler `{row['handler']}` of {row['vendor']}, which wraps the function's own"

    assert (KeepFunction, (keeps,)) == (type(kept), kept.notes)
    assert (row["handler"], [keeps]) == (moved.settings.handler, list(moved.notes[:-1]))
    assert (
        f"the environment variable `{row['variable']}` is not `app.handler`, so the wrapper does not call that handler: "
        "set the variable with the tool that manages the environment"
    ) == moved.notes[-1]


@pytest.mark.parametrize(
    ("wrapper", "present", "handler", "notes"),
    [
        ("acme.wrap", "app.handler", "acme.wrap", ["sets the handler `acme.wrap`, which wraps the function's own"]),
        ("acme.wrap", "acme.wrap", "acme.wrap", ["keeps the handler `acme.wrap`, which wraps the function's own"]),
        ("", DATADOG, "app.handler", []),
        (None, "acme.wrap", "app.handler", []),
    ],
)
def test_the_configuration_decides_the_wrapper(
    wrapper: str | None, present: str, handler: str, notes: list[str]
) -> None:
    """A configured wrapper is set or kept, an empty one removes a known wrapper, and without one an unknown handler is replaced."""
    action = deployed(replace(wanted_function(code="newer"), wrapper=wrapper), found(with_handler(present)))

    assert (handler, notes) == (action.settings.handler, list(action.notes))


def test_a_new_function_is_wrapped() -> None:
    """A created function gets the configured wrapper, and the plan names the variable that it needs."""
    action = planned(replace(wanted_function(), wrapper=DATADOG), None)

    assert isinstance(action, CreateFunction)
    assert DATADOG == action.settings.handler
    assert [True, True] == [f"`{name}`" in " ".join(action.notes) for name in (DATADOG, "DD_LAMBDA_HANDLER")]


def changed_by_hand(code: str) -> Found:
    latest = replace(
        function(code=code, layers=(FOREIGN, NEW)),
        environment={"A": "secret-1", "B": "secret-2"},
        others={"memory": "256", "role": '"one"', "timeout": "3"},
    )
    pointed = replace(
        latest,
        version="3",
        settings=replace(latest.settings, layers=(NEW,)),
        environment={"B": "secret-3", "C": "secret-4"},
        others={"memory": "128", "role": '"one"', "VPC": "{}"},
    )
    return Found(latest=latest, alias=AliasState(name="live", version="3", revision="r"), pointed=pointed)


def test_changes_by_hand_are_named_before_they_are_published() -> None:
    """The plan names every setting of `$LATEST` that callers do not have yet, without its value, whether or not lamina deploys anything."""
    there = changed_by_hand("old")
    action = deployed(wanted_function(), there)
    names = [
        "environment variable `A` (added)",
        "environment variable `B` (changed)",
        "environment variable `C` (removed)",
        "VPC (removed)",
        "memory (changed)",
        "timeout (added)",
        f"layer `{FOREIGN}` (added)",
    ]

    assert names == list(action.drift)
    assert [
        f"$LATEST was changed since callers got their version: {', '.join(names)}; this deployment publishes this too"
    ] == (list(action.notes))
    assert "secret" not in repr(there)


def test_a_hidden_environment_is_not_compared() -> None:
    """If AWS hides the environment variables from the caller, the plan claims nothing about them."""
    there = changed_by_hand("old")
    hidden = replace(with_handler(DATADOG), has_hidden_environment=True)
    action = deployed(
        wanted_function(), replace(there, latest=replace(there.latest, environment={}, has_hidden_environment=True))
    )
    kept = planned(wanted_function(), found(hidden))

    assert [] == [change for change in action.drift if "environment" in change]
    assert "memory (changed)" in action.drift
    assert 1 == len(kept.notes)


def test_changes_by_hand_of_a_function_that_stays() -> None:
    """A change of the environment alone publishes nothing, but the next deployment will, so the plan names it too."""
    latest = replace(function(code="new", layers=(NEW,)), environment={"A": "1"})
    alias = AliasState(name="live", version="3", revision="r")
    kept = planned(
        wanted_function(), Found(latest=latest, alias=alias, pointed=replace(latest, version="3", environment={}))
    )

    assert isinstance(kept, KeepFunction)
    assert ("environment variable `A` (added)",) == kept.drift
    assert ["the next deployment publishes this too"] == [note.rpartition("; ")[2] for note in kept.notes]


def test_default_alias_is_not_made() -> None:
    """A configured alias is created if it is missing; the default alias is not."""
    assert None is deployed(wanted_function(), found(function())).alias
    assert "blue" == deployed(wanted_function(), found(function()), "blue").alias


def test_unpublished_layer() -> None:
    """A layer that is not published yet is a change, and the plan shows a placeholder instead of its ARN."""
    action = deployed(wanted_function(arn=None, code="old"), found(function()))

    assert (f"{LAYER}:(new)",) == action.settings.layers


arns = st.lists(st.sampled_from(["own-a", "own-b", "x", "y", "z"]), unique=True).map(
    lambda names: tuple(f"arn:{name}:1" for name in names)
)


@given(present=arns, wanted=st.permutations(["arn:own-a:2", "arn:own-b:2"]), count=st.integers(0, 2))
def test_attach(present: tuple[str, ...], wanted: list[str], count: int) -> None:
    """Other services' layers stay in their order; the service's layers are exactly the desired ones, adjacent and in the desired order."""
    own = {"arn:own-a", "arn:own-b"}
    chosen = wanted[:count]
    result = attach(chosen, present, own)
    first = next((result.index(arn) for arn in result if unversioned(arn) in own), 0)

    assert [arn for arn in present if unversioned(arn) not in own] == [
        arn for arn in result if unversioned(arn) not in own
    ]
    assert chosen == list(result[first : first + count])
    assert len(result) == len(set(result))


@given(present=arns, configured=st.lists(st.sampled_from(["own-a", "x", "y", "new"]), unique=True))
def test_attach_configured(present: tuple[str, ...], configured: list[str]) -> None:
    """A configured layer is attached once: in place of another version of it, or right before the service's layers."""
    own = {"arn:own-a", "arn:own-b"}
    layers = [f"arn:{name}:{1 if name == 'y' else 2}" for name in configured]
    result = attach(["arn:own-a:2"], present, own, layers)
    wanted = {unversioned(arn): arn for arn in layers if unversioned(arn) not in own}
    new = [arn for name, arn in wanted.items() if name not in map(unversioned, present)]
    start = result.index("arn:own-a:2") - len(new)

    assert new == list(result[start : start + len(new)])
    assert [wanted.get(unversioned(arn), arn) for arn in present if unversioned(arn) not in own] == [
        arn for arn in result if arn not in {*new, "arn:own-a:2"}
    ]


PLACE = Account(id="123456789012", partition="aws-cn", region="cn-north-1")
OPEN = "arn:*:lambda:*:999999999999:layer:insights"


@pytest.mark.parametrize(
    ("arn", "whole", "problem"),
    [
        (f"{OPEN}:7", "arn:aws-cn:lambda:cn-north-1:999999999999:layer:insights:7", ""),
        (
            "arn:${AWS::Partition}:lambda:${AWS::Region}:${AWS::AccountId}:layer:own:1",
            "arn:aws-cn:lambda:cn-north-1:123456789012:layer:own:1",
            "",
        ),
        (
            f"{OPEN}:*",
            "arn:aws-cn:lambda:cn-north-1:999999999999:layer:insights:*",
            "its account or version is unknown; write the whole ARN in `layer-arns`",
        ),
        (
            "arn:aws-cn:lambda:cn-north-1:*:layer:insights:1",
            "arn:aws-cn:lambda:cn-north-1:*:layer:insights:1",
            "its account or version is unknown; write the whole ARN in `layer-arns`",
        ),
        (
            FOREIGN,
            FOREIGN,
            "it is not in cn-north-1; write `*` in place of its region if it is offered in every region",
        ),
        ("arn:aws:lambda:::awslayer:AmazonLinux1803", "arn:aws:lambda:::awslayer:AmazonLinux1803", ""),
    ],
)
def test_configured_layers_of_a_deployment(arn: str, whole: str, problem: str) -> None:
    """The deployment decides the parts that the configuration leaves open, except accounts and versions of others."""
    found = configured_layer(arn, PLACE, {arn: 5})

    assert (arn, whole, problem, 5) == (found.name, found.arn, found.problem, found.unzipped_bytes)


def configured(*arns: str, size: int | None = None, problem: str = "") -> DesiredFunction:
    layers = tuple(ConfiguredLayer(name=arn, arn=arn, unzipped_bytes=size, problem=problem) for arn in arns)
    return replace(wanted_function(code="old", arn=OLD), external=layers)


def test_a_configured_layer_that_the_function_lacks() -> None:
    """It is attached, and a note says so; a function that has it stays as it is."""
    action = deployed(configured(FOREIGN), found(function()))

    assert (FOREIGN, OLD) == action.settings.layers
    assert ("the layers changed", (f"attaches the layer `{FOREIGN}`",)) == (action.reason, action.notes)
    created = planned(configured(FOREIGN), None)
    assert isinstance(created, CreateFunction)
    assert (FOREIGN, OLD) == created.settings.layers
    newer = FOREIGN.replace(":7", ":8")
    replaced = deployed(configured(newer), found(function(layers=(OLD, FOREIGN))))
    assert (OLD, newer) == replaced.settings.layers
    assert (f"attaches the layer `{newer}` instead of version 7",) == replaced.notes
    kept = planned(configured(FOREIGN), found(function(layers=(OLD, FOREIGN))))
    assert isinstance(kept, KeepFunction)
    assert () == kept.notes


def test_a_configured_layer_that_cannot_be_attached() -> None:
    """A note says why, unless the function has a version of it."""
    wanted = configured(FOREIGN.replace(":7", ":*"), problem="unknown version")

    action = planned(wanted, found(function()))

    assert (False, (f"does not attach the layer `{wanted.external[0].name}`: unknown version",)) == (
        action.is_change,
        action.notes,
    )
    assert () == planned(wanted, found(function(layers=(OLD, FOREIGN)))).notes


@pytest.mark.parametrize(
    ("size", "present", "total"), [(100, (FOREIGN, OLD), 600), (100, (OLD,), 600), (None, (OLD,), None)]
)
def test_size_of_configured_layers(size: int | None, present: tuple[str, ...], total: int | None) -> None:
    """The pinned sizes count, so that the order of updates is known; without a pin, the total is unknown."""
    wanted = replace(configured(FOREIGN, size=size), code_sha256="new", layers=wanted_function().layers)
    latest = function(layers=present)

    assert total == wanted.layers_unzipped_bytes(found(latest))
    assert None is wanted.layers_unzipped_bytes(
        found(function(layers=(*present, FOREIGN.replace("insights", "other"))))
    )
    # Without a known size, the layers may not fit beside the larger old code.
    assert (UpdateSettings if total else UpdateCode) is type(deployed(wanted, found(latest, code_bytes=20)).updates[0])


sizes = st.integers(0, 1000)


@given(
    old=st.tuples(sizes, sizes),
    new=st.tuples(sizes, sizes),
    others=st.none() | sizes,
    known=st.tuples(st.booleans(), st.booleans()),
    handler=st.sampled_from(["app.handler", "index.handler"]),
)
def test_never_over_the_limit(
    old: tuple[int, int], new: tuple[int, int], others: int | None, known: tuple[bool, bool], handler: str
) -> None:
    """If the first and the last state fit the limit, every state in between fits, for all sizes of code and layers."""
    if max(sum(old), sum(new)) + (others or 0) > LIMIT:
        return
    layer_bytes = {OLD: old[1], NEW: new[1], FOREIGN: others or 0}
    code_bytes = {"old": old[0], "new": new[0]}
    layers = (OLD,) if others is None else (FOREIGN, OLD)
    action = deployed(
        replace(wanted_function(unzipped=new[0], layer=new[1]), handler=handler),
        found(
            function(layers=layers),
            code_bytes=old[0] if known[0] else None,
            layer_bytes=old[1] + (others or 0) if known[1] else None,
        ),
    )
    totals = [
        code_bytes[each.code_sha256] + sum(layer_bytes[arn] for arn in each.settings.layers) for each in states(action)
    ]

    assert max(totals) <= LIMIT
