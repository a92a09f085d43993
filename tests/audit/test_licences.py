"""Licences in the metadata of distributions, and whether a service allows them."""

from __future__ import annotations

import pytest

from lamina.audit.inventory.contents import ContainedDistribution
from lamina.audit.inventory.licences import allows, expression_of, named

APPROVED = "License :: OSI Approved :: "


def distribution(licence: str | None = None, *classifiers: str) -> ContainedDistribution:
    return ContainedDistribution(
        name="alpha",
        version="1.0",
        root="python/",
        metadata="python/alpha-1.0.dist-info",
        licence=licence,
        classifiers=classifiers,
        requires=(),
        record=True,
        files=(),
        missing=(),
        modules=(),
        sboms=(),
    )


@pytest.mark.parametrize(
    ("licence", "classifiers", "expression"),
    [
        ("mit or apache-2.0", (), "MIT OR Apache-2.0"),
        ("Apache License 2.0", (), "Apache-2.0"),
        ("BSD", (f"{APPROVED}BSD License",), None),
        (None, (f"{APPROVED}MIT License",), "MIT"),
        ("Dual License", (f"{APPROVED}MIT License",), "MIT"),
        (None, (f"{APPROVED}MIT License", f"{APPROVED}ISC License (ISCL)"), None),
        (None, ("License :: OSI Approved", f"{APPROVED}MIT License"), "MIT"),
        (None, ("License :: OSI Approved",), None),
        (None, ("License :: Other/Proprietary License",), None),
        ("LicenseRef-Company", (), "LicenseRef-Company"),
        (None, (), None),
    ],
)
def test_expressions(licence: str | None, classifiers: tuple[str, ...], expression: str | None) -> None:
    """An expression counts, else a text or classifier that stands for exactly one licence."""
    assert expression == expression_of(distribution(licence, *classifiers))


def test_texts() -> None:
    """For people, the metadata is shown as it is."""
    assert named(distribution("BSD", f"{APPROVED}MIT License")) == "BSD"
    assert named(distribution(None, "License :: OSI Approved", f"{APPROVED}BSD License")) == "BSD License"
    assert named(distribution()) == ""


@pytest.mark.parametrize(
    ("allowed", "expression", "is_allowed"),
    [
        (["MIT"], "MIT", True),
        (["MIT"], "ISC", False),
        ([], "MIT", False),
        (["MIT"], "MIT OR GPL-3.0-only", True),
        (["MIT"], "MIT AND GPL-3.0-only", False),
        (["MIT", "ISC"], "MIT AND (GPL-3.0-only OR ISC)", True),
        (["MIT", "ISC"], "(MIT AND GPL-3.0-only) OR (ISC AND GPL-3.0-only)", False),
        (["GPL-2.0-only"], "GPL-2.0-only WITH Classpath-exception-2.0", False),
        (["GPL-2.0-only WITH Classpath-exception-2.0"], "GPL-2.0-only WITH Classpath-exception-2.0", True),
        (["MIT AND ISC"], "MIT AND ISC", True),
        (["MIT AND ISC"], "MIT", False),
        (["LicenseRef-Company"], "LicenseRef-Company", True),
    ],
)
def test_allowed(allowed: list[str], expression: str, is_allowed: bool) -> None:
    """An expression is allowed if it can be fulfilled with the allowed licences alone."""
    assert is_allowed is allows(allowed, expression)
