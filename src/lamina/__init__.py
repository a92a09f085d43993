"""Build AWS Lambda layers for Python services from the lock file they already have."""

from __future__ import annotations

__version__ = "0.1.0"
