"""Test ``lamina prune`` from the command line with an emulated AWS."""

from __future__ import annotations

import hashlib
import json
import shutil
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from aws.lambdafakes import code
from aws.recorder import recorder
from lamina.cli.main import main
from services import make_service

if TYPE_CHECKING:
    from pathlib import Path

    from emulators import Emulator


class Shop:
    """A service with four published versions of its layer; a function uses the first."""

    def __init__(self, directory: Path, emulator: Emulator) -> None:
        self.name = f"s{uuid.uuid4().hex[:10]}"
        self.root = directory
        self.lambda_: Any = emulator.client("lambda")
        self.emulator = emulator
        (directory / "pyproject.toml").write_text(
            f'[project]\nname = "{self.name}"\n[tool.lamina]\nruntime = "python3.13"\narchitecture = "x86_64"\n'
            f'source = ["service"]\n[tool.lamina.functions]\nhello = "service.hello.handler"\n'
            f'[tool.lamina.publish]\nbucket = "{self.name}"\n'
        )
        (directory / "service").mkdir()
        self.layer = f"{self.name}-common"
        # Use digests that no other test has, because objects that any layer of the account needs are kept.
        self.digests = [hashlib.sha256(f"{self.name} {number}".encode()).hexdigest() for number in range(4)]
        self.arns = [
            self.lambda_.publish_layer_version(
                LayerName=self.layer,
                Description=f"lamina:{digest} python3.13 on x86_64",
                Content={"ZipFile": code(str(number), 5000)},
            )["LayerVersionArn"]
            for number, digest in enumerate(self.digests)
        ]
        self.lambda_.create_function(
            FunctionName=self.name,
            Role="arn:aws:iam::000000000000:role/r",
            Runtime="python3.13",
            Handler="app.handler",
            Code={"ZipFile": code("x")},
            Layers=[self.arns[0]],
        )

    def run(self, *words: str) -> int:
        return main(["prune", "--project", str(self.root), "--keep", "2", "--keep-days", "0", *words])

    def left(self) -> list[int]:
        return sorted(row["Version"] for row in self.emulator.versions(self.layer))


@pytest.fixture
def shop(tmp_path: Path, ministack: Emulator) -> Shop:
    return Shop(tmp_path, ministack)


def test_dry_run(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    """By default, prune lists unused versions with their size and deletes nothing."""
    exit_code = shop.run()
    captured = capsys.readouterr()

    assert 0 == exit_code
    assert [shop.arns[1]] == captured.out.split()
    assert [1, 2, 3, 4] == shop.left()
    # The zip itself has 5.1 kB.
    assert "would delete 1 layer version (5.0 kB unzipped); to delete, run again with `--apply`" in captured.err


def test_apply(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    """`--apply` keeps versions in use and the newest versions."""
    exit_code = shop.run("--apply", "--json")
    document = json.loads(capsys.readouterr().out)

    assert (0, True) == (exit_code, document["applied"])
    assert [1, 3, 4] == shop.left()
    assert [(4, "keep"), (3, "keep"), (2, "delete"), (1, "keep")] == [
        (row["layer_version"], row["action"]) for row in document["layers"]
    ]


def test_many_versions(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    """If more than 100 versions are unused, their sizes are not read, and the output says so."""
    for number in range(100):
        description = f"lamina:{hashlib.sha256(str(number).encode()).hexdigest()} python3.13 on x86_64"
        shop.lambda_.publish_layer_version(
            LayerName=shop.layer, Description=description, Content={"ZipFile": code("x")}
        )
    exit_code = shop.run()
    captured = capsys.readouterr()
    note, closing = captured.err.splitlines()[-2:]

    assert (0, 101) == (exit_code, len(captured.out.split()))
    assert (
        f"layer {shop.layer} version 2, 000000000000 in eu-west-1: delete (not used by any version of any function; whether it is shared "
        "with other accounts is checked before it is deleted)"
    ) in captured.err
    assert note == (
        "note: the sizes of 101 layer versions were not read, because that takes two API calls for each; `--sizes` reads them"
    )
    assert closing == "would delete 101 layer versions; to delete, run again with `--apply`"


def test_young(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    """Recent versions are kept; a layer without versions is reported."""
    exit_code = shop.run("--keep-days", "1", "--apply", "--layer", shop.layer, "--layer", "nothing")
    lines = capsys.readouterr().err.splitlines()

    assert (0, [1, 2, 3, 4]) == (exit_code, shop.left())
    assert "layer nothing, 000000000000 in eu-west-1: no versions found" in lines
    assert "nothing to prune" == lines[-1]


def test_objects(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    """Bucket objects are checked only with `--objects`, and recent objects are kept."""
    shop.emulator.make_bucket(shop.name)
    shop.emulator.client("s3").put_object(Bucket=shop.name, Key=f"lamina/parts/{'a' * 64}", Body=b"part")
    exit_code = shop.run("--objects", "--json")

    assert (0, []) == (exit_code, json.loads(capsys.readouterr().out)["objects"])


def test_deletes_what_is_said(shop: Shop, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A version that is attached after planning is kept with its objects; unfinished uploads are deleted."""
    shop.emulator.make_bucket(shop.name)
    s3 = shop.emulator.client("s3")
    keys = [f"lamina/layers/{digest}.zip" for digest in shop.digests]
    claim = f"lamina/claims/000000000000/eu-west-1/{shop.layer}/{shop.digests[0]}"
    for key in (*keys, claim):
        s3.put_object(Bucket=shop.name, Key=key, Body=b"zip")
    for key in (keys[0], "lamina/others.zip"):
        s3.create_multipart_upload(Bucket=shop.name, Key=key)
    seen: list[str] = []

    def attach(operation: str) -> None:
        seen.append(operation)
        if operation == "ListFunctions" and seen.count(operation) == 2:
            shop.lambda_.update_function_configuration(FunctionName=shop.name, Layers=[shop.arns[1]])

    with recorder(shop.emulator.url) as record:
        monkeypatch.setenv("AWS_ENDPOINT_URL", record.url)
        record.days, record.before = 2, attach
        exit_code = shop.run("--objects", "--apply", "--keep", "1")
    captured = capsys.readouterr()

    assert 0 == exit_code
    assert [1, 2, 4] == shop.left()
    assert [shop.arns[2]] == captured.out.split()
    assert f"layer {shop.layer} version 2, 000000000000 in eu-west-1: keep (used by a function)" in captured.err
    assert (
        captured.err.splitlines()[-1]
        == "deleted 1 layer version (5.0 kB unzipped), 2 objects (0.0 kB), 1 unfinished upload"
    )
    assert sorted(keys[number] for number in (0, 1, 3)) == sorted(shop.emulator.keys(shop.name))
    assert ["lamina/others.zip"] == [row["Key"] for row in s3.list_multipart_uploads(Bucket=shop.name)["Uploads"]]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--keep", "0"], "`--keep`: `0` is not a valid number of versions: expected at least 1"),
        (["--keep-days", "-1"], "`--keep-days`: `-1` is not a valid number of days: expected at least 0"),
        (["--all", "--layer", "x"], "`--layer` is not allowed with `--all`"),
    ],
)
def test_usage(tmp_path: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Invalid arguments are reported before any request to AWS."""
    exit_code = main(["prune", "--project", str(tmp_path), *words])

    assert 2 == exit_code
    assert f"error: {message}" == capsys.readouterr().err.partition("\n")[0]


class Company:
    """A service with a lock file whose layer is published, with its ARN as a parameter, below unique names."""

    def __init__(self, directory: Path, emulator: Emulator) -> None:
        self.name = f"c{uuid.uuid4().hex[:10]}"
        self.layer = f"{self.name}-common"
        self.emulator = emulator
        self.service = make_service(directory)
        self.prefix = f"/{self.name}/{{service}}"

    def write(self, beta: str) -> Path:
        self.service.add("beta", beta, {"beta.py": "import alpha\n"})
        root = self.service.write()
        rows = [f'layer-name = "{self.layer}"', f'ssm-prefix = "{self.prefix}"' if self.prefix else ""]
        path = root / "pyproject.toml"
        path.write_text("\n".join([path.read_text(), "[tool.lamina.publish]", *rows, ""]))
        return root

    def publish(self, beta: str) -> None:
        assert 0 == main(["publish", "--project", str(self.write(beta))])

    def prune(self, *words: str) -> int:
        strict = ("--keep", "1", "--keep-days", "0", *words)
        return main(["prune", "--project", str(self.service.root), *strict])

    def reasons(self, capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
        """Return the reason for each version, newest first."""
        capsys.readouterr()
        assert 0 == self.prune("--json", *words)
        return [row["reason"] for row in json.loads(capsys.readouterr().out)["layers"]]

    def left(self) -> list[int]:
        return sorted(row["Version"] for row in self.emulator.versions(self.layer))


@pytest.fixture
def company(tmp_path: Path, ministack: Emulator, monkeypatch: pytest.MonkeyPatch) -> Company:
    monkeypatch.setenv("LAMINA_CACHE_DIR", str(tmp_path / "cache"))
    return Company(tmp_path, ministack)


def test_the_version_that_the_lock_and_its_parameter_name_stays(
    company: Company, capsys: pytest.CaptureFixture[str]
) -> None:
    """After a lock file returns to an earlier state, its version is the oldest, and no function need use it."""
    for beta in ("1", "2", "3", "1"):
        company.publish(beta)
    assert 0 == company.prune("--apply")
    said = capsys.readouterr().err

    assert [1, 3] == company.left()
    named = f"layer {company.layer} version 1, 000000000000 in eu-west-1: keep (named by parameter `/{company.name}/"
    assert f"{named}greeter/common`)" in said
    assert 0 == main(["publish", "--check", "--project", str(company.service.root)])


def test_the_version_of_the_lock_stays_without_parameter_and_build(
    company: Company, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A machine that has neither built the layer nor its wheels keeps what may be the layer of its lock file."""
    company.prefix = ""
    company.service.settings["bytecode"] = '"reachable"'
    for beta in ("1", "2", "1"):
        company.publish(beta)
    first = company.reasons(capsys)
    # A checkout on another machine has no build, and its store has no wheels.
    monkeypatch.setenv("LAMINA_CACHE_DIR", str(tmp_path / "another"))
    shutil.rmtree(company.service.root / ".lamina")
    second = company.reasons(capsys, "--apply")

    newest = "among the newest 1 version"
    assert [newest, "the layer of the present lock file"] == first
    assert [newest, "has the distributions of the present lock file"] == second
    assert [1, 2] == company.left()
