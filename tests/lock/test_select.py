"""Selection: the best wheel of every package that applies, or one error that lists all incompatible packages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from packaging.markers import default_environment

from lamina.core.errors import LockError, LockSyntaxError, NoCompatibleWheelError
from lamina.core.target import Target
from lamina.core.values import DirectorySource, Pin, SdistSource, Selection, Sha256, VcsSource
from lamina.lock.select import select
from locking import (
    ARM,
    TARGET,
    X86,
    digest,
    filename,
    package,
    pylock_package,
    pylock_wheel,
    read_lock,
    root,
    write_pylock,
    write_uv_lock,
)

if TYPE_CHECKING:
    from pathlib import Path


def chosen(directory: Path, target: Target) -> list[str]:
    return [pin.filename for pin in select(read_lock(directory, target=target), target=target).pins]


def test_a_selection(tmp_path: Path) -> None:
    """A selection is complete and sorted by name, and identifies each artifact exactly."""
    write_pylock(tmp_path, pylock_package("b"), pylock_package("a", index="https://index.example/simple"))

    a, b = filename("a", "1.0"), filename("b", "1.0")
    expected = Selection(
        target=TARGET,
        pins=(
            Pin(
                name="a",
                version="1.0",
                filename=a,
                sha256=digest(a),
                url=f"https://files.example/{a}",
                index="https://index.example/simple",
            ),
            Pin(name="b", version="1.0", filename=b, sha256=digest(b), url=f"https://files.example/{b}"),
        ),
    )

    assert expected == select(read_lock(tmp_path), target=TARGET)


@pytest.mark.parametrize(
    ("runtime", "architecture", "tags", "best"),
    [
        ("python3.13", "arm64", (f"cp313-cp313-{ARM}", "py3-none-any"), f"cp313-cp313-{ARM}"),
        ("python3.13", "x86_64", (f"cp313-cp313-{ARM}", "py3-none-any"), "py3-none-any"),
        ("python3.13", "arm64", (f"cp39-abi3-{ARM}", f"cp312-abi3-{ARM}"), f"cp312-abi3-{ARM}"),
        ("python3.11", "arm64", (f"cp39-abi3-{ARM}", f"cp312-abi3-{ARM}"), f"cp39-abi3-{ARM}"),
        (
            "python3.12",
            "x86_64",
            ("cp312-cp312-manylinux_2_28_x86_64", f"cp312-cp312-{X86}"),
            "cp312-cp312-manylinux_2_28_x86_64",
        ),
        ("python3.11", "x86_64", ("cp311-cp311-manylinux_2_28_x86_64", f"cp311-cp311-{X86}"), f"cp311-cp311-{X86}"),
        (
            "python3.13",
            "arm64",
            (f"py2.py3-none-{ARM}.manylinux2014_aarch64", "py3-none-any"),
            f"py2.py3-none-{ARM}.manylinux2014_aarch64",
        ),
    ],
)
def test_the_best_tag(tmp_path: Path, runtime: str, architecture: str, tags: tuple[str, ...], best: str) -> None:
    """The most specific compatible wheel is selected: the target's own ABI, the newest glibc, the newest abi3."""
    write_pylock(tmp_path, pylock_package("a", tags=tags))

    assert [filename("a", "1.0", best)] == chosen(tmp_path, Target.of(runtime, architecture))


def test_build_numbers(tmp_path: Path) -> None:
    """Of two wheels with the same tags, the one with the numerically higher build number is selected."""
    write_pylock(
        tmp_path,
        pylock_package("a", "1.0", tags=("py3-none-any", "2-py3-none-any", "10x-py3-none-any", "9-py3-none-any")),
    )

    assert ["a-1.0-10x-py3-none-any.whl"] == chosen(tmp_path, TARGET)


FILES = (
    filename("a", "1.0", f"cp313-cp313-{ARM}"),
    filename("a", "1.0", f"1-cp313-cp313-{ARM}"),
    filename("a", "1.0", f"cp313-cp313-{ARM}.manylinux2014_aarch64"),
    filename("a", "1.0", f"cp313-cp313-{X86}"),
    filename("a", "1.0"),
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(files=st.permutations(FILES), flipped=st.booleans())
def test_order_means_nothing(tmp_path: Path, files: list[str], flipped: bool) -> None:
    """The order of files and packages in a lock does not affect the selection, even among equal wheels."""
    rows = [pylock_package("a", tags=(), wheels=[pylock_wheel(name) for name in files]), pylock_package("b")]
    write_pylock(tmp_path, *(reversed(rows) if flipped else rows))

    assert [FILES[1], filename("b", "1.0")] == chosen(tmp_path, TARGET)


def test_all_misses(tmp_path: Path) -> None:
    """One error lists every package without a compatible wheel, its locked files, the supported tags, and a fix."""
    write_pylock(
        tmp_path,
        pylock_package("good"),
        pylock_package("other-machine", tags=(f"cp313-cp313-{X86}", "cp313-cp313-win_amd64")),
        pylock_package("other-python", tags=(f"cp312-cp312-{ARM}", f"cp311-cp311-{ARM}")),
        pylock_package("new-glibc", tags=("cp313-cp313-manylinux_2_39_aarch64", "cp313-cp313-manylinux_2_41_aarch64")),
        pylock_package("musl", tags=("cp313-cp313-musllinux_1_2_aarch64",)),
        pylock_package("mac", tags=tuple(f"cp313-cp313-macosx_{n}_0_arm64" for n in range(11, 17))),
        pylock_package("fallback", tags=("cp313-cp313-win_amd64",), sdist=pylock_wheel("fallback-1.0.tar.gz")),
    )

    with pytest.raises(NoCompatibleWheelError) as raised:
        select(read_lock(tmp_path), target=TARGET)

    assert (
        "no compatible wheel in the lock for python3.13 on arm64: `fallback` 1.0, `mac` 1.0, `musl` 1.0, `new-glibc` 1.0, "
        "`other-machine` 1.0, `other-python` 1.0"
    ) == str(raised.value)
    assert (
        "`fallback` 1.0 has no wheel for Linux on arm64; the lock has: "
        "`fallback-1.0-cp313-cp313-win_amd64.whl`, `fallback-1.0.tar.gz`\n"
        "`mac` 1.0 has no wheel for Linux on arm64; the lock has: `mac-1.0-cp313-cp313-macosx_11_0_arm64.whl`, "
        "`mac-1.0-cp313-cp313-macosx_12_0_arm64.whl`, `mac-1.0-cp313-cp313-macosx_13_0_arm64.whl`, "
        "`mac-1.0-cp313-cp313-macosx_14_0_arm64.whl` and 2 more\n"
        "`musl` 1.0 has only musl wheels, but Lambda uses glibc; the lock has: "
        "`musl-1.0-cp313-cp313-musllinux_1_2_aarch64.whl`\n"
        "`new-glibc` 1.0 requires glibc 2.39 or newer, but `python3.13` has 2.34; the lock has: "
        "`new_glibc-1.0-cp313-cp313-manylinux_2_39_aarch64.whl`, `new_glibc-1.0-cp313-cp313-manylinux_2_41_aarch64.whl`\n"
        "`other-machine` 1.0 has no wheel for arm64; the lock has: "
        f"`other_machine-1.0-cp313-cp313-{X86}.whl`, `other_machine-1.0-cp313-cp313-win_amd64.whl`\n"
        "`other-python` 1.0 has no wheel for Python 3.13; the lock has: "
        f"`other_python-1.0-cp311-cp311-{ARM}.whl`, `other_python-1.0-cp312-cp312-{ARM}.whl`\n"
        "the target supports: cp313, abi3 and pure Python wheels, up to manylinux_2_34_aarch64\n"
        "lock versions that have such a wheel, or build for another target; "
        "lamina builds a package from source only if it has no wheels"
    ) == raised.value.hint
    assert ("fallback-1.0-cp313-cp313-win_amd64.whl", "fallback-1.0.tar.gz") == raised.value.offered["fallback==1.0"]


def test_sources(tmp_path: Path) -> None:
    """A package without wheels is selected as a source: an archive with its hash, a directory, or a commit."""
    write_pylock(
        tmp_path,
        pylock_package("good"),
        pylock_package("source", tags=(), sdist=pylock_wheel("source-1.0.tar.gz")),
        {"name": "repo", "vcs": {"type": "git", "url": "https://git.example/r", "commit-id": "c" * 40}},
        {"name": "local", "version": "2", "directory": {"path": "local", "subdirectory": "inner"}},
        {
            "name": "zipped",
            "archive": {"url": "https://files.example/z.zip", "hashes": {"sha256": "0" * 64}, "subdirectory": "a"},
        },
    )

    selection = select(read_lock(tmp_path), target=TARGET)

    assert ["good"] == [pin.name for pin in selection.pins]
    assert (
        DirectorySource(name="local", version="2", path=tmp_path / "local" / "inner"),
        VcsSource(name="repo", version=None, url="https://git.example/r", commit="c" * 40),
        SdistSource(
            name="source",
            version="1.0",
            filename="source-1.0.tar.gz",
            sha256=digest("source-1.0.tar.gz"),
            url="https://files.example/source-1.0.tar.gz",
        ),
        SdistSource(
            name="zipped",
            version=None,
            filename="z.zip",
            sha256=Sha256("0" * 64),
            url="https://files.example/z.zip",
            subdirectory="a",
        ),
    ) == selection.sources


def test_branches_are_refused(tmp_path: Path) -> None:
    """The error lists every package that is locked to a branch or tag instead of a commit."""
    write_pylock(
        tmp_path,
        {"name": "one", "vcs": {"type": "git", "url": "https://git.example/r", "commit-id": "main"}},
        {"name": "two", "vcs": {"type": "git", "url": "https://git.example/r", "commit-id": "v1.0"}},
        {"name": "three", "vcs": {"type": "hg", "url": "https://hg.example/r", "commit-id": "c" * 40}},
    )

    with pytest.raises(LockError) as raised:
        select(read_lock(tmp_path), target=TARGET)

    assert (
        f"`{tmp_path / 'pylock.toml'}` has packages that are not locked to a full git commit: "
        "`one` is locked to `main`; `three` is in a hg repository; `two` is locked to `v1.0`"
    ) == str(raised.value)


def test_old_glibc(tmp_path: Path) -> None:
    """A wheel for a newer glibc than the runtime's is rejected, although pip on the host would install it."""
    write_uv_lock(tmp_path, root("a"), package("a", tags=("cp311-cp311-manylinux_2_28_x86_64",)))
    target = Target.of("python3.11", "x86_64")

    with pytest.raises(NoCompatibleWheelError) as raised:
        select(read_lock(tmp_path, target=target), target=target)

    assert raised.value.hint is not None
    assert (
        "`a` 1.0 requires glibc 2.28 or newer, but `python3.11` has 2.26; the lock has: "
        "`a-1.0-cp311-cp311-manylinux_2_28_x86_64.whl`"
    ) == raised.value.hint.splitlines()[0]


def test_wheels_by_url(tmp_path: Path) -> None:
    """A wheel locked by URL is selected if its file name has a compatible tag."""
    name = "a-1.0+local-py3-none-any.whl"
    archive = {"url": "https://files.example/a-1.0%2Blocal-py3-none-any.whl", "hashes": {"sha256": "1" * 64}}
    other = {"url": f"https://files.example/b-1.0-cp313-cp313-{X86}.whl", "hashes": {"sha256": "2" * 64}}
    write_pylock(tmp_path, {"name": "a", "archive": archive})
    assert [Pin(name="a", version="1.0+local", filename=name, sha256=Sha256("1" * 64), url=archive["url"])] == list(  # type: ignore[arg-type]
        select(read_lock(tmp_path), target=TARGET).pins
    )

    write_pylock(tmp_path, {"name": "b", "archive": other})
    with pytest.raises(NoCompatibleWheelError) as raised:
        select(read_lock(tmp_path), target=TARGET)
    assert {"b==?": (f"b-1.0-cp313-cp313-{X86}.whl",)} == raised.value.offered


def test_packages_for_other_pythons(tmp_path: Path) -> None:
    """The error lists all packages that do not support the target's Python version."""
    path = write_pylock(
        tmp_path,
        pylock_package("b", requires_python="<3.13"),
        pylock_package("a", requires_python=">=3.14"),
        pylock_package("c", requires_python=">=3.9"),
    )

    with pytest.raises(LockError) as raised:
        select(read_lock(tmp_path), target=TARGET)

    full_version = TARGET.markers["python_full_version"]
    assert (
        f"`{path}` has packages that do not support `python3.13` (Python {full_version}): `a` 1.0 requires Python >=3.14; `b` 1.0 requires Python <3.13"
    ) == str(raised.value)


def test_two_versions(tmp_path: Path) -> None:
    """The error lists every package that the lock has in two versions for one target."""
    path = write_pylock(
        tmp_path,
        *(pylock_package(name, version) for name in ("a", "b") for version in ("1.0", "2.0")),
        pylock_package("c"),
    )

    with pytest.raises(LockError) as raised:
        select(read_lock(tmp_path), target=TARGET)

    assert f"`{path}` has more than one version of a package for one target: `a` (1.0, 2.0), `b` (1.0, 2.0)" == str(
        raised.value
    )


@pytest.mark.parametrize(
    "wheel",
    [
        {"url": "https://files.example/a-1.0-py3-none-any.x%2F..%2F..%2Fy.whl", "hashes": {"sha256": "0" * 64}},
        {"name": "a-1.0-py3-none-any.x/../../y.whl", "path": "y", "hashes": {"sha256": "0" * 64}},
        {"url": f"https://files.example/{filename('a', '1.0')}", "hashes": {"sha256": "../../../y"}},
    ],
)
def test_no_way_out_of_the_store(tmp_path: Path, wheel: dict[str, Any]) -> None:
    """A file name or hash that would lead outside the store raises an error."""
    write_pylock(tmp_path, pylock_package("a", tags=(), wheels=[wheel]))

    with pytest.raises(LockSyntaxError) as raised:
        select(read_lock(tmp_path), target=TARGET)

    assert 3 == raised.value.exit_code


def test_nothing_is_left_to_the_host() -> None:
    """The target defines every marker variable, so that none is read from the running machine."""
    assert set(default_environment()) == set(TARGET.markers)
