"""What the commands do if the AWS credentials cannot be found."""

from __future__ import annotations

from pathlib import Path

import pytest

from lamina.cli.main import main
from services import make_service

FAILURE = "cannot get AWS credentials from `credential_process`: failed to start `/no/such/program`: No such file or directory"
HINT = "hint: run the program yourself to see why; this prints its command: `aws configure get credential_process --profile gone`"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return a service with a bucket and a team store, and use a profile whose program does not exist."""
    (tmp_path / "config").write_text("[profile gone]\nregion = us-east-1\ncredential_process = /no/such/program\n")
    for name, value in {
        "AWS_CONFIG_FILE": str(tmp_path / "config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials"),
        "AWS_PROFILE": "gone",
        "HOME": str(tmp_path),
        "LAMINA_CACHE_DIR": str(tmp_path / "cache"),
        "COLUMNS": "1000",
    }.items():
        monkeypatch.setenv(name, value)
    service = make_service(tmp_path)
    service.settings["store"] = '"s3://team/cache"'
    path = service.write() / "pyproject.toml"
    path.write_text(
        f'{path.read_text()}\n[tool.lamina.publish]\nbucket = "artifacts"\nregions = ["us-east-1", "eu-west-1"]\n'
    )
    return str(path.parent)


@pytest.mark.parametrize(
    "command",
    [
        ("publish",),
        ("deploy", "--dry-run"),
        ("prune",),
        ("coldstart", "--aws", "--logs", "1", "hello"),
    ],
)
def test_a_command_that_needs_aws_fails(
    project: str, command: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """Each command that needs AWS ends with exit code 6 and says which source of credentials failed."""
    code = main([*command, "--project", project])
    errors = capsys.readouterr().err.splitlines()

    assert code == 6
    assert f"error: {FAILURE}" in errors
    assert HINT in errors


def test_a_build_goes_on_without_the_team_store(project: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A team store whose credentials cannot be found is a warning, and the build succeeds."""
    assert 0 == main(["build", "--project", project])
    assert f"building without the team store `s3://team/cache`: {FAILURE}" in capsys.readouterr().err


def test_no_traceback_has_a_password(
    project: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With `--verbose`, the exceptions of botocore are shown without the passwords and queries of the URLs that they quote."""
    for name, value in {
        "AWS_PROFILE": "default",
        "AWS_REGION": "us-east-1",
        "AWS_MAX_ATTEMPTS": "1",
        "AWS_ACCESS_KEY_ID": "AKIAX",
        "AWS_SECRET_ACCESS_KEY": "s",
        "AWS_ENDPOINT_URL": "http://u:hunter2@127.0.0.1:9/?token=hunter2",
    }.items():
        monkeypatch.setenv(name, value)
    (Path(project).parent / "config").write_text("[default]\n")
    code = main(["publish", "-v", "--project", project])
    err = capsys.readouterr().err

    assert 6 == code
    assert "Could not connect to the endpoint URL" in err
    assert "hunter2" not in err


def test_no_traceback_has_what_a_program_of_credentials_printed(
    project: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The output of `credential_process`, with its secrets, is in no traceback: not what it wrote, nor a time that is invalid."""
    for script in (
        "echo 'AWS_SECRET hunter2hunter2/K7MDENG/bPxRfiCYEXAMPLEKEY' >&2; exit 1",
        'echo \'{"Version": 1, "AccessKeyId": "A", "SecretAccessKey": "s", "SessionToken": "t", "Expiration": "hunter2"}\'',
    ):
        program = tmp_path / "program"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        (tmp_path / "config").write_text(
            f"[profile gone]\nregion = us-east-1\ncredential_process = {program}\naws_session_token = x\n"
        )
        assert 6 == main(["publish", "-v", "--project", project])
        assert "hunter2" not in capsys.readouterr().err


def test_a_build_without_a_region_hints_at_what_a_build_has(
    project: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command has no option for the region, and the settings for publishing do not concern the team store."""
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.delenv("AWS_PROFILE")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")

    assert 0 == main(["build", "--project", project])
    assert [
        (
            "hint: set the region of the bucket: `export AWS_REGION=eu-west-1`, or `region` in the AWS profile; "
            "then sign in, for example with `aws sso login`, or set `AWS_PROFILE`"
        ),
    ] == [line for line in capsys.readouterr().err.splitlines() if line.startswith("hint: ")]
