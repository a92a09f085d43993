"""Errors from AWS as messages for people: the missing action, the clock or the sign-in, but never a credential."""

from __future__ import annotations

import io
import itertools
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore import exceptions
from botocore.awsrequest import AWSResponse
from botocore.parsers import ResponseParserError
from botocore.stub import Stubber
from urllib3.exceptions import ProtocolError

from emulators import knows_storage_mode
from lamina.aws.api import errors
from lamina.aws.api import session as clients
from lamina.aws.api.errors import Caller, failed, whole
from lamina.aws.api.facts import fits
from lamina.aws.api.functions import LambdaFunctions, S3Code, Storage
from lamina.aws.api.layers import LambdaLayers, Publication
from lamina.aws.api.s3 import S3Bucket
from lamina.aws.publish.bucket_policy import _statements
from lamina.core.errors import (
    AwsError,
    ClockSkewError,
    ConfigError,
    CredentialsError,
    ExpiredCredentialsError,
    IntegrityError,
    MissingBucketError,
    MissingExtraError,
    MissingPermissionError,
    PublishError,
    ThrottledError,
    UnavailableError,
    UnreachableError,
    WrongRegionError,
)
from lamina.core.installation import install_command

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
DOING = "do it"


def make_client(service: str) -> Any:
    return boto3.client(
        service, region_name="eu-west-1", aws_access_key_id="AKIAIOSFODNN7EXAMPLE", aws_secret_access_key=SECRET
    )


def refusal(code: str, message: str = "", *, service: str = "lambda", status: int = 400) -> AwsError:
    """Return the lamina error for an error response of the service."""
    client = make_client(service)
    call = Caller(client)
    with Stubber(client) as stubber:
        method = "list_layer_versions" if service == "lambda" else "head_object"
        stubber.add_client_error(method, service_error_code=code, service_message=message, http_status_code=status)
        operation = "ListLayerVersions" if service == "lambda" else "HeadObject"
        names: dict[str, Any] = {"LayerName": "x"} if service == "lambda" else {"Bucket": "bucket", "Key": "key"}
        with pytest.raises(AwsError) as caught:
            call(operation, doing=DOING, **names)
    assert SECRET not in f"{caught.value} {caught.value.hint} {caught.value.__cause__}"
    return caught.value


_UNSIGNED = "the function accepts only signed code, and lamina does not sign code"


@pytest.mark.parametrize(
    ("code", "message", "kind", "text"),
    [
        (
            "AccessDeniedException",
            "User: arn:aws:iam::1:user/u is not authorized to perform: lambda:ListLayerVersions on resource: x",
            MissingPermissionError,
            "AWS denied permission to do it: `lambda:ListLayerVersions` is not allowed",
        ),
        (
            "AccessDeniedException",
            "User: arn:aws:iam::1:user/u is not authorized to perform: lambda:GetLayerVersion on resource: "  # noqa: ISC004
            "arn:aws:lambda:eu-west-1:017000801446:layer:Powertools:7 because no identity-based policy allows the action",
            MissingPermissionError,
            "AWS denied permission to do it: `lambda:GetLayerVersion` on `arn:aws:lambda:eu-west-1:017000801446:layer:Powertools:7` is not allowed",
        ),
        ("ExpiredTokenException", "x", ExpiredCredentialsError, "cannot do it: the AWS credentials have expired"),
        (
            "RequestTimeTooSkewed",
            "x",
            ClockSkewError,
            "cannot do it: this machine's clock differs too much from AWS's clock",
        ),
        (
            "InvalidSignatureException",
            "Signature expired: 20261123T000000Z is now earlier than 20261123T010000Z",
            ClockSkewError,
            "cannot do it: this machine's clock differs too much from AWS's clock",
        ),
        (
            "UnrecognizedClientException",
            "x",
            CredentialsError,
            "cannot do it: AWS does not recognise the credentials",
        ),
        (
            "InvalidSignatureException",
            "The request signature we calculated does not match the signature you provided.",
            CredentialsError,
            "cannot do it: AWS does not recognise the credentials",
        ),
        (
            "TooManyRequestsException",
            "Rate exceeded",
            ThrottledError,
            "cannot do it: AWS throttles `lambda:ListLayerVersions`",
        ),
        ("InvalidParameterValueException", "Bad name.", AwsError, "cannot do it: Bad name"),
        ("ServiceException", "", AwsError, "cannot do it: ServiceException"),
        ("", "", UnreachableError, "cannot do it: the response to the request to `lambda` is not from AWS"),
        ("BadDigest", "x", IntegrityError, "cannot do it: AWS received different content than lamina sent"),
        *(
            (f"{code}Exception", "Code storage limit exceeded.", AwsError, f"cannot do it: {fact}")
            for code, fact in (
                ("CodeStorageExceeded", "the account's storage for code is full in this region"),
                ("CodeSigningConfigNotFound", _UNSIGNED),
                ("CodeVerificationFailed", _UNSIGNED),
                ("InvalidCodeSignature", _UNSIGNED),
            )
        ),
        ("NoSuchBucket", "x", MissingBucketError, "cannot do it: the bucket does not exist"),
        ("PermanentRedirect", "x", WrongRegionError, "cannot do it: the bucket is in another region"),
    ],
)
def test_refusals_are_worded(code: str, message: str, kind: type[AwsError], text: str) -> None:
    """Each kind of error response becomes one class, with a message and a hint."""
    error = refusal(code, message)

    assert kind is type(error)
    assert text == str(error)
    assert error.hint


def test_failure_on_the_other_side_is_told() -> None:
    """A 5xx response is reported as unavailable, because the request may or may not have been performed."""
    error = refusal("ServiceException", "x", status=500)

    assert UnavailableError is type(error)
    assert str(error) == "cannot do it: `lambda:ListLayerVersions` failed in AWS with HTTP status 500"


def test_denied_without_words_names_all_that_could_be_missing() -> None:
    """If the response has no message, as for HEAD requests to S3, the error lists all actions that may be missing."""
    error = refusal("403", service="s3", status=403)

    assert isinstance(error, MissingPermissionError)
    assert error.actions == ("s3:GetObject", "s3:ListBucket")
    assert (
        str(error)
        == "AWS denied permission to do it: at least one of `s3:GetObject` and `s3:ListBucket` is not allowed"
    )


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (exceptions.NoCredentialsError(), CredentialsError, "cannot do it: no AWS credentials found"),
        (
            exceptions.UnauthorizedSSOTokenError(),
            ExpiredCredentialsError,
            "cannot do it: the AWS sign-in has expired",
        ),
        (
            exceptions.CredentialRetrievalError(provider="process", error_msg=f"sealed: {SECRET}"),
            AwsError,
            "cannot do it: sealed: …",
        ),
        (
            exceptions.ReadTimeoutError(endpoint_url="https://x"),
            UnreachableError,
            "cannot do it: no connection to `lambda`",
        ),
        (
            exceptions.ParamValidationError(report="S3ObjectStorageMode"),
            AwsError,
            "cannot do it: the installed botocore does not accept the request",
        ),
        (exceptions.PaginationError(message="x"), AwsError, "cannot do it: Error during pagination: x"),
        (
            ValueError(f"invalid literal for int() with base 10: '7, {SECRET}'"),
            UnreachableError,
            "cannot do it: the response to the request to `lambda` is not from AWS",
        ),
        (
            ProtocolError(f"Connection broken: InvalidChunkLength(got length b'{SECRET}', 0 bytes read)"),
            UnreachableError,
            "cannot do it: the response to the request to `lambda` is not from AWS",
        ),
        (
            ResponseParserError(SECRET),
            UnreachableError,
            "cannot do it: the response to the request to `lambda` is not from AWS",
        ),
    ],
)
def test_failures_before_an_answer_are_worded(error: Exception, kind: type[AwsError], text: str) -> None:
    """Errors that botocore raises before a response become lamina's errors, without the secrets in their text."""
    client = make_client("lambda")

    def fail(**_: object) -> None:
        raise error

    client.meta.events.register("before-call", fail)
    with pytest.raises(AwsError) as caught:
        Caller(client)("ListLayerVersions", doing=DOING, LayerName="x")

    assert kind is type(caught.value)
    assert text == str(caught.value)
    assert SECRET not in str(caught.value.hint)


def test_a_missing_dependency_is_named() -> None:
    """A profile of `aws login` needs a package that only botocore's extra `crt` installs."""
    error = failed(exceptions.MissingDependencyException(msg="Using the login credential provider"), "AWS", DOING)

    assert (type(error), str(error)) == (
        ConfigError,
        "cannot do it: Missing Dependency: Using the login credential provider",
    )
    assert error.hint == "install it in the environment of lamina: `pip install 'botocore[crt]'`"


def test_an_error_of_aws_is_one_line() -> None:
    """Neither the code nor the message of an error, which another server may have sent, adds a line to the output."""
    error = refusal("Odd\n::error::x", "no\nway")

    assert ("cannot do it: no way", False) == (str(error), "\n" in str(error.hint))


def test_conflicts_are_retried_with_growing_waits() -> None:
    """A conflict is retried with growing pauses, because a concurrent change usually completes soon."""
    client = make_client("lambda")
    waits: list[float] = []
    with Stubber(client) as stubber:
        for _ in range(2):
            stubber.add_client_error("list_layer_versions", service_error_code="ResourceConflictException")
        stubber.add_response("list_layer_versions", {"LayerVersions": []})
        response = Caller(client, sleep=waits.append)("ListLayerVersions", doing=DOING, LayerName="x")

    assert response is not None
    assert len(waits) == 2
    assert 0.1 <= waits[0] <= 0.2 <= waits[1] <= 0.4


@pytest.mark.parametrize("repeats", [True, False])
def test_conflicts_are_not_retried_for_ever(repeats: bool) -> None:
    """A conflict fails after six attempts, also without repeats, because a rejected request was not performed."""
    client = make_client("lambda")
    waits: list[float] = []
    with Stubber(client) as stubber:
        for _ in range(6):
            stubber.add_client_error(
                "list_layer_versions", service_error_code="ResourceConflictException", service_message="In progress."
            )
        with pytest.raises(AwsError) as caught:
            Caller(client, repeats=repeats, sleep=waits.append)("ListLayerVersions", doing=DOING, LayerName="x")

    assert str(caught.value) == "cannot do it: In progress"
    assert len(waits) == 5


class Lines:
    """Returns prepared responses in order, in place of the network."""

    def __init__(self, *answers: tuple[int, bytes, int], service: str = "lambda") -> None:
        """Each answer is a status, a body, and the announced length in bytes."""
        self.answers = list(answers)
        self.client = make_client(service)
        self.client.meta.events.register("before-parse", whole)
        self.client.meta.events.register("before-send", self.answer)

    def answer(self, **_: object) -> AWSResponse:
        status, body, announced = self.answers.pop(0)
        return AWSResponse("http://localhost", status, {"Content-Length": str(announced)}, Body(body))


class Body(io.BytesIO):
    """The response body, as botocore reads it."""

    def stream(self) -> Iterator[bytes]:
        yield self.read()


WHOLE = b'{"LayerVersions": [{"Version": 1}]}'


def test_answer_that_ends_too_early_is_asked_for_again() -> None:
    """A truncated JSON response is retried, because botocore would parse it as empty."""
    lines = Lines((200, WHOLE[:10], len(WHOLE)), (200, WHOLE, len(WHOLE)))
    waits: list[float] = []
    response = Caller(lines.client, sleep=waits.append)("ListLayerVersions", doing=DOING, LayerName="x")

    assert response is not None
    assert [{"Version": 1}] == response["LayerVersions"]
    assert len(waits) == 1


def test_answers_that_end_too_early_are_told() -> None:
    """Truncated responses fail after four attempts, or after one if the request must not be repeated."""
    half = (200, WHOLE[:10], len(WHOLE))
    for repeats, asked in ((True, 4), (False, 1)):
        lines = Lines(*[half] * 5)
        with pytest.raises(UnreachableError) as caught:
            Caller(lines.client, repeats=repeats, sleep=lambda _: None)("ListLayerVersions", doing=DOING, LayerName="x")

        assert str(caught.value) == "cannot do it: the response from `lambda` is incomplete"
        assert len(lines.answers) == 5 - asked


def test_content_that_ends_too_early_is_asked_for_again() -> None:
    """A truncated body is retried, and a body over the size limit is not read."""
    answers = [(200, b"01234", 10), (200, b"0123456789", 10)]
    lines = Lines(*answers, answers[1], service="s3")
    call = Caller(lines.client, sleep=lambda _: None)

    assert call.read("GetObject", doing=DOING, Bucket="bucket", Key="key") == b"0123456789"
    assert call.read("GetObject", doing=DOING, most=9, Bucket="bucket", Key="key") == b""


DEEP = b"[" * 100_000
VERSION = b'{"Version": 1, "LayerVersionArn": "a", "CreatedDate": %s}'
HEAD = {"ETag": '"e"', "Last-Modified": "Mon, 23 Nov 2026 06:00:00 GMT", "Content-Length": "1"}


@pytest.mark.parametrize(
    "body",
    [
        *(b"{}", b"[]", b"5", b"<x>", DEEP, b'{"LayerVersions": null}', b'{"LayerVersions": [5]}'),
        *(b'{"LayerVersions": {"a": 1}}', b'{"LayerVersions": [{"Version": 1e999}]}', b'{"LayerVersions": [null]}'),
        b'{"LayerVersions": [%s]}' % (VERSION % b'"yesterday"'),
        b'{"LayerVersions": [%s]}' % (VERSION % b'{"a": 1}'),
    ],
    ids=lambda body: body[:60].decode(),
)
def test_a_list_of_another_form_is_not_from_aws(body: bytes) -> None:
    """A response without the members that lamina reads, or with members of other types, is an error that suggests a proxy."""
    lines = Lines((200, body, len(body)))
    with pytest.raises(UnreachableError) as caught:
        LambdaLayers(Caller(lines.client), knows_storage=True).versions("x")

    assert str(caught.value) == (
        "cannot list the versions of layer `x`: the response to the request to `lambda` is not from AWS"
    )
    assert str(caught.value.hint).startswith("check whether a proxy answers instead of AWS")


def test_other_responses_of_another_form_are_not_from_aws() -> None:
    """So is every other response that lamina reads, such as a policy that is not JSON, or one object without an ETag."""

    def layers(body: bytes) -> LambdaLayers:
        return LambdaLayers(Caller(Lines((200, body, len(body))).client), knows_storage=True)

    def bucket(**headers: str) -> S3Bucket:
        client = make_client("s3")
        client.meta.events.register(
            "before-send", lambda **_: AWSResponse("http://localhost", 200, HEAD | headers, Body(b""))
        )
        return S3Bucket(Caller(client), "b")

    def functions(body: bytes) -> LambdaFunctions:
        return LambdaFunctions(Caller(Lines((200, body, len(body))).client))

    asked: list[Callable[[], object]] = [
        lambda: layers(b"{}").version("x", 1),
        lambda: layers(b'{"Content": {"CodeSha256": "?", "CodeSize": 1}, "Version": 1}').version("x", 1),
        # Earlier versions of botocore know no other storage than a copy.
        lambda: layers(b"[]").publish(replace(PUBLICATION, code=S3Code(bucket="artifacts", key="k"))),
        lambda: layers(b'{"Policy": "no"}').granted("x", 1),
        lambda: layers(b'{"Policy": "[5]"}').granted("x", 1),
        lambda: functions(b'{"Layers": [{}]}').get("x"),
        lambda: functions(b"{}").alias("x", "live"),
        lambda: bucket(**{"Last-Modified": "now"}).head("k"),
        lambda: bucket(Date="now").head("k"),
        lambda: bucket(**{"x-amz-checksum-sha256": "?"}).head("k"),
        lambda: bucket().begin("k"),
        lambda: list(_statements("[5]")),
    ]
    for ask in asked:
        with pytest.raises(UnreachableError, match="is not from AWS"):
            ask()


def test_a_list_without_an_end_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages whose tokens repeat end the list; a server that never ends it is an error."""
    monkeypatch.setattr(errors, "_MOST_PAGES", 100)
    tokens = itertools.cycle("abc")
    turning = list(errors.pages(lambda *_, **__: {"NextMarker": next(tokens)}, "ListLayers", doing=DOING))
    assert 4 == len(turning)

    numbers = itertools.count()
    with pytest.raises(UnreachableError, match="more than 100 pages"):
        list(errors.pages(lambda *_, **__: {"NextMarker": str(next(numbers))}, "ListLayers", doing=DOING))


@pytest.mark.parametrize(("configured", "attempts"), [("2", 2), ("", 5)])
def test_attempts_are_those_of_the_configuration(
    monkeypatch: pytest.MonkeyPatch, configured: str, attempts: int
) -> None:
    """AWS_MAX_ATTEMPTS sets the number of attempts, except for publishing a version, which is never repeated blindly."""
    if configured:
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", configured)
    _set(monkeypatch, AWS_ACCESS_KEY_ID="AKIAIOSFODNN7EXAMPLE", AWS_SECRET_ACCESS_KEY=SECRET)
    session = clients._session("eu-west-1")
    repeated = clients._client(session, "lambda", observe=None)
    once = clients._client(session, "lambda", observe=None, attempts=1)

    assert [attempts, 1] == [each.meta.config.retries["total_max_attempts"] for each in (repeated, once)]


def test_attempts_that_are_no_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """An invalid number of attempts is a configuration error, not a traceback."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "many")
    with pytest.raises(ConfigError) as caught:
        clients.Access(region="eu-west-1").connect()

    assert str(caught.value) == "`AWS_MAX_ATTEMPTS`, or `max_attempts` in the AWS profile, is not a whole number"
    assert caught.value.hint == "set it to a whole number, or remove it"


PUBLICATION = Publication(
    name="shop-common",
    description="lamina",
    code=S3Code(bucket="artifacts", key="k", storage=Storage.REFERENCE, version_id="v1"),
    runtimes=("python3.13",),
    architectures=("arm64",),
    license="MIT",
)
RESPONSE = {
    "Version": 1,
    "LayerVersionArn": "arn:aws-us-gov:lambda:us-gov-west-1:123456789012:layer:shop-common:1",
    "Content": {"CodeSha256": "YWJj", "CodeSize": 1},
}


@knows_storage_mode
def test_reference_is_asked_for_by_name() -> None:
    """The storage mode is sent as S3ObjectStorageMode, checked with botocore's Stubber because no emulator supports it."""
    client = make_client("lambda")
    with Stubber(client) as stubber:
        stubber.add_response(
            "publish_layer_version",
            RESPONSE,
            {
                "LayerName": "shop-common",
                "Description": "lamina",
                "Content": {
                    "S3Bucket": "artifacts",
                    "S3Key": "k",
                    "S3ObjectVersion": "v1",
                    "S3ObjectStorageMode": "REFERENCE",
                },
                "CompatibleRuntimes": ["python3.13"],
                "CompatibleArchitectures": ["arm64"],
                "LicenseInfo": "MIT",
            },
        )
        published = LambdaLayers(Caller(client), knows_storage=True).publish(PUBLICATION)

    assert published.number == 1


def test_reference_needs_a_botocore_that_knows_it() -> None:
    """A botocore without S3ObjectStorageMode causes an error that asks for a newer version."""
    with pytest.raises(PublishError) as caught:
        LambdaLayers(Caller(make_client("lambda")), knows_storage=False).publish(PUBLICATION)

    assert str(caught.value) == '`storage = "reference"` requires a newer boto3 than the installed one'


def test_all_pages_are_read() -> None:
    """All pages of a layer's versions are read, because the wanted version may be the oldest."""
    client = make_client("lambda")

    def row(number: int) -> dict[str, object]:
        created = "2026-01-01T00:00:00.000+0000"
        return {"LayerVersionArn": f"arn:{number}", "Version": number, "CreatedDate": created}

    with Stubber(client) as stubber:
        stubber.add_response(
            "list_layer_versions", {"LayerVersions": [row(3), row(2)], "NextMarker": "n"}, {"LayerName": "x"}
        )
        stubber.add_response("list_layer_versions", {"LayerVersions": [row(1)]}, {"LayerName": "x", "Marker": "n"})
        versions = LambdaLayers(Caller(client), knows_storage=True).versions("x")

    assert [3, 2, 1] == [each.number for each in versions]


def test_unknown_profile_is_a_configuration_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error does not repeat the profile's name, because some users put secrets there."""
    monkeypatch.setenv("AWS_PROFILE", "unknown")
    with pytest.raises(ConfigError) as caught:
        clients.Access(region="eu-west-1").connect()

    assert str(caught.value) == "the AWS profile in `AWS_PROFILE` does not exist"


def test_missing_region_is_a_configuration_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing region is a configuration error, because there is no default."""
    _set(monkeypatch, AWS_ACCESS_KEY_ID="a", AWS_SECRET_ACCESS_KEY="b")
    with pytest.raises(ConfigError) as caught:
        clients.Access().connect()

    assert str(caught.value) == "no AWS region is configured"


@pytest.mark.parametrize(
    ("settings", "message", "hint"),
    [
        (
            {},
            "no AWS region is configured, and no AWS credentials were found",
            "sign in, for example with `aws sso login`, or set `AWS_PROFILE`",
        ),
        (
            {"AWS_ACCESS_KEY_ID": "a"},
            (
                "no AWS region is configured, and lamina cannot get AWS credentials from the environment variables: Partial credentials "
                "found in env, missing: AWS_SECRET_ACCESS_KEY"
            ),
            "add what is missing to the AWS profile or to the environment",
        ),
    ],
)
def test_a_missing_region_and_missing_credentials(
    settings: dict[str, str], message: str, hint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Someone who has set up nothing reads of everything that is missing at once."""
    _set(monkeypatch, **settings)
    with pytest.raises(ConfigError) as caught:
        clients.Access().connect()

    assert message == str(caught.value)
    assert [
        'set `AWS_REGION`, pass `--region`, or set `regions = ["eu-west-1"]` in `[tool.lamina.publish]`',
        hint,
    ] == (caught.value.hint or "").split("\n")


def _set(monkeypatch: pytest.MonkeyPatch, **settings: str) -> None:
    """Set only *settings* for AWS; files and the metadata of EC2 have none."""
    off = {
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    for name, value in {**off, **settings}.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    ("settings", "kind", "text"),
    [
        (
            {"AWS_CONFIG_FILE": __file__},
            ConfigError,
            f"cannot connect to AWS: Unable to parse config file: {__file__}",
        ),
        (
            {"AWS_REGION": "", "AWS_DEFAULT_REGION": "x y", "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"},
            ConfigError,
            "cannot connect to AWS: the AWS configuration has an invalid region name",
        ),
    ],
)
def test_mistakes_in_the_aws_configuration(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], kind: type[Exception], text: str
) -> None:
    """Mistakes in the AWS configuration that botocore finds before any request are reported as errors, not as bugs."""
    quiet = {"AWS_CONFIG_FILE": "/dev/null", "AWS_EC2_METADATA_DISABLED": "true", "AWS_DEFAULT_REGION": "eu-west-1"}
    for name, value in (quiet | settings).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(kind) as caught:
        _ = clients.Access().connect().account

    assert (kind, text) == (type(caught.value), str(caught.value))


def test_every_region_is_a_region() -> None:
    """Every region in which botocore lists Lambda has a valid region name, in all partitions."""
    session = boto3.Session()
    regions = [
        each for part in session.get_available_partitions() for each in session.get_available_regions("lambda", part)
    ]

    assert "us-gov-west-1" in regions
    # The first region of its partition. Only botocore versions newer than lamina's minimum list it.
    assert [each for each in ["eusc-de-east-1", *regions] if not fits("region", each)] == []


@pytest.mark.parametrize(
    ("named", "settings", "region"),
    [
        (None, {"AWS_REGION": "eu-west-2"}, "eu-west-2"),
        (None, {"AWS_REGION": "eu-west-2", "AWS_DEFAULT_REGION": "eu-west-3"}, "eu-west-2"),
        (None, {"AWS_REGION": "", "AWS_DEFAULT_REGION": "eu-west-3"}, "eu-west-3"),
        ("eu-west-1", {"AWS_REGION": "eu-west-2"}, "eu-west-1"),
    ],
)
def test_regions_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, named: str | None, settings: dict[str, str], region: str
) -> None:
    """AWS_REGION has precedence over AWS_DEFAULT_REGION, and a configured region over both."""
    _set(monkeypatch, AWS_ACCESS_KEY_ID="a", AWS_SECRET_ACCESS_KEY="b", **settings)

    assert region == clients.Access(region=named).connect()._region


def test_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without boto3, connecting to AWS fails with an error that names the package to install."""
    monkeypatch.setitem(sys.modules, "botocore.session", None)
    with pytest.raises(MissingExtraError) as caught:
        clients.Access(region="eu-west-1").connect()

    assert str(caught.value) == "access to AWS requires the optional dependencies `lamina[aws]`"
    assert caught.value.hint == f"add them: `{install_command('aws')}`"
