"""
Add up what deploys with one layout send and store. Pure: the archives of a layout in, bytes out.

A deploy sends each layer that has changed once, and the zip of each function that has changed, even if functions have the same zip:
Lambda has no other way to update a function's code than to give it a zip. Lambda stores the unzipped code of each layer version
and of each function version. After a new layer version, each of its functions also gets a new version.
"""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, NamedTuple

from lamina.core.frozen import frozen
from lamina.project.service import Packaging

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from pathlib import Path


@frozen
class WeighedArchive:
    """A zip of a layout: a layer, or the package of functions with the same content."""

    kind: Packaging
    """Whether it is a layer or a function's zip."""
    name: str
    """The name of the layer, or of the first of *functions*."""
    functions: tuple[str, ...]
    """The functions that have the layer, or whose zip this is."""
    distributions: frozenset[str]
    handlers: tuple[Path | None, ...] = ()
    """The file of each handler of *functions* that is the service's own; ``None`` if it comes from elsewhere. Empty for a layer."""
    sources: frozenset[Path] = frozenset()
    """The files of the service's own code in it; empty for a layer."""
    zipped_bytes: int
    unzipped_bytes: int


class Deploy(NamedTuple):
    """The bytes that one deploy to one environment sends and stores."""

    sent: int
    stored: int


class DeploysPerYear(NamedTuple):
    """The numbers of deploys in a year."""

    edits: int
    """Deploys with edited code."""
    bumps: int
    """Deploys with updated distributions."""


@frozen
class DeployCosts:
    """The bytes that deploys to one environment send and store."""

    first: Deploy
    edits: tuple[Deploy, ...]
    """A deploy for each function, after its handler was edited."""
    bumps: tuple[Deploy, ...]
    """A deploy for each update of distributions."""

    @property
    def edit(self) -> Deploy:
        """A deploy after one handler was edited: the median over the handlers."""
        return _median(self.edits)

    @property
    def bump(self) -> Deploy:
        """A deploy after distributions were updated: the median over the updates."""
        return _median(self.bumps)

    @property
    def worst_bump(self) -> Deploy:
        """The deploy after the update that sends most."""
        return max(self.bumps, default=Deploy(0, 0))

    def year(self, deploys: DeploysPerYear) -> int:
        """
        Return the bytes that are stored after a first deploy and *deploys* more.

        They are those of the known edits and updates if there are as many as *deploys*; otherwise in proportion.
        """
        return self.first.stored + _stored(self.edits, deploys.edits) + _stored(self.bumps, deploys.bumps)


def costs(archives: Sequence[WeighedArchive], bumps: Iterable[Collection[str]]) -> DeployCosts:
    """Return what deploys of *archives* cost. *bumps* are the updates: each has the names of the distributions that change together."""
    own = [each for each in archives if each.kind is Packaging.ZIP]
    return DeployCosts(
        first=_deploy(archives, own),
        edits=tuple(
            _deploy([other for other in own if other is each or handler in other.sources], own)
            for each in own
            for handler in each.handlers
        ),
        bumps=tuple(
            _deploy([each for each in archives if not each.distributions.isdisjoint(bump)], own) for bump in bumps
        ),
    )


def _stored(deploys: Sequence[Deploy], number: int) -> int:
    """Return the bytes that *number* deploys store of which *deploys* are a sample."""
    return round(number * sum(each.stored for each in deploys) / len(deploys)) if deploys else 0


def _deploy(changed: Iterable[WeighedArchive], own: Iterable[WeighedArchive]) -> Deploy:
    """Return the cost of a deploy of the *changed* archives; *own* are the zips of all functions."""
    sent = stored = 0
    updated: set[str] = set()
    new_versions: set[str] = set()
    for each in changed:
        copies = len(each.functions) if each.kind is Packaging.ZIP else 1
        sent += copies * each.zipped_bytes
        stored += copies * each.unzipped_bytes
        (updated if each.kind is Packaging.ZIP else new_versions).update(each.functions)
    for each in own:
        stored += each.unzipped_bytes * len(new_versions.intersection(each.functions) - updated)
    return Deploy(sent, stored)


def _median(deploys: Sequence[Deploy]) -> Deploy:
    if not deploys:
        return Deploy(0, 0)
    return Deploy(
        round(statistics.median(each.sent for each in deploys)),
        round(statistics.median(each.stored for each in deploys)),
    )
