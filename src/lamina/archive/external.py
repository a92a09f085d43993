"""Read what the zip of a layer contains that lamina did not build. The zip is untrusted."""

from __future__ import annotations

import mmap
import os
import re
from typing import TYPE_CHECKING

from lamina.archive.zip.directory import read_directory
from lamina.core.files import open_regular
from lamina.core.paths import PREFIX
from lamina.project.pinned import ExternalContents

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_SITE = re.compile(r"python/lib/python([0-9]+\.[0-9]+)/site-packages/(.+)")
_EXTENSION = re.compile(r"extensions/([^/]+)")
_MODULE = re.compile(r"(\w+)(?:\.(?:[\w-]+\.)*so|\.pyc?)")
_INIT = "__init__"
# `pip install --target` writes scripts into it, some of which end with `.py`.
_SCRIPTS = "bin"


def read_contents(path: Path, *, name: str) -> ExternalContents:
    """
    Return what the layer zip at *path* contains. *name* is its name in messages.

    Raises the errors of `lamina.archive.zip.directory.read_directory` if the zip is unsafe, ambiguous or damaged.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else b""
    files = [located.member for located in read_directory(memoryview(mapped), name=name)]
    paths = [member.path for member in files]
    sites: dict[str, list[str]] = {}
    for found in filter(None, map(_SITE.fullmatch, paths)):
        sites.setdefault(found[1], []).append(found[2])
    modules = {minor: modules_at(inside) for minor, inside in sorted(sites.items())}
    return ExternalContents(
        unzipped_bytes=sum(member.size for member in files),
        modules=modules_at(each.removeprefix(PREFIX) for each in paths if each.startswith(PREFIX)),
        site_modules=tuple((minor, found) for minor, found in modules.items() if found),
        extensions=tuple(sorted(found[1] for found in map(_EXTENSION.fullmatch, paths) if found is not None)),
    )


def modules_at(paths: Iterable[str]) -> tuple[str, ...]:
    """Return the dotted names of the outermost packages and modules at *paths*, relative to a directory of ``sys.path``, sorted."""
    modules = module_parts(paths)
    packages = {parts[:-1] for parts in modules if parts[-1] == _INIT}
    outermost = {
        next((parts[:end] for end in range(1, len(parts)) if parts[:end] in packages), parts)
        for parts in modules
        if parts != (_INIT,)
    }
    return tuple(sorted(".".join(parts) for parts in outermost))


def module_parts(paths: Iterable[str]) -> set[tuple[str, ...]]:
    """
    Return the names that lead to each module at *paths*, which are relative to a directory of ``sys.path``.

    The last name of a package is ``__init__``. Programs in ``bin`` do not count as modules.
    """
    return {
        (*directories, found[1])
        for *directories, file in (path.split("/") for path in paths)
        if (found := _MODULE.fullmatch(file)) is not None
        and all(map(str.isidentifier, (*directories, found[1])))
        and directories[:1] != [_SCRIPTS]
    }
