"""
Find settings that Lambda may not accept, or not support, for every function. A service in, findings out.

==========================  ========  ================================================================================
rule                        severity  reported if
==========================  ========  ================================================================================
``runtime-preview``         note      AWS offers the target's runtime only as a preview
``runtime-deprecated``      warning   AWS no longer supports the target's runtime, or Lambda soon rejects new functions
``managed-instances-only``  warning   only a function on Lambda Managed Instances can have the memory or time
==========================  ========  ================================================================================
"""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.core.files import read_file
from lamina.core.paths import relative_path
from lamina.core.target import runtime_of, supported_runtimes
from lamina.pipeline.checks.common import note, warning
from lamina.project.functions import UNITS, setting

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lamina.core.target import Runtime
    from lamina.core.values import Finding
    from lamina.project.service import Service


OF_THE_DAY = frozenset({"runtime-preview", "runtime-deprecated"})
"""The rules whose findings change although a service stays the same."""
_SOON = dt.timedelta(days=90)
"""How long before Lambda rejects new functions a build starts to warn."""

_KEYS = re.compile("runtime|targets", re.IGNORECASE)


def check(service: Service, *, today: dt.date) -> tuple[Finding, ...]:
    """
    Return the findings on the runtime and the functions of *service*.

    *today* is compared with the dates of the runtime's end. No finding is an error, so no build fails because of the date.
    """
    return (*check_day(service, today=today), *_managed(service))


def check_day(service: Service, *, today: dt.date) -> tuple[Finding, ...]:
    """Return the findings of the rules `OF_THE_DAY` on the runtime of *service*, which depend on *today* or on the facts of that day."""
    runtime = runtime_of(service.target)
    return (*_preview(runtime), *_deprecated(runtime, service, today))


def _preview(runtime: Runtime) -> Iterator[Finding]:
    if runtime.preview is not None:
        yield note(
            "runtime-preview",
            None,
            f"`{runtime.name}` has been a public preview since {runtime.preview}: AWS gives no support for it and may withdraw it",
        )


def why_deprecated(runtime: Runtime, today: dt.date) -> str | None:
    """Return the dates of *runtime*'s end as a clause for messages; ``None`` unless it is over or near."""
    is_over = runtime.deprecation is not None and runtime.deprecation <= today
    if not is_over and (runtime.block_create is None or runtime.block_create - today > _SOON):
        return None
    events = (
        ("support", runtime.deprecation),
        ("new functions", runtime.block_create),
        ("updates", runtime.block_update),
    )
    facts = [f"no {what} {'since' if day <= today else 'from'} {day}" for what, day in events if day is not None]
    return f"`{runtime.name}` is {'' if is_over else 'soon '}deprecated: {', '.join(facts)}"


def _deprecated(runtime: Runtime, service: Service, today: dt.date) -> Iterator[Finding]:
    fact = why_deprecated(runtime, today)
    if fact is None:
        return
    newest = next(reversed(supported_runtimes(today)), None)
    path, line = _place(runtime.name, service)
    change = (
        "lamina knows no newer runtime: update lamina"
        if newest is None
        else f"change it to `{newest.name}`" + (f" in `{path.name}`, line {line}" if path is not None else "")
    )
    yield warning(
        "runtime-deprecated",
        None,
        f"{fact}; {change}",
        file=None if path is None else relative_path(path, service.root),
        line=line,
    )


def _place(runtime: str, service: Service) -> tuple[Path | None, int | None]:
    """Return the file and the line of *service* that set *runtime*, or ``None`` twice if an option of the command does."""
    name = re.compile(rf"(?<![\w.]){re.escape(runtime)}(?![\w.])")
    found = [
        (path, number, line)
        for path in filter(Path.is_file, service.runtime_inputs)
        for number, line in enumerate(read_file(path).decode("utf-8", "replace").splitlines(), start=1)
        if name.search(line.partition("#")[0])
    ]
    # Other lines, such as the command of another tool, may name the same Python.
    found.sort(key=lambda each: _KEYS.search(each[2]) is None)
    return next(((path, number) for path, number, _ in found), (None, None))


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
