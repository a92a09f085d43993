"""Reading uv.lock: exactly the packages that one target needs, or a clear error."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lamina.core.errors import LockError, LockSyntaxError, MissingHashError, StaleLockError
from lamina.core.target import Target
from lamina.lock.select import select
from locking import (
    ARM,
    INDEX,
    X86,
    digest,
    edges,
    package,
    read_lock,
    root,
    selected,
    write_project,
    write_uv_lock,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

RUNTIMES = ("python3.9", "python3.11", "python3.12", "python3.13")
MARKERS: dict[str, set[tuple[str, str]]] = {
    "python_full_version < '3.12'": {(r, a) for r in ("python3.9", "python3.11") for a in ("x86_64", "arm64")},
    "python_version >= '3.13'": {("python3.13", "x86_64"), ("python3.13", "arm64")},
    "platform_machine == 'aarch64'": {(runtime, "arm64") for runtime in RUNTIMES},
    "platform_machine == 'arm64'": set(),
    "platform_machine != 'x86_64' and python_version == '3.9'": {("python3.9", "arm64")},
    "sys_platform == 'win32'": set(),
    "os_name == 'nt' or platform_machine == 'x86_64'": {(runtime, "x86_64") for runtime in RUNTIMES},
    "sys_platform == 'linux' and platform_system == 'Linux' and implementation_name == 'cpython'": {
        (r, a) for r in RUNTIMES for a in ("x86_64", "arm64")
    },
    "platform_python_implementation == 'PyPy'": set(),
    "sys_platform == 'darwin' or sys_platform == 'emscripten'": set(),
}


@pytest.mark.parametrize("architecture", ["x86_64", "arm64"])
@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("marker", MARKERS)
def test_markers_are_of_the_target(tmp_path: Path, marker: str, runtime: str, architecture: str) -> None:
    """A dependency is followed if its marker is true on the target, regardless of the host."""
    write_uv_lock(tmp_path, root({"name": "a", "marker": marker}), package("a"))
    target = Target.of(runtime, architecture)

    expected = ["a==1.0"] if (runtime, architecture) in MARKERS[marker] else []

    assert expected == selected(read_lock(tmp_path, target=target), target)


@pytest.mark.parametrize(
    ("runtime", "expected"),
    [("python3.9", ["numpy==1.26.0"]), ("python3.11", ["numpy==1.26.0"]), ("python3.12", ["numpy==2.1.0"])],
)
def test_one_package_in_two_versions(tmp_path: Path, runtime: str, expected: list[str]) -> None:
    """A fork by Python version gives each target its own version."""
    source = {"registry": INDEX}
    write_uv_lock(
        tmp_path,
        root(
            {"name": "numpy", "version": "1.26.0", "source": source, "marker": "python_full_version < '3.12'"},
            {"name": "numpy", "version": "2.1.0", "source": source, "marker": "python_full_version >= '3.12'"},
        ),
        package("numpy", "1.26.0", resolution_markers=["python_full_version < '3.12'"]),
        package("numpy", "2.1.0", resolution_markers=["python_full_version >= '3.12'"]),
    )
    target = Target.of(runtime, "x86_64")

    assert expected == selected(read_lock(tmp_path, target=target), target)


def test_one_version_from_two_sources(tmp_path: Path) -> None:
    """A dependency's source selects the package if its version does not."""
    other = {"registry": "https://other.example/simple"}
    write_uv_lock(
        tmp_path,
        root({"name": "a", "version": "1.0", "source": other}),
        package("a", wheels=[{"url": "https://files.example/a-1.0-py3-none-any.whl", "hash": "sha256:" + "0" * 64}]),
        package("a", source=other),
    )

    pins = select(read_lock(tmp_path), target=Target.of("python3.13", "arm64")).pins

    assert [("https://other.example/simple", digest("a-1.0-py3-none-any.whl"))] == [
        (pin.index, pin.sha256) for pin in pins
    ]


def test_the_closure(tmp_path: Path) -> None:
    """All transitive dependencies are selected, including cycles, and no other packages."""
    write_uv_lock(
        tmp_path,
        root("a"),
        package("a", needs=["b"]),
        package("b", needs=["c"]),
        package("c", needs=["a"]),
        package("unrelated"),
    )

    assert ["a==1.0", "b==1.0", "c==1.0"] == selected(read_lock(tmp_path))


SERVICE = (
    root(
        "a",
        name="service",
        optional_dependencies={"report": edges("b"), "all": edges({"name": "service", "extra": ["report"]}, "d")},
        dev_dependencies={"dev": edges("tester"), "lint": edges("linter"), "batch": edges("c")},
        default_groups=["dev", "lint"],
    ),
    package("a", needs=[{"name": "x", "extra": ["fast"]}]),
    package("b"),
    package("c"),
    package("d"),
    package("fast"),
    package("linter"),
    package("tester", needs=["linter"]),
    package("x", optional_dependencies={"fast": edges("fast"), "slow": edges("d")}),
)


@pytest.mark.parametrize(
    ("groups", "extras", "added"),
    [
        ((), (), ()),
        (("batch",), (), ("c",)),
        (("Batch",), ("REPORT",), ("b", "c")),
        ((), ("report",), ("b",)),
        ((), ("all",), ("b", "d")),
        (("dev",), (), ("linter", "tester")),
    ],
)
def test_groups_and_extras(
    tmp_path: Path, groups: tuple[str, ...], extras: tuple[str, ...], added: tuple[str, ...]
) -> None:
    """Groups and extras are included only if requested: neither ``dev`` nor uv's default groups are implied."""
    write_uv_lock(tmp_path, *SERVICE)

    expected = sorted(f"{name}==1.0" for name in ("a", "x", "fast", *added))

    assert expected == selected(read_lock(tmp_path, groups=groups, extras=extras))


def test_unknown_names(tmp_path: Path) -> None:
    """The error lists all unknown groups and extras, and the hint lists the available ones."""
    write_uv_lock(tmp_path, *SERVICE)

    with pytest.raises(LockError) as raised:
        read_lock(tmp_path, groups=["bach", "nothing"], extras=["report", "al"])

    assert (
        f"`{tmp_path / 'uv.lock'}` has no dependency group `bach` (did you mean `batch`?), `nothing` "
        "and no extra `al` (did you mean `all`?)"
    ) == str(raised.value)
    assert "available dependency groups: `batch`, `dev`, `lint`; available extras: `all`, `report`" == raised.value.hint


def test_names_of_the_other_kind(tmp_path: Path) -> None:
    """An extra that is selected as a group, or the other way round, gets the line of configuration that selects it."""
    write_uv_lock(tmp_path, *SERVICE)

    with pytest.raises(LockError) as raised:
        read_lock(tmp_path, groups=["report", "all", "batc"], extras=["batch"])

    assert (
        f"`{tmp_path / 'uv.lock'}` has no dependency group `all`, `batc` (did you mean `batch`?), `report` "
        "and no extra `batch`"
    ) == str(raised.value)
    assert (
        '`all`, `report` are extras: set `extras = ["all", "report"]`; '
        "available dependency groups: `batch`, `dev`, `lint`; "
        '`batch` is a dependency group: set `groups = ["batch"]`'
    ) == raised.value.hint


CONFLICT = [[{"package": "service", "extra": "cpu"}, {"package": "service", "extra": "gpu"}]]
TORCH = (
    root(
        "torch-user",
        optional_dependencies={
            "cpu": edges({"name": "torch", "version": "2.0+cpu"}),
            "gpu": edges({"name": "torch", "version": "2.0"}),
        },
    ),
    package("torch", "2.0"),
    package("torch", "2.0+cpu"),
    package(
        "torch-user",
        needs=[
            {"name": "torch", "version": "2.0+cpu", "marker": "extra == 'extra-7-service-cpu'"},
            {
                "name": "torch",
                "version": "2.0",
                "marker": "(extra == 'extra-7-service-cpu' and extra == 'extra-7-service-gpu') "
                "or extra != 'extra-7-service-cpu'",
            },
        ],
    ),
)


@pytest.mark.parametrize(
    ("extras", "torch"), [((), "torch==2.0"), (("cpu",), "torch==2.0+cpu"), (("gpu",), "torch==2.0")]
)
def test_conflict_markers(tmp_path: Path, extras: tuple[str, ...], torch: str) -> None:
    """If extras conflict, the requested extra determines the version for all dependents."""
    write_uv_lock(tmp_path, *TORCH, conflicts=CONFLICT)

    assert [torch, "torch-user==1.0"] == selected(read_lock(tmp_path, extras=extras))


def test_conflicting_choice(tmp_path: Path) -> None:
    """Requesting two conflicting extras raises an error that names both."""
    write_uv_lock(tmp_path, *TORCH, conflicts=CONFLICT)

    with pytest.raises(LockError) as raised:
        read_lock(tmp_path, extras=["gpu", "cpu"])

    assert "the lock does not allow a selection with extra `cpu` of `service` and extra `gpu` of `service`" == str(
        raised.value
    )


def test_conflicting_group_and_extra(tmp_path: Path) -> None:
    """A group can conflict with an extra, even with one that only a dependency activates."""
    write_uv_lock(
        tmp_path,
        root({"name": "a", "extra": ["old"]}, dev_dependencies={"batch": edges("b")}),
        package("a", optional_dependencies={"old": edges("b")}),
        package("b"),
        conflicts=[[{"package": "a", "extra": "old"}, {"package": "service", "group": "batch"}]],
    )

    assert ["a==1.0", "b==1.0"] == selected(read_lock(tmp_path))
    with pytest.raises(LockError) as raised:
        read_lock(tmp_path, groups=["batch"])
    assert "the lock does not allow a selection with extra `old` of `a` and group `batch` of `service`" == str(
        raised.value
    )


def test_two_versions_at_once(tmp_path: Path) -> None:
    """Two versions of a package for one target raise an error, because a layer can contain only one."""
    write_uv_lock(
        tmp_path,
        root({"name": "a", "version": "1.0"}, {"name": "a", "version": "2.0"}),
        package("a", "1.0"),
        package("a", "2.0"),
    )

    with pytest.raises(LockError) as raised:
        read_lock(tmp_path)

    assert "the lock requires more than one version of a package for one target: `a` (1.0, 2.0)" == str(raised.value)


def test_other_format_version(tmp_path: Path) -> None:
    """A newer format version raises an error, but a newer revision of the same version is read."""
    write_uv_lock(tmp_path, root(), version=2)

    with pytest.raises(LockError) as raised:
        read_lock(tmp_path)

    assert f"`{tmp_path / 'uv.lock'}` has format version 2, but lamina supports version 1" == str(raised.value)


def test_other_python(tmp_path: Path) -> None:
    """A lock for other Python versions raises an error with its version range and the target's version."""
    write_uv_lock(tmp_path, root(), requires_python=">=3.12,<3.13")
    target = Target.of("python3.13", "arm64")

    with pytest.raises(LockError) as raised:
        read_lock(tmp_path, target=target)

    full_version = target.markers["python_full_version"]
    assert (
        f"`{tmp_path / 'uv.lock'}` requires Python <3.13,>=3.12, but runtime `python3.13` provides {full_version}"
    ) == str(raised.value)


def test_other_environments(tmp_path: Path) -> None:
    """A lock that is limited to other environments raises an error."""
    write_uv_lock(tmp_path, root(), supported_markers=["sys_platform == 'darwin'", "platform_machine == 'x86_64'"])

    assert [] == selected(read_lock(tmp_path, target=Target.of("python3.13", "x86_64")))
    with pytest.raises(LockError) as raised:
        read_lock(tmp_path, target=Target.of("python3.13", "arm64"))
    assert (
        f"`{tmp_path / 'uv.lock'}` does not cover python3.13 on arm64; it covers only: "
        'sys_platform == "darwin"; platform_machine == "x86_64"'
    ) == str(raised.value)


@pytest.mark.parametrize("kind", ["virtual", "editable", "directory"])
def test_workspace_member(tmp_path: Path, kind: str) -> None:
    """The workspace member in the project's directory is built, and is itself excluded from the layer."""
    write_uv_lock(
        tmp_path,
        root("c"),
        package("one", tags=(), needs=["a"], source={kind: "services/one"}),
        package("two", tags=(), needs=["b"], source={kind: "services/two"}),
        package("a"),
        package("b"),
        package("c"),
    )
    write_project(tmp_path / "services/two", name="two")

    assert ["b==1.0"] == selected(read_lock(tmp_path / "services/two"))


def test_configured_lock_of_another_project(tmp_path: Path) -> None:
    """A configured lock without the service's project stands for the project beside it, and is compared with that one."""
    (tmp_path / "src").mkdir()
    write_project(tmp_path, "unrelated", name="tools")
    write_uv_lock(tmp_path / "deploy", root("a", name="x", metadata={"requires-dist": [{"name": "a"}]}), package("a"))
    manifest = write_project(tmp_path / "deploy", "a", name="x")
    lock = read_lock(tmp_path / "src", explicit=Path("../deploy/uv.lock"))
    write_project(tmp_path / "deploy", "b", name="x")

    with pytest.raises(StaleLockError) as raised:
        read_lock(tmp_path / "src", explicit=Path("../deploy/uv.lock"))

    assert ["a==1.0"] == selected(lock)
    assert (tmp_path / "deploy/uv.lock", manifest) == lock.inputs
    assert (
        f"`{tmp_path / 'deploy/uv.lock'}` does not match `{manifest}`: "
        "`a` is locked but not required; `b` is required but not locked"
    ) == str(raised.value)


def test_configured_lock_of_a_workspace(tmp_path: Path) -> None:
    """A configured lock with the service's project as a member stands for the member, also below its directory."""
    write_project(tmp_path, "a", name="all")
    write_project(tmp_path / "services/two", name="two")
    (tmp_path / "services/two/fn").mkdir()
    write_uv_lock(
        tmp_path,
        root("a", name="all", metadata={"requires-dist": [{"name": "a"}]}),
        package("two", tags=(), needs=["b"], source={"virtual": "services/two"}),
        package("a"),
        package("b"),
    )

    assert ["b==1.0"] == selected(read_lock(tmp_path / "services/two/fn", explicit=Path("../../../uv.lock")))


def test_not_a_member(tmp_path: Path) -> None:
    """A project that is not in the lock raises an error, and the hint lists the projects in it."""
    write_uv_lock(tmp_path, package("one", tags=(), source={"editable": "services/one"}))
    write_project(tmp_path / "other", name="other")

    with pytest.raises(LockError) as raised:
        read_lock(tmp_path / "other")

    assert f"`{tmp_path / 'uv.lock'}` does not include the project in `{tmp_path / 'other'}`" == str(raised.value)
    assert "set `--project` to the directory of one of the locked projects: `one`" == raised.value.hint


def test_inputs(tmp_path: Path) -> None:
    """The inputs are the lock and the ``pyproject.toml`` of the member and of the workspace."""
    lock = write_uv_lock(tmp_path, package("two", tags=(), source={"virtual": "two"}))
    workspace = write_project(tmp_path, name="workspace")
    member = write_project(tmp_path / "two", name="two")

    assert (lock, member, workspace) == read_lock(tmp_path / "two").inputs


def test_registry_files(tmp_path: Path) -> None:
    """The URL, size, hash and index of each file are kept, without credentials."""
    wheel = "a-1.0-py3-none-any.whl"
    row = package(
        "a",
        source={"registry": "https://user:secret@index.example/simple"},
        wheels=[{"url": f"https://user:secret@files.example/{wheel}", "hash": f"sha256:{digest(wheel)}", "size": 7}],
    )
    write_uv_lock(tmp_path, root("a"), row)

    (pin,) = select(read_lock(tmp_path), target=Target.of("python3.13", "arm64")).pins

    assert ("a", "1.0", wheel, digest(wheel), f"https://files.example/{wheel}", None, 7, INDEX) == (
        pin.name,
        pin.version,
        pin.filename,
        pin.sha256,
        pin.url,
        pin.path,
        pin.size,
        pin.index,
    )


def test_registry_on_disk(tmp_path: Path) -> None:
    """The path of a local wheel directory is relative to the lock, regardless of the working directory."""
    wheel = "a-1.0-py3-none-any.whl"
    row = package("a", source={"registry": "../links"}, wheels=[{"path": wheel, "hash": f"sha256:{digest(wheel)}"}])
    write_uv_lock(tmp_path / "service", root("a"), row)

    (pin,) = select(read_lock(tmp_path / "service"), target=Target.of("python3.13", "arm64")).pins

    assert (None, tmp_path / "links" / wheel) == (pin.url, pin.path)


def sources() -> tuple[Mapping[str, Any], ...]:
    wheel = {"hash": "sha256:" + "1" * 64}
    commit = "c" * 40
    return (
        root("edited", "direct", "git", "url", "wheel", "virtual"),
        package("edited", tags=(), source={"editable": "../edited"}, needs=["below"]),
        package("direct", tags=(), source={"directory": "direct"}),
        package("git", tags=(), source={"git": f"https://me:pw@git.example/r?subdirectory=p&tag=v1#{commit}"}),
        package("url", tags=(), source={"url": "https://me:pw@files.example/url-1.0.tar.gz"}, sdist=wheel),
        package("wheel", tags=(), source={"path": "wheel-1.0-py3-none-any.whl"}, wheels=[{**wheel, "filename": "x"}]),
        package("virtual", tags=(), source={"virtual": "virtual"}, needs=["below"]),
        package("below"),
    )


def test_other_sources(tmp_path: Path) -> None:
    """Direct references become PEP 751 sources, and only virtual packages are not installed, as in uv."""
    write_uv_lock(tmp_path, *sources())

    packages = {str(package.name): package for package in read_lock(tmp_path).pylock.packages}

    assert {"edited", "direct", "git", "url", "wheel", "below"} == set(packages)
    assert packages["edited"].directory is not None
    assert (str(tmp_path.parent / "edited"), True) == (
        packages["edited"].directory.path,
        packages["edited"].directory.editable,
    )
    assert packages["git"].vcs is not None
    assert ("https://git.example/r", "v1", "c" * 40, "p") == (
        packages["git"].vcs.url,
        packages["git"].vcs.requested_revision,
        packages["git"].vcs.commit_id,
        packages["git"].vcs.subdirectory,
    )
    assert packages["url"].archive is not None
    assert ("https://files.example/url-1.0.tar.gz", {"sha256": "1" * 64}) == (
        packages["url"].archive.url,
        packages["url"].archive.hashes,
    )
    assert packages["wheel"].archive is not None
    assert str(tmp_path / "wheel-1.0-py3-none-any.whl") == packages["wheel"].archive.path


@pytest.mark.parametrize("hashes", [{}, {"hash": "md5:" + "0" * 32}, {"hash": "sha1:" + "0" * 40}])
def test_missing_hashes(tmp_path: Path, hashes: dict[str, str]) -> None:
    """The error lists every package without a SHA-256 that the target needs."""
    bare = [{"url": "https://files.example/x-1.0-py3-none-any.whl", **hashes}]
    write_uv_lock(
        tmp_path,
        root("b", "a", "good", {"name": "c", "marker": "sys_platform == 'win32'"}),
        *(package(name, wheels=bare) for name in ("a", "b", "c")),
        package("good"),
    )

    with pytest.raises(MissingHashError) as raised:
        read_lock(tmp_path)

    assert f"`{tmp_path / 'uv.lock'}` has no SHA-256 for: `a` 1.0, `b` 1.0" == str(raised.value)


@pytest.mark.parametrize(
    "text",
    [
        "version = ",
        "version = 1\n[[package]]\nname = 'a'\n",
        "version = 1\npackage = 7\n",
        "version = 1\n[[package]]\nname = 'a'\nsource = { virtual = '.' }\ndependencies = [{ version = '1' }]\n",
        "version = 1\n[[package]]\nname = 'a'\nsource = { virtual = '.' }\ndependencies = [{ name = 'gone' }]\n",
        "version = 1\n[[package]]\nname = 'a'\nsource = { carrier-pigeon = '.' }\n",
        "version = 1\nrequires-python = 'newest'\n[[package]]\nname = 'a'\nsource = { virtual = '.' }\n",
    ],
)
def test_damaged(tmp_path: Path, text: str) -> None:
    """A damaged lock raises a lock error, never a traceback."""
    (tmp_path / "uv.lock").write_text(text, encoding="utf-8")

    with pytest.raises(LockSyntaxError) as raised:
        read_lock(tmp_path)

    assert 3 == raised.value.exit_code


METADATA = {
    "requires-dist": [
        {"name": "a", "specifier": ">=1.0"},
        {"name": "b", "extras": ["fast"], "specifier": "==2.*", "marker": "python_full_version < '3.14'"},
        {"name": "c", "marker": "extra == 'report'", "specifier": ">=1,<2"},
        {"name": "d", "git": "https://git.example/d?tag=v1"},
        {"name": "shared", "editable": "../shared"},
    ],
    "provides-extras": ["report"],
    "requires-dev": {"dev": [{"name": "t"}, {"name": "l"}], "lint": [{"name": "l"}]},
}
FRESH: dict[str, Any] = {
    "extras": {"Report": ["C <2, >=1"]},
    "groups": {"dev": ["t", {"include-group": "lint"}], "lint": ["l"]},
    "uv": {"sources": {"d": {"git": "https://git.example/d", "tag": "v1"}, "shared": {"workspace": True}}},
}
DEPENDENCIES = ("B[Fast] == 2.* ; python_version < '3.14'", "a>=1.0", "d", "shared>=3")


def described(**metadata: Any) -> dict[str, Any]:
    """Return the project's row with METADATA, changed by the arguments."""
    return root(metadata=METADATA | metadata, optional_dependencies={}, dev_dependencies={})


def test_fresh(tmp_path: Path) -> None:
    """Order, spelling of names, included groups and uv's sources do not make a lock stale."""
    write_uv_lock(tmp_path, described())
    write_project(tmp_path, *DEPENDENCIES, **{"requires-python": ">=3.9"}, **FRESH)

    assert [] == selected(read_lock(tmp_path))


def test_stale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error lists every difference in both directions with its extra or group, and the command that fixes it."""
    monkeypatch.chdir(tmp_path.parent)
    write_uv_lock(tmp_path, described())
    write_project(
        tmp_path,
        "a>=1.1",
        "b[fast]==2.*",
        "d",
        "new",
        **{"requires-python": ">=3.10"},
        extras={"report": []},
        groups={"dev": ["t"], "lint": ["l"], "batch": ["e"]},
        uv={"sources": {"d": {"git": "https://git.example/d", "tag": "v2"}}},
    )

    with pytest.raises(StaleLockError) as raised:
        read_lock(tmp_path)

    differences = (
        "`a>=1.0` is locked but not required",
        "`a>=1.1` is required but not locked",
        "`c<2,>=1` (extra `report`) is locked but not required",
        "`d from git v1` is locked but not required",
        "`d from git v2` is required but not locked",
        "`e` is required but not locked (group `batch`)",
        "`l` is locked but not required (group `dev`)",
        "`new` is required but not locked",
        "`requires-python` is `>=3.10`, but was `>=3.9` when the lock was generated",
        "`shared from local` is locked but not required",
    )
    assert (
        f"`{tmp_path / 'uv.lock'}` does not match `{tmp_path / 'pyproject.toml'}`: {'; '.join(differences)}"
    ) == str(raised.value)
    assert f"regenerate the lock: run `(cd {tmp_path.name} && uv lock)`" == raised.value.hint


@pytest.mark.parametrize(
    ("asked", "locked", "fresh"),
    [
        ("~=3.11", ">=3.11, <4", True),
        ("==3.13.*", "==3.13.*", True),
        (">=3.11,<3.14", ">=3.11, <3.14", True),
        (">=3.11", ">=3.11, <3.14", False),
        (">=3.11.4", ">=3.11", False),
    ],
)
def test_requires_python_by_meaning(tmp_path: Path, asked: str, locked: str, fresh: bool) -> None:
    """Two spellings of the same Python versions are equal."""
    write_uv_lock(tmp_path, root(), requires_python=locked)
    write_project(tmp_path, **{"requires-python": asked})

    if fresh:
        assert [] == selected(read_lock(tmp_path))
    else:
        with pytest.raises(StaleLockError):
            read_lock(tmp_path)


def test_a_workspace_may_be_narrower(tmp_path: Path) -> None:
    """A workspace lock may allow fewer Python versions than a member, because it covers only those common to all members."""
    write_uv_lock(tmp_path, root(), manifest={"members": ["service", "other"]}, requires_python=">=3.11")
    write_project(tmp_path, **{"requires-python": ">=3.9"})

    assert [] == selected(read_lock(tmp_path))


def test_dynamic_dependencies_are_not_compared(tmp_path: Path) -> None:
    """Dynamic dependencies are not compared, because only the build backend can compute them."""
    write_uv_lock(tmp_path, root("a", metadata={"requires-dist": [{"name": "a"}]}), package("a"))
    project = write_project(tmp_path)
    text = project.read_text(encoding="utf-8").replace("dependencies = []", 'dynamic = ["dependencies"]')
    project.write_text(text, encoding="utf-8")

    assert ["a==1.0"] == selected(read_lock(tmp_path))


TAGS = (
    f"cp313-cp313-{ARM}",
    f"cp313-cp313-{X86}",
    f"cp312-cp312-{ARM}",
    f"cp39-abi3-{ARM}",
    "cp313-cp313-manylinux_2_28_aarch64",
    "cp313-cp313-musllinux_1_2_aarch64",
    "cp313-cp313-win_amd64",
    "py3-none-any",
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_order_means_nothing(tmp_path: Path, data: st.DataObject) -> None:
    """The order of packages, files, dependencies and conflicts does not affect the selection."""
    names = ["a", "b", "c", "d"]
    rows = [
        package(name, tags=data.draw(st.permutations(TAGS)), needs=data.draw(st.permutations(names))) for name in names
    ]
    write_uv_lock(tmp_path, *data.draw(st.permutations([root(*data.draw(st.permutations(names))), *rows])))

    pins = select(read_lock(tmp_path), target=Target.of("python3.13", "arm64")).pins

    assert [f"{name}-1.0-cp313-cp313-manylinux_2_28_aarch64.whl" for name in names] == [pin.filename for pin in pins]
