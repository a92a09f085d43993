"""``lamina advise --write``: what is refused, what is said, and the way back."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from advise.made import make_needs
from built import MINOR
from lamina.advise.followers import following
from lamina.advise.layouts import one_layer, zips_with_needed
from lamina.advise.values import Layout, LayoutFunction, LayoutLayer
from lamina.advise.write import layout_change
from lamina.bytecode.interpreter import environment_variable
from lamina.cli.main import main
from lamina.core.errors import ConfigError
from lamina.core.reporter import SILENT
from lamina.core.store import Store
from lamina.project.config import load
from lamina.project.service import Packaging
from services import make_service

if TYPE_CHECKING:
    from pathlib import Path

HANDLER = "\n\ndef handler(event, context):\n    return 1\n"


def _project(directory: Path, monkeypatch: pytest.MonkeyPatch, **settings: str) -> Path:
    """Return a service with one function that imports `core`, and one that imports nothing. `idna` is needed by none."""
    monkeypatch.setenv("LAMINA_CACHE_DIR", str(directory / "cache"))
    monkeypatch.setenv(environment_variable(sys.version_info[:2]), sys.executable)
    service = make_service(directory)
    service.locked.clear()
    service.add("core", "1.0", {"core.py": "VALUE = 1\n"})
    service.add("idna", "1.0", {"idna.py": "VALUE = 1\n", "idna.data/filler": bytes(100_000)})
    service.requires_python = f">={MINOR}"
    service.settings |= {"runtime": f'"python{MINOR}"', **settings}
    service.functions = {"first": "service.handlers.first.handler", "second": "service.handlers.second.handler"}
    root = service.write()
    (root / "service" / "handlers" / "first.py").write_text(f"import core{HANDLER}")
    (root / "service" / "handlers" / "second.py").write_text(HANDLER)
    monkeypatch.chdir(root)
    return root


@pytest.mark.parametrize(
    "words", [("--group", "dev"), ("--extra", "fast"), ("--runtime", "python3.12"), ("--architecture", "arm64")]
)
def test_options_that_are_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: tuple[str, str]
) -> None:
    """The layout of a comparison with more than the configuration selects could not be built."""
    monkeypatch.chdir(tmp_path)

    assert 2 == main(["advise", "--write", *words])
    assert f"`--write` conflicts with `{words[0]}`" in capsys.readouterr().err


def test_the_way_back_from_zips_with_what_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the zips leave out is said, and still compared; another layout has it again."""
    project = _project(tmp_path, monkeypatch)
    text = (project / "pyproject.toml").read_text()

    assert 0 == main(["advise", "--write", "zip-needed", "--yes"])
    assert "no function has `idna`, because none is known to need it" in capsys.readouterr().err
    assert 0 == main(["advise", "--write", "one-layer", "--yes"])
    shown = capsys.readouterr().out
    assert "only what it needs (as configured)" in shown
    assert "no function is known to need `idna`" in shown
    assert text == (project / "pyproject.toml").read_text()


def test_a_layout_over_a_limit_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    project = _project(tmp_path, monkeypatch, facts='"facts.toml"')
    (project / "facts.toml").write_text(
        '[[quota]]\nname = "unzipped_bytes"\nvalue = 50_000\nsource = "a test"\nread = 2030-01-01\n'
    )
    text = (project / "pyproject.toml").read_text()

    assert 1 == main(["advise", "--write", "one-layer", "--yes"])
    assert "there is no packaging `one-layer` to configure: exceeds Lambda's limit" in capsys.readouterr().err
    assert text == (project / "pyproject.toml").read_text()


NEEDS = make_needs({"core": 20, "numpy": 60, "idna": 1}, {"first": "core", "second": "core numpy"})
BOTH = ("common", "numpy")


def _layers(*first: str, second: tuple[str, ...] = BOTH) -> Layout:
    return Layout(
        title="two layers",
        layers=(
            LayoutLayer(name="common", distributions=frozenset({"core", "idna"})),
            LayoutLayer(name="numpy", distributions=frozenset({"numpy"})),
        ),
        functions=(
            LayoutFunction(name="first", packaging=Packaging.LAYER, layers=first),
            LayoutFunction(name="second", packaging=Packaging.LAYER, layers=second),
        ),
    )


def _configured(directory: Path, *more: str) -> Path:
    (directory / "service").mkdir()
    functions = 'first = "service.first.handler"\nsecond = "service.second.handler"\n'
    text = f'runtime = "python3.13"\nsource = ["service"]\n\n[functions]\n{functions}'
    (directory / "lamina.toml").write_text("\n".join([text, *more]))
    return directory


def test_what_only_other_targets_have(tmp_path: Path) -> None:
    """Each function has it: in the layer that leaves out others, or in its own."""
    project = _configured(tmp_path)
    for layout in (zips_with_needed(NEEDS), _layers(*BOTH)):
        found = layout_change(load(project), NEEDS, layout, elsewhere=frozenset({"tomli"}))
        assert found is not None
        found.change.write()
        service = load(project)
        layers = {each.name: each for each in service.selected}
        for function in service.functions:
            own = [layers[name] for name in (*function.layers, *function.bundled)]
            assert any("tomli" in each.only if each.only is not None else "tomli" not in each.without for each in own)

    with pytest.raises(ConfigError, match="does not have `tomli` for `first`, which only other targets"):
        layout_change(load(project), NEEDS, _layers("numpy"), elsewhere=frozenset({"tomli"}))


def test_layers_keep_their_names(tmp_path: Path) -> None:
    """Those with mostly the same content do, and the common layer is the one that a new dependency is in."""
    project = _configured(tmp_path, '[layers.common]\nwithout = ["numpy"]\n', '[layers.heavy]\nonly = ["numpy"]\n')
    swapped = Layout(
        title="swapped",
        layers=(
            LayoutLayer(name="common", distributions=frozenset({"numpy", "idna"})),
            LayoutLayer(name="core", distributions=frozenset({"core"})),
        ),
        functions=(
            LayoutFunction(name="first", packaging=Packaging.LAYER, layers=("core",)),
            LayoutFunction(name="second", packaging=Packaging.LAYER, layers=("common", "core")),
        ),
    )
    current = _layers("common")
    found = layout_change(
        load(project),
        NEEDS,
        swapped,
        current=Layout(
            title="now",
            layers=tuple(
                LayoutLayer(name={"numpy": "heavy"}.get(each.name, each.name), distributions=each.distributions)
                for each in current.layers
            ),
            functions=current.functions,
        ),
    )
    assert found is not None
    found.change.write()
    service = load(project)

    assert [("common",), ("heavy", "common")] == [each.layers for each in service.functions]
    assert {"common": (None, ("idna", "numpy")), "heavy": (("idna", "numpy"), ())} == {
        each.name: (each.only, each.without) for each in service.layers
    }


TEMPLATE = """\
Transform: AWS::Serverless-2016-10-31
Resources:
  Common:
    Type: AWS::Serverless::LayerVersion
    Properties: {ContentUri: .lamina/layers/common.zip}
  first:
    Type: AWS::Serverless::Function
    Properties: {CodeUri: .lamina/functions/first.zip, Handler: service.first.handler, Runtime: python3.13, Layers: [!Ref Common]}
  second:
    Type: AWS::Serverless::Function
    Properties: {CodeUri: service, Handler: service.second.handler, Runtime: python3.13, Layers: [!Ref Common]}
"""


def test_descriptions_that_must_follow(tmp_path: Path) -> None:
    """Another tool attaches the layers, so that the description says which."""
    project = _configured(tmp_path)
    (project / "template.yaml").write_text(TEMPLATE)
    service, store = load(project), Store.open()

    assert [] == list(following(service, one_layer(NEEDS), store, SILENT))
    assert [
        "`template.yaml` must follow before the next deploy (SAM): `second`: attach the layer `numpy` (`.lamina/layers/numpy.zip`)"
    ] == list(following(service, _layers("common"), store, SILENT))
    arn = "arn:aws:lambda:eu-west-1:123456789012:layer:tools:1"
    (project / "template.yaml").write_text(TEMPLATE.replace("[!Ref Common]}", f"[!Ref Common, {arn}]}}"))
    (said,) = following(service, zips_with_needed(NEEDS), store, SILENT)
    assert "`first`, `second`: it must have no layer of this service" in said
    (project / "template.yaml").write_text(TEMPLATE)
    (said,) = following(service, zips_with_needed(NEEDS), store, SILENT)
    assert (
        "(SAM): `first`, `second`: remove the layer `common`; `second`: deploy its zip in `.lamina/functions`" in said
    )
