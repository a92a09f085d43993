"""
Find out how this lamina was installed, for `lamina doctor`, and so that hints name the command that adds an extra to it.

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
"""The extra that combines the others."""
_RECEIPTS = {"uv-receipt.toml": "uv tool", "pipx_metadata.json": "pipx"}
"""The files with which these tools mark the environments that they create."""
_UVX = re.compile(r"(?:archive|environments)-v\d+")
"""The directory in uv's cache in which `uvx` creates environments."""


def installed_distribution() -> metadata.Distribution | None:
    """Return this lamina's distribution; ``None`` if the package is only imported from a directory of sources."""
    try:
        return metadata.distribution(_NAME)
    except metadata.PackageNotFoundError:
        return None


def tool_of(prefix: Path) -> str | None:
    """Return the tool that created the environment *prefix* for lamina: ``uv tool``, ``pipx`` or ``uvx``; otherwise ``None``."""
    tool = next((tool for receipt, tool in _RECEIPTS.items() if (prefix / receipt).is_file()), None)
    return "uvx" if tool is None and _UVX.fullmatch(prefix.parent.name) else tool


def origin_of(installed: metadata.Distribution) -> dict[str, Any]:
    """Return where *installed* comes from, as ``direct_url.json`` records it; empty if it is from an index."""
    import json

    return dict(json.loads(installed.read_text("direct_url.json") or "{}"))


def is_editable(origin: Mapping[str, Any]) -> bool:
    """Return whether *origin*, as `origin_of` returns it, is a directory whose changes take effect without another installation."""
    return bool(origin.get("dir_info", {}).get("editable"))


def extras_of(installed: metadata.Distribution) -> dict[str, tuple[str, ...]]:
    """Return the extras of *installed*, each with the names of the distributions that it adds, sorted. `all` is left out."""
    from packaging.requirements import Requirement

    conditional = [(each.name, each.marker) for each in map(Requirement, installed.requires or ()) if each.marker]
    return {
        extra: tuple(
            sorted(
                name
                for name, marker in conditional
                if marker.evaluate({"extra": extra}) and not marker.evaluate({"extra": ""})
            )
        )
        for extra in sorted(installed.metadata.get_all("Provides-Extra") or ())
        if extra != _ALL
    }


def version_of(name: str) -> str | None:
    """Return the version of the distribution *name* in this process's environment; ``None`` if it is not installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


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
    installed = installed_distribution()
    origin = {} if installed is None else origin_of(installed)
    extras = {extra, *_complete_extras(installed)}
    every = shlex.quote(_requirement(extras, origin))
    match tool_of(prefix):
        case "uv tool":
            return " ".join(("uv tool install", *_others(prefix / "uv-receipt.toml"), _argument(extras, origin)))
        case "pipx":
            return f"pipx install --force {_argument(extras, origin)}"
        case "uvx":
            repeated = shlex.join(sys.argv[1:] if arguments is None else arguments)
            return f"uvx --from {every} lamina {repeated}".rstrip()
        case _:
            pass
    if "pypoetry" in prefix.parts:
        return f"{_OF_PROJECTS['poetry.lock']} {every}"
    for lock, command in _OF_PROJECTS.items():
        if (prefix.parent / lock).is_file():
            return f"{command} {every}"
    return f"{_pip(prefix, environment)} {_argument([extra], origin)}"


def _requirement(extras: Iterable[str], origin: Mapping[str, Any]) -> str:
    """Return the requirement of lamina with *extras*, from *origin*: a directory, archive or repository; empty for an index."""
    named = _with_extras(_NAME, extras)
    if not origin:
        return named
    vcs = origin.get("vcs_info")
    if vcs is None:
        return f"{named} @ {origin['url']}"
    return f"{named} @ {vcs['vcs']}+{origin['url']}@{vcs.get('requested_revision') or vcs['commit_id']}"


def _with_extras(name: str, extras: Iterable[str]) -> str:
    return f"{name}[{','.join(sorted(extras))}]"


def _argument(extras: Iterable[str], origin: Mapping[str, Any]) -> str:
    """Return the requirement of lamina with *extras* for an installer, which keeps an editable installation editable."""
    if not is_editable(origin):
        return shlex.quote(_requirement(extras, origin))
    from urllib.parse import urlsplit
    from urllib.request import url2pathname

    # Unlike `name @ url`, every version of pip accepts a path after `--editable`.
    directory = url2pathname(urlsplit(origin["url"]).path)
    return f"--editable {shlex.quote(_with_extras(directory, extras))}"


def _complete_extras(installed: metadata.Distribution | None) -> Iterator[str]:
    """Yield the extras of *installed* whose distributions are all installed."""
    for extra, names in ({} if installed is None else extras_of(installed)).items():
        if names and all(version_of(name) is not None for name in names):
            yield extra


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
