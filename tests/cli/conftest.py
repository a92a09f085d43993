"""Share the emulated AWS with the tests of the commands."""

from __future__ import annotations

from emulators import ministack, ministack_server

__all__ = ["ministack", "ministack_server"]
