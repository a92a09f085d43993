"""The profile of imports is read and written."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from lamina.core.errors import ConfigError
from lamina.project.profile import record

if TYPE_CHECKING:
    from pathlib import Path


def test_merged(tmp_path: Path) -> None:
    """Recording adds modules unless *fresh* is set, sorts names, and does not rewrite an unchanged file."""
    record(tmp_path, {"b": frozenset({"y", "x"}), "a": frozenset({"z"})})
    path = record(tmp_path, {"b": frozenset({"w"})})

    expected = {"version": "1", "functions": {"a": {"modules": ["z"]}, "b": {"modules": ["w", "x", "y"]}}}
    assert expected == json.loads(path.read_text())
    before = path.stat().st_ino
    record(tmp_path, {})
    assert before == path.stat().st_ino
    record(tmp_path, {"b": frozenset({"w"})}, fresh=True)
    assert {"version": "1", "functions": {"b": {"modules": ["w"]}}} == json.loads(path.read_text())


def test_unreadable(tmp_path: Path) -> None:
    """An invalid profile is an error, and is overwritten only with *fresh*."""
    path = tmp_path / "lamina-profile.json"
    path.write_text('{"version": "9"}')
    with pytest.raises(ConfigError) as raised:
        record(tmp_path, {})

    assert f"`{path}` is not a valid import profile" == str(raised.value)
    record(tmp_path, {"a": frozenset()}, fresh=True)
    assert {"version": "1", "functions": {"a": {"modules": []}}} == json.loads(path.read_text())
