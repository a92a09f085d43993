"""Create Python projects that can be built without an index, because their build backend is one of their files."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

BACKEND = """\
import base64, hashlib, os, pathlib, zipfile

NAME, VERSION, TAG, FAIL, COUNTER = {name!r}, {version!r}, {tag!r}, {fail!r}, {counter!r}
EXTRA, REQUIRES = {extra!r}, {requires!r}


def build_wheel(directory, config_settings=None, metadata_directory=None):
    if FAIL:
        print("compiling", flush=True)
        raise SystemExit("error: no compiler for " + NAME)
    pathlib.Path("build").mkdir(exist_ok=True)
    stem = NAME.replace("-", "_") + "-" + VERSION
    here = os.getcwd()
    files = {{
        path.relative_to(here).as_posix(): path.read_bytes()
        for path in sorted(pathlib.Path(here, NAME.replace("-", "_")).rglob("*.*"))
        if path.suffix != ".pyc"
    }}
    files.update({{path: content.replace("HERE", here).encode() for path, content in EXTRA.items()}})
    files[stem + ".dist-info/METADATA"] = ("Metadata-Version: 2.1\\nName: " + NAME + "\\nVersion: " + VERSION + "\\n" + REQUIRES).encode()
    files[stem + ".dist-info/WHEEL"] = ("Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: " + TAG + "\\n").encode()
    record = "".join(
        path + ",sha256=" + base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode() + ","
        + str(len(content)) + "\\n" for path, content in files.items()
    )
    files[stem + ".dist-info/RECORD"] = (record + stem + ".dist-info/RECORD,,\\n").encode()
    filename = stem + "-" + TAG + ".whl"
    with zipfile.ZipFile(pathlib.Path(directory, filename), "w") as archive:
        for path, content in files.items():
            row = zipfile.ZipInfo(path, date_time=(1980, 1, 1, 0, 0, 0))
            row.external_attr = 0o100644 << 16
            archive.writestr(row, content)
    with open(COUNTER, "a") as counter:
        counter.write(NAME + "\\n")
    return filename
"""

PYPROJECT = """\
[project]
name = "{name}"
version = "{version}"
requires-python = ">=3.11"
dependencies = {dependencies}

[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
"""


def source_files(
    name: str,
    version: str = "1.0",
    *,
    module: str = "VALUE = 1\n",
    tag: str = "py3-none-any",
    fail: bool = False,
    extra: Mapping[str, str] | None = None,
    dependencies: tuple[str, ...] = (),
) -> dict[str, str]:
    """Return the files of a project. *extra* are additional members of its wheel, in which HERE becomes the build directory."""
    listed = "[" + ", ".join(f'"{dependency}"' for dependency in dependencies) + "]"
    return {
        "pyproject.toml": PYPROJECT.format(name=name, version=version, dependencies=listed),
        "backend.py": BACKEND.format(
            name=name,
            version=version,
            tag=tag,
            fail=fail,
            extra=dict(extra or {}),
            requires="".join(f"Requires-Dist: {dependency}\n" for dependency in dependencies),
            counter=os.environ.get("BUILD_COUNTER", os.devnull),
        ),
        f"{name.replace('-', '_')}/__init__.py": module,
    }


def write_sources(directory: Path, files: Mapping[str, str]) -> Path:
    for path, content in files.items():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_text(content, encoding="utf-8")
    return directory


def make_sdist(directory: Path, name: str, version: str, files: Mapping[str, str]) -> Path:
    """Write ``name-version.tar.gz`` with the same bytes in every run."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{name.replace('-', '_')}-{version}.tar.gz"
    stem = path.name.removesuffix(".tar.gz")
    members = {**files, "PKG-INFO": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"}
    with tarfile.open(path, "w:gz") as archive:
        for member, content in sorted(members.items()):
            row = tarfile.TarInfo(f"{stem}/{member}")
            row.size = len(content.encode())
            archive.addfile(row, io.BytesIO(content.encode()))
    return path


def git(directory: Path, *arguments: str) -> str:
    """Run git without user or system configuration."""
    environment = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_CONFIG_SYSTEM": "/dev/null",
        "GIT_AUTHOR_NAME": "a",
        "GIT_AUTHOR_EMAIL": "a@example.com",
        "GIT_COMMITTER_NAME": "a",
        "GIT_COMMITTER_EMAIL": "a@example.com",
    }
    done = subprocess.run(
        ["git", *arguments], cwd=directory, env=environment, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def make_repository(directory: Path, files: Mapping[str, str]) -> str:
    """Create a repository with *files* and return the commit hash."""
    write_sources(directory, files)
    git(directory, "init", "--quiet", "--initial-branch", "main")
    git(directory, "add", ".")
    git(directory, "commit", "--quiet", "--message", "one")
    return git(directory, "rev-parse", "HEAD")
