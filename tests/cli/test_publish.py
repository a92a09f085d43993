"""Test `lamina publish` from the command line with an emulated AWS: output, files and exit codes."""

from __future__ import annotations

import json
import random
import uuid
from typing import TYPE_CHECKING

import pytest

from lamina.cli.main import main
from services import Service, make_service

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from emulators import Emulator

MIB = 1 << 20


def data(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)  # noqa: S311 - not for secrets


class Shop:
    """A service with one large and some small wheels, published under a unique name."""

    def __init__(self, directory: Path, *, bucket: bool = True) -> None:
        self.name = f"shop-{uuid.uuid4().hex[:10]}"
        self.service: Service = make_service(directory)
        self.service.add("big", "1.0", {"big/data.bin": data(0, 6 * MIB)})
        for number in range(7):
            self.service.add(f"small{number}", "1.0", {f"small{number}/data.bin": data(number, MIB)})
        self.publish = {"layer-name": f'"{self.name}-{{layer}}"'}
        if bucket:
            self.publish["bucket"] = f'"{self.name}"'

    def write(self) -> str:
        root = self.service.write()
        rows = "\n".join(f"{key} = {value}" for key, value in self.publish.items())
        path = root / "pyproject.toml"
        path.write_text(f"{path.read_text()}\n[tool.lamina.publish]\n{rows}\n")
        return str(root)


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    monkeypatch.setenv("LAMINA_CACHE_DIR", str(tmp_path / "cache"))
    return Shop(tmp_path)


@pytest.fixture
def lamina(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def run(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(["publish", *arguments])
        out, err = capsys.readouterr()
        return code, out, err

    return run


def test_the_life_of_a_layer(
    shop: Shop, ministack: Emulator, lamina: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    """The first publish uploads everything, the second nothing, and a third only the updated wheel; stdout is the ARN."""
    ministack.make_bucket(shop.name)
    root = shop.write()
    arn = f"arn:aws:lambda:eu-west-1:000000000000:layer:{shop.name}-common"

    code, out, err = lamina("--project", root, "--dry-run")
    assert (code, out) == (0, "")
    assert "publish (not published before), upload 13." in err
    assert [] == ministack.versions(f"{shop.name}-common")

    code, out, err = lamina("--project", root)
    assert (code, out) == (0, f"{arn}:1\n")
    assert "1 new version, uploaded 13." in err

    assert lamina("--project", root, "--check", "-q") == (0, "", "")
    code, out, err = lamina("--project", root)
    assert (code, out) == (0, f"{arn}:1\n")
    assert "keep version 1 (unchanged)" in err
    assert "nothing to do" in err

    shop.service.add("small3", "1.1", {"small3/data.bin": data(99, MIB)})
    shop.write()
    environment, report = tmp_path / "layers.env", tmp_path / "report.json"
    code, out, err = lamina("--project", root, "--check", "--output", str(report))
    assert (code, out) == (1, "")
    assert "publish (small3 1.0 → 1.1), upload 1.05 MB" in err
    assert ["publish"] == [row["action"] for row in json.loads(report.read_text())["layers"]]

    code, out, err = lamina("--project", root, "--json", "--env-file", str(environment), "--output", str(report))
    (layer,) = json.loads(out)["layers"]

    assert code == 0
    assert json.loads(out) == json.loads(report.read_text())
    assert f"LAMINA_LAYER_COMMON={arn}:2\n" == environment.read_text()
    assert lamina("--project", root, "-q", "--env-file", str(tmp_path)) == (
        2, f"{arn}:2\n", f"error: failed to write `{tmp_path}`: Is a directory\n",
    )  # fmt: skip
    assert "".join(lamina("--project", root, "--check", "--env-file", "x")[1:]).startswith(
        "error: `--env-file` is not allowed with `--check`, which publishes no versions"
    )
    assert (f"{arn}:2", "publish", True) == (layer["arn"], layer["action"], layer["published"])
    assert MIB < layer["sent_bytes"] == layer["upload_bytes"] < MIB + 20_000
    assert "very-secret-test" not in out + err


def test_a_service_without_a_name_is_warned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ministack: Emulator, lamina: Callable[..., tuple[int, str, str]]
) -> None:
    """A layer name derived from the directory causes a warning; a configured layer name does not."""
    monkeypatch.setenv("LAMINA_CACHE_DIR", str(tmp_path / "cache"))
    service = make_service(tmp_path)
    path = service.write() / "pyproject.toml"
    path.write_text(path.read_text().replace('name = "greeter"\n', ""))
    code, _, err = lamina("--project", str(service.root), "--dry-run")

    assert code == 0
    assert f"service `{service.root.name}` is named after its directory, so a checkout in another directory may" in err
    assert f"layer {service.root.name}-common" in err

    path.write_text(f'{path.read_text()}\n[tool.lamina.publish]\nlayer-name = "shop-{{layer}}"\n')
    code, _, err = lamina("--project", str(service.root), "--dry-run")

    assert code == 0
    assert "directory" not in err


def test_check_as_json_says_what_would_be_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ministack: Emulator, lamina: Callable[..., tuple[int, str, str]]
) -> None:
    """`--check --json` prints the plan as JSON, also without a bucket."""
    monkeypatch.setenv("LAMINA_CACHE_DIR", str(tmp_path / "cache"))
    shop = Shop(tmp_path, bucket=False)
    shop.publish |= {"share-with": '["123456789012"]', "ssm-prefix": '"/layers"', "regions": '["eu-central-1"]'}
    code, out, _ = lamina("--project", shop.write(), "--check", "--json")
    document = json.loads(out)
    (layer,) = document["layers"]

    assert code == 1
    assert ("1", "greeter") == (document["version"], document["service"])
    assert ("publish", "eu-central-1", None) == (layer["action"], layer["region"], layer["arn"])
    assert (["123456789012"], "/layers/common") == (layer["share_with"], layer["parameter"])


def test_mistakes_end_before_the_first_call(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, lamina: Callable[..., tuple[int, str, str]]
) -> None:
    """An invalid `[tool.lamina.publish]` is a configuration error, reported before any request to AWS."""
    shop.publish["regons"] = '["eu-west-1"]'
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    code, out, err = lamina("--project", shop.write())

    assert (code, out) == (2, "")
    assert err == "error: `pyproject.toml`: tool.lamina.publish.regons: unknown key (did you mean `regions`?)\n"


def test_missing_bucket_is_an_aws_error(
    shop: Shop, ministack: Emulator, lamina: Callable[..., tuple[int, str, str]]
) -> None:
    """A missing bucket exits with 6 and has a hint."""
    code, out, err = lamina("--project", shop.write(), "-q")

    assert (code, out) == (6, "")
    assert err == (
        f"error: bucket `{shop.name}` does not exist\n\nhint: create the bucket, or set another `bucket` in `[tool.lamina.publish]`\n"
    )


def test_upload_without_publishing(
    shop: Shop, ministack: Emulator, lamina: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    """`--upload-only` assembles the layer in the bucket, equal to the local zip, and publishes no version."""
    ministack.make_bucket(shop.name)
    root = shop.write()
    code, out, err = lamina("--project", root, "--upload-only", "--check", "--json")
    (planned,) = json.loads(out)["layers"]

    assert (1, True) == (code, planned["change"])
    assert "upload at most 13." in err
    assert [] == ministack.keys(shop.name)

    report = tmp_path / "report.json"
    code, out, err = lamina("--project", root, "--upload-only", "--output", str(report))
    (row,) = json.loads(report.read_text())["layers"]
    key = f"lamina/layers/{planned['digest']}.zip"

    assert (0, f"s3://{shop.name}/{key}\n") == (code, out)
    assert (shop.name, key) == (row["bucket"], row["key"])
    assert 13 * MIB < row["sent_bytes"] <= row["upload_bytes"]
    assert (shop.service.root / ".lamina" / "layers" / "common.zip").read_bytes() == ministack.content(shop.name, key)
    assert [] == ministack.versions(f"{shop.name}-common")

    code, out, err = lamina("--project", root, "--upload-only")
    assert (0, f"s3://{shop.name}/{key}\n") == (code, out)
    assert ": already in the bucket" in err
    assert "nothing to do" in err

    # Publishing later uploads nothing more.
    code, out, err = lamina("--project", root)
    assert (0, 1) == (code, len(ministack.versions(f"{shop.name}-common")))
    assert "1 new version, nothing to upload" in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "uploading layers requires a bucket, but none is configured"),
        (["--env-file", "layers.env"], "`--env-file` is not allowed with `--upload-only`, which publishes no versions"),
    ],
)
@pytest.mark.usefixtures("ministack")
def test_what_cannot_be_uploaded(
    shop: Shop, lamina: Callable[..., tuple[int, str, str]], arguments: list[str], said: str
) -> None:
    """`--upload-only` needs a bucket and excludes `--env-file`."""
    del shop.publish["bucket"]
    code, out, err = lamina("--project", shop.write(), "--upload-only", "-q", *arguments)

    assert (2, "") == (code, out)
    assert err.startswith(f"error: {said}\n")


@pytest.mark.parametrize("command", ["publish", "deploy"])
def test_a_build_with_errors(command: str, shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    """A build with error findings is not published; `--json` says so too."""
    del shop.publish["bucket"]
    shop.service.add("gamma", "1.0", {"__editable__.gamma-1.0.pth": "/home/someone/gamma\n"})
    code = main([command, "--project", shop.write(), "--json"])

    said = capsys.readouterr()
    fact = "nothing was published or deployed, because the build has errors"
    assert 1 == code
    assert said.err.endswith(f"error: {fact}\n")
    assert {"kind": "CheckFailedError", "message": fact, "hint": None, "exit_code": 1} == json.loads(said.out)["error"]
