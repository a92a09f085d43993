"""
Decide whether to follow a symbolic link of a service's sources or of a local package.

A link that leads out of the project could add any file of the machine, such as ``/etc/shadow``, and one that leads to a file that is
left out, such as ``.env``, would add it under another name.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.core.frozen import frozen
from lamina.project.ignore import guard_of, rule_for, strictest

if TYPE_CHECKING:
    from collections.abc import Container, Iterable

    from lamina.project.ignore import IgnoreRule


@frozen
class LinkTarget:
    """Where a symbolic link leads, and what speaks against following it."""

    path: str
    """The target relative to the directory that contains it, with ``/``; empty if there is a problem."""
    problem: str | None = None
    """Why the link is an error, such as ``is a broken symbolic link``."""
    rule: IgnoreRule | None = None
    """The rule that leaves out the target and that no glob overrides, if any."""


def link_target(link: Path, roots: Iterable[str], above: Container[str] = ()) -> LinkTarget:
    """
    Return where the symbolic *link* leads. It may lead into one of *roots*, but not to one of the directories *above* it.

    *roots* and *above* are real paths. Links to links are resolved to the end.
    """
    real = os.path.realpath(link)
    root = next((root for root in roots if Path(real).is_relative_to(root)), None)
    if not os.path.exists(real):
        return LinkTarget(path="", problem="is a broken symbolic link")
    if root is None:
        return LinkTarget(path="", problem="is a symbolic link out of the project")
    if real in above:
        return LinkTarget(path="", problem="is a symbolic link to one of its parent directories")
    parts = Path(real).relative_to(root).parts
    own = rule_for(parts[-1], is_directory=os.path.isdir(real), above=parts[:-1]) if parts else None
    rule = strictest(guard_of(parts[:-1]), own)
    return LinkTarget(path="/".join(parts), rule=rule if rule is not None and rule.is_guard else None)
