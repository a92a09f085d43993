"""Bring locked artifacts into the store: download them, or build them from source."""
