"""
Make calls through a botocore client, and turn what goes wrong into lamina's errors: the only place that does.

botocore retries throttling, 5xx and dropped connections itself (standard mode, bounded); conflicts and answers that end too
early, both of which it takes for answers, are retried here. Nothing of a request, its signature or its credentials enters a message.
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

_ATTEMPTS = 6
_FIRST_WAIT_SECONDS = 0.2
_PARTIAL_ATTEMPTS = 4
_PARTIAL_FIRST_WAIT_SECONDS = 0.05
_SKEWED_WORDS = ("Signature expired", "Signature not yet current")
_INTEGRITY_CODES = frozenset({"BadDigest", "InvalidDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch"})

# By what a response says of the page after it, the parameter that asks for that.
_NEXT_PAGE = {
    "NextMarker": "Marker",
    "NextToken": "NextToken",
    "NextContinuationToken": "ContinuationToken",
    "NextKeyMarker": "KeyMarker",
    "NextUploadIdMarker": "UploadIdMarker",
}


class Call(Protocol):
    """Calls operations of one service by name; `Caller` does."""

    def __call__(
        self, operation: str, *, doing: str, expected: frozenset[str] = frozenset(), **parameters: Any
    ) -> dict[str, Any] | None:
        """Return the response of *operation*, or nothing for a refusal whose meaning is *expected*."""


def pages(
    call: Call, operation: str, *, doing: str, expected: frozenset[str] = frozenset(), **parameters: Any
) -> Iterator[dict[str, Any]]:
    """Yield the responses of *operation*, page by page; none for a refusal whose meaning is *expected*."""
    place: dict[str, Any] = {}
    while (page := call(operation, doing=doing, expected=expected, **parameters, **place)) is not None:
        yield page
        following = {parameter: page[name] for name, parameter in _NEXT_PAGE.items() if page.get(name)}
        # An emulator may name the same page again.
        if not following or following == place or not page.get("IsTruncated", True):
            return
        place = following


class Caller:
    """One client's operations, by name."""

    def __init__(self, client: Any, *, repeats: bool = True, sleep: Callable[[float], None] = time.sleep) -> None:
        """Call through *client*; wait with *sleep*. Without *repeats*, what may have been done is not asked for again."""
        self._client = client
        self._partial_attempts = _PARTIAL_ATTEMPTS if repeats else 1
        self._service: str = client.meta.service_model.service_name
        self._sleep = sleep

    @property
    def region(self) -> str:
        """The client's."""
        return str(self._client.meta.region_name)

    def __call__(
        self, operation: str, *, doing: str, expected: frozenset[str] = frozenset(), **parameters: Any
    ) -> dict[str, Any] | None:
        """
        Return the response of *operation*, or nothing for a refusal whose meaning is *expected*.

        *doing* completes "AWS does not allow to …". Raises AwsError of the kind that fits.
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
        Return the content that *operation* answers with, as above; it is asked for again where it ends too early.

        Of a content of more than *most* bytes nothing is read, and none of it returned.
        """

        def ask(method: Callable[..., Any]) -> dict[str, Any]:
            response = method(**parameters)
            # Entered by itself, a body is what it reads from, which does not know how much there should be.
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
                        f"Cannot {doing}: the answers of `{self._service}` end too early",
                        hint="look at the network, and at proxies on the way",
                    ) from error
                first_wait = _PARTIAL_FIRST_WAIT_SECONDS
            except exceptions.BotoCoreError as error:
                raise failed(error, self._service, doing) from error
            except ResponseParserError as error:
                # It is no BotoCoreError, though only botocore raises it: something between here and AWS answered.
                raise UnreachableError(
                    f"Cannot {doing}: what answers for `{self._service}` does not speak as AWS does",
                    hint="look at the network, a proxy on the way, AWS_ENDPOINT_URL",
                ) from error
            # Jitter, so that two that collided do not collide again.
            self._sleep(first_wait * 2**attempt * random.uniform(0.5, 1))  # noqa: S311
        raise AssertionError(operation)  # pragma: no cover - the last attempt returns or raises


def whole(operation_model: Any, response_dict: dict[str, Any], **_: object) -> None:
    """
    Raise botocore's IncompleteReadError for an answer that ends before its announced length; a handler of ``before-parse``.

    botocore asks nobody to check that, and takes half an answer in JSON for one that says nothing.
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
            f"Cannot {doing}: the AWS credentials have expired", hint="sign in again, such as with: aws sso login"
        )
    if kind == "skewed" or any(words in said for words in _SKEWED_WORDS):
        return ClockSkewError(
            f"Cannot {doing}: this machine's clock is too far from AWS's",
            hint="set the clock; AWS takes requests that are signed within minutes of its own time",
        )
    if kind == "unknown":
        return CredentialsError(
            f"Cannot {doing}: AWS does not know these credentials",
            hint="look at AWS_PROFILE, AWS_ACCESS_KEY_ID and AWS_SESSION_TOKEN, and whether they belong together",
        )
    if kind == "no-bucket":
        return MissingBucketError(f"Cannot {doing}: there is no such bucket", hint="create it, or configure another")
    if kind == "elsewhere":
        return WrongRegionError(
            f"Cannot {doing}: the bucket is in another region", hint="Lambda takes code from buckets of its own region"
        )
    if kind == "throttled":
        return ThrottledError(
            f"Cannot {doing}: AWS throttles `{service}:{operation}`, after all attempts",
            hint="wait a minute and run again: what was done is not done again",
        )
    if code in _INTEGRITY_CODES:
        return IntegrityError(
            f"Cannot {doing}: what arrived is not what was sent", hint="run again; if the build changed, build again"
        )
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return UnavailableError(
            f"Cannot {doing}: `{service}:{operation}` fails on AWS's side with status {status}, after all attempts",
            hint="wait a minute and run again: what was done is not done again",
        )
    return AwsError(f"Cannot {doing}: {_sentence(said) or code}", hint=f"`{service}:{operation}` answered `{code}`")


def _denied(needed: tuple[str, ...], said: str, doing: str) -> MissingPermissionError:
    words = said.split("not authorized to perform: ", 1)
    # AWS mostly names the one that is missing; S3 often does not.
    named = words[1].split(" ", 1)[0].rstrip(".,") if len(words) == 2 else ""
    missing = (named,) if named else needed
    listed = " and ".join(f"`{action}`" for action in missing)
    return MissingPermissionError(
        f"AWS does not allow to {doing}: {listed} is missing"
        if len(missing) == 1
        else f"AWS does not allow to {doing}: one of {listed} is missing",
        actions=missing,
        hint="add it to the policy of the role or user; all that lamina needs: docs/reference/iam-policy.md",
    )


def failed(error: BotoCoreError, service: str, doing: str) -> AwsError | ConfigError:  # noqa: PLR0911 - one return for each kind
    """Return the error to raise for *error*, because of which nothing was answered; *doing* completes "Cannot …"."""
    from botocore import exceptions

    if isinstance(error, exceptions.NoCredentialsError):
        return CredentialsError(
            f"Cannot {doing}: there are no AWS credentials",
            hint="sign in, such as with aws sso login, or set AWS_PROFILE",
        )
    if isinstance(error, exceptions.PartialCredentialsError):
        return CredentialsError(
            f"Cannot {doing}: the AWS credentials are incomplete",
            hint="an access key has an id and a secret: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or both in the profile",
        )
    if isinstance(error, exceptions.InvalidRegionError):
        return ConfigError(
            f"Cannot {doing}: the region of the AWS configuration is no region's name",
            hint="look at AWS_REGION, AWS_DEFAULT_REGION and the profile",
        )
    if isinstance(error, exceptions.ConfigParseError | exceptions.InvalidConfigError):
        return ConfigError(
            f"Cannot {doing}: the AWS configuration cannot be read", hint="look at ~/.aws/config and ~/.aws/credentials"
        )
    if isinstance(error, exceptions.TokenRetrievalError | exceptions.UnauthorizedSSOTokenError):
        return ExpiredCredentialsError(
            f"Cannot {doing}: the AWS sign-in has expired", hint="sign in again: aws sso login"
        )
    if isinstance(error, exceptions.CredentialRetrievalError):
        return CredentialsError(
            f"Cannot {doing}: the program that provides AWS credentials failed", hint="look at the profile's settings"
        )
    if isinstance(error, exceptions.HTTPClientError | exceptions.ConnectionError):
        return UnreachableError(
            f"Cannot {doing}: `{service}` cannot be reached", hint="look at the network, the region, AWS_ENDPOINT_URL"
        )
    if isinstance(error, exceptions.ParamValidationError | exceptions.UnknownServiceError):
        return AwsError(
            f"Cannot {doing}: the installed botocore does not take the request",
            hint="it may be too old: pip install --upgrade 'lamina[aws]'",
        )
    return AwsError(f"Cannot {doing}: {type(error).__name__}", hint="run again with -v to see where it comes from")


def _sentence(said: str) -> str:
    return " ".join(said.split()).rstrip(".")
