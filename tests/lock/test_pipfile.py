"""Reading Pipfile.lock: the cases that the lock written by Pipenv does not cover."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import pytest
import rtoml

from lamina.core.errors import IndexLookupError, LockError, LockSyntaxError, MissingHashError, StaleLockError
from lamina.core.target import Target
from lamina.core.values import DirectorySource, SdistSource, Sha256, VcsSource
from lamina.lock.select import select
from locking import TARGET, FakeIndex, digest, filename, read_lock, selected

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SOURCES = [{"name": "pypi", "url": "https://index.example/simple", "verify_ssl": True}]


def row(name: str, version: str = "1.0", **keys: Any) -> dict[str, Any]:
    return {"hashes": [f"sha256:{digest(filename(name, version))}"], "version": f"=={version}", **keys}


def write(
    project: Path,
    default: Mapping[str, Any],
    *,
    sources: list[dict[str, Any]] | None = None,
    requires: Mapping[str, str] | None = None,
    pipfile: str | None = None,
    **categories: Mapping[str, Any],
) -> Path:
    """Write a lock, and the Pipfile that its hash is computed from, if given."""
    meta: dict[str, Any] = {"pipfile-spec": 6, "sources": sources or SOURCES, "requires": requires or {}}
    meta["hash"] = {"sha256": "0" * 64}
    if pipfile is not None:
        (project / "Pipfile").write_text(pipfile)
        content = rtoml.loads(pipfile)
        hashed = {
            "_meta": {"sources": content["source"], "requires": content.get("requires", {})},
            "default": content.get("packages", {}),
            "develop": content.get("dev-packages", {}),
        }
        text = json.dumps(hashed, sort_keys=True, separators=(",", ":"))
        meta["hash"]["sha256"] = hashlib.sha256(text.encode()).hexdigest()
    path = project / "Pipfile.lock"
    path.write_text(json.dumps({"_meta": meta, "default": default, **categories}, indent=4))
    return path


def index(*names: str) -> FakeIndex:
    return FakeIndex([filename(*name.split("==")) for name in names])


def test_categories_are_groups(tmp_path: Path) -> None:
    """Categories are groups that are never implied, `develop` is `dev`, and the default category wins for versions."""
    write(
        tmp_path,
        {"a": row("a")},
        develop={"a": row("a", "2.0"), "d": row("d")},
        Batch_Jobs={"b": row("b")},
    )
    files = index("a==1.0", "a==2.0", "b==1.0", "d==1.0")

    assert ["a==1.0"] == selected(read_lock(tmp_path, index=files))
    assert ["a==1.0", "d==1.0"] == selected(read_lock(tmp_path, groups=["dev"], index=files))
    assert ["a==1.0", "b==1.0"] == selected(read_lock(tmp_path, groups=["batch-jobs"], index=files))
    with pytest.raises(LockError) as raised:
        read_lock(tmp_path, groups=["develop"], extras=["x"], index=files)
    assert (
        f"`{tmp_path / 'Pipfile.lock'}` has no dependency group `develop` (did you mean `dev`?) and no extra `x`"
        == str(raised.value)
    )


def test_markers(tmp_path: Path) -> None:
    """Markers are evaluated for the target, not for the machine that ran Pipenv."""
    arm, old = {"markers": "platform_machine == 'aarch64'"}, {"markers": "python_version < '3.13'"}
    write(tmp_path, {"a": row("a", **arm), "b": row("b", **old)})
    files = index("a==1.0", "b==1.0")

    assert ["a==1.0"] == selected(read_lock(tmp_path, index=files))
    target = Target.of("python3.12", "x86_64")
    assert ["b==1.0"] == selected(read_lock(tmp_path, target=target, index=files), target)


def test_what_did_not_apply_to_the_locker(tmp_path: Path) -> None:
    """Packages without a version, because Pipenv's machine did not need them, are listed if the target needs them."""
    unpinned = {"markers": "platform_machine == 'aarch64'", "version": "*"}
    path = write(tmp_path, {"a": row("a"), "b": unpinned, "c": {"git": "https://git.example/c", "ref": "main"}})

    with pytest.raises(LockError) as raised:
        read_lock(tmp_path, index=index("a==1.0"))

    assert (
        f"`{path}` does not lock every package for python3.13 on arm64: "
        "`b` has no exact version, because the machine that ran Pipenv did not need it; "
        "`c` is locked to `main` instead of a full git commit"
    ) == str(raised.value)
    target = Target.of("python3.13", "x86_64")
    write(tmp_path, {"a": row("a"), "b": unpinned})
    assert ["a==1.0"] == selected(read_lock(tmp_path, target=target, index=index("a==1.0")), target)


def test_indexes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package with an index uses only that one; others use all in order, with credentials from the environment."""
    sources = [
        {"name": "first", "url": "https://index.example/simple"},
        {"name": "private", "url": "https://${USER_NAME}:$TOKEN@private.example/simple"},
    ]
    write(tmp_path, {"a": row("a", index="private"), "b": row("b")}, sources=sources)
    monkeypatch.setenv("USER_NAME", "user")
    monkeypatch.setenv("TOKEN", "secret")
    nothing = FakeIndex()

    with pytest.raises(IndexLookupError) as raised:
        read_lock(tmp_path, index=nothing)

    private = "https://user:secret@private.example/simple"
    assert [("a", "1.0", private), ("b", "1.0", "https://index.example/simple"), ("b", "1.0", private)] == sorted(
        nothing.asked, key=lambda asked: (asked[0], asked[2] == private)
    )
    assert "no index has any of the locked files of: `a` 1.0, `b` 1.0" == str(raised.value)
    assert "secret" not in (raised.value.hint or "")


def test_places(tmp_path: Path) -> None:
    """Directories, commits and files keep their locations, and the project itself is excluded."""
    (tmp_path / "shared").mkdir()
    hashes = ["sha256:" + "0" * 64]
    write(
        tmp_path,
        {
            "shared": {"editable": True, "path": "./shared"},
            "service": {"editable": True, "path": "."},
            "repo": {"git": "https://u:secret@git.example/r.git", "ref": "c" * 40, "subdirectory": "x"},
            "zipped": {"file": "https://files.example/z.zip", "hashes": hashes},
            "filed": row("filed", file=f"dist/{filename('filed', '1.0')}"),
        },
    )

    selection = select(read_lock(tmp_path), target=TARGET)

    assert (
        VcsSource(name="repo", version=None, url="https://git.example/r.git", commit="c" * 40, subdirectory="x"),
        DirectorySource(name="shared", version=None, path=tmp_path / "shared"),
        SdistSource(
            name="zipped", version=None, filename="z.zip", sha256=Sha256("0" * 64), url="https://files.example/z.zip"
        ),
    ) == selection.sources
    assert [tmp_path / "dist" / filename("filed", "1.0")] == [pin.path for pin in selection.pins]


def test_all_without_hashes(tmp_path: Path) -> None:
    """The error lists every package without a SHA-256."""
    path = write(tmp_path, {"a": {"version": "==1.0"}, "b": {"version": "==2.0", "hashes": ["md5:0"]}})

    with pytest.raises(MissingHashError) as raised:
        read_lock(tmp_path)

    assert f"`{path}` has no SHA-256 for: `a` 1.0, `b` 2.0" == str(raised.value)


def test_another_python(tmp_path: Path) -> None:
    """A lock for one Python version is rejected for another, because Pipenv locks only what its own Python needs."""
    path = write(tmp_path, {"a": row("a")}, requires={"python_version": "3.12", "python_full_version": "3.12.1"})

    with pytest.raises(LockError) as raised:
        read_lock(tmp_path, index=index("a==1.0"))

    version = TARGET.markers["python_full_version"]
    assert f"`{path}` requires Python ==3.12.*, but runtime `python3.13` provides {version}" == str(raised.value)


def test_stale(tmp_path: Path) -> None:
    """A lock with the hash of another Pipfile is rejected; the spelling of names and scripts do not matter."""
    pipfile = f'[[source]]\nname = "pypi"\nurl = "{SOURCES[0]["url"]}"\nverify_ssl = true\n[packages]\na-b = "*"\n'
    path = write(tmp_path, {"a-b": row("a-b")}, pipfile=pipfile)
    files = index("a-b==1.0")

    (tmp_path / "Pipfile").write_text(f'{pipfile.replace("a-b", "A_B")}[scripts]\nx = "y"\n')
    assert ["a-b==1.0"] == selected(read_lock(tmp_path, index=files))

    (tmp_path / "Pipfile").write_text(f'{pipfile}new = "*"\n')
    with pytest.raises(StaleLockError) as raised:
        read_lock(tmp_path, index=files)
    assert (
        f"`{path}` does not match `{tmp_path / 'Pipfile'}`: packages, sources or `[requires]` changed after locking"
    ) == str(raised.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", "`{}` does not follow Pipenv's lock format: the file: expected a table, found a list"),
        ('{"_meta": {"pipfile-spec": 7}}', "`{}` has Pipfile specification 7, but lamina supports specification 6"),
        (
            '{"_meta": {"pipfile-spec": 6}, "default": []}',
            "`{}` does not follow Pipenv's lock format: `default`: expected a table, found a list",
        ),
    ],
)
def test_broken_locks(tmp_path: Path, content: str, message: str) -> None:
    """Another specification version or an invalid value raises an error that names the file."""
    path = tmp_path / "Pipfile.lock"
    path.write_text(content)

    with pytest.raises((LockError, LockSyntaxError)) as raised:
        read_lock(tmp_path)

    assert message.format(path) == str(raised.value)
