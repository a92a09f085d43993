"""Lambda's functions: what lamina asks, as a protocol and its values, and the client that answers."""

from __future__ import annotations

import base64
import hashlib
import os
import time
from dataclasses import dataclass
from enum import Enum
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Protocol

from lamina.core.errors import DeployError, IntegrityError, UnreachableError

if TYPE_CHECKING:
    from pathlib import Path

    from lamina.aws.api.errors import Call

LATEST = "$LATEST"
"""The version of a function that can be changed."""

_MISSING = frozenset({"missing"})
_CHANGED = frozenset({"changed"})
# For what is to be made, Lambda calls one that exists a conflict.
_EXISTS = frozenset({"conflict"})
_PIECE_BYTES = 1 << 20
_SECONDS = 60
_ATTEMPTS = 4
_FIRST_WAIT_SECONDS = 0.2


class Storage(Enum):
    """Who keeps a layer's archive (``S3ObjectStorageMode``)."""

    COPY = "copy"
    """Lambda, within the account's quota for code."""
    REFERENCE = "reference"
    """The bucket: Lambda reads the object there for as long as the version lives."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Zip:
    """An archive that travels in the call itself."""

    content: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class S3Code:
    """An archive that Lambda takes from a bucket."""

    bucket: str
    key: str
    storage: Storage = Storage.COPY
    version_id: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """What of a function's configuration goes with its code."""

    layers: tuple[str, ...]
    """ARNs of layer versions, in order."""
    handler: str
    runtime: str


@dataclass(frozen=True, kw_only=True, slots=True)
class FunctionState:
    """One version of a function as it is."""

    name: str
    version: str
    revision: str
    """Changes with every change."""
    code_sha256: str
    """As Lambda says it: base64."""
    code_bytes: int
    """Zipped."""
    settings: Settings
    architecture: str
    is_image: bool = False
    busy: bool = False
    """Whether a change of it is under way."""
    failure: str | None = None
    """Why the last change failed, if it did."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AliasState:
    """An alias as it is."""

    name: str
    version: str
    revision: str
    is_split: bool = False
    """Whether a part of its traffic goes to another version."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NewFunction:
    """A function to be."""

    name: str
    role: str
    code: Zip | S3Code
    settings: Settings
    architecture: str
    memory_mb: int
    timeout_seconds: int


class Functions(Protocol):
    """Lambda's functions, in one account and region."""

    def get(self, name: str, version: str = LATEST) -> FunctionState | None:
        """Return a version of the function *name*, or nothing where there is none."""

    def download(self, name: str, destination: Path) -> None:
        """Write the code of ``$LATEST``, checked against the SHA-256 that Lambda says, to *destination*."""

    def update_code(self, name: str, code: Zip | S3Code, *, architecture: str, revision: str) -> bool:
        """Begin to change the code; say whether *revision* was still the current one."""

    def update_settings(self, name: str, settings: Settings, *, revision: str) -> bool:
        """Begin to change layers, handler and runtime; say whether *revision* was still the current one."""

    def publish_version(self, name: str, *, code_sha256: str, revision: str) -> str | None:
        """Publish what ``$LATEST`` is, and return the version; nothing where it is another by now."""

    def alias(self, name: str, alias: str) -> AliasState | None:
        """Return an alias of a function, or nothing where there is none."""

    def create_alias(self, name: str, alias: str, version: str) -> bool:
        """Make an alias; say whether it was made, which it is not where one of that name exists."""

    def move_alias(self, name: str, alias: str, version: str, *, revision: str) -> bool:
        """Let an alias point to *version*, with all its traffic; say whether *revision* was still the current one."""

    def delete_alias(self, name: str, alias: str) -> None:
        """Delete an alias, or nothing."""

    def create(self, function: NewFunction) -> bool:
        """Begin to make a function; say whether it was begun, which it is not where one of that name exists."""

    def delete(self, name: str) -> None:
        """Delete a function with all its versions and aliases, or nothing."""


def unversioned(arn: str) -> str:
    """Return the ARN of the layer that the layer version *arn* is one of."""
    return arn.rpartition(":")[0]


class LambdaFunctions:
    """The functions of one account in one region."""

    def __init__(self, call: Call) -> None:
        """Ask through *call*."""
        self._call = call

    def get(self, name: str, version: str = LATEST) -> FunctionState | None:
        """Return a version of the function *name*, or nothing where there is none."""
        qualifier = {} if version == LATEST else {"Qualifier": version}
        response = self._ask("GetFunctionConfiguration", f"look at function `{name}`", name, _MISSING, **qualifier)
        return None if response is None else _state(name, response)

    def download(self, name: str, destination: Path) -> None:
        """Write the code of ``$LATEST``, checked against the SHA-256 that Lambda says, to *destination*."""
        for attempt in range(_ATTEMPTS):
            response = self._ask("GetFunction", f"read the code of function `{name}`", name) or {}
            location = response.get("Code", {}).get("Location")
            if location is None:
                raise DeployError(f"Lambda does not say where the code of function `{name}` is")
            arriving = destination.with_name(f"{destination.name}.part")
            try:
                if _fetch(location, arriving) == response["Configuration"]["CodeSha256"]:
                    arriving.replace(destination)
                    return
            except _UnreadableError as error:
                if attempt == _ATTEMPTS - 1:
                    raise UnreachableError(
                        f"The code of function `{name}` cannot be read: {error}",
                        hint="look at the network and its proxies, and run again",
                    ) from None
            time.sleep(_FIRST_WAIT_SECONDS * 2**attempt)
        raise IntegrityError(f"The code of function `{name}` is not what Lambda says it is", hint="run again")

    def update_code(self, name: str, code: Zip | S3Code, *, architecture: str, revision: str) -> bool:
        """Begin to change the code; say whether *revision* was still the current one."""
        doing = f"update the code of function `{name}`"
        changes = {"Architectures": [architecture], "RevisionId": revision, **code_parameters(code)}
        return self._ask("UpdateFunctionCode", doing, name, _CHANGED, **changes) is not None

    def update_settings(self, name: str, settings: Settings, *, revision: str) -> bool:
        """Begin to change layers, handler and runtime; say whether *revision* was still the current one."""
        doing = f"update layers, handler and runtime of function `{name}`"
        changes = {**_settings_parameters(settings), "RevisionId": revision}
        return self._ask("UpdateFunctionConfiguration", doing, name, _CHANGED, **changes) is not None

    def publish_version(self, name: str, *, code_sha256: str, revision: str) -> str | None:
        """Publish what ``$LATEST`` is, and return the version; nothing where it is another by now."""
        doing = f"publish a version of function `{name}`"
        response = self._ask("PublishVersion", doing, name, _CHANGED, CodeSha256=code_sha256, RevisionId=revision)
        return None if response is None else str(response["Version"])

    def alias(self, name: str, alias: str) -> AliasState | None:
        """Return an alias of a function, or nothing where there is none."""
        response = self._ask("GetAlias", f"look at alias `{alias}` of function `{name}`", name, _MISSING, Name=alias)
        if response is None:
            return None
        return AliasState(
            name=alias,
            version=str(response["FunctionVersion"]),
            revision=str(response.get("RevisionId", "")),
            is_split=bool((response.get("RoutingConfig") or {}).get("AdditionalVersionWeights")),
        )

    def create_alias(self, name: str, alias: str, version: str) -> bool:
        """Make an alias; say whether it was made, which it is not where one of that name exists."""
        doing = f"make alias `{alias}` of function `{name}`"
        return self._ask("CreateAlias", doing, name, _EXISTS, Name=alias, FunctionVersion=version) is not None

    def move_alias(self, name: str, alias: str, version: str, *, revision: str) -> bool:
        """Let an alias point to *version*, with all its traffic; say whether *revision* was still the current one."""
        doing = f"move alias `{alias}` of function `{name}`"
        changes = {"FunctionVersion": version, "RevisionId": revision}
        return self._ask("UpdateAlias", doing, name, _CHANGED, Name=alias, **changes) is not None

    def delete_alias(self, name: str, alias: str) -> None:
        """Delete an alias, or nothing."""
        self._ask("DeleteAlias", f"delete alias `{alias}` of function `{name}`", name, _MISSING, Name=alias)

    def create(self, function: NewFunction) -> bool:
        """Begin to make a function; say whether it was begun, which it is not where one of that name exists."""
        response = self._ask(
            "CreateFunction",
            f"make function `{function.name}`",
            function.name,
            _EXISTS,
            Role=function.role,
            Code=code_parameters(function.code),
            Architectures=[function.architecture],
            MemorySize=function.memory_mb,
            Timeout=function.timeout_seconds,
            **_settings_parameters(function.settings),
        )
        return response is not None

    def delete(self, name: str) -> None:
        """Delete a function with all its versions and aliases, or nothing."""
        self._ask("DeleteFunction", f"delete function `{name}`", name, _MISSING)

    def _ask(
        self, operation: str, doing: str, name: str, expected: frozenset[str] = frozenset(), **parameters: Any
    ) -> dict[str, Any] | None:
        return self._call(operation, doing=doing, expected=expected, FunctionName=name, **parameters)


def code_parameters(code: Zip | S3Code) -> dict[str, Any]:
    """Return the parameters with which a call names *code*, but for who keeps it."""
    if isinstance(code, Zip):
        return {"ZipFile": code.content}
    version = {} if code.version_id is None else {"S3ObjectVersion": code.version_id}
    return {"S3Bucket": code.bucket, "S3Key": code.key, **version}


def _settings_parameters(settings: Settings) -> dict[str, Any]:
    return {"Layers": list(settings.layers), "Handler": settings.handler, "Runtime": settings.runtime}


def _state(name: str, response: dict[str, Any]) -> FunctionState:
    failed = response.get("LastUpdateStatus") == "Failed" or response.get("State") == "Failed"
    reason = response.get("LastUpdateStatusReason") or response.get("StateReason") or "Lambda gives no reason"
    return FunctionState(
        name=name,
        version=str(response.get("Version", LATEST)),
        revision=str(response.get("RevisionId", "")),
        code_sha256=str(response.get("CodeSha256", "")),
        code_bytes=int(response.get("CodeSize", 0)),
        settings=Settings(
            layers=tuple(str(row["Arn"]) for row in response.get("Layers") or ()),
            handler=str(response.get("Handler", "")),
            runtime=str(response.get("Runtime", "")),
        ),
        architecture=str((response.get("Architectures") or ["x86_64"])[0]),
        is_image=response.get("PackageType") == "Image",
        busy=response.get("LastUpdateStatus") == "InProgress" or response.get("State") == "Pending",
        failure=str(reason) if failed else None,
    )


class _UnreadableError(Exception):
    """What is at a signed address cannot be read; nothing of the address is in the text."""


def _fetch(location: str, destination: Path) -> str:
    """Write what is at the signed address *location* to *destination*, and return its SHA-256 in base64."""
    from botocore.awsrequest import AWSRequest
    from botocore.exceptions import BotoCoreError
    from botocore.httpsession import URLLib3Session
    from botocore.utils import get_environ_proxies
    from urllib3.exceptions import HTTPError

    session = URLLib3Session(
        verify=os.environ.get("AWS_CA_BUNDLE") or True, proxies=get_environ_proxies(location), timeout=_SECONDS
    )
    request = AWSRequest(method="GET", url=location, stream_output=True).prepare()
    digest = hashlib.sha256()
    try:
        response = session.send(request)
        if response.status_code != HTTPStatus.OK:
            raise _UnreadableError(f"status {response.status_code}")
        with destination.open("wb") as file:
            for piece in response.raw.stream(_PIECE_BYTES):
                digest.update(piece)
                file.write(piece)
    except (BotoCoreError, HTTPError, OSError) as error:
        raise _UnreadableError(type(error).__name__) from None
    finally:
        session.close()
    return base64.b64encode(digest.digest()).decode("ascii")
