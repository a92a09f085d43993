"""Killed builds and concurrent builds, run as whole processes."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from loopback import IndexServer
from services import make_service

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from services import Service

_KILLS = 8


@pytest.fixture
def server(tmp_path: Path) -> Iterator[IndexServer]:
    (tmp_path / "wheels").mkdir()
    with IndexServer(tmp_path / "wheels") as running:
        yield running


@pytest.fixture
def service(tmp_path: Path, server: IndexServer) -> Service:
    service = make_service(tmp_path, base_url=f"{server.url}/files")
    noise = random.Random(0)  # noqa: S311 - reproducible bytes that do not deflate
    for index in range(6):
        name = f"dist{index}"
        service.add(name, "1.0", {f"{name}/part{number}.bin": noise.randbytes(60_000) for number in range(8)})
    return service


def _start(project: Path, store: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "lamina", "build", "--project", str(project)],
        env={**os.environ, "LAMINA_CACHE_DIR": str(store)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def _finish(process: subprocess.Popen[bytes]) -> None:
    _, talk = process.communicate(timeout=120)

    assert process.returncode == 0, talk.decode()


def _outputs(project: Path) -> dict[str, bytes]:
    output = project / ".lamina"
    return {path.relative_to(output).as_posix(): path.read_bytes() for path in sorted(output.rglob("*.zip"))}


def _others(project: Path) -> list[str]:
    output = project / ".lamina"
    return sorted(
        path.relative_to(output).as_posix()
        for path in output.rglob("*")
        if path.is_file() and path.suffix not in {".zip", ".json", ".jsonl"}
    )


def _leftovers(store: Path) -> list[str]:
    return sorted(path.name for area in ("tmp", "partial", "locks") for path in (store / area).rglob("*"))


def test_killed_at_any_moment_and_run_again(tmp_path: Path, service: Service) -> None:
    """After a build is killed at any time, the next build succeeds and cleans up."""
    project = service.write()
    started = time.monotonic()
    _finish(_start(project, tmp_path / "golden"))
    duration = time.monotonic() - started
    golden = _outputs(project)
    killed = attempts = 0

    while killed < _KILLS:
        attempts += 1
        copy, store = tmp_path / f"copy{attempts}", tmp_path / f"store{attempts}"
        service.root = copy
        service.write()
        process = _start(copy, store)
        time.sleep(duration * (killed + 0.5) / _KILLS)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        if process.returncode == -signal.SIGKILL:
            killed += 1
        else:
            # This build was faster than the first. Kill earlier, so that every part of a build is covered.
            duration *= 0.9
        _finish(_start(copy, store))

        assert (_outputs(copy), _others(copy), _leftovers(store)) == (golden, [".gitignore", "lock"], [])
        assert attempts < 4 * _KILLS


def test_parallel_builds_share_one_store(tmp_path: Path, service: Service, server: IndexServer) -> None:
    """Eight concurrent builds, four of them of one project, produce the same bytes and fetch each wheel once."""
    projects = []
    for number in range(5):
        service.root = tmp_path / f"project{number}"
        projects.append(service.write())
    everyone = [projects[0]] * 4 + projects[1:]

    running = [_start(project, tmp_path / "store") for project in everyone]
    for process in running:
        _finish(process)

    outputs = [_outputs(project) for project in projects]
    fetched = {path.name: len(server.requests_for(path.name)) for path in service.locked.values()}

    assert outputs == [outputs[0]] * len(projects)
    assert fetched == dict.fromkeys(fetched, 1)
    assert _leftovers(tmp_path / "store") == []


def test_same_bytes_whatever_the_process_is_like(tmp_path: Path, service: Service) -> None:
    """The zips do not depend on the directory, umask, time zone or hash seed."""
    outputs = []
    for number, (umask, zone, seed) in enumerate([(0o022, "UTC", "0"), (0o077, "Asia/Kathmandu", "1")]):
        service.root = tmp_path / f"place{number}"
        subprocess.run(
            [sys.executable, "-m", "lamina", "build", "--project", str(service.write())],
            env={
                **os.environ,
                "LAMINA_CACHE_DIR": str(tmp_path / f"store{number}"),
                "TZ": zone,
                "PYTHONHASHSEED": seed,
            },
            umask=umask,
            check=True,
            capture_output=True,
        )
        outputs.append(_outputs(service.root))

    assert outputs[0] == outputs[1]
