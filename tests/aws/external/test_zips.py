"""Downloads of layers by ARN."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from externallayers import ARN, base64_sha256
from lamina.aws.api.external import ExternalLayers, ExternalVersion
from lamina.aws.external.zips import download
from lamina.core.errors import IntegrityError
from lamina.core.reporter import SILENT
from lamina.core.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Endless(ExternalLayers):
    """Layers whose zips are much longer than Lambda states."""

    def __init__(self) -> None:
        """Make no requests."""
        self.sent = 0

    def download(self, version: ExternalVersion) -> Iterator[bytes]:
        """Yield the stated size a hundred times."""
        while self.sent < 100:
            self.sent += 1
            yield b"x" * version.code_bytes


def test_a_download_stops_after_the_stated_size(tmp_path: Path) -> None:
    """A server that sends without end does not fill the disk."""
    layers = Endless()
    version = ExternalVersion(
        arn=ARN,
        code_sha256=base64_sha256(b"x" * 10),
        code_bytes=10,
        location="",
        runtimes=(),
        architectures=(),
        license=None,
    )

    with pytest.raises(IntegrityError):
        download(version, layers, Store(tmp_path / "store"), SILENT)

    assert 2 == layers.sent
