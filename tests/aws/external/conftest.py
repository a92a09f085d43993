"""Provide the server of layers as a fixture."""

from __future__ import annotations

from externallayers import layer_server

__all__ = ["layer_server"]
