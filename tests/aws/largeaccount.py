"""An AWS account that is too large to read it with one call for each version of a function or a layer."""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import TYPE_CHECKING, Any

from lamina.aws.api.ssm import StoredParameters
from lamina.aws.prune.apply import Guards
from lamina.aws.prune.present import NO_PROJECT

if TYPE_CHECKING:
    from collections.abc import Callable


class LargeAccount:
    """
    A fake `Caller` for an account with 1,000 functions of 30 versions, and 40 layers of 60 versions, in pages as AWS sends them.

    Each layer has a parameter, which has had the ARN of each of its versions. The account has 500 stacks.
    """

    FUNCTIONS, FUNCTION_VERSIONS, LAYERS, VERSIONS, PARAMETERS, STACKS = 1000, 30, 40, 60, 40, 500

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.shared = {"layer-3": 7}

    def __call__(self, operation: str, **parameters: Any) -> dict[str, Any] | None:  # noqa: PLR0911 - one for each operation
        self.calls[operation] += 1
        start = int(parameters.get("Marker") or parameters.get("NextToken") or 0)
        match operation:
            case "ListLayers":
                return self._page("Layers", self.LAYERS, start, lambda number: {"LayerName": f"layer-{number}"})
            case "ListLayerVersions":
                return self._page(
                    "LayerVersions", self.VERSIONS, start, lambda number: self._version(parameters, number)
                )
            case "ListFunctions":
                assert "ALL" == parameters["FunctionVersion"]
                return self._page("Functions", self.FUNCTIONS * (self.FUNCTION_VERSIONS + 1), start, self._function)
            case "DescribeStacks":
                return self._page("Stacks", self.STACKS, start, self._stack, size=100, token="NextToken")
            case "GetParametersByPath":
                return self._page("Parameters", self.PARAMETERS, start, self._parameter, size=10, token="NextToken")
            case "GetParameterHistory":
                return self._page(
                    "Parameters",
                    self.VERSIONS,
                    start,
                    lambda number: self._value(parameters["Name"], number + 1),
                    token="NextToken",
                )
            case "GetLayerVersion":
                content = {"CodeSize": 1000, "CodeSha256": ""}
                return {"Version": 1, "LayerVersionArn": "", "Content": content}
            case "GetLayerVersionPolicy":
                is_shared = self.shared.get(parameters["LayerName"]) == parameters["VersionNumber"]
                return {"Policy": '{"Statement": [{"Sid": "all"}]}'} if is_shared else None
            case _:
                assert "DeleteLayerVersion" == operation
                return {}

    def _page(
        self,
        key: str,
        count: int,
        start: int,
        row: Callable[[int], dict[str, Any]],
        *,
        size: int = 50,
        token: str = "NextMarker",
    ) -> dict[str, Any]:
        stop = min(count, start + size)
        more = {token: str(stop)} if stop < count else {}
        return {key: [row(number) for number in range(start, stop)], **more}

    def _version(self, parameters: dict[str, Any], number: int) -> dict[str, Any]:
        return {
            "Version": number + 1,
            "LayerVersionArn": f"arn:aws:lambda:eu-west-1:123456789012:layer:{parameters['LayerName']}:{number + 1}",
            "Description": f"lamina:{hashlib.sha256(str(number).encode()).hexdigest()}",
            "CreatedDate": "2026-01-01T00:00:00.000+0000",
        }

    def _function(self, number: int) -> dict[str, Any]:
        # The last three versions of each function use the last three versions of one of the layers.
        version = number % (self.FUNCTION_VERSIONS + 1)
        layer = f"layer-{number % self.LAYERS}"
        used = self.VERSIONS - version if version < 3 else 1
        return {
            "FunctionName": f"f{number // (self.FUNCTION_VERSIONS + 1)}",
            "FunctionArn": f"arn:f{number}",
            "Version": str(version) if version else "$LATEST",
            "Layers": [{"Arn": f"arn:aws:lambda:eu-west-1:123456789012:layer:{layer}:{used}"}],
        }

    def _parameter(self, number: int) -> dict[str, Any]:
        # The project went back to an old lock file.
        return self._value(f"/layers/layer-{number}", self.VERSIONS)

    def _value(self, name: str, number: int) -> dict[str, Any]:
        version = 2 if number == self.VERSIONS else number
        value = f"arn:aws:lambda:eu-west-1:123456789012:layer:{name.rpartition('/')[2]}:{version}"
        return {"Name": name, "Value": value, "Version": number}

    def _stack(self, number: int) -> dict[str, Any]:
        return {"StackName": f"stack-{number}", "StackStatus": "UPDATE_COMPLETE", "Outputs": []}

    def guards(self, *, values: int = 1) -> Guards:
        """Return what names layer versions in the account, with the newest *values* of each parameter."""
        return Guards(project=NO_PROJECT, parameters=StoredParameters(self), path="/layers", values=values)
