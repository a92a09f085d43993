"""What `lamina inspect` says of zips: changed files, modules without metadata, binaries, bytecode, and what hides what."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING, Any

import pytest

from audit.elves import make_elf
from externallayers import layer_zip
from lamina.audit.inspected.files import examine
from lamina.audit.inspected.fitness import BytecodeCount, judge
from lamina.audit.inspected.matching import match_modules
from lamina.audit.inspected.shadowing import ModuleCopy, shadowed
from lamina.audit.inventory.contents import contents_of
from lamina.bytecode.interpreter import magic_number
from lamina.core.errors import CorruptArchiveError, FetchError, SuspiciousSizeError
from lamina.core.store import Store
from lamina.core.target import Target
from lamina.fetch.index import PackageIndex
from loopback import IndexServer
from wheels import make_wheel

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from lamina.audit.inspected.files import ExaminedFiles
    from lamina.audit.inspected.matching import Match
    from lamina.audit.inventory.contents import ArchiveContents

X86 = Target.of("python3.13", "x86_64")
ARM = Target.of("python3.13", "arm64")
SOURCES = {
    "yaml/__init__.py": "__version__ = '6.0.1'\n",
    "yaml/loader.py": "LOADER = 1\n",
    "_yaml/__init__.py": "from yaml import *\n",
}
KILOBYTES = {"yaml/large.bin": bytes(range(256)) * 400}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "store")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[IndexServer]:
    (tmp_path / "served").mkdir()
    with IndexServer(tmp_path / "served") as server:
        yield server


@pytest.fixture
def index(tmp_path: Path, store: Store, server: IndexServer) -> Iterator[PackageIndex]:
    index = PackageIndex(tmp_path, store, index_url=server.simple, backoff=0.0)
    yield index
    index.client.close()


class Zips:
    """Reads zips that are made of files."""

    def __init__(self, directory: Path, store: Store) -> None:
        self.path = directory / "layer.zip"
        self.store = store

    def read(self, files: Mapping[str, str | bytes], **options: Any) -> tuple[ArchiveContents, ExaminedFiles]:
        self.path.write_bytes(layer_zip(files))
        contents = contents_of(self.path, store=self.store, **options)
        found = examine(self.path, contents, self.store, name="layer.zip")
        assert found == examine(self.path, contents, self.store, name="layer.zip")
        return contents, found


@pytest.fixture
def zips(tmp_path: Path, store: Store) -> Zips:
    return Zips(tmp_path, store)


def unpacked(wheel: Path, root: str = "python/", *, stripped: bool = True) -> dict[str, bytes]:
    """Return the files of *wheel* in the directory *root*, without metadata if *stripped*."""
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if not (stripped and ".dist-info/" in name)]
        return {root + name: archive.read(name) for name in names}


def pyc(python: tuple[int, int], flags: int = 1) -> bytes:
    return bytes.fromhex(magic_number(python)) + flags.to_bytes(4, "little") + bytes(8) + b"code"


def test_changed_files(tmp_path: Path, zips: Zips) -> None:
    """Files of a distribution are compared with RECORD, whatever else the zip has."""
    files = unpacked(make_wheel(tmp_path / "w", "pyyaml", "6.0.1", SOURCES), stripped=False)
    assert () == zips.read(files)[1].changed

    changed = files | {"python/yaml/loader.py": b"LOADER = 2\n", "python/other.py": b""}
    _, found = zips.read(changed)
    assert ("python/yaml/loader.py",) == found.changed
    assert {"python/other.py"} == set(found.digests)


def test_damaged_content(zips: Zips) -> None:
    """A file whose content is not what the zip says is an error."""
    zips.path.write_bytes(layer_zip({"python/a.py": "abc" * 100}))
    contents = contents_of(zips.path, store=zips.store)
    content = zips.path.read_bytes()
    start = 30 + len("python/a.py")
    zips.path.write_bytes(content[:start] + bytes([content[start] ^ 0xFF]) + content[start + 1 :])
    with pytest.raises(CorruptArchiveError):
        examine(zips.path, contents, zips.store, name="layer.zip")


def test_identifies_modules(zips: Zips, server: IndexServer, index: PackageIndex) -> None:
    """Modules without metadata are those of the wheel with the same hashes, of which only the end is downloaded."""
    for version in ("5.4", "6.0.1", "6.0.2"):
        sources = SOURCES | {"yaml/__init__.py": f"__version__ = '{version}'\n"} | KILOBYTES
        make_wheel(server.directory, "pyyaml", version, sources, stored=KILOBYTES)
    wheel = server.directory / "pyyaml-6.0.1-py3-none-any.whl"
    files = {path: data for path, data in unpacked(wheel).items() if not path.endswith("large.bin")}

    (match,) = match_modules(*zips.read(files), index, [X86])

    assert ("pyyaml", "6.0.1", wheel.name, ("yaml",)) == (match.name, match.version, match.wheel, match.modules)
    assert match.is_exact
    assert set(files) == set(match.matching)
    assert [wheel.name] == [each.path.rpartition("/")[2] for each in server.requests if "/files/" in each.path]
    assert all(each.range for each in server.requests_for(wheel.name))


@pytest.mark.parametrize("stated", ["6.0.1", "no version", None])
def test_without_a_useful_version(zips: Zips, server: IndexServer, index: PackageIndex, stated: str | None) -> None:
    """Modules that do not state their version, or a wrong one, are compared with the newest versions."""
    init = "" if stated is None else f"__version__ = {stated!r}\n"
    for version in ("5.4", "5.5rc1"):
        make_wheel(
            server.directory,
            "pyyaml",
            version,
            {"yaml/__init__.py": init, "yaml/a.py": version, "yaml/b.py": ""},
        )
    found = zips.read(unpacked(server.directory / "pyyaml-5.4-py3-none-any.whl"))
    assert [("5.4", True)] == [(each.version, each.is_exact) for each in match_modules(*found, index, [])]


def test_resembling_modules(zips: Zips, server: IndexServer, index: PackageIndex) -> None:
    """Modules of which files were changed or added resemble a distribution, and are not it."""
    wheel = make_wheel(server.directory, "pyyaml", "6.0.1", SOURCES)
    files = unpacked(wheel) | {"python/yaml/loader.py": b"patched", "python/yaml/new.py": b""}
    (match,) = match_modules(*zips.read(files), index, [X86])
    assert not match.is_exact
    assert (("python/yaml/loader.py",), ("python/yaml/new.py",)) == (match.differing, match.extra)


def test_native_modules(zips: Zips, server: IndexServer, index: PackageIndex) -> None:
    """The wheel to compare with is the one for which the binaries are built, whatever the target is."""
    for tag, machine in (("x86_64", "x86_64"), ("aarch64", "arm64")):
        make_wheel(
            server.directory,
            "fast",
            "1.0",
            {"fast/__init__.py": "", f"fast/_c.cpython-312-{tag}-linux-gnu.so": make_elf(machine)},
            tag=f"cp312-cp312-manylinux_2_17_{tag}",
        )
    wheel = server.directory / "fast-1.0-cp312-cp312-manylinux_2_17_aarch64.whl"
    assert [wheel.name] == [
        match.wheel for match in match_modules(*zips.read(unpacked(wheel)), index, [X86]) if match.is_exact
    ]


def matches(zips: Zips, index: PackageIndex, files: Mapping[str, str | bytes], **options: Any) -> tuple[Match, ...]:
    return match_modules(*zips.read(files, **options), index, [X86])


def test_what_is_not_asked_for(zips: Zips, server: IndexServer, index: PackageIndex) -> None:
    """Of a function's package, only modules that are known by name are looked up. Other failures are no matches."""
    own = {"handlers/create.py": "", "handlers/__init__.py": "", "yaml/__init__.py": ""}
    assert () == matches(zips, index, own, is_layer=False)
    assert ["/simple/pyyaml/"] == [each.path for each in server.requests]

    make_wheel(server.directory, "pyyaml", "1.0", {"yaml/__init__.py": "X = 1\n"})
    server.behaviour.ranges = False
    assert () == matches(zips, index, {"python/yaml/__init__.py": "X = 1\n"})
    server.behaviour.refuse["pyyaml"] = [403] * 9
    fresh = PackageIndex(zips.path.parent, zips.store, index_url=server.simple, backoff=0.0)
    with pytest.raises(FetchError):
        matches(zips, fresh, {"python/yaml/__init__.py": "X = 1\n"})


@pytest.mark.parametrize(
    "record", ["", "yaml/__init__.py,sha256=,\n", "broken\n", "\x00" * 10, "yaml/__init__.py,md5=abc,1\n"]
)
def test_hostile_record(zips: Zips, server: IndexServer, index: PackageIndex, record: str) -> None:
    """A RECORD that is empty, broken or without hashes identifies nothing."""
    wheel = make_wheel(server.directory, "pyyaml", "1.0", {"yaml/__init__.py": "X = 1\n"})
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("yaml/__init__.py", "X = 1\n")
        archive.writestr("pyyaml-1.0.dist-info/RECORD", record)
    assert () == matches(zips, index, {"python/yaml/__init__.py": "X = 1\n"})


def test_binaries(zips: Zips) -> None:
    """Binaries are counted by architecture, and those that the target cannot load are named."""
    contents, files = zips.read(
        {
            "python/a/x.cpython-313-x86_64-linux-gnu.so": make_elf(versions={"libc.so.6": ["GLIBC_2.17"]}),
            "python/a/y.cpython-312-x86_64-linux-gnu.so": make_elf(),
            "python/a/z.cpython-313-aarch64-linux-gnu.so": make_elf("arm64"),
            "python/a/new.abi3.so": make_elf(versions={"libc.so.6": ["GLIBC_2.39"]}),
            "python/a/broken.abi3.so": b"\x7fELF",
            "python/a/mac.abi3.so": b"\xcf\xfa\xed\xfe" + bytes(30),
        }
    )
    fitness = judge(files, contents, [X86])
    assert ({"arm64": 1, "x86_64": 3}, "2.39") == (fitness.machines, fitness.glibc)
    text = "\n".join(fitness.problems)
    assert "`python/a/broken.abi3.so` cannot be loaded" in text
    assert "`python/a/mac.abi3.so` is for macOS or Windows" in text
    assert "cannot load `python/a/z.cpython-313-aarch64-linux-gnu.so`: built for arm64" in text
    assert "does not import `python/a/y.cpython-312-x86_64-linux-gnu.so`" in text
    assert "cannot load `python/a/new.abi3.so`: it needs `GLIBC_2.39`, and the runtime has at most `GLIBC_2.34`" in text
    assert "python/a/x." not in text
    assert 2 == len(judge(files, contents, []).problems)
    assert "built for x86_64" in "\n".join(judge(files, contents, [ARM]).problems)


def test_bytecode(zips: Zips) -> None:
    """Bytecode is counted by Python and by how it is validated; what the target's Python does not use is named."""
    contents, files = zips.read(
        {
            "python/a.py": "",
            "python/__pycache__/a.cpython-313.pyc": pyc((3, 13)),
            "python/__pycache__/b.cpython-313.pyc": pyc((3, 13), 3),
            "python/__pycache__/c.cpython-313.pyc": pyc((3, 13), 0),
            "python/__pycache__/d.cpython-313.pyc": pyc((3, 12)),
            "python/a.pyc": pyc((3, 12)),
            "python/alone.pyc": pyc((3, 12)),
            "python/__pycache__/e.cpython-313.pyc": b"short",
        }
    )
    fitness = judge(files, contents, [X86])
    assert BytecodeCount(python="3.13", kind="unchecked", files=1) in fitness.bytecode
    assert {("", "time", 1), ("3.12", "unchecked", 3), ("3.13", "checked", 1), ("3.13", "time", 1)} < {
        (each.python, each.kind, each.files) for each in fitness.bytecode
    }
    ignored, by_time, alone = fitness.problems
    assert "`python/__pycache__/d.cpython-313.pyc`, `python/__pycache__/e.cpython-313.pyc` are not" in ignored
    assert by_time.startswith("1 file of bytecode for Python 3.13 depends on the time of the source")
    assert "Python 3.13 cannot import `python/alone.pyc`: it is bytecode for Python 3.12" == alone


def test_what_hides_what(zips: Zips, tmp_path: Path) -> None:
    """The function's package comes first, then `site-packages`, then `python/`, and a later layer replaces an earlier one."""

    def archive(name: str, files: Mapping[str, str | bytes], **options: Any) -> tuple[str, ArchiveContents]:
        return name, zips.read(files, **options)[0]

    old = unpacked(make_wheel(tmp_path / "w", "six", "1.0", {"six.py": ""}), stripped=False)
    new = unpacked(make_wheel(tmp_path / "w", "six", "2.0", {"six.py": ""}), stripped=False)
    first = archive("first", old | {"python/tool.py": "", "python/only.py": "", "python/google/a.py": ""})
    second = archive(
        "second",
        new | {"python/lib/python3.13/site-packages/tool.py": "", "python/lib/python3.12/site-packages/only.py": ""},
    )
    code = archive("code", {"tool.py": "", "google/b.py": "", "main.py": ""}, is_layer=False)

    six, tool = shadowed([first, second, code], (3, 13))
    assert ("six", ModuleCopy(archive="second", distribution="six", version="2.0"), True) == (
        six.module,
        six.used,
        six.is_merged,
    )
    assert (ModuleCopy(archive="first", distribution="six", version="1.0"),) == six.hidden
    assert ("tool", "code", False) == (tool.module, tool.used.archive, tool.is_merged)
    assert [("second", None), ("first", None)] == [(each.archive, each.version) for each in tool.hidden]


SITE = "python/lib/python3.12/site-packages"
SEARCHED = "it searches `/opt/python` and `/opt/python/lib/python3.13/site-packages`"


@pytest.mark.parametrize(
    ("files", "directories"),
    [
        ({f"{SITE}/six.py": ""}, f"`/opt/{SITE}`"),
        ({f"{SITE}/six.py": "", "python/tool.py": ""}, f"`/opt/{SITE}`"),
        ({f"{SITE}/six.py": "", "python/lib/python3.13/site-packages/six.py": ""}, None),
        ({f"{SITE}/six.py": "", "python/six.py": ""}, None),
        (
            {"lib/six-1.dist-info/METADATA": "", "six-1.dist-info/METADATA": "", "python/a.py": ""},
            "`/opt`, `/opt/lib`",
        ),
        ({"agent/six-1.dist-info/METADATA": "", "extensions/agent": ""}, None),
        ({"python/pip/_vendor/six-1.dist-info/METADATA": ""}, None),
        ({}, None),
    ],
)
def test_directories_that_are_not_imported(zips: Zips, files: dict[str, str | bytes], directories: str | None) -> None:
    """Directories whose modules the runtime never imports are a problem, unless it imports the same modules from another one."""
    contents, found = zips.read(files, is_layer=True)

    expected = [] if directories is None else [f"python3.13 imports nothing of {directories}: {SEARCHED}"]
    assert tuple(expected) == judge(found, contents, [X86]).problems
    assert () == judge(found, contents, []).problems


def test_directories_of_another_python_with_metadata(zips: Zips, tmp_path: Path) -> None:
    """Distributions with metadata count, too."""
    wheel = make_wheel(tmp_path / "w", "six", "1.0", {"six.py": ""})
    contents, found = zips.read(unpacked(wheel, f"{SITE}/", stripped=False))

    assert (f"python3.13 imports nothing of `/opt/{SITE}`: {SEARCHED}",) == judge(found, contents, [X86]).problems
    assert () == judge(found, contents, [Target.of("python3.12", "x86_64")]).problems


def test_records_with_too_many_rows(zips: Zips) -> None:
    """A zip whose RECORDs list more files than any layer has is refused quickly."""
    row = "a/b.py,,\n" * 200_001
    files = {f"python/{name}-1.dist-info/METADATA": f"Name: {name}\nVersion: 1\n" for name in "ab"}
    with pytest.raises(SuspiciousSizeError, match=r"has RECORDs of more than 300,000 files"):
        zips.read(files | {f"python/{name}-1.dist-info/RECORD": row for name in "ab"})
    contents, _ = zips.read({**files, "python/a-1.dist-info/RECORD": row})
    assert ("a/b.py",) == contents.distributions[0].missing
