"""Decide which requirements a project needs so that its own layer has what is in the layer of somebody else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packaging.requirements import InvalidRequirement, Requirement
from packaging.version import InvalidVersion, Version

from lamina.adopt.markers import applies
from lamina.audit.inspected.shadowing import search_rank
from lamina.core.frozen import frozen
from lamina.core.names import normalized
from lamina.pipeline.checks.modules import modules_of
from lamina.project.external import LayerArn

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping
    from typing import TypeAlias

    from lamina.audit.inspected.inspect import InspectedArchive
    from lamina.audit.inspected.matching import Match
    from lamina.audit.inventory.contents import ContainedDistribution
    from lamina.core.target import Target

    AdoptedDistribution: TypeAlias = ContainedDistribution | Match


@frozen
class WrittenRequirement:
    """A requirement to write into the project."""

    text: str
    """Such as ``requests==2.32.3``; without a version if the layer does not state one."""
    name: str
    """The normalised name of the distribution."""
    locked: str | None
    """The version that the lock file has now; empty if it does not state it, and ``None`` if it lacks the distribution."""


def importable(
    archive: InspectedArchive, target: Target, originals: Collection[str] = ()
) -> tuple[AdoptedDistribution, ...]:
    """
    Return the distributions that *target* imports from the layer, one for each name, sorted by name.

    Those in *originals* are included even if files of the layer differ from those of the distribution.
    """
    found: list[AdoptedDistribution] = [
        *archive.contents.distributions,
        *(each for each in archive.matches if each.is_exact or each.name in originals),
    ]
    first: dict[str, tuple[int, AdoptedDistribution]] = {}
    for each in found:
        rank = search_rank(each.root, target.python, is_layer=archive.contents.is_layer)
        if rank is not None and (each.name not in first or rank < first[each.name][0]):
            first[each.name] = (rank, each)
    return tuple(each for _, (_, each) in sorted(first.items()))


def requirements_of(
    archive: InspectedArchive,
    target: Target,
    *,
    locked: Mapping[str, str],
    pinned: Collection[str] = (),
    everything: bool = False,
) -> tuple[WrittenRequirement, ...]:
    """
    Return what to require instead of the layer, without distributions that *locked* has at the same version.

    These are the requirements of a known publisher, with their extras, and the distributions that none of the others requires, all at the
    version in the layer. So are the distributions *pinned*, or all of them with *everything*.
    """
    installed = {each.name: each for each in importable(archive, target, pinned)}
    chosen = {requirement.name: requirement for requirement in _published(archive, installed)}
    if everything:
        names = sorted({*chosen, *installed})
    else:
        covered = _reached(chosen.values(), installed, target)
        outermost = _outermost({name for name in installed if name not in covered}, installed, target)
        names = list(dict.fromkeys((*chosen, *outermost, *pinned)))
    written = []
    for name in names:
        requirement, version = (
            chosen.get(name, Requirement(name)),
            installed[name].version if name in installed else None,
        )
        # A distribution that is locked already still needs its extras.
        if version is not None and is_same_version(locked.get(name), version) and not requirement.extras:
            continue
        written.append(WrittenRequirement(text=_exact(requirement, version), name=name, locked=locked.get(name)))
    return tuple(written)


def is_same_version(one: str | None, other: str) -> bool:
    """Return whether *one* and *other* are the same version, such as ``2026.07.1`` and ``2026.7.1``."""
    try:
        return one is not None and Version(one) == Version(other)
    except InvalidVersion:
        return one == other


def _published(archive: InspectedArchive, installed: Mapping[str, AdoptedDistribution]) -> Iterator[Requirement]:
    """Yield the requirements from which a known publisher builds its layer, as far as the layer has the distributions or their modules."""
    layer = LayerArn.parse(archive.zip.arn) if archive.zip.arn is not None else None
    if archive.publisher is None or layer is None:
        return
    unknown = set(archive.unknown_modules)
    for text in archive.publisher.locked(layer.name):
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            continue  # the name of a layer that contains that of a distribution is the publisher's choice
        requirement.name = normalized(requirement.name)
        if requirement.name in installed or not unknown.isdisjoint(modules_of(requirement.name)):
            yield requirement


def _outermost(names: set[str], installed: Mapping[str, AdoptedDistribution], target: Target) -> Iterator[str]:
    """Yield those of *names* that no other one requires. Of a cycle that nothing else requires, yield the first."""
    required = {name for each in names for name in _needs(installed[each], frozenset(), target) if name != each}
    for name in sorted(names - required):
        yield name
        names -= _reached((Requirement(name),), installed, target)
    while names:
        name = min(names)
        yield name
        names -= _reached((Requirement(name),), installed, target)


def _reached(
    requirements: Iterable[Requirement], installed: Mapping[str, AdoptedDistribution], target: Target
) -> set[str]:
    """Return the installed distributions that *requirements* install, also indirectly."""
    waiting = [(requirement.name, frozenset(requirement.extras)) for requirement in requirements]
    seen = set()
    while waiting:
        name, extras = waiting.pop()
        if name in installed and (name, extras) not in seen:
            seen.add((name, extras))
            waiting += _needs(installed[name], extras, target).items()
    return {name for name, _ in seen}


def _needs(each: AdoptedDistribution, extras: frozenset[str], target: Target) -> dict[str, frozenset[str]]:
    """Return the distributions that *each* requires with its *extras* on *target*, with the extras that it asks of them."""
    found: dict[str, frozenset[str]] = {}
    for text in each.requires:
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            continue  # metadata of others is not always valid
        if applies(requirement.marker, (target,), extras):
            name = normalized(requirement.name)
            found[name] = found.get(name, frozenset()) | requirement.extras
    return found


def _exact(requirement: Requirement, version: str | None) -> str:
    extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
    if version is None:
        return f"{requirement.name}{extras}"
    try:
        Version(version)
    except InvalidVersion:
        # Arbitrary equality (PEP 440) is the only comparison for such a version.
        return f"{requirement.name}{extras}==={version}"
    return f"{requirement.name}{extras}=={version}"
