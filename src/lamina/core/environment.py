"""
Choose the environment variables of lamina's own helper processes.

The code of a build runs as the same user, and can therefore read the variables of these processes from ``/proc``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

SYSTEM = (
    "PATH HOME USER LOGNAME SHELL LANG LANGUAGE LC_.* TZ PYENV_ROOT LD_LIBRARY_PATH DYLD_.* "
    "SYSTEMROOT SYSTEMDRIVE WINDIR COMSPEC PATHEXT TEMP TMP USERPROFILE APPDATA LOCALAPPDATA PROGRAMDATA PROGRAMFILES.* "
    "NUMBER_OF_PROCESSORS PROCESSOR_.*"
)
"""Expressions for the variables that programs need to run: no credentials, and no settings of lamina or of a CI job."""

_KEPT = re.compile("|".join(SYSTEM.split()), re.IGNORECASE)


def bare_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of *environ* that any program needs to run."""
    return {name: value for name, value in environ.items() if _KEPT.fullmatch(name)}
