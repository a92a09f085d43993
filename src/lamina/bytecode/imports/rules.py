"""List imports that are not visible in sources. Only this module reads ``data/dynamic_imports.toml``."""

from __future__ import annotations

from lamina.core.files import file_sha256
from lamina.core.frozen import frozen
from lamina.core.toml import data_path, read_data

_DATA = "dynamic_imports.toml"


@frozen
class ImportRule:
    """The imports of a module that are not visible in its source."""

    module: str
    """The importing module. The rule applies only if a handler can import this module."""
    imports: tuple[str, ...] = ()
    entry_points: tuple[str, ...] = ()
    """The entry point groups that the module loads."""
    reason: str


def rules() -> tuple[ImportRule, ...]:
    """Return all rules, in file order."""
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
"""The distribution name that marks the service's own code."""


RECIPE = 5
"""The version of the scanning code. Raise it whenever the code finds or describes other imports in the same source."""


def version() -> str:
    """Return a text that changes with the scanning code and with the rules, because both change the imports found."""
    return f"{RECIPE}:{file_sha256(data_path(_DATA))}"
