"""What lamina asks of the supervisor: the two sides' common types, which cost nothing where they are not imported."""

from __future__ import annotations

from typing import NotRequired, TypedDict


class RootPlan(TypedDict):
    """What the new root holds."""

    root: str
    """An empty directory to mount it on."""
    binds: list[tuple[str, str]]
    """Host directory and the place where the function sees it; read-only."""
    empty: list[str]
    """Directories that the function must find empty."""
    host: bool
    """Whether the rest of the host is there too, and writable."""
    ephemeral_bytes: int
    """Size of ``/tmp``, unless it is the host's."""


class StartRequest(TypedDict):
    """What lamina asks for."""

    arguments: list[str]
    environment: dict[str, str]
    directory: str
    plan: NotRequired[RootPlan | None]
    """The root to run in; without one the program runs in the host's."""
    detached: bool
    """Whether the program is kept from the terminal, its signals, and the user's privileges."""
    memory_bytes: NotRequired[int | None]
    """Where the program is killed, as the sum over its processes."""
    file_descriptors: NotRequired[int]
