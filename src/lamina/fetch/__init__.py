"""Add locked artifacts to the store: download them, or build them from source."""
