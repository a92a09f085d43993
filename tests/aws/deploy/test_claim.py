"""Tests of the claim that lets one deployer at a time change the functions of a service."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from aws.lambdafakes import FakeFunctions, code
from lamina.aws.api.account import Account
from lamina.aws.api.functions import LATEST, Settings
from lamina.aws.deploy.claim import CLAIM, Claim, ClaimTimes, Turns
from lamina.aws.destination.destination import Cancellation
from lamina.core.errors import AwsError, ChangedMeanwhileError, ConfigError, DeployError, StoppedError
from lamina.core.reporter import SILENT

if TYPE_CHECKING:
    from collections.abc import Callable

    from lamina.aws.api.functions import AliasState

NAMES = ("shop-alpha", "shop-beta")
ACCOUNT = "123456789012"
SETTINGS = Settings(layers=(), handler="app.handler", runtime="python3.13")
VALID_SECONDS = ClaimTimes().valid_seconds


@pytest.fixture
def functions() -> FakeFunctions:
    fake = FakeFunctions()
    for name in NAMES:
        fake.hold(name, code("old"), SETTINGS)
    return fake


def claim_of(
    functions: FakeFunctions,
    *,
    names: tuple[str, ...] = NAMES,
    existing: tuple[str, ...] = NAMES,
    waiting: Callable[[float], None] = lambda _: None,
    stop: Cancellation | None = None,
    renew_seconds: float = 900,
) -> Claim:
    return Claim(
        functions,
        names,
        existing=existing,
        stop=stop or Cancellation(),
        reporter=SILENT,
        times=ClaimTimes(renew_seconds=renew_seconds, sleep=waiting),
    )


def claims(functions: FakeFunctions) -> list[str]:
    return [name for name, held in functions.functions.items() if CLAIM in held.aliases]


def test_one_at_a_time(functions: FakeFunctions) -> None:
    """A second deployer waits until the first one releases the claim, which leaves nothing behind."""
    seen: list[list[str]] = []
    with claim_of(functions).hold():
        second = claim_of(functions).take("shop-alpha")
        held = claims(functions)
    with claim_of(functions, waiting=lambda _: seen.append([])).hold():
        pass

    assert (False, list(NAMES)) == (second, held)
    assert ([], []) == (seen, claims(functions))


def test_waits_for_the_other_deployer(functions: FakeFunctions) -> None:
    """A deployer has the claim as soon as the other one has released it."""
    other = claim_of(functions)
    holding = other.hold()
    holding.__enter__()

    def ends(_: float) -> None:
        holding.__exit__(None, None, None)

    with claim_of(functions, waiting=ends).hold():
        held = claims(functions)

    assert (list(NAMES), []) == (held, claims(functions))


def test_deployers_of_other_functions_of_the_service_meet(functions: FakeFunctions) -> None:
    """The claim is on the first function that exists, whichever functions are deployed."""
    del functions.functions["shop-alpha"]
    stop = Cancellation()
    second = claim_of(functions, existing=(), waiting=lambda _: stop.request(), stop=stop).hold()
    with claim_of(functions, existing=("shop-beta",)).hold(), pytest.raises(StoppedError):
        second.__enter__()

    assert [] == claims(functions)


def test_takes_over_the_claim_of_a_killed_deployer(functions: FakeFunctions) -> None:
    """A claim that is not renewed is taken over when it is too old by AWS's clock, and not before."""
    killed = claim_of(functions)
    assert killed.take("shop-alpha")

    def passes(_: float) -> None:
        functions.clock += VALID_SECONDS / 3

    start = functions.clock
    with claim_of(functions, waiting=passes).hold():
        text = functions.functions["shop-alpha"].aliases[CLAIM].description

    assert start + VALID_SECONDS < functions.clock < start + 2 * VALID_SECONDS
    assert f"renewed {functions.clock:.0f}" in text
    killed._release()
    assert [] == claims(functions)


def test_the_killed_deployers_successor_keeps_its_claim(functions: FakeFunctions) -> None:
    """A deployer that was only slow does not release the claim of the one that took over."""
    slow = claim_of(functions)
    assert slow.take("shop-alpha")
    functions.clock += VALID_SECONDS + 1
    with claim_of(functions).hold():
        slow._release()

        assert list(NAMES) == claims(functions)


def test_a_working_deployer_renews_its_claim(functions: FakeFunctions) -> None:
    """A deployment may take much longer than a claim is valid, for example with SnapStart."""
    with claim_of(functions, renew_seconds=0.001).hold():
        functions.clock += 10 * VALID_SECONDS
        now = f"renewed {functions.clock:.0f}"
        while now not in functions.functions["shop-alpha"].aliases[CLAIM].description:
            time.sleep(0.001)

        assert not claim_of(functions).take("shop-alpha")


def test_claim_whose_reply_is_lost(functions: FakeFunctions) -> None:
    """If the SDK repeats the request for the claim, the deployer recognises its own claim."""
    functions.repeated = "CreateAlias"
    with claim_of(functions, waiting=lambda _: pytest.fail("waits for itself")).hold():
        assert list(NAMES) == claims(functions)
    assert [] == claims(functions)


def test_claims_at_several_places_are_taken_in_one_order() -> None:
    """At several places, each claim is taken only after the earlier ones, or after they could not be taken."""
    places = [
        Account(id=ACCOUNT, partition="aws", region=region) for region in ("us-east-1", "eu-west-1", "eu-north-1")
    ]
    turns, taken = Turns(places), []

    def take(place: Account) -> None:
        with turns.turn(place):
            taken.append(place.region)
            if place.region == "eu-west-1":
                raise AwsError("denied")

    with ThreadPoolExecutor(len(places)) as pool:
        futures = [pool.submit(take, place) for place in places]

    assert ["eu-north-1", "eu-west-1", "us-east-1"] == taken
    assert [False, True, False] == [future.exception() is not None for future in futures]


def test_alias_of_others(functions: FakeFunctions) -> None:
    """An alias with the claim's name that lamina did not create is neither taken over nor waited for."""
    functions.create_alias("shop-alpha", CLAIM, LATEST, description="ours")
    claim = claim_of(functions).hold()
    with pytest.raises(DeployError) as caught:
        claim.__enter__()

    assert "function `shop-alpha` has an alias `lamina-deploying`, which lamina needs" in str(caught.value)
    assert "aws lambda delete-alias --function-name shop-alpha --name lamina-deploying" in str(caught.value.hint)
    assert replace(functions.functions["shop-alpha"].aliases[CLAIM], revision="").description == "ours"


def test_claim_that_was_taken_over_is_lost(functions: FakeFunctions) -> None:
    """A deployer that was stopped for too long may change nothing more, also when its successor has already released the claim."""
    slow = claim_of(functions)
    with slow.hold():
        slow.check()
        functions.clock += VALID_SECONDS + 1
        with claim_of(functions).hold(), pytest.raises(ChangedMeanwhileError, match="another run took over the claim"):
            slow.check()
        with pytest.raises(ChangedMeanwhileError):
            slow.check()

        assert slow.is_lost

    after = claim_of(functions)
    with after.hold():
        functions.clock += VALID_SECONDS + 1
        with claim_of(functions).hold():
            pass
        with pytest.raises(ChangedMeanwhileError):
            after.check()


def test_claim_that_nobody_took_over_is_renewed_before_a_change(functions: FakeFunctions) -> None:
    """A deployer that was stopped for a long time goes on if it was alone."""
    slow = claim_of(functions)
    with slow.hold():
        functions.clock += 10 * VALID_SECONDS
        slow.check()

        assert not claim_of(functions).take("shop-alpha")


def test_claim_that_cannot_be_renewed(functions: FakeFunctions) -> None:
    """An error of any kind does not end the renewals, but nothing is changed while the claim may be another's."""

    def fails(operation: str) -> None:
        if operation == "UpdateAlias":
            asked.append(operation)
            raise ConfigError("the credentials file is damaged")

    asked: list[str] = []
    functions.before = fails
    claim = claim_of(functions, renew_seconds=0.001)
    with claim.hold():
        while len(asked) < 3:
            time.sleep(0.001)
        claim.check()
        functions.clock += VALID_SECONDS
        with pytest.raises(ConfigError):
            claim.check()
        functions.before = lambda _: None
        claim.check()


def test_deployers_that_know_other_functions_meet(functions: FakeFunctions) -> None:
    """The claim of a deployer that does not know the first function, or knew it before it existed, is found on a later one."""
    first = claim_of(functions, names=("shop-beta",), existing=("shop-beta",)).hold()
    first.__enter__()
    seen = []

    def ends(_: float) -> None:
        seen.append(claims(functions))
        first.__exit__(None, None, None)

    with claim_of(functions, waiting=ends).hold():
        assert list(NAMES) == claims(functions)
    assert ([list(NAMES)], []) == (seen, claims(functions))


def must_wait(functions: FakeFunctions, names: tuple[str, ...]) -> bool:
    """Return whether a deployer that knows *names* has to wait for its claim, and stop it."""
    stop = Cancellation()
    try:
        with claim_of(functions, names=names, existing=names, waiting=lambda _: stop.request(), stop=stop).hold():
            return False
    except StoppedError:
        return True


@pytest.mark.parametrize("known", [("shop-beta",), ("shop-aleph", "shop-beta"), ("shop-alpha", "shop-gamma")])
def test_deployers_that_know_other_functions_meet_at_one_end(functions: FakeFunctions, known: tuple[str, ...]) -> None:
    """Whichever of two deployers is the earlier one, the other one waits if both know the first or the last function."""
    for name in ("shop-aleph", "shop-gamma"):
        functions.hold(name, code("old"), SETTINGS)
    for earlier, later in ((NAMES, known), (known, NAMES)):
        with claim_of(functions, names=earlier, existing=earlier).hold():
            assert must_wait(functions, later)

        assert [] == claims(functions)


def test_function_that_appears_while_waiting(functions: FakeFunctions) -> None:
    """A deployer that waited claims the first function that exists then, so that later deployers meet it there."""
    del functions.functions["shop-alpha"]
    other = claim_of(functions, existing=("shop-beta",)).hold()
    other.__enter__()

    def creates(_: float) -> None:
        functions.hold("shop-alpha", code("new"), SETTINGS)
        other.__exit__(None, None, None)

    with claim_of(functions, existing=("shop-beta",), waiting=creates).hold():
        assert sorted(claims(functions)) == list(NAMES)


def test_known_function_that_was_deleted(functions: FakeFunctions) -> None:
    """A function of the plan may be gone, because the deployer that created it has rolled back."""
    del functions.functions["shop-alpha"]
    with claim_of(functions).hold():
        assert ["shop-beta"] == claims(functions)


class Slow(FakeFunctions):
    """Functions that Lambda is still creating: it rejects aliases of them as a conflict."""

    def create_alias(self, name: str, alias: str, version: str, *, description: str = "") -> AliasState | None:
        if self.functions[name].busy_polls:
            return None
        return super().create_alias(name, alias, version, description=description)


def test_waits_while_the_function_is_created() -> None:
    """Lambda rejects an alias of a function that it is still creating, for however long that takes."""
    functions = Slow()
    functions.hold("shop-alpha", code("new"), SETTINGS)
    functions.functions["shop-alpha"].busy_polls = 2 * ClaimTimes().conflicts
    waited: list[float] = []
    with claim_of(functions, existing=("shop-alpha",), waiting=waited.append).hold():
        assert ["shop-alpha"] == claims(functions)
    assert len(waited) > ClaimTimes().conflicts


def abandoned(functions: FakeFunctions, name: str) -> Claim:
    """Return a claim on the function *name* that is too old."""
    killed = claim_of(functions, names=(name,))
    assert killed.take(name)
    functions.clock += VALID_SECONDS + 1
    return killed


def test_abandoned_claim_on_a_later_function(functions: FakeFunctions) -> None:
    """A claim between the ends that is too old is deleted, so that its owner loses it."""
    functions.hold("shop-aster", code("old"), SETTINGS)
    killed = abandoned(functions, "shop-aster")
    names = ("shop-alpha", "shop-aster", "shop-beta")
    with claim_of(functions, names=names, existing=names).hold():
        assert list(NAMES) == claims(functions)
        with pytest.raises(ChangedMeanwhileError):
            killed.check()
    killed._release()


def test_old_claim_that_is_renewed_after_all(functions: FakeFunctions) -> None:
    """A claim that its slow owner renews while another deployer is about to delete it stays."""
    functions.hold("shop-aster", code("old"), SETTINGS)
    slow = abandoned(functions, "shop-aster")
    names = ("shop-alpha", "shop-aster", "shop-beta")
    stop = Cancellation()
    waiting = claim_of(functions, names=names, existing=names, waiting=lambda _: stop.request(), stop=stop)

    def renews(operation: str) -> None:
        if operation == "UpdateAlias":
            functions.before = lambda _: None
            slow.check()

    functions.before = renews
    with pytest.raises(StoppedError):
        waiting.hold().__enter__()
    slow.check()

    assert ["shop-aster"] == claims(functions)
    slow._release()


def test_lost_claim_is_not_released(functions: FakeFunctions) -> None:
    """A deployer whose claim is old makes sure that it is still its own before it deletes it."""
    slow = claim_of(functions)
    with slow.hold():
        functions.clock += VALID_SECONDS + 1
        successor = claim_of(functions).hold()
        successor.__enter__()

    assert list(NAMES) == claims(functions)
    successor.__exit__(None, None, None)
    assert [] == claims(functions)


def test_function_with_the_claim_is_deleted_while_waiting(functions: FakeFunctions) -> None:
    """A deployer that has claimed a function that another one created claims the next one when that is rolled back."""
    other = claim_of(functions, names=("shop-beta",), existing=("shop-beta",)).hold()
    other.__enter__()

    def rolls_back(_: float) -> None:
        del functions.functions["shop-alpha"]
        other.__exit__(None, None, None)

    claim = claim_of(functions, existing=(), waiting=rolls_back)
    with claim.hold():
        claim.check()

        assert ["shop-beta"] == claims(functions)


def test_conflict_without_an_alias(functions: FakeFunctions) -> None:
    """If Lambda rejects the claim although there is no other, lamina does not wait for ever."""
    functions.repeated = "CreateAlias"
    functions.after = lambda operation: (
        functions.functions["shop-alpha"].aliases.clear() if operation == "CreateAlias" else None
    )
    with pytest.raises(DeployError, match="when lamina creates it, and that it does not when lamina reads it"):
        claim_of(functions).hold().__enter__()
