"""The rules on pins of layers by ARN: each with a tree that fails, and the mended one."""

from __future__ import annotations

import datetime as dt
import hashlib
from base64 import b64encode
from typing import TYPE_CHECKING

import pytest

from externallayers import ARN, OTHER, layer_server, layer_zip
from lamina.archive.external import read_contents
from lamina.audit.check import check
from lamina.audit.inspection import Inspection
from lamina.cli.main import main
from lamina.core.frozen import replace
from lamina.core.reporter import SILENT
from lamina.core.store import Store
from lamina.core.values import Finding, Severity
from lamina.pipeline.build import build
from lamina.pipeline.cache import verify
from lamina.project.options import BuildOptions
from lamina.project.pinned import LOCK_NAME, PinnedLayer, write_pins
from services import make_service

if TYPE_CHECKING:
    from pathlib import Path

    from externallayers import LayerServer
    from services import Service

__all__ = ["layer_server"]

TOOLS = layer_zip({"python/tools.py": "", "extensions/agent": ""})


@pytest.fixture
def service(tmp_path: Path) -> Service:
    service = make_service(tmp_path)
    service.more["hello"] = f'layer-arns = ["{ARN}"]'
    service.settings["allow-layers"] = '[{ arn = "arn:aws:lambda:*:*:layer:*", reason = "bought" }]'
    return service


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "store")


def stored(store: Store, content: bytes, arn: str = ARN) -> PinnedLayer:
    """Store *content* as the zip of the layer *arn*, and return its pin."""
    digest = hashlib.sha256(content)
    path = store.entry("external", digest.hexdigest(), ".zip")
    with store.writing(path) as file:
        file.write(content)
    return PinnedLayer(
        arn=arn,
        code_sha256=b64encode(digest.digest()).decode(),
        code_size=len(content),
        contents=read_contents(path, name=arn),
    )


def find(service: Service, store: Store, *, aws: bool = False) -> list[Finding]:
    result = build(service.write(), BuildOptions(offline=True), store=store)
    inspection = Inspection(
        project=service.root,
        service=result.plan.service,
        builds=(result.build,),
        store=store,
        reporter=SILENT,
        today=dt.date(2026, 11, 28),
        aws=aws,
    )
    # Inspector is not asked, because no region is configured.
    return [each for each in check(inspection).findings if each.rule != "inspector-off"]


def test_a_pin_without_a_function(service: Service, store: Store) -> None:
    """A pin that no function needs is a warning at its line, and `lamina pin` removes it."""
    pins = [stored(store, TOOLS), stored(store, layer_zip({"extensions/other": ""}), OTHER)]
    write_pins(service.write(), pins)

    (finding,) = find(service, store)

    assert ("unused-pin", Severity.WARNING, LOCK_NAME) == (finding.rule, finding.severity, finding.file)
    assert finding.message == f"no function has the pinned layer `{OTHER}`; run `lamina pin`"
    lines = (service.root / LOCK_NAME).read_text().splitlines()
    assert lines[(finding.line or 0) - 1] == f'arn = "{OTHER}"'
    write_pins(service.root, pins[:1])
    assert find(service, store) == []
    for name, layers in service.more.items():
        service.more[name] = layers.replace("eu-west-1", "*")
    service.write()
    assert find(service, store) == []


def test_an_edited_pin(service: Service, store: Store) -> None:
    """A pin that does not describe the zip with its hash is an error, whatever was edited."""
    pin = stored(store, TOOLS)
    service.write()
    for edited, keys in (
        (replace(pin, code_size=pin.code_size + 1), "`code_size`"),
        (replace(pin, contents=replace(pin.contents, unzipped_bytes=1)), "`unzipped_bytes`"),
        (replace(pin, contents=replace(pin.contents, modules=("gone", "tools"))), "`modules`"),
        (
            replace(pin, contents=replace(pin.contents, unzipped_bytes=1, extensions=())),
            "`unzipped_bytes`, `extensions`",
        ),
    ):
        write_pins(service.root, [edited])
        (finding,) = find(service, store)
        assert ("external-layer-changed", Severity.ERROR) == (finding.rule, finding.severity)
        assert (LOCK_NAME, 5, "hello") == (finding.file, finding.line, finding.path)
        assert f"the entry of layer `{ARN}` has other {keys} than its zip; restore `{LOCK_NAME}`" in finding.message
    write_pins(service.root, [pin])
    assert find(service, store) == []


def test_a_damaged_zip_in_the_store(service: Service, store: Store) -> None:
    """A zip that was damaged after the download is no finding: it is deleted, and downloaded again when it is needed."""
    pin = stored(store, TOOLS)
    write_pins(service.write(), [pin])
    path = store.entry("external", pin.sha256, ".zip")
    path.write_bytes(TOOLS[:-1])

    assert find(service, store) == []
    assert not path.exists()


def test_the_store_verifies_zips(store: Store) -> None:
    """`lamina cache verify` finds a damaged zip, and keeps the others."""
    path = store.entry("external", stored(store, TOOLS).sha256, ".zip")
    assert verify(store) == ()
    path.write_bytes(TOOLS[:-1])
    (damage,) = verify(store)
    assert damage.path == path.relative_to(store.root)
    assert "its SHA-256 is" in damage.reason


def test_a_missing_pin_is_a_finding_of_the_build(service: Service, store: Store) -> None:
    """Without a pin, `check` reports what the build reports."""
    (finding,) = find(service, store)
    assert finding.rule == "layer-not-pinned"


def test_what_aws_has(service: Service, store: Store, layer_server: LayerServer) -> None:
    """With `--aws`, a version that AWS does not have, or has with another hash, is an error; without, nothing is asked."""
    pin = stored(store, TOOLS)
    write_pins(service.write(), [pin])
    assert find(service, store) == []
    assert layer_server.asked == []

    (finding,) = find(service, store, aws=True)
    assert ("external-layer-gone", LOCK_NAME, 5) == (finding.rule, finding.file, finding.line)
    layer_server.zips[ARN] = layer_zip({"python/other.py": ""})
    (finding,) = find(service, store, aws=True)
    assert ("external-layer-changed", Severity.ERROR) == (finding.rule, finding.severity)
    assert "a layer version never changes" in finding.message
    layer_server.zips[ARN] = TOOLS
    assert find(service, store, aws=True) == []
    assert [("eu-west-1", ARN)] * 3 == layer_server.asked


def test_an_invalid_file_is_an_error_of_the_check(service: Service) -> None:
    """A file that cannot be read stops the check with its mistakes."""
    (service.write() / LOCK_NAME).write_text("version = 1\n[[layer]]\narn = 1\n")

    assert main(["check", "--project", str(service.root)]) == 2
    assert main(["check", "--project", str(service.root), "--aws", "--offline"]) == 2
