"""The file of the project from which a file in a package or layer comes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lamina.core.frozen import replace
from lamina.core.paths import relative_path
from lamina.core.store import Store
from lamina.pipeline.checks.origins import Origins
from lamina.project import config
from lamina.project.options import BuildOptions
from lamina.project.service import Function
from lamina.project.sources import walk
from pipeline.checks.made import make_service
from services import make_service as make_project

if TYPE_CHECKING:
    from pathlib import Path

FILES = (
    "app.py",
    "src/svc/__init__.py",
    "src/svc/conf.py",
    "src/other/conf.py",
    "functions/a/app.py",
    "functions/b/app.py",
    "parts/one/src/alpha/m.py",
    "parts/two/src/beta/m.py",
)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for path in FILES:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    return tmp_path


@pytest.mark.parametrize(
    "source",
    [
        ["."],
        ["src/svc"],
        ["./src/svc/"],
        ["src/*"],
        ["src/svc/*"],
        ["src/**/*.py"],
        ["src/**"],
        ["parts/*/src/*"],
        ["functions/a/app.py", "src/other"],
        ["*/other/conf.py", "app.py"],
    ],
)
def test_as_walked(project: Path, source: list[str]) -> None:
    """Every form of `source` leads from the path in the package back to the file that was packaged."""
    origins = Origins(replace(make_service(), root=project, source=tuple(source)))
    files = walk(project, source).files

    assert files
    assert [relative_path(each.origin, project) for each in files] == [origins.of(each.path, "f") for each in files]


def test_not_of_the_source(project: Path) -> None:
    """A file that no entry of `source` matches is not the origin, although it is in the right directory."""
    origins = Origins(replace(make_service(), root=project, source=("src/svc",)))

    assert [None, None] == [origins.of(path, "f") for path in ("other/conf.py", "svc/absent.py")]


def test_own_source(project: Path) -> None:
    """Functions with their own `source` have their own files at the same path."""
    functions = [
        Function(
            name=name,
            handler="app.handler",
            layers=(),
            memory_mb=128,
            timeout_seconds=3,
            source=(f"functions/{name}/app.py",),
        )
        for name in "ab"
    ]
    origins = Origins(replace(make_service(), root=project, source=("app.py",), functions=tuple(functions)))

    assert ["functions/a/app.py", "functions/b/app.py", "app.py"] == [
        origins.of("app.py", name) for name in ("a", "b", "common")
    ]


def test_modules(project: Path) -> None:
    """A module is a file, a package or a directory; the first file stands for a directory."""
    origins = Origins(replace(make_service(), root=project, source=("src/*", "app.py")))

    assert ["app.py", "src/svc/__init__.py", "src/other/conf.py", None] == [
        origins.of_module(module, "f") for module in ("app", "svc", "other", "absent")
    ]


@pytest.mark.parametrize(("below", "is_locked"), [("src/", True), ("", True), ("src/", False)])
def test_local_package(tmp_path: Path, below: str, is_locked: bool) -> None:
    """A file of a local package comes from the directory in the lock file. Without a lock file, nothing is known of it."""
    root = make_project(tmp_path).write()
    file = root / "libs" / "common" / below / "commonlib" / "__init__.py"
    file.parent.mkdir(parents=True)
    file.touch()
    lock = root / "pylock.toml"
    lock.write_text(f'{lock.read_text()}\n[[packages]]\nname = "commonlib"\ndirectory = {{ path = "libs/common" }}\n')
    service = config.load(root, BuildOptions(), store=Store(tmp_path / "store"))
    if not is_locked:
        lock.unlink()

    origins = Origins(service)

    expected = f"libs/common/{below}commonlib/__init__.py" if is_locked else None
    assert [expected, expected, None] == [
        origins.of("commonlib/__init__.py", "hello"),
        origins.of_module("commonlib", "common"),
        origins.of("alpha/__init__.py", "common"),
    ]
