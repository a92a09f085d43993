"""
Ask Amazon Inspector on request whether it scans the functions of the account, and what it found in those of the service.

=====================  ========  ========================================================================================
rule                   severity  reported if
=====================  ========  ========================================================================================
``inspector-off``      note      Inspector does not scan the Lambda functions of the account, or may not be asked
``inspector-finding``  warning   Inspector found a vulnerability in a function of the service, or in one of its layers
=====================  ========  ========================================================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.aws.deploy import config as deployconfig
from lamina.aws.publish import config as publishconfig
from lamina.core.errors import ConfigError, MissingPermissionError
from lamina.pipeline.checks.common import note, warning

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lamina.audit.inspection import Inspection
    from lamina.aws.api.inspector import InspectorFinding
    from lamina.aws.api.session import Access
    from lamina.core.values import Finding


def check(inspection: Inspection) -> Iterator[Finding]:
    """Yield findings on the deployed functions of the service, if AWS is asked. Raises `AwsError`, and `InvalidConfigError`."""
    if not inspection.aws or not inspection.service.functions:
        return
    # Slow to import.
    from lamina.aws.api.session import Access

    publishing = publishconfig.load(inspection.project)
    roles: tuple[str | None, ...] = publishing.roles or (None,)
    regions: tuple[str | None, ...] = publishing.regions or (None,)
    for access in (Access(region=region, role=role) for role in roles for region in regions):
        yield from _in_account(access, inspection)


def _in_account(access: Access, inspection: Inspection) -> Iterator[Finding]:
    service, config = inspection.service, deployconfig.load(inspection.project)
    try:
        inspector = access.connect().inspector
        is_on = inspector.scans_functions()
    except (ConfigError, MissingPermissionError) as problem:
        # Users without Inspector need not allow it, nor have a default region. The pinned layers are checked nevertheless.
        yield note("inspector-off", None, f"Amazon Inspector was not asked: {problem}")
        return
    if not is_on:
        yield note(
            "inspector-off",
            None,
            f"Amazon Inspector does not scan the Lambda functions in {inspector.region}; turn Lambda standard scanning on, or run "
            "`lamina audit --deployed` regularly",
        )
        return
    names = {config.name(service.name, function.name): function.name for function in service.functions}
    for found in sorted(set(inspector.findings([*names])), key=_order):
        if found.function in names:
            yield warning("inspector-finding", names[found.function], _text(found))


def _order(found: InspectorFinding) -> tuple[str, str, str]:
    return found.function, found.distribution, found.id


def _text(found: InspectorFinding) -> str:
    fixed = f", fixed in {found.fixed}" if found.fixed else ""
    where = f"layer `{found.layer}`" if found.layer else "its own code"
    return (
        f"Amazon Inspector found {found.id} ({found.severity.lower()}) in `{found.distribution}` {found.version} of function "
        f"`{found.function}`: in {where}{fixed}"
    )
