"""A wheel is verified, and its members are placed in a layer."""

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
from lamina.archive.placement import Placement, outline, place
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
        """An open wheel lists its members, finds its metadata and reads both."""
        with WheelArchive(write_wheel(tmp_path, MODULE)) as wheel:
            first = wheel.members[0]

            assert (INFO, MODULE.content, MODULE.stream) == (
                wheel.dist_info,
                wheel.read(first),
                bytes(wheel.payload(first)),
            )

    def test_named_by_its_pin(self, tmp_path: Path) -> None:
        """The error for a wheel at a temporary path contains its file name."""
        path = write_wheel(tmp_path, MODULE).rename(tmp_path / ("0" * 64))
        with WheelArchive(path, name=FILENAME) as wheel:
            assert (FILENAME, "pkg-1.0") == (wheel.name, wheel.stem)

    def test_empty_file(self, tmp_path: Path) -> None:
        """An empty file is not a wheel."""
        path = tmp_path / FILENAME
        path.touch()
        with pytest.raises(CorruptArchiveError) as caught:
            WheelArchive(path)

        assert f"`{FILENAME}` is empty" == str(caught.value)

    @pytest.mark.parametrize(
        ("entries", "message"),
        [
            ([MODULE], f"`{FILENAME}` must have exactly one `.dist-info` directory; found none"),
            (
                [MODULE, Entry(path=b"pkg-1.0.dist-info", content=b"file")],
                f"`{FILENAME}` must have exactly one `.dist-info` directory; found none",
            ),
            (
                [*metadata(), *metadata(info="boto3-1.0.dist-info")],
                f"`{FILENAME}` must have exactly one `.dist-info` directory; found `boto3-1.0.dist-info`, `pkg-1.0.dist-info`",
            ),
            (
                [*metadata(), *metadata(info="pkg-2.0.dist-info")],
                f"`{FILENAME}` must have exactly one `.dist-info` directory; found `pkg-1.0.dist-info`, `pkg-2.0.dist-info`",
            ),
            (
                metadata(info="boto3-1.0.dist-info"),
                f"`{FILENAME}` contains the metadata of another distribution: `boto3-1.0.dist-info`",
            ),
        ],
        ids=["none", "a file", "a stranger's", "two versions", "another project"],
    )
    def test_metadata(self, tmp_path: Path, entries: list[Entry], message: str) -> None:
        """A wheel must have exactly one metadata directory, with its own name."""
        path = tmp_path / FILENAME
        path.write_bytes(build(entries))
        with pytest.raises(CorruptArchiveError) as caught:
            WheelArchive(path)

        assert message == str(caught.value)

    @pytest.mark.parametrize("info", ["PKG-1.0.dist-info", "Pkg-1.0.dist-info"])
    def test_metadata_by_its_normal_name(self, tmp_path: Path, info: str) -> None:
        """In old wheels, the metadata directory may spell the name differently."""
        path = tmp_path / FILENAME
        path.write_bytes(build(metadata(info=info)))
        with WheelArchive(path) as wheel:
            assert info == wheel.dist_info

    def test_errors_are_not_hidden_by_closing(self, tmp_path: Path) -> None:
        """An exception inside the context reaches the caller, even if payloads are still referenced."""
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
        """A valid wheel is accepted, also if it was streamed and is at a temporary path."""
        path = write_wheel(tmp_path, streamed(MODULE), replace(OTHER, method=0))
        pin = as_wheel(path).pin

        assert verify_record(path.rename(tmp_path / "partial"), pin) is None  # type: ignore[func-returns-value]

    @pytest.mark.parametrize("version", ["1.0", "1.0.0", "v1"])
    def test_equal_versions(self, tmp_path: Path, version: str) -> None:
        """The lock file may spell the version differently."""
        path = write_wheel(tmp_path, MODULE)

        assert verify_record(path, as_wheel(path, version=version).pin) is None  # type: ignore[func-returns-value]

    @pytest.mark.parametrize(
        ("filename", "version"),
        [("pkg-1.0+cu118-py3-none-any.whl", "1.0+cu118"), ("pkg-1.0_1-py3-none-any.whl", "1.0.post1")],
    )
    def test_escaped_versions(self, tmp_path: Path, filename: str, version: str) -> None:
        """Local versions and escaped hyphens are accepted."""
        info = f"pkg-{filename.split('-')[1]}.dist-info"
        path = tmp_path / filename
        path.write_bytes(build(wheel_entries(MODULE, info=info)))

        assert verify_record(path, as_wheel(path, version=version).pin) is None  # type: ignore[func-returns-value]

    @pytest.mark.parametrize(("name", "version"), [("other", "1.0"), ("pkg", "1.1"), ("pkg", "not a version")])
    def test_another_distribution(self, tmp_path: Path, name: str, version: str) -> None:
        """A wheel of another distribution or version is rejected."""
        path = write_wheel(tmp_path, MODULE)
        with pytest.raises(CorruptArchiveError) as caught:
            verify_record(path, as_wheel(path, name=name, version=version).pin)

        assert f"`{FILENAME}` contains `pkg` 1.0, expected `{name}` {version}" == str(caught.value)

    def test_differences(self, tmp_path: Path) -> None:
        """The error lists all differences and has a hint."""
        gone = ["pkg/missing.py", "pkg/gone.py"]
        path = write_wheel(tmp_path, MODULE, listed=[f"{path},sha256=x,1" for path in gone])
        with pytest.raises(RecordMismatchError) as caught:
            verify_record(path, as_wheel(path).pin)

        assert (
            f"`{FILENAME}` does not match its RECORD: {'; '.join(f'`{path}` is in RECORD but not in the wheel' for path in gone)}",
            "use another version of the distribution, or report the broken wheel to its authors",
        ) == (str(caught.value), caught.value.hint)

    def test_many_differences(self, tmp_path: Path) -> None:
        """Only the first 20 of many differences are listed, and the others are counted."""
        path = write_wheel(tmp_path, MODULE, listed=[f"{number},sha256=x,1" for number in range(5000)])
        with pytest.raises(RecordMismatchError) as caught:
            verify_record(path, as_wheel(path).pin)
        shown = "; ".join(f"`{number}` is in RECORD but not in the wheel" for number in range(20))

        assert f"`{FILENAME}` does not match its RECORD: {shown}; and 4,980 more" == str(caught.value)

    @pytest.mark.parametrize(
        ("entries", "error", "message"),
        [
            (metadata()[1:], CorruptArchiveError, f"`{FILENAME}` has no METADATA file in its `.dist-info` directory"),
            (metadata()[:1], CorruptArchiveError, f"`{FILENAME}` has no WHEEL file in its `.dist-info` directory"),
            (
                metadata(wheel_version="2.0"),
                UnsupportedMemberError,
                f"`{FILENAME}` does not declare `Wheel-Version: 1.x` in its WHEEL file; lamina supports no other version",
            ),
            (
                metadata(wheel_version="10.0"),
                UnsupportedMemberError,
                f"`{FILENAME}` does not declare `Wheel-Version: 1.x` in its WHEEL file; lamina supports no other version",
            ),
            (
                [metadata()[0], replace(metadata()[1], content=b"")],
                UnsupportedMemberError,
                f"`{FILENAME}` does not declare `Wheel-Version: 1.x` in its WHEEL file; lamina supports no other version",
            ),
            (
                [metadata()[0], replace(metadata()[1], content=b"Version: 1.0\nX-Wheel-Version: 1.0\n")],
                UnsupportedMemberError,
                f"`{FILENAME}` does not declare `Wheel-Version: 1.x` in its WHEEL file; lamina supports no other version",
            ),
        ],
        ids=["no METADATA", "no WHEEL", "2.0", "10.0", "empty", "other names"],
    )
    def test_format(self, tmp_path: Path, entries: list[Entry], error: type[LaminaError], message: str) -> None:
        """A later version of the wheel format is rejected."""
        path = tmp_path / FILENAME
        path.write_bytes(build([*entries, Entry(path=f"{INFO}/RECORD".encode(), content=record(entries))]))
        with pytest.raises(LaminaError) as caught:
            verify_record(path, as_wheel(path).pin)

        assert (error, message) == (type(caught.value), str(caught.value))

    @pytest.mark.parametrize(
        "header", ["wheel-version: 1.0", "WHEEL-VERSION:1.9", "Wheel-version: 1", "Wheel-Version:\t1.0\r"]
    )
    def test_headers(self, tmp_path: Path, header: str) -> None:
        """The names of headers are valid in any case, as for pip."""
        entries = [
            metadata()[0],
            replace(metadata()[1], content=f"Generator: x\n{header}\nTag: py3-none-any\n".encode()),
        ]
        path = tmp_path / FILENAME
        path.write_bytes(build([*entries, Entry(path=f"{INFO}/RECORD".encode(), content=record(entries))]))

        verify_record(path, as_wheel(path).pin)

    @pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells a process its own peak")
    def test_large_members_need_little_memory(self, tmp_path: Path) -> None:
        """Verifying a wheel of 140 MB needs less than half of that memory."""
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
        """Members are placed below `python/`, sorted, and a correct RECORD is copied."""
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
        """Libraries and data are moved to the root, scripts and headers are left out, and RECORD is rewritten."""
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

    @pytest.mark.parametrize(
        ("info", "data"),
        [
            ("foo_bar-1.0", "Foo.Bar-1.0"),
            ("foo_bar-1.0", "foo-bar-1.0"),
            ("foo_bar-1.0", "FOO__BAR-1.0.0"),
            ("Foo.Bar-1.0", "foo_bar-1"),
            ("foo_bar-1.0+ab_1", "foo_bar-1.0+ab.1"),
            ("foo_bar-1.0", "foo_bar-v1.0"),
        ],
    )
    def test_spelling_of_the_data_directory(self, tmp_path: Path, info: str, data: str) -> None:
        """The directory for data is found however its name and version are spelled, as for the metadata."""
        name = f"{info}-py3-none-any.whl"
        library, script = f"{data}.data/purelib/extra.py".encode(), f"{data}.data/scripts/tool".encode()
        entries = wheel_entries(MODULE, Entry(path=library), Entry(path=script), info=f"{info}.dist-info")
        path = tmp_path / name
        path.write_bytes(build(entries))
        content = path.read_bytes()
        estimate = outline(content, total=len(content), name=name, excluded=nothing)
        placement = placed(path)

        assert ["python/extra.py", "python/pkg/__init__.py"] == [
            each for each in paths(placement) if ".dist-info" not in each
        ]
        assert sum(entry.path != script and len(entry.content) for entry in entries) == estimate.unzipped_bytes

    @pytest.mark.parametrize("data", ["other-1.0", "pkg-2.0", "pkg", "pkg-1.0-1", ""])
    @pytest.mark.parametrize("scheme", ["purelib", "platlib", "data", "scripts", "headers"])
    def test_foreign_data_directory(self, tmp_path: Path, data: str, scheme: str) -> None:
        """The directory for data of another distribution or version is rejected, because installers disagree about it."""
        with pytest.raises(UnsupportedMemberError) as caught:
            WheelArchive(write_wheel(tmp_path, MODULE, Entry(path=f"{data}.data/{scheme}/extra.py".encode())))

        assert (
            f"`{FILENAME}` has the directory `{data}.data`, whose name and version differ from `{INFO}`; installers disagree "
            "where its files belong"
        ) == str(caught.value)

    @pytest.mark.parametrize("directory", ["pkg-1.0.DATA", "pkg-1.0.data ", "pkg-1.0.Data.", "other-1.0.dATA"])
    @pytest.mark.parametrize("scheme", ["purelib", "PureLib"])
    def test_data_directory_in_another_spelling(self, tmp_path: Path, directory: str, scheme: str) -> None:
        """A directory that is the one for data on file systems that ignore case and blanks at the end is rejected."""
        with pytest.raises(UnsupportedMemberError, match=f"has the directory `{directory}`"):
            WheelArchive(write_wheel(tmp_path, MODULE, Entry(path=f"{directory}/{scheme}/extra.py".encode())))

    @pytest.mark.parametrize("directory", ["boto3-1.0.DIST-INFO", "boto3-1.0.dist-info "])
    def test_metadata_in_another_spelling(self, tmp_path: Path, directory: str) -> None:
        """So is a second directory of metadata: `importlib.metadata` ignores the case, too."""
        with pytest.raises(CorruptArchiveError, match="exactly one"):
            WheelArchive(write_wheel(tmp_path, MODULE, Entry(path=f"{directory}/METADATA".encode())))

    @pytest.mark.parametrize("path", ["model.data/weights.bin", "pkg/other-1.0.data/purelib/x.py", "x.data/data"])
    def test_other_directories_with_data(self, tmp_path: Path, path: str) -> None:
        """A directory whose name ends with `.data` is copied if it has no schemes or is not at the top."""
        assert f"python/{path}" in paths(placed(write_wheel(tmp_path, MODULE, Entry(path=path.encode()))))

    def test_bytecode_is_dropped(self, tmp_path: Path) -> None:
        """A wheel's own bytecode is left out and removed from RECORD."""
        entries = [
            Entry(path=b"pkg/__pycache__/x.cpython-313.pyc", content=b"1"),
            Entry(path=b"pkg/y.pyo", content=b"2"),
        ]
        placement = placed(write_wheel(tmp_path, MODULE, *entries))

        assert (3, 1) == (len(placement.copied), len(placement.made))

    def test_exclusions(self, tmp_path: Path) -> None:
        """Excluded members are left out, except metadata that tools read."""
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
        """A wheel's directories `python`, `lamina` and `lib` have no special meaning."""
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
                f"`{FILENAME}` installs several files at the same path: `pkg/__init__.py`",
            ),
            (
                b"pkg-1.0.data/data/pkg",
                DuplicateMemberError,
                f"`{FILENAME}` installs several files at the same path: `pkg`",
            ),
            (
                b"pkg-1.0.data/purelib/boto3-9.dist-info/METADATA",
                UnsafeMemberError,
                f"`{FILENAME}` installs metadata of another distribution: `pkg-1.0.data/purelib/boto3-9.dist-info/METADATA`",
            ),
            (
                b"pkg-1.0.data/sbin/tool",
                UnsupportedMemberError,
                "a wheel contains a file with the unknown installation scheme `sbin`: `pkg-1.0.data/sbin/tool`",
            ),
            (
                b"pkg-1.0.data/purelib",
                UnsupportedMemberError,
                "a wheel contains a file with the unknown installation scheme `purelib`: `pkg-1.0.data/purelib`",
            ),
        ],
        ids=["same path", "file over directory", "foreign metadata", "unknown scheme", "scheme as a file"],
    )
    def test_refused(self, tmp_path: Path, path: bytes, error: type[LaminaError], message: str) -> None:
        """A wheel that installs two files at one path, or uses an unknown scheme, is rejected."""
        with pytest.raises(LaminaError) as caught:
            placed(write_wheel(tmp_path, MODULE, Entry(path=path, content=b"evil")))

        assert (error, message) == (type(caught.value), str(caught.value))


def test_pin_is_all_that_names_a_wheel(tmp_path: Path) -> None:
    """Verification uses only the bytes and the pin."""
    path = write_wheel(tmp_path, MODULE)
    pin = Pin(name="pkg", version="1.0", filename="other-1.0-py3-none-any.whl", sha256=Sha256("0" * 64))
    with pytest.raises(CorruptArchiveError) as caught:
        verify_record(path, pin)

    assert "`other-1.0-py3-none-any.whl` contains the metadata of another distribution: `pkg-1.0.dist-info`" == str(
        caught.value
    )
