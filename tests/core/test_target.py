"""The target does not depend on the machine: these tests run real interpreters only to compare results."""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import packaging
import pytest
from packaging.markers import Marker, default_environment
from packaging.specifiers import SpecifierSet
from packaging.tags import Tag
from packaging.utils import canonicalize_name, parse_wheel_filename

from lamina.core.errors import ConfigError
from lamina.core.target import Architecture, Target, quotas, runtimes
from lamina.core.toml import read_data

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from lamina.bytecode.interpreter import Interpreter

ARCHITECTURES = ("x86_64", "arm64")
TARGETS = [(runtime.name, architecture) for runtime in runtimes() for architecture in ARCHITECTURES]

# Prints the tags of packaging under the interpreter that runs it, for a list of platforms on stdin.
ASK = """
import json, sys
sys.path.insert(0, sys.argv[1])
from packaging.tags import compatible_tags, cpython_tags
platforms = json.load(sys.stdin)
print(json.dumps([str(t) for t in (*cpython_tags(platforms=platforms), *compatible_tags(
    interpreter="cp%d%d" % sys.version_info[:2], platforms=platforms))]))
"""


@pytest.mark.parametrize(("runtime", "architecture"), TARGETS)
def test_every_runtime_is_a_target(runtime: str, architecture: str) -> None:
    """A target has Lambda's names, and its string shows them."""
    target = Target.of(runtime, architecture)

    assert f"{runtime} on {architecture}" == str(target)


@pytest.mark.parametrize(
    ("runtime", "glibc"),
    [("python3.9", (2, 26)), ("python3.11", (2, 26)), ("python3.12", (2, 34)), ("python3.15", (2, 34))],
)
def test_glibc_changes_with_amazon_linux_2023(runtime: str, glibc: tuple[int, int]) -> None:
    """Runtimes up to 3.11 have glibc 2.26, later runtimes 2.34."""
    assert glibc == Target.of(runtime, "arm64").glibc


@pytest.mark.parametrize(
    ("runtime", "create", "update"),
    [
        ("python3.9", dt.date(2027, 2, 1), dt.date(2027, 3, 3)),
        ("python3.10", dt.date(2027, 2, 1), dt.date(2027, 3, 3)),
        ("python3.11", dt.date(2027, 7, 31), dt.date(2027, 8, 31)),
    ],
)
def test_dates_on_which_lambda_blocks_a_runtime(runtime: str, create: dt.date, update: dt.date) -> None:
    """Lambda blocks new functions and updates on the dates that AWS extended in 2026, always after the end of support."""
    (found,) = [each for each in runtimes() if each.name == runtime]

    assert (create, update) == (found.block_create, found.block_update)
    assert found.deprecation is not None
    assert found.deprecation <= create <= update


def test_targets_are_equal_by_value() -> None:
    """Two targets with the same names are equal and hash alike, even if one has cached properties."""
    first, second = Target.of("python3.13", "arm64"), Target.of("python3.13", "arm64")
    assert first.tags

    assert {first: 1} == {second: 1}


def test_platforms_of_x86_64_reach_down_to_manylinux1() -> None:
    """All manylinux tags up to the runtime's glibc are supported, each legacy alias after its number, and plain linux last."""
    expected = [f"manylinux_2_{minor}_x86_64" for minor in range(26, 4, -1)]
    expected.insert(expected.index("manylinux_2_17_x86_64") + 1, "manylinux2014_x86_64")
    expected.insert(expected.index("manylinux_2_12_x86_64") + 1, "manylinux2010_x86_64")

    assert (*expected, "manylinux1_x86_64", "linux_x86_64") == Target.of("python3.9", "x86_64").platforms


def test_platforms_of_arm64_begin_with_manylinux2014() -> None:
    """Manylinux tags for aarch64 start with manylinux2014."""
    expected = [f"manylinux_2_{minor}_aarch64" for minor in range(34, 16, -1)]

    assert (*expected, "manylinux2014_aarch64", "linux_aarch64") == Target.of("python3.13", "arm64").platforms


@pytest.mark.parametrize("minor", [9, 10, 11, 12, 13])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_tags_equal_what_packaging_gives_under_that_interpreter(
    installed_python: Callable[[tuple[int, int]], Interpreter], minor: int, architecture: str
) -> None:
    """The tags and their order are the same as those of packaging under that interpreter."""
    metadata = importlib.metadata.metadata("packaging")
    if f"3.{minor}" not in SpecifierSet(metadata["Requires-Python"]):
        pytest.skip(f"packaging {metadata['Version']} does not run on Python 3.{minor}")
    target = Target.of(f"python3.{minor}", architecture)
    answer = subprocess.run(
        [str(installed_python((3, minor)).path), "-I", "-c", ASK, str(Path(packaging.__file__).parent.parent)],
        input=json.dumps(target.platforms),
        capture_output=True,
        check=True,
        text=True,
    )

    assert json.loads(answer.stdout) == [str(tag) for tag in target.tags]


@pytest.mark.parametrize(
    ("filename", "runtime", "architecture", "taken"),
    [
        ("a-1-cp313-cp313-manylinux_2_34_x86_64.whl", "python3.13", "x86_64", True),
        ("a-1-cp313-cp313-manylinux_2_35_x86_64.whl", "python3.13", "x86_64", False),
        ("a-1-cp311-cp311-manylinux_2_28_x86_64.whl", "python3.11", "x86_64", False),
        ("a-1-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl", "python3.11", "x86_64", True),
        ("a-1-cp39-abi3-manylinux2014_aarch64.whl", "python3.14", "arm64", True),
        ("a-1-cp313-cp313t-manylinux2014_aarch64.whl", "python3.13", "arm64", False),
        ("a-1-cp313-cp313-musllinux_1_2_x86_64.whl", "python3.13", "x86_64", False),
        ("a-1-cp313-cp313-manylinux2014_aarch64.whl", "python3.13", "x86_64", False),
        ("a-1-cp313-cp313-macosx_11_0_arm64.whl", "python3.13", "arm64", False),
        ("a-1-cp313-cp313-win_amd64.whl", "python3.13", "x86_64", False),
        ("a-1-py2.py3-none-any.whl", "python3.15", "arm64", True),
        ("a-1-py2-none-any.whl", "python3.15", "arm64", False),
        ("a-1-py314-none-any.whl", "python3.13", "arm64", False),
        ("a-1-py3-none-manylinux_2_5_x86_64.whl", "python3.13", "x86_64", True),
    ],
)
def test_wheels_that_lambda_can_import_are_taken(filename: str, runtime: str, architecture: str, taken: bool) -> None:
    """A wheel is compatible if interpreter, ABI, glibc and machine match. musllinux wheels never are."""
    tags = parse_wheel_filename(filename)[3]

    assert taken == (not tags.isdisjoint(Target.of(runtime, architecture).tags))


def test_the_most_specific_tag_comes_first() -> None:
    """The native ABI with the newest glibc comes first, and ``any`` comes last."""
    tags = Target.of("python3.13", "x86_64").tags

    assert (Tag("cp313", "cp313", "manylinux_2_34_x86_64"), Tag("py30", "none", "any")) == (tags[0], tags[-1])


@pytest.mark.parametrize(("runtime", "architecture"), TARGETS)
def test_markers_name_every_variable(runtime: str, architecture: str) -> None:
    """Every marker variable is set, so that packaging takes none from the host."""
    assert set(default_environment()) == set(Target.of(runtime, architecture).markers)


def test_markers_are_the_targets() -> None:
    """Marker variables describe the target and not the build machine."""
    assert {
        "implementation_name": "cpython",
        "implementation_version": "3.13.14",
        "os_name": "posix",
        "platform_machine": "aarch64",
        "platform_python_implementation": "CPython",
        "platform_release": "5.10.252-285.992.amzn2.aarch64",
        "platform_system": "Linux",
        "platform_version": "",
        "python_full_version": "3.13.14",
        "python_version": "3.13",
        "sys_platform": "linux",
    } == Target.of("python3.13", "arm64").markers


@pytest.mark.parametrize(
    ("marker", "holds"),
    [
        ("python_full_version < '3.13.1'", False),
        ("python_full_version >= '3.13'", True),
        ("python_version < '3.9'", False),
        ("sys_platform == 'win32' or platform_system == 'Windows'", False),
        ("platform_machine == 'aarch64'", True),
        ("platform_machine == 'arm64'", False),
        ("platform_python_implementation != 'PyPy' and implementation_name == 'cpython'", True),
        ("platform_release >= '5.0' and platform_version == ''", False),
    ],
)
def test_markers_decide_for_the_target(marker: str, holds: bool) -> None:
    """Markers in real lock files evaluate as in the function."""
    assert holds == Marker(marker).evaluate(cast("Mapping[str, str]", Target.of("python3.13", "arm64").markers))


def test_unknown_runtime_suggests_the_nearest() -> None:
    """The error for a mistyped runtime lists the supported runtimes and suggests the most similar one."""
    with pytest.raises(ConfigError) as caught:
        Target.of("python313", "arm64")

    assert (
        "Lambda has no Python runtime `python313`",
        f"did you mean `python3.13`? supported: {', '.join(runtime.name for runtime in runtimes())}",
    ) == (str(caught.value), caught.value.hint)


@pytest.mark.parametrize(
    "spelling",
    ["3.13", "313", "py313", "cp313", "python3.13.2", "Python 3.13", "python-3.13", "PYTHON3_13", "3.13.x", "3.13.*"],
)
def test_runtime_spelled_as_elsewhere(spelling: str) -> None:
    """A version, or the name that another tool has for it, gets Lambda's name of the runtime as a suggestion."""
    with pytest.raises(ConfigError) as caught:
        Target.of(spelling, "arm64")

    assert f"Lambda has no Python runtime `{spelling}`" == str(caught.value)
    assert "did you mean `python3.13`? supported: " in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("name", "version", "day"),
    [
        ("python2.7", "2.7", "2021-07-15"),
        ("python3.6", "3.6", "2022-07-18"),
        ("python3.7", "3.7", "2023-12-04"),
        ("python3.8", "3.8", "2024-10-14"),
        ("3.8", "3.8", "2024-10-14"),
    ],
)
def test_retired_runtime(name: str, version: str, day: str) -> None:
    """A runtime that Lambda no longer supports is not unknown: the error says until when Lambda supported it."""
    with pytest.raises(ConfigError) as caught:
        Target.of(name, "x86_64")

    assert (
        f"lamina does not support `{name}`: Lambda supported Python {version} only until {day}",
        f"supported: {', '.join(runtime.name for runtime in runtimes())}",
    ) == (str(caught.value), caught.value.hint)


def test_runtime_far_from_any_gets_no_guess() -> None:
    """Without a similar name, the hint only lists the supported runtimes."""
    with pytest.raises(ConfigError) as caught:
        Target.of("nodejs", "arm64")

    assert (
        "supported: python3.9, python3.10, python3.11, python3.12, python3.13, python3.14, python3.15"
        == caught.value.hint
    )


@pytest.mark.parametrize(
    ("spelling", "hint"),
    [
        ("amd64", "use `x86_64`"),
        ("AARCH64", "use `arm64`"),
        ("arm46", "did you mean `arm64`? supported: x86_64, arm64"),
        ("riscv", "supported: x86_64, arm64"),
    ],
)
def test_architectures_are_spelled_as_lambda_spells_them(spelling: str, hint: str) -> None:
    """Other tools' architecture names are rejected with a hint."""
    with pytest.raises(ConfigError) as caught:
        Target.of("python3.13", spelling)

    assert (f"Lambda has no architecture `{spelling}`", hint) == (str(caught.value), caught.value.hint)


def test_machine_is_the_name_that_wheels_use() -> None:
    """``arm64`` is Lambda's name and ``aarch64`` is the name in Linux."""
    assert ("x86_64", "aarch64") == tuple(architecture.machine for architecture in Architecture)


def test_quotas_are_the_documented_ones() -> None:
    """The limits equal those on Lambda's quotas page, in bytes."""
    found = quotas()

    assert (262_144_000, 50 * 2**20, 3 * 2**20, 5) == (
        found.unzipped_bytes,
        found.direct_upload_bytes,
        found.console_bytes,
        found.layers,
    )


def rows() -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name in ("runtimes.toml", "quotas.toml"):
        for table, entries in read_data(name).items():
            for index, row in enumerate(entries):
                yield f"{name}: {table}[{index}]", row


def test_every_fact_has_a_source_and_a_date() -> None:
    """Every row of the data files has a source and the date when it was read."""
    wanting = [
        where
        for where, row in rows()
        if not (isinstance(row.get("source"), str) and row["source"]) or type(row.get("read")) is not dt.date
    ]

    assert [] == wanting


def test_no_fact_was_read_in_the_future() -> None:
    """A date of reading lies between the date of the first Python runtime and today."""
    today = dt.datetime.now(dt.UTC).date()

    assert [] == [where for where, row in rows() if not dt.date(2021, 1, 1) <= row["read"] <= today]


def test_rows_name_known_runtimes_only() -> None:
    """Every row for a runtime refers to an existing runtime."""
    known = {runtime.name for runtime in runtimes()}
    named = {name for _, row in rows() for name in (row.get("runtime"), *row.get("runtimes", ())) if name}

    assert known == named


def test_runtimes_are_consistent() -> None:
    """Name, version and full version of a runtime agree, and its deprecation dates are in order."""
    wrong = [
        runtime.name
        for runtime in runtimes()
        if runtime.name != "python{}.{}".format(*runtime.python)
        or tuple(map(int, runtime.python_full_version.split(".")[:2])) != runtime.python
        or [*filter(None, (runtime.deprecation, runtime.block_create, runtime.block_update))]
        != sorted(filter(None, (runtime.deprecation, runtime.block_create, runtime.block_update)))
    ]

    assert [] == wrong


def test_every_runtime_brings_the_sdk_once() -> None:
    """Each runtime lists boto3 and its dependencies once, with normalised names."""
    for runtime in runtimes():
        names = [distribution.name for distribution in runtime.preinstalled]

        assert names == sorted({str(canonicalize_name(name)) for name in names})
        assert {"boto3", "botocore", "jmespath", "python-dateutil", "s3transfer", "six", "urllib3"} <= set(names)


def test_nothing_is_imported_before_it_is_needed() -> None:
    """Importing the module imports neither a TOML parser nor packaging, because every command imports it."""
    code = "import sys, lamina.core.target; print(sorted({'tomllib', 'packaging', 'difflib', 'platform'} & set(sys.modules)))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)

    assert "[]\n" == answer.stdout
