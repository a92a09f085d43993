"""Function packages are deterministic, shared between functions, and contain every handler."""

from __future__ import annotations

import ast
import hashlib
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lamina.archive.handlers import check_handlers, defined_names
from lamina.archive.package import Packed, _share, pack, packages
from lamina.archive.zip.zipformat import encode
from lamina.core.errors import DuplicateMemberError, PackageError
from lamina.core.frozen import replace
from lamina.core.values import Package
from lamina.project.config import load
from lamina.project.sources import PackageSources, walk

if TYPE_CHECKING:
    from collections.abc import Container

HANDLER = "def lambda_handler(event, context):\n    return event\n"

CONFIG = """
[tool.lamina]
runtime = "python3.{minor}"
source = ["service"]
[tool.lamina.functions]
{functions}
"""


def project(root: Path, *, files: dict[str, str] | None = None, minor: int = 9, **functions: str) -> Path:
    """Create a project with *files* (default: two handlers) and *functions* (default: both handlers)."""
    if files is None:
        files = {
            "service/__init__.py": "",
            "service/a.py": HANDLER,
            "service/b.py": HANDLER,
            "service/data.bin": "x" * 1000,
            "service/run.sh": "#!/bin/sh\n",
        }
    for path, content in files.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content, encoding="utf-8")
    chosen = functions or {"a": "service.a.lambda_handler", "b": "service.b.lambda_handler"}
    lines = "\n".join(f'{name} = "{handler}"' for name, handler in chosen.items())
    (root / "pyproject.toml").write_text(CONFIG.format(minor=minor, functions=lines), encoding="utf-8")
    return root


def sources(root: Path) -> PackageSources:
    """Return the sources of the only package of the project at *root*."""
    (config,) = load(root).packages
    return PackageSources(config=config, tree=walk(root, config.source))


def packed(root: Path, out: Path | None = None, *, provided: Container[str] = ()) -> Packed:
    """Check the handlers of the project at *root*, and pack it into *out*."""
    package = sources(root)
    check_handlers([package], target=load(root).target, provided=provided)
    result = pack(package, out or root / "out")
    assert result is not None
    return result


def refused(root: Path) -> str:
    """Return the error for packing the project at *root*, and check that no file was written."""
    with pytest.raises(PackageError) as caught:
        packed(root)

    assert not (root / "out").exists()
    return str(caught.value)


class TestPack:
    def test_content(self, tmp_path: Path) -> None:
        """A package contains the sources, with modes that depend on their content, and its report is correct."""
        root = project(tmp_path)
        (root / "service" / "data.bin").chmod(0o777)
        (root / "service" / "run.sh").chmod(0o600)

        result = packed(root)

        content = (root / "out" / "a.zip").read_bytes()
        with zipfile.ZipFile(root / "out" / "a.zip") as archive:
            assert archive.testzip() is None
            assert {info.filename: oct(info.external_attr >> 16) for info in archive.infolist()} == {
                "service/__init__.py": "0o100644",
                "service/a.py": "0o100644",
                "service/b.py": "0o100644",
                "service/data.bin": "0o100644",
                "service/run.sh": "0o100755",
            }
            assert archive.read("service/a.py").decode() == HANDLER
            assert result == Packed(
                sha256=hashlib.sha256(content).hexdigest(),
                zipped_bytes=len(content),
                unzipped_bytes=sum(info.file_size for info in archive.infolist()),
                files=5,
                fingerprint=result.fingerprint,
            )

    def test_shared(self, tmp_path: Path) -> None:
        """Identical packages are one file with several hard links."""
        packed(project(tmp_path))

        assert (tmp_path / "out" / "a.zip").samefile(tmp_path / "out" / "b.zip")
        assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.zip", "b.zip"]

    def test_again(self, tmp_path: Path) -> None:
        """Packing again replaces the old package of every function."""
        root = project(tmp_path)
        before = packed(root)
        (root / "service" / "b.py").write_text(HANDLER + "# changed\n", encoding="utf-8")

        after = packed(root)

        assert before.fingerprint != after.fingerprint
        for name in ("a.zip", "b.zip"):
            content = (root / "out" / name).read_bytes()
            assert hashlib.sha256(content).hexdigest() == after.sha256
        assert sorted(path.name for path in (root / "out").iterdir()) == ["a.zip", "b.zip"]

    def test_copied_where_links_are_not_possible(self, tmp_path: Path) -> None:
        """Without hard links, the packages of other functions are copies."""
        memory = Path("/dev/shm")  # noqa: S108
        if not memory.is_dir() or memory.stat().st_dev == tmp_path.stat().st_dev:
            pytest.skip("needs two file systems")
        first = memory / f"{tmp_path.name}-{os.getpid()}.zip"
        first.write_bytes(b"zip" * 1000)
        try:
            _share(first, tmp_path / "other.zip")
        finally:
            first.unlink()

        assert (tmp_path / "other.zip").read_bytes() == b"zip" * 1000
        assert [path.name for path in tmp_path.iterdir()] == ["other.zip"]

    def test_same_bytes_everywhere(self, tmp_path: Path) -> None:
        """Directory, times, modes, umask, time zone, hash seed and order of entries do not change the zip."""
        expected = packed(project(tmp_path / "one")).sha256
        other = project(tmp_path / "a much longer way" / "two")
        for path in other.rglob("*"):
            os.utime(path, (1_000_000_000, 1_000_000_000))
            path.chmod(0o700)
        code = (
            "import os, sys, pathlib; os.umask(0o077); root = pathlib.Path(sys.argv[1])\n"
            "from lamina.project.config import load\nfrom lamina.project.sources import walk\n"
            "from lamina.project.sources import PackageSources\nfrom lamina.archive.package import pack\n"
            "config, = load(root).packages\npackage = PackageSources(config=config, tree=walk(root, config.source))\n"
            "print(pack(package, root / 'out').sha256)"
        )

        found = subprocess.run(
            [sys.executable, "-c", code, other],
            env=os.environ | {"TZ": "Asia/Kathmandu", "PYTHONHASHSEED": "7", "LC_ALL": "C"},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )

        assert found.stdout.strip() == expected

    def test_fingerprint(self, tmp_path: Path) -> None:
        """The fingerprint is the same for the same input in any directory."""
        one = packed(project(tmp_path / "one"))
        two = packed(project(tmp_path / "two"))

        assert one == two

    def test_extra(self, tmp_path: Path) -> None:
        """Extra members are sorted among the sources."""
        root = project(tmp_path)

        pack(sources(root), root / "out", extra=[encode("z.txt", b"z"), encode("a.txt", b"a")])

        with zipfile.ZipFile(root / "out" / "a.zip") as archive:
            assert archive.namelist() == [
                "a.txt",
                "service/__init__.py",
                "service/a.py",
                "service/b.py",
                "service/data.bin",
                "service/run.sh",
                "z.txt",
            ]

    def test_extra_over_a_source(self, tmp_path: Path) -> None:
        """An extra member with the path of a source is an error, and a failed build leaves no file."""
        root = project(tmp_path)

        with pytest.raises(DuplicateMemberError) as caught:
            pack(sources(root), root / "out", extra=[encode("service/a.py", b"")])

        assert str(caught.value) == "the archive would contain `service/a.py` twice"
        assert list((root / "out").iterdir()) == []

    def test_file_that_went_away(self, tmp_path: Path) -> None:
        """The error for a file that disappears during the build names the file."""
        root = project(tmp_path)
        package = sources(root)
        (root / "service" / "data.bin").unlink()

        with pytest.raises(PackageError) as caught:
            pack(package, root / "out")

        assert str(caught.value) == f"could not read `{root / 'service' / 'data.bin'}`: No such file or directory"

    def test_no_functions(self, tmp_path: Path) -> None:
        """A project with layers only has no packages."""
        (tmp_path / "lamina.toml").write_text('runtime = "python3.12"\n', encoding="utf-8")

        assert pack(sources(tmp_path), tmp_path / "out") is None
        assert not (tmp_path / "out").exists()


class TestPackages:
    @pytest.mark.parametrize(("zipped", "editable"), [(3_145_728, True), (3_145_729, False)])
    def test_values(self, tmp_path: Path, zipped: int, editable: bool) -> None:
        """Each function has the size of the shared zip and the size of its own layers."""
        service = load(project(tmp_path, a="service.a.lambda_handler"))
        shared = Packed(sha256="ab", zipped_bytes=zipped, unzipped_bytes=7, files=3, fingerprint="cd")

        assert packages(service.functions, shared, Path("out"), layer_bytes={"common": 100, "other": 1000}) == (
            Package(
                name="a",
                handler="service.a.lambda_handler",
                path=Path("out/a.zip"),
                sha256="ab",
                zipped_bytes=zipped,
                unzipped_bytes=7,
                files=3,
                layers=("common",),
                total_unzipped_bytes=107,
                console_editable=editable,
            ),
        )


class TestHandlers:
    def test_all_at_once(self, tmp_path: Path) -> None:
        """Every function without its handler is listed, with the names that exist instead."""
        root = project(
            tmp_path, a="service.a.lambda_handlr", b="service.bb.lambda_handler", c="service.a.lambda_handler"
        )

        assert refused(root) == (
            "handler not found for 2 functions\n"
            "  `a`: `service/a.py` does not define `lambda_handlr` (did you mean `lambda_handler`?); "
            "it defines `lambda_handler`\n"
            "  `b`: `service/bb.py` is not in the package (did you mean `service/b.py`?)"
        )

    @pytest.mark.parametrize(
        "source",
        [
            "from service.core import handler",
            "from service.core import run as handler",
            "import service.core as handler",
            "from service.core import *",
            "def __getattr__(name): ...",
            "handler = wrap(print)",
            "handler: object = wrap(print)",
            "first, (handler, *rest) = wrap(print)",
            "class handler: ...",
            "async def handler(event, context): ...",
            "try:\n    import x\nexcept ImportError:\n    def handler(event, context): ...",
            "if DEBUG:\n    pass\nelse:\n    with x as y:\n        handler = y",
            "with x as handler: pass",
            "match x:\n    case 1:\n        handler = 1",
        ],
    )
    def test_accepted(self, tmp_path: Path, source: str) -> None:
        """Every statement that binds the name at the module's top level defines a handler."""
        root = project(tmp_path, files={"service/f.py": source}, minor=12, f="service.f.handler")

        assert packed(root).files == 1

    @pytest.mark.parametrize(
        "source",
        [
            "def f():\n    handler = 1",
            "class A:\n    handler = 1",
            "[handler for handler in x]",
            "handler",
            "x.handler = 1",
        ],
    )
    def test_not_bound(self, source: str) -> None:
        """A name inside a function, class or comprehension is not a handler."""
        assert "handler" not in defined_names(ast.parse(source))[0]

    def test_package_and_slashes(self, tmp_path: Path) -> None:
        """The handler can be in a package's `__init__.py`, and its path can contain slashes."""
        root = project(tmp_path, files={"service/f/__init__.py": HANDLER}, f="service/f.lambda_handler")

        assert packed(root).files == 1

    def test_many_functions(self, tmp_path: Path) -> None:
        """A long list of defined functions is shortened, and leaves out private functions."""
        source = "\n".join(f"def run_{number}(): ..." for number in range(10)) + "\ndef _private(): ..."
        root = project(tmp_path, files={"service/f.py": source}, f="service.f.handler")

        assert refused(root) == (
            "handler not found for `f`: `service/f.py` does not define `handler`; it defines `run_0`, `run_1`, `run_2`, `run_3`, "
            "`run_4`, `run_5`, `run_6`, `run_7` and 2 more"
        )

    def test_no_functions(self, tmp_path: Path) -> None:
        """The error for a module without functions states that."""
        root = project(tmp_path, files={"service/f.py": "X = 1"}, f="service.f.handler")

        assert (
            refused(root)
            == "handler not found for `f`: `service/f.py` does not define `handler`, and has no public functions"
        )

    def test_source_layout(self, tmp_path: Path) -> None:
        """A handler with the path on disk instead of the import name gets a suggestion."""
        root = project(tmp_path, files={"service/f.py": HANDLER}, f="src.service.f.lambda_handler")

        assert refused(root) == (
            "handler not found for `f`: `src/service/f.py` is not in the package, but `service/f.py` is "
            "(did you mean `service.f.lambda_handler`?)"
        )

    @pytest.mark.parametrize(
        ("ignored", "shown", "reason"),
        [
            ("f.py", "service/f.py", "ignored by `.gitignore`"),
            ("inner/", "service/inner/", "ignored by `.gitignore`"),
        ],
    )
    def test_left_out(self, tmp_path: Path, ignored: str, shown: str, reason: str) -> None:
        """The error for a handler in a file that is left out gives the reason."""
        name = "service.inner.f" if ignored == "inner/" else "service.f"
        root = project(
            tmp_path, files={"service/f.py": HANDLER, "service/inner/f.py": HANDLER}, f=f"{name}.lambda_handler"
        )
        (root / ".gitignore").write_text(ignored, encoding="utf-8")

        assert refused(root) == f"handler not found for `f`: `{shown}` is left out of the package: {reason}"

    def test_provided_by_a_layer(self, tmp_path: Path) -> None:
        """A handler can be defined in a layer."""
        root = project(tmp_path, files={"service/f.py": HANDLER}, f="wrapper.handler.handler")

        assert packed(root, provided={"wrapper"}).files == 1

    def test_compiled(self, tmp_path: Path) -> None:
        """A handler in an extension module is not checked."""
        root = project(tmp_path, files={"service/f.cpython-313-x86_64-linux-gnu.so": "\x7fELF"}, f="service.f.handler")

        assert packed(root).files == 1

    def test_a_wrapper_as_the_handler(self, tmp_path: Path) -> None:
        """A vendor's wrapper as the handler is reported as such, with the keys to set."""
        assert refused(project(tmp_path, a="datadog_lambda.handler.handler")) == (
            "handler not found for `a`: `datadog_lambda.handler.handler` is the wrapper of Datadog; set `handler` to the function's own "
            'handler, and `wrapper = "datadog_lambda.handler.handler"`'
        )

    @pytest.mark.parametrize("source", ["def f(:\n", "x = '\0'"])
    def test_syntax_error(self, tmp_path: Path, source: str) -> None:
        """A handler's module that is not valid Python is an error."""
        root = project(tmp_path, files={"service/f.py": source}, f="service.f.handler")

        assert refused(root).startswith("handler not found for `f`: `service/f.py` is not valid Python: ")

    def test_newer_syntax(self, tmp_path: Path) -> None:
        """An older Python does not report syntax errors for a newer target."""
        root = project(tmp_path, files={"service/f.py": "x = ~~~!"}, minor=15, f="service.f.handler")

        assert packed(root).files == 1

    def test_odd_escapes(self, tmp_path: Path) -> None:
        """Warnings about first-party code are not printed."""
        root = project(tmp_path, files={"service/f.py": "handler = '\\d'"}, f="service.f.handler")

        assert packed(root).files == 1


def test_normal_forms(tmp_path: Path) -> None:
    """A file of a local package whose path differs from a source only in its normal form is rejected."""
    package = sources(project(tmp_path))
    twins = [replace(package.tree.files[0], path=f"service/{name}.py") for name in ("\u00e9", "e\u0301")]
    tree = replace(package.tree, files=(*package.tree.files, *twins))
    with pytest.raises(PackageError) as caught:
        pack(replace(package, tree=tree), tmp_path / "out")

    assert (
        "files of the sources and of local packages have paths that differ only in the Unicode normalization of their "
        "characters: `service/\u00e9.py`"
    ) == str(caught.value)
    assert not (tmp_path / "out").exists()
