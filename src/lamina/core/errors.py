"""
Every failure lamina can name, and the exit code that belongs to it.

::

    LaminaError                        exit code
    ├── ConfigError                     2
    │   ├── InvalidConfigError
    │   └── MissingExtraError
    ├── LockError                       3
    │   ├── LockNotFoundError
    │   ├── LockSyntaxError
    │   ├── StaleLockError
    │   ├── MissingHashError
    │   └── NoCompatibleWheelError
    ├── FetchError                      4
    │   ├── AccessDeniedError
    │   ├── HashMismatchError
    │   ├── DownloadError
    │   ├── IndexLookupError
    │   └── OfflineError
    ├── ArchiveError                    5
    │   ├── CorruptArchiveError
    │   ├── UnsafeMemberError
    │   ├── SuspiciousSizeError
    │   ├── DuplicateMemberError
    │   ├── UnsupportedMemberError
    │   ├── RecordMismatchError
    │   ├── PathCollisionError
    │   ├── BytecodeError
    │   └── PackageError
    ├── LocalBuildError                 5
    ├── InvokeError                     1
    ├── StoppedError                  130
    └── AwsError                        6
        ├── MissingPermissionError
        ├── CredentialsError
        │   └── ExpiredCredentialsError
        ├── ClockSkewError
        ├── MissingBucketError
        ├── WrongRegionError
        ├── ThrottledError
        ├── UnavailableError
        ├── UnreachableError
        ├── SandboxError
        └── PublishError
            ├── DeployError
            │   └── ChangedMeanwhileError
            └── IntegrityError

0 is "done", nothing-to-do included.
1 is the answer "no" (findings, or ``--check`` saw a difference).
Whatever else escapes is a bug.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class LaminaError(Exception):
    """
    A failure that lamina understands: a fact, and what to do about it.

    ``str(error)`` is one sentence about what happened to which thing; *hint* says what to do next.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        """Keep *hint* apart from *message*, so that reports can show both."""
        super().__init__(message)
        self.hint = hint


class ConfigError(LaminaError):
    """The configuration or the command line asks for something that cannot be."""

    exit_code = 2


class InvalidConfigError(ConfigError):
    """
    The configuration file says things that cannot be.

    ``mistakes`` holds all of them, as pairs of the dotted key and the fact.
    """

    def __init__(self, *, file: str, mistakes: Sequence[tuple[str, str]], hint: str | None = None) -> None:
        """Name the *file*, and every mistake in it."""
        rows = [f"{key}: {fact}" for key, fact in mistakes]
        listed = (
            f"`{file}`: {rows[0]}" if len(rows) == 1 else "\n  ".join((f"`{file}` has {len(rows)} mistakes", *rows))
        )
        super().__init__(listed, hint=hint)
        self.file = file
        self.mistakes = tuple(mistakes)


class MissingExtraError(ConfigError):
    """A command needs an optional dependency that is not installed."""

    def __init__(self, *, extra: str, purpose: str) -> None:
        """Name the *extra* that provides what *purpose* needs."""
        super().__init__(
            f"{purpose} needs the optional dependencies `{extra}`",
            hint=f"install them: pip install 'lamina[{extra}]'",
        )
        self.extra = extra


class LockError(LaminaError):
    """The lock file cannot answer what to put into the layer."""

    exit_code = 3


class LockNotFoundError(LockError):
    """No lock file stands in the project or above it."""


class LockSyntaxError(LockError):
    """The lock file is not what its format demands."""


class StaleLockError(LockError):
    """The lock file does not match ``pyproject.toml``."""


class MissingHashError(LockError):
    """One or more locked requirements carry no SHA-256."""


class NoCompatibleWheelError(LockError):
    """
    One or more locked distributions have no wheel that the target takes.

    ``offered`` maps ``name==version`` to the file names that the lock offers for it.
    """

    def __init__(self, message: str, *, offered: Mapping[str, Sequence[str]], hint: str | None = None) -> None:
        """Keep every offender in *offered*, not only the first."""
        super().__init__(message, hint=hint)
        self.offered = {requirement: tuple(files) for requirement, files in offered.items()}


class FetchError(LaminaError):
    """A distribution could not be brought into the store."""

    exit_code = 4


class AccessDeniedError(FetchError):
    """A package index wants credentials, or others than it got."""


class HashMismatchError(FetchError):
    """Downloaded bytes are not the bytes that were locked."""

    def __init__(self, *, filename: str, expected: str, actual: str) -> None:
        """State both SHA-256 digests (lower-case hexadecimal)."""
        super().__init__(
            f"`{filename}` does not have the locked hash: expected sha256 {expected}, got {actual}",
            hint="the file changed after it was locked, or was damaged on the way: lock again and review the change",
        )
        self.filename = filename
        self.expected = expected
        self.actual = actual


class DownloadError(FetchError):
    """The server did not give the file, after all attempts."""


class IndexLookupError(FetchError):
    """The package index does not know a locked file."""


class OfflineError(FetchError):
    """Something is missing from the store, and the network was forbidden."""


class ArchiveError(LaminaError):
    """A wheel cannot be taken apart, or a layer or package not put together."""

    exit_code = 5


class CorruptArchiveError(ArchiveError):
    """The archive is truncated, or its parts contradict each other."""


class UnsafeMemberError(ArchiveError):
    """A member would leave the archive's own tree: absolute path, ``..``, symbolic link, device."""


class SuspiciousSizeError(ArchiveError):
    """A member or archive inflates to more than a layer can ever hold, or than it declares."""


class DuplicateMemberError(ArchiveError):
    """One archive names the same path twice."""


class UnsupportedMemberError(ArchiveError):
    """A member uses a zip feature that Lambda is not known to accept: encryption, another codec, zip64."""


class RecordMismatchError(ArchiveError):
    """A wheel's content is not what its own RECORD says."""


class PathCollisionError(ArchiveError):
    """Two distributions put different content at one path."""


class BytecodeError(ArchiveError):
    """Bytecode for the target cannot be compiled here."""


class PackageError(ArchiveError):
    """A function package cannot be put together from its sources."""


class LocalBuildError(LaminaError):
    """A source distribution, local project or VCS requirement could not be built to a wheel."""

    exit_code = 5


class InvokeError(LaminaError):
    """A handler could not be run locally."""


class StoppedError(LaminaError):
    """Somebody interrupted a command, and it has cleared up, as far as the text says."""

    exit_code = 130


class AwsError(LaminaError):
    """AWS refused, or cannot be reached."""

    exit_code = 6


class MissingPermissionError(AwsError):
    """
    The caller's policies do not allow an operation.

    ``actions`` are the IAM actions that the operation needs.
    """

    def __init__(self, message: str, *, actions: Sequence[str], hint: str | None = None) -> None:
        """Keep the *actions* apart, for reports."""
        super().__init__(message, hint=hint)
        self.actions = tuple(actions)


class CredentialsError(AwsError):
    """There are no credentials, or AWS does not know them."""


class ExpiredCredentialsError(CredentialsError):
    """The credentials were good, and are not any more."""


class ClockSkewError(AwsError):
    """This machine's clock is too far from AWS's."""


class MissingBucketError(AwsError):
    """The bucket does not exist."""


class WrongRegionError(AwsError):
    """The bucket is in another region than the functions."""


class ThrottledError(AwsError):
    """AWS asks for fewer calls, and did so until the attempts were used up."""


class UnavailableError(AwsError):
    """AWS failed on its own side, and did so until the attempts were used up; what was asked for may have been done."""


class UnreachableError(AwsError):
    """No connection, or no answer in time."""


class SandboxError(AwsError):
    """The embedded AWS cannot be installed or started."""


class PublishError(AwsError):
    """A layer cannot be published as it is, or as things are."""


class DeployError(PublishError):
    """A function cannot be brought to its new code and layers; what had been changed was put back, as far as the text says."""


class ChangedMeanwhileError(DeployError):
    """Somebody else changed a function or an alias at the same time."""


class IntegrityError(PublishError):
    """What AWS holds is not what was built."""
