"""Read a function by name or ARN with its code, and the ARNs of its layers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from lamina.aws.api.errors import parsing
from lamina.aws.api.functions import LATEST
from lamina.aws.api.session import Access
from lamina.core.errors import AwsError, ConfigError
from lamina.core.frozen import frozen
from lamina.core.target import Architecture
from lamina.project.pinned import is_pinnable

if TYPE_CHECKING:
    from pathlib import Path

    from lamina.aws.api.functions import FunctionState, LambdaFunctions

# The patterns of FunctionName and Qualifier in botocore 1.44.8, 2026-11-27.
_FUNCTION = re.compile(
    r"(?:arn:aws[a-z-]*:lambda:(?P<region>[a-z0-9-]+):[0-9]{12}:function:)?"
    r"(?P<name>[A-Za-z0-9_-]{1,140})(?::(?P<version>\$LATEST(?:\.PUBLISHED)?|[A-Za-z0-9_-]{1,128}))?"
)
_REGION_HINT = "set `AWS_REGION`, or pass the ARN of the function"


@frozen
class FunctionName:
    """A function by name or ARN, in one version or alias."""

    name: str
    """The name, or the ARN without a version, which AWS also accepts."""
    version: str
    """The version or alias; ``$LATEST`` if none is given."""
    region: str | None
    """The region of the ARN; ``None`` for a name, which is in the configured region."""

    @classmethod
    def parse(cls, text: str) -> FunctionName | None:
        """Return the function *text*, or ``None`` if it is neither the name nor the ARN of a function."""
        found = _FUNCTION.fullmatch(text)
        if found is None:
            return None
        version = found["version"]
        name = text if version is None else text.removesuffix(f":{version}")
        return cls(name=name, version=version or LATEST, region=found["region"])


class FunctionSource:
    """A function as AWS has it."""

    def __init__(self, function: FunctionName) -> None:
        """
        Read the state of *function*.

        Raises `AwsError` if it does not exist or if AWS denies the request, `ConfigError` if it is a container image, and the errors of
        `Access.connect`.
        """
        services = Access(region=function.region, region_hint=_REGION_HINT).connect()
        self._functions: LambdaFunctions = services.functions
        self._function = function
        state = self._functions.get(function.name, function.version)
        if state is None:
            version = "" if function.version == LATEST else f", or it has no version or alias `{function.version}`"
            raise AwsError(
                f"function `{function.name}` does not exist in this account and region{version}",
                hint="list the functions: `aws lambda list-functions --query 'Functions[].FunctionName'`; for a function of another region, "
                "set `AWS_REGION` or pass its ARN",
            )
        if state.is_image:
            raise ConfigError(
                f"function `{function.name}` is a container image, which has no zip and no layers",
                hint="use a scanner of container images",
            )
        with parsing("lambda", f"read function `{function.name}`"):
            _check(state)
        self.state: FunctionState = state

    def download(self, destination: Path) -> None:
        """Download the function's code to *destination*, and check its hash. Raises the errors of `LambdaFunctions.download`."""
        self._functions.download(self._function.name, destination, self._function.version)


def _check(state: FunctionState) -> None:
    """Raise ValueError if what Lambda says of a function does not have the form that it has there."""
    Architecture(state.architecture)
    if not all(is_pinnable(arn) and "*" not in arn for arn in state.settings.layers):
        raise ValueError("not the ARN of a layer version")
