"""The groups and extras of a lock that contain distributions which a service does not select."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lamina.core.target import Target
from lamina.lock import formats
from lamina.lock.offers import offers
from locking import pylock_package, write_project, write_pylock

if TYPE_CHECKING:
    from collections.abc import Mapping

FIXTURES = Path(__file__).parent / "fixtures"
TARGET = Target.of("python3.13", "x86_64")


def found(project: Path) -> Mapping[str, frozenset[str]]:
    lock_file = formats.find(project, formats.find(project, target=TARGET).path, target=TARGET)
    return {f"{offer.kind} {offer.name}": offer.distributions for offer in offers(lock_file, TARGET)}


@pytest.mark.parametrize(
    ("fixture", "offer", "distribution"),
    [
        ("poetry-1.1", "groups dev", "tester"),
        ("poetry-2.0", "groups dev", "tester"),
        ("poetry-2.1", "groups dev", "tester"),
        ("poetry-2.1", "groups lint", "linter"),
        ("poetry-2.1", "extras cpu", "torch"),
        ("pdm", "groups lint", "linter"),
        ("pdm", "extras cpu", "torch"),
        ("pipenv", "groups dev", "tester"),
    ],
)
def test_other_formats(fixture: str, offer: str, distribution: str) -> None:
    """Locks of Poetry, PDM and pipenv say which group or extra contains a distribution, without an index."""
    answers = found(FIXTURES / fixture)

    assert distribution in answers[offer]


def test_pylock(tmp_path: Path) -> None:
    """A pylock.toml has groups and extras in markers."""
    write_project(tmp_path)
    write_pylock(
        tmp_path,
        pylock_package("tester", marker="'dev' in dependency_groups"),
        pylock_package("fast", marker="'speed' in extras"),
        pylock_package("common"),
        dependency_groups=["dev"],
        extras=["speed"],
    )

    assert {"groups dev": {"tester", "common"}, "extras speed": {"fast", "common"}} == found(tmp_path)
