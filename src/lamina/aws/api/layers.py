"""Lambda's layers: what lamina asks, as a protocol and its values, and the client that answers."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from lamina.aws.api.errors import pages
from lamina.aws.api.functions import S3Code, Storage, code_parameters
from lamina.core.errors import PublishError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lamina.aws.api.errors import Call
    from lamina.aws.api.functions import Zip

_MISSING = frozenset({"missing"})
_CONFLICT = frozenset({"conflict"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Grant:
    """Leave to use a layer version, for an account or a whole organisation."""

    principal: str
    """An account's number, or an organisation's id."""

    @property
    def is_organisation(self) -> bool:
        """Whether *principal* is an organisation."""
        return self.principal.startswith("o-")

    @property
    def statement_id(self) -> str:
        """The same for the same principal, so that granting twice is granting once."""
        return f"lamina-{self.principal}"


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerVersion:
    """A layer version as it is listed."""

    name: str
    """Of the layer."""
    number: int
    arn: str
    description: str
    created: dt.datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class PublishedVersion:
    """What is known of one version that was asked for."""

    number: int
    arn: str
    code_sha256: str
    """As Lambda says it: base64."""
    code_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Publication:
    """A layer version to be."""

    name: str
    description: str
    code: Zip | S3Code
    runtimes: tuple[str, ...]
    architectures: tuple[str, ...]
    license: str | None = None


class Layers(Protocol):
    """Lambda's layers, in one account and region."""

    def versions(self, name: str) -> Sequence[LayerVersion]:
        """Return all versions of the layer *name*, newest first; none where there is no such layer."""

    def version(self, name: str, number: int) -> PublishedVersion | None:
        """Return one version, or nothing where it has been deleted."""

    def publish(self, publication: Publication) -> PublishedVersion:
        """
        Publish a new version.

        After ThrottledError, UnavailableError and UnreachableError there may be one, and nobody has tried again.
        """

    def delete(self, name: str, number: int) -> None:
        """Delete a version, or nothing; functions that use it keep it."""

    def granted(self, name: str, number: int) -> frozenset[str]:
        """Return the statement ids in a version's policy."""

    def grant(self, name: str, number: int, grant: Grant) -> None:
        """Let others use a version; what they may already is fine."""


class LambdaLayers:
    """The layers of one account in one region."""

    def __init__(
        self, call: Call, *, call_without_retry: Callable[[], Call] | None = None, knows_storage: bool
    ) -> None:
        """
        Ask through *call*, whose botocore does or does not know ``S3ObjectStorageMode``.

        If *call* retries, *call_without_retry* returns what asks for publication, which must not be repeated.
        """
        self._call = call
        self._call_without_retry = call_without_retry or (lambda: call)
        self._knows_storage = knows_storage

    def versions(self, name: str) -> tuple[LayerVersion, ...]:
        """Return all versions of the layer *name*, newest first."""
        doing = f"list the versions of layer `{name}`"
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
        # An emulator may repeat a page; a version is a version once.
        return tuple(sorted({each.number: each for each in found}.values(), key=lambda each: -each.number))

    def version(self, name: str, number: int) -> PublishedVersion | None:
        """Return one version, or nothing where it has been deleted."""
        response = self._of_version("GetLayerVersion", "read", name, number)
        return None if response is None else _published(response)

    def publish(self, publication: Publication) -> PublishedVersion:
        """
        Publish a new version.

        It is asked for once: each time Lambda would make another version. So with ThrottledError, UnavailableError and
        UnreachableError there may be one.
        """
        license_info: dict[str, Any] = {} if publication.license is None else {"LicenseInfo": publication.license}
        response = self._call_without_retry()(
            "PublishLayerVersion",
            doing=f"publish a version of layer `{publication.name}`",
            LayerName=publication.name,
            Description=publication.description,
            Content=self._content(publication.code),
            CompatibleRuntimes=list(publication.runtimes),
            CompatibleArchitectures=list(publication.architectures),
            **license_info,
        )
        return _published(response or {})

    def _content(self, code: Zip | S3Code) -> dict[str, Any]:
        content = code_parameters(code)
        if isinstance(code, S3Code) and code.storage is not Storage.COPY:
            if not self._knows_storage:
                raise PublishError(
                    f'`storage = "{code.storage.value}"` needs a newer boto3 than the installed one',
                    hint="pip install --upgrade 'boto3>=1.44', or configure `storage = \"copy\"`",
                )
            content["S3ObjectStorageMode"] = code.storage.name
        return content

    def delete(self, name: str, number: int) -> None:
        """Delete a version, or nothing; functions that use it keep it."""
        self._of_version("DeleteLayerVersion", "delete", name, number)

    def granted(self, name: str, number: int) -> frozenset[str]:
        """Return the statement ids in a version's policy."""
        response = self._of_version("GetLayerVersionPolicy", "read the policy of", name, number)
        policy = {} if response is None else json.loads(response["Policy"])
        return frozenset(str(statement.get("Sid", "")) for statement in policy.get("Statement", ()))

    def _of_version(self, operation: str, verb: str, name: str, number: int) -> dict[str, Any] | None:
        doing = f"{verb} version {number} of layer `{name}`"
        return self._call(operation, doing=doing, expected=_MISSING, LayerName=name, VersionNumber=number)

    def grant(self, name: str, number: int, grant: Grant) -> None:
        """Let others use a version; what they may already is fine."""
        organisation = {"OrganizationId": grant.principal} if grant.is_organisation else {}
        self._call(
            "AddLayerVersionPermission",
            doing=f"share version {number} of layer `{name}` with `{grant.principal}`",
            # The statement's id is made of whom it is for, so one that is there says the same.
            expected=_CONFLICT,
            LayerName=name,
            VersionNumber=number,
            StatementId=grant.statement_id,
            Action="lambda:GetLayerVersion",
            Principal="*" if grant.is_organisation else grant.principal,
            **organisation,
        )


def _published(response: dict[str, Any]) -> PublishedVersion:
    return PublishedVersion(
        number=response["Version"],
        arn=response["LayerVersionArn"],
        code_sha256=response["Content"]["CodeSha256"],
        code_bytes=response["Content"]["CodeSize"],
    )


def _time(text: str) -> dt.datetime:
    """Return the time that Lambda words as ``2026-11-23T06:00:00.000+0000``."""
    found = dt.datetime.fromisoformat(text)
    return found if found.tzinfo is not None else found.replace(tzinfo=dt.UTC)
