"""Test ``lamina policy layers``: the policy allows what the configuration allows."""

from __future__ import annotations

import itertools
import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from lamina.cli.main import main
from lamina.project import config

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

OWN, CENTRAL = "111111111111", "222222222222"
EXTENSION = "arn:aws:lambda:*:464622532012:layer:Datadog-Extension*"
PINNED = "arn:aws:lambda:eu-west-1:017000801446:layer:AWSLambdaPowertoolsPythonV3-python313-x86_64:27"
ANY_PARTITION = "arn:*:lambda:*:580247275435:layer:LambdaInsightsExtension"

_ACCOUNTS = (OWN, CENTRAL, "464622532012", "017000801446", "580247275435", "999999999999")
_NAMES = (
    "tools:1",
    "Datadog-Extension:80",
    "Datadog-Extension-ARM:81",
    "Datadog-Python313:1",
    "AWSLambdaPowertoolsPythonV3-python313-x86_64:27",
    "AWSLambdaPowertoolsPythonV3-python313-x86_64:127",
    "LambdaInsightsExtension:52",
    "LambdaInsightsExtension-Arm64:52",
)
LAYERS = [
    f"arn:{partition}:lambda:{region}:{account}:layer:{name}"
    for (partition, region), account, name in itertools.product(
        (
            ("aws", "eu-west-1"),
            ("aws-cn", "cn-north-1"),
            ("aws-us-gov", "us-gov-west-1"),
            ("aws-iso-b", "us-isob-east-1"),
            ("aws-eusc", "eusc-de-east-1"),
        ),
        _ACCOUNTS,
        _NAMES,
    )
]


def like(pattern: str, value: str, account: str) -> bool:
    """Return whether *value* matches *pattern* as in IAM's operator `StringLike`, with the variable of the caller's *account*."""
    pattern = pattern.replace("${aws:PrincipalAccount}", account)
    return re.fullmatch(re.escape(pattern).replace(r"\*", ".*"), value) is not None


def denies(
    policy: dict[str, Any], action: str, layers: Sequence[str] | None, account: str = OWN, *, missing: bool = False
) -> bool:
    """
    Return whether IAM denies *action* with *layers*, the values of `lambda:Layer`, or without that key if it is None.

    *missing* is whether `ForAnyValue` with a negated operator matches without a value, as the operator alone does.

    The rules are those of the IAM User Guide: the operators of a condition must all match. `ForAnyValue` matches if one value does, and
    never without a value. A negated operator matches a value if no pattern does. `Null` "false" matches if the key has a value.
    """
    return any(
        statement["Effect"] == "Deny"
        and action in statement["Action"]
        and all(
            _matches(operator, patterns, layers or (), account, missing=missing)
            for operator, keys in statement["Condition"].items()
            for patterns in [keys["lambda:Layer"]]
        )
        for statement in policy["Statement"]
    )


def _matches(operator: str, patterns: Any, values: Sequence[str], account: str, *, missing: bool) -> bool:
    match operator:
        case "ForAnyValue:StringNotLike":
            return (missing and not values) or any(
                not any(like(pattern, value, account) for pattern in patterns) for value in values
            )
        case "Null":
            return bool(patterns == "true") == (not values)
        case _:
            raise NotImplementedError(operator)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    rows = ", ".join(f'{{ arn = "{arn}", reason = "for the test" }}' for arn in (EXTENSION, PINNED, ANY_PARTITION))
    roles = f'roles = ["arn:aws:iam::{CENTRAL}:role/publisher"]'
    (tmp_path / "lamina.toml").write_text(f'runtime = "python3.13"\nallow-layers = [{rows}]\n[publish]\n{roles}\n')
    return tmp_path


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    assert 0 == main(["policy", "layers", *words])
    return dict(json.loads(capsys.readouterr().out))


@pytest.mark.parametrize("words", [[], ["--iam"]])
@pytest.mark.parametrize("action", ["lambda:CreateFunction", "lambda:UpdateFunctionConfiguration"])
def test_policy_decides_as_the_configuration(
    words: list[str], action: str, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In every partition, the policy denies exactly the layers that lamina refuses: alone, and after an allowed one."""
    policy = printed(capsys, *words)
    service = config.load(project)
    refused = [arn for arn in LAYERS if service.refuses(arn, OWN)]
    allowed = next(arn for arn in LAYERS if arn not in refused)

    assert 0 < len(refused) < len(LAYERS)
    assert refused == [arn for arn in LAYERS if denies(policy, action, [arn])]
    assert refused == [arn for arn in LAYERS if denies(policy, action, [allowed, arn])]


def test_requests_without_layers(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A request that sets no layers, or removes all, is not denied, and neither is any other action."""
    policy = printed(capsys)
    refused = "arn:aws:lambda:eu-west-1:999999999999:layer:tools:1"

    assert not denies(policy, "lambda:UpdateFunctionConfiguration", None)
    assert not denies(policy, "lambda:UpdateFunctionConfiguration", [])
    assert not denies(policy, "lambda:UpdateFunctionConfiguration", None, missing=True)
    assert not denies(policy, "lambda:UpdateFunctionCode", [refused])
    assert denies(policy, "lambda:CreateFunction", [refused])
    assert project.is_dir()


def test_each_account_of_an_organisation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """Outside a service, the options decide. A function may have the layers of its own account, but not those of another member."""
    monkeypatch.chdir(tmp_path)
    policy = printed(capsys, "--account", CENTRAL, "--allow", EXTENSION)
    layer = "arn:aws:lambda:eu-west-1:{}:layer:tools:1".format

    assert [False, True, False] == [
        denies(policy, "lambda:CreateFunction", [layer(each)], OWN) for each in (OWN, "999999999999", CENTRAL)
    ]
    assert not denies(policy, "lambda:CreateFunction", [layer("999999999999")], "999999999999")
    assert not denies(policy, "lambda:CreateFunction", [f"{EXTENSION[:-1]}:80".replace("*", "eu-west-1")])


def test_permission_to_use_the_allowed_layers(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A policy for an identity permits to read the allowed layers. IAM accepts no resource of another partition, so none is named."""
    allow, deny = printed(capsys, "--iam")["Statement"]

    assert ("Allow", "lambda:GetLayerVersion", "Deny") == (allow["Effect"], allow["Action"], deny["Effect"])
    assert [
        f"arn:*:lambda:*:{CENTRAL}:layer:*",
        EXTENSION.replace(":aws:", ":*:"),
        PINNED.replace(":aws:", ":*:"),
        f"{ANY_PARTITION}:*",
    ] == allow["Resource"]
    assert project.is_dir()


def test_services_of_a_workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """At the root of a workspace, the policy allows what any of its services allows."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pyproject.toml").write_text('[tool.lamina.workspace]\nmembers = ["a", "b"]\n')
    for name, arn in (("a", EXTENSION), ("b", PINNED)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "lamina.toml").write_text(
            f'runtime = "python3.13"\nallow-layers = [{{ arn = "{arn}", reason = "x" }}]\n'
        )

    (statement,) = printed(capsys)["Statement"]
    values = statement["Condition"]["ForAnyValue:StringNotLike"]["lambda:Layer"]

    assert ["arn:*:lambda:*:${aws:PrincipalAccount}:layer:*", EXTENSION, PINNED] == values


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--account", "123"], "`123` is not an account ID"),
        (["--allow", "tools"], "`--allow`: `tools` is not the ARN of a layer, or a pattern such as"),
    ],
)
def test_mistakes(words: list[str], message: str, tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    """An invalid account or pattern is a usage error."""
    monkeypatch.chdir(tmp_path)

    assert 2 == main(["policy", "layers", *words])
    assert message in capsys.readouterr().err
