"""Fixtures for environments to run handlers in, in each mode that this machine supports."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from built import function, initialise, make_build
from lamina.bytecode import interpreter
from lamina.core.errors import InvokeError
from lamina.local.environment import Mode, home_of, prepare

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from built import MakeEnvironment
    from lamina.local.environment import FunctionEnvironment, Home
    from lamina.project.service import Function


@pytest.fixture(scope="session")
def home() -> Home:
    """Return the installation of the running interpreter, so that tests need not search for one."""
    found = interpreter.find(sys.version_info[:2], explicit=Path(sys.executable))
    return home_of(found)


@pytest.fixture(scope="session")
def refusal(home: Home, tmp_path_factory: pytest.TempPathFactory) -> str | None:
    """Return the kernel's reason for refusing mount namespaces, or ``None`` if it allows them."""
    project = tmp_path_factory.mktemp("probe")
    artifacts = make_build(project, {"app.py": "def handler(event, context): ..."})
    environment = prepare(artifacts, artifacts.build.packages[0], function(), mode=Mode.NAMESPACE, home=home)
    try:
        initialise(environment)
    except InvokeError as error:
        return str(error)
    return None


@pytest.fixture
def namespace(refusal: str | None) -> Mode:
    """Return namespace mode; skip the test with the kernel's reason if namespaces are not allowed."""
    if refusal is not None:
        pytest.skip(refusal)
    return Mode.NAMESPACE


@pytest.fixture(params=[Mode.NAMESPACE, Mode.PATH])
def mode(request: pytest.FixtureRequest) -> Mode:
    """Run the test once in each mode."""
    if request.param is Mode.NAMESPACE:
        request.getfixturevalue("namespace")
    chosen: Mode = request.param
    return chosen


@pytest.fixture
def make_environment(tmp_path: Path, home: Home, have_runtime_client: Callable[[Path], None]) -> MakeEnvironment:
    """Return a function that builds and unpacks a service of one module or several files in the test's directory."""

    def make(
        package: Mapping[str, str] | str,
        *,
        layers: Sequence[Mapping[str, str]] = (),
        settings: Function | None = None,
        additional: Mapping[str, str] | None = None,
        mode: Mode | None = None,
    ) -> FunctionEnvironment:
        files = {"app.py": package} if isinstance(package, str) else package
        artifacts = make_build(tmp_path, files, layers=layers)
        have_runtime_client(tmp_path)
        chosen = settings or function()
        return prepare(
            artifacts, artifacts.build.packages[0], chosen, mode=mode or Mode.AUTO, home=home, additional=additional
        )

    return make
