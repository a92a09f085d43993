"""Tests of forcing cold starts: only if callers are not affected, and without lasting changes."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest

from lamina.aws.api.telemetry import DeployedFunction, Invoked
from lamina.coldstart.observe import VARIABLE, force
from lamina.core.errors import AwsError, ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

_ORIGINAL = (("TABLE", "orders"),)
_LAYERS = ("arn:aws:lambda:eu-west-1:123456789012:layer:common:4",)


@dataclass
class FakeFunctions:
    """A fake of Lambda with one function, which starts cold after each change of its environment variables."""

    deployed: DeployedFunction | None = field(
        default_factory=lambda: DeployedFunction(
            name="orders",
            version="$LATEST",
            revision="1",
            layers=_LAYERS,
            log_group="/aws/lambda/orders",
            environment=_ORIGINAL,
        )
    )
    given: tuple[tuple[str, tuple[str, ...]], ...] = (("live", ("7",)),)
    fails: bool = False
    interfered_at: int | None = None
    environments: list[dict[str, str]] = field(default_factory=list)
    cold: bool = False

    def get(self, name: str, version: str | None = None) -> DeployedFunction | None:
        return self.deployed

    def aliases(self, name: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
        return self.given

    def touch(self, name: str, environment: Mapping[str, str], revision: str) -> str:
        assert self.deployed is not None
        if len(self.environments) == self.interfered_at:
            changed = (("TABLE", "other"), *(self.deployed.environment or ())[:1])
            self.deployed = replace(self.deployed, revision="theirs", environment=tuple(sorted(dict(changed).items())))
            self.interfered_at = None
        if revision != self.deployed.revision:
            raise AwsError("The revision is another")
        self.environments.append(dict(environment))
        self.cold = True
        self.deployed = replace(self.deployed, revision=f"{revision}+", environment=tuple(sorted(environment.items())))
        return self.deployed.revision

    def invoke(self, name: str, payload: bytes) -> Invoked:
        init = f"Init Duration: {200 + len(self.environments)}.5 ms\t" if self.cold else ""
        self.cold = False
        return Invoked(log=f"REPORT RequestId: a\tDuration: 1 ms\t{init}\n", error="Unhandled" if self.fails else None)


def test_forced() -> None:
    """Each cold start has another value of lamina's variable, and the environment variables are restored at the end."""
    functions = FakeFunctions()

    assert ([201.5, 202.5, 203.5], 0) == force(functions, "orders", count=3)
    *touched, last = functions.environments
    assert 3 == len({environment[VARIABLE] for environment in touched})
    assert all(environment["TABLE"] == "orders" for environment in touched)
    assert dict(_ORIGINAL) == last


def test_failing_function() -> None:
    """Cold starts of failed invocations are included, and the failures are counted."""
    times, errors = force(FakeFunctions(fails=True), "orders", count=2)

    assert (2, 2) == (len(times), errors)


@pytest.mark.parametrize(
    ("aliases", "reason"),
    [
        ((), "the function has no alias, so its callers may invoke `$LATEST`"),
        ((("live", ("7",)), ("dev", ("$LATEST",))), "alias `dev` sends traffic to it"),
        ((("live", ("7", "$LATEST")),), "alias `live` sends traffic to it"),
    ],
)
def test_latest_in_use(aliases: tuple[tuple[str, tuple[str, ...]], ...], reason: str) -> None:
    """If callers may use the unpublished version, it is changed only with the user's permission."""
    functions = FakeFunctions(given=aliases)
    with pytest.raises(ConfigError) as raised:
        force(functions, "orders", count=1)

    assert f"refused to force cold starts of function `orders`, because callers may use `$LATEST`: {reason}" == str(
        raised.value
    )
    assert [] == functions.environments
    assert ([201.5], 0) == force(functions, "orders", count=1, even_if_in_use=True)


def test_unreadable_environment() -> None:
    """Environment variables that lamina could not restore are not changed."""
    functions = FakeFunctions()
    assert functions.deployed is not None
    functions.deployed = replace(functions.deployed, environment=None)
    with pytest.raises(ConfigError) as raised:
        force(functions, "orders", count=1)

    expected = (
        "AWS did not return the environment variables of function `orders`, "
        "and forcing a cold start without them would delete them"
    )
    assert expected == str(raised.value)
    assert [] == functions.environments


def test_somebody_deploys_meanwhile() -> None:
    """Environment variables that another client sets in the meantime are kept."""
    functions = FakeFunctions(interfered_at=1)
    with pytest.raises(AwsError) as raised:
        force(functions, "orders", count=3)

    assert "The revision is another" == str(raised.value)
    assert functions.deployed is not None
    assert (("TABLE", "other"),) == tuple(
        (name, value) for name, value in functions.deployed.environment or () if name != VARIABLE
    )
    assert VARIABLE not in dict(functions.deployed.environment or ())


def test_no_such_function() -> None:
    """The error names a function that does not exist."""
    with pytest.raises(ConfigError) as raised:
        force(FakeFunctions(deployed=None), "orders", count=1)

    assert "function `orders` does not exist" == str(raised.value)
