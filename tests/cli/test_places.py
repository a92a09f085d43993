"""Test deploying to and pruning several accounts and regions: each independently, but all of them are checked first."""

from __future__ import annotations

import itertools
import json
import shutil
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from aws.faults import bad_line
from lamina.cli.main import main
from lamina.core.values import code_sha256
from services import HANDLER, make_service

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from aws.faults import Line
    from emulators import Emulator

ROLE = "arn:aws:iam::000000000000:role/service"
ACCOUNTS = ("111111111111", "222222222222")
REGIONS = ("eu-west-1", "us-east-1")
PLACES = tuple(itertools.product(ACCOUNTS, REGIONS))


class Company:
    """A service that is deployed to several accounts with two regions each."""

    def __init__(self, directory: Path, emulator: Emulator, line: Line, accounts: tuple[str, ...] = ACCOUNTS) -> None:
        self.name = f"s{uuid.uuid4().hex[:10]}"
        self.line = line
        self.emulator = emulator
        self.service = make_service(directory)
        self.accounts = accounts
        self.places = tuple(itertools.product(accounts, REGIONS))
        for account, region in self.places:
            where = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
            self.client("s3", account, region).create_bucket(Bucket=f"{self.name}-{account}-{region}", **where)
        self.write()

    def client(self, service: str, account: str, region: str) -> Any:
        return self.emulator.client(service, region=region, account=account)

    def write(self, code: str = HANDLER) -> None:
        root = self.service.write()
        (root / "service" / "handlers" / "hello.py").write_text(code)
        roles = json.dumps([f"arn:aws:iam::{account}:role/publisher" for account in self.accounts])
        lines = [
            "[tool.lamina.publish]",
            f'layer-name = "{self.name}-{{layer}}"',
            f'bucket = "{self.name}-{{account}}-{{region}}"',
            f"roles = {roles}",
            f"regions = {json.dumps(REGIONS)}",
            "[tool.lamina.deploy]",
            f'function-name = "{self.name}-{{function}}"',
            'alias = "live"\n',
        ]
        with (root / "pyproject.toml").open("a", encoding="utf-8") as file:
            file.write("\n".join(lines))

    def run(self, command: str, *words: str) -> int:
        return main([command, "--project", str(self.service.root), *words])

    @property
    def code(self) -> str:
        build = json.loads((self.service.root / ".lamina" / "build.json").read_text())
        return code_sha256(build["functions"][0]["sha256"])

    def serving(self, account: str, region: str) -> tuple[str, list[str]]:
        client = self.client("lambda", account, region)
        said = client.get_function_configuration(FunctionName=f"{self.name}-hello", Qualifier="live")
        return said["CodeSha256"], [row["Arn"] for row in said["Layers"]]

    def arn(self, account: str, region: str, number: int) -> str:
        return f"arn:aws:lambda:{region}:{account}:layer:{self.name}-common:{number}"

    def versions(self, account: str, region: str) -> list[int]:
        client = self.client("lambda", account, region)
        rows = client.list_layer_versions(LayerName=f"{self.name}-common")["LayerVersions"]
        return sorted(row["Version"] for row in rows)


@pytest.fixture
def company(
    tmp_path: Path, ministack: Emulator, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[Company]:
    monkeypatch.setenv("LAMINA_CACHE_DIR", str(tmp_path / "cache"))
    with bad_line(ministack.url) as line:
        monkeypatch.setenv("AWS_ENDPOINT_URL", line.url)
        yield Company(tmp_path, ministack, line, getattr(request, "param", ACCOUNTS))


def test_deploys_and_prunes_everywhere(company: Company, capsys: pytest.CaptureFixture[str]) -> None:
    """Each account and region has its own functions and versions; a version in use in one of them is kept only there."""
    codes = [company.run("deploy", "--create", "--role", ROLE)]
    made = capsys.readouterr().out.split()
    first = company.code
    company.service.add("alpha", "1.1", {"alpha/__init__.py": "VALUE = 2\n"})
    company.write(HANDLER + "# changed\n")
    codes.append(company.run("deploy", "--json"))
    rows = json.loads(capsys.readouterr().out)["functions"]
    codes.append(company.run("deploy", "--check"))

    assert [0, 0, 0] == codes
    assert [company.arn(*place, 1) for place in PLACES] == made
    assert first != company.code
    assert [(*place, "2") for place in PLACES] == [
        (row["account"], row["region"], row["function_version"]) for row in rows
    ]
    for place in PLACES:
        assert (company.code, [company.arn(*place, 2)]) == company.serving(*place)

    # Version 1 of each function uses version 1 of the layer. Delete that function version in one region.
    company.client("lambda", *PLACES[3]).delete_function(FunctionName=f"{company.name}-hello", Qualifier="1")
    prune = ("prune", "--keep", "1", "--keep-days", "0", "--objects", "--apply")
    company.line.denied = ("DeleteLayerVersion", "us-east-1")
    capsys.readouterr()
    codes = [company.run(*prune)]
    ended = [line for line in capsys.readouterr().err.splitlines() if ": deleted " in line]
    company.line.denied = None
    codes.append(company.run(*prune))

    assert [6, 0] == codes
    assert [
        *(f"{account} in {region}: deleted 0 layer versions" for account, region in PLACES[:3]),
        "{} in {}: deleted 0 layer versions, then failed".format(*PLACES[3]),
    ] == ended
    assert [company.arn(*PLACES[3], 1)] == capsys.readouterr().out.split()
    assert [[1, 2], [1, 2], [1, 2], [2]] == [company.versions(*place) for place in PLACES]


def test_some_places_cannot_be_pruned(company: Company, capsys: pytest.CaptureFixture[str]) -> None:
    """If a place fails, the others are pruned, and the output has what was deleted at each place. The next run deletes the rest."""
    for version in ("1.0", "1.1"):
        company.service.add("alpha", version, {"alpha/__init__.py": f"VALUE = {version!r}\n"})
        company.write()
        assert 0 == company.run("publish")
    # The layer of the last build would be kept.
    shutil.rmtree(company.service.root / ".lamina")
    prune = ("prune", "--keep", "1", "--keep-days", "0", "--apply")
    company.line.denied = ("DeleteLayerVersion", "us-east-1")
    capsys.readouterr()
    code = company.run(*prune)
    captured = capsys.readouterr()

    assert 6 == code
    assert [company.arn(account, "eu-west-1", 1) for account in ACCOUNTS] == captured.out.split()
    for account in ACCOUNTS:
        assert f"{account} in eu-west-1: deleted 1 layer version" in captured.err.splitlines()
        assert f"{account} in us-east-1: deleted 0 layer versions, then failed" in captured.err.splitlines()
        assert f"  {account} in us-east-1: AWS denied permission to delete version 1 of layer" in captured.err
    assert [[2], [1, 2]] * 2 == [company.versions(*place) for place in PLACES]
    company.line.denied = None

    assert (0, [[2]] * 4) == (company.run(*prune), [company.versions(*place) for place in PLACES])


def test_one_place_cannot_be_deployed_to(company: Company, capsys: pytest.CaptureFixture[str]) -> None:
    """A problem found while planning for one region stops the deployment before any region is changed."""
    assert 0 == company.run("deploy", "--create", "--role", ROLE)
    before = [company.serving(*place) for place in PLACES]
    company.write(HANDLER + "# changed\n")
    client = company.client("lambda", *PLACES[1])
    client.update_alias(
        FunctionName=f"{company.name}-hello", Name="live", RoutingConfig={"AdditionalVersionWeights": {"1": 0.5}}
    )
    capsys.readouterr()
    code = company.run("deploy")
    err = capsys.readouterr().err

    assert 6 == code
    assert (
        f"alias `live` of `{company.name}-hello` splits its traffic between two versions: point it to one of them first"
        in err
    )
    assert before == [company.serving(*place) for place in PLACES]


@pytest.mark.parametrize("company", [(*ACCOUNTS, "333333333333")], indirect=True)
def test_some_places_fail(company: Company, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """If some places fail, the report and the text list each place with its outcome and its versions, and the next run completes it."""
    assert 0 == company.run("deploy", "--create", "--role", ROLE)
    capsys.readouterr()
    before = company.code
    company.write(HANDLER + "# changed\n")
    company.line.denied = ("UpdateFunctionCode", "us-east-1")
    output = tmp_path / "deployed.json"
    code = company.run("deploy", "--json", "--output", str(output))
    captured = capsys.readouterr()
    report = json.loads(captured.out)
    outcomes = [(place["account"], place["region"], place["outcome"]) for place in report["places"]]
    function = f"{company.name}-hello"

    assert 6 == code
    assert [(*place, "untouched" if place[1] == "us-east-1" else "deployed") for place in company.places] == outcomes
    assert [("2", True), ("1", False)] * 3 == [
        (row["function_version"], place["error"] is None)
        for row, place in zip(report["functions"], report["places"], strict=True)
    ]
    assert [False, True] * 3 == [
        "AWS denied permission to update the code" in str(place["error"]) for place in report["places"]
    ]
    assert "3 of 6 destinations failed" in report["error"]["message"]
    assert report == {**json.loads(output.read_text())}
    for account in company.accounts:
        assert f"function {function}, {account} in eu-west-1: deployed, version 2" in captured.err.splitlines()
        assert f"function {function}, {account} in us-east-1: untouched, version 1" in captured.err.splitlines()
    assert [company.code, before] * 3 == [company.serving(*place)[0] for place in company.places]

    company.line.denied = None
    code = company.run("deploy", "--json")

    assert 0 == code
    assert ["deployed", "unchanged"] * 3 == [
        place["outcome"] for place in reversed(json.loads(capsys.readouterr().out)["places"])
    ]


def test_layers_of_some_places_fail(company: Company, capsys: pytest.CaptureFixture[str]) -> None:
    """If a layer cannot be published in one region, the report lists those that were, and no function is changed anywhere."""
    company.line.denied = ("PublishLayerVersion", "us-east-1")
    codes = [company.run("deploy", "--create", "--role", ROLE, "--json")]
    deployed = json.loads(capsys.readouterr().out)
    codes.append(company.run("publish", "--json"))
    captured = capsys.readouterr()
    published = json.loads(captured.out)
    for region, words in (("eu-west-1", "unchanged, version 1"), ("us-east-1", "not published")):
        places = ", ".join(f"{account} in {region}" for account in ACCOUNTS)
        assert f"layer {company.name}-common, 2 places ({places}): {words}" in captured.err.splitlines()
    company.service.add("alpha", "1.1", {"alpha/__init__.py": "VALUE = 2\n"})
    company.write()
    company.line.denied = ("PutObject", "us-east-1")
    codes.append(company.run("publish", "--upload-only", "--json"))
    captured = capsys.readouterr()
    uploaded = json.loads(captured.out)
    for region, words in (("eu-west-1", "uploaded"), ("us-east-1", "not uploaded")):
        places = ", ".join(f"{account} in {region}" for account in ACCOUNTS)
        assert f"layer {company.name}-common, 2 places ({places}): {words}" in captured.err.splitlines()

    assert [6, 6, 6] == codes
    assert ["uploaded", "failed"] * 2 == [place["outcome"] for place in uploaded["places"]]
    assert [PLACES[0], PLACES[2]] == [(row["account"], row["region"]) for row in uploaded["layers"]]
    assert ["untouched"] * 4 == [place["outcome"] for place in deployed["places"]]
    assert ["unchanged", "failed"] * 2 == [place["outcome"] for place in published["places"]]
    for report in (deployed, published):
        assert [company.arn(*PLACES[0], 1), company.arn(*PLACES[2], 1)] == [row["arn"] for row in report["layers"]]
        assert [True, False] * 2 == [place["error"] is None for place in report["places"]]
