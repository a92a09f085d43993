"""
Errors that lamina raises on purpose, each with its exit code.

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

Exit code 0 means success, including when there is nothing to do.
Exit code 1 means that a check failed: it reported findings, or ``--check`` found a difference.
Any other exception that reaches the user is a bug.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class LaminaError(Exception):
    """
    The base class of errors that lamina raises on purpose.

    ``str(error)`` is one sentence that describes the failure. *hint* is one sentence that tells the user how to fix it.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        """Store *hint* separately from *message*, so that a report can show them on separate lines."""
        super().__init__(message)
        self.hint = hint


class ConfigError(LaminaError):
    """The configuration or a command-line argument is invalid."""

    exit_code = 2


class InvalidConfigError(ConfigError):
    """
    The configuration file is invalid.

    ``mistakes`` lists every error in the file as a pair of the dotted key and the message.
    """

    def __init__(self, *, file: str, mistakes: Sequence[tuple[str, str]], hint: str | None = None) -> None:
        """Format a message that lists all *mistakes* in *file*."""
        rows = [f"{key}: {fact}" for key, fact in mistakes]
        listed = f"`{file}`: {rows[0]}" if len(rows) == 1 else "\n  ".join((f"`{file}` has {len(rows)} errors", *rows))
        super().__init__(listed, hint=hint)
        self.file = file
        self.mistakes = tuple(mistakes)


class MissingExtraError(ConfigError):
    """A command needs an optional dependency that is not installed."""

    def __init__(self, *, extra: str, purpose: str) -> None:
        """State that *purpose*, a phrase that starts the sentence, requires the optional dependencies in *extra*."""
        super().__init__(
            f"{purpose} requires the optional dependencies `lamina[{extra}]`",
            hint=f"install them: `pip install 'lamina[{extra}]'`",
        )
        self.extra = extra


class LockError(LaminaError):
    """The lock file is missing, invalid or out of date, or has no compatible wheel."""

    exit_code = 3


class LockNotFoundError(LockError):
    """The project directory and its parents contain no lock file."""


class LockSyntaxError(LockError):
    """The lock file does not follow its format."""


class StaleLockError(LockError):
    """The lock file does not match ``pyproject.toml``."""


class MissingHashError(LockError):
    """One or more locked requirements have no SHA-256."""


class NoCompatibleWheelError(LockError):
    """
    One or more locked distributions have no wheel that the target supports.

    ``offered`` maps ``name==version`` to the file names in the lock file.
    """

    def __init__(self, message: str, *, offered: Mapping[str, Sequence[str]], hint: str | None = None) -> None:
        """Store the file names of every incompatible distribution in *offered*."""
        super().__init__(message, hint=hint)
        self.offered = {requirement: tuple(files) for requirement, files in offered.items()}


class FetchError(LaminaError):
    """A distribution could not be downloaded into the store."""

    exit_code = 4


class AccessDeniedError(FetchError):
    """A package index requires credentials, or rejected the ones that lamina sent."""


class HashMismatchError(FetchError):
    """A file's SHA-256 differs from the one in the lock file."""

    def __init__(self, *, filename: str, expected: str, actual: str) -> None:
        """Format a message with the *expected* and the *actual* SHA-256 in lower-case hexadecimal."""
        super().__init__(
            f"`{filename}` does not match its locked hash: expected sha256 {expected}, got {actual}",
            hint="retry in case the download was damaged; if it fails again, regenerate the lock file and review the change",
        )
        self.filename = filename
        self.expected = expected
        self.actual = actual


class DownloadError(FetchError):
    """The download failed in every attempt."""


class IndexLookupError(FetchError):
    """The package index does not list a locked file."""


class OfflineError(FetchError):
    """A file is missing from the store, and lamina runs offline."""


class ArchiveError(LaminaError):
    """A wheel could not be read, or a layer or function package could not be built."""

    exit_code = 5


class CorruptArchiveError(ArchiveError):
    """The archive is truncated, or its headers contradict each other."""


class UnsafeMemberError(ArchiveError):
    """A member could write outside the extraction directory: an absolute path, ``..``, a symbolic link or a device."""


class SuspiciousSizeError(ArchiveError):
    """A member or an archive inflates to more than its declared size, or more than Lambda's limit for a layer."""


class DuplicateMemberError(ArchiveError):
    """One archive contains the same path twice."""


class UnsupportedMemberError(ArchiveError):
    """A member uses a zip feature that Lambda may not support: encryption, an unusual compression method or zip64."""


class RecordMismatchError(ArchiveError):
    """A wheel's files differ from its RECORD."""


class PathCollisionError(ArchiveError):
    """Two distributions install different content at the same path."""


class BytecodeError(ArchiveError):
    """This machine cannot compile bytecode for the target."""


class PackageError(ArchiveError):
    """A function package could not be built from its sources."""


class LocalBuildError(LaminaError):
    """A wheel could not be built from a source distribution, a local project or a VCS requirement."""

    exit_code = 5


class InvokeError(LaminaError):
    """lamina could not run a handler locally."""


class StoppedError(LaminaError):
    """The user interrupted a command. The message states which changes remain."""

    exit_code = 130


class AwsError(LaminaError):
    """AWS rejected a request, or could not be reached."""

    exit_code = 6


class MissingPermissionError(AwsError):
    """
    The caller's IAM policies do not allow an operation.

    ``actions`` lists the IAM actions that the operation requires.
    """

    def __init__(self, message: str, *, actions: Sequence[str], hint: str | None = None) -> None:
        """Store *actions* separately from *message*, for reports."""
        super().__init__(message, hint=hint)
        self.actions = tuple(actions)


class CredentialsError(AwsError):
    """lamina found no AWS credentials, or AWS rejected them."""


class ExpiredCredentialsError(CredentialsError):
    """The credentials have expired."""


class ClockSkewError(AwsError):
    """This machine's clock differs too much from the clock of AWS."""


class MissingBucketError(AwsError):
    """The bucket does not exist."""


class WrongRegionError(AwsError):
    """The bucket is in another region than the functions."""


class ThrottledError(AwsError):
    """AWS throttled every attempt."""


class UnavailableError(AwsError):
    """AWS reported a server error in every attempt. It may have made the requested change nevertheless."""


class UnreachableError(AwsError):
    """The connection failed, or AWS did not respond in time."""


class SandboxError(AwsError):
    """The sandbox's server could not be installed or started."""


class PublishError(AwsError):
    """A layer could not be published."""


class DeployError(PublishError):
    """A function could not be updated. The message states which changes were rolled back."""


class ChangedMeanwhileError(DeployError):
    """Another process changed a function or an alias at the same time."""


class IntegrityError(PublishError):
    """The SHA-256 or size that AWS reports differs from the built file's."""
