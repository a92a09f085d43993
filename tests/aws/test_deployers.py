"""Two deployers of the same functions at the same time."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from deployers import Deployers, run

if TYPE_CHECKING:
    from pathlib import Path

    from emulators import Emulator


def test_two_deployers_at_once(tmp_path: Path, ministack: Emulator) -> None:
    """One deployer waits for the other, and the result is one whole deployment. `make deployers` does more of this."""
    assert ministack.url == os.environ["AWS_ENDPOINT_URL"]
    created, updated = run(Deployers(tmp_path, os.environ, functions=3), 2)

    assert () == created.problems + updated.problems
    assert [(0, 0)] * 2 == [created.codes, updated.codes]
