"""Downloads of layers by ARN."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from externallayers import ARN, OTHER, base64_sha256
from externallayers import layer_zip as zip_of
from lamina.aws.api.external import ExternalLayers, ExternalVersion
from lamina.aws.external.zips import download, layer_zip
from lamina.core.errors import ConfigError, IntegrityError, OfflineError
from lamina.core.reporter import SILENT
from lamina.core.store import Store
from lamina.project.pinned import ExternalContents, PinnedLayer, write_pins

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from externallayers import LayerServer
    from lamina.aws.external.zips import DownloadedLayer


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


TOOLS = zip_of({"python/tools.py": ""})


def _pinned(project: Path, content: bytes) -> None:
    pin = PinnedLayer(
        arn=ARN,
        code_sha256=base64_sha256(content),
        code_size=len(content),
        contents=ExternalContents(unzipped_bytes=1),
        runtimes=("python3.13",),
    )
    write_pins(project, [pin])


def _zip(project: Path, arn: str = ARN, *, offline: bool = False) -> DownloadedLayer:
    return layer_zip(arn, project, store=Store.open(project / "store"), offline=offline, reporter=SILENT)


def test_a_pinned_layer(tmp_path: Path, layer_server: LayerServer) -> None:
    """The zip of a pinned layer is downloaded once, and is then used without AWS."""
    _pinned(tmp_path, TOOLS)
    layer_server.zips = {ARN: TOOLS}
    with pytest.raises(OfflineError, match="is not in the store"):
        _zip(tmp_path, offline=True)

    first, second = _zip(tmp_path), _zip(tmp_path, offline=True)

    assert first == second
    assert (TOOLS, ("python3.13",)) == (first.path.read_bytes(), first.runtimes)
    assert 1 == len(layer_server.asked)


def test_another_layer_than_the_pinned_one(tmp_path: Path, layer_server: LayerServer) -> None:
    """Content that differs from the pin is refused, whichever command asks."""
    _pinned(tmp_path, TOOLS)
    layer_server.zips = {ARN: zip_of({"python/evil.py": ""})}

    with pytest.raises(IntegrityError, match="is not the pinned one"):
        _zip(tmp_path)

    assert not layer_server.downloads


def test_a_layer_without_a_pin(tmp_path: Path, layer_server: LayerServer) -> None:
    """AWS is asked for the hash of a layer that is not pinned, and the zip is downloaded once."""
    _pinned(tmp_path, TOOLS)
    layer_server.zips = {OTHER: TOOLS}
    with pytest.raises(OfflineError, match="is not pinned"):
        _zip(tmp_path, OTHER, offline=True)

    assert _zip(tmp_path, OTHER) == _zip(tmp_path, OTHER)

    assert (2, 1) == (len(layer_server.asked), len(layer_server.downloads))


@pytest.mark.parametrize(
    ("arn", "message"),
    [
        (ARN.rpartition(":")[0], "names a layer, not one of its versions"),
        (ARN.replace("eu-west-1", "*"), "is not the ARN of a layer version"),
        ("arn:aws:s3:::bucket", "is not the ARN of a layer version"),
    ],
)
def test_no_layer_version(tmp_path: Path, arn: str, message: str) -> None:
    """Only a whole ARN names one zip."""
    with pytest.raises(ConfigError, match=message):
        _zip(tmp_path, arn)
