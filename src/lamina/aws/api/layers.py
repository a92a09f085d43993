"""Lambda's layers through a client: `interfaces.Layers`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from lamina.aws.api.functions import S3Code, Storage, Zip
from lamina.aws.api.protocols import Grant, LayerVersion, Publication, PublishedVersion
from lamina.core.errors import PublishError

if TYPE_CHECKING:
    from collections.abc import Callable

    from lamina.aws.api.errors import Caller

__all__ = ["LambdaLayers"]

_MISSING = frozenset({"missing"})
_CONFLICT = frozenset({"conflict"})


class LambdaLayers:
    """The layers of one account in one region."""

    def __init__(self, call: Caller, *, once: Callable[[], Caller] | None = None, knows_storage: bool) -> None:
        """
        Ask through *call*, whose botocore does or does not know ``S3ObjectStorageMode``.

        What must not be repeated is asked through what *once* returns, if *call* itself repeats things.
        """
        self._call = call
        self._once = once or (lambda: call)
        self._knows_storage = knows_storage

    def versions(self, name: str) -> tuple[LayerVersion, ...]:
        """Return all versions of the layer *name*, newest first."""
        found: list[LayerVersion] = []
        marker: dict[str, str] = {}
        while True:
            page = self._call(
                "ListLayerVersions",
                doing=f"list the versions of layer `{name}`",
                expected=_MISSING,
                LayerName=name,
                **marker,
            )
            if page is None:
                break
            found += [
                LayerVersion(number=row["Version"], arn=row["LayerVersionArn"], description=row.get("Description", ""))
                for row in page["LayerVersions"]
            ]
            if not page.get("NextMarker"):
                break
            marker = {"Marker": page["NextMarker"]}
        # An emulator may repeat a page; a version is a version once.
        return tuple(sorted({each.number: each for each in found}.values(), key=lambda each: -each.number))

    def version(self, name: str, number: int) -> PublishedVersion | None:
        """Return one version, or nothing where it has been deleted."""
        response = self._call(
            "GetLayerVersion",
            doing=f"read version {number} of layer `{name}`",
            expected=_MISSING,
            LayerName=name,
            VersionNumber=number,
        )
        return None if response is None else _published(response)

    def publish(self, publication: Publication) -> PublishedVersion:
        """
        Publish a new version.

        It is asked for once: each time Lambda would make another version. So with ThrottledError, UnavailableError and
        UnreachableError there may be one.
        """
        parameters: dict[str, Any] = {
            "LayerName": publication.name,
            "Description": publication.description,
            "Content": self._content(publication.code),
            "CompatibleRuntimes": list(publication.runtimes),
            "CompatibleArchitectures": list(publication.architectures),
        }
        if publication.license is not None:
            parameters["LicenseInfo"] = publication.license
        response = self._once()(
            "PublishLayerVersion", doing=f"publish a version of layer `{publication.name}`", **parameters
        )
        return _published(_present(response))

    def _content(self, code: Zip | S3Code) -> dict[str, Any]:
        if isinstance(code, Zip):
            return {"ZipFile": code.content}
        content: dict[str, Any] = {"S3Bucket": code.bucket, "S3Key": code.key}
        if code.version_id is not None:
            content["S3ObjectVersion"] = code.version_id
        if code.storage is not Storage.COPY:
            if not self._knows_storage:
                raise PublishError(
                    f'`storage = "{code.storage.value}"` needs a newer boto3 than the installed one',
                    hint="pip install --upgrade 'boto3>=1.44', or configure `storage = \"copy\"`",
                )
            content["S3ObjectStorageMode"] = code.storage.name
        return content

    def delete(self, name: str, number: int) -> None:
        """Delete a version, or nothing; functions that use it keep it."""
        self._call(
            "DeleteLayerVersion",
            doing=f"delete version {number} of layer `{name}`",
            expected=_MISSING,
            LayerName=name,
            VersionNumber=number,
        )

    def granted(self, name: str, number: int) -> frozenset[str]:
        """Return the statement ids in a version's policy."""
        response = self._call(
            "GetLayerVersionPolicy",
            doing=f"read the policy of version {number} of layer `{name}`",
            expected=_MISSING,
            LayerName=name,
            VersionNumber=number,
        )
        if response is None:
            return frozenset()
        return frozenset(str(statement.get("Sid", "")) for statement in json.loads(response["Policy"])["Statement"])

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


def _present(response: dict[str, Any] | None) -> dict[str, Any]:
    if response is None:  # pragma: no cover - only for what is expected, and nothing is
        raise AssertionError
    return response
