"""Provide the emulators of AWS as fixtures for the tests of `lamina.aws`."""

from __future__ import annotations

from emulators import ministack, ministack_server, moto, moto_server

__all__ = ["ministack", "ministack_server", "moto", "moto_server"]
