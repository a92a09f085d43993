"""``lamina prune`` as it is typed, against an emulated AWS."""

from __future__ import annotations

import hashlib
import json
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from aws.lambdafakes import code
from lamina.cli import main

if TYPE_CHECKING:
    from pathlib import Path

    from emulators import Emulator


class Shop:
    """A service that has published four versions of its layer, of which a function uses the first."""

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
        self.arns = [
            self.lambda_.publish_layer_version(
                LayerName=self.layer,
                Description=f"lamina:{hashlib.sha256(str(number).encode()).hexdigest()} python3.13 on x86_64",
                Content={"ZipFile": code(str(number))},
            )["LayerVersionArn"]
            for number in range(4)
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
    """By default it says what would go, and what that frees, and deletes nothing."""
    exit_code = shop.run()
    captured = capsys.readouterr()

    assert 0 == exit_code
    assert [shop.arns[1]] == captured.out.split()
    assert [1, 2, 3, 4] == shop.left()
    assert f"would delete 1 layer version, {len(code('1')) / 1000:.1f} kB; --apply does it" in captured.err


def test_apply(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    """What is used, and the newest, stay."""
    exit_code = shop.run("--apply", "--json")
    document = json.loads(capsys.readouterr().out)

    assert (0, True) == (exit_code, document["applied"])
    assert [1, 3, 4] == shop.left()
    assert [(4, "keep"), (3, "keep"), (2, "delete"), (1, "keep")] == [
        (row["layer_version"], row["action"]) for row in document["layers"]
    ]


def test_young(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    """Versions of today stay unless no days are asked for."""
    exit_code = shop.run("--keep-days", "1", "--apply")

    assert (0, [1, 2, 3, 4]) == (exit_code, shop.left())
    assert "nothing to prune" == capsys.readouterr().err.splitlines()[-1]


def test_objects(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    """Objects are looked at on request only; those of today stay."""
    shop.emulator.make_bucket(shop.name)
    shop.emulator.client("s3").put_object(Bucket=shop.name, Key=f"lamina/parts/{'a' * 64}", Body=b"part")
    exit_code = shop.run("--objects", "--json")

    assert (0, []) == (exit_code, json.loads(capsys.readouterr().out)["objects"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--keep", "0"], "argument --keep: `0` is not a number of versions, at least 1"),
        (["--keep-days", "-1"], "argument --keep-days: `-1` is not a number of days"),
        (["--all", "--layer", "x"], "argument --layer: not allowed with argument --all"),
    ],
)
def test_usage(tmp_path: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What cannot be meant is refused before AWS is asked."""
    exit_code = main(["prune", "--project", str(tmp_path), *words])

    assert 2 == exit_code
    assert capsys.readouterr().err.rstrip().endswith(message)
