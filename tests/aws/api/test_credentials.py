"""Whatever a source of credentials or a setting of AWS gets wrong is an error that names it, and never a secret."""

from __future__ import annotations

import datetime as dt
import os
import pty
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from lamina.aws.api.errors import without_secrets
from lamina.aws.api.session import Access
from lamina.core.errors import (
    AwsError,
    ConfigError,
    CredentialsError,
    ExpiredCredentialsError,
    LaminaError,
    UnreachableError,
)
from stsserver import CODE, PAGES, Sts, make_certificate

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
KEYS = {"AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE", "AWS_SECRET_ACCESS_KEY": SECRET}
ROLE = "role_arn = arn:aws:iam::123456789012:role/deployer\n"
SSO = "sso_account_id = 123456789012\nsso_role_name = r\n"
START = "sso_start_url = https://x.awsapps.com/start\n"
WEB = {"AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/deployer"}
CONTAINER = "AWS_CONTAINER_CREDENTIALS_FULL_URI"
PROCESS = "cannot get AWS credentials from `credential_process`: "
WEB_IDENTITY = "cannot get AWS credentials from the web identity: "
IN_ROLE = "cannot get AWS credentials from the role in the AWS profile: "
IN_VARIABLES = "cannot get AWS credentials from the environment variables: "
PROGRAM = (
    "run the program yourself to see why; this prints its command: `aws configure get credential_process --profile x`"
)
LOGIN = "sign in: `aws sso login --profile x`"
FILES = "check `~/.aws/config`, `~/.aws/credentials` and the environment variables that start with `AWS_`"
URL = "set it to a URL such as `http://127.0.0.1:4566`"
RESTRICTED = "contains a blank, a newline or another character that is not valid in AWS credentials"


class World:
    """The AWS configuration of a test, with a profile ``x`` that is used if it is configured."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.directory = directory
        self._set = monkeypatch.setenv
        for name, value in {
            "HOME": str(directory),
            "AWS_CONFIG_FILE": str(directory / "config"),
            "AWS_SHARED_CREDENTIALS_FILE": str(directory / "credentials"),
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_MAX_ATTEMPTS": "1",
            "AWS_REGION": "eu-west-1",
        }.items():
            monkeypatch.setenv(name, value)

    def configure(self, profile: str = "", **settings: str) -> None:
        """Write the *profile* and set the variables in *settings*. In both, ``DIRECTORY`` stands for the test's directory."""
        if profile:
            (self.directory / "config").write_text(f"[profile x]\n{profile}".replace("DIRECTORY", str(self.directory)))
            self._set("AWS_PROFILE", "x")
        for name, value in settings.items():
            self._set(name, value.replace("DIRECTORY", str(self.directory)))

    def program(self, script: str) -> None:
        """Write the program that `credential_process` may name, and a file without content."""
        path = self.directory / "program"
        path.write_text(f"#!/bin/sh\n{script}\n".replace("DIRECTORY", str(self.directory)))
        path.chmod(0o755)
        (self.directory / "empty").touch()


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path, monkeypatch)


def error_of(world: World) -> LaminaError:
    """Return the error of connecting to AWS and of the first request. It has no secret."""
    with pytest.raises(LaminaError) as caught:
        _ = Access().connect().account
    assert SECRET not in f"{caught.value} {caught.value.hint}"
    caught.value.args = (str(caught.value).replace(str(world.directory), "DIRECTORY"),)
    return caught.value


def printing(expiration: str) -> str:
    return (
        f'echo \'{{"Version": 1, "AccessKeyId": "A", "SecretAccessKey": "{SECRET}", "SessionToken": "t", '
        f'"Expiration": "{expiration}"}}\''
    )


EXPIRED = printing("2020-01-01T00:00:00Z")


@pytest.mark.parametrize(
    ("script", "kind", "reason"),
    [
        ("exec true", CredentialsError, "the program's output is not a JSON object with credentials"),
        ("echo hello", CredentialsError, "the program's output is not a JSON object with credentials"),
        ("echo '[]'", CredentialsError, "the program's output is not a JSON object with credentials"),
        ("printf '\\377'", CredentialsError, "the program's output is not a JSON object with credentials"),
        ("echo '{\"Version\": 2}'", CredentialsError, "Unsupported version '2'"),
        ("echo '{\"Version\": 1}'", CredentialsError, "Missing required key in response: 'AccessKeyId'"),
        (f"echo 'sealed: {SECRET}' >&2; exit 1", CredentialsError, "sealed: …"),
        (EXPIRED, ExpiredCredentialsError, "they have expired"),
        (printing("soon"), CredentialsError, "the time at which they expire is invalid"),
    ],
)
def test_a_failing_program_is_named(world: World, script: str, kind: type[AwsError], reason: str) -> None:
    """A program of `credential_process` that fails or prints something else than credentials is an error with what it said."""
    world.program(script)
    world.configure("credential_process = DIRECTORY/program\n")
    error = error_of(world)

    assert (kind, PROGRAM) == (type(error), error.hint)
    assert str(error).startswith(PROCESS + reason)


@pytest.mark.parametrize(
    ("profile", "settings", "kind", "message", "hint"),
    [
        (
            "credential_process = /no/such/program\n",
            {},
            CredentialsError,
            f"{PROCESS}failed to start `/no/such/program`: No such file or directory",
            PROGRAM,
        ),
        (
            "",
            WEB | {"AWS_WEB_IDENTITY_TOKEN_FILE": "/no/token"},
            CredentialsError,
            f"{WEB_IDENTITY}failed to read `/no/token`: No such file or directory",
            "check `AWS_WEB_IDENTITY_TOKEN_FILE` or `web_identity_token_file`, then run: `aws sts get-caller-identity`",
        ),
        (
            f"{ROLE}web_identity_token_file = /no/token\n",
            {},
            CredentialsError,
            f"{WEB_IDENTITY}failed to read `/no/token`: No such file or directory",
            (
                "check `AWS_WEB_IDENTITY_TOKEN_FILE` or `web_identity_token_file`, then run: "
                "`aws sts get-caller-identity --profile x`"
            ),
        ),
        (
            "",
            WEB | {"AWS_WEB_IDENTITY_TOKEN_FILE": "DIRECTORY/empty"},
            CredentialsError,
            (
                f"{WEB_IDENTITY}Parameter validation failed: Invalid length for parameter WebIdentityToken, value: 0, "
                "valid min length: 4"
            ),
            None,
        ),
        (
            "",
            {CONTAINER: "http://127.0.0.1:9/", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": "/no/token"},
            CredentialsError,
            "cannot get AWS credentials from the container: failed to read `/no/token`: No such file or directory",
            "check the variables that start with `AWS_CONTAINER_`, then run: `aws sts get-caller-identity`",
        ),
        (
            "",
            {CONTAINER: "http://user:very-secret@example.com/"},
            CredentialsError,
            "cannot get AWS credentials from the container: Unsupported host 'example.com'",
            None,
        ),
        (
            f"{SSO}sso_session = s\n[sso-session s]\nsso_region = eu-west-1\n{START}",
            {},
            CredentialsError,
            "cannot get AWS credentials from IAM Identity Center: not signed in on this machine",
            LOGIN,
        ),
        (
            f"{SSO}{START}sso_region = eu-west-1\n",
            {},
            CredentialsError,
            "cannot get AWS credentials from IAM Identity Center: not signed in on this machine",
            LOGIN,
        ),
        (
            f"{SSO}sso_session = s\n[sso-session s]\n{START}",
            {},
            ConfigError,
            (
                'cannot get AWS credentials from IAM Identity Center: The profile "x" is configured to use SSO but is missing '
                "required configuration: sso_region"
            ),
            FILES,
        ),
        (
            f"{ROLE}source_profile = other\n",
            {},
            ConfigError,
            f'{IN_ROLE}The source_profile "other" referenced in the profile "x" does not exist',
            FILES,
        ),
        (
            f"{ROLE}source_profile = y\n[profile y]\n{ROLE}source_profile = x\n",
            {},
            ConfigError,
            f"{IN_ROLE}Infinite loop in credential configuration detected",
            FILES,
        ),
        (
            f"{ROLE}credential_source = Other\n",
            {},
            ConfigError,
            f'{IN_ROLE}The credential source "Other" referenced in profile "x" is not valid',
            FILES,
        ),
        (
            ROLE,
            {},
            CredentialsError,
            f"{IN_ROLE}Partial credentials found in assume-role, missing: source_profile or credential_source",
            "add what is missing to the AWS profile or to the environment",
        ),
        (
            "",
            KEYS | {"AWS_SESSION_TOKEN": "t", "AWS_CREDENTIAL_EXPIRATION": "2020-01-01T00:00:00Z"},
            ExpiredCredentialsError,
            f"{IN_VARIABLES}they have expired",
            None,
        ),
        (
            "",
            KEYS | {"AWS_SESSION_TOKEN": "t", "AWS_CREDENTIAL_EXPIRATION": "soon"},
            CredentialsError,
            f"{IN_VARIABLES}the time at which they expire is invalid",
            None,
        ),
        ("", {}, CredentialsError, "no AWS credentials were found", None),
        (
            "",
            KEYS | {"AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE\n"},
            CredentialsError,
            f"`AWS_ACCESS_KEY_ID` {RESTRICTED}",
            None,
        ),
        ("", KEYS | {"AWS_SESSION_TOKEN": "tök"}, CredentialsError, f"`AWS_SESSION_TOKEN` {RESTRICTED}", None),
        (
            "aws_access_key_id = A B\naws_secret_access_key = s\n",
            {},
            CredentialsError,
            f"the access key ID from the AWS configuration file {RESTRICTED}",
            None,
        ),
    ],
)
def test_a_source_without_credentials_is_named(
    world: World, *, profile: str, settings: dict[str, str], kind: type[LaminaError], message: str, hint: str | None
) -> None:
    """Each source of credentials that fails is an error that names the source, what it said, and what to do."""
    world.program("")
    world.configure(profile, **settings)
    error = error_of(world)

    assert kind is type(error)
    assert str(error).startswith(message)
    assert error.hint == hint if hint is not None else error.hint
    assert "very-secret" not in str(error)


def invalid(variable: str) -> str:
    return f"set `{variable}` to a valid value, or unset it"


@pytest.mark.parametrize(
    ("profile", "settings", "message", "hint"),
    [
        ("", {"AWS_ENDPOINT_URL": "http://127.0.0.1:9 "}, "`AWS_ENDPOINT_URL` is not a valid URL", URL),
        ("", {"AWS_ENDPOINT_URL": "127.0.0.1:9"}, "`AWS_ENDPOINT_URL` is not a valid URL", URL),
        ("", {"AWS_ENDPOINT_URL_STS": "http://[::1"}, "`AWS_ENDPOINT_URL_STS` is not a valid URL", URL),
        (
            "endpoint_url = http://127.0.0.1:port\n",
            {},
            "`endpoint_url` in the AWS profile is not a valid URL",
            URL,
        ),
        (
            "services = s\n[services s]\nsts =\n  endpoint_url = http://127.0.0.1:port\n",
            {},
            "`endpoint_url` in the AWS profile is not a valid URL",
            URL,
        ),
        (
            "",
            {"HTTPS_PROXY": "http://u:very-secret@[::1"},
            "`HTTPS_PROXY` is not a valid URL",
            "set it to a URL such as `http://127.0.0.1:3128`",
        ),
        (
            "",
            {"AWS_MAX_ATTEMPTS": "0"},
            'cannot connect to AWS: Value provided to "max_attempts": 0 must be an integer greater than or equal to 1',
            invalid("AWS_MAX_ATTEMPTS"),
        ),
        (
            "",
            {"AWS_DEFAULTS_MODE": "y"},
            "cannot connect to AWS: Client configured with invalid defaults mode: y.",
            invalid("AWS_DEFAULTS_MODE"),
        ),
        (
            "",
            {"AWS_STS_REGIONAL_ENDPOINTS": "foo"},
            "cannot connect to AWS: STS regional endpoints option foo is invalid",
            invalid("AWS_STS_REGIONAL_ENDPOINTS"),
        ),
        (
            "",
            {"AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE": "foo"},
            "cannot connect to AWS: Invalid EC2 Instance Metadata endpoint mode: foo",
            invalid("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE"),
        ),
        (
            "",
            {"AWS_METADATA_SERVICE_TIMEOUT": "long"},
            "cannot connect to AWS: invalid literal for int() with base 10: 'long'",
            invalid("AWS_METADATA_SERVICE_TIMEOUT"),
        ),
        (
            "sts_regional_endpoints = foo\n",
            {},
            "cannot connect to AWS: STS regional endpoints option foo is invalid",
            FILES,
        ),
        (
            "",
            {"AWS_CA_BUNDLE": "/no/ca.pem"},
            "failed to load the certificates of `/no/ca.pem`: No such file or directory",
            None,
        ),
        (
            "ca_bundle = DIRECTORY/empty\n",
            {},
            "failed to load the certificates of `DIRECTORY/empty`: it contains no certificates",
            None,
        ),
    ],
)
def test_an_invalid_setting_is_named(
    world: World, profile: str, settings: dict[str, str], message: str, hint: str | None
) -> None:
    """Each invalid setting is a configuration error that names the variable, or the profile, before any request."""
    world.program("")
    world.configure(profile, **(KEYS | settings))
    error = error_of(world)

    assert type(error) is ConfigError
    assert str(error).startswith(message)
    assert error.hint == hint if hint is not None else error.hint
    assert "very-secret" not in str(error)


def test_a_program_that_stops_working_is_not_a_failed_request(world: World) -> None:
    """If credentials expire during a run, and their source fails, the error names the source and not the request."""
    soon = dt.datetime.now(tz=dt.UTC) + dt.timedelta(minutes=5)
    # The first two runs succeed: one finds the credentials, and one renews them, because they expire soon.
    world.program(
        "echo >> DIRECTORY/runs\n[ $(wc -l < DIRECTORY/runs) -gt 2 ] && echo 'vault is sealed' >&2 && exit 1\n"
        f"{printing(f'{soon:%Y-%m-%dT%H:%M:%SZ}')}"
    )
    with Sts() as server:
        world.configure("credential_process = DIRECTORY/program\n", AWS_ENDPOINT_URL=server.url)
        error = error_of(world)

    assert (CredentialsError, f"{PROCESS}vault is sealed") == (type(error), str(error))
    assert [] == server.seen


def test_roles_are_assumed_again_before_they_expire(world: World) -> None:
    """A destination's role is assumed again when its credentials are about to expire, so that long runs succeed."""
    with Sts(lifetime_seconds=300) as server:
        world.configure(AWS_ENDPOINT_URL=server.url, **KEYS)
        services = Access(role="arn:aws:iam::123456789012:role/deployer").connect()
        assert "123456789012" == services.account.id

    key = KEYS["AWS_ACCESS_KEY_ID"]
    assert [(key, "AssumeRole"), (key, "AssumeRole"), ("ASIAROLE2", "GetCallerIdentity")] == server.seen


def test_a_long_list_goes_on_when_the_credentials_of_a_role_expire(world: World) -> None:
    """Each page of a list is requested with credentials that are still valid, because a large account takes minutes."""
    with Sts(lifetime_seconds=300) as server:
        world.configure(AWS_ENDPOINT_URL=server.url, **KEYS)
        services = Access(role="arn:aws:iam::123456789012:role/deployer").connect()
        found = [each.layers for each in services.inventory.attachments()]

    assert [(f"arn:aws:lambda:eu-west-1:123456789012:layer:common:{number}",) for number in range(PAGES)] == found
    keys = [key for key, action in server.seen if action == "ListFunctions"]
    assert PAGES == len(set(keys)) == len(keys)


@pytest.mark.parametrize("value", ["null", "5", "[]", '{"a": "b"}'])
@pytest.mark.parametrize("part", ["AccessKeyId", "SecretAccessKey"])
def test_keys_of_another_type_are_refused(world: World, part: str, value: str) -> None:
    """A key that is not a text is an error before any request, whatever a program prints."""
    keys = {"AccessKeyId": '"A"', "SecretAccessKey": f'"{SECRET}"'} | {part: value}
    printed = ", ".join(f'"{name}": {each}' for name, each in keys.items())
    world.program(f"echo '{{\"Version\": 1, {printed}}}'")
    world.configure("credential_process = DIRECTORY/program\n")
    error = error_of(world)

    assert (CredentialsError, PROGRAM) == (type(error), error.hint)
    if value == "null":
        named = {"AccessKeyId": "access key ID", "SecretAccessKey": "secret access key"}[part]
        assert f"the {named} from `credential_process` is missing or not a text" == str(error)


@pytest.mark.parametrize("kind", ["pipe", "device"])
@pytest.mark.parametrize(
    ("profile", "settings"),
    [
        (f"{ROLE}web_identity_token_file = DIRECTORY/token\n", {}),
        (f"{ROLE}source_profile = y\n[profile y]\n{ROLE}web_identity_token_file = DIRECTORY/token\n", {}),
        ("", WEB | {"AWS_WEB_IDENTITY_TOKEN_FILE": "DIRECTORY/token"}),
        ("", {CONTAINER: "http://127.0.0.1:9/", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": "DIRECTORY/token"}),
        ("ca_bundle = DIRECTORY/token\n", KEYS),
        ("", KEYS | {"AWS_CA_BUNDLE": "DIRECTORY/token"}),
        ("", KEYS | {"REQUESTS_CA_BUNDLE": "DIRECTORY/token"}),
    ],
)
def test_a_file_that_never_ends_is_an_error(world: World, profile: str, settings: dict[str, str], kind: str) -> None:
    """A pipe or a device in place of a token or of certificates is an error that names it: botocore would wait for it."""
    token = world.directory / "token"
    if kind == "pipe":
        os.mkfifo(token)
    else:
        token.symlink_to("/dev/zero")
    world.configure(profile, **settings)
    error = error_of(world)

    assert isinstance(error, CredentialsError | ConfigError)
    assert "`DIRECTORY/token`" in str(error)
    assert "not a regular file" in str(error).lower()


@pytest.mark.parametrize(
    "identity",
    [
        "",
        "<Account>123456789012</Account>",
        "<Account>123456789012</Account><Arn>arn</Arn>",
        "<Account>x\nerror: y</Account><Arn>arn:aws:sts::1:user/u</Arn>",
        "<a>" * 50_000 + "</a>" * 50_000,
    ],
    ids=["empty", "no ARN", "invalid ARN", "invalid account", "deep"],
)
def test_an_identity_of_another_form_is_not_from_aws(world: World, identity: str) -> None:
    """An account without an ID or an ARN is an error that suggests a proxy, and nothing of it is shown."""
    with Sts() as server:
        server.identity = identity
        world.configure(AWS_ENDPOINT_URL=server.url, **KEYS)
        error = error_of(world)

    assert (type(error), str(error)) == (
        UnreachableError,
        "cannot look up the AWS account: the response to the request to `sts` is not from AWS",
    )


CONNECT = """
import os
if os.isatty(0):
    os.open(os.ttyname(0), os.O_RDWR)
from lamina.aws.publish.config import PublishConfig
from lamina.aws.publish.destinations import connect
from lamina.core.errors import LaminaError
try:
    print("accounts:", len(connect(PublishConfig(regions=("eu-west-1", "eu-west-2", "us-east-1")))))
except LaminaError as error:
    print(error)
    print(error.hint)
"""
MFA = f"{ROLE}source_profile = y\nmfa_serial = arn:aws:iam::123456789012:mfa/u\n[profile y]\n" + "".join(
    f"{name} = {value}\n" for name, value in KEYS.items()
)


def test_an_mfa_code_is_asked_once_for_all_regions(world: World) -> None:
    """One prompt and one request for the role serve all regions, because AWS accepts a code only once."""
    with Sts() as server:
        world.configure(MFA, AWS_ENDPOINT_URL=server.url)
        terminal, inside = pty.openpty()
        process = subprocess.Popen(
            [sys.executable, "-c", CONNECT], stdin=inside, stdout=inside, stderr=inside, start_new_session=True
        )
        os.close(inside)
        shown = ""
        with os.fdopen(terminal, "r+b", buffering=0) as stream:
            while "\n" not in shown.partition("accounts:")[2] and (piece := stream.read(1024)):
                shown += piece.decode()
                if shown.endswith("mfa/u: "):
                    stream.write(b"123456\n")
            process.wait()

    assert "accounts: 3" in shown
    assert shown.count("Enter MFA code") == 1
    assert ["AssumeRole", *["GetCallerIdentity"] * 3] == server.actions()


def test_an_mfa_code_without_a_terminal_is_an_error(world: World) -> None:
    """Without a terminal, as in CI, lamina neither waits for a code nor fails with a traceback."""
    world.configure(MFA)
    done = subprocess.run(
        [sys.executable, "-c", CONNECT],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        start_new_session=True,
        check=True,
    )

    assert done.stdout == (
        f"{IN_ROLE}it requires an MFA code, and there is no terminal to type it\n"
        "run in a terminal, or export the credentials before: "
        '`eval "$(aws configure export-credentials --profile x --format env)"`\n'
    )
    assert done.stderr == ""


def in_profile(world: World, path: Path) -> None:
    world.configure(f"ca_bundle = {path}\n")


def in_variable(world: World, path: Path) -> None:
    world.configure(AWS_CA_BUNDLE=str(path))


def in_requests_variable(world: World, path: Path) -> None:
    world.configure(REQUESTS_CA_BUNDLE=str(path))


@pytest.mark.parametrize("trust", [in_profile, in_variable, in_requests_variable])
def test_code_is_downloaded_with_the_configured_certificates(
    world: World, tmp_path: Path, trust: Callable[[World, Path], None]
) -> None:
    """The download of a function's code, which is not a request of botocore's clients, trusts the same certificates."""
    certificate = make_certificate(tmp_path / "certificate.pem")
    trust(world, certificate)
    with Sts(certificate=certificate) as server:
        world.configure(AWS_ENDPOINT_URL=server.url, **KEYS)
        Access().connect().functions.download("f", tmp_path / "code.zip")

    assert (tmp_path / "code.zip").read_bytes() == CODE
    assert ["GetFunction"] == server.actions()


def test_a_download_from_an_untrusted_server_is_worded(world: World, tmp_path: Path) -> None:
    """If only the address of the code has a certificate that is not trusted, the error says so, and has no signed address."""
    with Sts(certificate=make_certificate(tmp_path / "certificate.pem")) as code, Sts(code=code.url) as server:
        world.configure(AWS_ENDPOINT_URL=server.url, **KEYS)
        with pytest.raises(UnreachableError) as caught:
            Access().connect().functions.download("f", tmp_path / "code.zip")

    assert str(caught.value) == "cannot download the code of function `f`: the certificate of its server is not trusted"
    assert "`AWS_CA_BUNDLE`" in (caught.value.hint or "")


def test_an_untrusted_certificate_is_named(world: World, tmp_path: Path) -> None:
    """A certificate that is not trusted, as with TLS inspection, is told from a missing connection."""
    with Sts(certificate=make_certificate(tmp_path / "certificate.pem")) as server:
        world.configure(AWS_ENDPOINT_URL=server.url, **KEYS)
        error = error_of(world)

    assert type(error) is UnreachableError
    assert str(error) == "cannot look up the AWS account: the certificate of `sts` is not trusted"
    assert "`AWS_CA_BUNDLE`, or `ca_bundle` in the AWS profile" in (error.hint or "")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("cannot open /home/User1/.aws/a-long-name.json.", "cannot open /home/User1/.aws/a-long-name.json"),
        (f"key {SECRET}, id AKIAIOSFODNN7EXAMPLE", "key …, id …"),
        ("GET https://u:pass/w#o?rd@host/path?X-Amz-Signature=0a1b failed", "GET https://…host/path… failed"),
        ("the token my-own-token is invalid\n\nretry", "the token … is invalid retry"),
        ("login failed: password=hunter2 user=jo", "login failed: password=… user=jo"),
        ("password: hunter2 and DB_PASSWD = 'hunt er'", "password: … and DB_PASSWD = …"),
        ('{"SecretAccessKey": "short", "api-keys": "a"}', '{"SecretAccessKey": …, "api-keys": …}'),
        ("run: login --password hunter2 -token=abc --quiet", "run: login --password … -token=… --quiet"),
        ("Authorization: Bearer hunter2", "Authorization: … …"),
        ("the header `Bearer hunter2` is refused", "the header `Bearer …` is refused"),
        ("ghp_abcdefghijkl glpat-abcdefghijkl xoxb-1234-abcd hvs.abcdefgh", "… … … …"),
        (
            "the token of pypi-mirror has expired, and no key is valid",
            "the token of pypi-mirror has expired, and no key is valid",
        ),
        ("npm_config_registry and sk-learn are kept", "npm_config_registry and sk-learn are kept"),
    ],
)
def test_secrets_are_removed_from_what_others_say(world: World, text: str, shown: str) -> None:
    """A program's text keeps paths, and loses keys, tokens, passwords in URLs and the values of secret variables."""
    world.configure(AWS_SESSION_TOKEN="my-own-token")

    assert shown == without_secrets(text)
