"""Reading and validating pylock.toml as PEP 751 specifies it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lamina.core.errors import LockError, LockSyntaxError, MissingHashError, StaleLockError
from lamina.core.target import Target
from lamina.lock.select import select
from locking import TARGET, digest, pylock_package, read_lock, selected, write_project, write_pylock

WHEEL = "a-1.0-py3-none-any.whl"


def test_markers(tmp_path: Path) -> None:
    """The target's markers select one of two versions of a package."""
    write_pylock(
        tmp_path,
        pylock_package("numpy", "1.0", marker="python_full_version < '3.12'"),
        pylock_package("numpy", "2.0", marker="python_full_version >= '3.12'"),
        pylock_package("colorama", marker="sys_platform == 'win32'"),
    )

    found = {
        runtime: selected(read_lock(tmp_path, target=target), target)
        for runtime in ("python3.11", "python3.13")
        for target in [Target.of(runtime, "x86_64")]
    }

    assert {"python3.11": ["numpy==1.0"], "python3.13": ["numpy==2.0"]} == found


GROUPED: dict[str, Any] = {
    "extras": ["report"],
    "dependency_groups": ["batch", "dev"],
    "default_groups": ["default", "dev"],
}


@pytest.mark.parametrize(
    ("groups", "extras", "expected"),
    [
        ((), (), ["main==1.0"]),
        (("batch",), (), ["batch==1.0", "main==1.0"]),
        (("dev",), (), ["dev==1.0", "main==1.0"]),
        ((), ("report",), ["main==1.0", "report==1.0"]),
    ],
)
def test_groups_and_extras(
    tmp_path: Path, groups: tuple[str, ...], extras: tuple[str, ...], expected: list[str]
) -> None:
    """A synthetic default group means the project's own dependencies; a development group listed there is not implied."""
    write_pylock(
        tmp_path,
        pylock_package("main", marker="'default' in dependency_groups"),
        pylock_package("dev", marker="'dev' in dependency_groups"),
        pylock_package("batch", marker="'batch' in dependency_groups"),
        pylock_package("report", marker="'report' in extras"),
        **GROUPED,
    )

    assert expected == selected(read_lock(tmp_path, groups=groups, extras=extras))


def test_unknown_names(tmp_path: Path) -> None:
    """A requested group that the lock does not have raises an error."""
    write_pylock(tmp_path, pylock_package("a"))

    with pytest.raises(LockError) as raised:
        read_lock(tmp_path, groups=["batch"], extras=["report"])

    assert f"`{tmp_path / 'pylock.toml'}` has no dependency group `batch` and no extra `report`" == str(raised.value)
    assert "available dependency groups: none; available extras: none" == raised.value.hint


def test_paths_start_at_the_lock(tmp_path: Path) -> None:
    """A relative path is relative to the lock, regardless of the working directory."""
    row = pylock_package("a", tags=(), wheels=[{"path": f"../links/{WHEEL}", "hashes": {"sha256": digest(WHEEL)}}])
    write_pylock(tmp_path / "service", row)

    (pin,) = select(read_lock(tmp_path / "service"), target=TARGET).pins

    assert (tmp_path / "links" / WHEEL, None) == (pin.path, pin.url)


def test_file_urls_are_paths(tmp_path: Path) -> None:
    """A ``file:`` URL is read as a local path, which needs no download."""
    url = (tmp_path / "my links" / WHEEL).as_uri()
    write_pylock(tmp_path, pylock_package("a", tags=(), wheels=[{"url": url, "hashes": {"sha256": digest(WHEEL)}}]))

    (pin,) = select(read_lock(tmp_path), target=TARGET).pins

    assert (tmp_path / "my links" / WHEEL, None) == (pin.path, pin.url)


def test_no_credentials(tmp_path: Path) -> None:
    """The values that the reader returns contain no credentials."""
    wheel = {"url": f"https://user:secret@files.example/{WHEEL}", "hashes": {"sha256": digest(WHEEL)}}
    write_pylock(
        tmp_path, pylock_package("a", tags=(), wheels=[wheel], index="https://user:secret@index.example/simple")
    )

    lock = read_lock(tmp_path)

    assert "secret" not in repr(lock)
    assert [("https://index.example/simple", f"https://files.example/{WHEEL}")] == [
        (pin.index, pin.url) for pin in select(lock, target=TARGET).pins
    ]


def test_the_project_itself(tmp_path: Path) -> None:
    """The project itself is excluded, but other local packages are kept."""
    write_pylock(
        tmp_path,
        {"name": "service", "directory": {"path": ".", "editable": True}},
        {"name": "shared", "directory": {"path": "../shared"}},
    )
    write_project(tmp_path)

    assert ["shared"] == [package.name for package in read_lock(tmp_path).pylock.packages]


@pytest.mark.parametrize("hashes", [{"md5": "0" * 32}, {"sha1": "0" * 40}, {}])
def test_missing_hashes(tmp_path: Path, hashes: dict[str, str]) -> None:
    """The error lists all packages without a SHA-256 that the target needs."""
    bare = [{"url": f"https://files.example/{WHEEL}", "hashes": hashes}]
    write_pylock(
        tmp_path,
        pylock_package("b", tags=(), wheels=bare),
        pylock_package("a", tags=(), wheels=bare),
        pylock_package("win", tags=(), wheels=bare, marker="os_name == 'nt'"),
        pylock_package("good"),
    )

    with pytest.raises(MissingHashError) as raised:
        read_lock(tmp_path)

    assert f"`{tmp_path / 'pylock.toml'}` has no SHA-256 for: `a` 1.0, `b` 1.0" == str(raised.value)


@pytest.mark.parametrize(
    ("top", "message"),
    [
        ({"lock_version": "2.0"}, "pylock version 2.0 is not supported"),
        ({"created_by": 7}, "Unexpected type int (expected str) in 'created-by'"),
    ],
)
def test_damaged(tmp_path: Path, top: dict[str, Any], message: str) -> None:
    """A violation of the specification raises an error with its position."""
    write_pylock(tmp_path, **top)

    with pytest.raises(LockSyntaxError) as raised:
        read_lock(tmp_path)

    assert f"`{tmp_path / 'pylock.toml'}` does not follow PEP 751, the format of pylock.toml: {message}" == str(
        raised.value
    )


@pytest.mark.parametrize("packages", ["7", "[7]", '[{ name = "a", wheels = 7 }]', '[{ name = "a", wheels = [7] }]'])
def test_damaged_packages(tmp_path: Path, packages: str) -> None:
    """A wrong type in a package raises a lock error, never a traceback."""
    text = f'lock-version = "1.0"\ncreated-by = "x"\npackages = {packages}\n'
    (tmp_path / "pylock.toml").write_text(text, encoding="utf-8")

    with pytest.raises(LockSyntaxError) as raised:
        read_lock(tmp_path)

    assert 3 == raised.value.exit_code


def test_other_python_and_environment(tmp_path: Path) -> None:
    """A lock for other Python versions or machines raises an error when it is read."""
    path = write_pylock(tmp_path, requires_python=">=3.14")
    with pytest.raises(LockError) as raised:
        read_lock(tmp_path)
    full_version = TARGET.markers["python_full_version"]
    assert f"`{path}` requires Python >=3.14, but runtime `python3.13` provides {full_version}" == str(raised.value)

    write_pylock(tmp_path, environments=["platform_machine == 'x86_64'"])
    with pytest.raises(LockError) as raised:
        read_lock(tmp_path)
    assert f'`{path}` does not cover python3.13 on arm64; it covers only: platform_machine == "x86_64"' == str(
        raised.value
    )


def test_stale(tmp_path: Path) -> None:
    """The error lists every direct dependency that applies to the target and is missing or not satisfied."""
    write_project(
        tmp_path,
        "a>=2",
        "b",
        "gone[x]>=1",
        "win; sys_platform == 'win32'",
        extras={"report": ["c>1"]},
        groups={"batch": ["missing"], "unused": ["unused"]},
    )
    write_pylock(
        tmp_path,
        pylock_package("a"),
        pylock_package("b"),
        pylock_package("c"),
        extras=["report"],
        dependency_groups=["batch"],
    )

    with pytest.raises(StaleLockError) as raised:
        read_lock(tmp_path, groups=["batch"], extras=["report"])

    assert (
        f"`{tmp_path / 'pylock.toml'}` does not match `{tmp_path / 'pyproject.toml'}`: "
        "`a>=2` is required but 1.0 is locked; `c>1` is required but 1.0 is locked; "
        "`gone[x]>=1` is required but not locked; `missing` is required but not locked"
    ) == str(raised.value)


def test_named_lock_may_be_a_part(tmp_path: Path) -> None:
    """A ``pylock.<name>.toml`` may lack dependencies of the project, but must not contradict it."""
    write_project(tmp_path, "a", "b>=1")
    write_pylock(tmp_path, pylock_package("b"), name="pylock.part.toml")
    assert ["b==1.0"] == selected(read_lock(tmp_path, explicit=Path("pylock.part.toml")))

    write_project(tmp_path, "a", "b>=2")
    with pytest.raises(StaleLockError):
        read_lock(tmp_path, explicit=Path("pylock.part.toml"))
