"""What deploys send and store, by hand."""

from __future__ import annotations

from lamina.advise.deploys import Deploy, DeploysPerYear, WeighedArchive, costs
from lamina.project.service import Packaging


def _archive(
    kind: Packaging, name: str, functions: str, distributions: str, zipped: int, *, sources: str = ""
) -> WeighedArchive:
    return WeighedArchive(
        kind=kind,
        name=name,
        functions=tuple(functions.split()),
        distributions=frozenset(distributions.split()),
        sources=sources,
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
    assert found.year(DeploysPerYear(edits=2, bumps=3)) == 3 * 6027 + 2 * 60 + 3 * (3 * 5007)


def test_zips() -> None:
    """Each function receives its zip, even if functions have the same; code that functions share is in all of their zips."""
    archives = [
        _archive(Packaging.ZIP, "a", "a b", "alpha", 100, sources="one"),
        _archive(Packaging.ZIP, "c", "c", "alpha beta", 700, sources="one"),
    ]

    found = costs(archives, [{"beta"}, {"gamma"}])

    assert found.first.sent == found.edit.sent == 900
    assert (found.bump.sent, found.worst_bump.sent) == (350, 700)


def test_nothing_to_update() -> None:
    """A service without distributions has no updates."""
    assert costs([_archive(Packaging.ZIP, "a", "a", "", 5, sources="one")], []).worst_bump == Deploy(0, 0)
