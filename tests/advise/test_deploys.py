"""What deploys send and store, by hand."""

from __future__ import annotations

from pathlib import Path

from lamina.advise.deploys import Deploy, DeploysPerYear, WeighedArchive, costs
from lamina.core.frozen import replace
from lamina.project.service import Packaging


def _archive(
    kind: Packaging, name: str, functions: str, distributions: str, zipped: int, *, sources: str = ""
) -> WeighedArchive:
    """Return an archive; *sources* are its own files, of which the first is the handler of all functions."""
    files = [Path(each) for each in sources.split()]
    names = tuple(functions.split())
    return WeighedArchive(
        kind=kind,
        name=name,
        functions=names,
        distributions=frozenset(distributions.split()),
        handlers=tuple(files[0] for _ in names) if files else (),
        sources=frozenset(files),
        zipped_bytes=zipped,
        unzipped_bytes=3 * zipped,
    )


def test_layers() -> None:
    """A layer is sent once, a zip once for each function; a new layer version makes new versions of its functions only."""
    archives = [
        _archive(Packaging.LAYER, "common", "a b c", "alpha", 1000),
        _archive(Packaging.LAYER, "big", "c", "beta gamma", 5000),
        _archive(Packaging.ZIP, "a", "a b", "", 10, sources="one"),
        _archive(Packaging.ZIP, "c", "c", "", 7, sources="two"),
    ]

    found = costs(archives, [{"alpha"}, {"gamma"}, {"alpha", "beta"}])

    assert found.first == Deploy(6027, 3 * 6027)
    # The handlers of a and b are in both of their zips.
    assert found.edit == Deploy(20, 60)
    assert found.bump == Deploy(5000, 3 * 5000 + 3 * 7)
    assert found.worst_bump == Deploy(6000, 3 * 6027)
    edits = 2 * (60 + 60 + 21) // 3
    alpha, gamma, both = 3 * 1000 + 60 + 21, 3 * 5000 + 21, 3 * 6000 + 60 + 21
    assert found.year(DeploysPerYear(edits=2, bumps=3)) == 3 * 6027 + edits + alpha + gamma + both
    assert found.year(DeploysPerYear(edits=0, bumps=6)) == 3 * 6027 + 2 * (alpha + gamma + both)


def test_zips() -> None:
    """Each function receives its zip, even if functions have the same; code that functions share is in all of their zips."""
    archives = [
        _archive(Packaging.ZIP, "a", "a b", "alpha", 100, sources="one"),
        _archive(Packaging.ZIP, "c", "c", "alpha beta", 700, sources="one"),
    ]

    found = costs(archives, [{"beta"}, {"gamma"}])

    assert found.first.sent == found.edit.sent == 900
    assert (found.bump.sent, found.worst_bump.sent) == (350, 700)


def test_edited_handlers_of_overlapping_sources() -> None:
    """An edited handler changes each zip that contains its file, whatever the entries are that the zip's sources come from."""
    archives = [
        _archive(Packaging.ZIP, "a", "a", "", 100, sources="common/h.py"),
        _archive(Packaging.ZIP, "b", "b", "", 700, sources="b/h.py common/h.py"),
    ]

    found = costs(archives, [])

    assert [each.sent for each in found.edits] == [800, 700]
    assert found.edit.sent == 750


def test_handlers_of_distributions() -> None:
    """A handler that is not in the service's own code counts as edited in its own zip only."""
    archive = _archive(Packaging.ZIP, "a", "a", "", 100, sources="own.py")
    other = _archive(Packaging.ZIP, "b", "b", "", 700, sources="own.py")

    assert costs([replace(archive, handlers=(None,)), other], []).edits[0].sent == 100


def test_nothing_to_update() -> None:
    """A service without distributions has no updates."""
    assert costs([_archive(Packaging.ZIP, "a", "a", "", 5, sources="one")], []).worst_bump == Deploy(0, 0)
