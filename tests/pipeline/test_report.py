"""The build report: a written report is read back, and any other file is refused."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from lamina.core.documents import seal
from lamina.core.errors import ConfigError
from lamina.core.frozen import replace
from lamina.core.target import Target
from lamina.core.values import Build, Distribution, Extent, Finding, Layer, Package, Severity
from lamina.pipeline import report

if TYPE_CHECKING:
    from pathlib import Path

SHA256 = "ab" * 32
FINDING = Finding(rule="little-headroom", severity=Severity.WARNING, message="nearly full", path="common")


def build_of(project: Path, *, artifact: str = "alpha-1.0-py3-none-any.whl") -> Build:
    """Return a build that has a value in every field."""
    layer = Layer(
        name="common",
        path=project / ".lamina" / "layers" / "common.zip",
        digest="cd" * 32,
        sha256=SHA256,
        zipped_bytes=10,
        unzipped_bytes=20,
        files=3,
        distributions=(
            Distribution(
                name="alpha",
                version="1.0",
                artifact=artifact,
                sha256=SHA256,
                zipped_bytes=9,
                unzipped_bytes=15,
                bytecode_bytes=5,
            ),
        ),
        extents=(Extent(name="alpha", size=9, segment="ef" * 32),),
    )
    package = Package(
        name="create",
        handler="app.handler",
        path=project / ".lamina" / "functions" / "create.zip",
        sha256=SHA256,
        zipped_bytes=5,
        unzipped_bytes=6,
        files=1,
        layers=("common",),
        total_unzipped_bytes=26,
        console_editable=True,
    )
    return Build(
        service="shop",
        target=Target.of("python3.13", "arm64"),
        layers=(layer,),
        packages=(package,),
        findings=(FINDING,),
        reused=False,
        seconds=0.25,
    )


def write(project: Path, content: bytes) -> None:
    (project / ".lamina").mkdir()
    (project / report.BUILD_FILE).write_bytes(content)


def document_of(project: Path) -> dict[str, Any]:
    return report.document(build_of(project), project=project)


def test_round_trip(tmp_path: Path) -> None:
    """A written build is equal after reading it."""
    write(tmp_path, report.encode(build_of(tmp_path), project=tmp_path))

    assert build_of(tmp_path) == report.read(tmp_path)


def test_moved_project(tmp_path: Path) -> None:
    """Paths in the report are relative, so a moved project is read from its new directory."""
    write(tmp_path, report.encode(build_of(tmp_path / "elsewhere"), project=tmp_path / "elsewhere"))

    assert build_of(tmp_path) == report.read(tmp_path)


def test_extents_of_an_earlier_report(tmp_path: Path) -> None:
    """A report of an older lamina, without segment names, is read with empty names."""
    document = document_of(tmp_path)
    del document["layers"][0]["segments"][0]["segment"]
    write(tmp_path, seal(document, report.BUILD_FILE))

    assert (Extent(name="alpha", size=9, segment=""),) == report.read(tmp_path).layers[0].extents


def test_unknown_fields_of_the_document(tmp_path: Path) -> None:
    """Unknown fields are ignored, because fields may be added within a version."""
    write(tmp_path, seal(document_of(tmp_path) | {"new": 1}, report.BUILD_FILE))

    assert build_of(tmp_path) == report.read(tmp_path)


def test_no_build(tmp_path: Path) -> None:
    """The error for a missing report suggests a build."""
    with pytest.raises(ConfigError) as caught:
        report.read(tmp_path)

    assert (f"no build found in `{tmp_path}`", "run `lamina build`") == (str(caught.value), caught.value.hint)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff", b"{}", b"[]", b"1", b"null", b'{"version": "1"}', b'{"version": 1}'],
)
def test_unreadable(tmp_path: Path, content: bytes) -> None:
    """A file that is not a report raises an error with its path."""
    write(tmp_path, content)

    with pytest.raises(ConfigError) as caught:
        report.read(tmp_path)

    assert f"`{tmp_path / report.BUILD_FILE}` is not a readable build report of version 1" == str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"version": "2"},
        {"layers": None},
        {"layers": [[]]},
        {"layers": [{}]},
        {"layers": []},
        {"functions": ["create"]},
        {"target": {"runtime": "python3.13"}},
        {"findings": [{"rule": "x", "severity": "grave", "message": "", "path": None}]},
        {"findings": [1]},
    ],
    ids=repr,
)
def test_other_versions(tmp_path: Path, changes: dict[str, object]) -> None:
    """A report with another version or invalid fields raises an error."""
    write(tmp_path, seal(document_of(tmp_path) | changes, report.BUILD_FILE))

    with pytest.raises(ConfigError) as caught:
        report.read(tmp_path)

    assert f"`{tmp_path / report.BUILD_FILE}` is not a readable build report of version 1" == str(caught.value)


def test_architecture_of_a_pure_layer(tmp_path: Path) -> None:
    """A layer without native code supports every architecture, which the report represents as null."""
    pure, native = build_of(tmp_path), build_of(tmp_path, artifact="alpha-1.0-cp313-cp313-manylinux_2_17_aarch64.whl")

    assert [None, "arm64"] == [
        report.document(build, project=tmp_path)["layers"][0]["architecture"]  # type: ignore[index]
        for build in (pure, native)
    ]


def test_code_sha256_is_in_base64(tmp_path: Path) -> None:
    """The report also has the zip's hash in base64, as Lambda reports it."""
    (layer,) = document_of(tmp_path)["layers"]

    assert (SHA256, "q6urq6urq6urq6urq6urq6urq6urq6urq6urq6urq6s=") == (layer["sha256"], layer["code_sha256"])


def test_several_targets(tmp_path: Path) -> None:
    """The first target's report contains the reports of the other targets, with the same fields."""
    first = build_of(tmp_path)
    other = replace(first, target=Target.of("python3.13", "x86_64"))

    document = json.loads(report.encode(first, project=tmp_path, others=[other]))

    assert "crc32" == list(document)[-1]
    del document["crc32"]
    (second,) = document.pop("other_targets")
    assert document_of(tmp_path) == document
    assert document_of(tmp_path) | {"target": {"runtime": "python3.13", "architecture": "x86_64"}} == second


def test_single_target(tmp_path: Path) -> None:
    """Without other targets, the report has no field for them."""
    assert "other_targets" not in document_of(tmp_path)


def test_report_of_another_target(tmp_path: Path) -> None:
    """Each target after the first has its report in its own directory."""
    place = report.place_of(Target.of("python3.13", "x86_64"))
    path = tmp_path / place / report.BUILD_NAME
    path.parent.mkdir(parents=True)
    path.write_bytes(report.encode(build_of(tmp_path), project=tmp_path, output=place))

    assert ".lamina/python3.13-x86_64" == place
    assert build_of(tmp_path) == report.read(tmp_path, place)
