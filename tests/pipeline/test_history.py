"""The history of builds: a row for each build that changed a zip, bounded, and proved by its checksum."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from lamina.pipeline import history, report
from lamina.pipeline.build import build
from lamina.pipeline.history import HISTORY_FILE, identity, read_history
from lamina.project.options import BuildOptions
from services import Service, make_service

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Service:
    """Return a service with a history of one build."""
    monkeypatch.setenv("LAMINA_CACHE_DIR", str(tmp_path / "store"))
    service = make_service(tmp_path / "project")
    build(service.write(), BuildOptions())
    return service


def _edit(service: Service, number: int) -> None:
    (service.root / "service/handlers/hello.py").write_text(
        f"NUMBER = {number}\ndef lambda_handler(event, context): ...\n"
    )
    build(service.root, BuildOptions())


def test_row_is_of_the_build(service: Service) -> None:
    """The row has the sizes of the build report, and identifies the zips of this build only."""
    built = report.read(service.root)
    [row] = read_history(service.root)

    assert identity([built]) == row.zips
    assert [(each.name, each.digest, each.zipped_bytes) for each in built.layers] == [
        (each.name, each.digest, each.zipped_bytes) for each in row.layers
    ]
    assert built.packages[0].zipped_bytes == row.functions_zipped_bytes
    _edit(service, 1)
    assert identity([built]) != identity([report.read(service.root)]) == read_history(service.root)[-1].zips


def test_only_changed_zips_get_a_row(service: Service) -> None:
    """A build with nothing to do does not touch the history, nor does one that makes the same bytes again."""
    path = service.root / HISTORY_FILE
    before = path.stat()
    build(service.root, BuildOptions())
    (service.root / ".lamina/build.json").unlink()
    build(service.root, BuildOptions())

    assert (before.st_mtime_ns, before.st_ino) == (path.stat().st_mtime_ns, path.stat().st_ino)


def test_bounded(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest rows are dropped."""
    monkeypatch.setattr(history, "_MOST_ROWS", 2)
    first = read_history(service.root)[0]
    for number in range(2):
        _edit(service, number)
    rows = read_history(service.root)

    assert 2 == len(rows)
    assert first not in rows
    assert rows[0].built <= rows[1].built


def test_damaged_rows_are_left_out(service: Service) -> None:
    """A row that lamina did not write is ignored, and the next build keeps the others."""
    path = service.root / HISTORY_FILE
    [row] = read_history(service.root)
    forged = json.dumps({**json.loads(path.read_bytes()), "functions": "<script>"})
    path.write_bytes(b"\xff\n" + path.read_bytes() + f"{forged}\n[]\n".encode())

    assert (row,) == read_history(service.root)
    _edit(service, 1)
    assert row == read_history(service.root)[0]
    assert 2 == len(path.read_bytes().splitlines())
