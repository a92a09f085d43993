"""Propose a configuration from what a repository already says: its templates, its sources and its lock."""
