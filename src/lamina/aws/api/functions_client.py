"""Lambda's functions through a client: `functions.Functions`."""

from __future__ import annotations

import base64
import hashlib
import os
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from lamina.aws.api.functions import LATEST, AliasState, FunctionState, NewFunction, S3Code, Settings, Zip
from lamina.core.errors import DeployError, IntegrityError, UnreachableError

if TYPE_CHECKING:
    from pathlib import Path

    from lamina.aws.api.errors import Caller

__all__ = ["LambdaFunctions"]

_MISSING = frozenset({"missing"})
_CHANGED = frozenset({"changed"})
# For what is to be made, Lambda calls one that exists a conflict.
_EXISTS = frozenset({"conflict"})
_PIECE_BYTES = 1 << 20
_SECONDS = 60
_ATTEMPTS = 4
_FIRST_WAIT_SECONDS = 0.2


class LambdaFunctions:
    """The functions of one account in one region."""

    def __init__(self, call: Caller) -> None:
        """Ask through *call*."""
        self._call = call

    def get(self, name: str, version: str = LATEST) -> FunctionState | None:
        """Return a version of the function *name*, or nothing where there is none."""
        response = self._call(
            "GetFunctionConfiguration",
            doing=f"look at function `{name}`",
            expected=_MISSING,
            FunctionName=name,
            **({} if version == LATEST else {"Qualifier": version}),
        )
        return None if response is None else _state(name, response)

    def download(self, name: str, destination: Path) -> None:
        """Write the code of ``$LATEST``, checked against the SHA-256 that Lambda says, to *destination*."""
        for attempt in range(_ATTEMPTS):
            response = self._call("GetFunction", doing=f"read the code of function `{name}`", FunctionName=name) or {}
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
        response = self._call(
            "UpdateFunctionCode",
            doing=f"update the code of function `{name}`",
            expected=_CHANGED,
            FunctionName=name,
            Architectures=[architecture],
            RevisionId=revision,
            **_code(code),
        )
        return response is not None

    def update_settings(self, name: str, settings: Settings, *, revision: str) -> bool:
        """Begin to change layers, handler and runtime; say whether *revision* was still the current one."""
        response = self._call(
            "UpdateFunctionConfiguration",
            doing=f"update layers, handler and runtime of function `{name}`",
            expected=_CHANGED,
            FunctionName=name,
            Layers=list(settings.layers),
            Handler=settings.handler,
            Runtime=settings.runtime,
            RevisionId=revision,
        )
        return response is not None

    def publish_version(self, name: str, *, code_sha256: str, revision: str) -> str | None:
        """Publish what ``$LATEST`` is, and return the version; nothing where it is another by now."""
        response = self._call(
            "PublishVersion",
            doing=f"publish a version of function `{name}`",
            expected=_CHANGED,
            FunctionName=name,
            CodeSha256=code_sha256,
            RevisionId=revision,
        )
        return None if response is None else str(response["Version"])

    def alias(self, name: str, alias: str) -> AliasState | None:
        """Return an alias of a function, or nothing where there is none."""
        response = self._call(
            "GetAlias",
            doing=f"look at alias `{alias}` of function `{name}`",
            expected=_MISSING,
            FunctionName=name,
            Name=alias,
        )
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
        response = self._call(
            "CreateAlias",
            doing=f"make alias `{alias}` of function `{name}`",
            expected=_EXISTS,
            FunctionName=name,
            Name=alias,
            FunctionVersion=version,
        )
        return response is not None

    def move_alias(self, name: str, alias: str, version: str, *, revision: str) -> bool:
        """Let an alias point to *version*, with all its traffic; say whether *revision* was still the current one."""
        response = self._call(
            "UpdateAlias",
            doing=f"move alias `{alias}` of function `{name}`",
            expected=_CHANGED,
            FunctionName=name,
            Name=alias,
            FunctionVersion=version,
            RevisionId=revision,
        )
        return response is not None

    def delete_alias(self, name: str, alias: str) -> None:
        """Delete an alias, or nothing."""
        self._call(
            "DeleteAlias",
            doing=f"delete alias `{alias}` of function `{name}`",
            expected=_MISSING,
            FunctionName=name,
            Name=alias,
        )

    def create(self, function: NewFunction) -> bool:
        """Begin to make a function; say whether it was begun, which it is not where one of that name exists."""
        response = self._call(
            "CreateFunction",
            doing=f"make function `{function.name}`",
            expected=_EXISTS,
            FunctionName=function.name,
            Role=function.role,
            Code=_code(function.code),
            Handler=function.settings.handler,
            Runtime=function.settings.runtime,
            Layers=list(function.settings.layers),
            Architectures=[function.architecture],
            MemorySize=function.memory_mb,
            Timeout=function.timeout_seconds,
        )
        return response is not None

    def delete(self, name: str) -> None:
        """Delete a function with all its versions and aliases, or nothing."""
        self._call("DeleteFunction", doing=f"delete function `{name}`", expected=_MISSING, FunctionName=name)


def _code(code: Zip | S3Code) -> dict[str, Any]:
    if isinstance(code, Zip):
        return {"ZipFile": code.content}
    version = {} if code.version_id is None else {"S3ObjectVersion": code.version_id}
    return {"S3Bucket": code.bucket, "S3Key": code.key, **version}


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
