"""
Let pytest compare the environment in which it runs with the layers: ``pytest --lamina-venv``.

pytest loads this module in every session of an environment with lamina, so it imports nothing until the option is given.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from lamina.core.values import Finding


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of lamina."""
    group = parser.getgroup("lamina", "AWS Lambda layers")
    group.addoption(
        "--lamina-venv",
        action="store_true",
        help="before the tests, compare the environment that pytest runs in with the layers of the project, and stop if it differs",
    )
    group.addoption(
        "--lamina-project",
        metavar="DIR",
        help="the directory of the project to compare with --lamina-venv (default: pytest's rootdir)",
    )


def pytest_sessionstart(session: pytest.Session) -> None:
    """
    Compare the environment, and stop the session with exit code 1 if a finding is an error.

    The workers of pytest-xdist have the environment of their controller, which compares it for them.
    """
    config = session.config
    if not config.getoption("--lamina-venv") or hasattr(config, "workerinput"):
        return
    from pathlib import Path

    import pytest

    from lamina.core.errors import LaminaError
    from lamina.core.values import Severity

    asked = config.getoption("--lamina-project")
    project = config.rootpath if asked is None else Path(config.invocation_params.dir, asked)
    if not project.is_dir():
        raise pytest.UsageError(f"lamina: the directory `{asked}` of `--lamina-project` does not exist")
    try:
        findings = _findings(project)
    except LaminaError as error:
        hint = f"\nhint: {error.hint}" if error.hint else ""
        raise pytest.UsageError(f"lamina: {error}{hint}") from error
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None:
        for each in findings:
            reporter.write_line(f"lamina: {each.severity.value}: {each.message}")
    if any(each.severity is Severity.ERROR for each in findings):
        pytest.exit("the environment differs from the layers of lamina (--lamina-venv)", returncode=1)


def _findings(project: Path) -> tuple[Finding, ...]:
    """Build *project* if it has changed, and return the findings on the environment of this process."""
    import datetime as dt
    import sys
    from pathlib import Path

    from lamina.audit.families import environment
    from lamina.audit.inspection import Inspection
    from lamina.aws.store.team import team_store
    from lamina.core.reporter import SILENT
    from lamina.core.store import Store
    from lamina.pipeline.build import build
    from lamina.pipeline.checks.ignoring import ignoring
    from lamina.project.options import BuildOptions

    store, today = Store.open(), dt.datetime.now(tz=dt.UTC).date()
    result = build(project, BuildOptions(), store=store, team_store=team_store)
    service = result.plan.service
    inspection = Inspection(
        project=project,
        service=service,
        builds=tuple(each.build for each in result.targets),
        store=store,
        reporter=SILENT,
        today=today,
        venv=Path(sys.prefix),
    )
    with store.in_use():
        found = tuple(environment.check(inspection))
    return tuple(each for each in found if ignoring(each, service.ignore, today=today) is None)
