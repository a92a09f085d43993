"""Hide the interpreters of this machine, and serve one that uv can install."""

from __future__ import annotations

import json
import os
import platform
import sys
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

from uv import find_uv_bin

from lamina.bytecode.interpreter import search
from wheels import sha256

if TYPE_CHECKING:
    import pytest

    from loopback import IndexServer

PYTHON = (sys.version_info[0], sys.version_info[1])
"""The minor version of the served interpreter: that of the tests."""
MINOR = f"{PYTHON[0]}.{PYTHON[1]}"
_DIRECTORIES = ("PYENV_ROOT", "ASDF_DATA_DIR", "RYE_PY_ROOT", "UV_PYTHON_INSTALL_DIR")


def hide_interpreters(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Set up an environment in which lamina only finds the interpreters in the returned directory, which is on ``PATH``."""
    for name in _DIRECTORIES:
        monkeypatch.setenv(name, str(directory / f"no-{name}"))
    # The fakes are shell scripts. They need only `sh`, and refer to it by its absolute path.
    monkeypatch.setenv("PATH", str(directory / "bin"))
    for name in [name for name in os.environ if name.startswith("LAMINA_PYTHON_")]:
        monkeypatch.delenv(name)
    return directory / "bin"


def serve_interpreter(server: IndexServer, directory: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """
    Let uv find a CPython of the tests' minor version on *server*, and install it into the returned directory.

    The archive has the shape of python-build-standalone, but its executable only starts the interpreter of the tests.
    """
    prefix = directory / "python"
    library = prefix / "lib" / f"python{MINOR}"
    (prefix / "bin").mkdir(parents=True)
    library.mkdir(parents=True)
    executable = prefix / "bin" / f"python{MINOR}"
    found = search(PYTHON, explicit=Path(sys.executable))
    assert found is not None
    executable.write_text(f"#!/bin/sh\nexec '{found.path}' \"$@\"\n")
    executable.chmod(0o755)
    executable.with_name("python3").symlink_to(executable.name)
    (library / "_sysconfigdata__linux_x86_64-linux-gnu.py").write_text(
        "# system configuration generated and used by the sysconfig module\nbuild_time_vars = {}\n"
    )
    archive = server.directory / "cpython.tar.gz"
    with tarfile.open(archive, "w:gz") as file:
        file.add(prefix, "python")
    # Old versions of uv read this list only from a file.
    downloads = server.directory / "downloads.json"
    downloads.write_text(json.dumps({"cpython": _download(server, archive)}))
    (directory / "bin").mkdir(exist_ok=True)
    (directory / "bin" / "uv").symlink_to(find_uv_bin())
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS_JSON_URL", str(downloads))
    monkeypatch.setenv("UV_PYTHON_INSTALL_DIR", str(directory / "installed"))
    monkeypatch.setenv("UV_CACHE_DIR", str(directory / "uv-cache"))
    return directory / "installed"


def _download(server: IndexServer, archive: Path) -> dict[str, object]:
    family = {"arm64": "aarch64", "AMD64": "x86_64"}.get(platform.machine(), platform.machine())
    return {
        "name": "cpython",
        "arch": {"family": family, "variant": None},
        "os": sys.platform,
        "libc": "gnu" if sys.platform == "linux" else "none",
        "major": sys.version_info[0],
        "minor": sys.version_info[1],
        "patch": sys.version_info[2],
        "prerelease": "",
        "url": server.file_url(archive.name),
        "sha256": sha256(archive),
        "variant": None,
        "build": "20261101",
    }
