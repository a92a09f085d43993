"""
Find files in layers and packages that are of no use on Lambda.

======================  ========  ======================================================================================
rule                    severity  found where
======================  ========  ======================================================================================
``pth-ignored``         warning   a distribution relies on a ``.pth`` file, which Lambda does not read
``build-machine-path``  error     an editable installation or a direct URL names a directory of this machine
``uncompiled-module``   warning   a module of the service has no bytecode, because the target's interpreter refused it
======================  ========  ======================================================================================
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from lamina.pipeline.checks.common import View, error, listed, warning
from lamina.project.service import BytecodeMode

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from lamina.core.values import Finding, Layer, Package
    from lamina.project.service import Service

# Both directories are on `sys.path`, and neither is a site directory, whose `.pth` files `site` would execute
# (AWS, "Working with layers for Python Lambda functions"; Python, "site — Site-specific configuration hook"; 2026-11).
_PTH = re.compile(r"python/(?:lib/python3\.\d+/site-packages/)?([^/]+\.pth)")
# What these two kinds do, Python does by itself since 3.3 (PEP 420), or no runtime needs since 3.12 (PEP 632).
_NEEDLESS = re.compile(r".*-nspkg\.pth|distutils-precedence\.pth")
# How setuptools, hatchling and pip's own predecessors mark an installation that is a pointer to sources.
_EDITABLE = re.compile(r"(?:.*/)?(?:__editable__[^/]*|[^/]*\.egg-link|_editable_impl_[^/]*)")
_DIRECT_URL = re.compile(r"(?:.*/)?[^/]+\.dist-info/direct_url\.json")
_ABSOLUTE = re.compile(r"/|[A-Za-z]:[\\/]")
# As bytes in a zip's directory: without any of these there is nothing to parse.
_SIGNS = (b".pth", b"__editable__", b"_editable_impl_", b".egg-link", b"direct_url.json")


def check_layers(layers: Iterable[Layer], *, ignore: Collection[str] = ()) -> tuple[Finding, ...]:
    """Return what is found in the finished zips of *layers*; most are not even parsed for it."""
    found: list[Finding] = []
    for layer in layers:
        view = View(layer.path)
        if any(sign in view.raw for sign in _SIGNS):
            found += check(layer.name, view.members, ignore=ignore, read=view.text)
    return tuple(found)


def check(
    layer: str, paths: Iterable[str], *, ignore: Collection[str] = (), read: Callable[[str], str] | None = None
) -> tuple[Finding, ...]:
    """
    Return what of the member *paths* of the layer called *layer* will have no effect, or leads to the build machine.

    *read* gives a member's text; without it only paths are judged. Rules named in *ignore* are left out, errors never are.
    """
    paths = sorted(paths)
    return (*_pointing(layer, paths, read), *(() if "pth-ignored" in ignore else _ignored(layer, paths)))


def _ignored(layer: str, paths: Iterable[str]) -> Iterator[Finding]:
    found = sorted(name for path in paths if (name := _pth(path)) is not None)
    if found:
        named = ", ".join(f"`{name}`" for name in found)
        yield warning(
            "pth-ignored",
            layer,
            f"Lambda does not read the .pth files of layer `{layer}`: {named}; "
            "what they import or add to the path at start-up in your environment will be missing there",
        )


def _pth(path: str) -> str | None:
    match = _PTH.fullmatch(path)
    return match[1] if match is not None and not _NEEDLESS.fullmatch(match[1]) else None


def _pointing(layer: str, paths: Iterable[str], read: Callable[[str], str] | None) -> Iterator[Finding]:
    found = [path for path in paths if _EDITABLE.fullmatch(path) or (read is not None and _leads_away(path, read))]
    if found:
        named = ", ".join(f"`{path}`" for path in found)
        yield error(
            "build-machine-path",
            layer,
            f"Layer `{layer}` leads back to the machine that built a wheel of it, where Lambda finds nothing: {named}; "
            "build that wheel from its sources, not from an editable installation",
        )


def _leads_away(path: str, read: Callable[[str], str]) -> bool:
    """Return whether the content of the member *path* names a directory outside the layer."""
    if _PTH.fullmatch(path):
        # A line that begins with `import` is executed, any other is a directory (Python, "site"; 2026-11).
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
    Yield what of the *packages* of *service* cannot be imported. Raises what reading a damaged zip raises.

    A package with bytecode has that of every module which could be compiled, so nothing has to be compiled again to know.
    """
    if service.bytecode is BytecodeMode.NONE or "uncompiled-module" in service.ignore:
        return
    from lamina.bytecode.compiler import bytecode_path

    # Most functions of a service have the same package.
    for package in {each.sha256: each for each in reversed(packages)}.values():
        paths = View(package.path).members
        python = service.target.python
        refused = [path for path in paths if path.endswith(".py") and bytecode_path(path, python) not in paths]
        if refused:
            yield warning(
                "uncompiled-module",
                package.name,
                f"Python {python[0]}.{python[1]} cannot compile {listed(refused)}, so importing "
                f"{'it' if len(refused) == 1 else 'them'} fails: python{python[0]}.{python[1]} -m py_compile says why",
            )
