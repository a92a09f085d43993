"""Compare two sides: pair their layers and packages, and find what differs in each pair. Pure, apart from asking for advisories."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.audit.diff.values import (
    ArchiveChanges,
    ArchiveKind,
    ColdStartChange,
    DistributionChange,
    FileChanges,
    ImportChanges,
    SideChanges,
    VulnerabilityChanges,
)
from lamina.audit.vulnerabilities.find import find
from lamina.core.frozen import replace
from lamina.core.text import count
from lamina.pipeline.differences import OWN_CODE_CHANGED, RECIPE_CHANGED, differences

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from typing import TypeAlias

    from lamina.audit.diff.values import ComparedArchive, ComparedDistribution, Side
    from lamina.audit.vulnerabilities.values import Advisories, Vulnerability

    _Pair: TypeAlias = tuple[ComparedArchive | None, ComparedArchive | None]

_WRITTEN_BY_INSTALLERS = ("/RECORD", "/INSTALLER", "/REQUESTED", "/direct_url.json")
"""The metadata that differs between installers of the same wheel."""


def compare(before: Side, after: Side, advisories: Advisories | None = None) -> SideChanges:
    """
    Return the changes from *before* to *after*.

    If one side is a single zip, only the most similar layer or package of the other side is compared with it. With *advisories*, the
    vulnerabilities of both sides are compared, too; raises its errors.
    """
    pairs = tuple(
        _pairs(*(_comparable(side.archives, only_layers=before.is_lock or after.is_lock) for side in (before, after)))
    )
    return SideChanges(
        before=before,
        after=after,
        archives=tuple(_archive(*pair) for pair in pairs),
        starts=_starts(before, after),
        vulnerabilities=None if advisories is None else _vulnerabilities((before, after), pairs, advisories),
    )


def _comparable(archives: Sequence[ComparedArchive], *, only_layers: bool) -> Sequence[ComparedArchive]:
    return [each for each in archives if each.kind is ArchiveKind.LAYER or not only_layers]


def _pairs(before: Sequence[ComparedArchive], after: Sequence[ComparedArchive]) -> Iterator[_Pair]:
    if len(before) == 1 and len(after) > 1 and not before[0].is_of_service:
        yield before[0], _most_similar(before[0], after)
        return
    if len(after) == 1 and len(before) > 1 and not after[0].is_of_service:
        yield _most_similar(after[0], before), after[0]
        return
    if len(before) == len(after) == 1 and before[0].kind is after[0].kind:
        yield before[0], after[0]
        return
    has_targets = any(len({each.target for each in archives}) > 1 for archives in (before, after))
    old, new = _by_key(before, has_targets=has_targets), _by_key(after, has_targets=has_targets)
    for key in dict.fromkeys((*new, *old)):
        yield old.get(key), new.get(key)


def _by_key(archives: Iterable[ComparedArchive], *, has_targets: bool) -> dict[tuple[object, ...], ComparedArchive]:
    return {(each.kind, each.name, each.target if has_targets else ""): each for each in archives}


def _most_similar(single: ComparedArchive, others: Sequence[ComparedArchive]) -> ComparedArchive:
    names = {each.name for each in single.distributions}

    def similarity(other: ComparedArchive) -> tuple[bool, bool, int, bool]:
        shared = len(names & {each.name for each in other.distributions})
        return (other.sha256 == single.sha256, other.kind is single.kind, shared, other.name == single.name)

    return max(others, key=similarity)


def _archive(before: ComparedArchive | None, after: ComparedArchive | None) -> ArchiveChanges:
    if before is None or after is None:
        reason = "added" if before is None else "removed"
        sides = [() if side is None else side.distributions for side in (before, after)]
        return ArchiveChanges(
            before=before, after=after, distributions=_distributions(*sides, different=frozenset()), reason=reason
        )
    files = _files(before, after)
    different = frozenset() if files is None else _owners((before, after), files)
    distributions = _distributions(before.distributions, after.distributions, different=different)
    found = ArchiveChanges(
        before=before, after=after, distributions=distributions, files=files, imports=_imports(before, after)
    )
    return replace(found, reason=_reason(before, after, found))


def _files(before: ComparedArchive, after: ComparedArchive) -> FileChanges | None:
    if before.files is None or after.files is None:
        return None
    old = {path: content for path, *content in before.files}
    new = {path: content for path, *content in after.files}
    return FileChanges(
        added=tuple(path for path in new if path not in old),
        removed=tuple(path for path in old if path not in new),
        changed=tuple(path for path, content in new.items() if old.get(path, content) != content),
    )


def _owners(sides: Iterable[ComparedArchive], files: FileChanges) -> frozenset[str]:
    """Return the distributions that have one of *files*, except files that only say which program installed them."""
    paths = {
        path for path in (*files.added, *files.removed, *files.changed) if not path.endswith(_WRITTEN_BY_INSTALLERS)
    }
    return frozenset(name for side in sides for path, name in side.owned if path in paths)


def _distributions(
    before: Iterable[ComparedDistribution], after: Iterable[ComparedDistribution], *, different: frozenset[str]
) -> tuple[DistributionChange, ...]:
    """Return the distributions that differ, sorted by name. Those in *different* have other files."""
    old, new = {each.name: each for each in before}, {each.name: each for each in after}
    return tuple(
        DistributionChange(before=old.get(name), after=new.get(name))
        for name in sorted(old.keys() | new.keys())
        if name not in old or name not in new or _differ(old[name], new[name], has_other_files=name in different)
    )


def _differ(before: ComparedDistribution, after: ComparedDistribution, *, has_other_files: bool) -> bool:
    if before.version != after.version:
        return True
    if before.sha256 is not None and after.sha256 is not None:
        return before.sha256 != after.sha256
    return has_other_files


def _imports(before: ComparedArchive, after: ComparedArchive) -> ImportChanges | None:
    if before.reached is None or after.reached is None:
        return None
    old, new = set(before.reached), set(after.reached)
    names = [{name for name, _ in side} for side in (old, new)]
    return ImportChanges(
        new=tuple(sorted(new - old)),
        gone=tuple(sorted(old - new)),
        new_distributions=tuple(sorted(names[1] - names[0])),
        gone_distributions=tuple(sorted(names[0] - names[1])),
    )


def _reason(before: ComparedArchive, after: ComparedArchive, found: ArchiveChanges) -> str | None:
    """Return why *after* would be published or deployed in place of *before*, or ``None`` if they are the same."""
    hashes, digests = (before.sha256, after.sha256), (before.digest, after.digest)
    if any(None not in pair and pair[0] == pair[1] for pair in (hashes, digests)):
        return None
    if not (after.target.startswith(before.target) or before.target.startswith(after.target)):
        # A layer without native code states no architecture, and a zip of others no target.
        return f"{before.target} → {after.target}"
    if found.distributions:
        return _named(found.distributions)
    if None in hashes and None in digests:
        # A lock file has only distributions.
        return None
    return _other_reason(after, found, is_layer_of_lamina=None not in digests)


def _other_reason(after: ComparedArchive, found: ArchiveChanges, *, is_layer_of_lamina: bool) -> str:
    """Return why zips with the same distributions differ."""
    own = _own_files(found)
    if is_layer_of_lamina:
        return OWN_CODE_CHANGED if own else RECIPE_CHANGED
    if own:
        return f"{count(own, 'file')} changed"
    return "its bytecode changed" if after.kind is ArchiveKind.PACKAGE else "the same files are packed differently"


def _own_files(found: ArchiveChanges) -> int:
    """Return the number of different files that belong to no distribution."""
    if found.files is None:
        return 0
    owned = {path for side in (found.before, found.after) if side is not None for path, _ in side.owned}
    return len({*found.files.added, *found.files.removed, *found.files.changed} - owned)


def _named(changes: Sequence[DistributionChange]) -> str:
    """Return a short list of *changes*."""
    # All of them differ. `differences` concludes that from the hashes, which are not always known.
    return differences(
        [_SideDistribution(each.before, "before") for each in changes if each.before is not None],
        [_SideDistribution(each.after, "after") for each in changes if each.after is not None],
    )


class _SideDistribution:
    """A compared distribution with a hash that stands for its side."""

    def __init__(self, distribution: ComparedDistribution, sha256: str) -> None:
        self.name = distribution.name
        self.version = distribution.version
        self.sha256 = sha256


def _starts(before: Side, after: Side) -> tuple[ColdStartChange, ...] | None:
    if before.starts is None or after.starts is None or before.starts.conditions != after.starts.conditions:
        return None
    old: Mapping[str, float] = dict(before.starts.medians)
    return tuple(
        ColdStartChange(function=name, before_ms=old[name], after_ms=median)
        for name, median in after.starts.medians
        if name in old
    )


def _vulnerabilities(sides: tuple[Side, Side], pairs: Iterable[_Pair], advisories: Advisories) -> VulnerabilityChanges:
    old, new = (
        {
            (each.name, each.version)
            for pair in pairs
            if (archive := pair[number]) is not None
            for each in archive.distributions
            if each.name in side.public
        }
        for number, side in enumerate(sides)
    )
    found = find(old | new, advisories).vulnerabilities
    before, after = ([each for each in found if _release(each) in side] for side in (old, new))
    known, remaining = ({(each.release.name, each.id) for each in side} for side in (before, after))
    return VulnerabilityChanges(
        new=tuple(each for each in after if (each.release.name, each.id) not in known),
        gone=tuple(each for each in before if (each.release.name, each.id) not in remaining),
    )


def _release(vulnerability: Vulnerability) -> tuple[str, str]:
    return vulnerability.release.name, vulnerability.release.version
