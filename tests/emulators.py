"""
Start AWS emulators on loopback, once for all tests.
Each emulator is used only for behaviour that it implements correctly (November 2026). MiniStack verifies checksums and pages
results. moto rejects parts under 5 MiB. Neither checks names, descriptions, missing keys or REFERENCE; fakes and botocore's
Stubber cover those.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import boto3
import botocore
import pytest
from packaging.version import Version

from lamina.aws.deploy.function_change import Patience

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

REGION = "eu-west-1"
knows_storage_mode = pytest.mark.skipif(
    Version(botocore.__version__) < Version("1.44"), reason="botocore knows S3ObjectStorageMode from 1.44 on"
)
_START_SECONDS = 300


@dataclass(frozen=True)
class Emulator:
    """An AWS emulator, with boto3 clients that read its state independently of lamina."""

    url: str
    region: str = REGION

    def client(self, service: str, *, region: str | None = None, account: str = "test") -> Any:
        return _client(self.url, service, region or self.region, account)

    def make_bucket(self, name: str, *, region: str | None = None) -> str:
        where = {"LocationConstraint": region or self.region}
        self.client("s3", region=region).create_bucket(Bucket=name, CreateBucketConfiguration=where)
        return name

    def content(self, bucket: str, key: str) -> bytes:
        return bytes(self.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read())

    def keys(self, bucket: str) -> list[str]:
        return [row["Key"] for row in self.client("s3").list_objects_v2(Bucket=bucket).get("Contents", ())]

    def versions(self, layer: str) -> list[dict[str, Any]]:
        return list(self.client("lambda").list_layer_versions(LayerName=layer)["LayerVersions"])


@cache
def _client(url: str, service: str, region: str, account: str) -> Any:
    # One for all tests, because creating a client takes longer than most requests.
    return boto3.client(
        service, endpoint_url=url, region_name=region, aws_access_key_id=account, aws_secret_access_key="test"
    )


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _run(command: list[str], url: str, environment: dict[str, str], directory: Path, health: str) -> Iterator[Emulator]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(command, env=clean | environment, cwd=directory, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + _START_SECONDS
        while not _answers(url + health):
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"{command} did not start: {(directory / 'log').read_text()[-2000:]}")
            time.sleep(0.1)
        yield Emulator(url)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):  # noqa: S310 - a server of these tests, on loopback
            return True
    except (urllib.error.URLError, OSError):
        return False


@pytest.fixture(scope="session")
def ministack_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    port = _free_port()
    environment = {
        "BIND_HOST": "127.0.0.1",
        "MINISTACK_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "IOT_MTLS_ENABLED": "0",
        # Delay changes of a function for a moment, because Lambda needs seconds for them.
        "LAMBDA_STATE_TRANSITION_SECONDS": "0.02",
        "SERVICES": "s3,lambda,iam,sts,ssm,logs,cloudformation",
    }
    command = [sys.executable, "-m", "ministack"]
    directory = tmp_path_factory.mktemp("ministack")
    yield from _run(command, f"http://127.0.0.1:{port}", environment, directory, "/_ministack/health")


@pytest.fixture(scope="session")
def moto_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    port = _free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    directory = tmp_path_factory.mktemp("moto")
    yield from _run(command, f"http://127.0.0.1:{port}", {}, directory, "/moto-api/data.json")


def _use(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Emulator:
    # lamina looks as often as is sensible for Lambda, which needs seconds for a change. The emulator needs an instant.
    monkeypatch.setitem(Patience.__init__.__kwdefaults__ or {}, "poll_seconds", 0.1)
    monkeypatch.setenv("AWS_ENDPOINT_URL", emulator.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very-secret-test")
    monkeypatch.setenv("AWS_REGION", emulator.region)
    monkeypatch.setenv("AWS_DEFAULT_REGION", emulator.region)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, os.devnull)
    return emulator


@pytest.fixture
def ministack(ministack_server: Emulator, monkeypatch: pytest.MonkeyPatch) -> Emulator:
    """Start MiniStack, which implements checksums, conditional requests, paging and CodeSha256 correctly."""
    return _use(ministack_server, monkeypatch)


@pytest.fixture
def moto(moto_server: Emulator, monkeypatch: pytest.MonkeyPatch) -> Emulator:
    """Start moto, which implements the minimum size of parts correctly."""
    return _use(moto_server, monkeypatch)
