"""
Decide whether the store can be trusted: those who can write to it can change what a build produces.

- A store that everybody can write to is refused, unless a parent directory keeps everybody out. The sticky bit does not help: it
  prevents that others delete files, but not that they add some.
- A store that a group can write to is used. On many systems each user has an own group, and teams share a store through a group.
- A store of another user is used with a warning: caches that CI restores and mounted directories of containers have such owners. The
  administrator can change everything anyway, so a store of root needs no warning.
"""

from __future__ import annotations

import os
import shlex
import stat
import sys
from typing import TYPE_CHECKING

from lamina.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# The areas of the store and their directories. The files in these prove their content, and have names that no one can foresee.
_LEVELS = 2
# uv makes its lock writable for everybody, whatever the umask is, and reads nothing from it.
_LOCK = ".lock"


def require_private(root: Path) -> None:
    """
    Raise `ConfigError` if everybody can write to the store *root*, one of its areas, their directories or a file beside these.

    A missing store is private.
    """
    if sys.platform == "win32":
        return
    try:
        inside = list(_inside(str(root), levels=_LEVELS))
        places = [(str(root), os.stat(root).st_mode), *sorted(inside)]
    except OSError:
        # The commands that use the store report why that is impossible.
        return
    found = next((each for each in places if each[1] & stat.S_IWOTH and not stat.S_ISLNK(each[1])), None)
    if found is None or _is_reached_by_its_owner_only(root):
        return
    path, mode = found
    raise ConfigError(
        f"everybody on this machine can write to `{path}`, so the store `{root}` cannot be trusted",
        hint=_another(root)
        if mode & stat.S_ISVTX or os.geteuid() not in {0, os.stat(root).st_uid}
        else f"run `chmod -R o-w {shlex.quote(str(root))}`",
    )


def _inside(directory: str, *, levels: int) -> Iterator[tuple[str, int]]:
    """Yield the path and mode of what is in *directory* and, down to *levels*, in its directories."""
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.name == _LOCK and entry.is_file(follow_symlinks=False):
                continue
            mode = entry.stat(follow_symlinks=False).st_mode
            yield entry.path, mode
            if levels > 1 and stat.S_ISDIR(mode):
                yield from _inside(entry.path, levels=levels - 1)


def foreign_owner(root: Path) -> int | None:
    """Return the number of the user that owns the store *root*, unless it is missing or belongs to this user or to root."""
    if sys.platform == "win32":
        return None
    try:
        owner = os.stat(root).st_uid
    except OSError:
        return None
    return None if owner in {0, os.geteuid()} else owner


def taking_over(root: Path) -> str:
    """Return the command that makes the store *root* one of this user."""
    return f'chown -R "$(id -u)" {shlex.quote(str(root))}'


def _another(root: Path) -> str:
    # The directory may be one for everybody, such as /tmp.
    own = root / f"lamina-{os.geteuid()}"
    return f"set `LAMINA_CACHE_DIR`, the location of the store, to a directory of your own: `export LAMINA_CACHE_DIR={shlex.quote(str(own))}`"


def _is_reached_by_its_owner_only(root: Path) -> bool:
    """Return whether a parent directory of *root* keeps everybody out."""
    parents = os.path.realpath(root).split(os.sep)[:-1]
    paths = [os.sep.join(parents[: number + 1]) or os.sep for number in range(len(parents))]
    return any(not os.stat(path).st_mode & stat.S_IXOTH for path in paths)
