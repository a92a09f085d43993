"""Tests of the budgets in a configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lamina.core.errors import InvalidConfigError
from lamina.project.budgets import Growth, SizeBudget
from lamina.project.config import load

if TYPE_CHECKING:
    from pathlib import Path

    from lamina.project.service import Service


def _load(tmp_path: Path, budget: str) -> Service:
    (tmp_path / "app.py").touch()
    (tmp_path / "pyproject.toml").write_text(
        f'[project]\nname = "shop"\nversion = "1"\n[tool.lamina]\nruntime = "python3.13"\nsource = ["app.py"]\n{budget}\n'
    )
    return load(tmp_path)


@pytest.mark.parametrize(
    ("written", "size"),
    [("200000000", 200_000_000), ('"200 MB"', 200_000_000), ('"1.5MiB"', 1_572_864), ('"7 B"', 7), ("0", 0)],
)
def test_sizes(tmp_path: Path, written: str, size: int) -> None:
    """A size is a number of bytes, or has a unit."""
    service = _load(tmp_path, f"max-unzipped = {written}\nmax-growth = {written}\nfunctions = {{}}")

    assert SizeBudget(max_unzipped=size, max_growth=Growth(bytes=size)) == service.budget
    assert 1000 + size == Growth(bytes=size).limit(1000)


def test_each_level(tmp_path: Path) -> None:
    """The service, each layer and each function have budgets of their own; a layer does not inherit that of the service."""
    service = _load(
        tmp_path,
        'max-growth = "2.5 %"\nlayers.common.max-unzipped = 1\nlayers.other = {}\n'
        '[tool.lamina.functions]\na = { handler = "app.a", max-unzipped = 2 }\nb = "app.b"',
    )

    assert SizeBudget(max_growth=Growth(percent=2.5)) == service.budget
    assert [SizeBudget(max_unzipped=1), SizeBudget()] == [layer.budget for layer in service.layers]
    assert [SizeBudget(max_unzipped=2), SizeBudget()] == [function.budget for function in service.functions]
    assert 1025 == Growth(percent=2.5).limit(1000)


@pytest.mark.parametrize("written", ['"5 %"', '"200"', '"200 Mb"', '"-1 MB"', "-1", '"1e9 B"'])
def test_mistakes(tmp_path: Path, written: str) -> None:
    """What is no size is a mistake that names the key and shows how to write it."""
    with pytest.raises(InvalidConfigError) as caught:
        _load(tmp_path, f"max-unzipped = {written}\nfunctions = {{}}")

    value = written.strip('"')
    expected = 'expected a value such as `200000000` (bytes) or `"200 MB"`'
    assert [("tool.lamina.max-unzipped", f"`{value}` is not a size; {expected}")] == [*caught.value.mistakes]
