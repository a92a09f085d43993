"""Read layer versions by ARN, also those of other accounts, in the region of the ARN."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lamina.aws.api.errors import parsing
from lamina.aws.api.signed import pieces
from lamina.core.errors import MissingPermissionError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lamina.aws.api.errors import Call

_MISSING = frozenset({"missing"})
_SHA256_BYTES = 32
_NAME = re.compile(r"[a-z][a-z0-9_.-]{2,}")
_ACTION = "lambda:GetLayerVersion"
# Parts of Lambda's texts for a denied request (troubleshooting access denied error messages, IAM User Guide, 2026-11).
_NOT_SHARED = "no resource-based policy allows"
_NOT_ALLOWED = "no identity-based policy allows"


@dataclass(frozen=True, kw_only=True, slots=True)
class ExternalVersion:
    """A layer version by ARN, as Lambda describes it."""

    arn: str
    code_sha256: str
    """The SHA-256 of the zip in base64."""
    code_bytes: int
    location: str = field(repr=False)
    """A signed address of the zip, valid for 10 minutes. It gives access to the code, so do not show or store it."""
    runtimes: tuple[str, ...]
    architectures: tuple[str, ...]
    license: str | None

    @property
    def sha256(self) -> str:
        """The SHA-256 of the zip in lower-case hexadecimal."""
        return base64.b64decode(self.code_sha256).hex()


class ExternalLayers:
    """The layer versions of all accounts in one region, as far as the credentials may read them."""

    def __init__(self, call: Call, *, certificates: str | bool = True) -> None:
        """Send requests through *call*, and download zips with the trusted *certificates* of the AWS configuration."""
        self._call = call
        self._certificates = certificates

    def version(self, arn: str) -> ExternalVersion | None:
        """
        Return the layer version *arn*, or ``None`` if it was deleted, or if its publisher does not share it with the account.

        Lambda does not tell other accounts which versions exist. Raises `MissingPermissionError` if the caller's own policies deny the
        request, or if Lambda does not give the reason.
        """
        doing = f"read layer `{arn}`"
        try:
            response = self._call("GetLayerVersionByArn", doing=doing, expected=_MISSING, Arn=arn)
        except MissingPermissionError as error:
            said = _text(error)
            if _NOT_SHARED in said:
                return None
            raise _denied(error, said, arn) from error
        with parsing("lambda", doing):
            return None if response is None else _version(arn, response)

    def download(self, version: ExternalVersion) -> Iterator[bytes]:
        """Yield the zip of *version* in pieces. The caller checks its hash. Raises `UnreachableError`."""
        return pieces(version.location, certificates=self._certificates, doing=f"download layer `{version.arn}`")


def _version(arn: str, response: dict[str, Any]) -> ExternalVersion:
    content = response["Content"]
    if len(base64.b64decode(content["CodeSha256"], validate=True)) != _SHA256_BYTES:
        raise ValueError("not a SHA-256")
    if response.get("LayerVersionArn", arn) != arn:
        raise ValueError("another layer version")
    return ExternalVersion(
        arn=arn,
        code_sha256=content["CodeSha256"],
        code_bytes=content["CodeSize"],
        location=content["Location"],
        runtimes=_names(response, "CompatibleRuntimes"),
        architectures=_names(response, "CompatibleArchitectures"),
        license=response.get("LicenseInfo") or None,
    )


def _names(response: dict[str, Any], key: str) -> tuple[str, ...]:
    # botocore reads a string in place of a list letter by letter.
    names = tuple(map(str, response.get(key, ())))
    if not all(map(_NAME.fullmatch, names)):
        raise ValueError("not a list of runtimes or architectures")
    return names


def _text(error: MissingPermissionError) -> str:
    """Return Lambda's own text for *error*; empty if there is none."""
    response = getattr(error.__cause__, "response", {})
    return str(response.get("Error", {}).get("Message", ""))


def _denied(error: MissingPermissionError, said: str, arn: str) -> MissingPermissionError:
    """Return *error*, which Lambda raised for the layer *arn* with the text *said*, with its cause, as far as Lambda tells causes apart."""
    statement = json.dumps({"Effect": "Allow", "Action": _ACTION, "Resource": arn})
    if _NOT_ALLOWED in said:
        return MissingPermissionError(
            f"AWS denied permission to read layer `{arn}`: your role or user has no policy that allows `lambda:GetLayerVersion` on it",
            actions=error.actions,
            hint=f"add this statement to the policy of your role or user: `{statement}`",
        )
    return MissingPermissionError(
        f"AWS denied permission to read layer `{arn}`: a policy forbids `lambda:GetLayerVersion` on it, or none allows it, or its "
        "publisher does not share this version, or has deleted it",
        actions=error.actions,
        hint=f"check that a policy of your role or user has this statement: `{statement}`; then check the ARN and its region against the "
        "publisher's documentation",
    )
