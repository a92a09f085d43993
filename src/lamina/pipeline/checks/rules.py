"""Read the rules of `lamina build` and `lamina check`: their names, severities, causes and cures."""

from __future__ import annotations

import re
from functools import cache

from lamina.core.frozen import frozen
from lamina.core.toml import read_data
from lamina.core.values import Severity


@frozen
class Rule:
    """One rule, as the documentation describes it."""

    name: str
    """The stable name, which findings and ``ignore`` have."""
    family: str
    build: bool = False
    """Whether ``lamina build`` checks the rule, too."""
    severity: Severity
    """The usual severity."""
    ignorable: bool = False
    """Whether ``ignore`` can hide an error of this rule. It can always hide warnings and notes."""
    cause: str
    """When the rule reports a finding, as Markdown for the reference."""
    cure: str
    """What to do, as Markdown for the reference."""

    @property
    def section(self) -> str:
        """The anchor of the family's section on the page of the rules."""
        return self.family.replace(" ", "-")


@frozen
class RuleFamily:
    """Rules about the same things, a section of the documentation."""

    name: str
    about: str
    """An introduction, as Markdown for the reference."""


@cache
def families() -> tuple[RuleFamily, ...]:
    """Return every family, in the order of the documentation."""
    return tuple(RuleFamily(**row) for row in read_data("rules.toml")["family"])


@cache
def rules() -> tuple[Rule, ...]:
    """Return every rule, in the order of the documentation."""
    return tuple(Rule(**(row | {"severity": Severity(row["severity"])})) for row in read_data("rules.toml")["rule"])


def find_rule(name: str) -> Rule | None:
    """Return the rule *name*, or ``None`` if there is none."""
    return next((rule for rule in rules() if rule.name == name), None)


def unlinked(text: str) -> str:
    """Return the Markdown *text* of a rule without links, which are relative to the page of the rules."""
    return re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", text)
