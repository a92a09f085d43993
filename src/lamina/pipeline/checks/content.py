"""
Find files in layers and packages that do not work on Lambda.

======================  ========  ======================================================================================
rule                    severity  reported if
======================  ========  ======================================================================================
``pth-ignored``         warning   a distribution relies on a ``.pth`` file, which Lambda does not read
``build-machine-path``  error     a file of an editable installation, a ``.pth`` file or a direct URL refers to a
                                  directory of the machine that built the wheel
``uncompiled-module``   warning   a module of the service has no bytecode, because the target's Python cannot compile it
======================  ========  ======================================================================================
"""

from __future__ import annotations

import json
import re
import shlex
from typing import TYPE_CHECKING

from lamina.pipeline.checks.common import View, error, listed, own_paths, shown, warning
from lamina.pipeline.checks.origins import Origins
from lamina.project.service import BytecodeMode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from lamina.core.values import Finding, Layer, Package
    from lamina.project.service import Service

# Both directories are on `sys.path`, but neither is a site directory, so `site` does not process their `.pth` files
# (AWS, "Working with layers for Python Lambda functions"; Python, "site — Site-specific configuration hook"; 2026-11).
_PTH = re.compile(r"(?:python/(?:lib/python3\.\d+/site-packages/)?)?([^/]+\.pth)")
# Harmless files: Python itself supports namespace packages since 3.3 (PEP 420), and no runtime needs the distutils
# override since 3.12 (PEP 632).
_NEEDLESS = re.compile(r".*-nspkg\.pth|distutils-precedence\.pth")
# Files with which setuptools, hatchling and older tools mark an editable installation, which points to sources.
_EDITABLE = re.compile(r"(?:.*/)?(?:__editable__[^/]*|[^/]*\.egg-link|_editable_impl_[^/]*)")
_DIRECT_URL = re.compile(r"(?:.*/)?[^/]+\.dist-info/direct_url\.json")
_ABSOLUTE = re.compile(r"/|[A-Za-z]:[\\/]")
# If a central directory contains none of these bytes, its zip has nothing to check.
_SIGNS = (b".pth", b"__editable__", b"_editable_impl_", b".egg-link", b"direct_url.json")


def check_layers(layers: Iterable[Layer], packages: Iterable[Package] = ()) -> tuple[Finding, ...]:
    """Return the findings on the distributions in the finished zips of *layers* and *packages*. Functions that share a zip share them."""
    found: list[Finding] = []
    bundling = {package.sha256: package for package in packages if package.distributions}
    archives: tuple[Layer | Package, ...] = (*layers, *bundling.values())
    for archive in archives:
        view = View(archive.path)
        if any(sign in view.raw for sign in _SIGNS):
            found += check(archive.name, view.members, read=view.text, subject=shown(archive))
    return tuple(found)


def check(
    layer: str, paths: Iterable[str], *, read: Callable[[str], str] | None = None, subject: str = ""
) -> tuple[Finding, ...]:
    """
    Return findings on the member *paths* of *layer* that have no effect on Lambda or refer to the build machine.

    *subject* names it in messages (default: as a layer).

    *read* returns the text of a member; without it, only names are checked, not the content of ``.pth`` files and direct
    URLs.
    """
    paths = sorted(paths)
    subject = subject or f"layer `{layer}`"
    return (*_pointing(layer, subject, paths, read), *_ignored(layer, subject, paths))


def _ignored(layer: str, subject: str, paths: Iterable[str]) -> Iterator[Finding]:
    found = sorted(name for path in paths if (name := _pth(path)) is not None)
    if found:
        named = ", ".join(f"`{name}`" for name in found)
        yield warning(
            "pth-ignored",
            layer,
            f"Lambda ignores the `.pth` files of {subject}: {named}; "
            "if your code needs the imports or `sys.path` entries that they add at startup, add these in the handler",
        )


def _pth(path: str) -> str | None:
    match = _PTH.fullmatch(path)
    return match[1] if match is not None and not _NEEDLESS.fullmatch(match[1]) else None


def _pointing(layer: str, subject: str, paths: Iterable[str], read: Callable[[str], str] | None) -> Iterator[Finding]:
    found = [path for path in paths if _EDITABLE.fullmatch(path) or (read is not None and _leads_away(path, read))]
    if found:
        named = ", ".join(f"`{path}`" for path in found)
        yield error(
            "build-machine-path",
            layer,
            f"files in {subject} refer to directories of the machine that built their wheel: {named}; "
            "build that wheel from its sources, not from an editable installation",
        )


def _leads_away(path: str, read: Callable[[str], str]) -> bool:
    """Return whether the content of the member *path* refers to a directory outside the layer."""
    if _PTH.fullmatch(path):
        # A line that starts with `import` is executed; any other line is a directory (Python, "site"; 2026-11).
        return any(_ABSOLUTE.match(line) for line in read(path).splitlines())
    if _DIRECT_URL.fullmatch(path):
        try:
            url = json.loads(read(path)).get("url", "")
        except (ValueError, AttributeError):
            return False
        return isinstance(url, str) and url.startswith("file:")
    return False


def check_packages(packages: Sequence[Package], service: Service) -> Iterator[Finding]:
    """
    Yield a warning for each of *packages* of *service* with modules that Python cannot compile; nothing without bytecode.

    Every module that compiles has a bytecode file in the package, so comparing file names is enough. Functions that share
    a package share the warning. Raises ArchiveError for a damaged zip.
    """
    if service.bytecode is BytecodeMode.NONE:
        return
    from lamina.bytecode.compiler import bytecode_path

    # Functions of a service often share one package. Check each package once.
    origins = Origins(service)
    for package in {each.sha256: each for each in reversed(packages)}.values():
        paths = own_paths(View(package.path), package)
        python, present = service.target.python, frozenset(paths)
        refused = [path for path in paths if path.endswith(".py") and bytecode_path(path, python) not in present]
        if refused:
            file = origins.of(refused[0], package.name)
            yield warning(
                "uncompiled-module",
                package.name,
                f"Python {python[0]}.{python[1]} cannot compile {listed(refused)}, so importing "
                f"{'it' if len(refused) == 1 else 'them'} fails; to see why, run `python{python[0]}.{python[1]} -m py_compile {shlex.quote(file or refused[0])}`",
                file=file,
            )
