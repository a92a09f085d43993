"""Where AWS credentials are configured is found without their values, and without asking anybody."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from botocore.session import get_session

from lamina.aws.api.presence import AwsPresence, find_presence

if TYPE_CHECKING:
    from pathlib import Path

DEFAULT = "in the default AWS profile"


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the path of the AWS configuration file, which does not exist yet."""
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    return tmp_path / "config"


@pytest.mark.parametrize(
    ("profile", "variables", "credentials"),
    [
        ("", {}, None),
        ("region = eu-west-1", {}, None),
        ("", {"AWS_ACCESS_KEY_ID": "a"}, "access key in `AWS_ACCESS_KEY_ID`"),
        ("aws_access_key_id = a", {}, f"access key {DEFAULT}"),
        ("aws_access_key_id = a", {"AWS_ACCESS_KEY_ID": "a"}, "access key in `AWS_ACCESS_KEY_ID`"),
        ("role_arn = a\nsource_profile = b", {}, f"role {DEFAULT}"),
        ("sso_session = a", {}, f"IAM Identity Center {DEFAULT}"),
        ("sso_start_url = a", {}, f"IAM Identity Center {DEFAULT}"),
        ("credential_process = a", {}, f"process {DEFAULT}"),
        ("", {"AWS_WEB_IDENTITY_TOKEN_FILE": "a"}, "web identity in `AWS_WEB_IDENTITY_TOKEN_FILE`"),
        ("", {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "a"}, "container in `AWS_CONTAINER_CREDENTIALS_FULL_URI`"),
        ("aws_access_key_id = a", {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "a"}, f"access key {DEFAULT}"),
    ],
)
def test_sources(
    profile: str, variables: dict[str, str], credentials: str | None, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first source in botocore's order is named."""
    config.write_text(f"[default]\n{profile}\n")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    found = find_presence()

    assert found is not None
    assert credentials == found.credentials


def test_the_file_of_credentials(config: Path) -> None:
    """Keys in the file of shared credentials count too."""
    config.with_name("credentials").write_text("[default]\naws_access_key_id = a\naws_secret_access_key = b\n")

    assert AwsPresence(credentials=f"access key {DEFAULT}") == find_presence()
    assert get_session().get_credentials().method == "shared-credentials-file"


@pytest.mark.parametrize("variable", ["AWS_REGION", "AWS_DEFAULT_REGION"])
def test_region(variable: str, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The region is that of the environment, or else that of the profile."""
    config.write_text("[default]\nregion = eu-west-1\n")

    assert AwsPresence(region="eu-west-1") == find_presence()
    monkeypatch.setenv(variable, "eu-central-1")
    assert AwsPresence(region="eu-central-1") == find_presence()


def test_profile(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A profile in the environment is used, and a missing one is a mistake. Its name is not shown."""
    config.write_text("[default]\nregion = eu-west-1\n[profile secret]\nsso_session = a\n")
    monkeypatch.setenv("AWS_PROFILE", "secret")

    assert AwsPresence(credentials="IAM Identity Center in the AWS profile in `AWS_PROFILE`") == find_presence()
    monkeypatch.setenv("AWS_PROFILE", "other")
    assert AwsPresence(mistake="the AWS profile in `AWS_PROFILE` does not exist") == find_presence()


def test_invalid_files(config: Path) -> None:
    """A file that is not readable is a mistake, whose message does not quote the file."""
    config.write_text("s3cret\n")

    assert AwsPresence(mistake="the AWS configuration files are invalid") == find_presence()
