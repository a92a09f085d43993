"""
Find out where AWS credentials would come from, without reading their values and without network access.

botocore reads the configuration files. Its search for credentials is not used, because that may contact AWS.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# Variables, and keys of a profile, in the order in which botocore 1.44 uses them (`create_credential_resolver`, 2026-11).
_SOURCES = {
    "AWS_ACCESS_KEY_ID": "access key",
    "role_arn": "role",
    "AWS_WEB_IDENTITY_TOKEN_FILE": "web identity",
    "web_identity_token_file": "web identity",
    "sso_session": "IAM Identity Center",
    "sso_start_url": "IAM Identity Center",
    "aws_access_key_id": "access key",
    "login_session": "login",
    "credential_process": "process",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "container",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI": "container",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class AwsPresence:
    """Whether AWS access is configured."""

    credentials: str | None = None
    """The kind of the credentials and where they are configured; ``None`` if none are."""
    region: str | None = None
    mistake: str | None = None
    """Why the AWS configuration is unusable."""


def find_presence() -> AwsPresence | None:
    """Return where the credentials are configured that lamina would use, or ``None`` if boto3 is not installed."""
    try:
        from botocore.exceptions import BotoCoreError
        from botocore.session import get_session
    except ImportError:
        return None
    session = get_session()
    try:
        profiles: dict[str, dict[str, Any]] = session.full_config["profiles"]
        named: str | None = session.get_config_variable("profile")
        if named is not None and named not in profiles:
            return AwsPresence(mistake="the AWS profile in `AWS_PROFILE` does not exist")
        region = os.environ.get("AWS_REGION") or session.get_config_variable("region")
    except BotoCoreError:
        # The message is left out, because it may quote the files.
        return AwsPresence(mistake="the AWS configuration files are invalid")
    place = "the default AWS profile" if named is None else "the AWS profile in `AWS_PROFILE`"
    return AwsPresence(credentials=next(_found(profiles.get(named or "default", {}), place), None), region=region)


def _found(profile: Mapping[str, Any], place: str) -> Iterator[str]:
    for name, kind in _SOURCES.items():
        if os.environ.get(name):
            yield f"{kind} in `{name}`"
        elif name in profile:
            yield f"{kind} in {place}"
