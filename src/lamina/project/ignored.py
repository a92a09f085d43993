"""Read ``ignore``: the rules whose findings a service hides, each with a reason, an expiry date and a subject on request."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from lamina.core.frozen import frozen

if TYPE_CHECKING:
    import datetime as dt

    from lamina.core.values import Finding
    from lamina.project.table import Table


@frozen
class IgnoredRule:
    """An entry of ``ignore``: the findings of one rule that the service hides."""

    rule: str
    reason: str | None = None
    """Why the findings are hidden; ``None`` for an entry that is only a rule's name."""
    until: dt.date | None = None
    """The last day on which ``lamina check`` hides the findings; ``None`` for no end."""
    path: str | None = None
    """A glob of the layers, functions or files that the findings are about; ``None`` for all findings of the rule."""

    def covers(self, finding: Finding) -> bool:
        """Return whether the entry is about *finding*, on any day."""
        if finding.rule != self.rule:
            return False
        pattern = self.path
        return pattern is None or any(
            fnmatchcase(place, pattern) for place in (finding.path, finding.file) if place is not None
        )

    def has_expired(self, today: dt.date) -> bool:
        """Return whether *today* is after the last day."""
        return self.until is not None and self.until < today

    @property
    def entry(self) -> str | dict[str, object]:
        """The entry as in the configuration."""
        keys = {"rule": self.rule, "reason": self.reason, "until": self.until, "path": self.path}
        given: dict[str, object] = {key: value for key, value in keys.items() if value is not None}
        return self.rule if len(given) == 1 else given


def read_ignored(reader: Table) -> tuple[IgnoredRule, ...]:
    """Return the entries of ``ignore``, strings or tables, and record a mistake for each invalid one. Rules may be unknown."""
    ignored = []
    for item in reader.strings_or_tables("ignore") or ():
        if isinstance(item, str):
            ignored.append(IgnoredRule(rule=item))
            continue
        rule, reason = item.string("rule"), item.reason()
        until, path = item.date("until"), item.string("path")
        item.done()
        if not rule:
            item.complain("rule", "required, but missing or empty")
        if rule and reason:
            ignored.append(IgnoredRule(rule=rule, reason=reason, until=until, path=path))
    return tuple(ignored)
