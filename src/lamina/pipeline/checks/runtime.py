"""
Find settings that Lambda may not accept, or not support, for every function. Pure: a service in, findings out.

==========================  ========  =======================================================================
rule                        severity  reported if
==========================  ========  =======================================================================
``runtime-preview``         note      AWS offers the target's runtime only as a preview
``managed-instances-only``  warning   only a function on Lambda Managed Instances can have the memory or time
==========================  ========  =======================================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.core.target import runtimes
from lamina.pipeline.checks.common import kept, note, warning
from lamina.project.functions import UNITS, setting

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lamina.core.target import Target
    from lamina.core.values import Finding
    from lamina.project.service import Service


def check(service: Service) -> tuple[Finding, ...]:
    """Return the findings on the runtime and the functions of *service*, except those of rules that it ignores."""
    return kept((*_preview(service.target), *_managed(service)), service.ignore)


def _preview(target: Target) -> Iterator[Finding]:
    (runtime,) = (each for each in runtimes() if each.name == target.runtime)
    if runtime.preview is not None:
        yield note(
            "runtime-preview",
            None,
            f"`{target.runtime}` has been a public preview since {runtime.preview}: AWS gives no support for it and may withdraw it",
        )


def _managed(service: Service) -> Iterator[Finding]:
    for function in service.functions:
        for name, value in (("memory", function.memory_mb), ("timeout", function.timeout_seconds)):
            most = setting(name).ordinary
            if value > most:
                yield warning(
                    "managed-instances-only",
                    function.name,
                    f"`{function.name}`: `{name}` is {value:,} {UNITS[name]}, but only functions on Lambda Managed Instances "
                    f"can have more than {most:,} {UNITS[name]}",
                )
