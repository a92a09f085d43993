"""Decide which findings the configuration hides. A build and `lamina check` filter all findings here, and no rule filters its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.core.values import Severity
from lamina.pipeline.checks.rules import find_rule

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Sequence

    from lamina.core.values import Finding
    from lamina.project.ignored import IgnoredRule


def ignoring(finding: Finding, entries: Iterable[IgnoredRule], *, today: dt.date | None = None) -> IgnoredRule | None:
    """
    Return the first of *entries* that hides *finding*, or ``None``.

    Without *today*, no entry expires: a date must not make a build fail.
    """
    for entry in entries:
        hides = entry.covers(finding) and (finding.severity is not Severity.ERROR or hides_errors(entry))
        if hides and (today is None or not entry.has_expired(today)):
            return entry
    return None


def hides_errors(entry: IgnoredRule) -> bool:
    """
    Return whether *entry* hides the errors of its rule: the rule must allow it, and the entry must have a reason.

    The rules of ``lamina build`` need no reason, because they needed none before entries could have one.
    """
    rule = find_rule(entry.rule)
    return rule is not None and rule.ignorable and (entry.reason is not None or rule.build)


def divided(
    findings: Iterable[Finding], entries: Sequence[IgnoredRule]
) -> tuple[tuple[Finding, ...], tuple[Finding, ...]]:
    """Return the *findings* of a build that *entries* leave, and those that they hide."""
    found = tuple(findings)
    if not entries:
        return found, ()
    hidden = {finding: ignoring(finding, entries) is not None for finding in found}
    return tuple(each for each in found if not hidden[each]), tuple(each for each in found if hidden[each])
