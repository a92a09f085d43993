"""A environment to run handlers in, shown in each way that this machine allows."""

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
    from collections.abc import Mapping, Sequence

    from built import MakeEnvironment
    from lamina.local.environment import FunctionEnvironment, Home
    from lamina.project.service import Function


@pytest.fixture(scope="session")
def home() -> Home:
    """The running interpreter's own home: an interpreter of the target's minor is here without being looked for."""
    found = interpreter.find(sys.version_info[:2], explicit=Path(sys.executable))
    return home_of(found)


@pytest.fixture(scope="session")
def refusal(home: Home, tmp_path_factory: pytest.TempPathFactory) -> str | None:
    """Why this machine has no mount namespaces for us, if it has none."""
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
    """The mode with true directories; skips, with the kernel's reason, where it cannot be had."""
    if refusal is not None:
        pytest.skip(refusal)
    return Mode.NAMESPACE


@pytest.fixture(params=[Mode.NAMESPACE, Mode.PATH])
def mode(request: pytest.FixtureRequest) -> Mode:
    """Each mode in turn."""
    if request.param is Mode.NAMESPACE:
        request.getfixturevalue("namespace")
    chosen: Mode = request.param
    return chosen


@pytest.fixture
def make_environment(tmp_path: Path, home: Home) -> MakeEnvironment:
    """A function that builds and unpacks a service of one module, or of several files, in this test's directory."""

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
        chosen = settings or function()
        return prepare(
            artifacts, artifacts.build.packages[0], chosen, mode=mode or Mode.AUTO, home=home, additional=additional
        )

    return make
