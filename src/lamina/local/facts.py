"""What is known of Lambda's execution environment; the only reader of ``data/local.toml``."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from functools import cache

from lamina.core.toml import read_data


@dataclass(frozen=True, kw_only=True, slots=True)
class Directories:
    """Where a function finds things."""

    task: str
    runtime: str
    opt: str
    lang: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Variable:
    """One environment variable that Lambda sets."""

    name: str
    template: str
    reserved: bool
    """Whether a function's configuration may not set it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What Lambda does not let a function exceed, beyond its own memory and timeout."""

    event_bytes: int
    response_bytes: int
    init_seconds: float
    ephemeral_mb: int
    file_descriptors: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """Everything in ``data/local.toml``, checked."""

    directories: Directories
    variables: tuple[Variable, ...]
    limits: Limits
    credentials: tuple[str, ...]
    """Names of the variables that hold credentials, reserved as well."""
    companions: tuple[str, ...]
    """Names of the variables that belong to credentials without being secret."""
    region: str
    account: str
    version: str
    bills_initialisation: bool
    signals: dict[int, str]
    """How Lambda words each signal that ends a runtime."""

    @property
    def reserved(self) -> frozenset[str]:
        """Names that a function's configuration may not set."""
        return frozenset(self.credentials) | {entry.name for entry in self.variables if entry.reserved}


@cache
def facts() -> Facts:
    """Return the facts; they are read once."""
    data = read_data("local.toml")
    return Facts(
        directories=Directories(**{row["name"]: row["path"] for row in data["directory"]}),
        variables=tuple(
            Variable(name=name, template=template, reserved=table["reserved"])
            for table in data["variables"]
            for name, template in table["values"].items()
        ),
        limits=Limits(**{row["name"]: row["value"] for row in data["limit"]}),
        credentials=tuple(data["credentials"]["names"]),
        companions=tuple(data["credentials"]["companions"]),
        **data["placeholder"],
        bills_initialisation=data["billing"]["initialisation"],
        signals={
            getattr(signal, name).value: words for name, words in data["signals"].items() if hasattr(signal, name)
        },
    )
