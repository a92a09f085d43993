"""Make pages for tests: one with a hostile name in every place, and one of a large layer."""

from __future__ import annotations

from pathlib import Path

from lamina.audit.inventory.contents import ArchiveContents, ContainedDistribution, ContainedFile
from lamina.core.values import Distribution, Layer
from lamina.report.charts import draw
from lamina.report.contents import ReportedZip
from lamina.report.values import Figure, Gauge, LegendEntry, PageSection, PageTable, ReportPage, WebLink

HOSTILE = "</script></svg></style>\"'><img src=x onerror=alert(1)>{{ 7 * 7 }}\x1b[31m\u202e\ud800`"


def hostile_page() -> ReportPage:
    """Return a page with the hostile name in every place for text."""
    chart = draw(
        "bars", [{"order": 0, "group": HOSTILE, "name": HOSTILE, "value": 5, "text": HOSTILE, "colour": "var(--bar)"}]
    )
    areas = draw(
        "treemap",
        [
            {"id": 0, "place": "root"},
            {"id": 1, "parent": 0, "label": HOSTILE, "colour": "var(--c1)", "place": "distribution"},
            {"id": 2, "parent": 1, "label": HOSTILE, "size": 5, "place": "file"},
        ],
    )
    cells = (
        HOSTILE,
        Gauge(value=1, most=2, text=HOSTILE, label=HOSTILE),
        WebLink(text=HOSTILE, url="javascript:alert(1)"),
    )
    tables = [
        PageTable(caption=f"{HOSTILE}{number}", header=(HOSTILE,) * 3, rows=(cells,), is_open=number > 0)
        for number in range(2)
    ]
    legend = (LegendEntry(colour="var(--c1)", label=HOSTILE),)
    figures = [
        Figure(title=f"{HOSTILE} {n}", label=HOSTILE, svg=svg, legend=legend) for n, svg in enumerate((chart, areas))
    ]
    section = PageSection(
        anchor="one",
        heading=HOSTILE,
        paragraphs=(HOSTILE, f"`{HOSTILE}`"),
        notes=(HOSTILE,),
        figures=tuple(figures),
        tables=tuple(tables),
    )
    return ReportPage(title=HOSTILE, facts=((HOSTILE, HOSTILE),), sections=(section,))


def large_layer(distributions: int = 500, files: int = 20) -> ReportedZip:
    """Return a layer with many distributions, each with large and small files."""
    contents, shares = [], []
    for number in range(distributions):
        name = f"distribution-{number:03}"
        found = [
            ContainedFile(
                f"python/{name}/package/module_{each:03}.py", (each + 1) ** 3 * (number + 1), 0, executable=False
            )
            for each in range(files)
        ]
        contents.append(
            ContainedDistribution(
                name=name,
                version="1.0",
                root="python/",
                metadata=f"python/{name}.dist-info",
                licence=None,
                classifiers=(),
                requires=(),
                record=True,
                files=tuple(found),
                missing=(),
                modules=(),
                sboms=(),
            )
        )
        size = sum(each.size for each in found)
        shares.append(
            Distribution(
                name=name, version="1.0", artifact="a.whl", sha256="", zipped_bytes=size // 3, unzipped_bytes=size
            )
        )
    unzipped = sum(each.size for each in contents)
    layer = Layer(
        name="common",
        path=Path("common.zip"),
        digest="0" * 64,
        sha256="0" * 64,
        zipped_bytes=unzipped // 3,
        unzipped_bytes=unzipped,
        files=distributions * files,
        distributions=tuple(shares),
    )
    return ReportedZip(
        title="Layer common",
        built=layer,
        contents=ArchiveContents(
            sha256="0" * 64,
            zipped_bytes=unzipped // 3,
            files=distributions * files,
            unzipped_bytes=unzipped,
            is_layer=True,
            distributions=tuple(contents),
            unowned=(),
            modules=(),
            extensions=(),
            wrappers=(),
            manifest=None,
        ),
    )
