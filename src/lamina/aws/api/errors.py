"""
Call AWS through a botocore client, and convert botocore's exceptions to lamina's errors. No other module converts them.

botocore retries throttling, 5xx responses and dropped connections (standard mode, with a limit). This module also retries
truncated responses, and requests that conflict with another change, because botocore retries neither.
Error messages never contain any part of a request, its signature or its credentials.
"""

from __future__ import annotations

import random
import time
from contextlib import closing
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Protocol

from lamina.aws.api.facts import actions, meaning
from lamina.core.errors import (
    AwsError,
    ClockSkewError,
    ConfigError,
    CredentialsError,
    ExpiredCredentialsError,
    IntegrityError,
    MissingBucketError,
    MissingPermissionError,
    ThrottledError,
    UnavailableError,
    UnreachableError,
    WrongRegionError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from botocore.exceptions import BotoCoreError, ClientError

SIGN_IN = "sign in, for example with `aws sso login`, or set `AWS_PROFILE`"
"""The hint if there are no credentials."""

_ATTEMPTS = 6
_FIRST_WAIT_SECONDS = 0.2
_PARTIAL_ATTEMPTS = 4
_PARTIAL_FIRST_WAIT_SECONDS = 0.05
_SKEWED_WORDS = ("Signature expired", "Signature not yet current")
_INTEGRITY_CODES = frozenset({"BadDigest", "InvalidDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch"})

# Maps the response field that identifies the next page to the request parameter that selects that page.
_NEXT_PAGE = {
    "NextMarker": "Marker",
    "NextToken": "NextToken",
    "NextContinuationToken": "ContinuationToken",
    "NextKeyMarker": "KeyMarker",
    "NextUploadIdMarker": "UploadIdMarker",
}


class Call(Protocol):
    """A callable that runs an operation of one AWS service by name. `Caller` implements it."""

    def __call__(
        self, operation: str, *, doing: str, expected: frozenset[str] = frozenset(), **parameters: Any
    ) -> dict[str, Any] | None:
        """Return the response of *operation*, or ``None`` if AWS returns an error with a meaning in *expected*, such as ``missing``."""


def pages(
    call: Call, operation: str, *, doing: str, expected: frozenset[str] = frozenset(), **parameters: Any
) -> Iterator[dict[str, Any]]:
    """Yield the response of *operation* page by page. Stop if AWS returns an error with a meaning in *expected*, such as ``missing``."""
    place: dict[str, Any] = {}
    while (page := call(operation, doing=doing, expected=expected, **parameters, **place)) is not None:
        yield page
        following = {parameter: page[name] for name, parameter in _NEXT_PAGE.items() if page.get(name)}
        # Some emulators return the same page token again.
        if not following or following == place or not page.get("IsTruncated", True):
            return
        place = following


class Caller:
    """Runs operations of one botocore client by name."""

    def __init__(self, client: Any, *, repeats: bool = True, sleep: Callable[[float], None] = time.sleep) -> None:
        """
        Use the botocore *client*, and wait with *sleep* before each retry.

        If *repeats* is false, do not retry after a truncated response, because AWS may have carried out the request.
        """
        self._client = client
        self._partial_attempts = _PARTIAL_ATTEMPTS if repeats else 1
        self._service: str = client.meta.service_model.service_name
        self._sleep = sleep

    @property
    def region(self) -> str:
        """The client's region."""
        return str(self._client.meta.region_name)

    def __call__(
        self, operation: str, *, doing: str, expected: frozenset[str] = frozenset(), **parameters: Any
    ) -> dict[str, Any] | None:
        """
        Return the response of *operation*, or ``None`` if AWS returns an error with a meaning in *expected*, such as ``missing``.

        *doing* is an infinitive that completes "cannot …" in error messages. Raises the subclass of `AwsError` that matches the
        failure, or `ConfigError` if the AWS configuration is invalid.
        """
        return self._repeatedly(lambda method: method(**parameters), operation, doing, expected)

    def read(
        self,
        operation: str,
        *,
        doing: str,
        expected: frozenset[str] = frozenset(),
        most: int | None = None,
        **parameters: Any,
    ) -> bytes | None:
        """
        Return the body of *operation*'s response, or ``None`` if AWS returns an error with a meaning in *expected*.

        Return empty bytes, without reading the body, if the body is longer than *most* bytes. Raises the same errors as `__call__`.
        """

        def ask(method: Callable[..., Any]) -> dict[str, Any]:
            response = method(**parameters)
            # `with body:` would yield the raw stream, which does not check the announced length.
            with closing(response["Body"]) as body:
                return {"content": b"" if most is not None and response["ContentLength"] > most else body.read()}

        response = self._repeatedly(ask, operation, doing, expected)
        return None if response is None else bytes(response["content"])

    def _repeatedly(
        self,
        ask: Callable[[Callable[..., Any]], dict[str, Any]],
        operation: str,
        doing: str,
        expected: frozenset[str],
    ) -> dict[str, Any] | None:
        from botocore import exceptions, xform_name
        from botocore.parsers import ResponseParserError

        method = getattr(self._client, xform_name(operation))
        for attempt in range(_ATTEMPTS):
            first_wait = _FIRST_WAIT_SECONDS
            try:
                return ask(method)
            except exceptions.ClientError as error:
                kind = meaning(error.response.get("Error", {}).get("Code", ""))
                if kind is not None and kind in expected:
                    return None
                if kind != "conflict" or attempt == _ATTEMPTS - 1:
                    raise _refused(error, kind, self._service, operation, doing) from error
            except (exceptions.IncompleteReadError, exceptions.ResponseStreamingError) as error:
                if attempt >= self._partial_attempts - 1:
                    raise UnreachableError(
                        f"cannot {doing}: the response from `{self._service}` is incomplete",
                        hint="check the network connection and any proxy between this machine and AWS, and run again",
                    ) from error
                first_wait = _PARTIAL_FIRST_WAIT_SECONDS
            except exceptions.BotoCoreError as error:
                raise failed(error, self._service, doing) from error
            except ResponseParserError as error:
                # Not a subclass of BotoCoreError, although only botocore raises it. A proxy probably sent the response.
                raise UnreachableError(
                    f"cannot {doing}: the response to the request to `{self._service}` is not from AWS",
                    hint="check whether a proxy answers instead of AWS, and check `AWS_ENDPOINT_URL`",
                ) from error
            # Jitter keeps two clients that collided from colliding again.
            self._sleep(first_wait * 2**attempt * random.uniform(0.5, 1))  # noqa: S311
        raise AssertionError(operation)  # pragma: no cover - the last attempt returns or raises


def whole(operation_model: Any, response_dict: dict[str, Any], **_: object) -> None:
    """
    Raise botocore's `IncompleteReadError` if a response body is shorter than its Content-Length.

    This is a handler for botocore's event ``before-parse``. botocore itself parses a truncated JSON response as an empty one.
    """
    from botocore.exceptions import IncompleteReadError

    body = response_dict.get("body")
    announced = response_dict["headers"].get("content-length", "")
    if operation_model.http.get("method") == "HEAD" or not isinstance(body, bytes) or not announced.isdigit():
        return
    if len(body) < int(announced):
        raise IncompleteReadError(actual_bytes=len(body), expected_bytes=int(announced))


def _refused(error: ClientError, kind: str | None, service: str, operation: str, doing: str) -> AwsError:  # noqa: PLR0911 - one return for each kind
    details = error.response.get("Error", {})
    code, said = details.get("Code", ""), details.get("Message", "")
    if kind == "denied":
        return _denied(actions(service, operation), said, doing)
    if kind == "expired":
        return ExpiredCredentialsError(
            f"cannot {doing}: the AWS credentials have expired", hint="sign in again, for example: `aws sso login`"
        )
    if kind == "skewed" or any(words in said for words in _SKEWED_WORDS):
        return ClockSkewError(
            f"cannot {doing}: this machine's clock differs too much from AWS's clock",
            hint="set this machine's clock: AWS rejects requests if the clock is wrong by several minutes",
        )
    if kind == "unknown":
        return CredentialsError(
            f"cannot {doing}: AWS does not recognise the credentials",
            hint="check `AWS_PROFILE`; or set `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN` from the same sign-in",
        )
    if kind == "no-bucket":
        return MissingBucketError(
            f"cannot {doing}: the bucket does not exist",
            hint="create the bucket, or set another one: `bucket` in `[tool.lamina.publish]`, or `store` for the team store",
        )
    if kind == "elsewhere":
        return WrongRegionError(
            f"cannot {doing}: the bucket is in another region",
            hint="set a bucket in the same region as the functions, because Lambda cannot read code from another region",
        )
    if kind == "throttled":
        return ThrottledError(
            f"cannot {doing}: AWS throttles `{service}:{operation}`",
            hint="wait a minute and run again; lamina does not repeat completed steps",
        )
    if code in _INTEGRITY_CODES:
        return IntegrityError(
            f"cannot {doing}: AWS received different content than lamina sent",
            hint="run again; if a file changed during the upload, run `lamina build` first",
        )
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return UnavailableError(
            f"cannot {doing}: `{service}:{operation}` failed in AWS with HTTP status {status}",
            hint="wait a minute and run again; lamina does not repeat completed steps",
        )
    return AwsError(
        f"cannot {doing}: {_sentence(said) or code}",
        hint=f"look up the error code `{code}` in the AWS documentation of `{service}:{operation}`",
    )


def _denied(needed: tuple[str, ...], said: str, doing: str) -> MissingPermissionError:
    words = said.split("not authorized to perform: ", 1)
    # Most services name the missing action; S3 often does not.
    named = words[1].split(" ", 1)[0].rstrip(".,") if len(words) == 2 else ""
    missing = (named,) if named else needed
    listed = " and ".join(f"`{action}`" for action in missing)
    return MissingPermissionError(
        f"AWS denied permission to {doing}: {listed} is not allowed"
        if len(missing) == 1
        else f"AWS denied permission to {doing}: at least one of {listed} is not allowed",
        actions=missing,
        hint='allow the action in the policy of your role or user; the page "The IAM policies" of the documentation has the full policy',
    )


def failed(error: BotoCoreError, service: str, doing: str) -> AwsError | ConfigError:  # noqa: PLR0911 - one return for each kind
    """Return lamina's error for a botocore *error* that occurred before AWS responded. *doing* completes "cannot …"."""
    from botocore import exceptions

    if isinstance(error, exceptions.NoCredentialsError):
        return CredentialsError(
            f"cannot {doing}: no AWS credentials found",
            hint=SIGN_IN,
        )
    if isinstance(error, exceptions.PartialCredentialsError):
        return CredentialsError(
            f"cannot {doing}: the AWS credentials are incomplete",
            hint="set both `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`, or define both in the profile",
        )
    if isinstance(error, exceptions.InvalidRegionError):
        return ConfigError(
            f"cannot {doing}: the AWS configuration has an invalid region name",
            hint="check `AWS_REGION`, `AWS_DEFAULT_REGION` and the profile",
        )
    if isinstance(error, exceptions.ConfigParseError | exceptions.InvalidConfigError):
        return ConfigError(
            f"cannot {doing}: the AWS configuration is invalid", hint="check `~/.aws/config` and `~/.aws/credentials`"
        )
    if isinstance(error, exceptions.TokenRetrievalError | exceptions.UnauthorizedSSOTokenError):
        return ExpiredCredentialsError(
            f"cannot {doing}: the AWS sign-in has expired", hint="sign in again: `aws sso login`"
        )
    if isinstance(error, exceptions.CredentialRetrievalError):
        return CredentialsError(
            f"cannot {doing}: getting the AWS credentials failed",
            hint="check the settings of the AWS profile, such as `credential_process`",
        )
    if isinstance(error, exceptions.HTTPClientError | exceptions.ConnectionError):
        return UnreachableError(
            f"cannot {doing}: no connection to `{service}`",
            hint="check the network connection, the region and `AWS_ENDPOINT_URL`",
        )
    if isinstance(error, exceptions.ParamValidationError | exceptions.UnknownServiceError):
        return AwsError(
            f"cannot {doing}: the installed botocore does not accept the request",
            hint="upgrade boto3 and botocore: `pip install --upgrade boto3 botocore`",
        )
    return AwsError(
        f"cannot {doing}: botocore failed with `{type(error).__name__}`",
        hint="run again with `-v` to see the traceback",
    )


def _sentence(said: str) -> str:
    return " ".join(said.split()).rstrip(".")
