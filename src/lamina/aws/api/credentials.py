"""
Find the AWS credentials once, before any request, and share them among all accounts, regions and threads.

botocore asks one source after another, such as a profile's program or the instance metadata, and a source may raise any exception, when
it is first asked or when its credentials expire. Only this module asks the sources, and it converts whatever they raise.
"""

from __future__ import annotations

import os
import re
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from getpass import GetPassWarning
from threading import Lock
from typing import TYPE_CHECKING, Any

from lamina.aws.api.errors import SIGN_IN, failed, refused, with_profile, without_secrets
from lamina.core.errors import ConfigError, CredentialsError, ExpiredCredentialsError, LaminaError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_IDENTITY = "aws sts get-caller-identity"
_EXPORT = "aws configure export-credentials"
_ENVIRONMENT = "env"
_PROCESS = "custom-process"
_CONTAINER = "container-role"
_ROLE = "assume-role"
_WEB_IDENTITY = "assume-role-with-web-identity"
_VARIABLES = {
    "access key ID": ("AWS_ACCESS_KEY_ID",),
    "secret access key": ("AWS_SECRET_ACCESS_KEY",),
    "session token": ("AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN"),
}
_REQUIRED = frozenset({"access key ID", "secret access key"})
_RENEWING = frozenset({"access_key", "secret_key", "token", "account_id"})
"""The properties of botocore's credentials that renew them."""
_PRINTABLE = re.compile(r"[!-~]*")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Source:
    name: str
    hint: str
    command: str = _IDENTITY
    """A command of the AWS CLI that shows or mends the failure, without ``--profile``."""

    def advice(self) -> str:
        return f"{self.hint}: `{with_profile(self.command)}`"


# botocore's names of the sources (`METHOD` of the providers in `botocore.credentials` 1.44, 2026-11).
_SOURCES = {
    _ENVIRONMENT: _Source(name="the environment variables", hint="set them again from the same sign-in, then check"),
    _ROLE: _Source(
        name="the role in the AWS profile", hint="check the profile, its `source_profile` and your MFA device"
    ),
    _WEB_IDENTITY: _Source(
        name="the web identity", hint="check `AWS_WEB_IDENTITY_TOKEN_FILE` or `web_identity_token_file`, then run"
    ),
    "sso": _Source(name="IAM Identity Center", hint="sign in", command="aws sso login"),
    "login": _Source(name="`aws login`", hint="sign in", command="aws login"),
    "shared-credentials-file": _Source(
        name="the shared credentials file", hint="check the profile", command="aws configure list"
    ),
    "config-file": _Source(name="the AWS configuration file", hint="check the profile", command="aws configure list"),
    _PROCESS: _Source(
        name="`credential_process`",
        hint="run the program yourself to see why; this prints its command",
        command="aws configure get credential_process",
    ),
    _CONTAINER: _Source(name="the container", hint="check the variables that start with `AWS_CONTAINER_`, then run"),
    "iam-role": _Source(
        name="the instance metadata", hint="check the role of the instance and the `AWS_EC2_` variables"
    ),
}
_ANY_SOURCE = _Source(name="the AWS configuration", hint="check the AWS configuration", command="aws configure list")

_found: dict[tuple[tuple[str, str], ...], SharedCredentials] = {}
_lock = Lock()


class SharedCredentials:
    """
    botocore credentials that raise only lamina's errors when they expire and their source does not renew them.

    All AWS clients use the same object. botocore reads these attributes of it: those of `botocore.credentials.Credentials`.
    """

    def __init__(self, inner: Any, source: str) -> None:
        """Wrap the botocore credentials *inner* from the *source* with this name of botocore."""
        self._inner = inner
        self._source = source

    def get_frozen_credentials(self) -> Any:
        """Return the current access key and token, renewed if necessary. Raises `AwsError`."""
        with _converted(self._source):
            frozen = self._inner.get_frozen_credentials()
        _check(frozen, self._source)
        return frozen

    def get_deferred_property(self, property_name: str) -> Callable[[], Any]:
        """Return a function that returns a property, as botocore's credentials do."""
        return lambda: getattr(self, property_name, None)

    def __getattr__(self, name: str) -> Any:
        if name not in _RENEWING:
            return getattr(self._inner, name)
        with _converted(self._source):
            return getattr(self._inner, name)


class CredentialProvider:
    """botocore's component ``credential_provider``, which returns credentials that were found before."""

    def __init__(self, credentials: SharedCredentials) -> None:
        """Return *credentials* each time."""
        self._credentials = credentials

    def load_credentials(self) -> SharedCredentials:
        """Return the credentials."""
        return self._credentials


def find_credentials(session: Any) -> SharedCredentials:
    """
    Return the credentials of the environment, the first time those that the botocore *session* finds.

    A source that asks the user, for example for an MFA code, is asked once for all regions and threads. Raises `CredentialsError` if
    there are no credentials, another `AwsError` if AWS rejects or does not answer a request for them, and `ConfigError` if the AWS
    configuration is invalid.
    """
    # Not only variables of AWS decide: `HOME` contains the files, and proxies and certificates the way to AWS.
    environment = tuple(sorted(os.environ.items()))
    with _lock:
        if environment not in _found:
            _found[environment] = _ask(session)
        return _found[environment]


def renewing(fetch: Callable[[], dict[str, Any]]) -> SharedCredentials:
    """Return the credentials of the role that *fetch* assumes and whose response it returns. Before they expire, *fetch* is called again."""
    from botocore.credentials import RefreshableCredentials

    def ask() -> dict[str, Any]:
        credentials = fetch()["Credentials"]
        return {
            "access_key": credentials["AccessKeyId"],
            "secret_key": credentials["SecretAccessKey"],
            "token": credentials["SessionToken"],
            "expiry_time": credentials["Expiration"].isoformat(),
        }

    return SharedCredentials(RefreshableCredentials.create_from_metadata(ask(), ask, _ROLE), _ROLE)


def _ask(session: Any) -> SharedCredentials:
    from botocore.exceptions import BotoCoreError

    try:
        providers = session.get_component("credential_provider").providers
    except (BotoCoreError, ValueError) as error:
        # A setting that all sources share, such as the address of the instance metadata.
        raise failed(error, "AWS", "connect to AWS", otherwise=ConfigError) from error
    for provider in providers:
        with _converted(provider.METHOD), warnings.catch_warnings():
            # Without a terminal, getpass would wait for an MFA code on the standard input, and show it.
            warnings.simplefilter("error", GetPassWarning)
            _check_tokens(session, provider.METHOD)
            inner = provider.load()
            if inner is None:
                continue
            found = SharedCredentials(inner, provider.METHOD)
            found.get_frozen_credentials()
            return found
    raise CredentialsError("no AWS credentials were found", hint=SIGN_IN)


def _check_tokens(session: Any, method: str) -> None:
    """Raise `CredentialsError` if a file with a token that the source *method* reads is a pipe or a device, for which botocore would wait."""
    files: list[tuple[str, str | None]] = []
    if method == _CONTAINER:
        files.append((_CONTAINER, os.environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")))
    elif method in {_WEB_IDENTITY, _ROLE}:
        files.append((_WEB_IDENTITY, os.environ.get("AWS_WEB_IDENTITY_TOKEN_FILE")))
        profiles, name, seen = session.full_config["profiles"], session.profile or "default", set()
        while name in profiles and name not in seen:
            seen.add(name)
            files.append((_WEB_IDENTITY, profiles[name].get("web_identity_token_file")))
            name = profiles[name].get("source_profile")
    for source, path in files:
        # What is missing or not readable is reported by botocore.
        if path and os.path.exists(path) and not os.path.isdir(path) and not os.path.isfile(path):
            named = _SOURCES[source]
            raise CredentialsError(
                f"cannot get AWS credentials from {named.name}: `{path}` is not a regular file", hint=named.advice()
            )


@contextmanager
def _converted(method: str) -> Iterator[None]:
    """Convert any exception of the source that botocore calls *method* to an `AwsError` or a `ConfigError`."""
    from dateutil.parser import ParserError  # type: ignore[import-untyped]

    try:
        yield
    except LaminaError:
        raise
    except ParserError:
        source = _SOURCES.get(method, _ANY_SOURCE)
        doing = f"get AWS credentials from {source.name}"
        # Without the cause, because its text quotes the value.
        raise CredentialsError(
            f"cannot {doing}: the time at which they expire is invalid", hint=source.advice()
        ) from None
    except Exception as error:
        failure = _failure(error, method)
        if method == _PROCESS:
            # The cause has what the program printed, with its secrets.
            raise failure from None
        raise failure from error


def _failure(error: Exception, method: str) -> LaminaError:
    from botocore.exceptions import BotoCoreError, ClientError

    source = _SOURCES.get(method, _ANY_SOURCE)
    doing = f"get AWS credentials from {source.name}"
    if isinstance(error, ClientError):
        return refused(error, "sts", error.operation_name, doing)
    if isinstance(error, BotoCoreError):
        return failed(error, "its server", doing, otherwise=CredentialsError, advice=source.advice())
    if isinstance(error, RuntimeError) and "expired" in str(error):
        return ExpiredCredentialsError(f"cannot {doing}: they have expired", hint=source.advice())
    if isinstance(error, EOFError | GetPassWarning):
        return CredentialsError(
            f"cannot {doing}: it requires an MFA code, and there is no terminal to type it",
            hint="run in a terminal, or export the credentials before: "
            f'`eval "$({with_profile(_EXPORT)} --format env)"`',
        )
    return CredentialsError(f"cannot {doing}: {_reason(error, method)}", hint=source.advice())


def _reason(error: Exception, method: str) -> str:
    """Return why a source failed with *error*, which is not an exception of botocore."""
    if isinstance(error, OSError) and error.strerror is not None:
        verb = "start" if method == _PROCESS else "read"
        return f"failed to {verb} `{error.filename or 'a file'}`: {error.strerror}"
    said = without_secrets(str(error)) or type(error).__name__
    if method == _PROCESS and isinstance(error, ValueError | TypeError | AttributeError | LookupError):
        return f"the program's output is not a JSON object with credentials ({said})"
    return f"missing {said}" if isinstance(error, LookupError) else said


def _check(frozen: Any, method: str) -> None:
    """
    Raise `CredentialsError` if a part of the credentials is missing, or cannot be sent in an HTTP header.

    Programs print ``null``, and secrets of CI systems end with a newline.
    """
    for (part, variables), value in zip(_VARIABLES.items(), frozen, strict=False):
        source = _SOURCES.get(method, _ANY_SOURCE)
        if not isinstance(value, str | None) or (value is None and part in _REQUIRED):
            raise CredentialsError(f"the {part} from {source.name} is missing or not a text", hint=source.advice())
        if value is None or _PRINTABLE.fullmatch(value) is not None:
            continue
        names = [name for name in variables if name in os.environ] if method == _ENVIRONMENT else []
        subject = f"`{names[0]}`" if names else f"the {part} from {source.name}"
        raise CredentialsError(
            f"{subject} contains a blank, a newline or another character that is not valid in AWS credentials",
            hint="set it again without blanks and newlines; a newline at the end often comes from a secret of a CI system",
        )
