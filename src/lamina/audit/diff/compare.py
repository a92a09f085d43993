"""Compare two sides: pair their layers and packages, and find what differs in each pair. Pure, apart from asking for advisories."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from lamina.audit.diff.values import (
    ArchiveChanges,
    ArchiveKind,
    ColdStartChange,
    DistributionChange,
    DistributionDifference,
    FileChanges,
    ImportChanges,
    SideChanges,
    VulnerabilityChanges,
)
from lamina.audit.inventory.contents import place_of
from lamina.audit.vulnerabilities.find import find
from lamina.core.errors import ConfigError
from lamina.core.frozen import replace
from lamina.core.text import count
from lamina.pipeline.checks.common import listed
from lamina.pipeline.differences import RECIPE_CHANGED, shortened

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
    from typing import TypeAlias

    from lamina.audit.diff.values import ComparedArchive, ComparedDistribution, Side
    from lamina.audit.vulnerabilities.values import Advisories, Vulnerability

    _Pair: TypeAlias = tuple[ComparedArchive | None, ComparedArchive | None]

_OF_INSTALLERS = re.compile(
    r"(?:.*/)?[^/]+\.dist-info/(?:RECORD|INSTALLER|REQUESTED|direct_url\.json|uv_cache\.json|uv_build\.json)|(?:python/)?bin/.*"
)
"""The files that differ between installations of the same wheel: metadata that pip 25 and uv 0.9 write, and scripts (2026-11)."""
_IMPORTS = "bytecode.modules"
_OPTIONS = {
    "own_code": "your code in the layer changed",
    "recipe.exclude": "`exclude` changed",
    "recipe.format": "lamina's format of layers changed",
    "bytecode.mode": "the `bytecode` mode changed",
    _IMPORTS: "handlers import other modules",
}
"""What an option that differs means, by its key in the manifest. Other keys say how and by which Python bytecode is compiled."""
_COMPILER = "the compiler of the bytecode changed"
_OF_SAME_ARTIFACT = frozenset({DistributionDifference.FILES, DistributionDifference.MOVED})
_ON_ONE_SIDE = frozenset({DistributionDifference.ADDED, DistributionDifference.REMOVED})


def compare(before: Side, after: Side, advisories: Advisories | None = None) -> SideChanges:
    """
    Return the changes from *before* to *after*.

    If one side is a single zip, only the most similar layer or package of the other side is compared with it. With *advisories*, the
    vulnerabilities of both sides are compared, too; raises its errors. Raises `ConfigError` if one side is a lock file and the other is
    the package of a function.
    """
    pairs = tuple(_pairs(_comparable(before, after), _comparable(after, before)))
    return SideChanges(
        before=before,
        after=after,
        archives=tuple(_archive(*pair) for pair in pairs),
        starts=_starts(before, after),
        vulnerabilities=None if advisories is None else _vulnerabilities((before, after), pairs, advisories),
    )


def _comparable(side: Side, other: Side) -> Sequence[ComparedArchive]:
    """Return the archives of *side* that *other* can have, too."""
    if not (side.is_lock or other.is_lock):
        return side.archives
    layers = [each for each in side.archives if each.kind is ArchiveKind.LAYER]
    if not layers and any(not each.is_of_service for each in side.archives):
        raise ConfigError(
            f"`{side.name}` is the package of a function, and a lock file only describes layers",
            hint=f"compare a layer with the lock file, such as `.lamina/layers/common.zip` with `{other.name}`",
        )
    return layers


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
        return ArchiveChanges(before=before, after=after, distributions=_distributions(*sides), reason=reason)
    files = _files(before, after)
    distributions = _distributions(
        before.distributions,
        after.distributions,
        other_files=_owners((before, after), _own_paths(files)),
        moved=_owners((before, after), {path for _, path in files.moved} if files is not None else ()),
    )
    found = ArchiveChanges(
        before=before, after=after, distributions=distributions, files=files, imports=_imports(before, after)
    )
    return replace(found, reason=_reason(before, after, found))


def _files(before: ComparedArchive, after: ComparedArchive) -> FileChanges | None:
    if before.files is None or after.files is None:
        return None
    old, new = _by_place(before.files), _by_place(after.files)
    return FileChanges(
        added=tuple(path for place, (path, *_) in new.items() if place not in old),
        removed=tuple(path for place, (path, *_) in old.items() if place not in new),
        changed=tuple(path for place, (path, *content) in new.items() if place in old and [*old[place][1:]] != content),
        moved=tuple(
            (old[place][0], path)
            for place, (path, *content) in new.items()
            if place in old and old[place][0] != path and [*old[place][1:]] == content
        ),
    )


def _by_place(files: Sequence[tuple[str, int, int]]) -> dict[str, tuple[str, int, int]]:
    """Return *files* by where they are imported from; of several in one place, only one is there."""
    found = {path: file for file in files if place_of(path := file[0]) == path}
    for file in files:
        place = place_of(file[0])
        found.setdefault(file[0] if place in found else place, file)
    return found


def _own_paths(files: FileChanges | None) -> frozenset[str]:
    """Return the paths of the files that differ, except those that installers write."""
    return frozenset(path for path in (files.differing if files is not None else ()) if not _is_of_installer(path))


def _is_of_installer(path: str) -> bool:
    return _OF_INSTALLERS.fullmatch(place_of(path)) is not None


def _owners(sides: Iterable[ComparedArchive], paths: Collection[str]) -> frozenset[str]:
    """Return the distributions that have one of *paths*."""
    return frozenset(name for side in sides for path, name in side.owned if path in paths)


def _distributions(
    before: Iterable[ComparedDistribution],
    after: Iterable[ComparedDistribution],
    *,
    other_files: Collection[str] = (),
    moved: Collection[str] = (),
) -> tuple[DistributionChange, ...]:
    """Return the distributions that differ, sorted by name. *other_files* and *moved* are the names of those with such files."""
    old, new = {each.name: each for each in before}, {each.name: each for each in after}
    return tuple(
        DistributionChange(before=old.get(name), after=new.get(name), difference=difference)
        for name in sorted(old.keys() | new.keys())
        if (difference := _difference(old.get(name), new.get(name), other_files, moved)) is not None
    )


def _difference(
    before: ComparedDistribution | None,
    after: ComparedDistribution | None,
    other_files: Collection[str],
    moved: Collection[str],
) -> DistributionDifference | None:
    if before is None or after is None:
        return DistributionDifference.ADDED if before is None else DistributionDifference.REMOVED
    if before.version != after.version:
        return DistributionDifference.VERSION
    if None not in {before.sha256, after.sha256} and before.sha256 != after.sha256:
        return DistributionDifference.ARTIFACT
    if after.name in other_files:
        return DistributionDifference.FILES
    return DistributionDifference.MOVED if after.name in moved else None


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
    if None not in hashes and hashes[0] == hashes[1]:
        return None
    if None not in digests and digests[0] == digests[1]:
        # A zip states its digest itself, so the digest only decides if a hash is unknown.
        other = found.files.counts if found.files else _packing(before, after)
        return None if None in hashes else f"same digest, other bytes: {other}"
    if not (after.target.startswith(before.target) or before.target.startswith(after.target)):
        # A layer without native code states no architecture, and a zip of others no target.
        return f"{before.target} → {after.target}"
    causes, kinds = _causes(before, after, found), {each.difference for each in found.distributions}
    if kinds - _OF_SAME_ARTIFACT or (DistributionDifference.FILES in kinds and not causes):
        return _named(found)
    if causes or (None in hashes and None in digests):
        # A lock file has only distributions.
        return ", ".join(causes) or None
    return _other_reason(before, after, found)


def _causes(before: ComparedArchive, after: ComparedArchive, found: ArchiveChanges) -> list[str]:
    """Return what the manifests say to be different apart from distributions; empty if one side has no manifest."""
    if before.options is None or after.options is None:
        return []
    old, new = dict(before.options), dict(after.options)
    keys = [
        key for key in (*_OPTIONS, *sorted(old.keys() | new.keys() - _OPTIONS.keys())) if old.get(key) != new.get(key)
    ]
    words = [_import_cause(found.imports) if key == _IMPORTS else _OPTIONS.get(key, _COMPILER) for key in keys]
    return list(dict.fromkeys(words))


def _import_cause(imports: ImportChanges | None) -> str:
    if imports is None or not (imports.new_distributions or imports.gone_distributions):
        return _OPTIONS[_IMPORTS]
    states = (("now import", imports.new_distributions), ("no longer import", imports.gone_distributions))
    return "handlers " + " and ".join(f"{words} {listed(names)}" for words, names in states if names)


def _other_reason(before: ComparedArchive, after: ComparedArchive, found: ArchiveChanges) -> str:
    """Return why zips with the same distributions differ."""
    if own := len(_own_paths(found.files)):
        return f"{count(own, 'file')} changed"
    if None not in (before.digest, after.digest):
        return RECIPE_CHANGED
    if found.files and found.files.differing:
        return "files that installers write differ"
    if found.files and found.files.moved:
        return f"{count(len(found.files.moved), 'file')} moved"
    return _packing(before, after)


def _packing(before: ComparedArchive, after: ComparedArchive) -> str:
    return "the same files are packed differently" if before.bytecode == after.bytecode else "its bytecode changed"


def _named(found: ArchiveChanges) -> str:
    """Return a short list of the distributions that differ: first those on both sides, then those that are added or removed."""
    shown = [each for each in found.distributions if each.difference is not DistributionDifference.MOVED]
    return shortened([each.words for each in sorted(shown, key=_order)])


def _order(change: DistributionChange) -> tuple[bool, bool]:
    return change.difference in _ON_ONE_SIDE, change.after is None


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
    known, remaining = ({(each.release.name, name) for each in side for name in each.ids} for side in (before, after))
    return VulnerabilityChanges(
        new=tuple(each for each in after if known.isdisjoint(_names(each))),
        gone=tuple(each for each in before if remaining.isdisjoint(_names(each))),
    )


def _names(vulnerability: Vulnerability) -> set[tuple[str, str]]:
    """Return the IDs by which databases know *vulnerability*, each with the distribution: two versions may be listed under different ones."""
    return {(vulnerability.release.name, each) for each in vulnerability.ids}


def _release(vulnerability: Vulnerability) -> tuple[str, str]:
    return vulnerability.release.name, vulnerability.release.version
