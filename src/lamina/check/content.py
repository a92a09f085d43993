"""
Find what a layer holds and Lambda will not honour. Pure: paths in, findings out.

===============  ========  ====================================================================
rule             severity  found where
===============  ========  ====================================================================
``pth-ignored``  warning   a distribution relies on a ``.pth`` file, which Lambda does not read
===============  ========  ====================================================================
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from lamina.model import Finding, Severity

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

__all__ = ["check"]

# Both directories are on `sys.path`, and neither is a site directory, whose `.pth` files `site` would execute
# (AWS, "Working with layers for Python Lambda functions"; Python, "site — Site-specific configuration hook"; 2026-11).
_PTH = re.compile(r"python/(?:lib/python3\.\d+/site-packages/)?([^/]+\.pth)")
# What these two kinds do, Python does by itself since 3.3 (PEP 420), or no runtime needs since 3.12 (PEP 632).
_NEEDLESS = re.compile(r".*-nspkg\.pth|distutils-precedence\.pth")


def check(layer: str, paths: Iterable[str], *, ignore: Collection[str] = ()) -> tuple[Finding, ...]:
    """
    Return what of the member *paths* of the layer called *layer* will have no effect.

    Rules named in *ignore* are left out.
    """
    found = sorted(name for path in paths if (name := _pth(path)) is not None)
    if not found or "pth-ignored" in ignore:
        return ()
    named = ", ".join(f"`{name}`" for name in found)
    return (
        Finding(
            rule="pth-ignored",
            severity=Severity.WARNING,
            message=(
                f"Lambda does not read the .pth files of layer `{layer}`: {named}; "
                "what they import or add to the path at start-up in your environment will be missing there"
            ),
            path=layer,
        ),
    )


def _pth(path: str) -> str | None:
    match = _PTH.fullmatch(path)
    return match[1] if match is not None and not _NEEDLESS.fullmatch(match[1]) else None
