"""Segments are composed into the same layer on every machine."""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from archive.hostile import FILENAME, MODULE, OTHER, Entry, as_wheel, build, wheel_entries, write_wheel
from archive.spliced import contributions
from lamina.archive.layer import PART_BYTES, Composed, Contribution, Identity, compose, in_order
from lamina.archive.segment import Recipe, Segment, segment_path, splice, write_segment
from lamina.archive.zip.zipformat import LOCAL_HEADER, compress, encode
from lamina.core.errors import CorruptArchiveError, PathCollisionError, SuspiciousSizeError, UnsupportedMemberError
from lamina.core.store import Store
from lamina.core.target import Target
from lamina.core.values import Pin, Sha256, Wheel
from wheels import make_wheel

if TYPE_CHECKING:
    from collections.abc import Sequence

TARGET = Target.of("python3.13", "arm64")
GOLDEN = "443ebe809b2b5d3509c9a14d3a0ed2fa9a3f9d766994a33b4993477d3f848ca1"
"""The SHA-256 of the layer of `small_wheels`. If it must change, increase `FORMAT` in `lamina.archive.segment`."""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "store")


def small_wheels(directory: Path) -> list[Wheel]:
    """Create wheels with all valid peculiarities. Their bytes are the same on every machine, because zlib compresses none of them."""
    alpha: dict[str, bytes | str] = {
        "alpha/__init__.py": "value = 1\n" * 9,
        "alpha/py.typed": "",
        "alpha/größe.txt": "1",
        "ns/__init__.py": "#\n",
    }
    beta = {"beta_pkg/run.sh": "#!/bin/sh\n", "beta_pkg-2.0.data/data/share/beta.txt": "text", "ns/__init__.py": "#\n"}
    gamma: dict[str, bytes | str] = {"gamma.py": "x = 1\n", "tests/__pycache__/g.cpython-313.pyc": b"\0"}
    info = ("METADATA", "WHEEL", "RECORD", "entry_points.txt")
    made = [
        make_wheel(
            directory,
            name,
            version,
            files,
            modes={"alpha/__init__.py": 0o600, "beta_pkg/run.sh": 0o775},
            entry_points="[console_scripts]\nalpha = alpha:main\n" if name == "alpha" else None,
            stored=[*files, *(f"{name.lower().replace('.', '_')}-{version}.dist-info/{each}" for each in info)],
        )
        for name, version, files in (("alpha", "1.0", alpha), ("Beta.Pkg", "2.0", beta), ("gamma", "3", gamma))
    ]
    entries = wheel_entries(MODULE, OTHER, Entry(path=b"pkg/empty", payload=b"\3\0"))
    pkg = directory / FILENAME
    pkg.write_bytes(build([replace(entry, payload=compress(entry.content)) for entry in entries]))
    names = ("alpha", "beta-pkg", "gamma", "pkg")
    return [as_wheel(path, name=name) for path, name in zip([*made, pkg], names, strict=True)]


def identity(wheels: Sequence[Wheel], recipe: Recipe = Recipe()) -> Identity:  # noqa: B008 - it is frozen
    return Identity(target=TARGET, pins=tuple(wheel.pin for wheel in wheels), recipe=recipe)


def layer(wheels: Sequence[Wheel], store: Store, path: Path) -> Composed:
    who = identity(wheels)
    parts = contributions(wheels, who.recipe, store)
    with path.open("w+b", buffering=0) as file:
        return compose(file, parts, who, who.digest())


def fake(store: Store, name: str, *, size: int = 1, rows: int = 1) -> Segment:
    """Return a segment with *size* bytes and *rows* entries that does not exist on disk."""
    return Segment(
        path=store.root / name,
        entries_bytes=size,
        crc32=0,
        rows=rows,
        unzipped_bytes=size,
        directory=b"",
    )


class TestCompose:
    def test_golden(self, tmp_path: Path, store: Store) -> None:
        """The layer of a fixed set of wheels never changes."""
        composed = layer(small_wheels(tmp_path), store, tmp_path / "layer.zip")

        assert GOLDEN == composed.sha256

    def test_says_what_it_wrote(self, tmp_path: Path, store: Store) -> None:
        """The result has the file's hash, its zipped and unzipped size, and its number of files."""
        path = tmp_path / "layer.zip"
        composed = layer(small_wheels(tmp_path), store, path)
        data = path.read_bytes()
        with zipfile.ZipFile(path) as archive:
            rows = archive.infolist()

            assert (
                None,
                Composed(
                    sha256=hashlib.sha256(data).hexdigest(),
                    zipped_bytes=len(data),
                    unzipped_bytes=sum(row.file_size for row in rows),
                    files=len(rows),
                ),
            ) == (archive.testzip(), composed)

    def test_content(self, tmp_path: Path, store: Store) -> None:
        """Every file is in the zip once, with its mode, below `python/`, and the manifest is outside."""
        wheels = small_wheels(tmp_path)
        layer(wheels, store, tmp_path / "layer.zip")
        with zipfile.ZipFile(tmp_path / "layer.zip") as archive:
            found = {row.filename: oct(row.external_attr >> 16) for row in archive.infolist()}

        assert {
            f"lamina/{identity(wheels).digest()}.json": "0o100644",
            "python/alpha/__init__.py": "0o100644",
            "python/alpha/größe.txt": "0o100644",
            "python/alpha/py.typed": "0o100644",
            "python/alpha-1.0.dist-info/METADATA": "0o100644",
            "python/alpha-1.0.dist-info/RECORD": "0o100644",
            "python/alpha-1.0.dist-info/WHEEL": "0o100644",
            "python/alpha-1.0.dist-info/entry_points.txt": "0o100644",
            "python/beta_pkg/run.sh": "0o100755",
            "python/beta_pkg-2.0.dist-info/METADATA": "0o100644",
            "python/beta_pkg-2.0.dist-info/RECORD": "0o100644",
            "python/beta_pkg-2.0.dist-info/WHEEL": "0o100644",
            "python/share/beta.txt": "0o100644",
            "python/ns/__init__.py": "0o100644",
            **dict.fromkeys((f"python/pkg/{name}" for name in ("__init__.py", "other.py", "empty")), "0o100644"),
            **dict.fromkeys(
                (f"python/pkg-1.0.dist-info/{name}" for name in ("METADATA", "RECORD", "WHEEL")), "0o100644"
            ),
            "python/gamma.py": "0o100644",
            "python/gamma-3.dist-info/METADATA": "0o100644",
            "python/gamma-3.dist-info/RECORD": "0o100644",
            "python/gamma-3.dist-info/WHEEL": "0o100644",
        } == found

    def test_manifest(self, tmp_path: Path, store: Store) -> None:
        """The manifest lists the layer's distributions and hashes, and contains nothing about the machine or the time."""
        wheels = small_wheels(tmp_path)[:1]
        layer(wheels, store, tmp_path / "layer.zip")
        digest = identity(wheels).digest()
        with zipfile.ZipFile(tmp_path / "layer.zip") as archive:
            manifest = json.loads(archive.read(f"lamina/{digest}.json"))

        assert {
            "bytecode": [],
            "digest": digest,
            "distributions": [
                {
                    "artifact": "alpha-1.0-py3-none-any.whl",
                    "name": "alpha",
                    "sha256": wheels[0].pin.sha256,
                    "version": "1.0",
                }
            ],
            "recipe": {"exclude": [], "format": 1},
            "target": {"architecture": None, "runtime": "python3.13"},
            "version": "1",
        } == manifest

    def test_read_as_a_stream(self, tmp_path: Path, store: Store) -> None:
        """A program that reads only the local headers finds the same files."""
        layer(small_wheels(tmp_path), store, tmp_path / "layer.zip")
        data = (tmp_path / "layer.zip").read_bytes()
        position, walked = 0, []
        while data[position : position + 4] == b"PK\3\4":
            fields = LOCAL_HEADER.unpack_from(data, position)
            start = position + LOCAL_HEADER.size
            walked.append((position, data[start : start + fields[9]].decode()))
            position = start + fields[9] + fields[10] + fields[7]
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            assert [(row.header_offset, row.filename) for row in archive.infolist()] == walked
            assert archive.start_dir == position

    @pytest.mark.skipif(shutil.which("unzip") is None, reason="needs Info-ZIP")
    def test_info_zip(self, tmp_path: Path, store: Store) -> None:
        """`zipfile` finds no error in the zip."""
        layer(small_wheels(tmp_path), store, tmp_path / "layer.zip")
        result = subprocess.run(["unzip", "-tqq", tmp_path / "layer.zip"], capture_output=True, text=True, check=False)

        assert (0, "", "") == (result.returncode, result.stdout, result.stderr)

    def test_nothing(self, tmp_path: Path, store: Store) -> None:
        """A layer without distributions contains only its manifest."""
        composed = layer([], store, tmp_path / "layer.zip")

        assert 1 == composed.files

    def test_large_segments_stand_first(self, store: Store) -> None:
        """Large segments come before small ones, both sorted by name, with bytecode after its wheel and without empty segments."""
        parts = [
            Contribution(name="b", segment=fake(store, "1")),
            Contribution(name="a", segment=fake(store, "2"), is_bytecode=True),
            Contribution(name="a", segment=fake(store, "3")),
            Contribution(name="d", segment=fake(store, "4", size=PART_BYTES)),
            Contribution(name="c", segment=fake(store, "5", size=PART_BYTES, rows=0)),
            Contribution(name="c", segment=fake(store, "6", size=PART_BYTES + 1), is_bytecode=True),
        ]

        assert ["6", "4", "3", "2", "1"] == [each.segment.path.name for each in in_order(parts)]

    def test_too_many_files(self, tmp_path: Path, store: Store) -> None:
        """More files than a zip without zip64 supports are rejected before anything is written."""
        parts = [Contribution(name="a", segment=fake(store, "1", rows=65_534))]
        path = tmp_path / "layer.zip"
        with path.open("w+b", buffering=0) as file, pytest.raises(UnsupportedMemberError) as caught:
            compose(file, parts, identity([]), "0" * 64)

        assert (
            "the archive would contain 65,535 files; a zip without zip64 supports at most 65,534",
            0,
        ) == (str(caught.value), path.stat().st_size)

    def test_too_large(self, tmp_path: Path, store: Store) -> None:
        """More bytes than a zip without zip64 supports are rejected before anything is written."""
        parts = [Contribution(name=name, segment=fake(store, name, size=3 << 30)) for name in "ab"]
        path = tmp_path / "layer.zip"
        with path.open("w+b", buffering=0) as file, pytest.raises(SuspiciousSizeError) as caught:
            compose(file, parts, identity([]), "0" * 64)

        assert (0, True) == (path.stat().st_size, str(caught.value).startswith("the archive would have 6,442,4"))

    def test_most_files(self, tmp_path: Path, store: Store) -> None:
        """A zip with the maximum of 65,534 files can be read by other programs."""
        pieces = [encode(f"python/{number:05}", b"") for number in range(65_533)]
        segment = write_segment(store.entry("segments", "0" * 64), pieces, store)
        path = tmp_path / "layer.zip"
        with path.open("w+b", buffering=0) as file:
            compose(file, [Contribution(name="a", segment=segment)], identity([]), "0" * 64)
        with zipfile.ZipFile(path) as archive:
            assert 65_534 == len(archive.namelist())

    def test_damaged_segment(self, tmp_path: Path, store: Store) -> None:
        """A damaged segment is an error, and without it the next build creates it again."""
        wheels = small_wheels(tmp_path)
        good = layer(wheels, store, tmp_path / "layer.zip")
        segment = segment_path(wheels[1], Recipe(), store, omitted=frozenset({"python/ns/__init__.py"}))
        data = bytearray(segment.read_bytes())
        data[60] ^= 1
        segment.write_bytes(data)
        with pytest.raises(CorruptArchiveError) as caught:
            layer(wheels, store, tmp_path / "layer.zip")

        assert (
            f"the file `{segment}` in the store is damaged",
            "delete damaged files from the store: run `lamina cache verify`",
        ) == (str(caught.value), caught.value.hint)
        store.discard(segment)
        assert good == layer(wheels, store, tmp_path / "layer.zip")

    def test_segment_gone(self, tmp_path: Path, store: Store) -> None:
        """If the store is emptied during the build, the system's error is raised and no incomplete layer is left."""
        wheels = small_wheels(tmp_path)
        parts = contributions(wheels, Recipe(), store)
        parts[0].segment.path.unlink()
        with (tmp_path / "layer.zip").open("w+b", buffering=0) as file, pytest.raises(FileNotFoundError):
            compose(file, parts, identity(wheels), "0" * 64)

    def test_segment_cut(self, tmp_path: Path, store: Store) -> None:
        """A truncated segment is an error."""
        wheels = small_wheels(tmp_path)
        parts = contributions(wheels, Recipe(), store)
        path = parts[0].segment.path
        path.write_bytes(path.read_bytes()[:100])
        with (tmp_path / "layer.zip").open("w+b", buffering=0) as file, pytest.raises(CorruptArchiveError) as caught:
            compose(file, parts, identity(wheels), "0" * 64)

        missing = parts[0].segment.entries_bytes - 100

        assert f"`{path}` is truncated: it ends {missing:,} bytes too early" == str(caught.value)


class TestContributions:
    def test_shared_path(self, tmp_path: Path, store: Store) -> None:
        """A path with the same content in two distributions is in the layer once, from the first by name."""
        wheels = small_wheels(tmp_path)
        parts = contributions(list(reversed(wheels)), Recipe(), store)
        holders = [part.name for part in parts if b"python/ns/__init__.py" in part.segment.directory]

        assert (["pkg", "gamma", "beta-pkg", "alpha"], ["alpha"]) == ([part.name for part in parts], holders)

    def test_collision(self, tmp_path: Path, store: Store) -> None:
        """Different content at one path is rejected, and the error lists all such paths."""
        paths = [
            write_wheel(tmp_path / name, Entry(path=b"shared/%s" % file, content=name.encode() + file))
            for name in ("one", "two")
            for file in (b"x.py",)
        ]
        wheels = [as_wheel(path) for path in paths]
        wheels[1] = replace(wheels[1], pin=replace(wheels[1].pin, name="pkg2"))
        with pytest.raises(PathCollisionError) as caught:
            contributions(wheels, Recipe(), store)

        assert str(caught.value).startswith(
            "distributions install different content at the same path: `python/pkg-1.0.dist-info"
        )
        assert str(caught.value).endswith("; `python/shared/x.py` in `pkg` and `pkg2`")

    def test_exclusion_resolves_a_collision(self, tmp_path: Path, store: Store) -> None:
        """A path that both distributions exclude is no conflict."""
        wheels = [
            as_wheel(make_wheel(tmp_path, name, "1", {f"{name}.py": "1", "tests/__init__.py": name})) for name in "ab"
        ]
        parts = contributions(wheels, Recipe(exclude=("/tests/",)), store)

        assert [4, 4] == [part.segment.rows for part in parts]

    def test_same_as_one_by_one(self, tmp_path: Path, store: Store) -> None:
        """Splicing several wheels at once gives the same result as splicing each alone."""
        wheels = [as_wheel(make_wheel(tmp_path, f"pkg{number}", "1")) for number in range(12)]
        together = [part.segment.path.read_bytes() for part in contributions(wheels, Recipe(), store)]
        alone = Store.open(tmp_path / "another")

        assert [splice(wheel, Recipe(), alone).path.read_bytes() for wheel in wheels] == together


class TestIdentity:
    def test_order_does_not_matter(self, tmp_path: Path) -> None:
        """The digest does not depend on the order of the artifacts."""
        wheels = small_wheels(tmp_path)

        assert identity(wheels).digest() == identity(list(reversed(wheels))).digest()

    def test_depends_on_each_input(self) -> None:
        """Every input that can change a byte of the layer changes the digest."""
        pin = Pin(name="a", version="1", filename="a-1-cp313-abi3-linux_aarch64.whl", sha256=Sha256("0" * 64))
        base = Identity(target=TARGET, pins=(pin,), recipe=Recipe())
        others = [
            replace(base, target=Target.of("python3.12", "arm64")),
            replace(base, target=Target.of("python3.13", "x86_64")),
            replace(base, recipe=Recipe(exclude=("a",))),
            replace(base, bytecode=(("magic", "3571"),)),
            replace(base, bytecode=(("module", "a"), ("module", "b"))),
            replace(base, bytecode=(("module", "b"),)),
            replace(base, pins=()),
            replace(base, pins=(replace(pin, name="b"),)),
            replace(base, pins=(replace(pin, version="2"),)),
            replace(base, pins=(replace(pin, filename="a-1-1-cp313-abi3-linux_aarch64.whl"),)),
            replace(base, pins=(replace(pin, sha256=Sha256("1" * 64)),)),
        ]

        assert 12 == len({each.digest() for each in [base, *others]})

    def test_where_it_comes_from_does_not_matter(self) -> None:
        """A mirror, a local copy or a stated size does not change the digest."""
        pin = Pin(name="a", version="1", filename="a-1-py3-none-any.whl", sha256=Sha256("0" * 64))
        elsewhere = replace(
            pin,
            url="https://index.example/simple/a-1-py3-none-any.whl",
            path=Path("a-1-py3-none-any.whl"),
            size=7,
            index="https://index.example/simple",
        )
        digests = {Identity(target=TARGET, pins=(each,), recipe=Recipe()).digest() for each in (pin, elsewhere)}

        assert 1 == len(digests)

    def test_same_on_all_architectures(self) -> None:
        """A layer without native code is the same for all architectures of a runtime, and differs between runtimes."""
        pin = Pin(name="a", version="1", filename="a-1-py2.py3-none-any.whl", sha256=Sha256("0" * 64))
        layers = [
            Identity(target=Target.of(runtime, architecture), pins=(pin,), recipe=Recipe()).digest()
            for runtime in ("python3.13", "python3.12")
            for architecture in ("arm64", "x86_64")
        ]

        assert layers[0] == layers[1]
        assert layers[2] == layers[3]
        assert layers[0] != layers[2]

    def test_golden(self) -> None:
        """The digest of a fixed identity never changes, because every project would publish all its layers again."""
        pin = Pin(name="a", version="1", filename="a-1-py3-none-any.whl", sha256=Sha256("0" * 64))

        assert (
            "c365f45ff6eb12a51359c7bce7021fafb738ef38b94ea5f195fad2eb270e1d86"
            == Identity(target=TARGET, pins=(pin,), recipe=Recipe()).digest()
        )


class TestDeterminism:
    def test_order_of_wheels(self, tmp_path: Path) -> None:
        """The order of wheels does not change the layer."""
        wheels = small_wheels(tmp_path)
        shuffler = random.Random(7)  # noqa: S311  # repeatable, not secret
        hashes = set()
        for attempt in range(6):
            shuffler.shuffle(wheels)
            hashes.add(layer(wheels, Store.open(tmp_path / str(attempt)), tmp_path / "layer.zip").sha256)

        assert {GOLDEN} == hashes

    @pytest.mark.parametrize(
        "environment",
        [
            {"PYTHONHASHSEED": "1"},
            {"PYTHONHASHSEED": "2", "TZ": "Pacific/Kiritimati"},
            {"TZ": "America/Los_Angeles", "LC_ALL": "C", "PYTHONUTF8": "0"},
            {"SOURCE_DATE_EPOCH": "1700000000"},
        ],
        ids=["hash seed", "hash seed and time zone", "locale", "epoch"],
    )
    def test_environment(self, tmp_path: Path, environment: dict[str, str]) -> None:
        """Hash seed, time zone, locale, umask and directory do not change the layer."""
        (tmp_path / "elsewhere").mkdir()
        program = (
            "import os, sys; from pathlib import Path; os.umask(0o077);"
            f"sys.path.insert(0, {str(Path(__file__).parents[1])!r});"
            "from archive.test_layer import *;"
            "print(layer(small_wheels(Path('wheels')), Store.open(Path('store')), Path('layer.zip')).sha256)"
        )
        result = subprocess.run(
            [sys.executable, "-c", program],
            cwd=tmp_path / "elsewhere",
            env={"PATH": os.environ.get("PATH", "")} | environment,
            capture_output=True,
            text=True,
            check=True,
        )

        assert f"{GOLDEN}\n" == result.stdout
