"""What is known of the sandbox's server; the facts are in ``data/sandbox.toml``, and this module is their only reader."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from lamina.core.toml import read_data

__all__ = ["ServerFacts", "facts"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerFacts:
    """How the server is installed, started and asked."""

    requirement: str
    """What an installer takes."""
    module: str
    """Has a function ``main``."""
    health: str
    """The path that answers once the server is ready."""
    services: tuple[str, ...]
    """The emulated services to be loaded, by the server's names."""


@cache
def facts() -> ServerFacts:
    """Return what is known of the server."""
    table = read_data("sandbox.toml")["server"]
    return ServerFacts(
        requirement=table["requirement"],
        module=table["module"],
        health=table["health"],
        services=tuple(table["services"]),
    )
