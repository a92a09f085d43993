"""
Name first-party files that are left out, but may be needed, or packaged, but may be secret. Pure: sources in, findings out.

=======================  ========  ==========================================================================================
rule                     severity  reported if
=======================  ========  ==========================================================================================
``secret-left-out``      note      a file may contain secrets, so it is left out although git does not ignore it; or a
                                   pattern of ``include`` matches only such files
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


_MOST_NAMED = 10
"""The largest number of paths in a line for the configuration."""


def secrets(service: Service, trees: Iterable[SourceTree]) -> tuple[Finding, ...]:
    """
    Return a note that names the files that *trees*, the sources of *service*, leave out as possible secrets, and git does not ignore.

    Another note names the files that a pattern in ``include`` was probably meant to add.
    """
    trees = tuple(trees)
    # Several packages can contain the same directories.
    packaged = {each.path for tree in trees for each in tree.named}
    unmet = [dict(tree.unmet) for tree in trees]
    found = []
    covered: set[str] = set()
    for entry in sorted({entry for each in unmet for entry in each}):
        # Another package may contain what the entry matches.
        matched = sorted({path for each in unmet for path in each.get(entry, ())} - packaged)
        if matched and all(entry in each for each in unmet):
            covered.update(matched)
            found.append(
                note(
                    "secret-left-out",
                    matched[0],
                    f"`{entry}` in `include` matches only {count(len(matched), 'path')} that may contain secrets, which no pattern adds: "
                    f"{listed(matched)}; to package {_pronoun(matched)}, {_include(service, matched, instead_of=entry)}",
                )
            )
    paths = sorted({each.path for tree in trees for each in tree.ignored if each.is_noted} - packaged - covered)
    if paths:
        found.append(
            note(
                "secret-left-out",
                paths[0],
                f"{count(len(paths), 'path')} may contain secrets, so function packages do not contain "
                f"{_pronoun(paths)}: {listed(paths)}; {_next_steps(service, paths)}",
            )
        )
    return tuple(found)


def named(service: Service, trees: Iterable[SourceTree]) -> tuple[Finding, ...]:
    """Return a note that names the files which *trees* only contain because *service* names them exactly, although they may be secret."""
    reasons = {each.path: each.reason for tree in trees for each in tree.named}
    if not reasons:
        return ()
    paths = sorted(reasons)
    return (
        note(
            "secret-packaged",
            paths[0],
            f"function packages contain {count(len(paths), 'path')} that lamina leaves out by default, because `source` or "
            f"`include` names {_pronoun(paths)}: {listed(paths)} ({reasons[paths[0]]}); to hide this note, set "
            f"`ignore = {_ignoring(service, 'secret-packaged')}`",
        ),
    )


def local_files(service: Service, pins: Iterable[SourcePin]) -> tuple[Finding, ...]:
    """Return notes for each of *pins*, the local packages of *service*, with files that git ignores, or that may contain secrets."""
    found = []
    for pin in {pin.name: pin for pin in pins}.values():
        ignored = [shown_path(path, service.root) for path in pin.left_out]
        secret = [shown_path(path, service.root) for path in pin.secrets]
        if ignored:
            fact = f"git ignores {count(len(ignored), 'path')} of local package `{pin.name}`"
            found.append(note("local-file-left-out", ignored[0], f"{fact}, {_not_in_wheel(service, ignored)}"))
        if secret:
            fact = f"{count(len(secret), 'path')} of local package `{pin.name}` may contain secrets"
            found.append(note("secret-left-out", secret[0], f"{fact}, {_not_in_wheel(service, secret)}"))
    return tuple(found)


def _not_in_wheel(service: Service, paths: Sequence[str]) -> str:
    them = _pronoun(paths)
    return f"so its wheel does not contain {them}: {listed(paths)}; to package {them}, {_include(service, paths)}"


def _next_steps(service: Service, paths: Sequence[str]) -> str:
    hiding = f"`ignore = {_ignoring(service, 'secret-left-out')}`"
    return (
        f"if {'it is a secret' if len(paths) == 1 else 'they are secrets'}, keep {_pronoun(paths)} out of git; to hide this note, set {hiding}; "
        f"to package {_pronoun(paths)}, {_include(service, paths)}"
    )


def _ignoring(service: Service, rule: str) -> str:
    """Return what *service* ignores, and *rule*, as TOML."""
    return toml.value([*(each.entry for each in service.ignore), rule])


def _pronoun(paths: Sequence[str]) -> str:
    return "it" if len(paths) == 1 else "them"


def _include(service: Service, paths: Sequence[str], *, instead_of: str | None = None) -> str:
    """Return how to add *paths* to what *service* includes: with the line for the configuration, unless it would be long."""
    if len(paths) > _MOST_NAMED:
        return "add their paths to `include`"
    kept = [entry for entry in service.include if entry != instead_of]
    entries = dict.fromkeys((*kept, *(path.removesuffix("/") for path in paths)))
    return f"set `include = {toml.value([*entries])}`"
