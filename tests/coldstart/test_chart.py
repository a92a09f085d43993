"""Tests of the chart and the page: well-formed, complete and self-contained."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

from coldstart_layers import HANDLER, distribution
from lamina.coldstart import chart, page, thresholds
from lamina.coldstart.measure import conduct
from lamina.coldstart.study import Study

if TYPE_CHECKING:
    from coldstart_layers import MakeSubjects
    from lamina.coldstart.measure import Measurement

_SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def measured(make_subjects: MakeSubjects) -> Measurement:
    """Return the measurement of a function that imports two distributions."""
    layer = distribution("one", {"one.py": "import two\n"}) | distribution("two", {"two.py": ""})
    [subject] = make_subjects(f"import one\n{HANDLER}", layer)
    [found] = conduct([subject], repeat=1, traced=1, chance=random.Random(0))  # noqa: S311 - an order
    return found


def test_one_rectangle_for_each_import(measured: Measurement) -> None:
    """The SVG file has one rectangle with a title for each import, below and inside the rectangle of its parent."""
    root = ET.fromstring(chart.standalone(measured))  # noqa: S314 - our own
    trace = chart.typical(measured)
    groups = root.findall(f"{_SVG}g")
    titles = [(group.findtext(f"{_SVG}title") or "").split(" ")[0] for group in groups]

    assert [each.module for each in trace.imports] == titles
    boxes = [group.find(f"{_SVG}rect") for group in groups]
    for each, box in zip(trace.imports, boxes, strict=True):
        if each.parent is not None:
            above = boxes[each.parent]
            assert box is not None
            assert above is not None
            assert float(box.attrib["y"]) > float(above.attrib["y"])
            assert float(box.attrib["x"]) >= float(above.attrib["x"]) - 0.01
            right = float(box.attrib["x"]) + float(box.attrib["width"])
            # Very narrow rectangles are drawn a little wider.
            assert right <= float(above.attrib["x"]) + float(above.attrib["width"]) + 0.35
    width = float(root.attrib["viewBox"].split()[2])
    assert all(box is not None and float(box.attrib["x"]) <= width for box in boxes)


def test_compiled_modules_are_marked(measured: Measurement) -> None:
    """The rectangles of compiled modules have their own style."""
    root = ET.fromstring(chart.standalone(measured))  # noqa: S314 - our own
    marked = [
        (group.findtext(f"{_SVG}title") or "").split(" ")[0]
        for group in root.findall(f"{_SVG}g")
        if group.find(f"{_SVG}rect[@class='fresh']") is not None
    ]

    assert ["app", "one", "two"] == marked


def test_page(measured: Measurement) -> None:
    """The page has no scripts and loads no other files, and distributions have the same colours in all charts."""
    study = Study(
        circumstances=thresholds.circumstances("python3.13", None), repeat=1, seed=0, measurements=(measured, measured)
    )
    html = page.render(study)

    assert 2 == html.count("<svg ")
    assert "<script" not in html
    assert "http" not in html.replace("http://www.w3.org/2000/svg", "")
    assert chart.palette([measured]) == chart.palette([measured, measured])


@pytest.mark.parametrize(
    ("letters", "shown"),
    [(30, "package.part.module"), (12, "part.module"), (8, "module"), (5, "modu…")],
)
def test_labels(letters: int, shown: str) -> None:
    """A name that does not fit is shortened at its beginning, which neighbours often share."""
    assert shown == chart._shortened("package.part.module", letters)
