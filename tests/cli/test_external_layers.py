"""Functions with pinned layers by ARN run with them: from the store, or downloaded with the pinned hash."""

from __future__ import annotations

import json
import shutil
import sys
from typing import TYPE_CHECKING

import pytest

from built import MINOR
from externallayers import ARN, OTHER, layer_server, layer_zip
from lamina.bytecode.interpreter import environment_variable
from lamina.cli.main import main
from services import make_service

if TYPE_CHECKING:
    from pathlib import Path

    from externallayers import LayerServer
    from services import Service

__all__ = ["layer_server"]

TOOLS = layer_zip(
    {
        "python/tools.py": "NAME = 'layer'\n",
        "python/alpha/__init__.py": "VALUE = 'of the other layer'\n",
        f"python/lib/python{MINOR}/site-packages/fast.py": "NAME = 'fast'\n",
        "wrap": '#!/bin/sh\nWRAPPED=yes exec "$@"\n',
    }
)
SOURCE = """
import os
import alpha, fast, tools
def handler(event, context):
    return [tools.NAME, fast.NAME, alpha.VALUE, os.environ.get("WRAPPED"), "/opt" in tools.__file__]
"""


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Service:
    """Return a service whose function has a layer by ARN."""
    monkeypatch.setenv("LAMINA_CACHE_DIR", str(tmp_path / "store"))
    monkeypatch.setenv(environment_variable(sys.version_info[:2]), sys.executable)
    service = make_service(tmp_path)
    service.requires_python = f">={MINOR}"
    service.settings["runtime"] = f'"python{MINOR}"'
    service.settings["source"] = '["app/*"]'
    service.settings["allow-layers"] = '[{ arn = "arn:aws:lambda:*:*:layer:*", reason = "bought" }]'
    service.functions = {"f": "main.handler"}
    service.more["f"] = f'layer-arns = ["{ARN}"]'
    (service.root / "app").mkdir(parents=True)
    (service.root / "app" / "main.py").write_text(SOURCE)
    service.write()
    return service


def lamina(service: Service, command: str, *words: str) -> int:
    return main([command, "--project", str(service.root), *words])


@pytest.mark.parametrize("mode", ["auto", "path"])
def test_invoke(service: Service, layer_server: LayerServer, capsys: pytest.CaptureFixture[str], mode: str) -> None:
    """The layer is merged under the service's own, which wins, and its wrapper runs."""
    layer_server.zips[ARN] = TOOLS
    assert lamina(service, "pin") == 0
    layer_server.asked.clear()
    wrapper = ["--env", "AWS_LAMBDA_EXEC_WRAPPER=/opt/wrap"] if mode == "auto" else []
    capsys.readouterr()

    assert lamina(service, "invoke", "f", "--mode", mode, *wrapper) == 0

    result = json.loads(capsys.readouterr().out)
    assert ["layer", "fast", 1] == result[:3]
    assert result[3] == ("yes" if wrapper else None)
    assert layer_server.asked == []


def test_run_and_coldstart(service: Service, layer_server: LayerServer, capsys: pytest.CaptureFixture[str]) -> None:
    """Commands and measurements have the layer, too."""
    layer_server.zips[ARN] = TOOLS
    lamina(service, "pin")
    capsys.readouterr()

    assert lamina(service, "run", "--", "python", "-c", "import tools, fast; assert tools.NAME == 'layer'") == 0
    assert lamina(service, "coldstart", "--repeat", "1", "--json") == 0
    assert '"f"' in capsys.readouterr().out


def test_a_zip_that_is_not_in_the_store(
    service: Service, layer_server: LayerServer, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The zip is downloaded again, with the pinned hash; offline, the error says how."""
    layer_server.zips[ARN] = TOOLS
    lamina(service, "pin")
    assert lamina(service, "build") == 0
    shutil.rmtree(tmp_path / "store" / "external")
    capsys.readouterr()

    assert lamina(service, "invoke", "f", "--offline") == 4
    message = capsys.readouterr().err
    assert f"error: layer `{ARN}` is not in the store, and `--offline` prevents the download\n" in message
    assert "hint: run the command once without `--offline`\n" in message

    layer_server.zips[ARN] = layer_zip({"python/tools.py": "NAME = 'another'\n"})
    assert lamina(service, "invoke", "f") == 6
    assert f"error: layer `{ARN}` is not the pinned one" in capsys.readouterr().err

    layer_server.zips[ARN] = TOOLS
    assert lamina(service, "invoke", "f") == 0
    assert [ARN, ARN] == layer_server.downloads
    path = next((tmp_path / "store" / "external").rglob("*.zip"))
    path.write_bytes(b"damaged")
    assert lamina(service, "invoke", "f") == 0
    assert path.read_bytes() == TOOLS


def test_a_layer_that_is_not_pinned(
    service: Service, layer_server: LayerServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """A function runs without it, and a note has the command; AWS is not asked."""
    (service.root / "app" / "main.py").write_text("def handler(event, context):\n    return 1\n")
    service.more["f"] = f'layer-arns = ["{OTHER}", "arn:aws:lambda:::awslayer:AmazonLinux1803"]'
    service.write()

    assert lamina(service, "invoke", "f") == 0

    message = capsys.readouterr().err
    assert f"note: running without layer `{OTHER}`, which is not pinned; to use it, run `lamina pin`\n" in message
    assert (
        "layer `arn:aws:lambda:::awslayer:AmazonLinux1803`, which is not pinned; it is not the ARN of one version of a layer in an account\n"
        in message
    )
    assert layer_server.asked == []


def test_dry_run(service: Service, capsys: pytest.CaptureFixture[str]) -> None:
    """A dry run refuses what a build refuses, and warns of what is not pinned."""
    assert lamina(service, "build", "--dry-run") == 0
    assert f"`lamina-layers.lock` lacks `{ARN}`" in capsys.readouterr().err

    del service.settings["allow-layers"]
    service.write()

    assert lamina(service, "build", "--dry-run") == 1
    assert f"error: `f`: the layer `{ARN}` is of another account; " in capsys.readouterr().err
