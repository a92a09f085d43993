"""Files in layers that do not work on Lambda."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lamina.core.values import Finding, Severity
from lamina.pipeline.checks.content import check, check_layers
from pipeline.checks.made import make_layer

if TYPE_CHECKING:
    from pathlib import Path


def test_pth() -> None:
    """One warning lists every ``.pth`` file that Lambda ignores."""
    paths = [
        "python/zebra.pth",
        "python/a/__init__.py",
        "python/lib/python3.13/site-packages/ddtrace.pth",
        "lamina/0.json",
    ]

    assert (
        Finding(
            rule="pth-ignored",
            severity=Severity.WARNING,
            message=(
                "Lambda ignores the `.pth` files of layer `common`: `ddtrace.pth`, `zebra.pth`; "
                "if your code needs the imports or `sys.path` entries that they add at startup, add these in the handler"
            ),
            path="common",
        ),
    ) == check("common", paths)


@pytest.mark.parametrize(
    "path",
    [
        "python/pkg/data.pth",
        "python/zope.interface-5.0-py3.13-nspkg.pth",
        "python/distutils-precedence.pth",
        "other/zebra.pth",
        "python/zebra.pth.txt",
        "python/lib/python3.13/zebra.pth",
    ],
)
def test_no_pth(path: str) -> None:
    """``.pth`` files in other places, and those that Python no longer needs, produce no warning."""
    assert () == check("common", [path])


@pytest.mark.parametrize(
    ("path", "text", "points"),
    [
        ("python/__editable__.shared-1.0.pth", "", True),
        ("python/__editable___shared_1_0_finder.py", "", True),
        ("python/_editable_impl_shared.pth", "", True),
        ("python/shared.egg-link", "", True),
        ("python/shared.pth", "/home/build/shared/src\n", True),
        ("python/shared.pth", "C:\\build\\shared\n", True),
        ("python/shared.pth", "import shared_hook\n", False),
        ("python/shared.pth", "shared_data\n", False),
        ("python/shared-1.0.dist-info/direct_url.json", '{"url": "file:///home/build/shared"}', True),
        ("python/shared-1.0.dist-info/direct_url.json", '{"url": "https://files.example/shared.whl"}', False),
        ("python/shared-1.0.dist-info/direct_url.json", "[]", False),
        ("python/shared-1.0.dist-info/direct_url.json", "{", False),
        ("python/shared/direct_url.json", '{"url": "file:///home"}', False),
    ],
)
def test_build_machine(path: str, text: str, points: bool) -> None:
    """Files that point to a directory of the build machine produce an error, regardless of the tool that wrote them."""
    rules = [finding.rule for finding in check("common", [path], read={path: text}.__getitem__)]

    assert points is ("build-machine-path" in rules)


def test_build_machine_message(tmp_path: Path) -> None:
    """The finding on a finished layer lists the files."""
    layer = make_layer(
        tmp_path, "common", {"shared==1.0": {"__editable__.shared-1.0.pth": "/home/build\n", "a.py": ""}}
    )

    assert (
        Finding(
            rule="build-machine-path",
            severity=Severity.ERROR,
            message=(
                "files in layer `common` refer to directories of the machine that built their wheel: "
                "`python/__editable__.shared-1.0.pth`; build that wheel from its sources, not from an editable installation"
            ),
            path="common",
        )
        == check_layers([layer])[0]
    )
