"""The last build of a project: its reusable outputs, and the reasons why a new layer differs."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

from lamina.core.target import Target
from lamina.core.values import Build, Distribution, Layer, Package, Pin, Sha256
from lamina.pipeline import report, state
from lamina.pipeline.previous import Previous, changes
from lamina.project.snapshot import Snapshot

if TYPE_CHECKING:
    from pathlib import Path

ARM, X86 = Target.of("python3.13", "arm64"), Target.of("python3.13", "x86_64")
CONTENT = b"zip"


def layer_of(project: Path, *distributions: Distribution) -> Layer:
    return Layer(
        name="common",
        path=project / ".lamina" / "layers" / "common.zip",
        digest="d" * 64,
        sha256=hashlib.sha256(CONTENT).hexdigest(),
        zipped_bytes=3,
        unzipped_bytes=3,
        files=1,
        distributions=distributions,
        extents=(),
    )


def package_of(project: Path) -> Package:
    return Package(
        name="create",
        handler="app.handler",
        path=project / ".lamina" / "functions" / "create.zip",
        sha256=hashlib.sha256(CONTENT).hexdigest(),
        zipped_bytes=3,
        unzipped_bytes=3,
        files=1,
        layers=(),
        total_unzipped_bytes=3,
        console_editable=True,
    )


def distribution(name: str, version: str) -> Distribution:
    return Distribution(
        name=name, version=version, artifact=f"{name}.whl", sha256=version, zipped_bytes=1, unzipped_bytes=1
    )


def pin(name: str, version: str, sha256: str = "") -> Pin:
    """Return the pin of a file with *sha256*, which by default depends only on the version."""
    return Pin(name=name, version=version, filename=f"{name}.whl", sha256=Sha256(sha256 or version))


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """A project with one layer and one package, their report and their record."""
    build = Build(
        service="shop",
        target=ARM,
        layers=(layer_of(tmp_path),),
        packages=(package_of(tmp_path),),
        findings=(),
        reused=False,
        seconds=0.0,
    )
    for path in (layer_of(tmp_path).path, package_of(tmp_path).path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(CONTENT)
    (tmp_path / report.BUILD_FILE).write_bytes(report.encode(build, project=tmp_path))
    paths = [".lamina/layers/common.zip", ".lamina/functions/create.zip"]
    state.remember(tmp_path, asked={}, inputs=Snapshot(observations=()), sources=["fingerprint"], outputs=paths)
    return tmp_path


def test_outputs_that_stand(built: Path) -> None:
    """Layers and packages with unchanged zips are found by name."""
    previous = Previous.of(built)

    assert (layer_of(built), package_of(built)) == (previous.layer("common"), previous.package("create"))


def test_outputs_of_other_names(built: Path) -> None:
    """A layer or function that is not in the last build is not found."""
    previous = Previous.of(built)

    assert (None, None) == (previous.layer("other"), previous.package("other"))


@pytest.mark.parametrize("content", [None, b"no!"])
def test_outputs_that_were_changed(built: Path, content: bytes | None) -> None:
    """A missing or changed zip is not reusable, but its record is still available."""
    for path in (layer_of(built).path, package_of(built).path):
        path.unlink()
        if content is not None:
            path.write_bytes(content)
    previous = Previous.of(built)

    assert (None, None) == (previous.layer("common"), previous.package("create"))
    assert layer_of(built) == previous.known_layer("common")


def test_outputs_that_lamina_did_not_write_here(built: Path) -> None:
    """A zip that a checkout or a restored cache brought, with a fitting report and record, is not reusable."""
    for path in (layer_of(built).path, package_of(built).path):
        path.rename(path.with_suffix(".old"))
        path.write_bytes(CONTENT)
    previous = Previous.of(built)

    assert (None, None) == (previous.layer("common"), previous.package("create"))


def test_outputs_without_a_record(built: Path) -> None:
    """If the stat of a zip is not recorded, it is not reusable, whatever the report says of its content."""
    (built / state.STATE_FILE).unlink()

    assert None is Previous.of(built).layer("common")


def test_outputs_whose_stat_is_recorded_are_not_read(built: Path) -> None:
    """A zip with the recorded stat is reused without hashing it."""
    path = layer_of(built).path
    path.write_bytes(b"no!")
    state.remember(built, asked={}, inputs=Snapshot(observations=()), sources=[], outputs=[".lamina/layers/common.zip"])

    assert layer_of(built) == Previous.of(built).layer("common")


def test_sources(built: Path) -> None:
    """The digest of the packages' inputs is read from the state."""
    assert ("fingerprint",) == Previous.of(built).left.sources


@pytest.mark.parametrize("content", [None, b"", b"[]", b"{}"])
def test_no_build(built: Path, content: bytes | None) -> None:
    """A missing or unreadable report counts as no build."""
    (built / report.BUILD_FILE).unlink()
    if content is not None:
        (built / report.BUILD_FILE).write_bytes(content)
    previous = Previous.of(built)

    assert (None, None, None) == (previous.build, previous.layer("common"), previous.package("create"))


def test_another_target(built: Path) -> None:
    """Each target after the first has its last build in its own directory, or none."""
    assert Previous.of(built, report.place_of(X86)).build is None


@pytest.mark.parametrize(
    ("pins", "reason"),
    [
        ([pin("alpha", "2"), pin("beta", "1")], "alpha 1 → 2"),
        ([pin("alpha", "1", "b"), pin("beta", "1")], "alpha 1 (different file)"),
        ([pin("alpha", "1")], "removed beta 1"),
        ([pin("alpha", "1"), pin("beta", "1"), pin("gamma", "3")], "added gamma 3"),
        ([pin("alpha", "2"), pin("gamma", "3")], "alpha 1 → 2, added gamma 3, removed beta 1"),
        (
            [pin("alpha", "1"), pin("beta", "1")],
            "same packages, different build options: exclusions, bytecode, the handlers' imports, or lamina's format",
        ),
    ],
)
def test_changes(tmp_path: Path, pins: list[Pin], reason: str) -> None:
    """The reason names updated, added and removed distributions, or states that only build options changed."""
    layer = layer_of(tmp_path, distribution("alpha", "1"), distribution("beta", "1"))

    assert reason == changes(layer, pins, ARM, ARM)


def test_many_changes(tmp_path: Path) -> None:
    """Of more than five changes, four are named and the others are counted."""
    pins = [pin(name, "1") for name in "abcdef"]

    assert "added a 1, added b 1, added c 1, added d 1, and 2 more" == changes(layer_of(tmp_path), pins, ARM, ARM)
    assert "added a 1, added b 1, added c 1, added d 1, added e 1" == changes(layer_of(tmp_path), pins[:5], ARM, ARM)


def test_another_target_is_the_reason(tmp_path: Path) -> None:
    """If the target changed, the reason is only the target."""
    layer = layer_of(tmp_path)

    assert "python3.13 on arm64 → python3.13 on x86_64" == changes(layer, [pin("alpha", "1")], X86, ARM)


def test_first_build_is_the_reason() -> None:
    """A layer that is not in the last build was not built before."""
    assert "not built before" == changes(None, [], ARM, ARM)
