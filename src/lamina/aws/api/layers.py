"""Read and publish Lambda layers: the `Layers` protocol, its value classes, and the client that implements it."""

from __future__ import annotations

import base64
import datetime as dt
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from lamina.aws.api.errors import pages, parsing
from lamina.aws.api.functions import S3Code, Storage, code_parameters
from lamina.core.errors import PublishError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lamina.aws.api.errors import Call
    from lamina.aws.api.functions import Zip

_SERVICE = "lambda"
_MISSING = frozenset({"missing"})
_CONFLICT = frozenset({"conflict"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Grant:
    """Permission to use a layer version, for one account or a whole organisation."""

    principal: str
    """An account ID or an organisation ID."""

    @property
    def is_organisation(self) -> bool:
        """Whether *principal* is an organisation ID."""
        return self.principal.startswith("o-")

    @property
    def statement_id(self) -> str:
        """The ID of the policy statement. It depends only on *principal*, so repeating a grant has no effect."""
        return f"lamina-{self.principal}"


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerVersion:
    """An entry in Lambda's list of layer versions. The list has no content hashes."""

    name: str
    """The layer's name."""
    number: int
    arn: str
    description: str
    created: dt.datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class PublishedVersion:
    """One layer version with its content hash and size. Lambda reports them only for single versions."""

    number: int
    arn: str
    code_sha256: str
    """The SHA-256 of the zip in base64, as Lambda reports it."""
    code_bytes: int
    description: str = ""
    location: str | None = field(default=None, repr=False)
    """A signed address of the zip, valid for 10 minutes. It gives access to the code, so do not show or store it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Publication:
    """The parameters of a layer version to publish."""

    name: str
    description: str
    code: Zip | S3Code
    runtimes: tuple[str, ...]
    architectures: tuple[str, ...]
    license: str | None = None


class Layers(Protocol):
    """The Lambda layers of one account in one region."""

    def versions(self, name: str) -> Sequence[LayerVersion]:
        """Return all versions of the layer *name*, newest first. Return no versions if the layer does not exist."""

    def version(self, name: str, number: int) -> PublishedVersion | None:
        """Return version *number* of the layer *name*, or ``None`` if the version does not exist."""

    def publish(self, publication: Publication) -> PublishedVersion:
        """
        Publish a new layer version. The request is never repeated, because Lambda creates another version for each request.

        After `ThrottledError`, `UnavailableError` or `UnreachableError`, Lambda may have created the version. Look for the version
        before publishing again. Raises `PublishError` if the installed boto3 does not support the storage mode.
        """

    def delete(self, name: str, number: int) -> None:
        """Delete a layer version, if it exists. Functions that already use the version keep working."""

    def granted(self, name: str, number: int) -> frozenset[str]:
        """Return the statement IDs in the policy of a layer version, or no IDs if it has no policy."""

    def grant(self, name: str, number: int, grant: Grant) -> None:
        """Grant permission to use a layer version, unless the permission already exists."""


class LambdaLayers:
    """The `Layers` protocol over the Lambda API."""

    def __init__(
        self, call: Call, *, call_without_retry: Callable[[], Call] | None = None, knows_storage: bool
    ) -> None:
        """
        Send requests through *call*. *knows_storage* states whether the installed botocore supports ``S3ObjectStorageMode``.

        *call_without_retry* returns the call to publish with. It is required if *call* retries requests.
        """
        self._call = call
        self._call_without_retry = call_without_retry or (lambda: call)
        self._knows_storage = knows_storage

    def versions(self, name: str) -> tuple[LayerVersion, ...]:
        """Return all versions of the layer *name*, newest first. Return no versions if the layer does not exist."""
        doing = f"list the versions of layer `{name}`"
        with parsing(_SERVICE, doing):
            found = [
                LayerVersion(
                    name=name,
                    number=int(row["Version"]),
                    arn=str(row["LayerVersionArn"]),
                    description=str(row.get("Description", "")),
                    created=_time(row["CreatedDate"]),
                )
                for page in pages(self._call, "ListLayerVersions", doing=doing, expected=_MISSING, LayerName=name)
                for row in page["LayerVersions"]
            ]
        # Some emulators repeat a page, so versions are deduplicated by number.
        return tuple(sorted({each.number: each for each in found}.values(), key=lambda each: -each.number))

    def version(self, name: str, number: int) -> PublishedVersion | None:
        """Return version *number* of the layer *name*, or ``None`` if the version does not exist."""
        response = self._of_version("GetLayerVersion", "read", name, number)
        with parsing(_SERVICE, _doing("read", name, number)):
            return None if response is None else _published(response)

    def publish(self, publication: Publication) -> PublishedVersion:
        """
        Publish a new layer version. The request is never repeated, because Lambda creates another version for each request.

        After `ThrottledError`, `UnavailableError` or `UnreachableError`, Lambda may have created the version. Look for the version
        before publishing again. Raises `PublishError` if the installed boto3 does not support the storage mode.
        """
        license_info: dict[str, Any] = {} if publication.license is None else {"LicenseInfo": publication.license}
        doing = f"publish a version of layer `{publication.name}`"
        response = self._call_without_retry()(
            "PublishLayerVersion",
            doing=doing,
            LayerName=publication.name,
            Description=publication.description,
            Content=self._content(publication.code),
            CompatibleRuntimes=list(publication.runtimes),
            CompatibleArchitectures=list(publication.architectures),
            **license_info,
        )
        with parsing(_SERVICE, doing):
            return _published(response or {})

    def _content(self, code: Zip | S3Code) -> dict[str, Any]:
        content = code_parameters(code)
        if isinstance(code, S3Code) and code.storage is not Storage.COPY:
            if not self._knows_storage:
                raise PublishError(
                    f'`storage = "{code.storage.value}"` requires a newer boto3 than the installed one',
                    hint="upgrade boto3: `pip install --upgrade 'boto3>=1.44'`, or set `storage = \"copy\"` in `[tool.lamina.publish]`",
                )
            content["S3ObjectStorageMode"] = code.storage.name
        return content

    def delete(self, name: str, number: int) -> None:
        """Delete a layer version, if it exists. Functions that already use the version keep working."""
        self._of_version("DeleteLayerVersion", "delete", name, number)

    def granted(self, name: str, number: int) -> frozenset[str]:
        """Return the statement IDs in the policy of a layer version, or no IDs if it has no policy."""
        verb = "read the policy of"
        response = self._of_version("GetLayerVersionPolicy", verb, name, number)
        with parsing(_SERVICE, _doing(verb, name, number)):
            policy = {} if response is None else json.loads(response["Policy"])
            return frozenset(str(statement.get("Sid", "")) for statement in policy.get("Statement", ()))

    def _of_version(self, operation: str, verb: str, name: str, number: int) -> dict[str, Any] | None:
        doing = _doing(verb, name, number)
        return self._call(operation, doing=doing, expected=_MISSING, LayerName=name, VersionNumber=number)

    def grant(self, name: str, number: int, grant: Grant) -> None:
        """Grant permission to use a layer version, unless the permission already exists."""
        organisation = {"OrganizationId": grant.principal} if grant.is_organisation else {}
        self._call(
            "AddLayerVersionPermission",
            doing=f"share version {number} of layer `{name}` with `{grant.principal}`",
            # The statement ID is derived from the principal, so an existing statement grants the same permission.
            expected=_CONFLICT,
            LayerName=name,
            VersionNumber=number,
            StatementId=grant.statement_id,
            Action="lambda:GetLayerVersion",
            Principal="*" if grant.is_organisation else grant.principal,
            **organisation,
        )


def _doing(verb: str, name: str, number: int) -> str:
    return f"{verb} version {number} of layer `{name}`"


def _published(response: dict[str, Any]) -> PublishedVersion:
    base64.b64decode(response["Content"]["CodeSha256"], validate=True)
    return PublishedVersion(
        number=response["Version"],
        arn=response["LayerVersionArn"],
        code_sha256=response["Content"]["CodeSha256"],
        code_bytes=response["Content"]["CodeSize"],
        description=str(response.get("Description", "")),
        location=response["Content"].get("Location"),
    )


def _time(text: str) -> dt.datetime:
    """Parse a time in Lambda's format, such as ``2026-11-23T06:00:00.000+0000``."""
    found = dt.datetime.fromisoformat(text)
    return found if found.tzinfo is not None else found.replace(tzinfo=dt.UTC)
