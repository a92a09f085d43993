"""Build AWS Lambda layers for Python services from their lock file."""

from __future__ import annotations

__version__ = "0.1.0"
