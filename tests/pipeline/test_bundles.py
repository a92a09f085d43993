"""Functions whose distributions are in their zips: content, bytes, reuse, bytecode, collisions and checks."""

from __future__ import annotations

import json
import marshal
import os
import shutil
import sys
import zipfile
from typing import TYPE_CHECKING

import pytest

from lamina.bytecode.interpreter import environment_variable
from lamina.cli.main import main
from lamina.core.errors import LockError, PathCollisionError
from lamina.core.store import Store
from lamina.core.values import Severity
from lamina.pipeline import report
from lamina.pipeline.build import build
from lamina.project.options import BuildOptions
from pythons import MINOR, PYTHON
from services import make_service
from sourceprojects import source_files, write_sources

if TYPE_CHECKING:
    from pathlib import Path
    from types import CodeType

    from lamina.core.values import Package
    from lamina.pipeline.build import Result
    from services import Service

TAG = f"cpython-{PYTHON[0]}{PYTHON[1]}"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "store")


@pytest.fixture
def shop(tmp_path: Path) -> Service:
    """A service whose function has its distributions in its zip."""
    service = make_service(tmp_path)
    service.settings["packaging"] = '"zip"'
    write(service, {"service/handlers/hello.py": "import beta\ndef lambda_handler(event, context): ...\n"})
    return service


def write(service: Service, files: dict[str, str]) -> None:
    for path, content in files.items():
        (service.root / path).parent.mkdir(parents=True, exist_ok=True)
        (service.root / path).write_text(content)


def with_bytecode(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    service.settings |= {"bytecode": '"reachable"', "runtime": f'"python{MINOR}"'}
    service.requires_python = ">=3.11"
    monkeypatch.setenv(environment_variable(PYTHON), sys.executable)


def built(service: Service, store: Store) -> Result:
    return build(service.write(), BuildOptions(), store=store)


def packages(service: Service, store: Store) -> dict[str, Package]:
    return {package.name: package for package in built(service, store).build.packages}


def members(path: Path) -> list[str]:
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        return archive.namelist()


def code_of(path: Path, member: str) -> tuple[int, CodeType]:
    """Return the flags and the code of a bytecode file in the zip at *path*."""
    with zipfile.ZipFile(path) as archive:
        bytecode = archive.read(member)
    return int.from_bytes(bytecode[4:8], "little"), marshal.loads(bytecode[16:])  # noqa: S302 - it is our own


def test_content(shop: Service, store: Store) -> None:
    """The zip has the sources and the distributions side by side, each file once, and no layer is built."""
    result = built(shop, store)
    (package,) = result.build.packages

    names = members(package.path)
    assert {
        "service/handlers/hello.py",
        "alpha/__init__.py",
        "alpha/data.bin",
        "beta.py",
        "beta-2.0.dist-info/RECORD",
    } <= {*names}
    assert len(names) == len(set(names)) == package.files
    assert package.zipped_bytes == package.path.stat().st_size
    assert ((), ("common",), "zip") == (package.layers, package.bundled, package.packaging)
    assert ["alpha", "beta"] == [share.name for share in package.distributions]
    assert package.zipped_bytes == 22 + sum(_weights(package.path))
    assert () == result.build.layers
    assert () == result.build.findings
    assert not (shop.root / ".lamina" / "layers" / "common.zip").exists()


def _weights(path: Path) -> list[int]:
    """Return what each member of the zip at *path* weighs: headers, name twice, and data."""
    with zipfile.ZipFile(path) as archive:
        return [30 + 46 + 2 * len(each.filename.encode()) + each.compress_size for each in archive.infolist()]


def test_report(shop: Service, store: Store) -> None:
    """The report has the distributions and the packaging of each function, and is read again as it was written."""
    result = built(shop, store)

    document = json.loads((shop.root / ".lamina" / "build.json").read_text())
    (function,) = document["functions"]
    assert ("zip", ["common"], ["alpha", "beta"]) == (
        function["packaging"],
        function["bundled"],
        [share["name"] for share in function["distributions"]],
    )
    assert report.read(shop.root).packages == result.build.packages


def test_same_bytes(shop: Service, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The zip is the same with another store and after the outputs were deleted."""
    with_bytecode(shop, monkeypatch)
    first = packages(shop, store)["hello"]
    shutil.rmtree(shop.root / ".lamina")
    second = packages(shop, Store.open(tmp_path / "another store"))["hello"]

    assert first == second


def test_nothing_to_do(
    shop: Service, store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An unchanged zip is reused; an edit or another version builds it again, with the reason."""
    monkeypatch.setenv("LAMINA_CACHE_DIR", str(store.root))
    built(shop, store)
    assert 0 == main(["build", "--project", str(shop.root)])
    assert "nothing to do" in capsys.readouterr().err
    os.utime(shop.root / "pylock.toml")
    again = built(shop, store).plan
    write(shop, {"service/handlers/hello.py": "def lambda_handler(event, context): ...\n"})
    edited = built(shop, store).plan
    shop.add("beta", "2.1", {"beta.py": "import alpha\n"})
    bumped = built(shop, store).plan

    reasons = [each.reason for plan in (again, edited, bumped) for each in plan.package_plans]
    assert ["unchanged", "sources, handlers or bytecode changed", "beta 2.0 → 2.1"] == reasons
    assert [True, False, False] == [plan.reused for plan in (again, edited, bumped)]


def test_back_to_a_layer(shop: Service, store: Store) -> None:
    """A function can change its packaging both ways; no output of the other packaging stays."""
    built(shop, store)
    shop.settings["packaging"] = '"layer"'
    result = built(shop, store)
    there = sorted(path.name for path in (shop.root / ".lamina").rglob("*.zip*"))
    shop.settings["packaging"] = '"zip"'
    back = built(shop, store)

    (package,) = result.build.packages
    assert (("common",), (), ()) == (package.layers, package.bundled, package.distributions)
    assert ["common.zip", "common.zip.intoto.json", "hello.zip", "hello.zip.intoto.json"] == there
    assert ["alpha", "beta"] == [share.name for share in back.build.packages[0].distributions]
    assert ["hello.zip", "hello.zip.intoto.json"] == sorted(
        path.name for path in (shop.root / ".lamina").rglob("*.zip*")
    )


def test_shared_zip(shop: Service, store: Store) -> None:
    """Functions with the same sources and layers share one file; one with other distributions has its own."""
    shop.settings["layers"] = '{ common = {}, small = { only = ["alpha"] } }'
    shop.functions |= dict.fromkeys(("other", "small"), shop.functions["hello"])
    write(shop, {"service/handlers/hello.py": "import alpha\ndef lambda_handler(event, context): ...\n"})
    shop.more["small"] = 'layers = ["small"]'

    found = packages(shop, store)

    assert found["hello"].path.stat().st_ino == found["other"].path.stat().st_ino
    assert found["hello"].sha256 == found["other"].sha256 != found["small"].sha256
    assert "beta.py" not in members(found["small"].path)
    assert ["alpha"] == [share.name for share in found["small"].distributions]


def test_several_layers_in_one_zip(shop: Service, store: Store) -> None:
    """The zip of a function with several layers has the distributions of all of them, each once; a layer of another function stays one."""
    shop.settings["layers"] = '{ a = { only = ["alpha"] }, b = { only = ["beta"], minus = ["a"] } }'
    shop.more["hello"] = 'layers = ["a", "b"]'
    shop.functions["other"] = shop.functions["hello"]
    shop.more["other"] = 'layers = ["a", "b"], packaging = "layer"'

    result = built(shop, store)

    hello, other = result.build.packages
    assert (["alpha", "beta"], ()) == ([share.name for share in hello.distributions], other.distributions)
    assert ["a", "b"] == [layer.name for layer in result.build.layers]
    assert (("a", "b"), ("a", "b")) == (hello.bundled, other.layers)
    # The order of layers decides nothing about the zip.
    shop.more["hello"] = 'layers = ["b", "a"]'
    again = built(shop, store)
    assert [each.reused is not None for each in again.plan.package_plans][:1] == [True]


def test_renamed_layer(shop: Service, store: Store) -> None:
    """A zip whose layer has another name is reused, and the report has the new name."""
    shop.settings["layers"] = "{ first = {} }"
    first = packages(shop, store)["hello"]
    shop.settings["layers"] = "{ second = {} }"

    result = built(shop, store)

    (second,) = result.build.packages
    assert (("first",), ("second",), first.sha256) == (first.bundled, second.bundled, second.sha256)
    assert [each.reused is not None for each in result.plan.package_plans] == [True]
    assert second.bundled == report.read(shop.root).packages[0].bundled


def test_two_versions_in_one_zip(shop: Service, store: Store) -> None:
    """Two layers with different files of a distribution cannot be in one zip."""
    shop.locked.pop("beta")
    shop.settings["layers"] = '{ a = {}, b = { extras = ["new"] } }'
    shop.more["hello"] = 'layers = ["a", "b"]'
    project = shop.write()
    lock = project / "pylock.toml"
    other = shop.add("alpha", "1.1", {"alpha/__init__.py": "VALUE = 2\n"})
    shop.write()
    new = lock.read_text().replace('version = "1.1"', 'version = "1.1"\nmarker = "\'new\' in extras"')
    shop.locked["alpha"] = other.with_name("alpha-1.0-py3-none-any.whl")
    shop.write()
    old = lock.read_text().replace('version = "1.0"', 'version = "1.0"\nmarker = "\'new\' not in extras"')
    lock.write_text(
        old.replace('created-by = "tests"', 'created-by = "tests"\nextras = ["new"]') + new[new.index("[[packages]]") :]
    )
    pyproject = project / "pyproject.toml"
    pyproject.write_text(
        pyproject.read_text().replace("[tool.lamina]", "[project.optional-dependencies]\nnew = []\n[tool.lamina]", 1)
    )

    with pytest.raises(LockError, match=r"the zip of function `hello` would contain `alpha` 1\.0 and 1\.1"):
        build(project, BuildOptions(), store=store)


def test_bytecode(shop: Service, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reachable modules are compiled for `/var/task`: those of distributions unchecked, your own checked, as they can be edited."""
    with_bytecode(shop, monkeypatch)
    shop.add("gamma", "1.0", {"gamma.py": ""})

    path = packages(shop, store)["hello"].path

    flags, code = code_of(path, f"alpha/__pycache__/__init__.{TAG}.pyc")
    assert (0b01, "/var/task/alpha/__init__.py") == (flags, code.co_filename)
    flags, code = code_of(path, f"service/handlers/__pycache__/hello.{TAG}.pyc")
    assert (0b11, "/var/task/service/handlers/hello.py") == (flags, code.co_filename)
    assert f"__pycache__/beta.{TAG}.pyc" in members(path)
    assert "gamma.py" in members(path)
    assert f"__pycache__/gamma.{TAG}.pyc" not in members(path)


def test_reachable_by_zip(shop: Service, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each zip has the bytecode of what its own functions import, and no more."""
    with_bytecode(shop, monkeypatch)
    shop.functions["other"] = "app.handler"
    shop.sources["other"] = '["other/*"]'
    write(shop, {"other/app.py": "import alpha\ndef handler(event, context): ...\n"})

    found = packages(shop, store)

    assert f"__pycache__/beta.{TAG}.pyc" in members(found["hello"].path)
    assert f"__pycache__/beta.{TAG}.pyc" not in members(found["other"].path)
    assert f"alpha/__pycache__/__init__.{TAG}.pyc" in members(found["other"].path)


def test_edits(
    shop: Service, store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An edit decides the bytecode again if a handler reaches the module, or if a file is new; otherwise no wheel is read."""
    with_bytecode(shop, monkeypatch)
    monkeypatch.setenv("LAMINA_CACHE_DIR", str(store.root))
    end = "def lambda_handler(event, context): ...\n"
    hello, other, unreached = (f"service/{name}.py" for name in ("handlers/hello", "other", "unreached"))

    def compiled(files: dict[str, str]) -> list[str]:
        write(shop, files)
        (package,) = packages(shop, store).values()
        paths = [each for each in members(package.path) if each.endswith(".pyc") and not each.startswith("service/")]
        return [name for name in ("alpha", "beta") if any(name in path for path in paths)]

    def is_known(files: dict[str, str]) -> bool:
        write(shop, files)
        assert 0 == main(["build", "--dry-run", "--project", str(shop.root)])
        return "imports not analysed yet" not in capsys.readouterr().err

    assert ["alpha"] == compiled({hello: f"import alpha\n{end}", other: "", unreached: ""})
    assert ["alpha"] == compiled({other: "import beta\n"})
    assert ["alpha", "beta"] == compiled({hello: f"import alpha\nimport service.other\n{end}"})
    assert ["alpha"] == compiled({other: "\n"})
    shutil.rmtree(store.root / "wheels")
    assert is_known({unreached: "import beta\n"})
    assert not is_known({other: "import beta\n"})
    assert not is_known({other: "\n", "service/new.py": ""})


def test_own_code_wins(shop: Service, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Your file takes the place of a distribution's at the same path, with its bytecode, as in Lambda's order, and a warning says so."""
    with_bytecode(shop, monkeypatch)
    shop.settings["source"] = '["service", "beta.py"]'
    write(shop, {"beta.py": "MINE = True\n"})

    result = built(shop, store)

    (package,) = result.build.packages
    with zipfile.ZipFile(package.path) as archive:
        assert b"MINE = True\n" == archive.read("beta.py")
    assert "MINE" in code_of(package.path, f"__pycache__/beta.{TAG}.pyc")[1].co_names
    assert ["shadowed-layer"] == [finding.rule for finding in result.build.findings]
    assert "your `beta.py` replaces that of `beta` in the same zip" in result.build.findings[0].message


def test_hidden_own_module(shop: Service, store: Store) -> None:
    """Python prefers a distribution's package to your file of the same name in one directory: an error."""
    shop.settings["source"] = '["service", "alpha.py"]'
    write(shop, {"alpha.py": ""})

    (finding,) = built(shop, store).build.findings

    assert ("hidden-module", Severity.ERROR) == (finding.rule, finding.severity)
    assert "Python imports `alpha/__init__.py` of `alpha` in the same zip instead of your `alpha.py`" in finding.message


def test_file_and_directory(shop: Service, store: Store) -> None:
    """Your file cannot be where a distribution needs a directory."""
    shop.settings["source"] = '["service", "alpha"]'
    write(shop, {"alpha": "text"})

    with pytest.raises(PathCollisionError, match="`alpha` is a file in one and a directory in the other"):
        built(shop, store)


def test_missing_import(shop: Service, store: Store) -> None:
    """A module that neither the code nor the zip has is an error that says how to add it; one in the zip is none."""
    write(shop, {"service/handlers/hello.py": "import alpha, beta\ndef lambda_handler(event, context): ...\n"})
    assert () == built(shop, store).build.findings
    shop.settings["layers"] = '{ common = { only = ["beta"] } }'

    (finding,) = built(shop, store).build.findings

    assert "missing-import" == finding.rule
    assert finding.message.endswith("layer `common` leaves out `alpha`: add it to `only`")


def test_handler_in_a_distribution(shop: Service, store: Store) -> None:
    """A handler can be in a distribution of the zip, and nowhere else."""
    shop.functions = {"hello": "beta.handler"}
    assert ["beta.handler"] == [package.handler for package in built(shop, store).build.packages]


def test_runtime_sdk(shop: Service, store: Store) -> None:
    """With `sdk = "runtime"`, the zip has no part of the SDK, and a note lists it."""
    shop.add("boto3", "1.40.0")
    shop.settings["sdk"] = '"runtime"'

    result = built(shop, store)

    assert ["alpha", "beta"] == [share.name for share in result.build.packages[0].distributions]
    assert ["sdk-runtime"] == [finding.rule for finding in result.build.findings]


def test_partial_sdk(shop: Service, store: Store) -> None:
    """A part of the SDK in a zip is checked against the runtime's, as one in a layer."""
    shop.add("boto3", "1.40.0")

    messages = [finding.message for finding in built(shop, store).build.findings]

    assert any(message.startswith("`hello`: the layers contain only part of the AWS SDK") for message in messages)


@pytest.fixture
def limited(shop: Service) -> Service:
    """The service on a Lambda whose limit of a function is 20,000 bytes, unzipped."""
    shop.settings["facts"] = '"facts.toml"'
    write(
        shop,
        {"facts.toml": '[[quota]]\nname = "unzipped_bytes"\nvalue = 20_000\nsource = "a page"\nread = 2027-01-01\n'},
    )
    return shop


def test_too_large(limited: Service, store: Store) -> None:
    """A zip above Lambda's limit is an error that names the largest distributions."""
    limited.add("gamma", "1.0", {"gamma/data.bin": os.urandom(20_000)})

    (finding,) = (each for each in built(limited, store).build.findings if each.severity is Severity.ERROR)

    assert "unzipped-limit" == finding.rule
    assert "largest distributions: `gamma` 20,3" in finding.message


def test_too_large_with_bytecode(limited: Service, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A zip that exceeds the limit only because of bytecode has less of it, and the next build does not try again."""
    with_bytecode(limited, monkeypatch)
    source = "\n".join(f"V{number} = {number}" for number in range(400))
    limited.add("gamma", "1.0", {"gamma.py": source})
    write(limited, {"service/handlers/hello.py": "import gamma\ndef lambda_handler(event, context): ...\n"})

    result = built(limited, store)
    again = built(limited, store)

    (package,) = result.build.packages
    assert package.unzipped_bytes <= 20_000
    assert f"__pycache__/gamma.{TAG}.pyc" not in members(package.path)
    assert (True, result.build.packages) == (again.plan.reused, again.build.packages)
    assert not [finding for finding in result.build.findings if finding.severity is Severity.ERROR]


def test_statement(shop: Service, store: Store) -> None:
    """The statement of provenance lists the wheels in the zip as materials."""
    (package,) = packages(shop, store).values()

    statement = json.loads(package.path.with_name("hello.zip.intoto.json").read_text())

    definition = statement["predicate"]["buildDefinition"]
    names = [each.get("name") for each in definition["resolvedDependencies"]]
    assert {"alpha-1.0-py3-none-any.whl", "beta-2.0-py3-none-any.whl"} <= {*names}
    assert ["common"] == definition["externalParameters"]["bundled"]


def test_dry_run(
    shop: Service, store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A dry run shows the distributions of the zip with their sizes, as text and as JSON, and the summary of the build, too."""
    with_bytecode(shop, monkeypatch)
    monkeypatch.setenv("LAMINA_CACHE_DIR", str(store.root))
    project = str(shop.write())
    assert 0 == main(["build", "--dry-run", "--project", project])
    planned = capsys.readouterr().err
    assert 0 == main(["build", "--dry-run", "--json", "--project", project])
    document = json.loads(capsys.readouterr().out)
    assert 0 == main(["build", "--project", project])
    text = capsys.readouterr().err

    assert f"zip of hello with dependencies for python{MINOR} on x86_64: may be packed (" in planned
    assert ["alpha", "beta"] == [share["name"] for share in document["functions"][0]["distributions"]]
    assert "zip of hello with dependencies: built (not built before)" in text

    assert 0 == main(["build", "--dry-run", "--json", "--project", project])
    (function,) = json.loads(capsys.readouterr().out)["functions"]
    (package,) = report.read(shop.root).packages
    assert sum(each.unzipped_bytes + each.bytecode_bytes for each in package.distributions) == sum(
        share["unzipped_bytes"] for share in function["distributions"]
    )


def test_excluded_files(shop: Service, store: Store) -> None:
    """`exclude` leaves files out of the zip, and RECORD no longer lists them."""
    shop.settings["exclude"] = '["*.bin"]'

    (package,) = packages(shop, store).values()

    with zipfile.ZipFile(package.path) as archive:
        assert "alpha/data.bin" not in archive.namelist()
        assert b"data.bin" not in archive.read("alpha-1.0.dist-info/RECORD")


def test_several_targets(shop: Service, store: Store) -> None:
    """Each target has its own zip; without native code and bytecode, the bytes are the same."""
    del shop.settings["runtime"], shop.settings["architecture"]
    shop.settings["targets"] = '["python3.13-arm64", "python3.13-x86_64"]'

    first, second = (each.build.packages[0] for each in built(shop, store).targets)

    assert (first.sha256, first.distributions) == (second.sha256, second.distributions)
    assert first.path != second.path


def test_own_code_of_a_layer(shop: Service, store: Store) -> None:
    """A layer with the service's own code puts this code into the zip, beside the function's."""
    shop.settings["layers"] = "{ common = { first-party = true } }"
    shop.sources["hello"] = '["functions/*"]'
    shop.functions["hello"] = "app.handler"
    write(shop, {"functions/app.py": "import service\ndef handler(event, context): ...\n"})

    (package,) = packages(shop, store).values()

    assert {"app.py", "service/__init__.py", "beta.py"} <= {*members(package.path)}


@pytest.mark.parametrize(("mode", "held"), [("layer", ["alpha", "beta", "shared"]), ("function", ["alpha", "beta"])])
def test_local_package(tmp_path: Path, shop: Service, store: Store, mode: str, held: list[str]) -> None:
    """A local package is in the zip, as a distribution or as part of your code, and an edit of it builds the zip again."""
    write_sources(tmp_path / "shared", source_files("shared"))
    shop.settings |= {"local": f'"{mode}"', "bytecode": '"none"'}
    write(shop, {"service/handlers/hello.py": "import shared\ndef lambda_handler(event, context): ...\n"})
    project = shop.write()
    with (project / "pylock.toml").open("a") as lock:
        lock.write('[[packages]]\nname = "shared"\ndirectory = { path = "../shared" }\n')

    first = build(project, BuildOptions(), store=store)
    again = build(project, BuildOptions(), store=store)
    (tmp_path / "shared" / "shared" / "__init__.py").write_text("VALUE = 2\n")
    second = build(project, BuildOptions(), store=store)

    (old,), (new,) = first.build.packages, second.build.packages
    assert held == [share.name for share in old.distributions]
    assert (True, False) == (again.plan.reused, second.plan.reused)
    assert "shared/__init__.py" in members(new.path)
    assert old.sha256 != new.sha256
    assert () == first.build.findings


def test_without_distributions(
    shop: Service, store: Store, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A zip without distributions has the packaging that is configured, and the summary mentions no distributions and layers."""
    monkeypatch.setenv("LAMINA_CACHE_DIR", str(store.root))
    shop.locked.clear()
    shop.functions["other"] = shop.functions["hello"]
    shop.more["other"] = "layers = []"
    write(shop, {"service/handlers/hello.py": "def lambda_handler(event, context): ...\n"})

    code = main(["build", "--project", str(shop.write())])

    text, document = capsys.readouterr().err, json.loads((shop.root / ".lamina" / "build.json").read_text())
    assert 0 == code
    assert ["zip", "zip"] == [each["packaging"] for each in document["functions"]]
    assert [each.packaging for each in report.read(shop.root).packages] == ["zip", "zip"]
    assert "dependencies" not in text
    assert "layer" not in text
    assert "  largest function: " in text
