"""Emulated AWS for the tests of `lamina publish`."""

from __future__ import annotations

from emulators import ministack, ministack_server

__all__ = ["ministack", "ministack_server"]
