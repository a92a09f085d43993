"""
Ask Amazon Inspector on request whether it scans the functions of the account, and what it found in those of the service.

=====================  ========  ========================================================================================
rule                   severity  reported if
=====================  ========  ========================================================================================
``inspector-off``      note      Inspector does not scan the Lambda functions of the account, or could not be asked
``inspector-finding``  warning   Inspector found a vulnerability in a function of the service, or in one of its layers
=====================  ========  ========================================================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.core.errors import AwsError, ConfigError
from lamina.pipeline.checks.common import note, warning

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from lamina.audit.inspection import Inspection
    from lamina.aws.api.inspector import InspectorFinding
    from lamina.aws.api.session import Access
    from lamina.core.values import Finding


def check(inspection: Inspection) -> Iterator[Finding]:
    """Yield findings on the deployed functions of the service, if AWS is asked. Raises `InvalidConfigError`."""
    if not inspection.aws or not inspection.service.functions:
        return
    # Slow to import.
    from lamina.aws.api.session import Access
    from lamina.aws.deploy import config as deployconfig
    from lamina.aws.publish import config as publishconfig

    publishing, deploying = publishconfig.load(inspection.project), deployconfig.load(inspection.project)
    functions = inspection.service.functions
    names = {deploying.name(inspection.service.name, function.name): function.name for function in functions}
    roles: tuple[str | None, ...] = publishing.roles or (None,)
    regions: tuple[str | None, ...] = publishing.regions or (None,)
    for access in (Access(region=region, role=role) for role in roles for region in regions):
        yield from _in_account(access, names)


def _in_account(access: Access, names: Mapping[str, str]) -> Iterator[Finding]:
    """Yield findings on the functions in one account and region. *names* maps their names in Lambda to those in the project."""
    try:
        inspector = access.connect().inspector
        found = sorted(set(inspector.findings([*names])), key=_order) if inspector.scans_functions() else None
    except (AwsError, ConfigError) as problem:
        # Inspector is an extra source: the role may not be allowed to ask it, and some regions and emulators do not have it.
        where = f" in {access.region}" if access.region else ""
        yield note("inspector-off", None, f"Amazon Inspector could not be asked{where}: {problem}")
        return
    if found is None:
        yield note(
            "inspector-off",
            None,
            f"Amazon Inspector does not scan the Lambda functions in {inspector.region}; turn Lambda standard scanning on, or run "
            "`lamina audit --deployed` regularly",
        )
        return
    for each in found:
        if each.function in names:
            yield warning("inspector-finding", names[each.function], _text(each))


def _order(found: InspectorFinding) -> tuple[str, str, str]:
    return found.function, found.distribution, found.id


def _text(found: InspectorFinding) -> str:
    fixed = f", fixed in {found.fixed}" if found.fixed else ""
    where = f"layer `{found.layer}`" if found.layer else "its own code"
    return (
        f"Amazon Inspector found {found.id} ({found.severity.lower()}) in `{found.distribution}` {found.version} of function "
        f"`{found.function}`: in {where}{fixed}"
    )
