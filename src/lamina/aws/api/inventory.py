"""
Everything that an account holds in a region: what lamina asks, as a protocol and its values, and the clients that answer.

Page by page, and not too fast.
"""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from lamina.aws.api.errors import pages
from lamina.aws.api.facts import calls_per_second, unsettled_stack_statuses
from lamina.aws.api.layers import LambdaLayers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from lamina.aws.api.errors import Call
    from lamina.aws.api.layers import LayerVersion

_LAYER_ARN = re.compile(r"arn:[a-z-]+:lambda:[a-z0-9-]+:[0-9]{12}:layer:[A-Za-z0-9_-]+")


@dataclass(frozen=True, kw_only=True, slots=True)
class Attachment:
    """The layers of one version of one function, `$LATEST` included."""

    function: str
    """Its ARN with the version."""
    layers: tuple[str, ...]
    """ARNs of layer versions."""

    @property
    def name(self) -> str:
        """The function's."""
        return self.function.partition(":function:")[2].partition(":")[0]


@dataclass(frozen=True, kw_only=True, slots=True)
class UnsettledStack:
    """A CloudFormation stack that may still go back to what it was."""

    name: str
    status: str
    layers: frozenset[str]
    """ARNs, without version, of the layers that its template, parameters, outputs or resources name."""
    functions: frozenset[str] = frozenset()
    """Names of its functions: what layers they had need not be in the template, which may refer to parameters of Systems Manager."""


class Inventory(Protocol):
    """All of one account in one region; everything is read page by page."""

    def layers(self) -> Iterator[str]:
        """Yield the names of all layers."""

    def versions(self, name: str) -> Sequence[LayerVersion]:
        """Return all versions of the layer *name*, newest first."""

    def attachments(self) -> Iterator[Attachment]:
        """Yield every version of every function that has layers."""

    def unsettled_stacks(self) -> Iterable[UnsettledStack]:
        """Return the stacks whose status says that they may still go back."""

    def code_bytes(self, name: str, number: int) -> int | None:
        """Return the zipped size of a layer version, or nothing where it has been deleted."""

    def is_shared(self, name: str, number: int) -> bool:
        """Say whether others may use a layer version: what uses it there cannot be seen from here."""

    def delete(self, name: str, number: int) -> None:
        """Delete a layer version."""


class Pace:
    """Keep calls apart, so that whoever else works in the account is not throttled because of us."""

    def __init__(
        self,
        per_second: float | None = None,
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Allow so many calls *per_second*; without a number, what leaves room in Lambda's own limit."""
        self._interval = 1 / (per_second or calls_per_second())
        self._sleep = sleep
        self._clock = clock
        self._next = 0.0

    def wait(self) -> None:
        """Wait until the next call may be made."""
        now = self._clock()
        if now < self._next:
            self._sleep(self._next - now)
        self._next = max(now, self._next) + self._interval


class AwsInventory:
    """All of one account in one region."""

    def __init__(self, lambda_: Call, stacks: Call, *, pace: Pace | None = None) -> None:
        """Ask Lambda through *lambda_*, and CloudFormation through *stacks*."""
        self._pace = pace or Pace()
        self._lambda = self._paced(lambda_)
        self._stacks = self._paced(stacks)
        self._layers = LambdaLayers(self._lambda, knows_storage=False)

    def _paced(self, call: Call) -> Call:
        def paced(operation: str, **parameters: Any) -> dict[str, Any] | None:
            self._pace.wait()
            return call(operation, **parameters)

        return paced

    def layers(self) -> Iterator[str]:
        """Yield the names of all layers."""
        for page in pages(self._lambda, "ListLayers", doing="list the layers"):
            for row in page["Layers"]:
                yield str(row["LayerName"])

    def versions(self, name: str) -> Sequence[LayerVersion]:
        """Return all versions of the layer *name*, newest first."""
        return self._layers.versions(name)

    def attachments(self) -> Iterator[Attachment]:
        """Yield every version of every function that has layers; some twice."""
        names: dict[str, None] = {}
        versions_seen = False
        doing = "list all functions with their versions"
        for page in pages(self._lambda, "ListFunctions", doing=doing, FunctionVersion="ALL"):
            for row in page["Functions"]:
                versions_seen = versions_seen or str(row["FunctionName"]) in names
                names[str(row["FunctionName"])] = None
                yield from _attached(row)
        # Emulators know no "ALL". So where no function is there twice, as itself and as a version, each one is asked: nothing in use
        # may be missed.
        for name in () if versions_seen else names:
            doing = f"list the versions of function `{name}`"
            for page in pages(self._lambda, "ListVersionsByFunction", doing=doing, FunctionName=name):
                for row in page["Versions"]:
                    yield from _attached(row)

    def unsettled_stacks(self) -> Iterator[UnsettledStack]:
        """Yield the stacks whose status says that they may still go back."""
        doing, statuses = "list the stacks that are being changed", list(unsettled_stack_statuses())
        for page in pages(self._stacks, "ListStacks", doing=doing, StackStatusFilter=statuses):
            for row in page["StackSummaries"]:
                yield self._stack(str(row["StackName"]), str(row["StackStatus"]))

    def _stack(self, stack: str, status: str) -> UnsettledStack:
        """Look at everything in which a stack may name a layer: template, parameters, outputs, physical ids; and at its functions."""
        doing = f"see which layers stack `{stack}` uses"
        template = self._stacks("GetTemplate", doing=doing, StackName=stack) or {}
        stacks = self._stacks("DescribeStacks", doing=doing, StackName=stack) or {}
        texts = [json.dumps(template.get("TemplateBody", ""), default=str), json.dumps(stacks["Stacks"], default=str)]
        functions: set[str] = set()
        for page in pages(self._stacks, "ListStackResources", doing=doing, StackName=stack):
            for row in page["StackResourceSummaries"]:
                texts.append(str(row.get("PhysicalResourceId", "")))
                functions.update(texts[-1:] if row["ResourceType"] == "AWS::Lambda::Function" else ())
        layers = frozenset(_LAYER_ARN.findall("\n".join(texts)))
        return UnsettledStack(name=stack, status=status, layers=layers, functions=frozenset(functions))

    def code_bytes(self, name: str, number: int) -> int | None:
        """Return the zipped size of a layer version, or nothing where it has been deleted."""
        found = self._layers.version(name, number)
        return None if found is None else found.code_bytes

    def is_shared(self, name: str, number: int) -> bool:
        """Say whether others may use a layer version: what uses it there cannot be seen from here."""
        return bool(self._layers.granted(name, number))

    def delete(self, name: str, number: int) -> None:
        """Delete a layer version."""
        self._layers.delete(name, number)


def _attached(row: dict[str, Any]) -> Iterator[Attachment]:
    if layers := tuple(str(each["Arn"]) for each in row.get("Layers") or ()):
        yield Attachment(function=str(row["FunctionArn"]), layers=layers)
