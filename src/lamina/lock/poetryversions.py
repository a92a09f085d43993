"""
Read Poetry's version constraints, with caret, tilde and ``||``, as sets of PEP 440 specifiers. Pure.

Format: https://python-poetry.org/docs/dependency-specification/#version-constraints (2026-11).
"""

# poetry-core's own parser (2.5.0, measured 2026-11) was weighed and left: importing it puts its vendored `packaging`, `lark` and
# `tomli` first on `sys.path` of the whole process, takes 24 to 45 ms where this module takes 13 on the same busy machine, and is
# 410 kB that every installation would carry. It reads `<>1.3` as `==1.3`, refuses an empty constraint and `===`, and what
# `>3.11` means for Python is not in the parser: `allows_python` would stay.

from __future__ import annotations

import re
from dataclasses import dataclass

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

_CLAUSE = re.compile(r"(~=|===|==|!=|<>|<=|>=|<|>|=|\^|~)?\s*v?((?:[^\s,=<>!~^]|!(?!=))+)")


@dataclass(frozen=True, kw_only=True, slots=True)
class Constraint:
    """A union of specifier sets: a version that any of them takes is taken."""

    text: str
    """As it was written."""
    alternatives: tuple[SpecifierSet, ...]

    def contains(self, version: str) -> bool:
        """Return whether *version* is taken, pre-releases like any other."""
        return any(alternative.contains(version, prereleases=True) for alternative in self.alternatives)

    def allows_python(self, full_version: str) -> bool:
        """
        Return whether *full_version* of Python is taken.

        As in ``python_version`` markers, ``>3.11`` means 3.12 and ``<=3.12`` takes 3.12.7: only clauses that name a patch
        release look at it.
        """
        minor = ".".join(full_version.split(".")[:2])
        return any(
            all(
                clause.contains(full_version if clause.version.count(".") > 1 else minor, prereleases=True)
                for clause in alternative
            )
            for alternative in self.alternatives
        )

    def __str__(self) -> str:
        return self.text


def parse(text: str) -> Constraint:
    """Return the constraint that *text* says; `ValueError` where it says none."""
    alternatives = tuple(_alternative(part) for part in re.split(r"\|\|?", text))
    return Constraint(text=text, alternatives=alternatives)


def _alternative(text: str) -> SpecifierSet:
    stripped = text.strip()
    if stripped in {"*", ""}:
        return SpecifierSet()
    clauses: list[str] = []
    position = 0
    # Clauses stand behind a comma, or only behind a space: `>=1.0 <2.0`.
    while position < len(stripped):
        found = _CLAUSE.match(stripped, position)
        if found is None:
            raise ValueError(f"`{text}` is not a version constraint")
        clauses += _clause(found[1] or "", found[2])
        position = found.end()
        position += len(stripped[position:]) - len(stripped[position:].lstrip(", "))
    try:
        return SpecifierSet(",".join(clauses))
    except InvalidSpecifier as error:
        raise ValueError(f"`{text}` is not a version constraint: {error}") from error


def _clause(operator: str, version: str) -> list[str]:
    if version == "*":
        return []
    match operator:
        case "^" | "~":
            return [f">={_version(version)}", f"<{_next(operator, _version(version))}"]
        case "" | "=":
            return [f"=={version}"]
        case "<>":
            return [f"!={version}"]
        case ">" | ">=" | "<" | "<=" if version.endswith((".*", ".x")):
            # PEP 440 has no wildcard there, Poetry reads it as the first version of the range.
            return [f"{operator}{version[:-2]}"]
        case _:
            return [f"{operator}{version}"]


def _version(text: str) -> Version:
    try:
        return Version(text.removesuffix(".*"))
    except InvalidVersion as error:
        raise ValueError(f"`{text}` is not a version") from error


def _next(operator: str, version: Version) -> Version:
    """
    Return the first version that ``^version`` or ``~version`` does not take.

    The caret lets everything change that is right of the first part which is not zero, the tilde everything right of the minor.
    """
    release = version.release
    if operator == "~":
        kept = min(len(release), 2)
    else:
        first = next((position for position, part in enumerate(release) if part), len(release) - 1)
        kept = first + 1
    bumped = (*release[: kept - 1], release[kept - 1] + 1)
    # `.dev0`, because Poetry takes no pre-release of what it excludes.
    return Version(f"{f'{version.epoch}!' if version.epoch else ''}{'.'.join(map(str, bumped))}.dev0")
