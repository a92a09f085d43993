"""
Errors that lamina raises on purpose, each with its exit code.

::

    LaminaError                        exit code
    ├── ConfigError                     2
    │   ├── ForeignFileError
    │   ├── InvalidConfigError
    │   ├── MissingExtraError
    │   ├── TemplateError
    │   └── UsageError
    ├── LockError                       3
    │   ├── LockNotFoundError
    │   ├── LockSyntaxError
    │   ├── StaleLockError
    │   ├── MissingHashError
    │   ├── UnknownGroupError
    │   └── NoCompatibleWheelError
    ├── FetchError                      4
    │   ├── AccessDeniedError
    │   ├── HashMismatchError
    │   ├── DownloadError
    │   ├── IndexLookupError
    │   └── OfflineError
    ├── ArchiveError                    5
    │   ├── CorruptArchiveError
    │   │   ├── DamagedFileError
    │   │   └── DamagedOutputError
    │   ├── UnsafeMemberError
    │   ├── SuspiciousSizeError
    │   ├── DuplicateMemberError
    │   ├── UnsupportedMemberError
    │   ├── RecordMismatchError
    │   ├── PathCollisionError
    │   ├── BytecodeError
    │   └── PackageError
    ├── LocalBuildError                 5
    ├── MachineError                    5
    │   ├── DiskFullError
    │   ├── LimitError
    │   └── StartError
    ├── CheckFailedError                1
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

TYPE_CHECKING = False  # a build with nothing to do does not import `typing`
if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path
    from typing import ClassVar


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
        self.report: Mapping[str, object] = {}
        """What the command completed before the error, as JSON values for the report that contains the error."""

    def document(self) -> dict[str, object]:
        """Return the error as JSON values; ``kind`` is the name of its class."""
        return {
            "kind": type(self).__name__,
            "message": str(self),
            "hint": self.hint,
            "exit_code": self.exit_code,
        }


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


class NotInRevisionError(ConfigError):
    """A git revision does not contain the service that lamina compares with it."""


class ForeignFileError(ConfigError):
    """A symbolic link or a file of another kind is in ``.lamina`` or in the store, where lamina creates all files."""


class MissingExtraError(ConfigError):
    """A command needs an optional dependency that is not installed."""

    def __init__(self, *, extra: str, purpose: str, command: str | None = None) -> None:
        """
        Format a message with the *purpose*, such as ``running a handler locally``, and the *extra* to install.

        *command* is the command of lamina that needs the extra, if it is known.
        """
        from lamina.core.installation import install_command

        subject, reason = (purpose, "") if command is None else (f"`lamina {command}`", f", for {purpose}")
        super().__init__(
            f"{subject} requires the optional dependencies `lamina[{extra}]`{reason}",
            hint=f"add them: `{install_command(extra)}`",
        )
        self.extra = extra
        self.purpose = purpose

    def of(self, command: str) -> MissingExtraError:
        """Return this error with a message that names the *command*."""
        named = MissingExtraError(extra=self.extra, purpose=self.purpose, command=command)
        return named.with_traceback(self.__traceback__)


class TemplateError(ConfigError):
    """
    A deploy description, such as a SAM template, is unreadable or invalid.

    ``problem`` is the message without the place.
    """

    def __init__(
        self, problem: str, *, file: str | None = None, line: int | None = None, hint: str | None = None
    ) -> None:
        """Format a message with the *file*, relative to the root of the templates, and the *line*, as far as they are known."""
        place = "" if file is None else f"`{file}`: " if line is None else f"`{file}`, line {line}: "
        super().__init__(f"{place}{problem}", hint=hint)
        self.problem = problem
        self.file = file
        self.line = line


class UsageError(ConfigError):
    """A command, option or argument is unknown, missing or invalid."""


class LockError(LaminaError):
    """The lock file is missing, invalid or out of date, or has no hash or no compatible wheel for a distribution."""

    exit_code = 3


class LockNotFoundError(LockError):
    """The configured lock file does not exist, or the project directory and its parents contain no lock file."""


class LockSyntaxError(LockError):
    """The lock file does not follow its format."""


class StaleLockError(LockError):
    """The lock file does not match ``pyproject.toml``."""


class MissingHashError(LockError):
    """One or more locked requirements have no SHA-256."""


class UnknownGroupError(LockError):
    """The lock file has no dependency group or extra of a requested name. ``groups`` and ``extras`` are those that it has."""

    def __init__(self, message: str, *, groups: Iterable[str], extras: Iterable[str], hint: str | None = None) -> None:
        """Store the *groups* and *extras* of the lock file, sorted."""
        super().__init__(message, hint=hint)
        self.groups, self.extras = tuple(sorted(groups)), tuple(sorted(extras))


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

    def __init__(self, *, filename: str, place: str, expected: str, actual: str) -> None:
        """
        Format a message with the *expected* and the *actual* SHA-256 in lower-case hexadecimal.

        *place* is the path of the file, or its URL without what may be secret.
        """
        super().__init__(
            f"`{filename}` from `{place}` does not match its locked hash: expected sha256 {expected}, got {actual}",
            hint="run the command again; if the hash still differs, regenerate the lock file and review the change",
        )
        self.filename = filename
        self.place = place
        self.expected = expected
        self.actual = actual


class DownloadError(FetchError):
    """The download failed in every attempt."""


class IndexLookupError(FetchError):
    """The package index does not list a locked file."""


class OfflineError(FetchError):
    """A file is missing from the store, and lamina runs offline."""


def together(failures: Sequence[LaminaError], summary: str) -> LaminaError:
    """Return one error with the line *summary* that lists all *failures*, or the first failure if all have the same text."""
    texts = list(dict.fromkeys(str(error) for error in failures))
    first = failures[0]
    if len(texts) == 1:
        return first
    hints = list(dict.fromkeys(error.hint for error in failures if error.hint))
    # Other error classes describe one file each, so several of them become a general error.
    kind = DownloadError if {type(error) for error in failures} == {DownloadError} else FetchError
    return kind("\n  ".join((summary, *texts)), hint="\n".join(hints) or None)


class ArchiveError(LaminaError):
    """A wheel could not be read, or a layer or function package could not be built."""

    exit_code = 5


class CorruptArchiveError(ArchiveError):
    """An archive is damaged, contradicts itself, or contains another distribution than expected."""


class DamagedOutputError(CorruptArchiveError):
    """A zip that lamina wrote was changed or damaged since."""

    def __init__(self, path: str | os.PathLike[str], reason: str) -> None:
        """Format a message with the *path* of the zip, relative to the working directory, and the *reason*."""
        import shlex

        from lamina.core.text import from_here

        shown = from_here(path)
        super().__init__(f"`{shown}` is damaged: {reason}", hint=f"run `rm -f {shlex.quote(shown)}` and `lamina build`")


class DamagedFileError(CorruptArchiveError):
    """
    A file in the store is damaged. A build makes it again, once.

    ``path`` is its path.
    """

    def __init__(self, path: Path) -> None:
        """Format a message that names *path*."""
        super().__init__(
            f"the file `{path}` in the store is damaged",
            hint="delete damaged files from the store: run `lamina cache verify`",
        )
        self.path = path


class UnsafeMemberError(ArchiveError):
    """A member could be written outside its directory: an unsafe path, a symbolic link, a device or foreign metadata."""


class SuspiciousSizeError(ArchiveError):
    """A size exceeds a limit: a member is larger than declared, an archive may be a zip bomb, or a zip would need zip64."""


class DuplicateMemberError(ArchiveError):
    """An archive contains the same path twice, or as both a file and a directory."""


class UnsupportedMemberError(ArchiveError):
    """An archive uses a feature that lamina does not support, such as encryption or a later version of the wheel format."""


class RecordMismatchError(ArchiveError):
    """A wheel's RECORD is missing or invalid, or differs from the wheel's files."""


class PathCollisionError(ArchiveError):
    """Two distributions install different content at the same path, or a file where the other has a directory."""


class BytecodeError(ArchiveError):
    """This machine cannot compile bytecode for the target."""


class PackageError(ArchiveError):
    """A function package could not be built: a source or handler is missing, invalid or unreadable, or writing failed."""


class LocalBuildError(LaminaError):
    """A wheel could not be built from a source distribution, a local project or a VCS requirement."""

    exit_code = 5


class CheckFailedError(LaminaError):
    """A finding is an error, so a command did not do its work."""


class InvokeError(LaminaError):
    """lamina could not run a handler locally."""


class MachineError(LaminaError):
    """The operating system refused to read, write or start something, for a reason that no more specific error has."""

    exit_code = 5


class DiskFullError(MachineError):
    """The disk is full, or writing would exceed a quota or the limit for the size of a file."""


class LimitError(MachineError):
    """lamina reached a limit of the process or of the machine: memory, open files or threads."""


class StartError(MachineError):
    """A program that lamina needs, such as git or uv, could not be started, or did not report how it ended."""


class StoppedError(LaminaError):
    """The user interrupted a command. If AWS may have changed, the message states which changes remain."""

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
    """lamina found no AWS credentials, their source failed, or AWS rejected them."""


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
    """The sandbox's server or a command in the sandbox could not be installed or started, or stopped unexpectedly."""


class PublishError(AwsError):
    """A layer could not be published."""


class DeployError(PublishError):
    """A function could not be created or updated. After changes, the message states whether they were rolled back."""


class ChangedMeanwhileError(DeployError):
    """Another process changed a function or an alias at the same time."""


class IntegrityError(PublishError):
    """The SHA-256 or size in AWS differs from the built file's or from a layer's pin, or the built file changed before the upload."""
