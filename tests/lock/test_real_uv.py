"""Locks written by uv itself: the reader selects the same files as uv's own exports."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from uv import find_uv_bin

from lamina.core.errors import StaleLockError
from lamina.core.target import Target
from lamina.lock.formats import find, read
from lamina.lock.select import select
from lamina.lock.types import IndexFile
from locking import ARM, X86, FakeIndex, read_lock, write_project
from loopback import IndexServer
from wheels import make_wheel, sha256

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from pathlib import Path

TARGETS = [
    Target.of(runtime, architecture) for runtime in ("python3.12", "python3.13") for architecture in ("x86_64", "arm64")
]
CHOICES: list[tuple[tuple[str, ...], tuple[str, ...]]] = [
    ((), ()),
    (("batch",), ()),
    ((), ("cpu",)),
    (("batch",), ("gpu",)),
]


class Shelf:
    """An index for the files in a directory, without HTTP."""

    def __init__(self, directory: Path, url: str) -> None:
        self._files = {sha256(file): file for file in directory.iterdir()}
        self._url = url

    def files(
        self, name: str, version: str, hashes: Collection[str], index_url: str | None, *, target: Target
    ) -> Sequence[IndexFile]:
        return [
            IndexFile(filename=file.name, url=f"{self._url}/files/{file.name}", sha256=digest, size=file.stat().st_size)
            for digest, file in self._files.items()
            if digest in hashes
        ]


@contextmanager
def index(directory: Path) -> Iterator[IndexServer]:
    """Serve a small set of packages: a fork by Python version, an extra, a marker, conflicting versions, and an old ABI."""
    for version in ("1.26.0", "2.1.0"):
        for minor in (11, 12, 13):
            for platform in (X86, ARM, "win_amd64", "macosx_11_0_arm64"):
                make_wheel(directory, "numpy", version, tag=f"cp3{minor}-cp3{minor}-{platform}")
    make_wheel(directory, "torch", "1.0")
    make_wheel(directory, "torch", "2.0")
    make_wheel(directory, "trainer", "1.0", requires=["torch"])
    make_wheel(
        directory,
        "Client.Lib",
        "1.5",
        requires=[
            'h2>=1; extra == "http2"',
            'winhelp; sys_platform == "win32"',
            'armhelp; platform_machine == "aarch64"',
        ],
        extras=["http2"],
    )
    for name in ("h2", "winhelp", "armhelp", "tester", "linter"):
        make_wheel(directory, name, "4.0")
    for platform in (X86, ARM):
        make_wheel(directory, "batcher", "1.0", tag=f"cp39-abi3-{platform}")
    with IndexServer(directory) as server:
        yield server


def uv(project: Path, server: IndexServer, *arguments: str) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("UV_")}
    subprocess.run(
        [
            find_uv_bin(),
            *arguments,
            "--no-config",
            "--default-index",
            server.simple,
            "--python",
            sys.executable,
            "--quiet",
        ],
        cwd=project,
        env={**environment, "UV_PYTHON_DOWNLOADS": "never", "UV_CACHE_DIR": str(project / ".uv-cache")},
        check=True,
    )


def write_service(project: Path, *more: str) -> None:
    write_project(
        project,
        "client_lib[http2] >= 1",
        "numpy<2; python_version < '3.13'",
        "numpy>=2; python_version >= '3.13'",
        "trainer",
        *more,
        name="My.Service",
        **{"requires-python": "~=3.11"},
        extras={"CPU": ["torch==1.0"], "gpu": ["torch == 2.0"], "empty": []},
        groups={
            "dev": ["tester", {"include-group": "lint"}],
            "lint": ["linter"],
            "batch": ["batcher~=1.0"],
            "none": [],
        },
        uv={"conflicts": [[{"extra": "cpu"}, {"extra": "gpu"}]], "default-groups": ["dev", "batch"]},
    )


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Shelf, IndexServer]]:
    """Create a project with its uv.lock, and uv's exports of it for each of CHOICES."""
    project = tmp_path_factory.mktemp("service")
    files = tmp_path_factory.mktemp("files")
    write_service(project)
    with index(files) as server:
        uv(project, server, "lock")
        for number, (groups, extras) in enumerate(CHOICES):
            chosen = [f"--group={group}" for group in groups] + [f"--extra={extra}" for extra in extras]
            for kind in ("pylock.toml", "requirements.txt"):
                output = project / f"export-{number}" / kind
                output.parent.mkdir(exist_ok=True)
                options = ("--format", kind, "--output-file", str(output), "--no-default-groups", "--no-emit-project")
                uv(project, server, "export", *options, *chosen)
        yield project, Shelf(files, server.url), server


@pytest.mark.parametrize("choice", range(len(CHOICES)), ids=[str(choice) for choice in CHOICES])
@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_all_formats_agree(world: tuple[Path, Shelf, IndexServer], target: Target, choice: int) -> None:
    """A uv.lock and uv's exports of it in two formats select the same files with the same hashes."""
    project, shelf, _ = world
    groups, extras = CHOICES[choice]

    locks = [read_lock(project, target=target, groups=groups, extras=extras)]
    for kind in ("pylock.toml", "requirements.txt"):
        # Each export has one selection of extras and groups. Without a pyproject.toml next to it, it is not checked for others.
        lock_file = find(project / f"export-{choice}")
        assert kind != "pylock.toml" or lock_file.kind == kind
        explicit = find(project / f"export-{choice}", lock_file.path.parent / kind)
        locks.append(read(explicit, target=target, groups=(), extras=(), index=shelf))
    files = [
        [(pin.name, pin.version, pin.filename, pin.sha256) for pin in select(lock, target=target).pins]
        for lock in locks
    ]

    assert files[0] == files[1] == files[2]
    names = {name for name, *_ in files[0]}
    assert {"client-lib", "h2", "numpy", "torch", "trainer"} <= names
    assert {"tester", "linter", "winhelp"} & names == set()
    assert ("batcher" in names, "armhelp" in names) == ("batch" in groups, target.architecture == "arm64")
    assert {"cpu": "1.0", "gpu": "2.0"}.get("".join(extras), "2.0") == next(
        version for name, version, *_ in files[0] if name == "torch"
    )
    assert ("1.26.0" if target.python < (3, 13) else "2.1.0") == next(
        version for name, version, *_ in files[0] if name == "numpy"
    )


def test_sizes_and_urls(world: tuple[Path, Shelf, IndexServer]) -> None:
    """The selection has the URL and size of each file, so that a plan needs no network."""
    project, _, server = world

    pins = select(read_lock(project, target=TARGETS[0]), target=TARGETS[0]).pins

    for pin in pins:
        assert (f"{server.url}/files/{pin.filename}", server.simple.rstrip("/")) == (
            (pin.url or "").partition("#")[0],
            (pin.index or "").rstrip("/"),
        )


def test_stale_after_an_edit(tmp_path: Path, world: tuple[Path, Shelf, IndexServer]) -> None:
    """The error lists a dependency that was added after locking."""
    project, _, _ = world
    (tmp_path / "uv.lock").write_bytes((project / "uv.lock").read_bytes())
    write_service(tmp_path, "tester>=4")

    with pytest.raises(StaleLockError) as raised:
        read_lock(tmp_path, index=FakeIndex())

    assert (
        f"`{tmp_path / 'uv.lock'}` does not match `{tmp_path / 'pyproject.toml'}`: `tester>=4` is required but not locked"
    ) == str(raised.value)


def test_a_workspace(tmp_path: Path) -> None:
    """Workspace members share one lock, each needs only its own dependencies, and the root's sources apply to all."""
    write_project(
        tmp_path,
        "tester",
        name="root",
        **{"requires-python": ">=3.11"},
        uv={"workspace": {"members": ["one", "shared"]}, "sources": {"shared": {"workspace": True}}, "package": False},
    )
    write_project(
        tmp_path / "one", "shared>=0.1", "h2; sys_platform == 'linux'", name="one", **{"requires-python": ">=3.11"}
    )
    write_project(
        tmp_path / "shared", "client-lib", name="shared", **{"requires-python": ">=3.10"}, uv={"package": True}
    )
    with index(tmp_path / "files") as server:
        uv(tmp_path, server, "lock")
    target = Target.of("python3.13", "arm64")

    packages = {
        package.name: package.directory for package in read_lock(tmp_path / "one", target=target).pylock.packages
    }

    assert ["armhelp", "client-lib", "h2", "shared"] == sorted(packages)
    assert packages["shared"] is not None  # type: ignore[index]
    assert str(tmp_path / "shared") == packages["shared"].path  # type: ignore[index]
    assert ["tester"] == [package.name for package in read_lock(tmp_path, target=target).pylock.packages]
