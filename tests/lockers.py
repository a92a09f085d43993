"""Run every lock tool on the same project, with its own configuration, against distributions on a loopback index."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING, Final

from lamina.lock.types import IndexFile
from locking import ARM, X86
from wheels import make_wheel, sha256

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from pathlib import Path

    from lamina.core.target import Target

INDEX: Final = "http://index.example/simple"
"""The index's URL in the lock files. The loopback server answers its requests as an HTTP proxy."""


class Everything(tuple[str, ...]):
    """A container of every name, so that no member is compressed, because zlib builds would produce different hashes."""

    __slots__ = ()

    def __contains__(self, name: object) -> bool:
        return True


def make_world(directory: Path) -> None:
    """Write the wheels of the index. Their bytes, and so their hashes in lock files, are the same on every machine."""

    def wheel(name: str, version: str, tag: str = "py3-none-any", requires: Sequence[str] = (), **more: object) -> None:
        extras = ["http2"] if name == "Client.Lib" else []
        make_wheel(directory, name, version, tag=tag, requires=requires, extras=extras, stored=Everything())

    for version in ("1.26.0", "2.1.0"):
        for minor in (11, 12, 13):
            for platform in (X86, ARM, "win_amd64", "macosx_11_0_arm64"):
                wheel("numpy", version, f"cp3{minor}-cp3{minor}-{platform}")
    for version in ("1.0", "2.0"):
        wheel("torch", version)
    wheel("frames", "3.0", requires=["numpy>=1.20", 'tzdata; sys_platform == "win32"', 'oldpy; python_version < "3.9"'])
    conditions = ['h2>=1; extra == "http2"', 'winhelp; sys_platform == "win32"']
    wheel("Client.Lib", "1.5", requires=conditions)
    wheel("trainer", "1.0", requires=["torch", 'armhelp; platform_machine == "aarch64"'])
    for name in ("h2", "winhelp", "armhelp", "tester", "linter", "tzdata", "oldpy"):
        wheel(name, "4.0")
    for platform in (X86, ARM):
        wheel("batcher", "1.0", f"cp39-abi3-{platform}")


class Shelf:
    """An index of the files in a directory, without HTTP. Implements ``IndexFiles``."""

    def __init__(self, directory: Path, url: str = INDEX.removesuffix("/simple")) -> None:
        self._files = {sha256(file): file for file in sorted(directory.iterdir())}
        self._url = url
        self.asked: list[tuple[str, str, str | None]] = []

    def files(
        self, name: str, version: str, hashes: Collection[str], index_url: str | None, *, target: Target
    ) -> Sequence[IndexFile]:
        """Return the files with one of *hashes*, and record the request."""
        self.asked.append((name, version, index_url))
        return [
            IndexFile(filename=file.name, url=f"{self._url}/files/{file.name}", sha256=digest, size=file.stat().st_size)
            for digest, file in self._files.items()
            if digest in hashes
        ]


PEP_621 = """\
[project]
name = "my-service"
version = "0.1.0"
requires-python = ">=3.11,<3.14"
dependencies = ["client_lib[http2] >= 1", "frames~=3.0", "numpy>=2"]

[project.optional-dependencies]
cpu = ["torch==1.0"]

[dependency-groups]
dev = ["tester", {include-group = "lint"}]
lint = ["linter"]
batch = ["batcher~=1.0"]
"""

FORKED = """\
[project]
name = "forked"
version = "0.1.0"
requires-python = ">=3.11,<3.14"
dependencies = [
  "client-lib",
  "frames",
  "numpy<2; python_version < '3.13'",
  "numpy>=2; python_version >= '3.13'",
]

[project.optional-dependencies]
ml = ["trainer", "torch<2"]
wire = ["client-lib[http2]"]

[dependency-groups]
dev = ["tester"]
batch = ["batcher", "trainer"]
"""

POETRY_SOURCE = f"""
[[tool.poetry.source]]
name = "example"
url = "{INDEX}"
priority = "primary"
"""

POETRY = f"""\
[tool.poetry]
name = "my-service"
version = "0.1.0"
description = ""
authors = []

[tool.poetry.dependencies]
python = ">=3.11,<3.14"
client_lib = {{version = "^1", extras = ["http2"]}}
frames = "~3.0"
numpy = "^2.0"
torch = {{version = "1.0", optional = true}}

[tool.poetry.extras]
cpu = ["torch"]

[tool.poetry.group.dev.dependencies]
tester = "*"
linter = "*"

[tool.poetry.group.batch]
optional = true

[tool.poetry.group.batch.dependencies]
batcher = "^1.0"

[[tool.poetry.source]]
name = "example"
url = "{INDEX}"
"""

POETRY_FORKED = f"""\
[tool.poetry]
name = "forked"
version = "0.1.0"
description = ""
authors = []

[tool.poetry.dependencies]
python = "^3.11,<3.14"
client-lib = "*"
frames = "*"
numpy = [{{version = "<2", python = "<3.13"}}, {{version = "^2", python = "~3.13"}}]
trainer = {{version = "*", optional = true}}
torch = {{version = "<2", optional = true}}
h2 = {{version = "*", optional = true}}

[tool.poetry.extras]
ml = ["trainer", "torch"]
wire = ["h2"]

[tool.poetry.dev-dependencies]
tester = "*"

[tool.poetry.group.batch.dependencies]
batcher = "*"
trainer = "*"

[[tool.poetry.source]]
name = "example"
url = "{INDEX}"
"""

PDM_SOURCE = f"""
[tool.pdm]
distribution = false

[[tool.pdm.source]]
name = "pypi"
url = "{INDEX}"
verify_ssl = false
"""

PIPFILE = f"""\
[[source]]
name = "example"
url = "{INDEX}"
verify_ssl = false

[packages]
client_lib = {{version = ">=1", extras = ["http2"]}}
frames = "~=3.0"
numpy = ">=2"

[dev-packages]
tester = "*"
linter = "*"

[batch]
batcher = "~=1.0"
"""


def environment(server_url: str, home: Path) -> dict[str, str]:
    """Return a lock tool's environment: no user settings, and all requests through the loopback server."""
    kept = {name: value for name, value in os.environ.items() if name in {"PATH", "LANG", "TMPDIR"}}
    return kept | {
        "HOME": str(home),
        "HTTP_PROXY": server_url,
        "http_proxy": server_url,
        # Requests to any other host fail.
        "HTTPS_PROXY": "http://127.0.0.1:9",
        "https_proxy": "http://127.0.0.1:9",
        "NO_PROXY": "",
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_TRUSTED_HOST": "index.example",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "UV_PYTHON_DOWNLOADS": "never",
        "UV_NO_CONFIG": "1",
        "UV_CACHE_DIR": str(home / ".uv-cache"),
    }


def run(arguments: Sequence[str], *, project: Path, variables: Mapping[str, str]) -> None:
    """Run a lock tool in *project*. Its output is in the message if it fails."""
    done = subprocess.run(arguments, cwd=project, env=dict(variables), capture_output=True, text=True, check=False)
    if done.returncode:
        raise AssertionError(f"{arguments} said {done.returncode}:\n{done.stdout}\n{done.stderr}")


def rows(lines: Iterator[str]) -> list[str]:
    """Return *lines* without comments."""
    return [line for line in lines if not line.startswith("#")]
