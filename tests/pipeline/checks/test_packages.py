"""Modules of a service that the target's Python cannot compile."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lamina.core.frozen import replace
from lamina.core.store import Store
from lamina.core.values import Severity
from lamina.pipeline.build import build
from lamina.pipeline.checks.content import check_packages
from lamina.project.options import BuildOptions
from lamina.project.service import BytecodeMode
from pipeline.checks.made import make_package
from pipeline.checks.made import make_service as make_checked
from services import make_service

if TYPE_CHECKING:
    from pathlib import Path

COMPILED = ["fine.py", "__pycache__/fine.cpython-313.pyc", "data.txt"]


def test_refused_modules_are_named_once(tmp_path: Path) -> None:
    """Modules without bytecode are reported once for all functions with the same package."""
    packages = [make_package(tmp_path, name, [*COMPILED, "a/one.py", "two.py"]) for name in ("f", "g")]
    (finding,) = check_packages(packages, replace(make_checked(), bytecode=BytecodeMode.REACHABLE))

    assert ("uncompiled-module", Severity.WARNING, "f") == (finding.rule, finding.severity, finding.path)
    assert (
        "Python 3.13 cannot compile `a/one.py`, `two.py`, so importing them fails; "
        "to see why, run `python3.13 -m py_compile a/one.py`"
    ) == finding.message


@pytest.mark.parametrize(
    ("files", "mode"),
    [
        (COMPILED, BytecodeMode.ALL),
        (["two.py"], BytecodeMode.NONE),
    ],
)
def test_nothing_to_say(tmp_path: Path, files: list[str], mode: BytecodeMode) -> None:
    """There is no finding on compiled modules, and none without bytecode."""
    service = replace(make_checked(), bytecode=mode)

    assert [] == list(check_packages([make_package(tmp_path, "f", files)], service))


def test_a_build_says_it(tmp_path: Path) -> None:
    """A syntax error anywhere in the sources is reported by the build, and again if the package is reused."""
    service = make_service(tmp_path)
    service.settings["bytecode"] = '"reachable"'
    broken = service.write() / "service" / "broken.py"
    broken.write_text("def half(:\n")
    store = Store(tmp_path / "store")
    found = [build(service.root, BuildOptions(), store=store).build.findings for _ in range(2)]

    assert [["uncompiled-module"]] * 2 == [[finding.rule for finding in findings] for findings in found]
    assert "`service/broken.py`" in found[0][0].message
