"""``lamina adopt``: layers of known publishers, of unknown ones and zips, with the package manager of the project."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from externallayers import ARN, OTHER, OWN, base64_sha256, layer_server, layer_zip
from lamina.adopt.files import ProjectFiles
from lamina.adopt.managers import add, adding
from lamina.adopt.requirements import is_same_version
from lamina.bytecode.interpreter import find_uv
from lamina.cli.main import main
from lamina.core.errors import ConfigError, LockError
from lamina.core.target import Target, quotas
from lamina.lock.types import LockFile
from lamina.project.pinned import ExternalContents, PinnedLayer, read_pins, write_pins
from lamina.project.publishers import Content, publishers
from loopback import IndexServer
from services import HANDLER
from wheels import make_wheel

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from externallayers import LayerServer
    from lamina.project.publishers import Publisher

__all__ = ["layer_server"]

PYTHON_LAYERS = [each for each in publishers() if each.kind is not Content.EXTENSION]
NAMES = {
    "AWSLambdaPowertoolsPython.*": "AWSLambdaPowertoolsPythonV3-python313-x86_64",
    "(?:AWSSDKPandas|AWSDataWrangler)-Python.*": "AWSSDKPandas-Python313",
    "Klayers-(?:p3[0-9]+|python3[0-9]+)(?:-arm64)?-(?P<distribution>.+)": "Klayers-p313-Pillow",
    "AWSOpenTelemetryDistroPython.*": "AWSOpenTelemetryDistroPython",
    "aws-otel-python-.*": "aws-otel-python-amd64-ver-1-32-0",
    "opentelemetry-python-.*": "opentelemetry-python-0_16_0",
    "Datadog-Python3.*": "Datadog-Python313",
    "NewRelicPython3.*": "NewRelicPython313",
    "lumigo-python-tracer.*": "lumigo-python-tracer",
    "SentryPythonServerlessSDK.*": "SentryPythonServerlessSDK",
}
"""The name of a layer of each publisher of Python packages, by the publisher's pattern."""


@dataclass
class World:
    """A project with a uv.lock, an index, and the wheels on it."""

    project: Path
    wheels: Path
    index: IndexServer

    def wheel(
        self, name: str, version: str = "1.0", files: Mapping[str, bytes | str] | None = None, **more: Any
    ) -> Path:
        return make_wheel(self.wheels, name, version, files, **more)

    def write(self, *, arn: str = "", settings: str = "", dependencies: str = "") -> None:
        arns = f', layer-arns = ["{arn}"]' if arn else ""
        self.manifest.write_text(
            f'[project]\nname = "greeter"\nversion = "1"\nrequires-python = ">=3.11"\ndependencies = [{dependencies}]\n\n'
            f'[tool.lamina]\nruntime = "python3.13"\narchitecture = "x86_64"\nsource = ["app.py"]\nbytecode = "none"\n{settings}\n'
            f'[tool.lamina.functions]\nhello = {{ handler = "app.lambda_handler"{arns} }}  # the only one\n'
        )
        (self.project / "app.py").write_text(HANDLER)
        if not self.lock.exists():
            self.lock.write_text(
                'version = 1\nrevision = 3\nrequires-python = ">=3.11"\n\n'
                '[[package]]\nname = "greeter"\nversion = "1"\nsource = { virtual = "." }\n'
            )

    @property
    def manifest(self) -> Path:
        return self.project / "pyproject.toml"

    @property
    def lock(self) -> Path:
        return self.project / "uv.lock"

    def files(self) -> dict[str, bytes]:
        """Return the content of the project's files, without outputs."""
        return {path.name: path.read_bytes() for path in self.project.iterdir() if path.is_file()}


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """Run in a project whose package manager is uv, with an index on loopback."""
    project, wheels = tmp_path / "greeter", tmp_path / "wheels"
    project.mkdir()
    wheels.mkdir()
    (project / ".git").mkdir()
    with IndexServer(wheels) as index:
        for name, value in {
            "LAMINA_CACHE_DIR": tmp_path / "store",
            "UV_CACHE_DIR": tmp_path / "uv",
            "UV_DEFAULT_INDEX": index.simple,
            "UV_PYTHON": sys.executable,
            "UV_PYTHON_DOWNLOADS": "never",
        }.items():
            monkeypatch.setenv(name, str(value))
        monkeypatch.chdir(project)
        yield World(project=project, wheels=wheels, index=index)


def installed(*wheels: Path, at: str = "python/", more: Mapping[str, str | bytes] | None = None) -> bytes:
    """Return a layer with the files of *wheels*, as pip installs them into the directory *at*, and *more* files."""
    files: dict[str, str | bytes] = dict(more or {})
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            files |= {at + path: archive.read(path) for path in archive.namelist()}
    return layer_zip(files)


def modules_of(content: Path | bytes, directory: Path) -> set[str]:
    """Return the paths of the modules in a layer, relative to what Python imports them from."""
    path = directory / "layer.zip"
    if isinstance(content, bytes):
        path.write_bytes(content)
    with zipfile.ZipFile(path if isinstance(content, bytes) else content) as archive:
        paths = [each.removeprefix("python/") for each in archive.namelist() if each.endswith(".py")]
    return {each.removeprefix("lib/python3.13/site-packages/") for each in paths if not each.startswith("bin/")}


def adopt(*words: str) -> int:
    return main(["adopt", *words])


@pytest.mark.parametrize("publisher", PYTHON_LAYERS, ids=lambda each: NAMES[each.layers])
def test_known_layers(
    world: World, layer_server: LayerServer, publisher: Publisher, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The layer of each known publisher is replaced by its requirements at its version; the new one has the same modules."""
    name = NAMES[publisher.layers]
    arn = f"arn:aws:lambda:eu-west-1:{publisher.accounts_in('eu-west-1')[0]}:layer:{name}:7"
    texts = publisher.locked(name)
    names = [text.partition("[")[0].lower() for text in texts]
    world.wheel("shared-part")
    world.wheel("shared-part", "2.0")
    world.wheel("windows")
    extras = ["all"] if "[all]" in texts[0] else []
    needs = ["shared-part<2", *(["only-extra; extra == 'all'"] if extras else []), "windows; sys_platform == 'win32'"]
    wheels = [world.wheel(each, requires=needs, extras=extras) for each in names]
    for each in names:
        world.wheel(each, "1.1", requires=needs, extras=extras)
    wheels += [world.wheels / "shared_part-1.0-py3-none-any.whl"]
    wheels += [world.wheel("only-extra")] if extras else []
    wrapper = {"OpenTelemetry": "otel_wrapper", "New Relic": "newrelic_lambda_wrapper"}.get(publisher.vendor)
    more = {f"python/{wrapper}.py": ""} if wrapper else {}
    at = "python/lib/python3.13/site-packages/" if publisher.vendor == "Datadog" else "python/"
    layer_server.zips[arn] = installed(
        *wheels, at=at, more=more | {"extensions/agent": "x"} if publisher.kind is Content.BOTH else more
    )
    world.write(arn=arn, settings=f"allow-layers = [{{ arn = '{arn}', reason = 'old' }}]")

    assert adopt(arn, "--yes") == 0

    shown = capsys.readouterr().err
    for text in texts:
        assert f"require {text.lower()}==1.0\n" in shown
    assert "shared-part==" not in world.manifest.read_text()
    assert 'hello = "app.lambda_handler"  # the only one' in world.manifest.read_text()
    assert "removed the ARN from `layer-arns`" in shown
    old = modules_of(layer_server.zips[arn], tmp_path) - {f"{wrapper}.py"}
    assert old == modules_of(world.project / ".lamina/layers/common.zip", tmp_path)
    if wrapper:
        assert f"`{wrapper}." in shown
        assert "is only in the old layer; set your own handler" in shown


def test_wrapper_handlers(world: World, layer_server: LayerServer, capsys: pytest.CaptureFixture[str]) -> None:
    """If the new layer has a vendor's handler, the handler and its variable are named; the script of the old one is to be unset."""
    files = {"datadog_lambda/__init__.py": "", "datadog_lambda/handler.py": "handler = None\n"}
    wheel = world.wheel("datadog-lambda", "8.130.0", files)
    arn = "arn:aws:lambda:eu-west-1:464622532012:layer:Datadog-Python313:130"
    layer_server.zips[arn] = installed(wheel, more={"datadog_wrapper": "#!/bin/bash\n"})
    world.write(arn=arn)

    assert adopt(arn, "--yes", "--json") == 0

    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert ["datadog-lambda==8.130.0"] == [each["requirement"] for each in document["requirements"]]
    assert [
        {"handler": "datadog_lambda.handler.handler", "variable": "DD_LAMBDA_HANDLER", "provided": True}
    ] == document["handlers"]
    assert ["/opt/datadog_wrapper"] == document["exec_wrappers"]
    assert (True, True, []) == (document["adopted"], document["removed_arn"], document["changes"])
    assert (
        "set the handler to `datadog_lambda.handler.handler`, and `DD_LAMBDA_HANDLER` to your own handler"
        in captured.err
    )


def test_unknown_layer(world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of a zip, what no other distribution requires is required at its version; other versions of the rest are shown."""
    inner, other = world.wheel("inner"), world.wheel("other", requires=["inner"])
    loop = [world.wheel("one", requires=["two"]), world.wheel("two", requires=["one"])]
    world.wheel("inner", "1.5")
    path = tmp_path / "layer.zip"
    path.write_bytes(installed(inner, other, *loop))
    world.write()

    assert adopt(str(path), "--dry-run") == 0
    before = capsys.readouterr().err
    assert "require one==1.0\n" in before
    assert "run uv add --no-sync other==1.0 one==1.0\n" in before
    assert "dependencies = []" in world.manifest.read_text()

    assert adopt(str(path), "--yes") == 0
    assert '"one==1.0",' in world.manifest.read_text()
    shown = capsys.readouterr().err
    assert "  inner 1.0 → 1.5\n" in shown
    assert "proven: your layers provide all of its 4 modules\n" in shown

    # Everything is locked now, so nothing is written again.
    assert adopt(str(path), "--yes", "--pin-all") == 0
    assert "require inner==1.0 (locked: 1.5)\n" in capsys.readouterr().err
    assert adopt(str(path), "--yes", "--pin-all") == 0
    assert "the lock file has everything already\n" in capsys.readouterr().err


def test_missing_modules(world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """If another version lacks a module, all files get their bytes back, and the modules are named."""
    inner = world.wheel("inner", files={"inner/__init__.py": "", "inner/legacy.py": ""})
    outer = world.wheel("outer", requires=["inner"])
    world.wheel("inner", "2.0")
    path = tmp_path / "layer.zip"
    path.write_bytes(installed(inner, outer))
    world.write()
    before = world.files()

    assert adopt(str(path), "--yes") == 1

    shown = capsys.readouterr().err
    assert "the new layers lack 1 module of" in shown
    assert "`inner.legacy`" in shown
    assert "`inner` 1.0 → 2.0" in shown
    assert before == world.files()
    assert not (world.project / ".lamina").exists()

    assert adopt(str(path), "--yes", "--accept-missing", "inner.legacy") == 0
    world.manifest.write_bytes(before["pyproject.toml"])
    world.lock.write_bytes(before["uv.lock"])
    assert "run the command with `--pin inner`" in shown
    assert adopt(str(path), "--yes", "--pin", "Inner") == 0
    assert '"inner==1.0",' in world.manifest.read_text()


def test_too_large(world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """If the wheels exceed the limit, although the layer does not, the largest are named, and nothing is written."""
    wheel = world.wheel("awswrangler", requires=["pyarrow"])
    stripped = world.wheel("pyarrow")
    path = tmp_path / "layer.zip"
    path.write_bytes(installed(wheel, stripped))
    world.wheel("pyarrow", files={"pyarrow/__init__.py": "", "pyarrow/large.so": os.urandom(1_000_000)})
    world.write(arn=OTHER)
    contents = ExternalContents(unzipped_bytes=quotas().unzipped_bytes - 1_000_000)
    write_pins(world.project, [PinnedLayer(arn=OTHER, code_sha256="0" * 43 + "=", code_size=1, contents=contents)])
    before = world.files()

    assert adopt(str(path), "--yes") == 1

    shown = capsys.readouterr().err
    assert "over Lambda's limit of" in shown
    assert "largest distributions: `pyarrow` 1,000,479, `awswrangler`" in shown
    assert '- `without = ["pyarrow", "awswrangler"]` in `[tool.lamina.layers.common]` saves 1,00' in shown
    assert "no handler imports `pyarrow` (1,000,479), `awswrangler` (" in shown
    assert "`pyproject.toml`, `uv.lock` are as before" in shown
    assert before == world.files()

    # Other names, because uv 0.9 keeps the pages of the index and the metadata of a version.
    wheel = world.wheel("wrangler", requires=["arrow", "boto3"])
    path.write_bytes(installed(wheel, world.wheel("arrow")))
    world.wheel("arrow", files={"arrow/__init__.py": "", "arrow/tests/large.so": os.urandom(1_000_000)})
    world.wheel("boto3", files={"boto3/__init__.py": "", "boto3/large.json": os.urandom(50_000)})
    (world.project / "app.py").write_text(f"import wrangler\n{HANDLER}")
    assert adopt(str(path), "--yes") == 1
    shown = capsys.readouterr().err
    assert "`without = " not in shown
    assert '- `sdk = "runtime"` in `[tool.lamina]` saves 50,' in shown
    assert '- `exclude = ["**/tests/"]` in `[tool.lamina]` saves 1,000,000 bytes of tests' in shown
    assert "- together they save 1,050," in shown
    assert "which is enough" in shown


def test_other_layers_by_arn(world: World, layer_server: LayerServer) -> None:
    """Only the adopted layer leaves ``layer-arns`` and the pins; comments and other layers stay."""
    layer_server.zips |= {ARN: installed(world.wheel("tools")), OTHER: layer_zip({"extensions/agent": "x"})}
    world.write(arn=f'{OTHER}", # first\n "{ARN}')
    assert main(["pin"]) == 0
    text = world.manifest.read_text()

    assert adopt(ARN, "--yes") == 0

    assert f'layer-arns = ["{OTHER}" # first\n]' in world.manifest.read_text()
    assert [OTHER] == [pin.arn for pin in read_pins(world.project)]
    # uv itself also writes the index that its variable names.
    index = f'[[tool.uv.index]]\nurl = "{world.index.simple}"\ndefault = true\n'
    after = world.manifest.read_text().replace(f"\n{index}", "")
    assert (
        text.partition("[tool.lamina]")[2].replace(f', # first\n "{ARN}"', " # first\n").rstrip()
        == after.partition("[tool.lamina]")[2].rstrip()
    )


def test_region_of_the_deployment(world: World, layer_server: LayerServer, capsys: pytest.CaptureFixture[str]) -> None:
    """An ARN that leaves the region to the deployment leaves ``layer-arns``, too, with its pin."""
    layer_server.zips[ARN] = installed(world.wheel("tools"))
    world.write(arn=ARN.replace("eu-west-1", "*"))
    assert main(["pin"]) == 0

    assert adopt(ARN, "--yes") == 0

    assert "layer-arns" not in world.manifest.read_text()
    assert () == read_pins(world.project)
    assert "removed the ARN from `layer-arns`" in capsys.readouterr().err


def test_unusual_configuration(world: World, layer_server: LayerServer) -> None:
    """The ARN is removed however it is written."""
    layer_server.zips[ARN] = installed(world.wheel("tools"))
    world.write(arn=ARN)
    world.manifest.write_text(world.manifest.read_text().replace(ARN, ARN.replace(":7", "\\u003a7")))

    assert adopt(ARN, "--yes") == 0

    assert 'hello = "app.lambda_handler"  # the only one' in world.manifest.read_text()


def test_configuration_of_another_directory(
    world: World, layer_server: LayerServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """A configuration that other projects may share stays, and its file is named."""
    layer_server.zips[ARN] = installed(world.wheel("tools"))
    world.write(arn=ARN)
    project, _, configuration = world.manifest.read_text().partition("[tool.lamina]")
    shared = world.project.parent / "shared.toml"
    shared.write_text(configuration.replace("[tool.lamina.", "["))
    world.manifest.write_text(project)
    (world.project / "lamina.toml").symlink_to(shared)

    assert adopt(ARN, "--yes") == 0

    assert ARN in shared.read_text()
    assert "remove the layer from lamina.toml\n" in capsys.readouterr().err


def test_every_target(world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The proof is for each target of the service."""
    path = tmp_path / "layer.zip"
    files = {"tools/__init__.py": "", "tools/fast.py": ""}
    path.write_bytes(installed(world.wheel("tools", files=files, tag="cp313-none-any")))
    world.wheel("tools", files={"tools/__init__.py": ""}, tag="cp312-none-any")
    world.write()
    targets = 'targets = ["python3.13-x86_64", "python3.12-x86_64"]'
    world.manifest.write_text(
        world.manifest.read_text().replace('runtime = "python3.13"\narchitecture = "x86_64"', targets)
    )
    assert adopt(str(path), "--yes") == 1
    assert "`tools.fast`" in capsys.readouterr().err


def test_same_version_in_other_words() -> None:
    """Versions are compared as PEP 440 says."""
    assert is_same_version("2026.07.1", "2026.7.1")
    assert not is_same_version(None, "1")
    assert is_same_version("odd version", "odd version")


def test_template(world: World, layer_server: LayerServer, capsys: pytest.CaptureFixture[str]) -> None:
    """A template is not edited: its line with the layer is named."""
    layer_server.zips[ARN] = installed(world.wheel("tools"))
    world.write()
    world.manifest.write_text(
        world.manifest.read_text().partition("[tool.lamina.functions]")[0].replace('source = ["app.py"]\n', "")
    )
    template = world.project / "template.yaml"
    template.write_text(
        "AWSTemplateFormatVersion: 2010-09-09\nTransform: AWS::Serverless-2016-10-31\nResources:\n"
        "  Hello:\n    Type: AWS::Serverless::Function\n    Properties:\n      Runtime: python3.13\n      Handler: app.lambda_handler\n"
        f"      CodeUri: .\n      Layers:\n        - {ARN}\n"
    )
    before = template.read_bytes()

    assert adopt(ARN, "--yes") == 0

    assert before == template.read_bytes()
    shown = capsys.readouterr().err
    assert "replace the layer of function Hello\n" in shown
    assert "remove the layer from template.yaml:11\n" in shown
    assert "removed the ARN" not in shown


def test_stripped_metadata(world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Modules without metadata are identified by their files; unknown ones have to be accepted before anything is written."""
    wheel = world.wheel("tools", "1.2")
    path = tmp_path / "layer.zip"
    path.write_bytes(
        layer_zip({"python/tools/__init__.py": "__version__ = '1.2'\n", "python/own.py": "", "python/more/x.py": ""})
    )
    assert wheel.exists()
    world.write()
    before = world.files()

    assert adopt(str(path), "--yes") == 1
    shown = capsys.readouterr().err
    assert "2 modules in" in shown
    assert "belong to no known distribution: `more.x`, `own`" in shown
    assert before == world.files()

    options = shown.partition("run the command with `")[2].partition("`")[0].split()
    assert adopt(str(path), "--yes", *options) == 0
    assert "tools==1.2" in world.manifest.read_text()


def test_stripped_requirements(world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of modules without metadata, those that others require are not required, as the metadata of their wheels says."""
    world.wheel("inner")
    world.wheel("outer", requires=["inner", "extra; extra == 'more'"], extras=["more"])
    path = tmp_path / "layer.zip"
    path.write_bytes(layer_zip({f"python/{each}/__init__.py": "__version__ = '1.0'\n" for each in ("inner", "outer")}))
    world.write()
    assert adopt(str(path), "--dry-run") == 0
    shown = capsys.readouterr().err
    assert "require outer==1.0\n" in shown
    assert "require inner" not in shown


def test_other_pythons(world: World, tmp_path: Path) -> None:
    """What another Python would import is not adopted, and `site-packages` comes first."""
    path = tmp_path / "layer.zip"
    new, old, other = world.wheel("tools", "2.0"), world.wheel("tools", "1.0"), world.wheel("other")
    site = "python/lib/python3.{}/site-packages/{}"
    files: dict[str, str | bytes] = {}
    for wheel, at in ((old, "python/{1}"), (new, site.format(13, "{1}")), (other, site.format(12, "{1}"))):
        with zipfile.ZipFile(wheel) as archive:
            files |= {at.format(0, each): archive.read(each) for each in archive.namelist()}
    path.write_bytes(layer_zip(files))
    world.write()
    assert adopt(str(path), "--yes") == 0
    assert '"tools==2.0",' in world.manifest.read_text()
    assert "other" not in world.lock.read_text()


def test_runtime_sdk(world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With ``sdk = "runtime"``, the runtime provides the AWS SDK of the old layer."""
    path = tmp_path / "layer.zip"
    path.write_bytes(installed(world.wheel("boto3", "1.40.0"), world.wheel("tools", requires=["boto3"])))
    world.write(settings='sdk = "runtime"')
    assert adopt(str(path), "--yes") == 0
    assert "  from the runtime: boto3\n" in capsys.readouterr().err


def test_extension(world: World, layer_server: LayerServer, capsys: pytest.CaptureFixture[str]) -> None:
    """A layer without Python modules is not adopted; the option that copies it is named."""
    layer_server.zips[OTHER] = layer_zip({"extensions/agent": "x"})
    world.write(arn=OTHER)
    assert adopt(OTHER, "--yes") == 1
    assert "run the command with `--copy`" in capsys.readouterr().err


def test_names_of_options(world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A name that the layer does not have is an error, with the one that is meant."""
    path = tmp_path / "layer.zip"
    path.write_bytes(installed(world.wheel("tools", files={"tools/__init__.py": "", "tools/inner/x.py": ""})))
    world.write()
    for option, name, meant in (("--pin", "tols", "tools"), ("--accept-missing", "tools.iner", "tools.inner")):
        assert adopt(str(path), "--dry-run", option, name) == 2
        assert (
            f"no {'distribution' if option == '--pin' else 'module'} `{name}` (did you mean `{meant}`?)"
            in capsys.readouterr().err
        )
    assert adopt(str(path), "--dry-run", "--pin", "Tools", "--accept-missing", "tools.inner") == 0


@pytest.mark.parametrize(
    ("subject", "fact", "cure"),
    [
        ("nosuch.zip", "neither the ARN of a layer version nor a zip", "the path of a zip"),
        ("my-function", "neither the ARN of a layer version nor a zip", "pass the ARNs of its layers"),
        ("arn:aws:lambda:eu-west-1:123456789012:function:f", "is a function, not a layer", "one of its layers"),
        (
            ARN.removesuffix(":7"),
            "names a layer, not one of its versions",
            f"as in `{ARN.removesuffix(':7')}:1`",
        ),
        (ARN.replace(":7", ":*"), "neither the ARN of a layer version nor a zip", "the path of a zip"),
    ],
)
def test_subjects(world: World, capsys: pytest.CaptureFixture[str], subject: str, fact: str, cure: str) -> None:
    """What is no layer is refused before AWS is asked, with hints of this command."""
    world.write()
    assert adopt(subject) == 2
    shown = capsys.readouterr().err
    assert fact in shown
    assert cure in shown


def test_changed_distribution(world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A distribution whose files the publisher changed is named with them; its original can be required."""
    world.wheel("tools", "1.2", {"tools/__init__.py": "", "tools/api.py": "original"})
    path = tmp_path / "layer.zip"
    path.write_bytes(layer_zip({"python/tools/__init__.py": "", "python/tools/api.py": "changed"}))
    world.write()
    assert adopt(str(path), "--yes") == 1
    shown = capsys.readouterr().err
    assert "`tools` is similar to tools 1.2; the layer has other content of `python/tools/api.py`" in shown
    assert "to take the original, run the command with `--pin tools`" in shown
    assert adopt(str(path), "--yes", "--pin", "tools") == 0
    assert '"tools==1.2",' in world.manifest.read_text()


def test_kept_versions(world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The plan names the distributions that the lock file keeps in another version, and the files that change."""
    path = tmp_path / "layer.zip"
    inner = world.wheel("inner", "2.0")
    path.write_bytes(installed(inner, world.wheel("outer", requires=["inner"])))
    world.write(dependencies='"inner==1.5"')
    world.wheel("inner", "1.5")
    subprocess.run([find_uv() or "uv", "lock", "--quiet"], check=True)
    assert adopt(str(path), "--dry-run", "--json") == 0
    captured = capsys.readouterr()
    assert "  keep inner 1.5 of the lock file; the layer has 2.0, which `--pin inner` requires\n" in captured.err
    assert "  in pyproject.toml: `outer==1.0` (new)\n" in captured.err
    assert "  files: pyproject.toml, uv.lock\n" in captured.err
    document = json.loads(captured.out)
    assert [{"name": "inner", "layer": "2.0", "locked": "1.5"}] == document["kept_versions"]
    assert adopt(str(path), "--dry-run", "--pin", "inner") == 0
    assert "  in pyproject.toml: `inner==1.5` → `inner==2.0`\n" in capsys.readouterr().err


def test_new_errors(world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An error that the service did not have before puts the files back; one that it had does not."""
    path = tmp_path / "layer.zip"
    path.write_bytes(installed(world.wheel("tools"), world.wheel("six")))
    world.wheel("six", "2.0", {"other_six.py": ""})
    world.write(dependencies='"six==2.0"')
    subprocess.run([find_uv() or "uv", "lock", "--quiet"], check=True)
    (world.project / "app.py").write_text(f"import other_six\n{HANDLER}")
    before = world.files()
    assert adopt(str(path), "--yes") == 1
    shown = capsys.readouterr().err
    assert "the service has 1 error that it does not have with the layer\n  " in shown
    assert "`other_six`" in shown
    assert "`pyproject.toml`, `uv.lock` are as before" in shown
    assert before == world.files()

    (world.project / "app.py").write_text(f"import nowhere\n{HANDLER}")
    assert adopt(str(path), "--yes", "--json") == 0
    captured = capsys.readouterr()
    assert "warning: an error as before: " in captured.err
    assert ["error"] == [each["severity"] for each in json.loads(captured.out)["findings"]]
    assert "look for known vulnerabilities in what you require now: `lamina audit`" in captured.err
    assert "  files: " in captured.err


def test_odd_metadata(world: World, tmp_path: Path) -> None:
    """Markers of others that mean nothing are no error, and their requirements count."""
    needs = ["inner; 'a' < 'b'", "inner; 'x' in extras", "inner; platform_release ~= '5'", "inner >"]
    outer = make_wheel(tmp_path, "outer", "1.0", requires=needs)
    path = tmp_path / "layer.zip"
    path.write_bytes(installed(outer, world.wheel("inner")))
    world.write()
    assert adopt(str(path), "--dry-run") == 0


def test_locked_extras(world: World, layer_server: LayerServer, capsys: pytest.CaptureFixture[str]) -> None:
    """A distribution that is locked at the version of the layer is required again if the layer has an extra of it."""
    arn = "arn:aws:lambda:eu-west-1:017000801446:layer:AWSLambdaPowertoolsPythonV3-python313-x86_64:7"
    wheel = world.wheel("aws-lambda-powertools", "3.0", extras=["all"])
    layer_server.zips[arn] = installed(wheel)
    world.write(dependencies='"aws-lambda-powertools==3.0"')
    subprocess.run([find_uv() or "uv", "lock", "--quiet"], check=True)
    assert adopt(arn, "--dry-run") == 0
    assert "require aws-lambda-powertools[all]==3.0 (locked: 3.0)" in capsys.readouterr().err


def program(directory: Path, name: str, script: str) -> None:
    """Write a program for `PATH` that stands for a package manager."""
    path = directory / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_failing_programs(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a program that fails, short lines with its errors are shown; one that hangs is ended; files get their permissions back."""
    source, lock = world.project / "requirements.in", world.project / "requirements.txt"
    source.write_text("six\n")
    lock.write_text(
        "# This file is autogenerated by pip-compile\n# by the following command:\n#\n#    pip-compile requirements.in\n#\n"
    )
    programs = tmp_path / "programs"
    programs.mkdir()
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    frames = "".join('  File "x.py", line 1, in x\n    call()\n' for _ in range(30))
    (tmp_path / "said").write_text(
        f"ERROR: cannot install it\nTraceback:\n{frames}{'x' * 9_000} https://u:secret@host/\n"
    )
    program(programs, "pip-compile", f"chmod 600 {lock}; cat {tmp_path / 'said'}; exit 1")
    found = LockFile(path=lock, kind="requirements.txt", project=world.project)
    plan = adding(["six==1.0"], found, [Target.of("python3.13", "x86_64")])
    lock.chmod(0o640)
    with (
        pytest.raises(LockError, match="ended with exit code 1") as raised,
        ProjectFiles(plan.files).put_back_unless_done(),
    ):
        add(plan)
    hint = str(raised.value.hint)
    assert (
        "`requirements.in`, `requirements.txt` are as before; the last lines of its output:\nERROR: cannot install it\n"
        in hint
    )
    assert max(map(len, hint.splitlines())) <= 500
    assert "secret" not in hint
    assert "line 1" not in hint
    assert (source.read_text(), lock.stat().st_mode & 0o777) == ("six\n", 0o640)
    program(programs, "pip-compile", "exec sleep 60")
    with pytest.raises(LockError, match="does not end"):
        add(plan, seconds=0.2)


def test_idle_program(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """If the package manager ends well but locks nothing, the error says so, and not to require what is required already."""
    path = tmp_path / "layer.zip"
    path.write_bytes(installed(world.wheel("tools")))
    world.write()
    world.lock.unlink()
    (world.project / "requirements.in").write_text("")
    (world.project / "requirements.txt").write_text(
        "# This file is autogenerated by pip-compile\n# by the following command:\n#\n#    pip-compile requirements.in\n#\n"
    )
    before = world.files()
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    program(tmp_path, "pip-compile", "exit 0")
    assert adopt(str(path), "--yes") == 1
    shown = capsys.readouterr().err
    assert "the layers lack modules of `tools` although they are required" in shown
    assert "--pin" not in shown
    assert before == world.files()


def test_question(world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a terminal and without ``--yes``, nothing is changed."""
    path = tmp_path / "layer.zip"
    path.write_bytes(installed(world.wheel("tools")))
    world.write()
    before = world.files()
    assert adopt(str(path)) == 2
    assert "agree in advance with `--yes`" in capsys.readouterr().err
    assert before == world.files()


def test_failed_manager(world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """If the package manager fails, its output is shown, and all files are as before."""
    path = tmp_path / "layer.zip"
    path.write_bytes(installed(make_wheel(tmp_path, "unpublished", "3")))
    world.write()
    before = world.files()
    assert adopt(str(path), "--yes") == 3
    shown = capsys.readouterr().err
    assert "`uv` could not add the requirements" in shown
    assert "unpublished was not found" in shown
    assert before == world.files()


def test_interrupted(world: World, tmp_path: Path) -> None:
    """A signal puts everything back, too."""
    files = ProjectFiles([world.manifest, world.lock])
    world.write()
    with pytest.raises(KeyboardInterrupt), files.put_back_unless_done():
        raise KeyboardInterrupt
    assert {"app.py": HANDLER.encode()} == world.files()


def test_requirements_file(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The source of a compiled requirements file is edited, and compiled again with the command that it names."""
    path = tmp_path / "layer.zip"
    path.write_bytes(installed(world.wheel("tools", "1.2"), world.wheel("old", "2")))
    world.write()
    world.lock.unlink()
    source = world.project / "requirements.in"
    source.write_text("# ours\nTools>=1  # for x\n")
    (world.project / "requirements.txt").write_text(
        "# This file was autogenerated by uv via the following command:\n"
        "#    uv pip compile --generate-hashes --no-strip-markers requirements.in -o requirements.txt\n"
    )
    assert adopt(str(path), "--yes") == 0
    assert source.read_text() == "# ours\nTools==1.2  # for x\nold==2\n"
    assert "--no-strip-markers" in (world.project / "requirements.txt").read_text()


@pytest.mark.parametrize(
    ("lock", "manifest", "command"),
    [
        ("poetry.lock", "pyproject.toml", "poetry add --lock --no-interaction tools==1.2"),
        ("pdm.lock", "pyproject.toml", "pdm --non-interactive add --no-sync tools==1.2"),
        ("Pipfile.lock", "Pipfile", "pipenv upgrade tools==1.2"),
    ],
)
def test_managers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lock: str, manifest: str, command: str) -> None:
    """The package manager of each lock file adds the requirements; one that is not installed is named, with the command to run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", os.devnull)
    path = tmp_path / lock
    plan = adding(["tools==1.2"], LockFile(path=path, kind=lock, project=tmp_path), [Target.of("python3.13", "x86_64")])
    assert plan.shown_commands == (command,)
    assert {tmp_path / manifest, path} <= {*plan.files}
    with pytest.raises(ConfigError, match=f"`{command.split(maxsplit=1)[0]}`, which writes the lock file") as raised:
        add(plan)
    assert command in str(raised.value.hint)


def test_unknown_lock(world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """If a lock does not tell how it was made, the requirements are listed."""
    path = tmp_path / "layer.zip"
    path.write_bytes(installed(world.wheel("tools", "1.2")))
    world.write()
    world.lock.unlink()
    (world.project / "pylock.toml").write_text('lock-version = "1.0"\ncreated-by = "tests"\npackages = []\n')
    assert adopt(str(path), "--yes") == 2
    assert "add these requirements yourself, and lock them:\ntools==1.2\n" in capsys.readouterr().err


def test_copy(world: World, layer_server: LayerServer, capsys: pytest.CaptureFixture[str]) -> None:
    """A copy in the own account has the same bytes, and says where it is from; the next run publishes no other one."""
    layer_server.zips[OTHER] = layer_zip({"extensions/agent": "x"})
    layer_server.says = {
        "CompatibleRuntimes": ["python3.13"],
        "CompatibleArchitectures": ["arm64"],
        "LicenseInfo": "MIT",
    }
    world.write(arn=OTHER)

    assert adopt(OTHER, "--copy") == 2
    assert adopt(OTHER, "--copy", "--pin", "x") == 2
    capsys.readouterr()
    assert adopt(OTHER, "--copy", "--dry-run", "--json") == 0
    expected = {"version": "1", "origin": OTHER, "arn": None, "code_sha256": None, "new": True}
    assert expected == json.loads(capsys.readouterr().out)
    assert [] == layer_server.published

    capsys.readouterr()
    assert adopt(OTHER, "--copy", "--yes") == 0
    arn = f"arn:aws:lambda:eu-west-1:{OWN}:layer:Datadog-Extension:1"
    assert f"{arn}\n" == capsys.readouterr().out
    (request,) = layer_server.published
    assert layer_server.zips[OTHER] == base64.b64decode(request["Content"]["ZipFile"])
    stated = {name: request[name] for name in ("Description", *layer_server.says)}
    assert layer_server.says | {"Description": f"copy of {OTHER}"} == stated

    assert adopt(OTHER, "--copy", "--yes", "--json") == 0
    sha256 = base64_sha256(layer_server.zips[OTHER])
    expected = {"version": "1", "origin": OTHER, "arn": arn, "code_sha256": sha256, "new": False}
    assert expected == json.loads(capsys.readouterr().out)
    assert adopt(OTHER, "--copy", "--dry-run") == 0
    assert f"nothing to do: {arn} has the bytes of {OTHER}" in capsys.readouterr().err
    assert [request] == layer_server.published


def test_damaged_copy(world: World, layer_server: LayerServer, capsys: pytest.CaptureFixture[str]) -> None:
    """If Lambda reports another hash for the copy, its version is deleted."""
    layer_server.zips[OTHER] = layer_zip({"extensions/agent": "x"})
    layer_server.stored = base64_sha256(b"other")
    world.write(arn=OTHER)
    assert adopt(OTHER, "--copy", "--yes") == 6
    assert "lamina has deleted the faulty version" in capsys.readouterr().err
    assert [] == layer_server.published


def test_large_copy(world: World, layer_server: LayerServer, capsys: pytest.CaptureFixture[str]) -> None:
    """A dry run says that a bucket is missing, which a copy would need."""
    layer_server.zips[OTHER] = layer_zip({"extensions/agent": os.urandom(quotas().direct_upload_bytes)})
    world.write(arn=OTHER)
    assert adopt(OTHER, "--copy", "--dry-run") == 0
    assert "set `bucket` in `[tool.lamina.publish]`" in capsys.readouterr().err
    assert adopt(OTHER, "--copy", "--yes") == 2
    assert "Lambda accepts at most" in capsys.readouterr().err


def test_copy_of_a_file(world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file has no origin, so it is not copied."""
    path = tmp_path / "layer.zip"
    path.write_bytes(layer_zip({"extensions/agent": "x"}))
    world.write()
    assert adopt(str(path), "--copy", "--dry-run") == 2
    assert "requires the ARN of a layer version" in capsys.readouterr().err


@pytest.mark.live
@pytest.mark.parametrize(
    ("requirement", "code"),
    [("aws-lambda-powertools[all]==3.20.0", 0), ("sentry-sdk==2.40.0", 0), ("awswrangler==3.14.0", 1)],
)
def test_live(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    layer_server: LayerServer,
    requirement: str,
    code: int,
) -> None:
    """Layers that uv makes of the real wheels are adopted; those of awswrangler exceed the limit, and nothing is written."""
    monkeypatch.setenv("LAMINA_CACHE_DIR", str(tmp_path / "store"))
    project, layer = tmp_path / "greeter", tmp_path / "layer"
    project.mkdir()
    monkeypatch.chdir(project)
    name = requirement.partition("=")[0].partition("[")[0]
    publisher = next(each for each in PYTHON_LAYERS if each.requirements[0].partition("[")[0] == name)
    arn = f"arn:aws:lambda:eu-west-1:{publisher.accounts_in('eu-west-1')[0]}:layer:{NAMES[publisher.layers]}:7"
    options = ["--python-version", "3.13", "--python-platform", "x86_64-manylinux_2_34", "--only-binary", ":all:"]
    command = [
        find_uv() or "uv",
        "pip",
        "install",
        "--quiet",
        "--no-config",
        "--target",
        str(layer),
        *options,
        requirement,
    ]
    # The layer of awswrangler has no more than its own code and its metadata here: what is too large is not in it.
    subprocess.run([*command, *(["--no-deps"] if code else [])], check=True)
    files = {f"python/{path.relative_to(layer)}": path.read_bytes() for path in layer.rglob("*") if path.is_file()}
    layer_server.zips[arn] = layer_zip(files)
    with IndexServer(tmp_path) as unused:
        world = World(project=project, wheels=tmp_path, index=unused)
    world.write(arn=arn)
    before = world.files()

    assert adopt(arn, "--yes") == code

    assert (before == world.files()) == bool(code)
    if not code:
        assert f'"{requirement}",' in world.manifest.read_text()
        built = modules_of(project / ".lamina/layers/common.zip", tmp_path)
        assert modules_of(layer_server.zips[arn], tmp_path) <= built
