"""Name the package index that pip and uv use by default, which is a fact in ``data/index.toml``."""

from __future__ import annotations

from lamina.core.toml import read_data


def default_index() -> str:
    """Return the URL of the index that pip and uv use by default."""
    default = read_data("index.toml")["default"]
    return f"{default['scheme']}://{'.'.join(default['host'])}{default['path']}"
