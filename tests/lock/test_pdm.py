"""Reading pdm.lock: the cases that the locks written by PDM do not cover."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import rtoml

from lamina.core.errors import IndexLookupError, LockError, LockSyntaxError, MissingHashError, StaleLockError
from lamina.core.target import Target
from lamina.core.values import DirectorySource, VcsSource
from lamina.lock import pdmproject
from lamina.lock.select import select
from locking import TARGET, FakeIndex, digest, filename, read_lock, selected

if TYPE_CHECKING:
    from collections.abc import Mapping

FIXTURES = Path(__file__).parent / "fixtures"


def row(name: str, version: str = "1.0", **tables: Any) -> dict[str, Any]:
    files = [{"file": filename(name, version), "hash": f"sha256:{digest(filename(name, version))}"}]
    return {"name": name, "version": version, "groups": ["default"], "files": files, **tables}


def quoted(value: Any) -> str:
    """Return the value as inline TOML, so that tables can be in any order."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {quoted(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(quoted, value)) + "]"
    return json.dumps(value)


def write(project: Path, manifest: str, *rows: Mapping[str, Any], **metadata: Any) -> Path:
    """Write a project and its lock, with the content hash that PDM would compute."""
    (project / "pyproject.toml").write_text(manifest)
    loaded = pdmproject.load(project / "pyproject.toml")
    assert loaded is not None
    head = {
        "groups": ["default", *loaded.groups, *loaded.extras],
        "strategy": ["inherit_metadata"],
        "lock_version": "4.5.0",
        "content_hash": f"sha256:{min(loaded.hashes)}",
    } | metadata
    lines = ["[metadata]", *(f"{key} = {quoted(value)}" for key, value in head.items())]
    for each in rows:
        lines += ["[[package]]", *(f"{json.dumps(key)} = {quoted(value)}" for key, value in each.items())]
    path = project / "pdm.lock"
    path.write_text("\n".join(lines) + "\n")
    return path


def project(*dependencies: str, more: str = "") -> str:
    return f'[project]\nname = "service"\nrequires-python = ">=3.11"\ndependencies = {quoted(list(dependencies))}\n{more}\n'


def index(*names: str) -> FakeIndex:
    return FakeIndex([filename(*name.split("==")) for name in names])


def test_extras_are_rows(tmp_path: Path) -> None:
    """Without inherited metadata, a package's extras are separate rows, and only the rows of requested extras are read."""
    rows = [
        row("outer", dependencies=["base"]),
        row("outer", extras=["one"], dependencies=["outer==1.0", "inner[deep]>=1"]),
        row("outer", extras=["two"], dependencies=["outer==1.0", "other"]),
        row("inner"),
        row("inner", extras=["deep"], dependencies=["inner==1.0", "leaf; sys_platform == 'linux'"]),
        *(row(name) for name in ("base", "leaf", "other")),
    ]
    write(tmp_path, project("outer[one]"), *rows, strategy=["cross_platform"])
    files = index(*(f"{name}==1.0" for name in ("outer", "inner", "base", "leaf", "other")))

    assert ["base==1.0", "inner==1.0", "leaf==1.0", "outer==1.0"] == selected(read_lock(tmp_path, index=files))


def test_groups_never_leak(tmp_path: Path) -> None:
    """Groups and extras are included only if requested, whether the lock or the project defines them."""
    more = (
        '[project.optional-dependencies]\nx = ["e"]\n[dependency-groups]\nbatch = ["b"]\n'
        '[tool.pdm.dev-dependencies]\ndev = ["d"]\n'
    )
    rows = [row("a"), row("b", groups=["batch"]), row("d", groups=["dev"]), row("e", groups=["x"])]
    files = index(*(f"{name}==1.0" for name in "abde"))
    for strategy in (["inherit_metadata"], []):
        write(tmp_path, project("a", more=more), *rows, strategy=strategy)

        assert ["a==1.0"] == selected(read_lock(tmp_path, index=files))
        assert ["a==1.0", "b==1.0"] == selected(read_lock(tmp_path, groups=["batch"], index=files))
        assert ["a==1.0", "d==1.0", "e==1.0"] == selected(
            read_lock(tmp_path, groups=["dev"], extras=["x"], index=files)
        )


def test_groups_that_are_not_locked(tmp_path: Path) -> None:
    """A group that is in the project but not in the lock is reported as unknown."""
    more = '[project.optional-dependencies]\nx = ["a"]\n[dependency-groups]\nbatch = ["a"]\n'
    write(tmp_path, project("a", more=more), row("a"), groups=["default"])

    with pytest.raises(LockError) as raised:
        read_lock(tmp_path, groups=["batch"], extras=["x"], index=index("a==1.0"))

    assert f"`{tmp_path / 'pdm.lock'}` has no dependency group `batch` and no extra `x`" == str(raised.value)


def test_targets(tmp_path: Path) -> None:
    """A lock for other targets raises an error that lists them, and the hint has the command that adds this one."""
    targets = [
        {"requires_python": "==3.12.*", "platform": "manylinux_2_28_aarch64"},
        {"requires_python": "==3.13.*", "platform": "manylinux_2_28_x86_64"},
        {"requires_python": ">=3.11", "platform": "windows_amd64"},
        {"requires_python": ">=3.11", "platform": "manylinux_2_28_aarch64", "implementation": "pypy"},
    ]
    path = write(tmp_path, project("a"), row("a"), targets=targets)

    with pytest.raises(LockError) as raised:
        read_lock(tmp_path, index=index("a==1.0"))

    assert (
        f"`{path}` does not cover python3.13 on arm64; it covers only: Python ==3.12.* on manylinux_2_28_aarch64; "
        "Python ==3.13.* on manylinux_2_28_x86_64; Python >=3.11 on manylinux_2_28_aarch64; Python >=3.11 on windows_amd64"
    ) == str(raised.value)
    assert (
        "add the target: run `pdm lock --append --python '==3.13.*' --platform manylinux_2_34_aarch64`"
        == raised.value.hint
    )
    for runtime, architecture in (("python3.12", "arm64"), ("python3.13", "x86_64")):
        target = Target.of(runtime, architecture)
        assert ["a==1.0"] == selected(read_lock(tmp_path, target=target, index=index("a==1.0")), target)


def test_overrides(tmp_path: Path) -> None:
    """An overridden version need not satisfy the requirements of other packages."""
    more = '[tool.pdm.resolution.overrides]\nb = "3.0"\n'
    write(tmp_path, project("a", more=more), row("a", dependencies=["b<2"]), row("b", "3.0"), strategy=[])

    assert ["a==1.0", "b==3.0"] == selected(read_lock(tmp_path, index=index("a==1.0", "b==3.0")))


def test_places(tmp_path: Path) -> None:
    """Directories, commits and files keep their locations, paths are absolute, and the project itself is excluded."""
    (tmp_path / "shared").mkdir()
    wheel = filename("filed", "1.0")
    files = [{"file": wheel, "hash": f"sha256:{digest(wheel)}"}]
    linked = f"https://user:secret@files.example/{filename('linked', '1.0')}"
    rows = [
        row("shared", editable=True, path="./shared", files=[]),
        row("service", path=".", files=[]),
        row("rooted", url="file:///${PROJECT_ROOT}/shared", files=[]),
        row("repo", git="https://user:secret@git.example/r.git", ref="main", revision="c" * 40, files=[]),
        row("filed", path=f"./dist/{wheel}", files=files),
        row("linked", url=linked),
    ]
    write(tmp_path, project("repo @ git+https://git.example/r.git@main"), *rows)

    selection = select(read_lock(tmp_path), target=TARGET)

    assert (
        VcsSource(name="repo", version="1.0", url="https://git.example/r.git", commit="c" * 40),
        DirectorySource(name="rooted", version="1.0", path=tmp_path / "shared"),
        DirectorySource(name="shared", version="1.0", path=tmp_path / "shared"),
    ) == selection.sources
    assert [
        ("filed", tmp_path / "dist" / wheel, None),
        ("linked", None, linked.replace("user:secret@", "")),
    ] == [(pin.name, pin.path, pin.url) for pin in selection.pins]


def test_files_at_the_end(tmp_path: Path) -> None:
    """In old locks, the files are read from the metadata table, by name and version."""
    path = write(tmp_path, project("a"), {key: value for key, value in row("a").items() if key != "files"})
    files = {
        "a 1.0": [
            {"url": f"https://files.example/{filename('a', '1.0')}", "hash": f"sha256:{digest(filename('a', '1.0'))}"}
        ]
    }
    path.write_text(path.read_text().replace("[metadata]", f"[metadata]\nfiles = {quoted(files)}"))

    assert ["a==1.0"] == selected(read_lock(tmp_path))


def test_sources_are_asked_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PDM's own sources are queried before the configured index, with credentials that never enter the lock."""
    more = (
        '[[tool.pdm.source]]\nname = "private"\nurl = "https://${TOKEN_USER}:${TOKEN}@index.example/simple"\n'
        '[[tool.pdm.source]]\nname = "second"\nurl = "https://second.example/simple"\nusername = "u"\npassword = "p"\n'
        '[[tool.pdm.source]]\nname = "links"\nurl = "https://links.example"\ntype = "find_links"\n'
    )
    write(tmp_path, project("a", more=more), row("a"))
    monkeypatch.setenv("TOKEN_USER", "user")
    monkeypatch.setenv("TOKEN", "secret")
    nothing, files = FakeIndex(), index("a==1.0")

    with pytest.raises(IndexLookupError) as raised:
        read_lock(tmp_path, index=nothing)
    lock = read_lock(tmp_path, index=files)

    assert [
        "https://user:secret@index.example/simple",
        "https://u:p@second.example/simple",
        None,
    ] == [url for _, _, url in nothing.asked]
    assert "secret" not in f"{raised.value}{raised.value.hint}"
    assert ["https://index.example/simple"] == [package.index for package in lock.pylock.packages]


def test_all_without_hashes(tmp_path: Path) -> None:
    """The error lists every package without a SHA-256."""
    path = write(tmp_path, project("a", "b"), row("a", files=[]), row("b", files=[{"file": "b.whl", "hash": "md5:0"}]))

    with pytest.raises(MissingHashError) as raised:
        read_lock(tmp_path)

    assert f"`{path}` has no SHA-256 for: `a` 1.0, `b` 1.0" == str(raised.value)


def test_stale(tmp_path: Path) -> None:
    """A lock with another content hash raises an error that lists the missing requirements, or reports a change."""
    path = write(tmp_path, project("a"), row("a"))
    manifest = tmp_path / "pyproject.toml"
    for text, difference in (
        (project("a>=2", "new"), "`a>=2` is required but not locked; `new` is required but not locked"),
        (project(), "dependencies or PDM settings changed after locking"),
    ):
        manifest.write_text(text)

        with pytest.raises(StaleLockError) as raised:
            read_lock(tmp_path, index=index("a==1.0"))

        assert f"`{path}` does not match `{manifest}`: {difference}" == str(raised.value)


@pytest.mark.parametrize("name", sorted(path.name for path in FIXTURES.glob("pdm*")))
def test_the_content_hash_is_pdms_own(name: str) -> None:
    """The computed content hash is the same as that of PDM 2.12 and 2.29."""
    locked = rtoml.loads((FIXTURES / name / "pdm.lock").read_text())["metadata"]["content_hash"]
    loaded = pdmproject.load(FIXTURES / name / "pyproject.toml")

    assert loaded is not None
    assert locked.removeprefix("sha256:") in loaded.hashes


def test_without_a_project(tmp_path: Path) -> None:
    """A lock with inherited metadata can be read without a project; another lock cannot."""
    path = write(tmp_path, project("a"), row("a"), row("b", groups=["dev"]))
    (tmp_path / "pyproject.toml").unlink()
    assert ["a==1.0"] == selected(read_lock(tmp_path, index=index("a==1.0")))

    path.write_text(path.read_text().replace('"inherit_metadata"', '"cross_platform"'))
    with pytest.raises(LockError) as raised:
        read_lock(tmp_path)

    assert (
        f"`{path}` does not list the groups of its packages, and `{tmp_path / 'pyproject.toml'}` does not exist"
    ) == str(raised.value)


def test_broken_locks(tmp_path: Path) -> None:
    """Another format version or an invalid value raises an error that names the file."""
    path = write(tmp_path, project("a"), {"version": "1.0"})
    with pytest.raises(LockSyntaxError) as raised:
        read_lock(tmp_path)
    assert f"`{path}` does not follow PDM's lock format: `package[0].groups` is missing" == str(raised.value)

    write(tmp_path, project("a"), lock_version="5.0")
    with pytest.raises(LockError) as other:
        read_lock(tmp_path)
    assert f"`{path}` has format version 5.0, but lamina supports version 4" == str(other.value)
