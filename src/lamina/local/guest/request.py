"""Types of the request that lamina sends to the supervisor. The supervisor imports them only for type checking, to start faster."""

from __future__ import annotations

from typing import NotRequired, TypedDict


class RootPlan(TypedDict):
    """The content of the root directory of a function's environment."""

    root: str
    """An empty host directory, the mount point of the new root."""
    binds: list[tuple[str, str]]
    """Pairs of a host directory and its path in the new root, mounted read-only."""
    empty: list[str]
    """Paths in the new root that an empty directory hides."""
    host: bool
    """Whether all other directories of the host are included, writable."""
    ephemeral_bytes: int
    """Size of ``/tmp`` in bytes; unused if *host* is set, because ``/tmp`` is then the host's."""


class StartRequest(TypedDict):
    """The program to start, and the limits and environment to start it with."""

    arguments: list[str]
    environment: dict[str, str]
    directory: str
    plan: NotRequired[RootPlan | None]
    """The root directory to build for the program; without it, the program runs in the host's."""
    detached: bool
    """Whether the program runs without the terminal, the terminal's signals and the user's privileges."""
    memory_bytes: NotRequired[int | None]
    """The program is killed if its processes together use more memory than this."""
    file_descriptors: NotRequired[int]
