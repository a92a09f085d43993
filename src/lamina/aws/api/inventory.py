"""
List the layers, functions and CloudFormation stacks of an account in a region.

`AwsInventory` implements the `Inventory` protocol. It reads page by page, and limits its rate of API calls.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from lamina.aws.api.errors import pages
from lamina.aws.api.facts import unsettled_stack_statuses
from lamina.aws.api.layers import LambdaLayers
from lamina.aws.api.signed import unzipped_bytes
from lamina.core.errors import UnreachableError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from lamina.aws.api.errors import Call
    from lamina.aws.api.layers import LayerVersion

_LAYER_ARN = re.compile(r"arn:[a-z-]+:lambda:[a-z0-9-]+:[0-9]{12}:layer:[A-Za-z0-9_-]+")
_VERSION_ARN = re.compile(_LAYER_ARN.pattern + r":[0-9]+")


@dataclass(frozen=True, kw_only=True, slots=True)
class Attachment:
    """The layers that one version of a function uses. The version may be ``$LATEST``."""

    function: str
    """The function's ARN, including the version."""
    layers: tuple[str, ...]
    """The ARNs of the layer versions."""

    @property
    def name(self) -> str:
        """The function's name."""
        return self.function.partition(":function:")[2].partition(":")[0]


@dataclass(frozen=True, kw_only=True, slots=True)
class CodeSize:
    """The size of a layer version's zip."""

    zipped_bytes: int
    unzipped_bytes: int | None
    """What counts against the account's quota for code; ``None`` if unknown."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StackLayers:
    """The layers that a CloudFormation stack names. After a rollback, its functions use earlier layer versions again."""

    name: str
    versions: frozenset[str] = frozenset()
    """The ARNs of the layer versions in the stack's parameters and outputs."""
    layers: frozenset[str] = frozenset()
    """
    The ARNs, without version, of the layers in the template, parameters, outputs and resources of a stack that may still roll back.
    They are not read for other stacks, because that takes two calls for each.
    """
    functions: frozenset[str] = frozenset()
    """
    The names of the functions of a stack that may still roll back. Their layers may be missing in `layers` if the template uses
    Systems Manager parameters.
    """


class Inventory(Protocol):
    """The layers, functions and stacks of one account in one region."""

    def layers(self) -> Iterator[tuple[str, str]]:
        """Yield the name of each layer, and the description of its newest version."""

    def versions(self, name: str) -> Sequence[LayerVersion]:
        """Return all versions of the layer *name*, newest first."""

    def attachments(self) -> Iterator[Attachment]:
        """Yield an attachment for every function version that has layers. A version may be repeated."""

    def stacks(self) -> Iterable[StackLayers]:
        """Return the layers that each CloudFormation stack names."""

    def code_size(self, name: str, number: int) -> CodeSize | None:
        """Return the size of a layer version, or ``None`` if the version does not exist."""

    def is_shared(self, name: str, number: int) -> bool:
        """Return whether other accounts may use a layer version. lamina cannot list the functions of those accounts."""

    def delete(self, name: str, number: int) -> None:
        """Delete a layer version, if it exists."""


def versions_in(text: str) -> tuple[str, ...]:
    """Return the ARNs of layer versions in *text*, such as the value of a Systems Manager parameter."""
    return tuple(_VERSION_ARN.findall(text))


class AwsInventory:
    """The `Inventory` protocol over the Lambda and CloudFormation APIs."""

    def __init__(self, lambda_: Call, stacks: Call, *, certificates: str | bool = True) -> None:
        """
        Send requests to Lambda through *lambda_*, and to CloudFormation through *stacks*. Both keep to the account's rate limits.

        Zips are read with the trusted *certificates* of the AWS configuration; ``True`` stands for botocore's own.
        """
        self._certificates = certificates
        self._lambda = lambda_
        self._stacks = stacks
        self._layers = LambdaLayers(lambda_, knows_storage=False)

    def layers(self) -> Iterator[tuple[str, str]]:
        """Yield the name of each layer, and the description of its newest version."""
        for page in pages(self._lambda, "ListLayers", doing="list the layers"):
            for row in page["Layers"]:
                yield str(row["LayerName"]), str((row.get("LatestMatchingVersion") or {}).get("Description") or "")

    def versions(self, name: str) -> Sequence[LayerVersion]:
        """Return all versions of the layer *name*, newest first."""
        return self._layers.versions(name)

    def attachments(self) -> Iterator[Attachment]:
        """Yield an attachment for every function version that has layers. A version may be repeated."""
        names: dict[str, None] = {}
        has_versions = False
        doing = "list all functions with their versions"
        for page in pages(self._lambda, "ListFunctions", doing=doing, FunctionVersion="ALL"):
            for row in page["Functions"]:
                qualified = str(row["FunctionArn"]).endswith(f":{row.get('Version')}")
                has_versions = has_versions or qualified or str(row["FunctionName"]) in names
                names[str(row["FunctionName"])] = None
                yield from _attached(row)
        # Some emulators ignore `FunctionVersion="ALL"`: they list each function once, without a version in its ARN. The versions of
        # each function are then listed separately: a missed version could lead to the deletion of a layer that is in use.
        for name in () if has_versions else names:
            doing = f"list the versions of function `{name}`"
            for page in pages(self._lambda, "ListVersionsByFunction", doing=doing, FunctionName=name):
                for row in page["Versions"]:
                    yield from _attached(row)

    def stacks(self) -> Iterator[StackLayers]:
        """Yield the layers that each CloudFormation stack names."""
        # Without a name, `DescribeStacks` returns all stacks that are not deleted.
        for page in pages(self._stacks, "DescribeStacks", doing="list the CloudFormation stacks"):
            for row in page["Stacks"]:
                name, text = str(row["StackName"]), json.dumps(row, default=str)
                if str(row["StackStatus"]) in unsettled_stack_statuses():
                    yield self._unsettled(name, text)
                elif versions := versions_in(text):
                    yield StackLayers(name=name, versions=frozenset(versions))

    def _unsettled(self, stack: str, description: str) -> StackLayers:
        """Find the stack's functions, and its layers in the *description*, the template and the physical resource IDs."""
        doing = f"find the layers that stack `{stack}` uses"
        template = self._stacks("GetTemplate", doing=doing, StackName=stack) or {}
        texts = [json.dumps(template.get("TemplateBody", ""), default=str), description]
        functions: set[str] = set()
        for page in pages(self._stacks, "ListStackResources", doing=doing, StackName=stack):
            for row in page["StackResourceSummaries"]:
                texts.append(str(row.get("PhysicalResourceId", "")))
                functions.update(texts[-1:] if row["ResourceType"] == "AWS::Lambda::Function" else ())
        layers = frozenset(_LAYER_ARN.findall("\n".join(texts)))
        return StackLayers(
            name=stack,
            versions=frozenset(versions_in(description)),
            layers=layers,
            functions=frozenset(functions),
        )

    def code_size(self, name: str, number: int) -> CodeSize | None:
        """Return the size of a layer version, or ``None`` if the version does not exist."""
        found = self._layers.version(name, number)
        if found is None:
            return None
        unzipped = None
        if found.location is not None:
            # The size is only shown, so that a version is deleted even if its zip cannot be read.
            with suppress(UnreachableError):
                doing = f"read the directory of layer `{name}` version {number}"
                unzipped = unzipped_bytes(
                    found.location, found.code_bytes, certificates=self._certificates, doing=doing
                )
        return CodeSize(zipped_bytes=found.code_bytes, unzipped_bytes=unzipped)

    def is_shared(self, name: str, number: int) -> bool:
        """Return whether other accounts may use a layer version. lamina cannot list the functions of those accounts."""
        return bool(self._layers.granted(name, number))

    def delete(self, name: str, number: int) -> None:
        """Delete a layer version, if it exists."""
        self._layers.delete(name, number)


def _attached(row: dict[str, Any]) -> Iterator[Attachment]:
    if layers := tuple(str(each["Arn"]) for each in row.get("Layers") or ()):
        yield Attachment(function=str(row["FunctionArn"]), layers=layers)
