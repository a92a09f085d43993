"""Write the files that a command line names."""

from __future__ import annotations

from pathlib import Path

from lamina.core.errors import ConfigError
from lamina.core.files import replace_file

__all__ = ["write_file"]


def write_file(name: str, content: bytes) -> None:
    """Write *content* to the file *name*, atomically where it is a plain one; raises ConfigError where that cannot be."""
    path = Path(name)
    try:
        if path.exists() and not path.is_file():
            # A device or a pipe, such as /dev/stdout, is written to; replacing it would take it from everybody else.
            path.write_bytes(content)
        else:
            # A link stays one.
            replace_file(path.resolve(), content)
    except OSError as error:
        raise ConfigError(f"`{name}` cannot be written: {error.strerror}") from error
