"""Make clients: the only module that imports boto3. Credentials, endpoints and proxies are found by botocore as always."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, Protocol

from lamina import __version__
from lamina.aws.api.account import Account
from lamina.aws.api.errors import Caller, failed, whole
from lamina.aws.api.functions import LambdaFunctions
from lamina.aws.api.inventory import AwsInventory
from lamina.aws.api.layers import LambdaLayers
from lamina.aws.api.s3 import S3Bucket
from lamina.aws.api.ssm import StoredParameters
from lamina.core.errors import ConfigError, MissingExtraError

_ATTEMPTS = 5
"""Of each call, where the AWS configuration does not say how many."""
_CONNECT_SECONDS = 10
_READ_SECONDS = 60
_CONNECTIONS = 16
_SESSION_NAME = "lamina"
_BEGINNING = "begin to talk to AWS"


class CallObserver(Protocol):
    """Follows the calls to AWS."""

    def __call__(self, service: str, operation: str, /) -> None:
        """Hear that *operation* of *service* is about to be called."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Access:
    """Where to work and as whom; without *role*, as whoever runs lamina."""

    region: str | None = None
    role: str | None = None
    """The ARN of a role to assume."""
    observe: CallObserver | None = None
    """Called before each call."""

    def connect(self) -> AwsServices:
        """
        Return what the account offers in the region.

        Raises MissingExtraError without boto3, ConfigError where the AWS configuration is none or no region is known, and AwsError
        where AWS takes neither the credentials nor the role.
        """
        try:
            # Most of AWS's own tools know AWS_REGION; boto3 does not (botocore 1.44.5, 2026-11-23).
            session = _session(region_name=self.region or os.environ.get("AWS_REGION") or None)
        except ImportError as error:
            raise MissingExtraError(extra="aws", purpose="Publishing to AWS") from error
        region: str | None = session.region_name
        if region is None:
            raise ConfigError(
                "No region is configured",
                hint='name it: `regions = ["eu-west-1"]` in `[tool.lamina.publish]`, `--region`, or AWS_REGION',
            )
        if self.role is not None:
            session = _session(region_name=region, **self._assume(session, self.role))
        return AwsServices(session=session, region=region, observe=self.observe)

    def _assume(self, session: Any, role: str) -> dict[str, str]:
        call = Caller(_client(session, "sts", observe=self.observe))
        response = call("AssumeRole", doing=f"assume role `{role}`", RoleArn=role, RoleSessionName=_SESSION_NAME)
        credentials = (response or {})["Credentials"]
        return {
            "aws_access_key_id": credentials["AccessKeyId"],
            "aws_secret_access_key": credentials["SecretAccessKey"],
            "aws_session_token": credentials["SessionToken"],
        }


class AwsServices:
    """One account in one region, behind clients that are made when they are first needed."""

    def __init__(self, *, session: Any, region: str, observe: CallObserver | None = None) -> None:
        """Use the boto3 *session*."""
        self._session = session
        self._region = region
        self._observe = observe

    @cached_property
    def account(self) -> Account:
        """Who, and where."""
        identity = self.caller("sts")("GetCallerIdentity", doing="ask AWS who we are") or {}
        # arn:aws-cn:sts::…: "aws-cn" is what all ARNs of the account begin with.
        return Account(id=identity["Account"], partition=identity["Arn"].split(":")[1], region=self._region)

    @cached_property
    def layers(self) -> LambdaLayers:
        """Its layers."""
        client = _client(self._session, "lambda", observe=self._observe)
        content = client.meta.service_model.operation_model("PublishLayerVersion").input_shape.members["Content"]
        return LambdaLayers(
            Caller(client),
            call_without_retry=lambda: self._lambda_without_retry,
            knows_storage="S3ObjectStorageMode" in content.members,
        )

    @cached_property
    def _lambda_without_retry(self) -> Caller:
        return Caller(_client(self._session, "lambda", observe=self._observe, attempts=1), repeats=False)

    @cached_property
    def functions(self) -> LambdaFunctions:
        """Its functions."""
        return LambdaFunctions(self.caller("lambda"))

    @cached_property
    def inventory(self) -> AwsInventory:
        """Everything in it."""
        return AwsInventory(self.caller("lambda"), self.caller("cloudformation"))

    @cached_property
    def parameters(self) -> StoredParameters:
        """Its parameters."""
        return StoredParameters(self.caller("ssm"))

    def bucket(self, name: str) -> S3Bucket:
        """Return one of its buckets."""
        return S3Bucket(self._objects, name)

    @cached_property
    def _objects(self) -> Caller:
        return self.caller("s3")

    def caller(self, service: str) -> Caller:
        """Return the operations of *service* (botocore's name for it)."""
        return Caller(_client(self._session, service, observe=self._observe))


def _session(**settings: Any) -> Any:
    import boto3
    from botocore.exceptions import BotoCoreError, ProfileNotFound
    from botocore.session import get_session

    try:
        inner = get_session()
        if _configured_attempts(inner) is None:
            inner.set_config_variable("max_attempts", _ATTEMPTS)
        # Descriptions of services are megabytes of JSON: all accounts and regions read them once.
        inner.register_component("data_loader", _loader(inner.get_config_variable("data_path")))
        return boto3.Session(botocore_session=inner, **settings)
    except ProfileNotFound as error:
        raise ConfigError("AWS_PROFILE names a profile that does not exist", hint="see: aws configure list") from error
    except BotoCoreError as error:
        raise failed(error, "AWS", _BEGINNING) from error


def _configured_attempts(session: Any) -> int | None:
    """Return how often to try, where AWS_MAX_ATTEMPTS or the profile says it."""
    try:
        attempts: int | None = session.get_config_variable("max_attempts")
    except ValueError as error:
        raise ConfigError("AWS_MAX_ATTEMPTS, or `max_attempts` of the AWS profile, is no number") from error
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
        connect_timeout=_CONNECT_SECONDS,
        read_timeout=_READ_SECONDS,
        max_pool_connections=_CONNECTIONS,
        user_agent_extra=f"lamina/{__version__}",
    )
    try:
        # Credentials and endpoints are looked for here, before anything is asked.
        client = session.client(service, config=config)
    except BotoCoreError as error:
        raise failed(error, service, _BEGINNING) from error
    except ValueError as error:
        # botocore has no class of its own for it, and repeats the address, in which there may be a password.
        raise ConfigError(
            "AWS_ENDPOINT_URL, or `endpoint_url` of the AWS profile, is no address",
            hint="such as http://127.0.0.1:4566",
        ) from error
    client.meta.events.register("before-parse", whole)
    if observe is not None:

        def hear(model: Any, **_: object) -> None:
            observe(service, model.name)

        client.meta.events.register("before-call", hear)
    return client
