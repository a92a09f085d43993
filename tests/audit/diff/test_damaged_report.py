"""A build report of another machine may be damaged: whatever one of its values is, it is compared or refused."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from lamina.audit.diff.compare import compare
from lamina.audit.diff.document import document
from lamina.audit.diff.markdown import render
from lamina.audit.diff.sides import SideRequest, open_side
from lamina.audit.diff.text import lines
from lamina.core.errors import ConfigError
from lamina.core.reporter import SILENT
from lamina.core.store import Store
from lamina.pipeline import report
from lamina.project.options import BuildOptions
from pipeline.test_report import build_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

VALUES: tuple[Any, ...] = (None, True, -1, 1.5, 10**400, "x", "\ud800", "a\0b", [], {}, [[]], [None], {"a": "b"})


def _places(value: Any, *above: str | int) -> Iterator[tuple[str | int, ...]]:
    """Yield the place of each value in *value*."""
    yield above
    rows = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in rows:
        yield from _places(each, *above, key)


def _damaged(whole: Any) -> Iterator[Any]:
    """Yield copies of *whole*, each with another value in one place, or without it."""
    for *above, key in filter(None, _places(whole)):
        for value in (*VALUES, _damaged):
            changed = deepcopy(whole)
            place = changed
            for each in above:
                place = place[each]
            if value is _damaged:
                del place[key]
            else:
                place[key] = value
            yield changed


def test_every_value(tmp_path: Path) -> None:
    """No value of a report is an internal error, whichever type or size it has."""
    request = SideRequest(
        project=tmp_path,
        options=BuildOptions(),
        store=Store.open(tmp_path / "store"),
        team_store=lambda *_: None,  # type: ignore[arg-type]
        reporter=SILENT,
    )
    path = tmp_path / "report.json"
    whole = json.loads(json.dumps(report.document(build_of(tmp_path), project=tmp_path)))
    path.write_text(json.dumps(whole))
    intact = open_side(str(path), request)
    refused = compared = 0
    for damaged in _damaged(whole):
        path.write_text(json.dumps(damaged))
        try:
            changes = compare(intact, open_side(str(path), request))
        except ConfigError:
            refused += 1
        else:
            json.dumps(document(changes))
            "\n".join(lines(changes)).encode()
            render(changes).encode()
            compared += 1

    assert refused > compared > 0
