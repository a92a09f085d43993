"""SBOMs of zips: valid, the same on every machine, and merged with those inside wheels."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from audit.inspected import layer_of
from lamina.audit.inventory.contents import contents_of
from lamina.audit.inventory.sbom import Described, sbom
from lamina.core.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

CARGO = {
    "bomFormat": "CycloneDX",
    "specVersion": "1.6",
    "metadata": {"component": {"type": "library", "name": "alpha"}},
    "components": [
        {
            "type": "library",
            "name": "serde",
            "version": "1.0.228",
            "bom-ref": "x",
            "purl": "pkg:cargo/serde@1.0.228",
            "licenses": [{"expression": "MIT OR Apache-2.0"}],
            "components": [
                {"type": "library", "name": "inner", "bom-ref": "x", "licenses": [{"license": {"name": "?"}}]}
            ],
        },
        {"type": "cryptographic-asset", "name": "odd", "purl": "no purl", "version": "", "unknown": [1]},
    ],
}
SPDX = {"spdxVersion": "SPDX-2.3", "packages": []}


def metadata(name: str, *lines: str) -> bytes:
    return "\n".join(("Metadata-Version: 2.4", f"Name: {name}", "Version: 1.0", *lines, "")).encode()


def described(directory: Path, *, sboms: Mapping[str, object] | None = None, name: str = "common") -> Described:
    """Write a layer with two distributions, the first of which contains *sboms*, and return its description."""
    inside = {f"alpha-1.0.dist-info/sboms/{path}": _bytes(each) for path, each in (sboms or {}).items()}
    alpha = {
        "alpha/__init__.py": b"",
        "alpha-1.0.dist-info/METADATA": metadata(
            "Alpha",
            "License-Expression: MIT AND (Apache-2.0 OR ISC)",
            "Requires-Dist: beta>=1",
            "Requires-Dist: alpha[x]",
        ),
    }
    beta = {
        "beta.py": b"",
        "beta-1.0.dist-info/METADATA": metadata("beta", "License: Whatever", "Requires-Dist: (broken"),
    }
    directory.mkdir(parents=True, exist_ok=True)
    layer = layer_of(directory, name, {"alpha": alpha | inside, "beta": beta})
    return Described(
        name=name,
        kind="layer",
        target="python3.13 on x86_64",
        path=layer.path,
        contents=contents_of(layer.path, store=Store.open(directory / "store")),
        artifacts={each.name: (each.artifact, each.sha256) for each in layer.distributions},
    )


def _bytes(content: object) -> bytes:
    return content if isinstance(content, bytes) else json.dumps(content).encode()


def parsed(zips: Sequence[Described], unread: list[str] | None = None) -> dict[str, Any]:
    """Return the SBOM of *zips*, which is valid."""
    content = sbom(zips, service="orders", unread=unread)
    # Not imported with this module, because every process of the tests would need seconds for the grammars of `jsonschema`.
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    assert JsonStrictValidator(SchemaVersion.V1_5).validate_str(content.decode()) is None
    document: dict[str, Any] = json.loads(content)
    return document


def by_name(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in rows}


def test_one_zip(tmp_path: Path) -> None:
    """The SBOM of a zip is about the zip: its hash, and each distribution with its identifier, hash, licence and requirements but itself."""
    layer = described(tmp_path)

    document = parsed([layer])

    about = document["metadata"]["component"]
    assert ("common", layer.contents.sha256) == (about["name"], about["hashes"][0]["content"])
    assert "timestamp" not in document["metadata"]
    found = by_name(document["components"])
    assert ["alpha", "beta"] == sorted(found)
    assert found["alpha"]["purl"] == "pkg:pypi/alpha@1.0"
    assert found["alpha"]["hashes"] == [{"alg": "SHA-256", "content": layer.artifacts["alpha"][1]}]
    assert found["alpha"]["licenses"] == [{"expression": "MIT AND (Apache-2.0 OR ISC)"}]
    assert found["beta"]["licenses"] == [{"license": {"name": "Whatever"}}]
    needs = {each["ref"]: each.get("dependsOn", []) for each in document["dependencies"]}
    assert needs[about["bom-ref"]] == sorted(each["bom-ref"] for each in found.values())
    assert needs[found["alpha"]["bom-ref"]] == [found["beta"]["bom-ref"]]


def test_several_zips(tmp_path: Path) -> None:
    """The SBOM of a service has each zip, and each artifact once, however many zips contain it."""
    zips = [described(tmp_path), described(tmp_path / "other", name="other")]

    document = parsed(zips)

    assert document["metadata"]["component"]["name"] == "orders"
    assert ["alpha", "beta", "common", "other"] == sorted(by_name(document["components"]))
    assert len(document["components"]) == 4
    assert parsed([])["metadata"]["component"]["name"] == "orders"


def test_sboms_in_wheels(tmp_path: Path) -> None:
    """What a wheel says of the libraries inside it becomes part of its component, as far as it is valid."""
    unread: list[str] = []

    document = parsed([described(tmp_path, sboms={"alpha.cyclonedx.json": CARGO, "alpha.spdx.json": SPDX})], unread)

    inner = by_name(by_name(document["components"])["alpha"]["components"])
    assert inner["serde"]["purl"] == "pkg:cargo/serde@1.0.228"
    assert inner["serde"]["licenses"] == [{"expression": "MIT OR Apache-2.0"}]
    assert inner["inner"]["licenses"] == [{"license": {"name": "?"}}]
    assert {"name": "odd", "type": "library"} == {key: inner["odd"][key] for key in ("name", "type")}
    assert "purl" not in inner["odd"]
    assert len({each["bom-ref"] for each in inner.values()}) == 3
    assert unread == ["python/alpha-1.0.dist-info/sboms/alpha.spdx.json"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"[" * 100_000,
        {"bomFormat": "CycloneDX", "components": 3},
        {"bomFormat": "CycloneDX", "components": [{"type": "library"}]},
        {"bomFormat": "CycloneDX", "components": [{"name": ["x"]}]},
        {"bomFormat": "CycloneDX", "components": [{"name": "x", "licenses": [1]}]},
        {"bomFormat": "CycloneDX", "components": [{"name": "x"}] * 5_001},
    ],
    ids=lambda content: repr(content)[:60],
)
def test_hostile_sboms_in_wheels(tmp_path: Path, content: object) -> None:
    """An SBOM that is damaged or too large changes nothing else, and is named."""
    unread: list[str] = []

    document = parsed([described(tmp_path, sboms={"x.json": content})], unread)

    assert unread == ["python/alpha-1.0.dist-info/sboms/x.json"]
    assert "components" not in by_name(document["components"])["alpha"]


ODD: tuple[object, ...] = (
    None,
    "",
    "\ud800",
    "\x00\n\x7f",
    0,
    -1.5,
    True,
    [],
    [None],
    [""],
    [[]],
    {},
    {"": {}},
    {"name": ""},
    [{"license": {"name": ""}}],
    [{"license": {"id": "", "name": "\ud800"}}],
    [{"license": None}],
    [{"license": {"id": "no such licence"}}, {"expression": "MIT"}],
    [{"expression": "(" * 20_000}],
    [{"expression": "MIT OR " * 2_000 + "MIT"}],
    "pkg:generic/\ud800@1",
    "pkg:generic/a@1?x=%FF",
    "pkg:generic/%ed%a0%80@1",
    "pkg:pypi/é@1 2#../x",
    "pkg:swid/x",
    "pkg:",
    "x" * 10_000,
)


def odd_sboms() -> Iterator[dict[str, Any]]:
    """Yield SBOMs, each with an odd value somewhere."""
    for value in ODD:
        yield {"bomFormat": "CycloneDX", "components": value}
        for key in ("type", "name", "version", "group", "bom-ref", "purl", "licenses", "components"):
            yield {"bomFormat": "CycloneDX", "components": [{"type": "library", "name": "x"} | {key: value}]}


def test_odd_sboms_in_wheels(tmp_path: Path) -> None:
    """An SBOM with any value anywhere is taken over or named as unread, and the whole is valid."""
    given = [
        *odd_sboms(),
        b'{"bomFormat": "CycloneDX", "components": [' + b"9" * 5_000 + b"]}",
        b"\xff",
        b"\xff\xfe{\0",
    ]
    unread: list[str] = []

    document = parsed([described(tmp_path, sboms={f"{at:03}.json": each for at, each in enumerate(given)})], unread)

    taken = {row["bom-ref"].split("/")[-2] for row in by_name(document["components"])["alpha"]["components"]}
    assert taken
    assert unread
    assert taken.isdisjoint(path.rpartition("/")[2] for path in unread)


def test_deep_sboms_in_wheels(tmp_path: Path) -> None:
    """Components inside components become neighbours, however deep they are."""
    component: dict[str, Any] = {"name": "x"}
    for _ in range(100):
        component = {"name": "x", "components": [component]}

    document = parsed([described(tmp_path, sboms={"x.json": {"bomFormat": "CycloneDX", "components": [component]}})])

    assert len(by_name(document["components"])["alpha"]["components"]) == 101


def test_the_same_bytes_everywhere(tmp_path: Path) -> None:
    """Another process with other hashes, another time zone and another directory writes the same bytes."""
    zips = [described(tmp_path / "here", sboms={"x.json": CARGO}), described(tmp_path / "here", name="other")]
    script = (
        "import sys; from pathlib import Path; from audit.test_sbom import CARGO, described; from lamina.audit.inventory.sbom import sbom\n"
        "at = Path(sys.argv[1]); zips = [described(at, sboms={'x.json': CARGO}), described(at, name='other')]\n"
        "sys.stdout.buffer.write(sbom(zips, service='orders'))"
    )
    paths = os.pathsep.join([*filter(None, sys.path), str(Path(__file__).parents[1])])
    there = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "there")],
        env=os.environ | {"PYTHONPATH": paths, "PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo"},
        capture_output=True,
        check=True,
    )

    assert there.stdout == sbom(zips, service="orders") == sbom(zips, service="orders")
    assert there.stdout != sbom(zips[:1], service="orders")
