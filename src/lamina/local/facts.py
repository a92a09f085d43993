"""Properties of Lambda's execution environment, read from ``data/local.toml``. No other module reads that file."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from functools import cache

from lamina.core.toml import read_data


@dataclass(frozen=True, kw_only=True, slots=True)
class Directories:
    """The directories of a function's environment: its package (*task*), the runtime client, the layers (*opt*) and the interpreter (*lang*)."""

    task: str
    runtime: str
    opt: str
    lang: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Variable:
    """An environment variable that Lambda sets, and the template of its value."""

    name: str
    template: str
    reserved: bool
    """Whether Lambda rejects a function's configuration that sets this variable."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """Lambda's limits that apply to every function. Memory and timeout are configured for each function."""

    event_bytes: int
    response_bytes: int
    init_seconds: float
    ephemeral_mb: int
    file_descriptors: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """The content of ``data/local.toml``."""

    directories: Directories
    variables: tuple[Variable, ...]
    limits: Limits
    credentials: tuple[str, ...]
    """Names of the environment variables that contain credentials; Lambda reserves them."""
    companions: tuple[str, ...]
    """Names of the environment variables that contain the region. lamina passes them to a function together with credentials."""
    region: str
    account: str
    version: str
    bills_initialisation: bool
    signals: dict[int, str]
    """Lambda's description of each signal that can end a runtime, by signal number."""

    @property
    def reserved(self) -> frozenset[str]:
        """Names of all environment variables that a function's configuration must not set."""
        return frozenset(self.credentials) | {entry.name for entry in self.variables if entry.reserved}


@cache
def facts() -> Facts:
    """Return the content of ``data/local.toml``; the file is read once."""
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
        **{name: data["placeholder"][name] for name in ("region", "account", "version")},
        bills_initialisation=data["billing"]["initialisation"],
        signals={
            getattr(signal, name).value: words
            for name, words in data["signals"]["names"].items()
            if hasattr(signal, name)
        },
    )
