"""
Call AWS through a botocore client, and convert botocore's exceptions to lamina's errors. No other module converts them.

botocore retries throttling, 5xx responses and dropped connections (standard mode, with a limit). This module also retries
truncated responses, and requests that conflict with another change, because botocore retries neither.
Error messages never contain any part of a request, its signature or its credentials.
"""

from __future__ import annotations

import os
import random
import re
import shlex
import time
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Protocol

from lamina.aws.api.facts import actions, meaning
from lamina.core import urls
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
from lamina.core.toml import read_data

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from botocore.exceptions import ClientError

SIGN_IN = "sign in, for example with `aws sso login`, or set `AWS_PROFILE`"
"""The hint if there are no credentials."""

_ATTEMPTS = 6
_FIRST_WAIT_SECONDS = 0.2
_PARTIAL_ATTEMPTS = 4
_PARTIAL_FIRST_WAIT_SECONDS = 0.05
_SKEWED_WORDS = ("Signature expired", "Signature not yet current")
_PROXY_HINT = "check whether a proxy answers instead of AWS, and check `AWS_ENDPOINT_URL`"
_MOST_PAGES = 10_000
"""More pages than any list of an account has; a server that is not AWS may never end one."""
_CONTAINERS = {"structure": dict, "map": dict, "list": list}
_DECODED = frozenset({"TemplateBody"})
"""Members of type string that botocore decodes if they are JSON."""
_INTEGRITY_CODES = frozenset({"BadDigest", "InvalidDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch"})

# Maps the response field that identifies the next page to the request parameter that selects that page.
_NEXT_PAGE = {
    "NextMarker": "Marker",
    "NextToken": "NextToken",
    "nextToken": "nextToken",
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
    seen: list[dict[str, Any]] = []
    while (page := call(operation, doing=doing, expected=expected, **parameters, **place)) is not None:
        yield page
        place = {parameter: page[name] for name, parameter in _NEXT_PAGE.items() if page.get(name)}
        # Some emulators return the same page token again.
        if not place or place in seen or not page.get("IsTruncated", True):
            return
        seen.append(place)
        if len(seen) == _MOST_PAGES:
            raise UnreachableError(f"cannot {doing}: the list has more than {_MOST_PAGES:,} pages", hint=_PROXY_HINT)


# What botocore and readers raise for a response with headers or a body that no AWS service sends, such as two lengths.
_UNPARSED = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


@contextmanager
def parsing(service: str, doing: str) -> Iterator[None]:
    """Convert what fails if a value in a response of *service*, such as a time, has another form to an `UnreachableError`."""
    try:
        yield
    except _UNPARSED as error:
        raise _not_from_aws(service, doing) from error


def _not_from_aws(service: str, doing: str) -> UnreachableError:
    # A proxy probably sent the response.
    return UnreachableError(
        f"cannot {doing}: the response to the request to `{service}` is not from AWS", hint=_PROXY_HINT
    )


class Structure(dict[str, Any]):
    """A structure in a response of AWS. Reading a member that is missing raises `UnreachableError`."""

    def __init__(self, members: Mapping[str, Any], service: str, doing: str) -> None:
        """Hold *members*. The error names the *service*; *doing* completes "cannot …"."""
        super().__init__(members)
        self._service = service
        self._doing = doing

    def __missing__(self, name: str) -> Any:
        raise _not_from_aws(self._service, self._doing) from KeyError(name)


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
        shape = self._client.meta.service_model.operation_model(operation).output_shape

        def ask(method: Callable[..., Any]) -> dict[str, Any]:
            response: dict[str, Any] = method(**parameters)
            return response if shape is None else self._checked(response, shape, doing)

        return self._repeatedly(ask, operation, doing, expected)

    def _checked(self, value: Any, shape: Any, doing: str) -> Any:
        """
        Return *value*, a part of a response, with each structure in it as an `Structure`.

        Raises TypeError if a list, map, structure or simple value is not one. botocore checks that only in part.
        """
        expected = _CONTAINERS.get(shape.type_name)
        if getattr(shape, "is_document_type", False) or getattr(shape, "is_eventstream_output", False):
            return value
        if expected is None:
            if value is None or isinstance(value, list | dict):
                raise TypeError(shape.name)
            return str(value) if shape.type_name == "string" else value
        if not isinstance(value, expected):
            raise TypeError(shape.name)
        if shape.type_name == "list":
            return [self._checked(each, shape.member, doing) for each in value]
        if shape.type_name == "map":
            return {str(key): self._checked(each, shape.value, doing) for key, each in value.items()}
        known = {name: each for name, each in shape.members.items() if name not in _DECODED}
        members = {
            name: self._checked(each, known[name], doing) if name in known else each for name, each in value.items()
        }
        return Structure(members, self._service, doing)

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
        from urllib3.exceptions import HTTPError

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
                    raise refused(error, self._service, operation, doing) from error
            except (exceptions.IncompleteReadError, exceptions.ResponseStreamingError) as error:
                if attempt >= self._partial_attempts - 1:
                    raise UnreachableError(
                        f"cannot {doing}: the response from `{self._service}` is incomplete",
                        hint="check the network connection and any proxy between this machine and AWS, and run again",
                    ) from error
                first_wait = _PARTIAL_FIRST_WAIT_SECONDS
            except exceptions.BotoCoreError as error:
                raise failed(error, f"`{self._service}`", doing) from error
            except (ResponseParserError, HTTPError, *_UNPARSED) as error:
                # Not subclasses of BotoCoreError.
                raise _not_from_aws(self._service, doing) from error
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


def refused(error: ClientError, service: str, operation: str, doing: str) -> AwsError | ConfigError:  # noqa: PLR0911 - one return for each kind
    """Return lamina's error for AWS's response *error* to *operation* of *service*. *doing* completes "cannot …"."""
    details = error.response.get("Error", {})
    code, said = _sentence(str(details.get("Code", ""))), str(details.get("Message", ""))
    kind = meaning(code)
    if kind == "denied":
        return _denied(actions(service, operation), said, doing)
    if kind == "expired":
        return ExpiredCredentialsError(
            f"cannot {doing}: the AWS credentials have expired",
            hint=f"sign in again, for example: `{with_profile(_SSO)}`",
        )
    if kind == "skewed" or any(words in said for words in _SKEWED_WORDS):
        return ClockSkewError(
            f"cannot {doing}: this machine's clock differs too much from AWS's clock",
            hint="set this machine's clock: AWS rejects requests if the clock is wrong by several minutes",
        )
    if kind in _REFUSALS:
        found = _REFUSALS[kind]
        return found.kind(f"cannot {doing}: {found.fact}", hint=found.hint)
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
    if not code:
        return _not_from_aws(service, doing)
    return AwsError(
        f"cannot {doing}: {_sentence(said) or code}",
        hint=f"look up the error code `{code}` in the AWS documentation of `{service}:{operation}`",
    )


def _denied(needed: tuple[str, ...], said: str, doing: str) -> MissingPermissionError:
    # Most services name the missing action and its resource; S3 often does not.
    named = _NOT_AUTHORIZED.search(said)
    missing = needed if named is None else (named["action"],)
    listed = " and ".join(f"`{action}`" for action in missing)
    if named is not None and named["resource"]:
        listed += f" on `{named['resource']}`"
    return MissingPermissionError(
        f"AWS denied permission to {doing}: {listed} is not allowed"
        if len(missing) == 1
        else f"AWS denied permission to {doing}: at least one of {listed} is not allowed",
        actions=missing,
        hint='allow the action in the policy of your role or user; the page "IAM policies for lamina" of the documentation has the full policy',
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Failure:
    """How lamina reports an exception class of botocore."""

    kind: type[AwsError | ConfigError]
    fact: str | None = None
    """The fact, with ``{service}`` for the service; ``None`` for botocore's own text."""
    hint: str
    command: str | None = None
    """A command of the AWS CLI at the end of the hint, without ``--profile``."""

    def advice(self) -> str:
        return self.hint if self.command is None else f"{self.hint}: `{with_profile(self.command)}`"


# By the meanings of AWS's error codes.
_REFUSALS = {
    "unknown": _Failure(
        kind=CredentialsError,
        fact="AWS does not recognise the credentials",
        hint="check `AWS_PROFILE`; or set `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN` from the same sign-in",
    ),
    "no-bucket": _Failure(
        kind=MissingBucketError,
        fact="the bucket does not exist",
        hint="create the bucket, or set another one: `bucket` in `[tool.lamina.publish]`, or `store` for the team store",
    ),
    "elsewhere": _Failure(
        kind=WrongRegionError,
        fact="the bucket is in another region",
        hint="set a bucket in the same region as the functions, because Lambda cannot read code from another region",
    ),
    "storage-full": _Failure(
        kind=AwsError,
        fact="the account's storage for code is full in this region",
        hint="list the layer versions that nothing uses, then delete them: `lamina prune`; versions of functions need storage too",
    ),
    "unsigned": _Failure(
        kind=AwsError,
        fact="the function accepts only signed code, and lamina does not sign code",
        hint="deploy this function with a tool that signs its code, or let its code signing configuration only warn: "
        "`aws lambda list-code-signing-configs`",
    ),
}
_NOT_AUTHORIZED = re.compile(
    r"not authorized to perform: (?P<action>[\w:-]+\w)(?: on resource: (?P<resource>arn:[^\s,;]+[^\s,;.]))?"
)
_SSO = "aws sso login"
_CONFIGURATION = _Failure(
    kind=ConfigError,
    hint="check `~/.aws/config`, `~/.aws/credentials` and the environment variables that start with `AWS_`",
)
_OUTDATED = _Failure(
    kind=AwsError,
    fact="the installed botocore does not accept the request",
    hint="upgrade boto3 and botocore: `pip install --upgrade boto3 botocore`",
)
_CONNECTION = _Failure(
    kind=UnreachableError,
    fact="no connection to {service}",
    hint="check the network connection, the region and `AWS_ENDPOINT_URL`",
)
# By the names of botocore's exception classes, because older versions lack some. The most specific class of an exception decides.
_FAILURES = {
    "NoCredentialsError": _Failure(kind=CredentialsError, fact="no AWS credentials found", hint=SIGN_IN),
    "PartialCredentialsError": _Failure(
        kind=CredentialsError, hint="add what is missing to the AWS profile or to the environment"
    ),
    "InvalidRegionError": _Failure(
        kind=ConfigError,
        fact="the AWS configuration has an invalid region name",
        hint="check `AWS_REGION`, `AWS_DEFAULT_REGION` and the profile",
    ),
    "ConfigParseError": _CONFIGURATION,
    "InvalidConfigError": _CONFIGURATION,
    "SSOTokenLoadError": _Failure(
        kind=CredentialsError,
        fact="not signed in on this machine",
        hint="sign in",
        command=_SSO,
    ),
    "UnauthorizedSSOTokenError": _Failure(
        kind=ExpiredCredentialsError, fact="the AWS sign-in has expired", hint="sign in again", command=_SSO
    ),
    "TokenRetrievalError": _Failure(
        kind=ExpiredCredentialsError, fact="the AWS sign-in has expired", hint="sign in again", command=_SSO
    ),
    "SSOError": _Failure(kind=CredentialsError, hint="sign in again", command=_SSO),
    "LoginRefreshRequired": _Failure(
        kind=ExpiredCredentialsError, fact="the AWS sign-in has expired", hint="sign in again", command="aws login"
    ),
    "LoginError": _Failure(kind=CredentialsError, hint="sign in again", command="aws login"),
    "MissingDependencyException": _Failure(
        kind=ConfigError, hint="install it in the environment of lamina: `pip install 'botocore[crt]'`"
    ),
    "SSLError": _Failure(
        kind=UnreachableError,
        fact="the certificate of {service} is not trusted",
        hint="if a proxy inspects TLS connections, set `AWS_CA_BUNDLE`, or `ca_bundle` in the AWS profile, to a file with its certificate",
    ),
    "ProxyConnectionError": _Failure(
        kind=UnreachableError,
        fact="no connection to the proxy",
        hint="check `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`",
    ),
    "HTTPClientError": _Failure(kind=UnreachableError, hint=_CONNECTION.hint),
    "ConnectionClosedError": _CONNECTION,
    "ReadTimeoutError": _CONNECTION,
    "ConnectionError": _CONNECTION,
    "ParamValidationError": _OUTDATED,
    "UnknownServiceError": _OUTDATED,
}


def failed(
    error: Exception,
    service: str,
    doing: str,
    *,
    otherwise: type[AwsError | ConfigError] = AwsError,
    advice: str | None = None,
) -> AwsError | ConfigError:
    """
    Return lamina's error for an *error* that botocore raised before *service* responded. *doing* completes "cannot …".

    If lamina has no text of its own for the class of *error*, the result is an *otherwise* error with botocore's text and *advice* as its
    hint. A request that botocore rejects counts as such if there is *advice*, because then lamina did not make the request.
    """
    names = [each.__name__ for each in type(error).__mro__]
    failure = next((_FAILURES[name] for name in names if name in _FAILURES), None)
    if failure is None or (failure is _OUTDATED and advice is not None):
        failure = _Failure(kind=otherwise, hint=advice or _CONFIGURATION.hint)
    # The text of some errors starts with the source, which *doing* already names.
    text = str(getattr(error, "kwargs", {}).get("error_msg") or error)
    said = without_secrets(text) if failure.fact is None else failure.fact.format(service=service)
    hint = failure.advice()
    if failure is _CONNECTION and advice is not None:
        hint = f"{hint}\n{advice}"
    if failure.kind is ConfigError and failure.fact is None and (variable := _variable(text)):
        hint = f"set {variable} to a valid value, or unset it"
    return failure.kind(f"cannot {doing}: {said}", hint=hint)


def _variable(text: str) -> str:
    """Return the environment variable of the setting whose name or value is in botocore's *text*; empty if no variable sets it."""
    from botocore.configprovider import BOTOCORE_DEFAUT_SESSION_VARIABLES

    found = {}
    for name, (_, variable, *_rest) in BOTOCORE_DEFAUT_SESSION_VARIABLES.items():
        value = os.environ.get(variable) if isinstance(variable, str) and name not in _NEVER_INVALID else None
        # A number may be in a text for another reason.
        pattern = rf"(?<![\w.-]){re.escape(value)}(?![\w-])" if value and not value.isdigit() else "(?!)"
        if value and (name in text or re.search(pattern, text)):
            found[variable] = name in text
    return next((f"`{variable}`" for variable in sorted(found, key=lambda each: not found[each])), "")


def with_profile(command: str) -> str:
    """Return *command* of the AWS CLI with the option that names the profile in use, if the environment names one."""
    profile = os.environ.get("AWS_DEFAULT_PROFILE") or os.environ.get("AWS_PROFILE")
    return command if not profile else f"{command} --profile {shlex.quote(profile)}"


_NEVER_INVALID = frozenset({"region", "config_file", "credentials_file", "data_path"})
"""Settings whose values occur in texts about other settings."""
_SECRET_VARIABLES = re.compile(r"AWS_.*(SECRET|TOKEN|ACCESS_KEY)(?!.*(FILE|URI))")
_USERINFO = urls.USERINFO
_QUERY = re.compile(r"(?<=\S)\?[^\s'\"`]+")
# A word with digits and letters of both cases that is neither a path nor a name with punctuation, as keys and tokens are.
_TOKEN = re.compile(
    r"(?<![\w/.~+=-])(?=[^\s'\"`,;:]*[0-9])(?=[^\s'\"`,;:]*[a-z])(?=[^\s'\"`,;:]*[A-Z])[A-Za-z0-9+=_-][A-Za-z0-9+/=_.-]{19,}"
    r"|\b(?:AKIA|ASIA)[A-Z0-9]{12,}"
)
_AUTHORIZATION = re.compile(r"\b(Bearer|Basic)(\s+)[^\s'\"`]+", re.IGNORECASE)
_VALUE = r"""(?:"[^"]*"|'[^']*'|`[^`]*`|[^\s'"`,;][^\s'"`]*)"""
_MOST_CHARACTERS = 400
_LEAST_SECRET = 8
"""Shorter values, such as those of emulators, are words of ordinary texts."""


def without_secrets(text: str) -> str:
    """Return another program's *text* as one line, without what is or may be a secret: credentials, tokens, userinfo and queries of URLs."""
    for name, value in os.environ.items():
        if len(value) >= _LEAST_SECRET and _SECRET_VARIABLES.fullmatch(name) is not None:
            text = text.replace(value, "…")
    known, named = _secrets()
    for pattern in (_USERINFO, _QUERY, _TOKEN, known):
        text = pattern.sub("…", text)
    text = named.sub(r"\g<name>…", _AUTHORIZATION.sub(r"\1\2…", text))
    return _sentence(text)[:_MOST_CHARACTERS]


@cache
def _secrets() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Return a pattern of tokens with a known prefix, and one of named values such as ``password=…``; its group ``name`` precedes the value."""
    data = read_data("tokens.toml")
    known = re.compile(rf"(?<![A-Za-z0-9])(?:{'|'.join(map(re.escape, data['prefixes']))})[\w.~+/=-]{{8,}}")
    name = rf"[\w.-]*(?:{'|'.join(data['words'])})s?(?:[_-]?\d+)?"
    return known, re.compile(
        rf"(?P<name>(?<![\w.-])(?:-{name}\s+|{name}[\"'`]?\s*(?:=>|:=|[:=])\s*)){_VALUE}", re.IGNORECASE
    )


def _sentence(said: str) -> str:
    return " ".join(said.split()).rstrip(".")
