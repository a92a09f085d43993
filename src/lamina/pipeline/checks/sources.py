"""
Find what a function's own modules are not: Python that its runtime can compile.

======================  ========  ======================================================================================
rule                    severity  found where
======================  ========  ======================================================================================
``uncompiled-module``   warning   a module of the service has no bytecode, because the target's interpreter refused it
======================  ========  ======================================================================================

A package with bytecode has that of every module which could be compiled, so nothing has to be compiled again to know.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.core.values import Finding, Severity
from lamina.pipeline.checks.view import View, listed
from lamina.project.service import BytecodeMode

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lamina.core.values import Package
    from lamina.project.service import Service

__all__ = ["check"]

_RULE = "uncompiled-module"


def check(packages: Sequence[Package], service: Service) -> Iterator[Finding]:
    """Yield what of the *packages* of *service* cannot be imported. Raises what reading a damaged zip raises."""
    if service.bytecode is BytecodeMode.NONE or _RULE in service.ignore:
        return
    from lamina.bytecode.compiler import bytecode_path  # noqa: PLC0415 - slow to import, and where all is fresh not needed

    # Most functions of a service have the same package.
    for package in {each.sha256: each for each in reversed(packages)}.values():
        paths = View(package.path).members
        python = service.target.python
        refused = [path for path in paths if path.endswith(".py") and bytecode_path(path, python) not in paths]
        if refused:
            yield Finding(
                rule=_RULE,
                severity=Severity.WARNING,
                message=(
                    f"Python {python[0]}.{python[1]} cannot compile {listed(refused)}, so importing "
                    f"{'it' if len(refused) == 1 else 'them'} fails: python{python[0]}.{python[1]} -m py_compile says why"
                ),
                path=package.name,
            )
