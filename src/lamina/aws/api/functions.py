"""Read and change Lambda functions: the `Functions` protocol, its value classes, and the client that implements it."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol

from lamina.aws.api.facts import kept_settings, progress
from lamina.aws.api.signed import save
from lamina.core.errors import DeployError, IntegrityError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from lamina.aws.api.errors import Call

LATEST = "$LATEST"
"""The version qualifier of a function's unpublished version, the only version that can be changed."""

PUBLISHED = "$LATEST.PUBLISHED"
"""The version that callers without a version use if the function runs on Lambda Managed Instances."""

_MISSING = frozenset({"missing"})
_CHANGED = frozenset({"changed"})
# When a function or alias to be created already exists, Lambda reports a conflict.
_EXISTS = frozenset({"conflict"})
_ATTEMPTS = 4
_FIRST_WAIT_SECONDS = 0.2


class Storage(Enum):
    """How Lambda stores the code of a layer version (``S3ObjectStorageMode`` in the API)."""

    COPY = "copy"
    """Lambda copies the zip, which counts against the account's code storage quota."""
    REFERENCE = "reference"
    """Lambda reads the zip from the bucket, so the object must exist as long as the layer version does."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CodeStorage:
    """How Lambda keeps a function's code. A change of the code that does not repeat these values resets them to the defaults."""

    storage: Storage = Storage.COPY
    kms_key: str | None = None
    """The ARN of the customer's key that encrypts the zip; ``None`` for a key of AWS."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Zip:
    """A zip that is sent inside the API call."""

    content: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class S3Code:
    """A zip that Lambda reads from a bucket."""

    bucket: str
    key: str
    storage: Storage = Storage.COPY
    version_id: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """A function's layers, handler and runtime. Together they must match its code."""

    layers: tuple[str, ...]
    """The ARNs of the layer versions, in the order in which Lambda extracts them."""
    handler: str
    runtime: str


@dataclass(frozen=True, kw_only=True, slots=True)
class FunctionState:
    """The current state of one version of a function."""

    name: str
    version: str
    revision: str
    """The revision ID, which Lambda replaces on every change."""
    code_sha256: str
    """The SHA-256 of the zipped code in base64, as Lambda reports it."""
    code_bytes: int
    """The size of the zipped code in bytes."""
    settings: Settings
    architecture: str
    is_image: bool = False
    is_managed: bool = False
    """Whether the function runs on Lambda Managed Instances. Callers without a version then use `PUBLISHED`, not `LATEST`."""
    busy: bool = False
    """Whether Lambda is still applying an earlier change."""
    unfinished: str = ""
    """What Lambda reports of a change that it is still applying: the state and, if there is one, the reason."""
    failure: str | None = None
    """The reason why the last change failed, or ``None`` if it did not fail."""
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    """The environment variables. Their values may be secret: never show them."""
    others: Mapping[str, str] = field(default_factory=dict, repr=False)
    """The other settings that a deployment does not change, such as ``memory``, with their values as JSON. Empty values are left out."""
    has_hidden_environment: bool = False
    """Whether there are environment variables that AWS hides, because the caller may not decrypt them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AliasState:
    """The current state of an alias."""

    name: str
    version: str
    revision: str
    is_split: bool = False
    """Whether the alias sends part of its traffic to a second version."""
    description: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class NewFunction:
    """The parameters of a function to create."""

    name: str
    role: str
    code: Zip | S3Code
    settings: Settings
    architecture: str
    memory_mb: int
    timeout_seconds: int


class Functions(Protocol):
    """The Lambda functions of one account in one region."""

    def now(self) -> float:
        """Return the time in seconds since 1970 by AWS's clock, as of the latest responses."""

    def get(self, name: str, version: str = LATEST) -> FunctionState | None:
        """Return the state of *version* of the function *name*, or ``None`` if it does not exist. *version* may also be an alias."""

    def download(self, name: str, destination: Path) -> CodeStorage:
        """
        Download the zipped code of ``$LATEST`` to *destination*, and check it against the SHA-256 that Lambda reports.

        Return how Lambda keeps this code.
        """

    def update_code(
        self, name: str, code: Zip | S3Code, *, architecture: str, revision: str, kms_key: str | None = None
    ) -> FunctionState | None:
        """
        Start updating the code, and return the state. Return ``None``, without an update, if the function is no longer at *revision*.

        *kms_key* is the ARN of the customer's key that encrypts the code; ``None`` for a key of AWS.
        """

    def update_settings(self, name: str, settings: Settings, *, revision: str) -> FunctionState | None:
        """
        Start updating layers, handler and runtime, and return the state.

        Return ``None``, without an update, if the function is no longer at *revision*.
        """

    def publish_version(
        self, name: str, *, code_sha256: str, revision: str, to: str | None = None
    ) -> FunctionState | None:
        """
        Start publishing ``$LATEST`` as a version, and return its state. Return ``None`` if ``$LATEST`` has another code hash or revision.

        With `PUBLISHED` as *to*, replace that version instead of publishing a numbered one.
        """

    def alias(self, name: str, alias: str) -> AliasState | None:
        """Return the state of *alias* of the function *name*, or ``None`` if the alias does not exist."""

    def create_alias(self, name: str, alias: str, version: str, *, description: str = "") -> AliasState | None:
        """Create *alias*, pointing to *version*. Return ``None`` if an alias of that name already exists."""

    def move_alias(
        self,
        name: str,
        alias: str,
        version: str,
        *,
        revision: str,
        description: str | None = None,
        repeats: bool = True,
    ) -> AliasState | None:
        """
        Point *alias* to *version* with all its traffic, with a new *description* unless it is ``None``.

        Return ``None`` if the alias is no longer at *revision*. A request that fails is not repeated if *repeats* is false.
        """

    def delete_alias(self, name: str, alias: str) -> None:
        """Delete *alias* of the function *name*, if it exists."""

    def create(self, function: NewFunction) -> bool:
        """Start creating a function. Return ``False`` if a function of that name already exists."""

    def delete(self, name: str) -> None:
        """Delete the function *name* with all its versions and aliases, if it exists."""


def unversioned(arn: str) -> str:
    """Return *arn*, the ARN of a layer version, without the version number."""
    return arn.rpartition(":")[0]


class LambdaFunctions:
    """The `Functions` protocol over the Lambda API."""

    def __init__(
        self, call: Call, *, call_without_retry: Callable[[], Call] | None = None, certificates: str | bool = True
    ) -> None:
        """
        Send requests through *call*, and those that are not to be repeated through the result of *call_without_retry*.

        Code is downloaded with the trusted *certificates* of the AWS configuration; ``True`` stands for botocore's own.
        """
        self._call = call
        self._call_without_retry = call_without_retry or (lambda: call)
        self._certificates = certificates
        self._ahead_seconds = 0.0

    def now(self) -> float:
        """Return the time in seconds since 1970 by AWS's clock, as of the latest responses."""
        return time.time() + self._ahead_seconds

    def get(self, name: str, version: str = LATEST) -> FunctionState | None:
        """Return the state of *version* of the function *name*, or ``None`` if it does not exist. *version* may also be an alias."""
        qualifier: dict[str, Any] = {} if version == LATEST else {"Qualifier": version}
        # GetFunctionConfiguration returns the same, but shares its low rate limit with all operations that change something.
        response = self._ask("GetFunction", f"read function `{name}`", name, _MISSING, **qualifier)
        return None if response is None else _state(name, response["Configuration"])

    def download(self, name: str, destination: Path, version: str = LATEST) -> CodeStorage:
        """
        Download the zipped code of *version*, which may also be an alias, to *destination*, and check it against the SHA-256 that Lambda reports.

        Return how Lambda keeps this code. Raises `DeployError` if Lambda returns no download address, `UnreachableError` if the
        download fails in every attempt, `IntegrityError` if the SHA-256 differs in every attempt, and `AwsError` if Lambda rejects the
        request.
        """
        qualifier: dict[str, Any] = {} if version == LATEST else {"Qualifier": version}
        for attempt in range(_ATTEMPTS):
            response = self._ask("GetFunction", f"read the code of function `{name}`", name, **qualifier) or {}
            location = response.get("Code", {}).get("Location")
            if location is None:
                raise DeployError(
                    f"Lambda returned no download address for the code of function `{name}`",
                    hint=f"check the response: `aws lambda get-function --function-name {name}`",
                )
            arriving = destination.with_name(f"{destination.name}.part")
            doing = f"download the code of function `{name}`"
            try:
                sha256 = save(location, arriving, certificates=self._certificates, doing=doing)
            except UnreachableError:
                if attempt == _ATTEMPTS - 1:
                    raise
            else:
                if sha256 == response["Configuration"]["CodeSha256"]:
                    arriving.replace(destination)
                    return _code_storage(response["Code"])
            time.sleep(_FIRST_WAIT_SECONDS * 2**attempt)
        raise IntegrityError(
            f"the downloaded code of function `{name}` does not match the SHA-256 that Lambda reports", hint="run again"
        )

    def update_code(
        self, name: str, code: Zip | S3Code, *, architecture: str, revision: str, kms_key: str | None = None
    ) -> FunctionState | None:
        """
        Start updating the code, and return the state. Return ``None``, without an update, if the function is no longer at *revision*.

        *kms_key* is the ARN of the customer's key that encrypts the code; ``None`` for a key of AWS.
        """
        doing = f"update the code of function `{name}`"
        changes = {"Architectures": [architecture], "RevisionId": revision, **code_parameters(code)}
        if kms_key is not None:
            changes["SourceKMSKeyArn"] = kms_key
        if isinstance(code, S3Code) and code.storage is not Storage.COPY:
            changes["S3ObjectStorageMode"] = code.storage.name
        response = self._ask("UpdateFunctionCode", doing, name, _CHANGED, **changes)
        return None if response is None else _state(name, response)

    def update_settings(self, name: str, settings: Settings, *, revision: str) -> FunctionState | None:
        """
        Start updating layers, handler and runtime, and return the state.

        Return ``None``, without an update, if the function is no longer at *revision*.
        """
        doing = f"update the layers, handler and runtime of function `{name}`"
        changes = {**_settings_parameters(settings), "RevisionId": revision}
        response = self._ask("UpdateFunctionConfiguration", doing, name, _CHANGED, **changes)
        return None if response is None else _state(name, response)

    def publish_version(
        self, name: str, *, code_sha256: str, revision: str, to: str | None = None
    ) -> FunctionState | None:
        """
        Start publishing ``$LATEST`` as a version, and return its state. Return ``None`` if ``$LATEST`` has another code hash or revision.

        With `PUBLISHED` as *to*, replace that version instead of publishing a numbered one.
        """
        doing = f"publish a version of function `{name}`"
        where = {"PublishTo": "LATEST_PUBLISHED"} if to == PUBLISHED else {}
        asked: dict[str, Any] = {"CodeSha256": code_sha256, "RevisionId": revision, **where}
        response = self._ask("PublishVersion", doing, name, _CHANGED, **asked)
        return None if response is None else _state(name, response)

    def alias(self, name: str, alias: str) -> AliasState | None:
        """Return the state of *alias* of the function *name*, or ``None`` if the alias does not exist."""
        response = self._ask("GetAlias", f"read alias `{alias}` of function `{name}`", name, _MISSING, Name=alias)
        return None if response is None else _alias(alias, response)

    def create_alias(self, name: str, alias: str, version: str, *, description: str = "") -> AliasState | None:
        """Create *alias*, pointing to *version*. Return ``None`` if an alias of that name already exists."""
        doing = f"create alias `{alias}` of function `{name}`"
        described: dict[str, Any] = {"Description": description} if description else {}
        response = self._ask("CreateAlias", doing, name, _EXISTS, Name=alias, FunctionVersion=version, **described)
        return None if response is None else _alias(alias, response)

    def move_alias(
        self,
        name: str,
        alias: str,
        version: str,
        *,
        revision: str,
        description: str | None = None,
        repeats: bool = True,
    ) -> AliasState | None:
        """
        Point *alias* to *version* with all its traffic, with a new *description* unless it is ``None``.

        Return ``None`` if the alias is no longer at *revision*. A request that fails is not repeated if *repeats* is false.
        """
        doing = f"move alias `{alias}` of function `{name}`"
        changes = {"FunctionVersion": version, "RevisionId": revision}
        if description is not None:
            changes["Description"] = description
        call = self._call if repeats else self._call_without_retry()
        response = self._ask("UpdateAlias", doing, name, _CHANGED, call=call, Name=alias, **changes)
        return None if response is None else _alias(alias, response)

    def delete_alias(self, name: str, alias: str) -> None:
        """Delete *alias* of the function *name*, if it exists."""
        self._ask("DeleteAlias", f"delete alias `{alias}` of function `{name}`", name, _MISSING, Name=alias)

    def create(self, function: NewFunction) -> bool:
        """Start creating a function. Return ``False`` if a function of that name already exists."""
        response = self._ask(
            "CreateFunction",
            f"create function `{function.name}`",
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
        """Delete the function *name* with all its versions and aliases, if it exists."""
        self._ask("DeleteFunction", f"delete function `{name}`", name, _MISSING)

    def _ask(
        self,
        operation: str,
        doing: str,
        name: str,
        expected: frozenset[str] = frozenset(),
        *,
        call: Call | None = None,
        **parameters: Any,
    ) -> dict[str, Any] | None:
        response = (call or self._call)(operation, doing=doing, expected=expected, FunctionName=name, **parameters)
        headers = (response or {}).get("ResponseMetadata", {}).get("HTTPHeaders", {})
        if "date" in headers:
            self._ahead_seconds = parsedate_to_datetime(headers["date"]).timestamp() - time.time()
        return response


def code_parameters(code: Zip | S3Code) -> dict[str, Any]:
    """Return the request parameters for *code*, without its storage mode."""
    if isinstance(code, Zip):
        return {"ZipFile": code.content}
    version = {} if code.version_id is None else {"S3ObjectVersion": code.version_id}
    return {"S3Bucket": code.bucket, "S3Key": code.key, **version}


def _code_storage(code: dict[str, Any]) -> CodeStorage:
    # Only code that Lambda reads from a bucket is an S3 object.
    storage = Storage.REFERENCE if code.get("ResolvedS3Object") else Storage.COPY
    return CodeStorage(storage=storage, kms_key=code.get("SourceKMSKeyArn"))


def _settings_parameters(settings: Settings) -> dict[str, Any]:
    return {"Layers": list(settings.layers), "Handler": settings.handler, "Runtime": settings.runtime}


def _alias(name: str, response: dict[str, Any]) -> AliasState:
    return AliasState(
        name=name,
        version=str(response["FunctionVersion"]),
        revision=str(response.get("RevisionId", "")),
        is_split=bool((response.get("RoutingConfig") or {}).get("AdditionalVersionWeights")),
        description=str(response.get("Description") or ""),
    )


def _state(name: str, response: dict[str, Any]) -> FunctionState:
    version = str(response.get("Version", LATEST))
    # Some answers, such as the rows of lists, have no state.
    state = str(response.get("State") or "Active")
    outcome = progress(state, is_version=version != LATEST)
    failed = response.get("LastUpdateStatus") == "Failed" or outcome == "failed"
    reason = response.get("LastUpdateStatusReason") or response.get("StateReason") or "Lambda gives no reason"
    if outcome == "failed" and state != "Failed":
        reason = f"its state is `{state}`: {reason}"
    return FunctionState(
        name=name,
        version=version,
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
        is_managed=bool(response.get("CapacityProviderConfig")),
        busy=response.get("LastUpdateStatus") == "InProgress" or outcome == "waiting",
        unfinished=_unfinished(response, state),
        failure=str(reason) if failed else None,
        environment=dict((response.get("Environment") or {}).get("Variables") or {}),
        others=_others(response),
        has_hidden_environment=bool((response.get("Environment") or {}).get("Error")),
    )


def _unfinished(response: dict[str, Any], state: str) -> str:
    if response.get("LastUpdateStatus") == "InProgress":
        words, reason = "its last update is `InProgress`", response.get("LastUpdateStatusReason")
    elif state != "Active":
        words, reason = f"its state is `{state}`", response.get("StateReason")
    else:
        return ""
    return f"{words}: {reason}" if reason else words


def _others(response: dict[str, Any]) -> dict[str, str]:
    values = {words: _known(response.get(name)) for name, words in kept_settings().items()}
    return {words: json.dumps(value, sort_keys=True) for words, value in values.items() if value is not None}


def _known(value: Any) -> Any:
    """Return *value* without empty values, which Lambda may also leave out, and without the progress of SnapStart, which is no setting."""
    if isinstance(value, dict):
        known = {key: _known(each) for key, each in value.items() if key != "OptimizationStatus"}
        return {key: each for key, each in known.items() if each is not None} or None
    if isinstance(value, list):
        return [_known(each) for each in value] or None
    return None if value == "" else value
