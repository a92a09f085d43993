"""Find the licence of a distribution in its metadata, and compare it with the licences that a service allows."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from lamina.core.toml import read_data

if TYPE_CHECKING:
    from collections.abc import Collection

    from lamina.audit.inventory.contents import ContainedDistribution

_START = "License :: "
_APPROVED = "OSI Approved :: "


def expression_of(distribution: ContainedDistribution) -> str | None:
    """
    Return the licence of *distribution* as an SPDX expression, or ``None`` if its metadata does not name it clearly.

    Several classifiers do not say whether all of the licences apply or one of them, so that they count as one only if they are equal.
    """
    stated = canonical(distribution.licence) if distribution.licence is not None else None
    if stated is not None:
        return stated
    known = read_data("licences.toml")["classifiers"]["names"]
    found: set[str | None] = {known.get(text) for text in map(_short, distribution.classifiers) if text}
    return found.pop() if len(found) == 1 else None


def named(distribution: ContainedDistribution) -> str:
    """Return what the metadata of *distribution* says of its licence, as text for people; empty if it says nothing."""
    return distribution.licence or ", ".join(filter(None, map(_short, distribution.classifiers)))


def allows(allowed: Collection[str], expression: str) -> bool:
    """
    Return whether the SPDX *expression* can be fulfilled with the *allowed* expressions alone.

    Of licences that are joined by ``OR``, one must be allowed, of those joined by ``AND`` all. A licence with an exception must be allowed
    with this exception.
    """
    parsed = _parsed(expression)
    return _holds({str(_parsed(each)) for each in allowed}, parsed)


def _holds(allowed: Collection[str], parsed: Any) -> bool:
    if str(parsed) in allowed:
        return True
    operator = getattr(parsed, "operator", "").strip()
    if not operator:
        return False
    chosen = any if operator == "OR" else all
    return chosen(_holds(allowed, each) for each in parsed.args)


def _parsed(expression: str) -> Any:
    # A dependency of the library that writes SBOMs. It has no types.
    import license_expression

    licensing: Any = license_expression
    return licensing.Licensing().parse(expression)


@cache
def canonical(text: str) -> str | None:
    """Return the licence *text* as an SPDX expression, or ``None`` if it is neither one nor a known spelling of one."""
    from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

    known = read_data("licences.toml")["texts"]["names"]
    try:
        return str(canonicalize_license_expression(known.get(text.strip().lower(), text)))
    except InvalidLicenseExpression:
        return None


def _short(classifier: str) -> str:
    """Return the licence in *classifier*; empty if it only says that there is one."""
    return (
        ""
        if classifier == _START + _APPROVED.removesuffix(" :: ")
        else classifier.removeprefix(_START).removeprefix(_APPROVED)
    )
