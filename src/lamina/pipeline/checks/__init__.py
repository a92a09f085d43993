"""Checks of finished layers and packages, one module per family of rules. A check returns findings."""
