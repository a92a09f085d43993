"""What lamina asks of Lambda's functions, as a small protocol, and the values that come back. No client, no botocore."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "LATEST",
    "AliasState",
    "FunctionState",
    "Functions",
    "NewFunction",
    "S3Code",
    "Settings",
    "Storage",
    "Zip",
    "unversioned",
]

LATEST = "$LATEST"
"""The version of a function that can be changed."""


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
