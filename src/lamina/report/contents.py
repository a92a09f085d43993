"""Show what the zips contain: a map of areas by distribution and file, and tables of the same sizes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.core.frozen import frozen
from lamina.core.text import count, megabytes
from lamina.report.charts import draw
from lamina.report.colours import palette
from lamina.report.values import Figure, PageSection, PageTable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lamina.audit.inventory.contents import ArchiveContents, ContainedFile
    from lamina.core.values import Layer, Package

_MOST_FIGURES = 6
"""The number of zips that are drawn, so that the page of a service with many function zips stays small."""
_SHARE = 400
"""A file is drawn by itself if it has at least this part of the zip's bytes. Smaller ones of a distribution are one area."""
_MOST_FILES = 40
_NO_DISTRIBUTION = "no distribution"


@frozen
class ReportedZip:
    """A layer or function zip, and what it contains."""

    title: str
    """The name of the layer, or the names of the functions."""
    built: Layer | Package
    contents: ArchiveContents


@frozen
class _FileGroup:
    """The files of a distribution, or of none."""

    label: str
    files: tuple[ContainedFile, ...]

    @property
    def size(self) -> int:
        return sum(each.size for each in self.files)


def contents_section(zips: Sequence[ReportedZip]) -> PageSection:
    """Return the section about *zips*. Raises `MissingExtraError`."""
    drawn = sorted(zips, key=lambda each: -each.contents.unzipped_bytes)[:_MOST_FIGURES]
    groups = {each.title: sorted(_groups(each.contents), key=lambda group: -group.size) for each in drawn}
    colours = palette(group.label for found in groups.values() for group in found)
    paragraphs = [
        (
            "Areas are unzipped bytes, which Lambda's limit applies to. Each coloured area is a distribution, and each area in it is a file; "
            "its small files are one area. Bytecode counts."
        )
    ]
    if len(drawn) < len(zips):
        paragraphs.append(f"Drawn are the {len(drawn)} largest of {len(zips):,} zips; the tables have all.")
    return PageSection(
        anchor="contents",
        heading="What the zips contain",
        paragraphs=tuple(paragraphs),
        figures=tuple(_figure(each, groups[each.title], colours) for each in drawn if each.contents.unzipped_bytes),
        tables=(*(_distributions(each) for each in zips), *(_files(each, groups[each.title]) for each in drawn)),
    )


def _groups(contents: ArchiveContents) -> Iterator[_FileGroup]:
    for each in contents.distributions:
        yield _FileGroup(label=f"{each.name} {each.version}", files=each.files)
    if contents.unowned:
        yield _FileGroup(label=_NO_DISTRIBUTION, files=contents.unowned)


def _figure(each: ReportedZip, groups: Sequence[_FileGroup], colours: dict[str, str]) -> Figure:
    rows: list[dict[str, object]] = [{"id": 0, "place": "root"}]
    least = each.contents.unzipped_bytes / _SHARE
    for group in groups:
        place, colour = len(rows), colours[group.label]
        rows.append(
            {"id": place, "parent": 0, "label": f"{group.label}, {megabytes(group.size)}", "place": "distribution"}
        )
        rows[-1]["colour"] = colour
        tiles = [(file.path.rpartition("/")[2], file.size) for file in group.files if file.size >= least]
        small = [file.size for file in group.files if file.size < least]
        if small:
            tiles.append((count(len(small), "file" if len(small) == len(group.files) else "smaller file"), sum(small)))
        rows += [
            {"id": f"{place}/{number}", "parent": place, "label": label, "size": size, "place": "file"}
            for number, (label, size) in enumerate(tiles)
        ]
    largest = ", ".join(f"{group.label} {megabytes(group.size)}" for group in groups[:3])
    return Figure(
        title=f"{each.title}: {megabytes(each.contents.unzipped_bytes)} unzipped, {megabytes(each.contents.zipped_bytes)} zipped",
        label=f"Areas of the distributions in {each.title}. The largest: {largest}. The tables below have all.",
        svg=draw("treemap", rows),
    )


def _distributions(each: ReportedZip) -> PageTable:
    whole = each.built.unzipped_bytes or 1
    return PageTable(
        caption=f"Distributions in {each.title}, by unzipped size",
        header=("distribution", "version", "zipped", "unzipped", "of it bytecode", "share"),
        rows=tuple(
            (
                found.name,
                found.version,
                megabytes(found.zipped_bytes),
                megabytes(found.unzipped_bytes + found.bytecode_bytes),
                megabytes(found.bytecode_bytes),
                f"{(found.unzipped_bytes + found.bytecode_bytes) / whole:.1%}",
            )
            for found in sorted(
                each.built.distributions, key=lambda share: (-share.unzipped_bytes - share.bytecode_bytes, share.name)
            )
        ),
        is_open=False,
    )


def _files(each: ReportedZip, groups: Sequence[_FileGroup]) -> PageTable:
    files = sorted(
        ((file.size, file.path, group.label) for group in groups for file in group.files),
        key=lambda row: (-row[0], row[1]),
    )
    return PageTable(
        caption=f"Largest files in {each.title}",
        header=("file", "distribution", "unzipped"),
        rows=tuple((path, label, megabytes(size)) for size, path, label in files[:_MOST_FILES]),
        is_open=False,
    )
