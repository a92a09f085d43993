"""Create AWS clients. botocore finds credentials, endpoints and proxies in its usual way."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, Protocol

from lamina import __version__
from lamina.aws.api.account import Account
from lamina.aws.api.connection import CONNECT_SECONDS, READ_SECONDS, certificates, check_endpoint
from lamina.aws.api.credentials import CredentialProvider, find_credentials, renewing
from lamina.aws.api.errors import Caller, failed, parsing, whole
from lamina.aws.api.external import ExternalLayers
from lamina.aws.api.functions import LambdaFunctions
from lamina.aws.api.inspector import Inspector
from lamina.aws.api.inventory import AwsInventory
from lamina.aws.api.layers import LambdaLayers
from lamina.aws.api.pace import LambdaPace
from lamina.aws.api.s3 import S3Bucket
from lamina.aws.api.ssm import StoredParameters
from lamina.core.errors import AwsError, ConfigError, MissingExtraError

if TYPE_CHECKING:
    from lamina.aws.api.credentials import SharedCredentials
    from lamina.aws.api.errors import Call

_ATTEMPTS = 5
"""The number of attempts for each call, unless the AWS configuration sets another number."""
_CONNECTIONS = 16
_SESSION_NAME = "lamina"
_IDENTITY = re.compile(r"(?P<account>[0-9]+) arn:(?P<partition>[a-z-]+):\S+")
_BEGINNING = "connect to AWS"


class CallObserver(Protocol):
    """A callback that runs before every AWS API call."""

    def __call__(self, service: str, operation: str, /) -> None:
        """Receive the names of the *service* and the *operation* that lamina is about to call."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Access:
    """The region to use and the role to assume, by default the region and the credentials of the AWS configuration."""

    region: str | None = None
    role: str | None = None
    """The ARN of the role to assume."""
    observe: CallObserver | None = None
    """A callback that runs before each AWS API call."""
    region_hint: str = 'set `AWS_REGION`, pass `--region`, or set `regions = ["eu-west-1"]` in `[tool.lamina.publish]`'
    """How the user of a command sets the region."""

    def find_place(self) -> tuple[str, str] | None:
        """
        Return the partition and the region, or ``None`` if no region is configured. No credentials are needed.

        Raises `MissingExtraError` if boto3 is not installed, and `ConfigError` if the AWS configuration is invalid.
        """
        session = self._open()
        region: str | None = session.get_config_variable("region")
        return None if region is None else (_partition(session, region), region)

    def _open(self) -> Any:
        try:
            # Most AWS tools support AWS_REGION, but boto3 does not (botocore 1.44.5, 2026-11-23).
            return _session(self.region or os.environ.get("AWS_REGION") or None)
        except ImportError as error:
            raise MissingExtraError(extra="aws", purpose="access to AWS") from error

    def connect(self) -> AwsServices:
        """
        Return the AWS services of the account in the region.

        Raises `MissingExtraError` if boto3 is not installed, `ConfigError` if the AWS configuration is invalid or has no region, and
        `AwsError` if there are no credentials, if their source fails, or if lamina cannot assume the role. No request has checked the
        credentials yet, unless their source or the role required one.
        """
        session = self._open()
        region: str | None = session.get_config_variable("region")
        if region is None:
            raise _no_region(session, self.region_hint)
        _use(session, find_credentials(session))
        if self.role is not None:
            session = self._assume(session, region, self.role)
        return AwsServices(session=session, region=region, observe=self.observe)

    def _assume(self, session: Any, region: str, role: str) -> Any:
        """Return a session with the credentials of *role*, which are renewed before they expire."""
        call = Caller(_client(session, "sts", observe=self.observe))

        def fetch() -> dict[str, Any]:
            doing = f"assume role `{role}`"
            return call("AssumeRole", doing=doing, RoleArn=role, RoleSessionName=_SESSION_NAME) or {}

        assumed = _session(region)
        _use(assumed, renewing(fetch))
        return assumed


class AwsServices:
    """The AWS services of one account in one region. Each client is created when it is first used."""

    def __init__(self, *, session: Any, region: str, observe: CallObserver | None = None) -> None:
        """Create clients from the botocore *session*. Call *observe* before each AWS API call."""
        self._session = session
        self._region = region
        self._observe = observe

    @cached_property
    def account(self) -> Account:
        """The account of the credentials, and the region. Raises `AwsError` if there are no credentials, or if AWS rejects them."""
        doing = "look up the AWS account"
        identity = self.caller("sts")("GetCallerIdentity", doing=doing) or {}
        with parsing("sts", doing):
            # The partition is the second field of every ARN of the account: arn:aws-cn:sts::…
            number, arn = identity["Account"], identity["Arn"]
            found = _IDENTITY.fullmatch(f"{number} {arn}")
            if found is None:
                raise ValueError("not the identity of an account")
            return Account(id=found["account"], partition=found["partition"], region=self._region)

    @cached_property
    def layers(self) -> LambdaLayers:
        """The account's Lambda layers in the region."""
        model = self._lambda_client.meta.service_model
        content = model.operation_model("PublishLayerVersion").input_shape.members["Content"]
        return LambdaLayers(
            self._lambda,
            call_without_retry=lambda: self._lambda_without_retry,
            knows_storage="S3ObjectStorageMode" in content.members,
        )

    @cached_property
    def external_layers(self) -> ExternalLayers:
        """The layer versions of all accounts in the region."""
        return ExternalLayers(self._lambda, certificates=certificates(self._session))

    @cached_property
    def _lambda_client(self) -> Any:
        return _client(self._session, "lambda", observe=self._observe)

    @cached_property
    def _lambda(self) -> Call:
        return self._pace.limit(Caller(self._lambda_client))

    @cached_property
    def _lambda_without_retry(self) -> Call:
        client = _client(self._session, "lambda", observe=self._observe, attempts=1)
        return self._pace.limit(Caller(client, repeats=False), repeats=False)

    @cached_property
    def _pace(self) -> LambdaPace:
        """The rate limits that all users of Lambda's API in this account and region share."""
        return LambdaPace.of(self._lambda_client.meta.endpoint_url)

    @cached_property
    def functions(self) -> LambdaFunctions:
        """The account's Lambda functions in the region."""
        return LambdaFunctions(
            self._lambda,
            call_without_retry=lambda: self._lambda_without_retry,
            certificates=certificates(self._session),
        )

    @cached_property
    def inventory(self) -> AwsInventory:
        """All layers, functions and CloudFormation stacks of the account in the region."""
        stacks = self._pace.limit(self.caller("cloudformation"))
        return AwsInventory(self._lambda, stacks, certificates=certificates(self._session))

    @cached_property
    def parameters(self) -> StoredParameters:
        """The account's Systems Manager parameters in the region."""
        return StoredParameters(self._pace.limit(self.caller("ssm")))

    @cached_property
    def inspector(self) -> Inspector:
        """Amazon Inspector in the account and the region."""
        return Inspector(self.caller("inspector-scan"), self.caller("inspector2"), region=self._region)

    def bucket(self, name: str) -> S3Bucket:
        """Return the objects of the S3 bucket *name*, without checking that the bucket exists."""
        return S3Bucket(self._objects, name)

    @cached_property
    def _objects(self) -> Caller:
        return self.caller("s3")

    def caller(self, service: str) -> Caller:
        """Return a new `Caller` for *service*, botocore's name of an AWS service, such as ``lambda``."""
        return Caller(_client(self._session, service, observe=self._observe))


def _session(region: str | None) -> Any:
    from botocore.exceptions import BotoCoreError, ProfileNotFound
    from botocore.session import get_session

    try:
        session = get_session()
        if _configured_attempts(session) is None:
            session.set_config_variable("max_attempts", _ATTEMPTS)
        if region is not None:
            session.set_config_variable("region", region)
        # The service descriptions are megabytes of JSON. One shared loader reads them once for all accounts and regions.
        session.register_component("data_loader", _loader(session.get_config_variable("data_path")))
        # Reads the files, and fails if they are invalid or the profile does not exist.
        session.get_scoped_config()
    except ProfileNotFound as error:
        raise ConfigError(
            "the AWS profile in `AWS_PROFILE` does not exist", hint="list the profiles: `aws configure list-profiles`"
        ) from error
    except BotoCoreError as error:
        raise failed(error, "AWS", _BEGINNING, otherwise=ConfigError) from error
    return session


def _partition(session: Any, region: str) -> str:
    from botocore.exceptions import BotoCoreError

    try:
        partition: str = session.get_partition_for_region(region)
    except BotoCoreError as error:
        raise failed(error, "AWS", _BEGINNING, otherwise=ConfigError) from error
    return partition


def _use(session: Any, credentials: SharedCredentials) -> None:
    session.register_component("credential_provider", CredentialProvider(credentials))


def _no_region(session: Any, hint: str) -> ConfigError:
    """Return the error for a *session* without a region, which also says whether it lacks credentials. *hint* says how to set one."""
    fact = "no AWS region is configured"
    try:
        find_credentials(session)
    except (AwsError, ConfigError) as error:
        # "cannot …" needs its subject.
        subject = "lamina " if str(error).startswith("cannot ") else ""
        return ConfigError(f"{fact}, and {subject}{error}", hint=f"{hint}\n{error.hint}")
    return ConfigError(fact, hint=hint)


def _configured_attempts(session: Any) -> int | None:
    """Return the number of attempts in ``AWS_MAX_ATTEMPTS`` or the AWS profile, or ``None`` if neither sets one."""
    try:
        attempts: int | None = session.get_config_variable("max_attempts")
    except ValueError as error:
        raise ConfigError(
            "`AWS_MAX_ATTEMPTS`, or `max_attempts` in the AWS profile, is not a whole number",
            hint="set it to a whole number, or remove it",
        ) from error
    return attempts


@cache
def _loader(data_path: str | None) -> Any:
    from botocore.loaders import create_loader

    return create_loader(data_path)


def _client(session: Any, service: str, *, observe: CallObserver | None, attempts: int | None = None) -> Any:
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError

    config = Config(
        retries={"mode": "standard"} | ({} if attempts is None else {"total_max_attempts": attempts}),
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        max_pool_connections=_CONNECTIONS,
        user_agent_extra=f"lamina/{__version__}",
    )
    try:
        client = session.create_client(service, config=config, verify=certificates(session))
    except (BotoCoreError, ValueError) as error:
        if isinstance(error, ValueError):
            # botocore raises it for invalid endpoints, and for settings that are no numbers.
            check_endpoint(session, None)
        raise failed(error, f"`{service}`", _BEGINNING, otherwise=ConfigError) from error
    check_endpoint(session, client.meta.endpoint_url)
    client.meta.events.register("before-parse", whole)
    if observe is not None:

        def hear(model: Any, **_: object) -> None:
            observe(service, model.name)

        client.meta.events.register("before-call", hear)
    return client
