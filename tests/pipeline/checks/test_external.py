"""Layers of other accounts that a configuration or a template names: refused unless they are allowed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lamina.core.values import Severity
from lamina.pipeline.checks.external import check
from lamina.project import config

if TYPE_CHECKING:
    from pathlib import Path

    from lamina.core.values import Finding

POWERTOOLS = "arn:aws:lambda:eu-west-1:017000801446:layer:AWSLambdaPowertoolsPythonV3-python313-x86_64:27"
DATADOG = "arn:aws:lambda:eu-west-1:464622532012:layer:Datadog-Extension:80"
OWN = "arn:aws:lambda:eu-west-1:123456789012:layer:tools:3"


def find(project: Path, text: str) -> tuple[Finding, ...]:
    (project / "app").mkdir(parents=True, exist_ok=True)
    (project / "lamina.toml").write_text(f'runtime = "python3.13"\nsource = ["app"]\n{text}')
    return check(config.load(project))


def test_layer_of_a_known_publisher(tmp_path: Path) -> None:
    """The finding names the functions, the layer, its publisher, what to lock, the line to add, and the place of the ARN."""
    functions = "".join(f'{name} = {{ handler = "main.f", layer-arns = ["{POWERTOOLS}"] }}\n' for name in ("a", "b"))

    [finding] = find(tmp_path, f"[functions]\n{functions}")

    assert ("external-layer", Severity.ERROR, "a") == (finding.rule, finding.severity, finding.path)
    assert ("lamina.toml", 4) == (finding.file, finding.line)
    assert finding.message == (
        f"`a`, `b`: the layer `{POWERTOOLS}` (Powertools for AWS Lambda (Python)) is of another account; lock "
        "`aws-lambda-powertools[all]` instead, or allow it: add `{ arn = "
        '"arn:aws:lambda:*:017000801446:layer:AWSLambdaPowertoolsPythonV3-python313-x86_64", reason = "…" }` to `allow-layers`'
    )


def test_layers_that_are_allowed(tmp_path: Path) -> None:
    """Of several layers, only those that no entry covers are refused."""
    layers = f'[functions]\na = {{ handler = "main.f", layer-arns = ["{DATADOG}", "{OWN}"] }}\n'

    def refused(*patterns: str) -> list[str]:
        entries = ", ".join(f'{{ arn = "{pattern}", reason = "for the test" }}' for pattern in patterns)
        found = find(tmp_path, f"allow-layers = [{entries}]\n{layers}")
        return [finding.message.split("`")[3] for finding in found]

    assert [DATADOG, OWN] == refused()
    assert [OWN] == refused("arn:aws:lambda:*:464622532012:layer:Datadog-Extension*")
    assert [OWN] == refused(DATADOG)
    assert [DATADOG, OWN] == refused(DATADOG.replace(":80", ":81"), "arn:aws:lambda:us-*:*:layer:*")
    assert [] == refused("arn:*:lambda:*:464622532012:layer:*", "arn:aws:lambda:*:123456789012:layer:tools")


def test_layers_of_own_accounts(tmp_path: Path) -> None:
    """The accounts to which the configuration publishes are not other accounts."""
    text = f'[functions]\na = {{ handler = "main.f", layer-arns = ["{OWN}"] }}\n[publish]\nroles = '

    assert [] == list(find(tmp_path, f'{text}["arn:aws:iam::123456789012:role/publisher"]\n'))
    assert 1 == len(find(tmp_path, f'{text}["arn:aws:iam::210987654321:role/publisher"]\n'))


@pytest.mark.parametrize("roles", ['"none"', "[1]", '["publisher"]', "{}"])
def test_roles_of_another_form(tmp_path: Path, roles: str) -> None:
    """Invalid roles are no accounts, and no error of a build, which does not use them."""
    text = f'[functions]\na = {{ handler = "main.f", layer-arns = ["{OWN}"] }}\n[publish]\nroles = {roles}\n'

    assert 1 == len(find(tmp_path, text))


def test_layer_of_a_template(tmp_path: Path) -> None:
    """If a template describes the functions, the finding names the template's line, which is the one to change."""
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "main.py").touch()
    (tmp_path / "template.yaml").write_text(f"""\
Transform: AWS::Serverless-2016-10-31
Resources:
  Report:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: app/
      Handler: main.handler
      Runtime: python3.13
      Layers:
        - {DATADOG}
""")
    (tmp_path / "lamina.toml").write_text("")

    [finding] = check(config.load(tmp_path))

    assert ("template.yaml", 10) == (finding.file, finding.line)
    assert "no Python package replaces this extension: copy it to your account, or allow it: add `{" in finding.message


@pytest.mark.parametrize(
    "pattern",
    ["tools", "arn:aws:lambda:*", "arn:aws:lambda:*:*:layer:[a-z]*", "arn:aws:lambda:*:${account}:layer:x", "arn:aws:lambda:*:1234:layer:*", "arn:aws:s3:::x"],
)  # fmt: skip
def test_pattern_that_matches_no_layer(tmp_path: Path, pattern: str) -> None:
    """A pattern that can match no layer, or that a policy could not have, is a mistake of the configuration."""
    from lamina.core.errors import InvalidConfigError

    with pytest.raises(InvalidConfigError, match="is not the ARN of a layer, or a pattern such as"):
        find(tmp_path, f'allow-layers = [{{ arn = "{pattern}", reason = "x" }}]\n')


UNKNOWN_REGION = POWERTOOLS.replace(":aws:", ":*:").replace("eu-west-1", "*")


@pytest.mark.parametrize(
    ("arn", "pattern", "refused"),
    [
        (UNKNOWN_REGION, POWERTOOLS, False),
        (UNKNOWN_REGION, POWERTOOLS.replace(":27", ""), False),
        (UNKNOWN_REGION, POWERTOOLS.replace(":27", ":26"), True),
        (UNKNOWN_REGION, "arn:aws:lambda:us-east-1:017000801446:layer:AWSLambdaPowertools*", False),
        (UNKNOWN_REGION, "arn:aws:lambda:*:464622532012:layer:*", True),
        (POWERTOOLS.replace("eu-west-1", "${AWS::Region}"), POWERTOOLS, False),
        (POWERTOOLS.replace(":27", ":*"), POWERTOOLS, False),
        (POWERTOOLS.replace("x86_64:27", "*:27"), POWERTOOLS, True),
        (POWERTOOLS.replace("x86_64:27", "*:27"), "arn:aws:lambda:*:017000801446:layer:*", False),
        ("arn:aws:lambda:eu-west-1:017000801446:layer:*:27", POWERTOOLS, True),
        (POWERTOOLS.replace("017000801446", "*"), DATADOG, False),
        (OWN.replace("123456789012", "${AWS::AccountId}"), POWERTOOLS, False),
    ],
)
def test_layers_that_depend_on_the_deployment(tmp_path: Path, arn: str, pattern: str, refused: bool) -> None:
    """An unknown region or version matches each pattern, an unknown name none; a layer that may be the own account's needs no entry."""
    allow = f'allow-layers = [{{ arn = "{pattern}", reason = "for the test" }}]'

    found = find(tmp_path, f'{allow}\n[functions]\na = {{ handler = "main.f", layer-arns = ["{arn}"] }}\n')

    assert [refused] == [bool(found)]
