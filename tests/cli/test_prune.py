"""Test ``lamina prune`` from the command line with an emulated AWS."""

from __future__ import annotations

import hashlib
import json
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from aws.lambdafakes import code
from aws.recorder import recorder
from lamina.cli.main import main

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


def test_young(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    """Recent versions are kept; a layer without versions is reported."""
    exit_code = shop.run("--keep-days", "1", "--apply", "--layer", shop.layer, "--layer", "nothing")
    lines = capsys.readouterr().err.splitlines()

    assert (0, [1, 2, 3, 4]) == (exit_code, shop.left())
    assert "layer nothing, 000000000000 in eu-west-1: no versions found" == lines[0]
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
    assert (
        f"layer {shop.layer} version 2, 000000000000 in eu-west-1: keep (became needed after the plan was made)"
        in captured.err
    )
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
