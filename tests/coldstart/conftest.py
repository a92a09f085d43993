"""Fixtures for small services whose imports last a known time."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from built import configure, make_build
from coldstart_layers import share_runtime
from lamina.bytecode.interpreter import environment_variable
from lamina.coldstart.variants import EnvironmentOptions, subjects
from lamina.local.environment import Mode

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from coldstart_layers import MakeSubjects
    from lamina.coldstart.measure import Subject


@pytest.fixture(autouse=True)
def interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use the running interpreter for its own minor version, so that lamina does not search for one."""
    monkeypatch.setenv(environment_variable(sys.version_info[:2]), sys.executable)


@pytest.fixture
def make_subjects(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> MakeSubjects:
    """Return a function that builds a service of one module or several files with one layer."""

    def make(
        package: Mapping[str, str] | str,
        layer: Mapping[str, str],
        *,
        handlers: Mapping[str, str] | None = None,
        mode: Mode = Mode.AUTO,
    ) -> tuple[Subject, ...]:
        files = {"app.py": package} if isinstance(package, str) else package
        artifacts = make_build(tmp_path, files, layers=[layer], handlers=handlers)
        configure(tmp_path)
        share_runtime(tmp_path, tmp_path_factory.getbasetemp() / "runtime")
        return subjects(artifacts, (), options=EnvironmentOptions(mode=mode))

    return make
