"""
Name first-party files that are left out, but may be needed, or packaged, but may be secret. Pure: sources in, findings out.

=======================  ========  ==========================================================================================
rule                     severity  reported if
=======================  ========  ==========================================================================================
``secret-left-out``      note      a file may contain secrets, so it is left out although git does not ignore it
``secret-packaged``      note      a file that may contain secrets is packaged, because its exact path is in the configuration
``local-file-left-out``  note      git ignores a file of a local package, so it is not in the package's wheel
=======================  ========  ==========================================================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.core import toml
from lamina.core.text import count
from lamina.pipeline.checks.common import listed, note
from lamina.project.ignore import shown_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from lamina.core.values import Finding, SourcePin
    from lamina.project.service import Service
    from lamina.project.sources import SourceTree


def secrets(service: Service, trees: Iterable[SourceTree]) -> tuple[Finding, ...]:
    """Return a note that names the files that *trees*, the sources of *service*, leave out as possible secrets, and git does not ignore."""
    # Several packages can contain the same directories.
    paths = sorted({each.path for tree in trees for each in tree.ignored if each.is_noted})
    if not paths or "secret-left-out" in service.ignore:
        return ()
    return (
        note(
            "secret-left-out",
            paths[0],
            f"{count(len(paths), 'path')} may contain secrets, so function packages do not contain "
            f"{_pronoun(paths)}: {listed(paths)}; to package {_pronoun(paths)}, set {_include(service, paths)}",
        ),
    )


def named(service: Service, trees: Iterable[SourceTree]) -> tuple[Finding, ...]:
    """Return a note that names the files which *trees* only contain because *service* names them exactly, although they may be secret."""
    reasons = {each.path: each.reason for tree in trees for each in tree.named}
    if not reasons or "secret-packaged" in service.ignore:
        return ()
    paths = sorted(reasons)
    return (
        note(
            "secret-packaged",
            paths[0],
            f"function packages contain {count(len(paths), 'path')} that lamina leaves out by default, because `source` or "
            f"`include` names {_pronoun(paths)}: {listed(paths)} ({reasons[paths[0]]}); to hide this note, set "
            f"`ignore = {toml.value([*service.ignore, 'secret-packaged'])}`",
        ),
    )


def local_files(service: Service, pins: Iterable[SourcePin]) -> tuple[Finding, ...]:
    """Return notes for each of *pins*, the local packages of *service*, with files that git ignores, or that may contain secrets."""
    found = []
    for pin in {pin.name: pin for pin in pins}.values():
        ignored = [shown_path(path, service.root) for path in pin.left_out]
        secret = [shown_path(path, service.root) for path in pin.secrets]
        if ignored and "local-file-left-out" not in service.ignore:
            fact = f"git ignores {count(len(ignored), 'path')} of local package `{pin.name}`"
            found.append(note("local-file-left-out", ignored[0], f"{fact}, {_not_in_wheel(service, ignored)}"))
        if secret and "secret-left-out" not in service.ignore:
            fact = f"{count(len(secret), 'path')} of local package `{pin.name}` may contain secrets"
            found.append(note("secret-left-out", secret[0], f"{fact}, {_not_in_wheel(service, secret)}"))
    return tuple(found)


def _not_in_wheel(service: Service, paths: Sequence[str]) -> str:
    them = _pronoun(paths)
    return f"so its wheel does not contain {them}: {listed(paths)}; to package {them}, set {_include(service, paths)}"


def _pronoun(paths: Sequence[str]) -> str:
    return "it" if len(paths) == 1 else "them"


def _include(service: Service, paths: Iterable[str]) -> str:
    """Return the line for the configuration that adds *paths* to what *service* includes."""
    entries = dict.fromkeys((*service.include, *(path.removesuffix("/") for path in paths)))
    return f"`include = {toml.value([*entries])}`"
