"""What several checks need: how findings are worded and ignored, the stacks of layers that functions see, the content of a finished zip."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from lamina.archive.zip.directory import members, raw_directory
from lamina.core.frozen import frozen
from lamina.core.names import normalized
from lamina.core.values import Finding, Severity

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence
    from pathlib import Path

    from lamina.archive.zip.zipformat import Member
    from lamina.core.values import Layer, Package

_SHOWN = 3


@frozen
class Stack:
    """Layers that are seen together, in the order in which Lambda unpacks them: of two files the later one stays."""

    functions: tuple[str, ...]
    """Names of the functions that see them; empty for a layer that no function has."""
    layers: tuple[Layer, ...]

    @property
    def subject(self) -> str:
        """How a message begins: the functions, or the layer that stands alone."""
        return listed(self.functions) if self.functions else f"Layer `{self.layers[0].name}`"

    @property
    def path(self) -> str:
        """What a finding on the stack is about."""
        return self.functions[0] if self.functions else self.layers[0].name


def stacks(layers: Iterable[Layer], packages: Iterable[Package]) -> tuple[Stack, ...]:
    """Return every combination of *layers* that a function has, each once, and those that no function has."""
    by_name = {layer.name: layer for layer in layers}
    functions: dict[tuple[str, ...], list[str]] = {}
    for package in packages:
        functions.setdefault(package.layers, []).append(package.name)
    used = {name for names in functions for name in names}
    for name in by_name:
        if name not in used:
            functions.setdefault((name,), [])
    return tuple(
        Stack(functions=tuple(found), layers=tuple(by_name[name] for name in names))
        for names, found in functions.items()
        if names
    )


def error(rule: str, path: str, message: str) -> Finding:
    """Return what cannot be ignored: a deployment, or the function, would fail."""
    return Finding(rule=rule, severity=Severity.ERROR, message=message, path=path)


def warning(rule: str, path: str, message: str) -> Finding:
    """Return what is seldom meant."""
    return Finding(rule=rule, severity=Severity.WARNING, message=message, path=path)


def note(rule: str, path: str | None, message: str) -> Finding:
    """Return what is worth knowing and needs no action."""
    return Finding(rule=rule, severity=Severity.NOTE, message=message, path=path)


def kept(findings: Iterable[Finding], ignored: Collection[str]) -> tuple[Finding, ...]:
    """Return *findings* without those whose rules are *ignored*; errors never are."""
    return tuple(finding for finding in findings if finding.severity is Severity.ERROR or finding.rule not in ignored)


def listed(names: Sequence[str]) -> str:
    """Return *names* in backticks, the first few of many."""
    shown = ", ".join(f"`{name}`" for name in names[:_SHOWN])
    return f"{shown} and {len(names) - _SHOWN} more" if len(names) > _SHOWN else shown


def owner_of(path: str) -> str:
    """Return the normalised name of the distribution whose ``.dist-info`` directory the member *path* is in."""
    return normalized(path.split("/")[-2].removesuffix(".dist-info").rpartition("-")[0])


class View:
    """A finished zip; what was read of it once is kept."""

    def __init__(self, path: Path) -> None:
        """Look at *path*; nothing is opened yet."""
        self.path = path

    @cached_property
    def raw(self) -> bytes:
        """The bytes of the central directory, in which a path is found faster than by parsing them."""
        return raw_directory(self.path)

    @cached_property
    def members(self) -> dict[str, Member]:
        """Every file by its path."""
        return {member.path: member for member in members(self.path)}

    def text(self, path: str) -> str:
        """Return the content of the member *path*; what is not UTF-8 is replaced."""
        return next(text for _, text in self.texts((path,)))

    def texts(self, paths: Iterable[str]) -> Iterator[tuple[str, str]]:
        """Yield the members *paths*, each with its content; what is not UTF-8 is replaced."""
        import zipfile

        with zipfile.ZipFile(self.path) as archive:
            for path in paths:
                yield path, archive.read(path).decode("utf-8", "replace")
