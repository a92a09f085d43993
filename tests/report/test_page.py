"""Pages: hostile names stay text, nothing is loaded, colours have enough contrast, and large services have small pages."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

import lamina.report
from lamina.cli.reports import remove_earlier
from lamina.report.charts import draw
from lamina.report.contents import contents_section
from lamina.report.page import render, standalone
from lamina.report.values import PageSection, PageTable, ReportPage, WebLink
from report.made import HOSTILE, hostile_page, large_layer

_COLOURS = Path(lamina.report.__file__).parent / "templates" / "colours.css"
_LEAST_CONTRAST = 4.5


class _Elements(HTMLParser):
    """The elements of a page with their attributes, and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def parsed(content: bytes) -> _Elements:
    elements = _Elements()
    elements.feed(content.decode())
    return elements


def test_hostile_names_are_text() -> None:
    """No name starts an element, ends the page's text, is evaluated, becomes an address, or controls a terminal."""
    content = render(hostile_page())
    elements = parsed(content)

    assert not {"script", "img", "iframe", "object", "link"} & {tag for tag, _ in elements.found}
    assert not [name for _, attributes in elements.found for name in attributes if name.startswith("on")]
    assert {"#one", "#content"} == {attributes["href"] for tag, attributes in elements.found if tag == "a"}
    assert 20 < elements.text.count("onerror=alert(1)>{{ 7 * 7 }}")
    assert content.decode().replace("\n", "").isprintable()


def test_links_of_https_only() -> None:
    """An address of HTTPS becomes a link."""
    rows = (("id", WebLink(text="CVE", url="https://osv.dev/1")), ("id", WebLink(text="CVE", url="http://osv.dev/2")))
    table = PageTable(caption="all", header=("id", "link"), rows=rows)
    page = ReportPage(title="t", facts=(), sections=(PageSection(anchor="a", heading="b", tables=(table,)),))
    links = [attributes["href"] for tag, attributes in parsed(render(page)).found if tag == "a"]

    assert ["#content", "#a", "https://osv.dev/1"] == links


def test_page_loads_nothing_and_runs_nothing() -> None:
    """The policy of the page forbids everything but its own styles, and it has no address but those of names in XML."""
    content = render(hostile_page()).decode()

    assert "default-src 'none'; style-src 'unsafe-inline'" in content
    assert {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"} == {
        *re.findall(r"https?://[^\s\"'<>]+", content)
    }
    assert "url(" not in content
    assert "@import" not in content


def test_structure() -> None:
    """Every table has a caption and headers, every chart a label, and every element that scrolls can be reached with keys."""
    elements = parsed(render(hostile_page())).found
    tags = [tag for tag, _ in elements]
    wide = [attributes for _, attributes in elements if attributes.get("class") == "wide"]

    assert ("html", "en") == (elements[0][0], elements[0][1]["lang"])
    assert 1 == tags.count("h1") == tags.count("main") == tags.count("title")
    assert tags.count("table") == tags.count("caption") == 2
    assert {"scope"} == {name for tag, attributes in elements if tag == "th" for name in attributes}
    assert tags.count("svg") == len([1 for _, attributes in elements if attributes.get("role") == "img"])
    assert 4 == len(wide)
    assert all(each["tabindex"] == "0" and each["aria-label"] for each in wide)


def _schemes() -> list[dict[str, str]]:
    found = re.findall(r"(--[\w-]+): light-dark\((#\w{6}), (#\w{6})\)", _COLOURS.read_text(encoding="utf-8"))
    return [{name: light for name, light, _ in found}, {name: dark for name, _, dark in found}]


def _luminance(colour: str) -> float:
    parts = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    red, green, blue = (each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _contrast(one: str, other: str) -> float:
    dark, light = sorted((_luminance(one), _luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", _schemes(), ids=["light", "dark"])
def test_contrast(scheme: dict[str, str]) -> None:
    """Text has the contrast that WCAG AA asks for (4.5) on everything that it is written on, in both schemes."""
    filled = [name for name in scheme if re.fullmatch(r"--(c\d+|grey-\d|own|panel|paper|yes)", name)]
    pairs = [("--ink", name) for name in filled]
    pairs += [(name, "--paper") for name in ("--faint", "--accent", "--alert", "--warning")]

    assert 18 == len(filled)
    assert {} == {
        pair: ratio for pair in pairs if (ratio := _contrast(*(scheme[name] for name in pair))) < _LEAST_CONTRAST
    }
    # Bars are not text: WCAG asks for 3.
    assert 3 <= _contrast(scheme["--marked-bar"], scheme["--paper"])


def test_colours_are_defined() -> None:
    """The style sheet defines every colour that charts, code and styles use."""
    directory = _COLOURS.parents[1]
    used = {
        name
        for path in (*directory.rglob("*.py"), *directory.rglob("*.json"), *directory.rglob("*.css"))
        for name in re.findall(r"var\((--[\w-]+)\)", path.read_text(encoding="utf-8"))
    }

    assert used
    assert used <= _schemes()[0].keys()


def test_large_layers_have_small_pages() -> None:
    """A layer of 500 distributions and 10,000 files is drawn completely with a bounded number of areas."""
    section = contents_section([large_layer()])
    content = render(ReportPage(title="large", facts=(), sections=(section,)))
    [figure] = section.figures

    assert 500 <= figure.svg.count("<path") < 2_500
    assert 500 == len(section.tables[0].rows)
    assert len(content) < 3_000_000


def test_standalone_chart() -> None:
    """A chart in a file of its own is XML, and defines its colours."""
    rows = [{"order": 0, "group": "a", "name": HOSTILE, "value": 5, "text": "5", "colour": "var(--bar)"}]
    root = ET.fromstring(standalone(draw("bars", rows)))  # noqa: S314 - our own

    assert "--bar:" in (root.findtext("{http://www.w3.org/2000/svg}style") or "")
    assert "onerror" in "".join(root.itertext())


def test_page_may_be_replaced(tmp_path: Path) -> None:
    """A page is an earlier report, which the next one replaces; another HTML file is not."""
    page = tmp_path / "report.html"
    page.write_bytes(render(hostile_page()))
    remove_earlier(str(page))

    assert not page.exists()
