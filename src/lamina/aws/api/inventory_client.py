"""Everything that an account holds in a region through clients: `inventory.Inventory`. Page by page, and not too fast."""

from __future__ import annotations

import datetime as dt
import json
import re
import time
from typing import TYPE_CHECKING, Any

from lamina.aws.api.facts import calls_per_second, unsettled_stack_statuses
from lamina.aws.api.inventory import Attachment, UnsettledStack, VersionRow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lamina.aws.api.errors import Caller

__all__ = ["AwsInventory", "Pace"]

_MISSING = frozenset({"missing"})
_LAYER_ARN = re.compile(r"arn:[a-z-]+:lambda:[a-z0-9-]+:[0-9]{12}:layer:[A-Za-z0-9_-]+")


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

    def __init__(self, lambda_: Caller, stacks: Caller, *, pace: Pace | None = None) -> None:
        """Ask Lambda through *lambda_*, and CloudFormation through *stacks*."""
        self._lambda = lambda_
        self._stacks = stacks
        self._pace = pace or Pace()

    def layers(self) -> Iterator[str]:
        """Yield the names of all layers."""
        for page in self._pages("ListLayers", "list the layers"):
            for row in page["Layers"]:
                yield str(row["LayerName"])

    def versions(self, name: str) -> Iterator[VersionRow]:
        """Yield all versions of the layer *name*."""
        for page in self._pages("ListLayerVersions", f"list the versions of layer `{name}`", LayerName=name):
            for row in page["LayerVersions"]:
                yield VersionRow(
                    name=name,
                    number=int(row["Version"]),
                    arn=str(row["LayerVersionArn"]),
                    description=str(row.get("Description", "")),
                    created=_time(row["CreatedDate"]),
                )

    def attachments(self) -> Iterator[Attachment]:
        """Yield every version of every function that has layers; some twice."""
        names: dict[str, None] = {}
        versions_seen = False
        for page in self._pages("ListFunctions", "list all functions with their versions", FunctionVersion="ALL"):
            for row in page["Functions"]:
                versions_seen = versions_seen or str(row["FunctionName"]) in names
                names[str(row["FunctionName"])] = None
                yield from _attached(row)
        # Emulators know no "ALL". So where no function is there twice, as itself and as a version, each one is asked: nothing in use
        # may be missed.
        for name in () if versions_seen else names:
            doing = f"list the versions of function `{name}`"
            for page in self._pages("ListVersionsByFunction", doing, FunctionName=name):
                for row in page["Versions"]:
                    yield from _attached(row)

    def unsettled_stacks(self) -> Iterator[UnsettledStack]:
        """Yield the stacks whose status says that they may still go back."""
        token: dict[str, str] = {}
        statuses = list(unsettled_stack_statuses())
        while True:
            page = self._call(
                self._stacks,
                "ListStacks",
                "list the stacks that are being changed",
                StackStatusFilter=statuses,
                **token,
            )
            for row in page["StackSummaries"]:
                yield self._stack(str(row["StackName"]), str(row["StackStatus"]))
            if not page.get("NextToken"):
                return
            token = {"NextToken": page["NextToken"]}

    def _stack(self, stack: str, status: str) -> UnsettledStack:
        """Look at everything in which a stack may name a layer: template, parameters, outputs, physical ids; and at its functions."""
        doing = f"see which layers stack `{stack}` uses"
        template = self._call(self._stacks, "GetTemplate", doing, StackName=stack)
        stacks = self._call(self._stacks, "DescribeStacks", doing, StackName=stack)
        texts = [json.dumps(template.get("TemplateBody", ""), default=str), json.dumps(stacks["Stacks"], default=str)]
        functions: set[str] = set()
        token: dict[str, str] = {}
        while True:
            page = self._call(self._stacks, "ListStackResources", doing, StackName=stack, **token)
            for row in page["StackResourceSummaries"]:
                texts.append(str(row.get("PhysicalResourceId", "")))
                functions.update(texts[-1:] if row["ResourceType"] == "AWS::Lambda::Function" else ())
            if not page.get("NextToken"):
                layers = frozenset(_LAYER_ARN.findall("\n".join(texts)))
                return UnsettledStack(name=stack, status=status, layers=layers, functions=frozenset(functions))
            token = {"NextToken": page["NextToken"]}

    def code_bytes(self, name: str, number: int) -> int | None:
        """Return the zipped size of a layer version, or nothing where it has been deleted."""
        self._pace.wait()
        response = self._lambda(
            "GetLayerVersion",
            doing=f"read version {number} of layer `{name}`",
            expected=_MISSING,
            LayerName=name,
            VersionNumber=number,
        )
        return None if response is None else int(response["Content"]["CodeSize"])

    def is_shared(self, name: str, number: int) -> bool:
        """Say whether others may use a layer version: what uses it there cannot be seen from here."""
        self._pace.wait()
        response = self._lambda(
            "GetLayerVersionPolicy",
            doing=f"read the policy of version {number} of layer `{name}`",
            expected=_MISSING,
            LayerName=name,
            VersionNumber=number,
        )
        return response is not None and bool(json.loads(response["Policy"]).get("Statement"))

    def delete(self, name: str, number: int) -> None:
        """Delete a layer version."""
        doing = f"delete version {number} of layer `{name}`"
        self._call(self._lambda, "DeleteLayerVersion", doing, LayerName=name, VersionNumber=number)

    def _pages(self, operation: str, doing: str, **parameters: Any) -> Iterator[dict[str, Any]]:
        marker: dict[str, str] = {}
        while True:
            page = self._call(self._lambda, operation, doing, **parameters, **marker)
            yield page
            if not page.get("NextMarker") or page["NextMarker"] == marker.get("Marker"):
                return
            marker = {"Marker": page["NextMarker"]}

    def _call(self, caller: Caller, operation: str, doing: str, **parameters: Any) -> dict[str, Any]:
        self._pace.wait()
        return caller(operation, doing=doing, **parameters) or {}


def _attached(row: dict[str, Any]) -> Iterator[Attachment]:
    if layers := tuple(str(each["Arn"]) for each in row.get("Layers") or ()):
        yield Attachment(function=str(row["FunctionArn"]), layers=layers)


def _time(text: str) -> dt.datetime:
    """Return the time that Lambda words as ``2026-11-23T06:00:00.000+0000``."""
    found = dt.datetime.fromisoformat(text)
    return found if found.tzinfo is not None else found.replace(tzinfo=dt.UTC)
