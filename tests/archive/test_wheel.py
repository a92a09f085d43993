"""One wheel: whether it is what it says, and where its members go."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from archive.hostile import (
    FILENAME,
    INFO,
    MODULE,
    OTHER,
    Entry,
    as_wheel,
    build,
    metadata,
    record,
    streamed,
    wheel_entries,
    write_wheel,
)
from lamina.archive.placement import Placement, place
from lamina.archive.record import verify_record
from lamina.archive.wheel import WheelArchive
from lamina.core.errors import (
    CorruptArchiveError,
    DuplicateMemberError,
    LaminaError,
    RecordMismatchError,
    UnsafeMemberError,
    UnsupportedMemberError,
)
from lamina.core.values import Pin, Sha256

if TYPE_CHECKING:
    from collections.abc import Callable


def nothing(_: str) -> bool:
    return False


def placed(path: Path, excluded: Callable[[str], bool] = nothing) -> Placement:
    with WheelArchive(path) as wheel:
        return place(wheel, excluded=excluded)


def paths(placement: Placement) -> list[str]:
    return [each.path for each in placement.copied]


class TestOpening:
    def test_members(self, tmp_path: Path) -> None:
        """An open wheel knows its members and its own metadata, and reads both."""
        with WheelArchive(write_wheel(tmp_path, MODULE)) as wheel:
            first = wheel.members[0]

            assert (INFO, MODULE.content, MODULE.stream) == (
                wheel.dist_info,
                wheel.read(first),
                bytes(wheel.payload(first)),
            )

    def test_named_by_its_pin(self, tmp_path: Path) -> None:
        """A wheel that is not yet in its place is named by its file name, not by its path."""
        path = write_wheel(tmp_path, MODULE).rename(tmp_path / ("0" * 64))
        with WheelArchive(path, name=FILENAME) as wheel:
            assert (FILENAME, "pkg-1.0") == (wheel.name, wheel.stem)

    def test_empty_file(self, tmp_path: Path) -> None:
        """A file of no bytes is no wheel."""
        path = tmp_path / FILENAME
        path.touch()
        with pytest.raises(CorruptArchiveError) as caught:
            WheelArchive(path)

        assert f"`{FILENAME}` is empty" == str(caught.value)

    @pytest.mark.parametrize(
        ("entries", "message"),
        [
            ([MODULE], f"`{FILENAME}` needs one `.dist-info` directory and has none"),
            (
                [MODULE, Entry(path=b"pkg-1.0.dist-info", content=b"file")],
                f"`{FILENAME}` needs one `.dist-info` directory and has none",
            ),
            (
                [*metadata(), *metadata(info="boto3-1.0.dist-info")],
                f"`{FILENAME}` needs one `.dist-info` directory and has `boto3-1.0.dist-info`, `pkg-1.0.dist-info`",
            ),
            (
                [*metadata(), *metadata(info="pkg-2.0.dist-info")],
                f"`{FILENAME}` needs one `.dist-info` directory and has `pkg-1.0.dist-info`, `pkg-2.0.dist-info`",
            ),
            (
                metadata(info="boto3-1.0.dist-info"),
                f"`{FILENAME}` holds the metadata of another distribution: `boto3-1.0.dist-info`",
            ),
        ],
        ids=["none", "a file", "a stranger's", "two versions", "another project"],
    )
    def test_metadata(self, tmp_path: Path, entries: list[Entry], message: str) -> None:
        """A wheel has one metadata directory, its own: with another it would pass for another distribution."""
        path = tmp_path / FILENAME
        path.write_bytes(build(entries))
        with pytest.raises(CorruptArchiveError) as caught:
            WheelArchive(path)

        assert message == str(caught.value)

    @pytest.mark.parametrize("info", ["PKG-1.0.dist-info", "Pkg-1.0.dist-info"])
    def test_metadata_by_its_normal_name(self, tmp_path: Path, info: str) -> None:
        """Old wheels spell the directory as their author spelled the name."""
        path = tmp_path / FILENAME
        path.write_bytes(build(metadata(info=info)))
        with WheelArchive(path) as wheel:
            assert info == wheel.dist_info

    def test_errors_are_not_hidden_by_closing(self, tmp_path: Path) -> None:
        """What went wrong inside reaches the caller, even while payloads are still held."""
        held = []

        def fill_the_disk() -> None:
            with WheelArchive(write_wheel(tmp_path, MODULE)) as wheel:
                held.append(wheel.payload(wheel.members[0]))
                raise OSError("the disk is full")

        with pytest.raises(OSError, match="the disk is full"):
            fill_the_disk()

        assert MODULE.stream == bytes(held[0])


class TestVerifying:
    def test_true(self, tmp_path: Path) -> None:
        """A wheel that is what it says passes, also when it was streamed and is not yet in its place."""
        path = write_wheel(tmp_path, streamed(MODULE), replace(OTHER, method=0))
        pin = as_wheel(path).pin

        assert verify_record(path.rename(tmp_path / "partial"), pin) is None  # type: ignore[func-returns-value]

    @pytest.mark.parametrize("version", ["1.0", "1.0.0", "v1"])
    def test_equal_versions(self, tmp_path: Path, version: str) -> None:
        """A lock may spell the version in another way."""
        path = write_wheel(tmp_path, MODULE)

        assert verify_record(path, as_wheel(path, version=version).pin) is None  # type: ignore[func-returns-value]

    @pytest.mark.parametrize(
        ("filename", "version"),
        [("pkg-1.0+cu118-py3-none-any.whl", "1.0+cu118"), ("pkg-1.0_1-py3-none-any.whl", "1.0.post1")],
    )
    def test_escaped_versions(self, tmp_path: Path, filename: str, version: str) -> None:
        """Local versions and escaped hyphens are versions as well."""
        info = f"pkg-{filename.split('-')[1]}.dist-info"
        path = tmp_path / filename
        path.write_bytes(build(wheel_entries(MODULE, info=info)))

        assert verify_record(path, as_wheel(path, version=version).pin) is None  # type: ignore[func-returns-value]

    @pytest.mark.parametrize(("name", "version"), [("other", "1.0"), ("pkg", "1.1"), ("pkg", "not a version")])
    def test_another_distribution(self, tmp_path: Path, name: str, version: str) -> None:
        """A wheel is what the lock names, or is refused."""
        path = write_wheel(tmp_path, MODULE)
        with pytest.raises(CorruptArchiveError) as caught:
            verify_record(path, as_wheel(path, name=name, version=version).pin)

        assert f"`{FILENAME}` holds `pkg` 1.0, not `{name}` {version}" == str(caught.value)

    def test_differences(self, tmp_path: Path) -> None:
        """The error names all differences, and what can be done."""
        gone = ["pkg/missing.py", "pkg/gone.py"]
        path = write_wheel(tmp_path, MODULE, listed=[f"{path},sha256=x,1" for path in gone])
        with pytest.raises(RecordMismatchError) as caught:
            verify_record(path, as_wheel(path).pin)

        assert (
            f"`{FILENAME}` is not what its RECORD says: {'; '.join(f'`{path}` is listed and missing' for path in gone)}",
            "the distribution was built or repacked badly: choose another version, or report it to its authors",
        ) == (str(caught.value), caught.value.hint)

    def test_many_differences(self, tmp_path: Path) -> None:
        """Thousands of differences are counted rather than listed."""
        path = write_wheel(tmp_path, MODULE, listed=[f"{number},sha256=x,1" for number in range(5000)])
        with pytest.raises(RecordMismatchError) as caught:
            verify_record(path, as_wheel(path).pin)
        shown = "; ".join(f"`{number}` is listed and missing" for number in range(20))

        assert f"`{FILENAME}` is not what its RECORD says: {shown}; and 4,980 more" == str(caught.value)

    @pytest.mark.parametrize(
        ("entries", "error", "message"),
        [
            (metadata()[1:], CorruptArchiveError, f"`{FILENAME}` has no METADATA in its `.dist-info`"),
            (metadata()[:1], CorruptArchiveError, f"`{FILENAME}` has no WHEEL in its `.dist-info`"),
            (
                metadata(wheel_version="2.0"),
                UnsupportedMemberError,
                f"`{FILENAME}` is of another version of the wheel format than 1",
            ),
            (
                metadata(wheel_version="10.0"),
                UnsupportedMemberError,
                f"`{FILENAME}` is of another version of the wheel format than 1",
            ),
            (
                [metadata()[0], replace(metadata()[1], content=b"")],
                UnsupportedMemberError,
                f"`{FILENAME}` is of another version of the wheel format than 1",
            ),
        ],
        ids=["no METADATA", "no WHEEL", "2.0", "10.0", "empty"],
    )
    def test_format(self, tmp_path: Path, entries: list[Entry], error: type[LaminaError], message: str) -> None:
        """What a later format means, nobody knows yet."""
        path = tmp_path / FILENAME
        path.write_bytes(build([*entries, Entry(path=f"{INFO}/RECORD".encode(), content=record(entries))]))
        with pytest.raises(LaminaError) as caught:
            verify_record(path, as_wheel(path).pin)

        assert (error, message) == (type(caught.value), str(caught.value))

    @pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells a process its own peak")
    def test_large_members_need_little_memory(self, tmp_path: Path) -> None:
        """A wheel of 140 MB is verified by a process that never holds half of that."""
        path = tmp_path / FILENAME
        block = b"".join(hashlib.sha512(b"%d" % number).digest() for number in range(1024))[:65_535]
        payload = (b"\0\xff\xff\0\0" + block) * 1_100 + b"\3\0"
        large = Entry(path=b"large.so", content=block * 1_100, payload=payload)
        path.write_bytes(build(wheel_entries(large, replace(large, path=b"stored.so", method=0, payload=None))))
        pin = as_wheel(path).pin
        program = (
            "import sys; from pathlib import Path; from lamina.archive.record import verify_record;"
            "from lamina.core.values import Pin;"
            f"pin = Pin(name='pkg', version='1.0', filename={pin.filename!r}, sha256={pin.sha256!r});"
            "verify_record(Path(sys.argv[1]), pin);"
            "print(Path('/proc/self/status').read_text())"
        )
        result = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True, check=True)
        peak = next(line.split() for line in result.stdout.splitlines() if line.startswith("VmHWM:"))

        assert int(peak[1]) < 70_000


class TestPlacing:
    def test_as_it_is(self, tmp_path: Path) -> None:
        """Members go below `python/`, sorted, and RECORD is copied while it tells the truth."""
        placement = placed(write_wheel(tmp_path, OTHER, MODULE))

        assert (
            [
                f"python/{INFO}/METADATA",
                f"python/{INFO}/RECORD",
                f"python/{INFO}/WHEEL",
                "python/pkg/__init__.py",
                "python/pkg/other.py",
            ],
            (),
        ) == (paths(placement), placement.made)

    def test_schemes(self, tmp_path: Path) -> None:
        """What belongs to the library or is data goes to the root, scripts and headers stay out, and RECORD follows."""
        data = "pkg-1.0.data"
        members = ["purelib/pure.py", "platlib/plat.so", "data/share/doc.txt", "scripts/tool", "headers/pkg.h"]
        entries = [Entry(path=f"{data}/{member}".encode(), content=member.encode()) for member in members]
        placement = placed(write_wheel(tmp_path, MODULE, *entries))
        ours = [each.member.path for each in placement.made]
        text = zlib.decompress(placement.made[0].payload, -15).decode()

        assert [
            f"python/{INFO}/METADATA",
            f"python/{INFO}/WHEEL",
            "python/pkg/__init__.py",
            "python/plat.so",
            "python/pure.py",
            "python/share/doc.txt",
        ] == paths(placement)
        assert ([f"python/{INFO}/RECORD"], ["plat.so", "pure.py", "share/doc.txt"]) == (
            ours,
            [line.split(",")[0] for line in text.splitlines()[-4:-1]],
        )

    def test_bytecode_is_dropped(self, tmp_path: Path) -> None:
        """A wheel's own bytecode could be stale, and RECORD forgets it."""
        entries = [
            Entry(path=b"pkg/__pycache__/x.cpython-313.pyc", content=b"1"),
            Entry(path=b"pkg/y.pyo", content=b"2"),
        ]
        placement = placed(write_wheel(tmp_path, MODULE, *entries))

        assert (3, 1) == (len(placement.copied), len(placement.made))

    def test_exclusions(self, tmp_path: Path) -> None:
        """What is excluded stays out, but what tools read of an installed distribution stays."""
        info = [
            Entry(path=f"{INFO}/{name}".encode(), content=b"1") for name in ("entry_points.txt", "licenses/LICENSE")
        ]
        placement = placed(write_wheel(tmp_path, MODULE, OTHER, *info), lambda path: not path.endswith("__init__.py"))

        assert [
            f"python/{INFO}/METADATA",
            f"python/{INFO}/WHEEL",
            f"python/{INFO}/entry_points.txt",
            "python/pkg/__init__.py",
        ] == paths(placement)

    def test_directories_with_a_meaning_elsewhere(self, tmp_path: Path) -> None:
        """A wheel's own `python`, `lamina` or `lib` directory is a module or data like any other."""
        names = [b"python/__init__.py", b"lamina/x.json", b"lib/python3.13/site-packages/m.py"]
        placement = placed(write_wheel(tmp_path, *(Entry(path=name, content=name) for name in names)))

        assert [
            "python/lamina/x.json",
            "python/lib/python3.13/site-packages/m.py",
            *(f"python/{INFO}/{name}" for name in ("METADATA", "RECORD", "WHEEL")),
            "python/python/__init__.py",
        ] == paths(placement)

    @pytest.mark.parametrize(
        ("path", "error", "message"),
        [
            (
                b"pkg-1.0.data/purelib/pkg/__init__.py",
                DuplicateMemberError,
                f"`{FILENAME}` installs two members at one path: `pkg/__init__.py`",
            ),
            (
                b"pkg-1.0.data/data/pkg",
                DuplicateMemberError,
                f"`{FILENAME}` installs two members at one path: `pkg`",
            ),
            (
                b"pkg-1.0.data/purelib/boto3-9.dist-info/METADATA",
                UnsafeMemberError,
                f"`{FILENAME}` installs metadata of another distribution: `pkg-1.0.data/purelib/boto3-9.dist-info/METADATA`",
            ),
            (
                b"pkg-1.0.data/sbin/tool",
                UnsupportedMemberError,
                "A wheel installs into the unknown scheme `sbin`: `pkg-1.0.data/sbin/tool`",
            ),
            (
                b"pkg-1.0.data/purelib",
                UnsupportedMemberError,
                "A wheel installs into the unknown scheme `purelib`: `pkg-1.0.data/purelib`",
            ),
        ],
        ids=["same path", "file over directory", "foreign metadata", "unknown scheme", "scheme as a file"],
    )
    def test_refused(self, tmp_path: Path, path: bytes, error: type[LaminaError], message: str) -> None:
        """What the schemes would put over something else, or nowhere, is refused."""
        with pytest.raises(LaminaError) as caught:
            placed(write_wheel(tmp_path, MODULE, Entry(path=path, content=b"evil")))

        assert (error, message) == (type(caught.value), str(caught.value))


def test_pin_is_all_that_names_a_wheel(tmp_path: Path) -> None:
    """Admission looks at the bytes and the pin alone."""
    path = write_wheel(tmp_path, MODULE)
    pin = Pin(name="pkg", version="1.0", filename="other-1.0-py3-none-any.whl", sha256=Sha256("0" * 64))
    with pytest.raises(CorruptArchiveError) as caught:
        verify_record(path, pin)

    assert "`other-1.0-py3-none-any.whl` holds the metadata of another distribution: `pkg-1.0.dist-info`" == str(
        caught.value
    )
