"""Types of the request that lamina sends to the supervisor. The supervisor imports them only for type checking, to start faster."""

from __future__ import annotations

from typing import NotRequired, TypedDict


class RootPlan(TypedDict):
    """The content of the root directory of a function's environment."""

    root: str
    """An empty directory of the host, used as the mount point of the new root."""
    binds: list[tuple[str, str]]
    """Pairs of a host directory and its path in the new root, mounted read-only."""
    empty: list[str]
    """Directories in the new root whose content is hidden."""
    host: bool
    """Whether to include all other directories of the host, writable. Otherwise, only its system directories are included, read-only."""
    ephemeral_bytes: int
    """Size of ``/tmp`` in bytes; unused if *host* is set, because ``/tmp`` is then the host's."""


class StartRequest(TypedDict):
    """The program to start, and the limits and environment to start it with."""

    arguments: list[str]
    environment: dict[str, str]
    directory: str
    plan: NotRequired[RootPlan | None]
    """The root directory to build for the program; without it, the program uses the host's root directory."""
    detached: bool
    """Whether the program runs without the terminal, the terminal's signals and the user's privileges."""
    privileged: NotRequired[bool]
    """Whether a detached program keeps the user's privileges."""
    memory_bytes: NotRequired[int | None]
    """The program is killed if its processes together use more memory than this; ``None`` for no limit."""
    file_descriptors: NotRequired[int]
