"""Layers that hide each other's files, and a function's own modules that hide those of layers and the standard library."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lamina.core.values import Finding, Severity
from lamina.pipeline.checks.overlap import check, hidden_in_layer
from lamina.pipeline.checks.stdlib import can_be_shadowed
from pipeline.checks.made import make_layer, make_package, make_service

if TYPE_CHECKING:
    from pathlib import Path


class TestLayers:
    def test_twice(self, tmp_path: Path) -> None:
        """A distribution in two layers of a function is a warning with the number of duplicate bytes."""
        both = {"a==1": {"a.py": "A = 1"}, "b==1": {"b.py": ""}}
        layers = [make_layer(tmp_path, "common", both), make_layer(tmp_path, "more", both | {"c==1": {"c.py": ""}})]

        findings = check(layers, [make_package(tmp_path, "f", layers=("common", "more"))], make_service())

        assert (
            Finding(
                rule="layer-overlap",
                severity=Severity.WARNING,
                message=(
                    "`f`: layers `common` and `more` both contain `a`, `b` (2,200 duplicate bytes); "
                    'to keep one copy, set `minus = ["common"]` in `[tool.lamina.layers.more]`'
                ),
                path="f",
            ),
        ) == findings

    def test_not_together(self, tmp_path: Path) -> None:
        """Layers that no function uses together may overlap."""
        layers = [make_layer(tmp_path, name, {"a==1": {"a.py": name}}) for name in ("common", "more")]
        packages = [make_package(tmp_path, name, layers=(name,)) for name in ("common", "more")]

        assert () == check(layers, packages, make_service())

    def test_two_versions(self, tmp_path: Path) -> None:
        """Two versions of one distribution are one error, without a list of their files."""
        layers = [
            make_layer(tmp_path, "common", {"a==1": {"a.py": "1"}}),
            make_layer(tmp_path, "more", {"a==2": {"a.py": "22"}}),
        ]
        packages = [make_package(tmp_path, name, layers=("common", "more")) for name in ("f", "g")]

        assert (
            Finding(
                rule="layer-conflict",
                severity=Severity.ERROR,
                message=(
                    "`f`, `g`: layer `common` contains `a` 1, and layer `more` contains version 2; Lambda unpacks both into "
                    "one directory, which mixes their files; lock one version for both layers"
                ),
                path="f",
            ),
        ) == check(layers, packages, make_service())

    def test_one_path(self, tmp_path: Path) -> None:
        """A path with different content in two layers is an error that names both distributions, and the layer that is used."""
        layers = [
            make_layer(tmp_path, "common", {"first-one==1": {"tool/x.py": "1", "tool/same.py": ""}}),
            make_layer(tmp_path, "more", {"other==1": {"tool/x.py": "2", "tool/same.py": ""}}),
        ]

        assert (
            Finding(
                rule="layer-conflict",
                severity=Severity.ERROR,
                message=(
                    "`f`: `first-one` in layer `common` and `other` in layer `more` contain different files at the same path: "
                    "`tool/x.py`; Lambda uses those of `more`, the later layer; leave them out of one layer with `exclude`"
                ),
                path="f",
            ),
        ) == check(layers, [make_package(tmp_path, "f", layers=("common", "more"))], make_service())

    def test_order_is_the_functions(self, tmp_path: Path) -> None:
        """The order of layers in the function decides which layer is used."""
        layers = [make_layer(tmp_path, name, {f"{name}==1": {"x.py": name * 2}}) for name in ("a", "bb")]

        (finding,) = check(layers, [make_package(tmp_path, "f", layers=("bb", "a"))], make_service())

        assert "Lambda uses those of `a`, the later layer" in finding.message


class TestOwnModules:
    @pytest.mark.parametrize(
        ("files", "expected"),
        [
            (["service/__init__.py", "service/f.py"], []),
            (["tool/__init__.py"], ["shadowed-layer"]),
            (["tool.py"], ["shadowed-layer"]),
            (["tool/own.py"], ["hidden-module"]),
            (["tool/data.json"], []),
            (["space/own.py"], []),
            (["space/__init__.py"], ["shadowed-layer"]),
            (["types.py"], ["shadowed-stdlib"]),
            (["email/templates.py"], ["hidden-module"]),
            (["email/letter.txt"], []),
            (["tomllib.py"], ["shadowed-stdlib"]),
            (["imp.py"], []),
            (["tool-kit/x.py"], []),
        ],
    )
    def test_rules(self, tmp_path: Path, files: list[str], expected: list[str]) -> None:
        """Own modules that hide others are warnings, hidden own modules are errors, and namespace packages produce no finding."""
        layer = make_layer(tmp_path, "common", {"a==1": {"tool/__init__.py": "", "space/a.py": "", "toolbox.py": ""}})
        package = make_package(tmp_path, "f", files, layers=("common",))

        assert expected == [finding.rule for finding in check([layer], [package], make_service())]

    def test_messages(self, tmp_path: Path) -> None:
        """Each message states which module Python imports, and what to rename."""
        layer = make_layer(tmp_path, "common", {"a==1": {"tool/__init__.py": "", "more/__init__.py": ""}})
        files = ["more/x.py", "random/__init__.py", "site-packages.py", "secrets/x.py", "tool.py"]
        packages = [make_package(tmp_path, name, files, layers=("common",)) for name in ("f", "g")]

        assert [
            (
                "`f`, `g`: the directory `more` has no `__init__.py`, so Python imports the package `more` of layer `common` "
                "instead; rename the directory"
            ),
            (
                "`f`, `g`: your module `random` hides the standard library's `random` from your code and from all "
                "packages in the layers; rename your module"
            ),
            (
                "`f`, `g`: the directory `secrets` has no `__init__.py`, so Python imports the standard library's `secrets` "
                "instead; rename the directory"
            ),
            "`f`, `g`: your module `tool` hides `tool` in layer `common`; rename your module",
        ] == [finding.message for finding in check([layer], packages, make_service())]


@pytest.mark.parametrize(
    ("own", "theirs", "hidden"),
    [
        ("svc/__init__.py svc/a.py", "svc/b.py", "svc/b.py"),
        ("svc/__init__.py", "svc/__init__.py svc/b.py svc/b/data.txt", "svc/b.py"),
        ("aa/mine.py", "aa/__init__.py aa/__pycache__/__init__.cpython-313.pyc", "aa/mine.py"),
        ("aa/mine.py", "aa/theirs.py", ""),
        ("ns/x/__init__.py ns/y/a.py", "ns/x/b.py ns/y/__init__.py ns/y/c.py ns/z.py", "ns/x/b.py ns/y/a.py"),
        # Python finds the same one of the two in one zip.
        ("six.py", "six/moves.py", ""),
        ("six.py", "six.py", ""),
        ("app/__init__.py", "beta/__init__.py", ""),
        ("svc/__init__.py", "svc/__init__.py", ""),
    ],
)
def test_hidden_in_layer(own: str, theirs: str, hidden: str) -> None:
    """The modules that one zip has, and that a layer would hide, on either side."""
    assert hidden_in_layer(own.split(), theirs.split()) == tuple(hidden.split())


@pytest.mark.parametrize(
    ("module", "python", "expected"),
    [
        ("json", (3, 9), True),
        ("tomllib", (3, 10), False),
        ("tomllib", (3, 15), True),
        ("distutils", (3, 11), True),
        ("distutils", (3, 12), False),
        ("annotationlib", (3, 14), True),
        ("annotationlib", (3, 13), False),
        ("requests", (3, 13), False),
    ],
)
def test_standard_library(module: str, python: tuple[int, int], expected: bool) -> None:
    """The standard library is that of the target's minor version."""
    assert expected is can_be_shadowed(module, python)
