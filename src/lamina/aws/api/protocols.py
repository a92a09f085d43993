"""What lamina asks of AWS, as small protocols, and the values that come back. No client, no botocore, no dictionaries."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import BinaryIO

    from lamina.aws.api.functions import Functions, S3Code, Zip
    from lamina.aws.api.inventory import Inventory

__all__ = [
    "Account",
    "BucketState",
    "CopySource",
    "Grant",
    "LayerVersion",
    "Layers",
    "Listed",
    "Objects",
    "Parameters",
    "Publication",
    "PublishedVersion",
    "SentPart",
    "Services",
    "Stored",
    "Unfinished",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Account:
    """Who we are, and where."""

    id: str
    partition: str
    """``aws``, ``aws-cn``, ``aws-us-gov``, as ARNs there begin."""
    region: str

    def __str__(self) -> str:
        return f"{self.id} in {self.region}"


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
    """What a list says of a version."""

    number: int
    arn: str
    description: str


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


@dataclass(frozen=True, kw_only=True, slots=True)
class Stored:
    """What is known of an object."""

    size: int
    sha256: str | None
    """Hexadecimal, of its whole content, as S3 checked it; ``None`` for composed objects and those without checksum."""
    etag: str
    version_id: str | None
    age_seconds: float
    """By the server's own clock."""
    composite_sha256: str | None = None
    """Hexadecimal, of a composed object: the SHA-256 of the SHA-256 of its parts, where S3 knows it."""

    def proves(self, sha256: str, size: int) -> bool:
        """Return whether S3 itself says that the content has this SHA-256 and *size*, put there as it is or composed of one part."""
        if self.size != size:
            return False
        return self.sha256 == sha256 or self.composite_sha256 == hashlib.sha256(bytes.fromhex(sha256)).hexdigest()


@dataclass(frozen=True, kw_only=True, slots=True)
class Listed:
    """An object as it is listed."""

    key: str
    size: int
    age_seconds: float
    """By the server's own clock."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BucketState:
    """What decides whether a bucket will do."""

    region: str | None
    versioned: bool
    policy: str | None
    """The bucket policy's JSON."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CopySource:
    """A stored object, or a range of it, that is to be part *number* of another."""

    number: int
    key: str
    start: int = 0
    size: int | None = None
    """Of the range from *start* on; all of the object, if it is not given."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SentPart:
    """A part that S3 has for an upload."""

    number: int
    etag: str
    sha256: str | None
    """Hexadecimal, where S3 told what it computed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Unfinished:
    """A multipart upload that was begun."""

    key: str
    """Of the object that it was to become."""
    id: str
    age_seconds: float
    """By the server's own clock."""


class Objects(Protocol):
    """One bucket."""

    @property
    def bucket(self) -> str:
        """Its name."""

    def region(self) -> str | None:
        """Return the region that the bucket is in; raises MissingBucketError."""

    def state(self) -> BucketState:
        """Return what using the bucket by reference depends on."""

    def head(self, key: str) -> Stored | None:
        """Return what is known of the object, or nothing where there is none."""

    def listed(self, prefix: str) -> Iterator[Listed]:
        """Yield all objects whose keys begin with *prefix*, page by page."""

    def get(self, key: str, *, most: int | None = None) -> bytes | None:
        """Return a small object's content, or nothing where there is none; of more than *most* bytes not one."""

    def get_range(self, key: str, start: int, size: int) -> bytes | None:
        """Return *size* bytes of an object from *start* on, or nothing where it has not so many."""

    def put(
        self, key: str, body: BinaryIO | bytes, *, sha256: str, absent: bool = True, replacing: str | None = None
    ) -> bool:
        """
        Store *body*, whose SHA-256 S3 is to check; say whether it was stored.

        It is not where *absent* is asked for and something stands there, or where *replacing* is not its ETag any more.
        """

    def delete(self, key: str) -> None:
        """Delete an object, or nothing."""

    def begin(self, key: str) -> str:
        """Begin a multipart upload and return its id."""

    def copy_part(self, key: str, upload: str, source: CopySource) -> SentPart:
        """Make a stored object, or a range of it, a part."""

    def send_part(self, key: str, upload: str, number: int, body: BinaryIO | bytes, *, sha256: str) -> SentPart:
        """Send a part."""

    def complete(self, key: str, upload: str, parts: Sequence[SentPart]) -> bool:
        """Put the object together; say whether it was, which it is not where something stands at *key*."""

    def abort(self, key: str, upload: str) -> None:
        """Give an upload up, with what was sent of it."""

    def unfinished(self, prefix: str) -> Iterator[Unfinished]:
        """Yield the uploads that nobody finished of all keys that begin with *prefix*, page by page."""


class Parameters(Protocol):
    """The parameters of Systems Manager, in one account and region."""

    def get(self, name: str) -> str | None:
        """Return a parameter's value, or nothing where there is none."""

    def put(self, name: str, value: str) -> None:
        """Set a parameter, new or not."""


class Services(Protocol):
    """What one account offers in one region."""

    @property
    def account(self) -> Account:
        """Who, and where."""

    @property
    def layers(self) -> Layers:
        """Its layers."""

    @property
    def functions(self) -> Functions:
        """Its functions."""

    @property
    def inventory(self) -> Inventory:
        """Everything in it."""

    @property
    def parameters(self) -> Parameters:
        """Its parameters."""

    def bucket(self, name: str) -> Objects:
        """Return one of its buckets."""
