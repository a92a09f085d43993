"""Tests of the emulated AWS: it listens on loopback only, ends with lamina, and keeps its state on request."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from lamina.core.errors import SandboxError
from lamina.local.sandbox.installation import Installation, bare
from lamina.local.sandbox.server import Sandbox

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX system")

HERE = bare(Path(sys.executable))


def client(sandbox: Sandbox, service: str) -> Any:
    return boto3.client(
        service,
        endpoint_url=sandbox.url,
        region_name=sandbox.region,
        aws_access_key_id=sandbox.environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=sandbox.environment["AWS_SECRET_ACCESS_KEY"],
    )


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2])


def within(seconds: float, condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return False


@pytest.fixture(autouse=True)
def own_scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the sandbox a temporary directory that no other process uses."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    monkeypatch.setenv("TMPDIR", str(scratch))
    return scratch


def test_stopped(own_scratch: Path) -> None:
    """The sandbox answers on loopback inside its context, and leaves no listener and no files afterwards."""
    with Sandbox(HERE, region="eu-west-1") as sandbox:
        port = port_of(sandbox.url)
        during = (sandbox.url == f"http://127.0.0.1:{port}", listens(port), sandbox.running)

    assert (True, True, True) == during
    assert not listens(port)
    assert [] == list(own_scratch.iterdir())


def test_state(tmp_path: Path) -> None:
    """With a state directory, objects of one run exist in the next run."""
    state = tmp_path / "state"
    with Sandbox(HERE, state=state) as sandbox:
        client(sandbox, "s3").create_bucket(Bucket="kept")
        client(sandbox, "s3").put_object(Bucket="kept", Key="a", Body=b"content")
    with Sandbox(HERE, state=state) as sandbox:
        found = client(sandbox, "s3").get_object(Bucket="kept", Key="a")["Body"].read()

    assert b"content" == found


def test_nothing_kept() -> None:
    """Without a state directory, the next run starts empty."""
    with Sandbox(HERE) as sandbox:
        client(sandbox, "s3").create_bucket(Bucket="forgotten")
    with Sandbox(HERE) as sandbox:
        found = client(sandbox, "s3").list_buckets()["Buckets"]

    assert [] == found


def test_no_server(tmp_path: Path) -> None:
    """If the interpreter has no server installed, the error's hint contains the interpreter's own error."""
    environment = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    installation = Installation(python=environment / "bin" / "python", packages=None)

    with pytest.raises(SandboxError) as caught, Sandbox(installation):
        pass

    assert "the sandbox server exited before it was ready" == str(caught.value)
    assert (caught.value.hint or "").endswith("ModuleNotFoundError: No module named 'ministack'")


def test_no_python(tmp_path: Path) -> None:
    """The error names an interpreter that does not exist."""
    with pytest.raises(SandboxError) as caught, Sandbox(bare(tmp_path / "python")):
        pass

    assert f"failed to start `{tmp_path / 'python'}`" in str(caught.value)


def test_killed(tmp_path: Path, own_scratch: Path) -> None:
    """When lamina is killed, the server ends too, and the next sandbox deletes its files."""
    program = (
        "import sys, time\nfrom pathlib import Path\nfrom lamina.local.sandbox.installation import bare\n"
        "from lamina.local.sandbox.server import Sandbox\n"
        "with Sandbox(bare(Path(sys.executable))) as sandbox:\n    print(sandbox.url, flush=True)\n    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, cwd=tmp_path) as process:
        assert process.stdout is not None
        port = port_of(process.stdout.readline().strip())
        os.kill(process.pid, signal.SIGKILL)
    left = list(own_scratch.iterdir())

    assert within(60, lambda: not listens(port))
    with Sandbox(HERE):
        assert set(left).isdisjoint(own_scratch.iterdir())
