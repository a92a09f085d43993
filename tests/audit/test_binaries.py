"""Binaries that do not work on Lambda, each next to the mended one, and binaries that are in wheels on purpose."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from audit.elves import make_elf
from audit.inspected import SOURCE, WHEEL, inspection_of, layer_of, package_of
from lamina.audit.families.binaries import check
from lamina.core.frozen import replace
from lamina.core.values import Severity

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from lamina.core.values import Finding

MODULE = "pkg/_speed.cpython-313-x86_64-linux-gnu.so"
GOOD = make_elf(versions={"libc.so.6": ("GLIBC_2.34",)})
MACHO = b"\xcf\xfa\xed\xfe\x07\x00\x00\x01" + bytes(24)
PE = b"MZ".ljust(0x3C, b"\0") + (0x40).to_bytes(4, "little") + b"PE\0\0"


def found(
    directory: Path,
    files: Mapping[str, bytes],
    *,
    artifact: str = SOURCE,
    runtime: str = "python3.13",
    architecture: str = "x86_64",
) -> list[Finding]:
    """Return the findings on a layer that has *files* in the distribution ``pkg``."""
    layer = layer_of(directory, "common", {"pkg": files}, artifact=artifact)
    return list(check(inspection_of(directory, layers=[layer], runtime=runtime, architecture=architecture)))


@pytest.mark.parametrize(
    ("rule", "bad", "message"),
    [
        (
            "wrong-architecture",
            {MODULE: make_elf("arm64")},
            f"layer `common`: `python/{MODULE}` of `pkg` 1.0 is built for arm64, but the target is x86_64; build `pkg` for x86_64",
        ),
        (
            "extension-suffix",
            {"pkg/_speed.cpython-311-x86_64-linux-gnu.so": GOOD},
            (
                "layer `common`: Python 3.13 cannot import `python/pkg/_speed.cpython-311-x86_64-linux-gnu.so` of `pkg` 1.0: the suffix of "
                "the name is for another Python or platform; build `pkg` for CPython 3.13"
            ),
        ),
        (
            "glibc-too-new",
            {MODULE: make_elf(versions={"libc.so.6": ("GLIBC_2.17", "GLIBC_2.38")})},
            (
                f"layer `common`: `python/{MODULE}` of `pkg` 1.0 needs `GLIBC_2.38`, but `python3.13` has at most `GLIBC_2.34`; "
                "build `pkg` on Amazon Linux 2023 or an older system"
            ),
        ),
        (
            "missing-library",
            {MODULE: make_elf(needed=("libpq.so.5", "libGL.so.1", "libc.so.6"))},
            (
                f"layer `common`: `python/{MODULE}` of `pkg` 1.0 needs `libpq.so.5`, `libGL.so.1`, which the layers and `python3.13` do not "
                "have; build `pkg` with the libraries in it (`auditwheel repair`), or put them into `lib/` of a layer"
            ),
        ),
        (
            "damaged-binary",
            {MODULE: GOOD[:-8]},
            f"layer `common`: `python/{MODULE}` of `pkg` 1.0 cannot be loaded: the file is truncated; build `pkg` again",
        ),
        (
            "foreign-binary",
            {"pkg/_speed.cpython-313-darwin.so": MACHO},
            (
                "layer `common`: `python/pkg/_speed.cpython-313-darwin.so` of `pkg` 1.0 is built for macOS, so Lambda cannot import it; "
                "build `pkg` for Linux"
            ),
        ),
        (
            "executable-stack",
            {MODULE: make_elf(executable_stack=True)},
            (
                f"layer `common`: `python/{MODULE}` of `pkg` 1.0 asks for an executable stack, which glibc 2.41 and hardened kernels refuse; "
                "build `pkg` with `-Wl,-z,noexecstack`"
            ),
        ),
        (
            "rpath-outside",
            {MODULE: make_elf(runpath="/home/build/lib:$ORIGIN")},
            (
                f"layer `common`: `python/{MODULE}` of `pkg` 1.0 searches `/home/build/lib` for libraries, which does not exist on Lambda; "
                "build `pkg` with a path that starts with `$ORIGIN`"
            ),
        ),
    ],
)
def test_bad_and_mended(tmp_path: Path, rule: str, bad: Mapping[str, bytes], message: str) -> None:
    """The finding names the layer, the file, the cause and the cure; the mended layer has none."""
    (finding,) = found(tmp_path, bad)

    assert (rule, "common", message) == (finding.rule, finding.path, finding.message)
    assert [] == found(tmp_path, {MODULE: GOOD})


@pytest.mark.parametrize(
    "files",
    [
        pytest.param({"pkg/_speed.abi3.so": GOOD}, id="abi3"),
        pytest.param({"pkg/_speed.so": GOOD}, id="no tag"),
        pytest.param({"pkg/libshop.so.1": GOOD, MODULE: make_elf(needed=("libshop.so.1",))}, id="bundled by name"),
        pytest.param(
            {
                "pkg.libs/libshop-1a2b.so.1.2": make_elf(soname="libshop.so.1"),
                MODULE: make_elf(needed=("libshop.so.1",)),
            },
            id="bundled by soname",
        ),
        pytest.param({MODULE: make_elf(needed=("libpython3.13.so.1.0",))}, id="libpython"),
        pytest.param({MODULE: make_elf(rpath="$ORIGIN:/opt/lib:/usr/lib64")}, id="rpath inside"),
        pytest.param({MODULE: make_elf(versions={"libc.so.6": ("GLIBC_2.38",)}, weak=True)}, id="optional version"),
        pytest.param(
            {
                "pkg/libstdc++.so.6": GOOD,
                MODULE: make_elf(needed=("libstdc++.so.6",), versions={"libstdc++.so.6": ("GLIBCXX_3.4.32",)}),
            },
            id="bundled C++ library",
        ),
        pytest.param({"pkg/attach_amd64.so": GOOD, "pkg/attach_x86.so": make_elf("i386")}, id="helpers by name"),
        pytest.param({"pkg/attach-x86_64.so": GOOD, "pkg/attach.so": make_elf("i386")}, id="helper for another system"),
        pytest.param({"pkg/data/helper": GOOD, "pkg/data/other": make_elf("arm64")}, id="helpers next to each other"),
        pytest.param({"pkg/_speed.cpython-313-darwin.so": MACHO, MODULE: GOOD}, id="module for two systems"),
        pytest.param({"pkg/_speed.cpython-312-x86_64-linux-gnu.so": GOOD, MODULE: GOOD}, id="module for two Pythons"),
        pytest.param(
            {"pkg/cli-64.exe": PE, "pkg/t64.exe": PE, "pkg/attach.dll": PE, "pkg/a.dylib": MACHO}, id="launchers"
        ),
        pytest.param({"pkg/tests/truncated.elf": GOOD[:70], "pkg/tests/elf": b"\x7fELF"}, id="test data"),
        pytest.param({"pkg/libm.so": b"/* GNU ld script */ INPUT(libm.so.6)"}, id="linker script"),
        pytest.param({"bin/tool": make_elf(needed=())}, id="static"),
        pytest.param({"bin/tool": make_elf(executable_stack=True)}, id="program with an executable stack"),
    ],
)
def test_on_purpose(tmp_path: Path, files: Mapping[str, bytes]) -> None:
    """Binaries that work, and those that Lambda never loads, are not reported."""
    assert [] == found(tmp_path, files)


def test_rpath(tmp_path: Path) -> None:
    """A directory whose name only starts like one of Lambda's is outside. The publisher of a wheel has tested where it searches."""
    files = {MODULE: make_elf(rpath="$ORIGIN:/optional/lib")}

    (finding,) = found(tmp_path, files)

    assert "searches `/optional/lib` for libraries" in finding.message
    assert [] == found(tmp_path, files, artifact=WHEEL)


def test_pure_wheel(tmp_path: Path) -> None:
    """A wheel for every platform works without its extension modules, such as those of debugpy for Windows."""
    files = {"pkg/_speed.cp39-win_amd64.pyd": PE}

    assert [] == found(tmp_path, files, artifact="{name}-1.0-py2.py3-none-any.whl")
    assert ["foreign-binary"] == [finding.rule for finding in found(tmp_path, files, artifact="{name} (local)")]


@pytest.mark.parametrize(
    ("runtime", "version", "lacks"),
    [
        ("python3.11", "GLIBC_2.26", False),
        ("python3.11", "GLIBC_2.28", True),
        ("python3.13", "GLIBC_2.34", False),
        ("python3.13", "GLIBC_ABI_DT_RELR", True),
        ("python3.11", "GLIBCXX_3.4.24", False),
        ("python3.11", "GLIBCXX_3.4.25", True),
        ("python3.13", "GLIBCXX_3.4.29", False),
        ("python3.13", "GLIBCXX_3.4.30", True),
        ("python3.13", "CXXABI_1.3.14", True),
        ("python3.13", "CXXABI_FLOAT128", False),
        ("python3.13", "GLIBC_PRIVATE", False),
        ("python3.13", "OPENSSL_3.0.0", False),
    ],
)
def test_versions(tmp_path: Path, runtime: str, version: str, lacks: bool) -> None:
    """Each version is compared, number by number, with that of the runtime's operating system."""
    module = make_elf(needed=(), versions={"libany.so": (version,)})

    rules = [finding.rule for finding in found(tmp_path, {"pkg/_speed.abi3.so": module}, runtime=runtime)]

    assert (["glibc-too-new"] if lacks else []) == rules


def test_newest_version(tmp_path: Path) -> None:
    """The newest of several missing versions is named, by its numbers."""
    module = make_elf(versions={"libc.so.6": ("GLIBC_2.100", "GLIBC_2.38")})

    (finding,) = found(tmp_path, {MODULE: module})

    assert "needs `GLIBC_2.100`" in finding.message


@pytest.mark.parametrize(
    "name",
    [
        "_speed.cpython-313t-x86_64-linux-gnu.so",
        "_speed.cpython-313-x86_64-linux-musl.so",
        "_speed.cpython-313-aarch64-linux-gnu.so",
        "_speed.pypy311-pp73-x86_64-linux-gnu.so",
    ],
)
def test_suffixes(tmp_path: Path, name: str) -> None:
    """CPython looks for three endings only, so it ignores those of other builds of itself."""
    assert ["extension-suffix"] == [finding.rule for finding in found(tmp_path, {f"pkg/{name}": GOOD})]


@pytest.mark.parametrize(
    ("library", "severity"),
    [
        ("libGL.so.1", Severity.ERROR),
        ("libcrypt.so.1", Severity.ERROR),
        ("libc.musl-x86_64.so.1", Severity.ERROR),
        ("libpython3.12.so.1.0", Severity.NOTE),
        ("libatomic.so.1", Severity.WARNING),
        ("libtbb.so.12", Severity.NOTE),
    ],
)
def test_manylinux(tmp_path: Path, library: str, severity: Severity) -> None:
    """A manylinux wheel leaves out what every desktop has, and what only optional parts need."""
    module = make_elf(needed=(library, "libc.so.6"))
    (finding,) = found(tmp_path, {MODULE: module, "pkg/other.abi3.so": GOOD}, artifact=WHEEL)

    assert ("missing-library", severity) == (finding.rule, finding.severity)


@pytest.mark.parametrize(
    "others", [{}, {"pkg/_two.abi3.so": ("libany.so.1",)}, {"pkg/libmine.so": ()}, {"pkg/tool": ()}]
)
def test_needed_by_all(tmp_path: Path, others: Mapping[str, Sequence[str]]) -> None:
    """A manylinux wheel does not work at all without a library that all of its modules need."""
    files = {MODULE: make_elf(needed=("libany.so.1",))} | {
        path: make_elf(needed=needed) for path, needed in others.items()
    }

    assert [Severity.ERROR] == [finding.severity for finding in found(tmp_path, files, artifact=WHEEL)]


def test_library_of_all(tmp_path: Path) -> None:
    """Without modules, that is what all binaries need, such as the one library that code loads with `ctypes`."""
    files = {"pkg/lib/libmine.so": make_elf(needed=("libany.so.1",))}

    assert [Severity.ERROR] == [finding.severity for finding in found(tmp_path, files, artifact=WHEEL)]


@pytest.mark.parametrize(
    ("library", "rules"),
    [
        ("/home/build/lib/libany.so", ["missing-library"]),
        ("/libany.so", ["missing-library"]),
        ("/opt/lib/libany.so", []),
        ("/var/task/lib/libany.so", []),
        ("/lib64/libany.so", []),
    ],
)
def test_absolute_library(tmp_path: Path, library: str, rules: list[str]) -> None:
    """The loader opens a library with a path there and nowhere else."""
    assert rules == [each.rule for each in found(tmp_path, {MODULE: make_elf(needed=(library,))})]


@pytest.mark.parametrize(
    ("content", "rule", "fact"),
    [
        (make_elf(kind=1), "damaged-binary", "cannot be loaded: it is an object file"),
        (make_elf(kind=2), "damaged-binary", "cannot be loaded: it is not a shared library"),
        (make_elf(kind=4), "damaged-binary", "cannot be loaded: it is not a shared library"),
        (make_elf(system=9), "damaged-binary", "cannot be loaded: it is built for another operating system"),
        (make_elf(needed=(), is_loaded=False), "damaged-binary", "cannot be loaded: it has nothing to load"),
        (make_elf(system=3), None, ""),
    ],
)
def test_refused_by_the_loader(tmp_path: Path, content: bytes, rule: str | None, fact: str) -> None:
    """The loader refuses some well-formed files, but only as libraries: a program may be one of them."""
    findings = found(tmp_path, {"pkg/libany.so": content})

    assert ([rule] if rule else []) == [each.rule for each in findings]
    assert all(fact in each.message for each in findings)
    assert [] == found(tmp_path, {"pkg/program": content})


def test_one_finding_for_one_cause(tmp_path: Path) -> None:
    """Many files of a distribution with the same cause share a finding."""
    files = {f"pkg/_m{number}.cpython-313-x86_64-linux-gnu.so": make_elf("arm64") for number in range(5)}

    (finding,) = found(tmp_path, files)

    assert "_m2.cpython-313-x86_64-linux-gnu.so` and 2 more of `pkg` 1.0 are built" in finding.message


def test_other_layer(tmp_path: Path) -> None:
    """A library in another layer of the function is found, and one in a layer of another function is not."""
    layers = [
        layer_of(tmp_path, "common", {"pkg": {MODULE: make_elf(needed=("libshop.so.1",))}}, artifact=SOURCE),
        layer_of(tmp_path, "native", {"shop": {"shop.libs/libshop.so.1": GOOD}}),
    ]
    both = [package_of(tmp_path, "orders", {"app.py": b""}, ["common", "native"])]
    apart = [package_of(tmp_path, "orders", {"app.py": b""}, ["common"])]

    assert [] == list(check(inspection_of(tmp_path, layers=layers, packages=both)))
    for packages in (apart, both + apart):
        assert ["missing-library"] == [
            finding.rule for finding in check(inspection_of(tmp_path, layers=layers, packages=packages))
        ]


@pytest.mark.parametrize(
    ("path", "chosen_by_name"),
    [
        ("vendor/linux-x64/tool", True),
        ("vendor/tool_aarch64", True),
        ("vendor/armv7l/tool", True),
        ("vendor/lib64/tool", True),
        ("vendor/win32/tool", True),
        ("vendor/x86_64/tool", True),
        ("vendor/charming/tool", False),
        ("vendor/farm/tool", False),
        ("svc/pharmacy/native.so", False),
        ("svc/crc32.so", False),
        ("svc/base64.so", False),
        ("svc/utf32/tool", False),
        ("vendor/linux/tool", False),
    ],
)
def test_chosen_by_name(tmp_path: Path, path: str, chosen_by_name: bool) -> None:
    """A program with an architecture in its path is for that one; the code chooses another on Lambda."""
    package = package_of(tmp_path, "orders", {path: make_elf("i386", needed=())})

    rules = [finding.rule for finding in check(inspection_of(tmp_path, packages=[package]))]

    assert ([] if chosen_by_name else ["wrong-architecture"]) == rules


def test_own_code(tmp_path: Path) -> None:
    """Functions that share a package share the finding on a binary of the service's code."""
    files = {"vendor/tool": make_elf("arm64")}
    packages = [package_of(tmp_path, name, files) for name in ("orders", "payments")]
    (tmp_path / "vendor").mkdir()
    (tmp_path / "vendor" / "tool").write_bytes(files["vendor/tool"])

    (finding,) = check(inspection_of(tmp_path, packages=packages))

    assert "vendor/tool" == finding.file

    assert (
        "the package of `orders`, `payments`: `vendor/tool` of your code is built for arm64, but the target is x86_64; build it for x86_64"
        == finding.message
    )


def test_unrelated_neighbour(tmp_path: Path) -> None:
    """A library of another architecture is found although other binaries next to it are right; in the service's own code, any binary."""
    good, bad = GOOD, make_elf("arm64")
    in_layer = found(tmp_path, {"pkg/crypt.so": good, "pkg/geo.so": bad})
    package = package_of(tmp_path, "orders", {"svc/crypt": good, "svc/geo": bad})
    own = list(check(inspection_of(tmp_path, packages=[package])))

    assert [("wrong-architecture", True)] * 2 == [
        (each.rule, f"{name}` of " in each.message)
        for each, name in zip((*in_layer, *own), ("geo.so", "geo"), strict=True)
    ]


def test_own_files_apart(tmp_path: Path) -> None:
    """Each binary of the service's own code has its finding at its file, so that `ignore` can name one of them."""
    files = {f"svc/{name}.so": make_elf("arm64") for name in ("one", "two")}
    for path in files:
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).touch()
    package = package_of(tmp_path, "orders", files)

    assert [*files] == [each.file for each in check(inspection_of(tmp_path, packages=[package]))]


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:%b\nsize 12\n" % (b"0" * 64)


@pytest.mark.parametrize(
    ("path", "content", "damage"),
    [
        (MODULE, POINTER, "it is a placeholder of Git LFS; fetch it with `git lfs pull`"),
        ("svc/native.so", POINTER, "it is a placeholder of Git LFS; fetch it with `git lfs pull`"),
        ("svc/model.onnx", POINTER, "it is a placeholder of Git LFS; fetch it with `git lfs pull`"),
        (MODULE, b"", "it is empty; build the file again"),
        ("svc/libnative.so.1", b"", "it is empty; build the file again"),
        ("svc/libnative.so", b"text", "it is not an ELF file; build the file again"),
        ("svc/tests/truncated", GOOD[:70], None),
        ("svc/data.bin", b"", None),
        ("svc/data.bin", b"version https://", None),
        ("svc/lfs.md", POINTER, None),
    ],
)
def test_placeholder(tmp_path: Path, path: str, content: bytes, damage: str | None) -> None:
    """A file of the service's code that Git LFS did not fetch is damaged, and so is an empty library."""
    package = package_of(tmp_path, "orders", {path: content})

    findings = [(each.rule, each.message) for each in check(inspection_of(tmp_path, packages=[package]))]

    message = f"the package of `orders`: `{path}` of your code cannot be loaded: {damage}"
    assert ([("damaged-binary", message)] if damage else []) == findings


def test_placeholder_of_others(tmp_path: Path) -> None:
    """A wheel may contain the text of Git LFS as data, and git cannot fetch its libraries."""
    assert [] == found(tmp_path, {"pkg/tests/pointer": POINTER}, artifact=WHEEL)

    (finding,) = found(tmp_path, {"pkg/speed.so": POINTER}, artifact=WHEEL)

    assert finding.message.endswith("it is a placeholder of Git LFS; lock another version of `pkg`, or build it again")


def test_each_cause(tmp_path: Path) -> None:
    """Files of a distribution that are broken for different reasons have a finding for each reason."""
    files = {
        "pkg/a.so": GOOD[:-8],
        "pkg/b.so": b"",
        "pkg/c.cpython-313-darwin.so": MACHO,
        "pkg/d.cp313-win_amd64.pyd": PE,
    }

    findings = [each.message.partition("; ")[0] for each in found(tmp_path, files)]

    assert [
        "layer `common`: `python/pkg/a.so` of `pkg` 1.0 cannot be loaded: the file is truncated",
        "layer `common`: `python/pkg/b.so` of `pkg` 1.0 cannot be loaded: it is empty",
        "layer `common`: `python/pkg/c.cpython-313-darwin.so` of `pkg` 1.0 is built for macOS, so Lambda cannot import it",
        "layer `common`: `python/pkg/d.cp313-win_amd64.pyd` of `pkg` 1.0 is built for Windows, so Lambda cannot import it",
    ] == findings


def test_unknown_hash(tmp_path: Path) -> None:
    """Nothing is kept of a layer without hashes, whose name another layer has, too."""
    layer = layer_of(tmp_path, "common", {"pkg": {MODULE: make_elf("arm64")}})
    unknown = replace(layer, sha256=None, extents=())
    (tmp_path / "other").mkdir()
    other = layer_of(tmp_path / "other", "common", {"pkg": {MODULE: GOOD}})

    assert list(check(inspection_of(tmp_path, layers=[unknown])))
    assert [] == list(check(inspection_of(tmp_path, layers=[replace(other, sha256=None, extents=())])))


def test_once_for_each_segment(tmp_path: Path) -> None:
    """The result for a segment is kept in the store, also for other layers with the segment."""
    first = found(tmp_path, {MODULE: make_elf("arm64")})
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "store").rglob("*.json")}
    (tmp_path / "again").mkdir()
    layer = layer_of(tmp_path / "again", "common", {"pkg": {MODULE: make_elf("arm64")}}, artifact=SOURCE)

    assert first == list(check(inspection_of(tmp_path, layers=[layer])))
    assert kept == {path: path.stat().st_mtime_ns for path in (tmp_path / "store").rglob("*.json")}
    assert kept
