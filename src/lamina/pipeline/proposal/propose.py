"""Propose a ``[tool.lamina]`` table by inspecting the project, and add the table without changing existing content."""

from __future__ import annotations

import json
import os
import re
import stat
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lamina.core.errors import ConfigError
from lamina.core.files import replace_file
from lamina.core.target import Target, runtimes
from lamina.project.discovery import Discovery, Handler, discover
from lamina.project.functions import setting

if TYPE_CHECKING:
    import datetime as dt

    from lamina.core.target import Runtime

_PYPROJECT = "pyproject.toml"
_STANDALONE = "lamina.toml"


@dataclass(frozen=True, kw_only=True, slots=True)
class Proposal:
    """A proposed configuration for a project."""

    path: Path
    """The file to write: ``pyproject.toml``, or ``lamina.toml`` if there is no ``pyproject.toml``."""
    target: Target
    runtime_reason: str
    """The file, setting or option that decided the runtime, such as ``.python-version``."""
    source: tuple[str, ...]
    handlers: tuple[Handler, ...]

    @property
    def text(self) -> str:
        """The configuration as TOML."""
        prefix = "tool.lamina" if self.path.name == _PYPROJECT else ""
        lines = [f"[{prefix}]"] if prefix else []
        lines += [f'runtime = "{self.target.runtime}"', f'architecture = "{self.target.architecture}"']
        if self.handlers:
            lines.append(f"source = [{', '.join(json.dumps(entry, ensure_ascii=False) for entry in self.source)}]")
            lines += ["", f"[{prefix}.functions]" if prefix else "[functions]"]
            lines += [f'{handler.name} = "{handler.handler}"' for handler in self.handlers]
        return "\n".join(lines) + "\n"


def propose(project: Path, *, today: dt.date, runtime: str | None = None, architecture: str | None = None) -> Proposal:
    """
    Return a configuration for the directory *project*; *runtime* and *architecture* override the detected values.

    The runtime is the version in ``.python-version``; otherwise the oldest one that ``requires-python``, or Poetry's
    ``python`` dependency, allows and that Lambda still supports *today*. If Lambda supports none of them any more, it is
    the oldest one allowed.
    Raises ConfigError if the project is already configured, if no runtime is found or the runtime is unknown, or if
    ``pyproject.toml`` is not valid TOML.
    """
    pyproject = project / _PYPROJECT
    document = _document(pyproject) if pyproject.is_file() else {}
    path = pyproject if pyproject.is_file() else project / _STANDALONE
    if "lamina" in document.get("tool", {}) or (project / _STANDALONE).exists():
        existing = _STANDALONE if (project / _STANDALONE).exists() else _PYPROJECT
        raise ConfigError(
            f"`{project / existing}` already configures lamina",
            hint="edit that file; `lamina init` does not change an existing configuration",
        )
    chosen, reason = (runtime, "--runtime") if runtime else _runtime(project, document, today)
    discovery: Discovery = discover(project)
    return Proposal(
        path=path,
        target=Target.of(chosen, architecture or str(setting("architecture").default)),
        runtime_reason=reason,
        source=discovery.source,
        handlers=discovery.handlers,
    )


def write(proposal: Proposal) -> None:
    """
    Append *proposal* to its file, atomically, preserving the existing formatting, line ends and mode.

    Raises ConfigError if the result would not be valid TOML, as with an inline ``tool`` table, or if writing fails.
    """
    # If the path is a symbolic link, replace the target file and keep the link.
    path = Path(os.path.realpath(proposal.path))
    before = path.read_bytes() if path.exists() else b""
    mode = stat.S_IMODE(path.stat().st_mode) if before else None
    newline = b"\r\n" if b"\r\n" in before else b"\n"
    addition = proposal.text.encode().replace(b"\n", newline)
    if before:
        addition = (newline if before.endswith(b"\n") else newline * 2) + addition
    try:
        tomllib.loads((before + addition).decode("utf-8"))
    except ValueError as error:
        raise ConfigError(
            f"failed to add a `[tool.lamina]` table to `{proposal.path}`: {error}",
            hint="add the table by hand: run `lamina init --dry-run` to print it",
        ) from error
    try:
        replace_file(path, before + addition)
        if mode is not None:
            path.chmod(mode)
    except OSError as error:
        raise ConfigError(f"failed to write `{proposal.path}`: {error.strerror}") from error


def _document(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_bytes().decode("utf-8"))
    except ValueError as error:
        raise ConfigError(f"`{path}` is not valid TOML: {error}") from error


def _runtime(project: Path, document: dict[str, Any], today: dt.date) -> tuple[str, str]:
    """Return the project's runtime, and the file or setting that decides it. Raises ConfigError if there is none."""
    pinned = project / ".python-version"
    if pinned.is_file():
        version = re.search(r"^\s*(?:c?python-?)?(3\.\d+)", pinned.read_text(encoding="utf-8"), re.MULTILINE)
        if version:
            return f"python{version[1]}", ".python-version"
    for key, requirement in _requirements(document):
        if (found := _oldest(requirement, today)) is not None:
            return found.name, f'{key} = "{requirement}"'
    known = ", ".join(f"`{runtime.name}`" for runtime in runtimes())
    raise ConfigError(
        f"no runtime found for `{project}`: neither `.python-version` nor `requires-python` specifies a Python version that "
        "Lambda supports",
        hint=f"pass one of these runtimes with `--runtime`: {known}",
    )


def _requirements(document: dict[str, Any]) -> list[tuple[str, str]]:
    poetry = document.get("tool", {}).get("poetry", {}).get("dependencies", {})
    candidates = (
        ("requires-python", document.get("project", {}).get("requires-python")),
        ("tool.poetry.dependencies.python", poetry.get("python") if isinstance(poetry, dict) else None),
    )
    return [(key, value) for key, value in candidates if isinstance(value, str)]


def _oldest(requirement: str, today: dt.date) -> Runtime | None:
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    # Poetry's documentation defines the caret as an upper limit below the next major version.
    caret = re.fullmatch(r"\^(\d+)((?:\.\d+)*)", requirement.strip())
    text = f">={caret[1]}{caret[2]},<{int(caret[1]) + 1}" if caret else requirement
    try:
        allowed = SpecifierSet(text)
    except InvalidSpecifier:
        return None
    # Use a patch number above every requirement: `>=3.12.4` allows the runtime of 3.12, which AWS keeps patched.
    fitting = [runtime for runtime in runtimes() if allowed.contains(f"{runtime.name.removeprefix('python')}.999")]
    supported = [runtime for runtime in fitting if runtime.deprecation is None or runtime.deprecation > today]
    return next(iter(supported or fitting), None)
