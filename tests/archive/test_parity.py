"""A layer contains the same files as `uv pip install --target`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from archive.hostile import MODULE, Entry, as_wheel, streamed, write_wheel
from archive.test_layer import layer
from lamina.core.store import Store
from wheels import make_wheel

if TYPE_CHECKING:
    from collections.abc import Mapping

# Files that an installer writes about the installation, and that are not in the wheel.
_LEFTOVERS = ("INSTALLER", "REQUESTED", "RECORD", "direct_url.json", "uv_cache.json")


def find_uv() -> str | None:
    beside = Path(sysconfig.get_path("scripts"), "uv")
    return str(beside) if beside.exists() else shutil.which("uv")


UV = find_uv()
pytestmark = pytest.mark.skipif(UV is None, reason="needs uv")


def wheels(directory: Path) -> list[Path]:
    """Create wheels with all peculiarities of real wheels."""
    return [
        make_wheel(
            directory,
            "alpha",
            "1.0",
            {
                "alpha/__init__.py": "value = 1\n" * 9,
                "alpha/private.py": "x = 1\n",
                "alpha/tool": "#!/bin/sh\n",
                "alpha/py.typed": "",
                "alpha/größe 日本.txt": "1",
                "alpha/large.bin": os.urandom(300_000),
                "ns/__init__.py": "#\n",
                "ns/alpha.py": "1",
                "alpha.pth": "import alpha\n",
            },
            modes={"alpha/private.py": 0o600, "alpha/tool": 0o775, "alpha/py.typed": 0},
            stored=["alpha/tool", "alpha/large.bin"],
            entry_points="[console_scripts]\nalpha = alpha:main\n",
            dist_info={"licenses/LICENSE": "free", "top_level.txt": "alpha\n"},
        ),
        make_wheel(
            directory,
            "Beta.Pkg",
            "2.0+local.1",
            {
                "beta_pkg-2.0+local.1.data/purelib/beta_pure.py": "1",
                "beta_pkg-2.0+local.1.data/platlib/beta_plat.py": "2",
                "beta_pkg-2.0+local.1.data/data/share/beta/doc.txt": "3",
                "beta_pkg-2.0+local.1.data/scripts/beta": "#!python\nprint(1)\n",
                "beta_pkg-2.0+local.1.data/headers/beta.h": "4",
                "ns/__init__.py": "#\n",
                "ns/beta.py": "2",
            },
        ),
        write_wheel(directory, streamed(MODULE), Entry(path=b"python/__init__.py", content=b"1"), comment=b"comment"),
    ]


def installed(target: Path, paths: list[Path]) -> dict[str, tuple[bytes, bool]]:
    assert UV is not None
    arguments = [
        "--target",
        str(target),
        "--no-deps",
        "--offline",
        "--no-index",
        "--no-config",
        "--no-compile-bytecode",
    ]
    environment = {"PATH": os.environ["PATH"], "HOME": str(target.parent), "UV_PYTHON_DOWNLOADS": "never"}
    cache = ["--cache-dir", str(target.parent / "uv-cache")]
    command = [UV, "pip", "install", "--python", sys.executable, *cache, *arguments, *map(str, paths)]
    subprocess.run(command, check=True, capture_output=True, env=environment)
    return {
        path.relative_to(target).as_posix(): (path.read_bytes(), bool(path.stat().st_mode & 0o100))
        for path in target.rglob("*")
        if path.is_file()
    }


def ours(path: Path) -> dict[str, tuple[bytes, bool]]:
    with zipfile.ZipFile(path) as archive:
        return {
            row.filename.removeprefix("python/"): (archive.read(row), bool(row.external_attr >> 16 & 0o100))
            for row in archive.infolist()
            if row.filename.startswith("python/")
        }


def comparable(files: Mapping[str, tuple[bytes, bool]]) -> dict[str, tuple[bytes, bool]]:
    """Leave out the installer's own files, scripts and headers, which layers do not contain."""
    return {
        path: content
        for path, content in files.items()
        if not path.startswith(("bin/", "include/"))
        and path != ".lock"
        and not (".dist-info/" in path and path.endswith(_LEFTOVERS))
    }


def test_every_file_and_mode(tmp_path: Path) -> None:
    """Every file has the same content and executable bit as after installation, and there are no other files."""
    paths = wheels(tmp_path / "wheels")
    names = {"beta_pkg": "beta-pkg"}
    found = [as_wheel(path, name=names.get(path.name.split("-")[0])) for path in paths]
    layer(found, Store.open(tmp_path / "store"), tmp_path / "layer.zip")
    expected = comparable(installed(tmp_path / "target", paths))

    assert expected == comparable(ours(tmp_path / "layer.zip"))
    assert len(expected) > 20


def test_record_is_true(tmp_path: Path) -> None:
    """importlib.metadata finds every file in a rewritten RECORD, with its hash."""
    paths = wheels(tmp_path / "wheels")
    found = [as_wheel(path, name=path.name.split("-")[0].replace("_", "-")) for path in paths]
    layer(found, Store.open(tmp_path / "store"), tmp_path / "layer.zip")
    with zipfile.ZipFile(tmp_path / "layer.zip") as archive:
        archive.extractall(tmp_path / "opt")
    program = (
        "import base64, hashlib, sys; from importlib.metadata import distributions\n"
        "for distribution in distributions(path=[sys.argv[1]]):\n"
        "    for file in distribution.files:\n"
        "        data = file.locate().read_bytes()\n"
        "        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b'=').decode()\n"
        "        same = file.hash is None or file.hash.value == digest\n"
        "        print(distribution.name, file, same)\n"
    )
    result = subprocess.run(
        [sys.executable, "-I", "-c", program, tmp_path / "opt" / "python"], capture_output=True, text=True, check=True
    )
    lines = result.stdout.splitlines()

    assert ([], 28) == ([line for line in lines if not line.endswith(" True")], len(lines))
