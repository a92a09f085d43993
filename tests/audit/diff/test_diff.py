"""The changes between two sides: pairs of archives, distributions, files, imports, and why a layer would be published."""

from __future__ import annotations

import json
import re
import zipfile
from typing import TYPE_CHECKING

import pytest

from lamina.audit.diff.archives import read_archive
from lamina.audit.diff.compare import compare
from lamina.audit.diff.markdown import render
from lamina.audit.diff.text import lines
from lamina.audit.diff.values import ArchiveKind, ColdStarts, ComparedArchive, ComparedDistribution, Side
from lamina.audit.vulnerabilities.values import Advice, Release, Vulnerability
from lamina.core.frozen import replace
from lamina.core.store import Store

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

A, B = "a" * 64, "b" * 64


def _dist(name: str, version: str, sha256: str | None = None, size: int | None = 100) -> ComparedDistribution:
    return ComparedDistribution(name=name, version=version, sha256=sha256, unzipped_bytes=size)


def _layer(*distributions: ComparedDistribution, name: str = "common", **values: object) -> ComparedArchive:
    given: dict[str, object] = {"target": "python3.13 on arm64", "digest": A, "sha256": A, **values}
    return replace(ComparedArchive(kind=ArchiveKind.LAYER, name=name, distributions=distributions), **given)


def _side(*archives: ComparedArchive, **values: object) -> Side:
    return replace(Side(name="one", archives=archives), **values)


ALPHA = _dist("alpha", "1.0", A)
OTHER = {"digest": B, "sha256": B}


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        (_layer(ALPHA), _layer(ALPHA), None),
        (_layer(ALPHA), _layer(ALPHA, sha256=None), None),
        (_layer(ALPHA), _layer(_dist("alpha", "1.1", B), **OTHER), "alpha 1.0 → 1.1"),
        (_layer(ALPHA), _layer(_dist("alpha", "1.0", B), **OTHER), "alpha 1.0 (different file)"),
        (_layer(ALPHA), _layer(ALPHA, _dist("beta", "2"), **OTHER), "added beta 2"),
        (_layer(ALPHA), _layer(**OTHER), "removed alpha 1.0"),
        (
            _layer(ALPHA),
            _layer(ALPHA, target="python3.14 on arm64", **OTHER),
            "python3.13 on arm64 → python3.14 on arm64",
        ),
        (
            _layer(ALPHA),
            _layer(ALPHA, **OTHER),
            "same packages, different build options: exclusions, bytecode, the handlers' imports, or lamina's format",
        ),
        (
            _layer(ALPHA, files=(("python/own.py", 1, 1),)),
            _layer(ALPHA, files=(("python/own.py", 1, 2),), **OTHER),
            "1 file changed",
        ),
        # A zip states its digest and the hashes of its distributions itself.
        (_layer(ALPHA), _layer(ALPHA, sha256=B), "same digest, other bytes: the same files are packed differently"),
        (_layer(ALPHA), _layer(ALPHA, sha256=B, bytecode=B), "same digest, other bytes: its bytecode changed"),
        (
            _layer(ALPHA, files=(("python/alpha.py", 1, 1),), owned=(("python/alpha.py", "alpha"),)),
            _layer(
                ALPHA,
                files=(("python/alpha.py", 1, 2), ("python/evil.py", 1, 1)),
                owned=(("python/alpha.py", "alpha"),),
                sha256=B,
            ),
            "same digest, other bytes: 1 added, 1 changed",
        ),
        (
            _layer(digest=None, files=(("python/a.py", 1, 1),)),
            _layer(digest=None, sha256=B, files=(("python/a.py", 1, 1), ("python/b.py", 1, 1))),
            "1 file changed",
        ),
        (
            _layer(digest=None, files=(("python/a.py", 1, 1),)),
            _layer(digest=None, sha256=B, files=(("python/a.py", 1, 1),)),
            "the same files are packed differently",
        ),
        (_layer(ALPHA, digest=None, sha256=None), _layer(ALPHA), None),
        (_layer(ALPHA, digest=None, sha256=None), _layer(_dist("alpha", "2", B)), "alpha 1.0 → 2"),
    ],
)
def test_reason(before: ComparedArchive, after: ComparedArchive, reason: str | None) -> None:
    """The reason names what decides that a layer is published; equal zips, digests and locked distributions are no reason."""
    (change,) = compare(_side(before), _side(after)).archives

    assert reason == change.reason


def test_distribution_without_hash() -> None:
    """Without hashes, the files decide whether a distribution differs, but not those that only an installer writes."""
    files = (("python/alpha.py", 1, 1), ("python/alpha-1.dist-info/RECORD", 9, 9))
    owned = tuple((path, "alpha") for path, *_ in files)
    one = _layer(_dist("alpha", "1"), digest=None, files=files, owned=owned)
    installed = replace(one, sha256=B, files=(files[0], ("python/alpha-1.dist-info/RECORD", 9, 8)))
    edited = replace(one, sha256=B, files=(("python/alpha.py", 1, 2), files[1]))

    reasons = [compare(_side(one), _side(each)).archives[0].reason for each in (installed, edited)]

    assert ["files that installers write differ", "alpha 1 (other files)"] == reasons


OPTIONS = {"bytecode.magic": "1", "bytecode.mode": "reachable", "bytecode.modules": A, "recipe.exclude": "[]"}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"recipe.exclude": '["x"]'}, "`exclude` changed"),
        ({"recipe.format": "2"}, "lamina's format of layers changed"),
        ({"bytecode.mode": "all"}, "the `bytecode` mode changed"),
        ({"bytecode.magic": "2", "bytecode.new": "1"}, "the compiler of the bytecode changed"),
        ({"own_code": B, "bytecode.modules": B}, "your code in the layer changed, handlers now import `beta`"),
    ],
)
def test_cause(changes: dict[str, str], reason: str) -> None:
    """If the manifests have the same distributions, they name the cause."""
    before = _layer(ALPHA, options=tuple(OPTIONS.items()), reached=(("alpha", "alpha"),))
    after = replace(
        before, **OTHER, options=tuple((OPTIONS | changes).items()), reached=(("alpha", "alpha"), ("beta", "beta"))
    )

    def reason_of(one: ComparedArchive, two: ComparedArchive) -> str | None:
        return compare(_side(one), _side(two)).archives[0].reason

    assert reason == reason_of(before, after)
    newer = replace(after, distributions=(_dist("alpha", "1.1", B),))
    assert "alpha 1.0 → 1.1" == reason_of(before, newer)
    old, new = (
        replace(side, files=(("python/alpha.py", 1, crc),), owned=(("python/alpha.py", "alpha"),))
        for crc, side in enumerate((before, after))
    )
    assert reason == reason_of(old, new)
    assert "alpha 1.0 (other files)" == reason_of(old, replace(new, options=None))


def test_unknown_cause() -> None:
    """The modules that handlers import may differ within the same distributions."""
    before = _layer(ALPHA, options=tuple(OPTIONS.items()), reached=(("alpha", "alpha"),))
    after = replace(before, **OTHER, options=tuple((OPTIONS | {"bytecode.modules": B}).items()))

    assert "handlers import other modules" == compare(_side(before), _side(after)).archives[0].reason


def test_pairs() -> None:
    """Archives of a service pair by name and target; a single zip pairs with the most similar archive, and a lock only with layers."""
    web, data = _layer(ALPHA, name="web"), _layer(_dist("beta", "1", B), name="data", **OTHER)
    package = replace(web, kind=ArchiveKind.PACKAGE, name="hello", distributions=())
    service = _side(web, data, package)

    def names(before: Side, after: Side) -> list[tuple[str | None, str | None]]:
        pairs = compare(before, after).archives
        return [tuple(side and side.name for side in (each.before, each.after)) for each in pairs]  # type: ignore[misc]

    single = _side(replace(data, name="old", sha256="c" * 64, is_of_service=False))
    lock = _side(replace(web, sha256=None, digest=None), is_lock=True)
    assert [("old", "data")] == names(single, service)
    assert [("data", "old")] == names(service, single)
    assert [("web", "web"), ("data", None)] == names(service, lock)
    assert [("web", "web"), ("hello", "hello"), ("data", None)] == names(service, _side(web, package))
    same = replace(data, name="copy", distributions=web.distributions)
    assert [("old", "copy")] == names(_side(replace(same, name="old", is_of_service=False)), _side(web, same))
    moved = replace(web, target="python3.14 on arm64")
    assert [("web", "web")] == names(_side(web), _side(moved))
    assert [("web", "web"), (None, "web")] == names(_side(web), _side(web, moved))


def _zip(path: Path, files: Mapping[str, str], *, mode: str | None = None) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        if mode is not None:
            manifest = {
                "version": "1",
                "digest": A,
                "bytecode": [["mode", mode]],
                "recipe": {"exclude": [], "format": 1},
                "target": {"runtime": "python3.13", "architecture": None},
                "distributions": [{"name": "alpha", "version": "1.0", "artifact": "alpha.whl", "sha256": A}],
            }
            archive.writestr(f"lamina/{A}.json", json.dumps(manifest))
    return path


FILES = {
    "python/alpha/__init__.py": "X = 1\n",
    "python/alpha/deep.py": "",
    "python/alpha-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: alpha\nVersion: 1.0\n",
    "python/alpha-1.0.dist-info/RECORD": "alpha/__init__.py,,\nalpha/deep.py,,\nalpha-1.0.dist-info/METADATA,,\n",
}


def test_archive(tmp_path: Path) -> None:
    """A zip says its digest, target and hashes if lamina built it, and which modules the handlers import."""
    store = Store.open(tmp_path / "store")
    compiled = FILES | {"python/alpha/__pycache__/deep.cpython-313.pyc": "12345"}

    found = read_archive(_zip(tmp_path / "own.zip", compiled, mode="reachable"), store=store)
    foreign = read_archive(_zip(tmp_path / "foreign.zip", compiled), store=store)
    everything = read_archive(_zip(tmp_path / "all.zip", compiled, mode="all"), store=store)
    damaged = compiled | {"python/alpha/__pycache__/deep.cpython-313.pyc": "54321"}
    exchanged = read_archive(_zip(tmp_path / "bad.zip", damaged, mode="reachable"), store=store)

    assert (A, "python3.13", (("alpha", "alpha.deep"),)) == (found.digest, found.target, found.reached)
    assert [("alpha", "1.0", A)] == [(each.name, each.version, each.sha256) for each in found.distributions]
    assert found.sizes is not None
    assert 5 == found.sizes.bytecode_bytes
    assert sorted(FILES) == [path for path, *_ in found.files or ()]
    assert (None, "", None) == (foreign.digest, foreign.target, foreign.reached)
    assert everything.reached is None
    assert B == read_archive(tmp_path / "own.zip", store=store, sha256=B).sha256, "hashes the zip again"
    (change,) = compare(_side(found), _side(exchanged)).archives
    assert "same digest, other bytes: its bytecode changed" == change.reason


@pytest.mark.parametrize("manifest", ["", "[]", "{}", '{"target": 1}', "[" * 100_000])
def test_hostile_manifest(tmp_path: Path, manifest: str) -> None:
    """A manifest that lamina did not write says nothing."""
    path = _zip(tmp_path / "hostile.zip", FILES | {f"lamina/{A}.json": manifest})

    assert read_archive(path, store=Store.open(tmp_path / "store")).digest is None


def test_another_installation(tmp_path: Path) -> None:
    """The same wheel in another directory, or by another installer, is not another wheel."""
    store = Store.open(tmp_path / "store")
    pip = FILES | {"python/alpha-1.0.dist-info/INSTALLER": "pip", "python/bin/alpha": "#!/usr/bin/python\n"}
    site = {path.replace("python/", "python/lib/python3.13/site-packages/"): text for path, text in FILES.items()}
    edited = site | {"python/lib/python3.13/site-packages/alpha/deep.py": "X = 2\n"}
    sides = {
        name: _side(read_archive(_zip(tmp_path / f"{name}.zip", files), store=store), name=name)
        for name, files in {"plain": FILES, "pip": pip, "site": site, "edited": edited}.items()
    }

    def shown(after: str) -> list[str]:
        return list(lines(compare(sides["plain"], sides[after]), verbose=True))[1:]

    assert ["layer pip: differs: files that installers write differ", "1 zip differs"] == [
        shown("pip")[0],
        shown("pip")[-1],
    ]
    assert "  files: 2 added" in shown("pip")
    moved = shown("site")
    assert "layer site: differs: 4 files moved" == moved[0]
    assert ["  alpha 1.0 (moved)", "  files: 4 moved"] == moved[-7:-5]
    assert "    moved python/alpha/deep.py → python/lib/python3.13/site-packages/alpha/deep.py" in moved
    assert "layer edited: differs: alpha 1.0 (other files)" == shown("edited")[0]
    assert "  files: 1 changed, 3 moved" in shown("edited")


def test_the_same_place_twice(tmp_path: Path) -> None:
    """A file may be in several directories that Python imports from; each is compared."""
    store = Store.open(tmp_path / "store")
    places = [f"python/{inner}a.py" for inner in ("", "lib/python3.12/site-packages/", "lib/python3.13/site-packages/")]
    one, two = (read_archive(_zip(tmp_path / f"{text}.zip", dict.fromkeys(places, text)), store=store) for text in "xy")

    (change,) = compare(_side(one), _side(two)).archives

    assert change.files is not None
    assert sorted(places) == sorted(change.files.changed)
    assert ((), ()) == (change.files.added, change.files.moved)


def test_vulnerabilities_by_any_name() -> None:
    """A vulnerability that a database lists under different IDs for two versions is neither new nor gone."""

    class Named:
        place = "a test"

        def ask(self, releases: Sequence[Release]) -> Advice:
            names = {"1.0": ("PYSEC-1", "CVE-1"), "1.1": ("GHSA-1", "CVE-1"), "2": ("PYSEC-1", "CVE-1")}
            found = [(each, *names[each.version]) for each in releases]
            return Advice(
                vulnerabilities=tuple(
                    Vulnerability(id=name, aliases=(alias,), release=release, severity=None)
                    for release, name, alias in found
                )
            )

    before = _side(_layer(ALPHA), public=frozenset({"alpha", "beta"}))
    after = _side(_layer(_dist("alpha", "1.1", B), _dist("beta", "2"), **OTHER), public=frozenset({"alpha", "beta"}))

    found = compare(before, after, Named()).vulnerabilities

    assert found is not None
    assert ([("beta", "PYSEC-1")], ()) == ([(each.release.name, each.id) for each in found.new], found.gone)


def test_imports() -> None:
    """New and gone modules are counted by distribution, so that an import of another distribution stands out."""
    before = _layer(ALPHA, reached=(("alpha", "alpha"), ("beta", "beta"), ("beta", "beta.old")))
    after = _layer(
        ALPHA,
        reached=(("alpha", "alpha"), ("alpha", "alpha.new"), ("gamma", "gamma"), ("gamma", "gamma.deep")),
        **OTHER,
    )

    changes = compare(_side(before), _side(after))

    assert [
        "  handlers now import `gamma` (2 modules)",
        "  handlers now import 1 module of 1 other distribution",
        "  handlers no longer import `beta` (2 modules)",
    ] == list(lines(changes))[2:-1]


def test_cold_starts() -> None:
    """Cold starts are compared if both sides measured them under the same conditions."""
    one = _side(_layer(), starts=ColdStarts(conditions="x", medians=(("hello", 100.0), ("gone", 1.0))))
    two = replace(one, starts=ColdStarts(conditions="x", medians=(("hello", 120.5), ("new", 1.0))))

    assert "cold start of hello: 100.0 ms → 120.5 ms (+20.5 ms)" in list(lines(compare(one, two)))
    assert compare(one, replace(two, starts=ColdStarts(conditions="y", medians=()))).starts is None
    assert compare(one, _side(_layer())).starts is None


def test_names_of_others_stay_text(tmp_path: Path) -> None:
    """A name in a foreign zip is neither HTML nor a table cell nor a line of its own in Markdown."""
    hostile = "python/<img src=x>|## x.py"
    one = read_archive(_zip(tmp_path / "<b>a|b.zip", {"python/a.py": ""}), store=Store.open(tmp_path / "store"))
    two = read_archive(
        _zip(tmp_path / "<i>.zip", {"python/a.py": "", hostile: ""}), store=Store.open(tmp_path / "store")
    )

    text = render(compare(_side(one, name="<b>`x"), _side(two)))

    assert "<" not in re.sub(r"`[^`]+`", "", text).replace("&lt;", "")
    assert "(from `<b>`x` to `one`)" in text
    assert not [line for line in text.splitlines() if line.startswith("## x")]


def test_long_report() -> None:
    """A comment on GitHub must be shorter than 65,536 characters."""
    many = _layer(*(_dist(f"distribution-with-a-long-name-{number}", "1") for number in range(2_000)), **OTHER)

    text = render(compare(_side(_layer()), _side(many)))

    assert 50_000 < len(text) < 65_000
    assert "distribution-with-a-long-name-0 " in text
    assert re.search(r"\n\nand [0-9,]+ more lines\n\Z", text)
