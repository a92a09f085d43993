"""The changes as text, for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.audit.diff.values import ArchiveKind
from lamina.core.text import count, megabytes
from lamina.pipeline.checks.common import listed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from lamina.audit.diff.values import ArchiveChanges, DistributionChange, SideChanges
    from lamina.audit.vulnerabilities.values import Vulnerability

_SHOWN = 12
_SHOWN_FILES = 5


def lines(changes: SideChanges, *, verbose: bool = False) -> Iterator[str]:
    """Yield the lines of the changes. Without *verbose*, long lists are shortened."""
    yield f"from {changes.before.name} to {changes.after.name}"
    for same in grouped(changes.archives):
        yield from _archive(same, changes, most=None if verbose else _SHOWN)
    for start in changes.starts or ():
        more = start.after_ms - start.before_ms
        yield f"cold start of {start.function}: {start.before_ms:.1f} ms → {start.after_ms:.1f} ms ({more:+.1f} ms)"
    if changes.vulnerabilities is not None:
        yield from vulnerability_lines("new", changes.vulnerabilities.new)
        yield from vulnerability_lines("gone", changes.vulnerabilities.gone)
    yield summary(changes)


def grouped(archives: Iterable[ArchiveChanges]) -> list[list[ArchiveChanges]]:
    """Return *archives* in groups with the same zips on both sides, such as functions that share a package."""
    groups: dict[tuple[object, ...], list[ArchiveChanges]] = {}
    for each in archives:
        sides = [side and (side.sha256, side.target) for side in (each.before, each.after)]
        problems = [side and side.problem for side in (each.before, each.after)]
        key = (id(each),) if each.subject.kind is ArchiveKind.LAYER else (*sides, each.reason, *problems)
        groups.setdefault(key, []).append(each)
    return list(groups.values())


def title(same: Sequence[ArchiveChanges]) -> str:
    """Return what *same*, a group of archives, are called in reports."""
    subject = same[0].subject
    names = (
        f"layer {subject.name}"
        if subject.kind is ArchiveKind.LAYER
        else f"package of {listed([each.subject.name for each in same])}"
    )
    return f"{names} for {subject.target}" if subject.target else names


def outcome(change: ArchiveChanges) -> str:
    """Return whether publishing or deploying would change anything in AWS, and why. A single zip only differs."""
    verb = "publish" if change.subject.kind is ArchiveKind.LAYER else "deploy"
    match change.reason:
        case None:
            return "no difference"
        case "added" | "removed":
            return change.reason
        case reason if not change.subject.is_of_service:
            return f"differs: {reason}"
        case reason:
            return f"would {verb} because {reason}"


def sizes(change: ArchiveChanges) -> Iterator[tuple[str, int, int]]:
    """Yield the name of each size that is known on both sides, with the sizes in bytes; missing archives have 0 bytes."""
    before, after = (side.sizes if side is not None else None for side in (change.before, change.after))
    known = [side for side in (change.before, change.after) if side is not None]
    if any(side.sizes is None for side in known):
        return
    for name in ("zipped", "unzipped", "bytecode"):
        yield (
            name,
            0 if before is None else getattr(before, f"{name}_bytes"),
            0 if after is None else getattr(after, f"{name}_bytes"),
        )


def imports(change: ArchiveChanges) -> Iterator[str]:
    """Yield which distributions the handlers import on one side only, and in how many modules the rest differs."""
    found = change.imports
    if not found:
        return
    for words, names, modules in (
        ("handlers now import", found.new_distributions, found.new),
        ("handlers no longer import", found.gone_distributions, found.gone),
    ):
        if names:
            yield f"{words} {listed(names)} ({count(sum(name in names for name, _ in modules), 'module')})"
        if rest := sum(name not in names for name, _ in modules):
            yield f"{words} {count(rest, 'module')} of {count(len({name for name, _ in modules} - set(names)), 'other distribution')}"


def summary(changes: SideChanges) -> str:
    """Return how many layers and packages differ, and how many zips are not what their provenance describes."""
    parts = []
    there = [each for each in changes.changed if each.after is not None]
    for kind, words in ((ArchiveKind.LAYER, ("layer", "published")), (ArchiveKind.PACKAGE, ("function", "deployed"))):
        if number := sum(each.subject.kind is kind and each.subject.is_of_service for each in there):
            parts.append(f"{count(number, words[0])} would be {words[1]}")
    if other := sum(not each.subject.is_of_service for each in there):
        parts.append(f"{count(other, 'zip')} differs")
    if gone := len(changes.changed) - len(there):
        parts.append(f"{gone:,} removed")
    if not parts:
        are_of_service = all(each.subject.is_of_service for each in changes.archives)
        parts.append("no differences" + (": nothing would be published" if are_of_service else ""))
    if changes.problems:
        parts.append(f"provenance of {count(len(changes.problems), 'zip')} not verified")
    return ", ".join(parts)


def vulnerability_lines(state: str, found: Iterable[Vulnerability]) -> Iterator[str]:
    """Yield a line for each vulnerability that is *state*: new or gone."""
    for each in found:
        yield f"{state} vulnerability: {each}"


def signed(size: int) -> str:
    """Return the change *size* in bytes, with its sign."""
    amount = count(abs(size), "byte") if abs(size) < 1_000 else megabytes(abs(size))
    return ("-" if size < 0 else "+") + amount


def _archive(same: Sequence[ArchiveChanges], changes: SideChanges, *, most: int | None) -> Iterator[str]:
    change = same[0]
    yield f"{title(same)}: {outcome(change)}"
    yield from (f"  {problem}" for problem in changes.problems_of(change))
    if change.reason is None:
        return
    found = [
        f"{name} {megabytes(old)} → {megabytes(new)} ({signed(new - old)})"
        for name, old, new in sizes(change)
        if old != new
    ]
    if found:
        yield f"  {', '.join(found)}"
    rows = [_distribution(each) for each in change.distributions]
    shown = rows if most is None or len(rows) <= most + 1 else rows[:most]
    yield from shown
    if len(rows) > len(shown):
        yield f"  and {len(rows) - len(shown)} more"
    yield from _files(change, most=most)
    yield from (f"  {line}" for line in imports(change))


def _distribution(change: DistributionChange) -> str:
    growth = f"  {signed(change.growth)}" if change.growth else ""
    return f"  {change.words}{growth}"


def _files(change: ArchiveChanges, *, most: int | None) -> Iterator[str]:
    files = change.files
    if not files:
        return
    yield f"  files: {files.counts}"
    sides = [side for side in (change.before, change.after) if side is not None]
    owned = {path for side in sides for path, _ in side.owned}
    rows = [
        f"{word} {path}"
        for word, paths in (("added", files.added), ("removed", files.removed), ("changed", files.changed))
        for path in paths
        if most is None or path not in owned
    ]
    rows += [f"moved {before} → {after}" for before, after in files.moved if most is None or after not in owned]
    shown = rows if most is None else rows[:_SHOWN_FILES]
    yield from (f"    {row}" for row in shown)
    if len(rows) > len(shown):
        yield f"    and {len(rows) - len(shown):,} more"
