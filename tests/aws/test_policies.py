"""The documented IAM policies allow exactly the actions that lamina uses."""

from __future__ import annotations

import json
import random
import re
import shutil
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore import xform_name
from botocore.stub import Stubber

from aws.lambdafakes import code
from aws.recorder import ACCOUNT, Record, recorder
from emulators import knows_storage_mode
from lamina.aws.api import facts
from lamina.aws.api.account import Account
from lamina.aws.api.errors import Caller
from lamina.aws.publish.bucket_policy import ready_policy
from lamina.cli.main import main
from lamina.core.errors import MissingPermissionError
from services import HANDLER, make_service

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aws.recorder import Need
    from emulators import Emulator

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "iam-policy.md").read_text(encoding="utf-8")
ROLE = f"arn:aws:iam::{ACCOUNT}:role/service"


class Stage:
    """A service in an emulated account, with a record of all requests."""

    def __init__(self, directory: Path, emulator: Emulator, record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
        self.record, self.emulator, self.directory = record, emulator, directory
        self.name = f"p{uuid.uuid4().hex[:10]}"
        self.bucket = emulator.make_bucket(f"{self.name}-bucket")
        self.service = make_service(directory)
        noise = random.Random(self.name).randbytes(5_300_000)  # noqa: S311 - bytes that do not deflate
        self.service.add("big", "1.0", {"big/noise.bin": noise})
        self.publish: dict[str, str] = {}
        self._monkeypatch = monkeypatch
        self.use("one")

    def use(self, machine: str) -> None:
        """Switch to another machine, which has its own store."""
        self._monkeypatch.setenv("LAMINA_CACHE_DIR", str(self.directory / machine))

    def run(self, *words: str, handler: str = HANDLER) -> int:
        root = self.service.write()
        (root / "service" / "handlers" / "hello.py").write_text(handler)
        rows = {"layer-name": f'"{self.name}-{{layer}}"', "bucket": f'"{self.bucket}"'} | self.publish
        lines = ["[tool.lamina.publish]", *(f"{key} = {value}" for key, value in rows.items())]
        lines += ["[tool.lamina.deploy]", f'function-name = "{self.name}-{{function}}"', 'alias = "live"']
        path = root / "pyproject.toml"
        path.write_text(path.read_text() + "\n" + "\n".join(lines) + "\n")
        return main([*words, "--project", str(root)])

    def policy(self, *headings: str) -> list[dict[str, Any]]:
        """Return the documented statements under *headings*, with the names of this test."""
        text = PAGE
        for documented, here in {
            "arn:aws:iam::210987654321:role/layer-publisher": ROLE,
            "123456789012": ACCOUNT,
            "464622532012": ACCOUNT,
            "my-artifacts": self.bucket,
            "team-artifacts": self.bucket,
            "orders-": f"{self.name}-",
        }.items():
            text = text.replace(documented, here)
        found: list[dict[str, Any]] = []
        for heading in headings:
            block = re.search(rf"^## {re.escape(heading)}$.*?```json\n(.*?)```", text, re.DOTALL | re.MULTILINE)
            assert block is not None, heading
            found += json.loads(block[1])["Statement"]
        return found


@pytest.fixture
def stage(tmp_path: Path, ministack: Emulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    with recorder(ministack.url) as record:
        monkeypatch.setenv("AWS_ENDPOINT_URL", record.url)
        yield Stage(tmp_path, ministack, record, monkeypatch)


def listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def allows(action: str, pattern: str, need: Need) -> bool:
    """Return whether a statement's action and resource pattern allow *need*, with IAM's matching rules."""
    expression = "".join({"*": ".*", "?": "."}.get(each, re.escape(each)) for each in pattern)
    return action == need[0] and re.fullmatch(expression, need[1]) is not None


def compare(statements: list[dict[str, Any]], needs: set[Need]) -> tuple[list[Need], list[Need]]:
    """Return the permissions that are needed but not allowed, and those that are allowed but not needed."""
    granted = [
        (action, pattern)
        for statement in statements
        for action in listed(statement["Action"])
        for pattern in listed(statement["Resource"])
    ]
    missing = [need for need in needs if not any(allows(*each, need) for each in granted)]
    needless = [each for each in granted if not any(allows(*each, need) for need in needs)]
    return sorted(missing), sorted(needless)


def unlisted(record: Record) -> set[tuple[str, str]]:
    """Return the operations whose actions are not in ``data/aws.toml``, and therefore only guessed."""
    return record.operations() - {(row["service"], row["name"]) for row in facts._data()["operation"]}


@knows_storage_mode
def test_publish(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    """

    The policy "Publish" covers every way of publishing.

    The runs are: first, unchanged, without wheels, by reference, with a failing copy, and with a damaged layer object.
    """
    stage.publish = {"ssm-prefix": '"/layers"', "share-with": '["123456789012"]', "roles": f'["{ROLE}"]'}
    codes = [stage.run("publish"), stage.run("publish")]
    client = stage.emulator.client("s3")
    client.put_bucket_versioning(Bucket=stage.bucket, VersioningConfiguration={"Status": "Enabled"})
    account = Account(id=ACCOUNT, partition="aws", region="eu-west-1")
    policy = ready_policy(bucket=stage.bucket, prefix="lamina/", account=account)
    client.put_bucket_policy(Bucket=stage.bucket, Policy=policy)
    stage.use("two")
    stage.publish |= {"storage": '"reference"', "layer-name": f'"{stage.name}-{{layer}}-other"'}
    codes.append(stage.run("publish"))
    stage.service.add("beta", "2.1", {"beta.py": "import alpha\n"})
    for refused, action in (
        ("UploadPartCopy", "s3:GetObject` and `s3:PutObject"),
        ("PublishLayerVersion", "lambda:Publi"),
    ):
        stage.record.refuse = {refused}
        capsys.readouterr()
        codes.append(stage.run("publish"))

        assert f"`{action}" in capsys.readouterr().err
    stage.record.refuse = set()
    zips = [row for row in client.list_objects_v2(Bucket=stage.bucket)["Contents"] if row["Key"].endswith(".zip")]
    newest = max(zips, key=lambda row: row["LastModified"])
    client.put_object(Bucket=stage.bucket, Key=newest["Key"], Body=b"?" * newest["Size"])
    codes.append(stage.run("publish"))

    assert [0, 0, 0, 6, 6, 6] == codes
    assert "differs from the build" in capsys.readouterr().err
    assert ([], []) == compare(stage.policy("Publish"), stage.record.needs())
    assert set() == unlisted(stage.record)
    stage.record.clear()
    stage.publish.pop("roles")
    codes = [stage.run("publish", "--check")]
    # A version of the other layer name exists, and the parameter has another ARN.
    stage.publish["layer-name"] = f'"{stage.name}-{{layer}}"'
    stage.service.add("beta", "2.0", {"beta.py": "import alpha\n"})
    codes.append(stage.run("publish", "--check"))

    assert [1, 1] == codes
    assert ([], []) == compare(stage.policy("Look"), stage.record.needs())
    stage.record.clear()
    stage.service.add("beta", "2.2", {"beta.py": "import alpha\n"})
    statements = [row for row in stage.policy("Publish") if row["Sid"] in ("Objects", "Bucket")]

    assert 0 == stage.run("publish", "--upload-only")
    assert [] == compare(statements, stage.record.needs())[0]


def test_deploy(stage: Stage) -> None:
    """The policies cover creating, keeping and changing functions, and a rollback when an alias or a version is denied."""
    create = ("--create", "--role", ROLE)
    stage.service.functions["second"] = "service.handlers.hello.lambda_handler"
    stage.record.refuse = {"PublishVersion"}
    codes = [stage.run("deploy", *create)]
    stage.record.refuse = set()
    codes += [stage.run("deploy", *create), stage.run("deploy", "--check")]
    stage.service.add("beta", "2.1", {"beta.py": "import alpha\n"})
    changed = HANDLER + "# changed\n"
    codes.append(stage.run("deploy", handler=changed))
    stage.record.refuse = {"UpdateAlias"}
    codes.append(stage.run("deploy", handler=changed + "# again\n"))
    stage.record.refuse = set()
    client = stage.emulator.client("lambda")
    for function in ("hello", "second"):
        client.delete_alias(FunctionName=f"{stage.name}-{function}", Name="live")
    # The first function already has its new alias, which the rollback deletes.
    stage.record.refuse = {f"CreateAlias {stage.name}-second"}
    codes.append(stage.run("deploy", handler=changed + "# again\n"))
    stage.record.refuse = set()
    codes.append(stage.run("deploy", handler=changed + "# again\n"))

    assert [6, 0, 0, 0, 6, 6, 0] == codes
    assert [] == compare(stage.policy("Publish", "Deploy", "Create"), stage.record.needs())[0]
    assert [] == compare(stage.policy("Deploy", "Create"), stage.record.needs())[1]
    assert set() == unlisted(stage.record)


def test_layers_of_others(stage: Stage) -> None:
    """A function's layers of other publishers stay, and every change of its layers needs permission to read them."""
    client = stage.emulator.client("lambda")
    assert 0 == stage.run("deploy", "--create", "--role", ROLE)
    content = {"ZipFile": code("extension")}
    other = client.publish_layer_version(LayerName="Datadog-Extension", Content=content)["LayerVersionArn"]
    function = f"{stage.name}-hello"
    present = [row["Arn"] for row in client.get_function_configuration(FunctionName=function)["Layers"]]
    client.update_function_configuration(FunctionName=function, Layers=[*present, other])
    stage.record.clear()
    stage.service.add("beta", "2.1", {"beta.py": "import alpha\n"})

    assert 0 == stage.run("deploy")
    assert other in [row["Arn"] for row in client.get_function_configuration(FunctionName=function)["Layers"]]
    assert [("lambda:GetLayerVersion", other)] == compare(stage.policy("Publish", "Deploy"), stage.record.needs())[0]
    assert ([], []) == (
        compare(stage.policy("Publish", "Deploy", "Layers of others"), stage.record.needs())[0],
        compare(stage.policy("Layers of others"), stage.record.needs())[1],
    )


def test_prune(stage: Stage) -> None:
    """The policy "Prune" covers a prune with an unsettled stack and parameters in which every unused item is deleted."""
    stage.publish = {"ssm-prefix": '"/layers"'}
    for number in range(2):
        stage.service.add("beta", f"2.{number}", {"beta.py": "import alpha\n"})
        assert 0 == stage.run("publish")
    # The layer of the last build would be kept.
    shutil.rmtree(stage.service.root / ".lamina")
    stage.record.clear()
    stage.record.days = 2
    left = f"lamina/layers/{'a' * 64}.zip"
    stage.emulator.client("s3").create_multipart_upload(Bucket=stage.bucket, Key=left)
    stage.emulator.client("lambda").create_function(
        FunctionName=stage.name, Role=ROLE, Runtime="python3.13", Handler="app.handler", Code={"ZipFile": code("x")}
    )
    words = ("prune", "--keep", "1", "--keep-days", "0", "--objects", "--apply")

    assert 0 == stage.run(*words)
    assert ([], []) == compare(stage.policy("Prune"), stage.record.needs())
    assert set() == unlisted(stage.record)


def test_team_store(stage: Stage) -> None:
    """A machine with write access adds to the team store, and a machine with read access only downloads."""
    stage.service.settings["store"] = f'"s3://{stage.bucket}/cache"'
    assert 0 == stage.run("build")
    assert ([], []) == compare(stage.policy("Write the team store"), stage.record.needs())
    stage.record.clear()
    stage.record.refuse = {"PutObject"}
    stage.use("two")
    shutil.rmtree(stage.service.root / ".lamina")
    assert 0 == stage.run("build")
    assert ([], []) == compare(stage.policy("Read the team store"), stage.record.needs())


def test_cold_starts(stage: Stage) -> None:
    """The policies cover reading logs and traces, and forcing a cold start."""
    client, name = stage.emulator.client("lambda"), f"{stage.name}-hello"
    made = client.create_function(
        FunctionName=name, Role=ROLE, Runtime="python3.13", Handler="a.b", Code={"ZipFile": code("x")}, Publish=True
    )
    client.create_alias(FunctionName=name, Name="live", FunctionVersion=made["Version"])
    assert 0 == stage.run("coldstart", "--aws", name, "--logs", "1", "--xray", "1")
    assert ([], []) == compare(stage.policy("Cold starts"), stage.record.needs())
    stage.record.clear()
    assert 0 == stage.run("coldstart", "--aws", name, "--forced", "1")
    assert ([], []) == compare(stage.policy("Forced cold starts"), stage.record.needs())
    assert set() == unlisted(stage.record)


@pytest.mark.parametrize(
    ("service", "operation", "code_of_error", "parameters"),
    [
        ("ssm", "PutParameter", "AccessDeniedException", {"Name": "/layers/x", "Value": "x"}),
        ("sts", "AssumeRole", "AccessDenied", {"RoleArn": ROLE, "RoleSessionName": "lamina"}),
        ("cloudformation", "GetTemplate", "AccessDenied", {"StackName": "orders"}),
        ("logs", "GetQueryResults", "AccessDeniedException", {"queryId": "1"}),
        ("xray", "BatchGetTraces", "AccessDeniedException", {"TraceIds": ["1"]}),
        ("lambda", "Invoke", "AccessDeniedException", {"FunctionName": "orders"}),
    ],
)
def test_denials_name_the_action(service: str, operation: str, code_of_error: str, parameters: dict[str, Any]) -> None:
    """The error names the denied action for every service."""
    client = boto3.client(service, region_name="eu-west-1", aws_access_key_id="x", aws_secret_access_key="x")
    with Stubber(client) as stubber:
        stubber.add_client_error(xform_name(operation), service_error_code=code_of_error, http_status_code=403)
        with pytest.raises(MissingPermissionError) as caught:
            Caller(client)(operation, doing="do it", **parameters)

    assert facts.actions(service, operation) == caught.value.actions
    assert f"`{caught.value.actions[0]}` is not allowed" in str(caught.value)
