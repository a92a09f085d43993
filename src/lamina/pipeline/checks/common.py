"""Shared parts of the checks: findings, the layers that a function uses, and the content of a zip."""

from __future__ import annotations

import zlib
from bisect import bisect_right
from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING

from lamina.archive.own_code import OWN_CODE
from lamina.archive.zip.directory import members, raw_directory
from lamina.archive.zip.zipformat import own_rows
from lamina.core.errors import ArchiveError, DamagedOutputError
from lamina.core.frozen import frozen
from lamina.core.names import normalized
from lamina.core.values import Finding, Layer, Severity

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path
    from zipfile import ZipFile

    from lamina.archive.zip.zipformat import Member
    from lamina.core.values import Package

_SHOWN = 3


@frozen
class Stack:
    """The layers of one or more functions, in the order in which Lambda unpacks them; a later file replaces an earlier one."""

    functions: tuple[str, ...]
    """The names of the functions that use these layers; empty for a layer that no function uses."""
    layers: tuple[Layer | Package, ...]
    """The layers, or only the zip of the functions if their distributions are in it."""

    @property
    def subject(self) -> str:
        """The start of a message: the functions, or the layer if no function uses it."""
        return listed(self.functions) if self.functions else f"layer `{self.layers[0].name}`"

    @property
    def path(self) -> str:
        """The subject of a finding: the first function, or the layer if no function uses it."""
        return self.functions[0] if self.functions else self.layers[0].name


def stacks(layers: Iterable[Layer], packages: Iterable[Package]) -> tuple[Stack, ...]:
    """
    Return each distinct combination of *layers* that functions use, and each layer that no function uses.

    Functions that share a zip with their distributions have a stack of this zip.
    """
    by_name = {layer.name: layer for layer in layers}
    functions: dict[tuple[str, ...], list[str]] = {}
    bundling: dict[str, list[Package]] = {}
    for package in packages:
        if package.distributions:
            bundling.setdefault(package.sha256, []).append(package)
        functions.setdefault(package.layers, []).append(package.name)
    used = {name for names in functions for name in names}
    for name in by_name:
        if name not in used:
            functions.setdefault((name,), [])
    return (
        *(
            Stack(functions=tuple(found), layers=tuple(by_name[name] for name in names))
            for names, found in functions.items()
            if names
        ),
        *(Stack(functions=tuple(package.name for package in same), layers=(same[0],)) for same in bundling.values()),
    )


def shown(archive: Layer | Package) -> str:
    """Return the layer *archive* in messages, or the zip of a function."""
    return f"layer `{archive.name}`" if isinstance(archive, Layer) else f"the zip of `{archive.name}`"


def own_paths(view: View, package: Package) -> tuple[str, ...]:
    """Return the files in the zip of *package*, read through *view*, that belong to no distribution."""
    if not package.extents:
        return tuple(view.members)
    ends = list(accumulate(extent.size for extent in package.extents))
    # A report may say less than the zip has.
    names = [*(extent.name for extent in package.extents), OWN_CODE]
    return tuple(member.path for member, offset in view.rows if names[bisect_right(ends, offset)] == OWN_CODE)


def error(rule: str, path: str, message: str, *, file: str | None = None, line: int | None = None) -> Finding:
    """Return an error finding: the deployment or the function would fail."""
    return Finding(rule=rule, severity=Severity.ERROR, message=message, path=path, file=file, line=line)


def warning(rule: str, path: str | None, message: str, *, file: str | None = None, line: int | None = None) -> Finding:
    """Return a warning finding, for a likely mistake."""
    return Finding(rule=rule, severity=Severity.WARNING, message=message, path=path, file=file, line=line)


def note(rule: str, path: str | None, message: str, *, file: str | None = None, line: int | None = None) -> Finding:
    """Return a note finding, for information that needs no action."""
    return Finding(rule=rule, severity=Severity.NOTE, message=message, path=path, file=file, line=line)


def listed(names: Sequence[str], *, most: int = _SHOWN) -> str:
    """Return *names* in backticks, each once: at most *most*, followed by the number of further names."""
    names = list(dict.fromkeys(names))
    shown = ", ".join(f"`{name}`" for name in names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown


def owner_of(path: str) -> str:
    """Return the normalised name of the distribution that owns the member *path*, which is in a ``.dist-info`` directory."""
    return normalized(path.split("/")[-2].removesuffix(".dist-info").rpartition("-")[0])


class View:
    """A zip that lamina wrote, read on demand and cached. Raises `DamagedOutputError` if it was changed or damaged since."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def raw(self) -> bytes:
        """The bytes of the central directory. Searching them for a path is faster than parsing the members."""
        try:
            return raw_directory(self.path)
        except ArchiveError as error:
            raise DamagedOutputError(self.path, str(error)) from error

    @cached_property
    def rows(self) -> tuple[tuple[Member, int], ...]:
        """Every file in the zip with its local header's offset, without checks."""
        return tuple(own_rows(self.raw))

    @cached_property
    def members(self) -> dict[str, Member]:
        """Every file in the zip, by path."""
        try:
            return {member.path: member for member in members(self.path)}
        except ArchiveError as error:
            raise DamagedOutputError(self.path, str(error)) from error

    def text(self, path: str) -> str:
        """Return the content of the member *path*, with invalid UTF-8 replaced."""
        return next(text for _, text in self.texts((path,)))

    def content(self, path: str) -> bytes:
        """Return the content of the member *path*."""
        from zipfile import BadZipFile

        try:
            return self._archive.read(path)
        except (BadZipFile, EOFError, KeyError, NotImplementedError, RuntimeError, zlib.error) as error:
            raise DamagedOutputError(self.path, str(error)) from error

    @cached_property
    def _archive(self) -> ZipFile:
        from zipfile import ZipFile

        return ZipFile(self.path)

    def texts(self, paths: Iterable[str]) -> Iterator[tuple[str, str]]:
        """Yield each of the member *paths* with its content, with invalid UTF-8 replaced."""
        for path in paths:
            yield path, self.content(path).decode("utf-8", "replace")
