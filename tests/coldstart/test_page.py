"""The charts of cold starts: all time is drawn, small imports as part of others, and compiled modules are marked."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

from coldstart_layers import HANDLER, distribution
from lamina.coldstart import thresholds
from lamina.coldstart.measure import conduct
from lamina.coldstart.study import Study, document
from lamina.core.errors import ConfigError
from lamina.report.page import render
from lamina.report.starts import _areas, _imports, _shortened, read_starts, starts_page, starts_section

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from coldstart_layers import MakeSubjects


@pytest.fixture
def measured(make_subjects: MakeSubjects) -> dict[str, Any]:
    """Return the document of a function that imports two distributions."""
    layer = distribution("one", {"one.py": "import two\n"}) | distribution("two", {"two.py": ""})
    [subject] = make_subjects(f"import one\n{HANDLER}", layer)
    found = conduct([subject], repeat=1, traced=1, chance=random.Random(0))  # noqa: S311 - an order
    study = Study(
        service="shop",
        target="python3.13 on x86_64",
        built=None,
        circumstances=thresholds.circumstances("python3.13", None),
        repeat=1,
        seed=0,
        measurements=found,
    )
    content: dict[str, Any] = json.loads(json.dumps(document(study)))
    return content


def test_chart_has_all_imports(measured: dict[str, Any]) -> None:
    """The chart names the function's imports and their owners, and marks those that were compiled."""
    figure = starts_section(measured).figures[-1]
    svg = ET.fromstring(figure.svg)  # noqa: S314 - our own
    imported = {each["name"]: each for each in measured["functions"][0]["imports"]}
    dashed = [each for each in svg.iter() if each.get("stroke") == "var(--alert)"]

    assert {"app", "one", "two"} <= imported.keys()
    assert "one" == imported["one"]["distribution"]
    assert {"app", "one", "two"} == {name for name, each in imported.items() if each["compiled"]}
    assert 1 <= len(dashed) <= 3
    assert [] == [each for each in svg.iter() if each.get("d") and "NaN" in each.get("d", "")]
    assert any(entry.label.startswith("standard library ") for entry in figure.legend)


def test_page(measured: dict[str, Any]) -> None:
    """The page names the service, the target and the time of the build, and has the numbers of its charts in tables."""
    content = render(starts_page(measured)).decode()

    for words in (
        "Cold starts of shop",
        "python3.13 on x86_64",
        "unknown",
        "Slowest modules of",
        "Time by distribution of",
    ):
        assert words in content
    assert 2 == content.count("<svg ")


def test_small_imports_are_part_of_others(measured: dict[str, Any]) -> None:
    """The areas have all time, whichever imports are drawn."""
    rows: list[dict[str, object]] = [
        {"name": "a", "parent": None, "own_ms": 5.0},
        {"name": "a.b", "parent": 0, "own_ms": 3.0},
        {"name": "a.b.c", "parent": 1, "own_ms": 0.5},
        {"name": "d", "parent": None, "own_ms": 0.25},
    ]
    more = {"distribution": "x", "place": "layer", "compiled": False}
    imports = _imports({"imports": [row | more for row in rows]})
    whole = [8.5, 3.5, 0.5, 0.25]

    every = _areas(imports, whole, [0, 1, 2, 3], 8.75, {"x": "var(--c0)"})
    some = _areas(imports, whole, [0, 1], 8.75, {"x": "var(--c0)"})

    assert [0.0, 5.0, 3.0, 0.5, 0.25] == [row["own"] for row in every]
    assert [0.25, 5.0, 3.5] == [row["own"] for row in some]
    assert [None, -1, 0] == [row.get("parent") for row in some]


@pytest.mark.parametrize(
    ("module", "parent", "shown"),
    [("a.b.c", "a.b", ".c"), ("a.b.c", "a.x", ".b.c"), ("a", "b", "a"), ("a.b", "a.b.c", ".b"), ("a", "a.b", "a")],
)
def test_labels(module: str, parent: str, shown: str) -> None:
    """A label leaves out the packages that the import above shares."""
    assert shown == _shortened(module, parent)


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"version": "1", "kind": "aws"}', '{"version": "1", "kind": "local"}']
)
def test_other_files(tmp_path: Path, content: str) -> None:
    """A file that is no such document is an error with the command that writes one."""
    path = tmp_path / "starts.json"
    path.write_text(content)
    with pytest.raises(ConfigError, match="has no cold starts with imports") as caught:
        read_starts(path)

    assert "lamina coldstart --json" in str(caught.value.hint)
