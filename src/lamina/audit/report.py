"""What `lamina check` found in all services, for the formats of `lamina.audit.formats`."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.core.frozen import frozen
from lamina.core.paths import relative_path
from lamina.core.values import Severity

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lamina.audit.check import CheckResult
    from lamina.core.errors import LaminaError
    from lamina.core.values import Finding
    from lamina.project.ignored import IgnoredRule

PAGE = "docs/reference/rules.md"
"""The page of the documentation with all rules; each family is a section."""


@frozen
class UncheckedService:
    """A service that could not be built or checked."""

    project: Path
    error: LaminaError


@frozen
class ReportedFinding:
    """One finding of one service, with its place in the repository."""

    finding: Finding
    project: str
    """The directory of the service, relative to the repository."""
    file: str
    """The file to change, relative to the repository, with ``/``."""
    line: int | None
    entry: IgnoredRule | None = None
    """The entry of ``ignore`` that hides the finding."""

    @property
    def message(self) -> str:
        """The message, and why and until when the finding is accepted."""
        if self.entry is None:
            return self.finding.message
        until = f" until {self.entry.until}" if self.entry.until is not None else ""
        reason = f" ({self.entry.reason})" if self.entry.reason is not None else ""
        return f"{self.finding.message}; accepted{until}{reason}"

    @property
    def place(self) -> str:
        """The file, and the line if it is known, as ``file:line``."""
        return self.file if self.line is None else f"{self.file}:{self.line}"


class Report:
    """The findings in all services that one command checked."""

    def __init__(
        self,
        results: tuple[CheckResult, ...],
        *,
        failures: tuple[UncheckedService, ...] = (),
        start: Path,
        seconds: float,
        command: str = "check",
    ) -> None:
        """Take the *results* of *command* on the services in the project or workspace *start*, and the duration in *seconds*."""
        self.command = command
        self.results = results
        self.failures = failures
        self.seconds = seconds
        self.start = start
        start = Path(os.path.abspath(start))
        self.repository = next((each for each in (start, *start.parents) if (each / ".git").exists()), start)
        """The root of the git repository; without one, the project or workspace. Tools expect paths relative to it."""

    @cached_property
    def rows(self) -> tuple[ReportedFinding, ...]:
        """The findings, errors first."""
        return _sorted(self._row(result, each) for result in self.results for each in result.findings)

    @cached_property
    def ignored(self) -> tuple[ReportedFinding, ...]:
        """The findings that ``ignore`` hides, errors first."""
        return _sorted(
            self._row(result, each.finding, each.entry) for result in self.results for each in result.ignored
        )

    @property
    def accepted(self) -> tuple[ReportedFinding, ...]:
        """The findings of an audit that ``ignore`` hides, which reports for people show: what a team accepts, others have to see."""
        return self.ignored if self.command == "audit" else ()

    def count(self, severity: Severity) -> int:
        """Return the number of findings with *severity*."""
        return sum(row.finding.severity is severity for row in self.rows)

    def fails(self, least: Severity | None) -> bool:
        """Return whether a finding is as severe as *least*, or more severe; never if it is ``None``."""
        order = list(Severity)
        return least is not None and any(self.count(each) for each in order[: order.index(least) + 1])

    def directory(self, project: Path) -> str:
        """Return the directory of the service *project* relative to the repository, ``.`` for the same."""
        return relative_path(os.path.abspath(project), self.repository)

    def _row(self, result: CheckResult, finding: Finding, entry: IgnoredRule | None = None) -> ReportedFinding:
        project = self.directory(result.project)
        file, line = os.path.normpath(os.path.join(project, finding.file or "")), finding.line
        if os.path.isabs(file) or file.split(os.sep)[0] == os.pardir:
            # Tools show no file outside the repository.
            file, line = os.path.join(project, result.configuration), None
        return ReportedFinding(
            finding=finding,
            project=project,
            file=os.path.normpath(file).replace(os.sep, "/"),
            line=line,
            entry=entry,
        )


def _sorted(rows: Iterable[ReportedFinding]) -> tuple[ReportedFinding, ...]:
    order = list(Severity)
    # The findings of a service are sorted already, and the services have the order of the workspace.
    return tuple(sorted(rows, key=lambda row: order.index(row.finding.severity)))
