"""What a layer holds and Lambda will not honour."""

from __future__ import annotations

import pytest

from lamina.check.content import check
from lamina.model import Finding, Severity


def test_pth() -> None:
    """One warning names every file that would run at start-up elsewhere, and not on Lambda."""
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
                "Lambda does not read the .pth files of layer `common`: `ddtrace.pth`, `zebra.pth`; "
                "what they import or add to the path at start-up in your environment will be missing there"
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
    """Weights of a model, and files for what Python does by itself, are nothing to warn of."""
    assert () == check("common", [path])


def test_ignored() -> None:
    """Who knows can silence the rule by its name."""
    assert () == check("common", ["python/zebra.pth"], ignore={"pth-ignored"})
