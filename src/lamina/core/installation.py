"""
Find out how this lamina was installed, so that hints name the command that adds an extra to it.

A tool's own files tell: uv writes ``uv-receipt.toml`` and pipx ``pipx_metadata.json`` into the environment of a tool, and the lock
file beside a virtual environment names the tool of the project.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

_NAME = "lamina"
_OF_PROJECTS = {
    "uv.lock": "uv add --dev",
    "poetry.lock": "poetry add --group dev",
    "pdm.lock": "pdm add --dev --group dev",
}
"""The command that adds a development dependency, by the lock file beside the virtual environment of the project."""
_ALL = "all"


def install_command(
    extra: str,
    *,
    prefix: Path | None = None,
    environment: Mapping[str, str] | None = None,
    arguments: Sequence[str] | None = None,
) -> str:
    """
    Return the command that adds *extra* to the lamina in the environment *prefix*, by default that of this process.

    The command keeps the extras that are installed. *arguments* are those of the running command, which `uvx` repeats.
    """
    prefix = Path(sys.prefix) if prefix is None else prefix
    environment = os.environ if environment is None else environment
    extras = {extra, *_installed_extras()}
    every = shlex.quote(_requirement(extras))
    if (receipt := prefix / "uv-receipt.toml").is_file():
        return " ".join(("uv tool install", *_others(receipt), _argument(extras)))
    if (prefix / "pipx_metadata.json").is_file():
        return f"pipx install --force {_argument(extras)}"
    if re.fullmatch(r"(?:archive|environments)-v\d+", prefix.parent.name):
        repeated = shlex.join(sys.argv[1:] if arguments is None else arguments)
        return f"uvx --from {every} lamina {repeated}".rstrip()
    if "pypoetry" in prefix.parts:
        return f"{_OF_PROJECTS['poetry.lock']} {every}"
    for lock, command in _OF_PROJECTS.items():
        if (prefix.parent / lock).is_file():
            return f"{command} {every}"
    return f"{_pip(prefix, environment)} {_argument([extra])}"


def _requirement(extras: Iterable[str]) -> str:
    """Return the requirement of lamina with *extras*, from where this lamina was installed."""
    named = _with_extras(_NAME, extras)
    source = _source()
    return named if source is None else f"{named} @ {source}"


def _with_extras(name: str, extras: Iterable[str]) -> str:
    return f"{name}[{','.join(sorted(extras))}]"


def _source() -> str | None:
    """Return the URL of the directory, archive or repository that lamina was installed from, or ``None`` for an index."""
    found = _origin()
    vcs = found.get("vcs_info")
    if vcs is None:
        return found.get("url")
    return f"{vcs['vcs']}+{found['url']}@{vcs.get('requested_revision') or vcs['commit_id']}"


def _argument(extras: Iterable[str]) -> str:
    """Return the requirement of lamina with *extras* for an installer, which keeps an editable installation editable."""
    from urllib.parse import urlsplit
    from urllib.request import url2pathname

    found = _origin()
    if not found.get("dir_info", {}).get("editable"):
        return shlex.quote(_requirement(extras))
    # Unlike `name @ url`, every version of pip accepts a path after `--editable`.
    directory = url2pathname(urlsplit(found["url"]).path)
    return f"--editable {shlex.quote(_with_extras(directory, extras))}"


def _origin() -> dict[str, Any]:
    """Return where this lamina was installed from, as in ``direct_url.json``; empty for an index."""
    import json

    try:
        text = metadata.distribution(_NAME).read_text("direct_url.json")
    except metadata.PackageNotFoundError:
        return {}
    found: dict[str, Any] = json.loads(text or "{}")
    return found


def _installed_extras() -> Iterator[str]:
    """Yield the extras of lamina whose requirements are all installed."""
    from packaging.requirements import Requirement

    try:
        found = metadata.metadata(_NAME)
    except metadata.PackageNotFoundError:
        return
    requirements = [Requirement(text) for text in found.get_all("Requires-Dist") or ()]
    for extra in set(found.get_all("Provides-Extra") or ()) - {_ALL}:
        names = [
            each.name
            for each in requirements
            if each.marker is not None
            and each.marker.evaluate({"extra": extra})
            and not each.marker.evaluate({"extra": ""})
        ]
        if names and all(map(_is_installed, names)):
            yield extra


def _is_installed(name: str) -> bool:
    try:
        metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def _others(receipt: Path) -> Iterator[str]:
    """Yield the options for the other packages that the user asked uv to install with the tool."""
    from lamina.core import toml

    for entry in toml.parse(receipt.read_text("utf-8"))["tool"]["requirements"]:
        if entry["name"] != _NAME:
            yield f"--with {shlex.quote(entry['name'] + entry.get('specifier', ''))}"


def _pip(prefix: Path, environment: Mapping[str, str]) -> str:
    is_active = environment.get("VIRTUAL_ENV") == str(prefix)
    python = shlex.quote(str(prefix / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")))
    configuration = prefix / "pyvenv.cfg"
    # uv creates environments without pip.
    if configuration.is_file() and re.search(r"^uv =", configuration.read_text("utf-8"), re.MULTILINE):
        return "uv pip install" if is_active else f"uv pip install --python {python}"
    return "pip install" if is_active else f"{python} -m pip install"
