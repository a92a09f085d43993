"""Write a proposed configuration as TOML, into files that may already have other content."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.core import toml
from lamina.core.errors import ConfigError
from lamina.core.faults import exhausted
from lamina.core.files import read_file, replace_file
from lamina.core.text import decoded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lamina.pipeline.proposal.values import Proposal, ProposedFunction, ProposedService
    from lamina.project.templates.types import Stated

_PYPROJECT = "pyproject.toml"
_COMMON = "layers.common."


def service_text(service: ProposedService) -> str:
    """Return the configuration of *service* as TOML."""
    prefix = "tool.lamina" if service.path.name == _PYPROJECT else ""
    lines = [f"[{prefix}]"] if prefix else []
    lines += [f'runtime = "{service.target.runtime}"', f'architecture = "{service.target.architecture}"']
    if service.lock.configured is not None:
        lines.append(f"lock = {toml.value(service.lock.configured)}")
    if service.source:
        lines.append(f"source = {toml.value(service.source)}")
    if service.external:
        lines += ["allow-layers = [", *(f"  {toml.value(_allowed(each))}," for each in service.external), "]"]
    # A table can be written only once: its keys are here, or below its header.
    tables = _has_layers(service)
    lines += [
        f"{key} = {toml.value(value)}" for key, value in service.settings if not (tables and key.startswith(_COMMON))
    ]
    lines += _functions(service, prefix)
    return "\n".join(lines) + "\n"


def _allowed(layer: Stated) -> dict[str, str]:
    """Return the entry that allows every version of *layer*."""
    return {"arn": layer.value.rpartition(":")[0], "reason": f"in {layer.origin.file} when lamina was set up"}


def workspace_text(proposal: Proposal) -> str:
    """Return the ``workspace`` table of *proposal* as TOML for ``lamina.toml``."""
    return f"[workspace]\nmembers = {toml.value(proposal.members)}\n"


def write(proposal: Proposal) -> None:
    """
    Write *proposal*: append each service's table to its file, and create the workspace's file.

    Each file is replaced atomically. Existing formatting, line ends and modes are kept. Raises ConfigError if a result would not
    be valid TOML, as with an inline ``tool`` table, or if writing fails; nothing is written if one of the results is invalid.
    """
    root = Path(os.path.realpath(proposal.root))
    contents = [_appended(service.path, service_text(service), root) for service in proposal.services]
    if proposal.workspace is not None:
        contents.append((proposal.workspace, workspace_text(proposal).encode()))
    for path, content in contents:
        mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else None
        try:
            replace_file(path, content)
            if mode is not None:
                path.chmod(mode)
        except OSError as error:
            raise exhausted(error) or ConfigError(f"failed to write `{path}`: {error.strerror}") from error


def _appended(path: Path, text: str, root: Path) -> tuple[Path, bytes]:
    """Return the file to write and its content: that of *path*, followed by *text*."""
    # If the path is a symbolic link, replace the target file and keep the link.
    real = Path(os.path.realpath(path))
    if not real.is_relative_to(root):
        raise ConfigError(
            f"`{path}` is a symbolic link out of `{root}`", hint="copy the file into the project, or pass its directory"
        )
    before = read_file(real) if real.exists() else b""
    newline = b"\r\n" if b"\r\n" in before else b"\n"
    try:
        addition = text.encode().replace(b"\n", newline)
        if before:
            addition = (newline if before.endswith(b"\n") else newline * 2) + addition
        toml.parse(decoded(before + addition))
    except ValueError as error:
        raise ConfigError(
            f"failed to add a `[tool.lamina]` table to `{path}`: {error}",
            hint="correct the file, or add the table by hand: run `lamina init --dry-run` to print it",
        ) from error
    return real, before + addition


def _functions(service: ProposedService, prefix: str) -> Iterator[str]:
    table = f"{prefix}.functions" if prefix else "functions"
    short = [function for function in service.functions if not _is_long(function, service)]
    if short:
        yield from ("", f"[{table}]")
        yield from (f"{toml.key(function.name)} = {toml.value(function.handler)}" for function in short)
    layers = {name: function for function in service.functions for name in (*function.groups, *function.extras)}
    for function in service.functions:
        if _is_long(function, service):
            yield from ("", f"[{table}.{toml.key(function.name)}]", f"handler = {toml.value(function.handler)}")
            if function.source != service.source:
                yield f"source = {toml.value(function.source)}"
            if layers:
                yield f"layers = {toml.value(('common', *function.groups, *function.extras))}"
            settings = {
                "memory": function.memory_mb,
                "timeout": function.timeout_seconds,
                "layer-arns": function.arns or None,
            }
            yield from (f"{key} = {toml.value(value)}" for key, value in settings.items() if value is not None)
    if layers:
        start = f"{prefix}.layers" if prefix else "layers"
        yield from ("", f"[{start}.common]")
        common = [(key, value) for key, value in service.settings if key.startswith(_COMMON)]
        yield from (f"{key.removeprefix(_COMMON)} = {toml.value(value)}" for key, value in common)
        for name, function in sorted(layers.items()):
            kind = "groups" if name in function.groups else "extras"
            yield from ("", f"[{start}.{toml.key(name)}]", f"{kind} = {toml.value((name,))}", 'minus = ["common"]')


def _has_layers(service: ProposedService) -> bool:
    """Return whether a function has a layer of its own, besides the layer `common`."""
    return any(function.groups or function.extras for function in service.functions)


def _is_long(function: ProposedFunction, service: ProposedService) -> bool:
    """Return whether *function* needs a table of its own, because it sets more than its handler."""
    return (
        function.source != service.source
        or bool(function.groups or function.extras or function.arns)
        or function.memory_mb is not None
        or function.timeout_seconds is not None
    )
