"""Read what pip's configuration files and environment say about indexes. Only reads; never runs pip."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["read_pip"]

_SECTIONS = ("global", "install")
_KEYS = ("index-url", "extra-index-url", "find-links", "no-index", "cert")


def read_pip(environment: Mapping[str, str]) -> dict[str, str]:
    """
    Return pip's effective values of the keys that concern indexes: the environment's over the files'.

    Raises `ConfigError` if a file cannot be parsed.
    Levels and their order: pip's documentation, "Configuration" (checked 2026-11).
    """
    values: dict[str, str] = {}
    for path in _files(environment):
        values |= _read(path)
    for key in _KEYS:
        if value := environment.get("PIP_" + key.upper().replace("-", "_")):
            values[key] = value
    return values


def _files(environment: Mapping[str, str]) -> Iterator[Path]:
    """Yield the configuration files that may exist, the weakest first."""
    explicit = environment.get("PIP_CONFIG_FILE")
    if explicit == os.devnull:
        return
    yield from _global_files(environment)
    if not (explicit and Path(explicit).exists()):
        yield from _user_files(environment)
    name = "pip.ini" if sys.platform == "win32" else "pip.conf"
    yield Path(environment.get("VIRTUAL_ENV") or sys.prefix, name)
    if explicit:
        yield Path(explicit)


def _global_files(environment: Mapping[str, str]) -> Iterator[Path]:
    if sys.platform == "win32":
        yield Path(environment.get("ProgramData", "C:\\ProgramData"), "pip", "pip.ini")
        return
    if sys.platform == "darwin":
        yield Path("/Library/Application Support/pip/pip.conf")
    for base in reversed((environment.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(os.pathsep)):
        yield Path(base, "pip", "pip.conf")
    yield Path("/etc/pip.conf")


def _user_files(environment: Mapping[str, str]) -> Iterator[Path]:
    home = Path(environment.get("HOME") or Path.home())
    if sys.platform == "win32":
        yield home / "pip" / "pip.ini"
        yield Path(environment.get("APPDATA") or home / "AppData" / "Roaming", "pip", "pip.ini")
        return
    yield home / ".pip" / "pip.conf"
    support = home / "Library" / "Application Support" / "pip"
    if sys.platform == "darwin" and support.is_dir():
        yield support / "pip.conf"
    else:
        yield Path(environment.get("XDG_CONFIG_HOME") or home / ".config", "pip", "pip.conf")


def _read(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    import configparser  # noqa: PLC0415  # most of the files are not there

    parser = configparser.RawConfigParser()
    try:
        parser.read(path, encoding="utf-8")
    except (configparser.Error, UnicodeDecodeError) as error:
        # The parser's message quotes the line, which may hold a password.
        where = f": line {line}" if (line := getattr(error, "lineno", None)) else ""
        raise ConfigError(f"`{path}` is not a pip configuration file{where}") from None
    found: dict[str, str] = {}
    for section in _SECTIONS:
        if parser.has_section(section):
            for key, value in parser.items(section):
                spelled = key.removeprefix("--").replace("_", "-")
                if spelled in _KEYS:
                    found[spelled] = value
    return found
