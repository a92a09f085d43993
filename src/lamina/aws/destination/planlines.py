"""Format a plan for people: one line for all functions, layers and places with the same action, with their count."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.core.frozen import frozen
from lamina.core.text import count

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_SHOWN = 3


@frozen
class PlanLine:
    """The planned action for one function or layer at one place."""

    noun: str
    """What is planned: ``function`` or ``layer``."""
    name: str
    place: str
    """The account and region."""
    words: str
    """The action and its reason."""
    details: tuple[str, ...] = ()
    """Further lines about the action."""


def merged(lines: Iterable[PlanLine], *, verbose: bool = False) -> Iterator[str]:
    """Yield the text of *lines*: those with the same action become one. *verbose* names everything instead of the first few."""
    names_of: dict[tuple[str, str, str, tuple[str, ...]], list[str]] = {}
    for line in lines:
        names_of.setdefault((line.noun, line.place, line.words, line.details), []).append(line.name)
    placed: dict[tuple[str, tuple[str, ...], str, tuple[str, ...]], list[str]] = {}
    for (noun, place, words, details), found in names_of.items():
        placed.setdefault((noun, tuple(found), words, details), []).append(place)
    for (noun, names, words, details), places in placed.items():
        subject, where = _counted(names, noun, verbose=verbose), _counted(places, "place", verbose=verbose)
        yield f"{f'{noun} {names[0]}' if len(names) == 1 else subject}, {places[0] if len(places) == 1 else where}: {words}"
        yield from (f"  {detail}" for detail in details)


def _counted(names: Sequence[str], noun: str, *, verbose: bool) -> str:
    """Return the number of *names* and the first of them, such as ``10 functions (a, b, c and 7 more)``."""
    shown = names if verbose or len(names) <= _SHOWN + 1 else names[:_SHOWN]
    more = f" and {len(names) - len(shown)} more" if len(shown) < len(names) else ""
    return f"{count(len(names), noun)} ({', '.join(shown)}{more})"
