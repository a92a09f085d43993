"""Find the directory of the store, for the store itself and for the errors about files in it."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def default_root() -> Path:
    """Return ``$LAMINA_CACHE_DIR`` if it is set, or lamina's directory in the user's cache directory."""
    if explicit := os.environ.get("LAMINA_CACHE_DIR"):
        return Path(explicit)
    if sys.platform == "linux":
        # The rule of the XDG base directory specification, which platformdirs follows too. Importing platformdirs
        # takes as long as a whole build with nothing to do.
        base = os.environ.get("XDG_CACHE_HOME", "").strip()
        return Path(base if os.path.isabs(base) else os.path.expanduser("~/.cache"), "lamina")
    from platformdirs import user_cache_path  # slow to import, and unused on Linux

    return user_cache_path("lamina", appauthor=False)
