"""Know which packages import what no source says; the only reader of ``data/dynamic_imports.toml``."""

from __future__ import annotations

from lamina.core.files import file_sha256
from lamina.core.frozen import frozen
from lamina.core.toml import data_path, read_data

_DATA = "dynamic_imports.toml"


@frozen
class ImportRule:
    """What the module imports beyond what its source says."""

    module: str
    """The rule holds once this module is reached."""
    imports: tuple[str, ...] = ()
    entry_points: tuple[str, ...] = ()
    """Groups whose entry points it loads."""
    reason: str


def rules() -> tuple[ImportRule, ...]:
    """Return all rules, in the order of the file."""
    return tuple(
        ImportRule(
            module=row["module"],
            imports=tuple(row.get("imports", ())),
            entry_points=tuple(row.get("entry_points", ())),
            reason=row["reason"],
        )
        for row in read_data(_DATA)["rule"]
    )


FIRST_PARTY = ""
"""Stands for the service's own code where a distribution's name is asked for."""


RECIPE = 2
"""Number of the way modules are read. Whatever changes what is found in the same source raises it."""


def version() -> str:
    """Return what decides the answer beside the code that is read: this package's own rules."""
    return f"{RECIPE}:{file_sha256(data_path(_DATA))}"
