from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING

import pytest

from lamina.bytecode.interpreter import environment_variable
from lamina.cli.main import main
from lamina.core.documents import open_sealed, seal
from lamina.core.errors import HashMismatchError, LockError, OfflineError, PackageError, PathCollisionError
from lamina.core.frozen import replace
from lamina.core.store import Store, place_of
from lamina.core.target import quotas
from lamina.core.values import Severity
from lamina.pipeline import state
from lamina.pipeline.build import build
from lamina.project.options import BuildOptions
from loopback import IndexServer
from services import HANDLER, make_service
from wheels import sha256

if TYPE_CHECKING:
    from pathlib import Path

    from lamina.pipeline.build import Result
    from services import Service


@pytest.fixture
def service(tmp_path: Path) -> Service:
    return make_service(tmp_path)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "store")


def _build(service: Service, store: Store, options: BuildOptions | None = None) -> Result:
    return build(service.write(), options or BuildOptions(), store=store)


def _digest(service: Service, store: Store, options: BuildOptions | None = None) -> str:
    (layer,) = _build(service, store, options).build.layers
    return layer.digest


def _tree(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


def test_layer_holds_what_the_wheels_hold(service: Service, store: Store) -> None:
    """A layer contains every file of every wheel under ``python/``, and its own manifest."""
    result = _build(service, store)

    (layer,) = result.build.layers
    with zipfile.ZipFile(layer.path) as archive:
        names = sorted(archive.namelist())

        assert archive.testzip() is None
        assert archive.read("python/beta.py") == b"import alpha\n"

    assert names == [
        f"lamina/{layer.digest}.json",
        "python/alpha-1.0.dist-info/METADATA",
        "python/alpha-1.0.dist-info/RECORD",
        "python/alpha-1.0.dist-info/WHEEL",
        "python/alpha/__init__.py",
        "python/alpha/data.bin",
        "python/beta-2.0.dist-info/METADATA",
        "python/beta-2.0.dist-info/RECORD",
        "python/beta-2.0.dist-info/WHEEL",
        "python/beta.py",
    ]


def test_report_is_what_is_on_disk(service: Service, store: Store) -> None:
    """The sizes, hashes and counts in the report match the files."""
    result = _build(service, store)

    (layer,), (package,) = result.build.layers, result.build.packages
    content = layer.path.read_bytes()
    with zipfile.ZipFile(layer.path) as archive:
        sizes = [info.file_size for info in archive.infolist()]

    assert layer.sha256 == hashlib.sha256(content).hexdigest()
    assert layer.zipped_bytes == len(content)
    assert layer.unzipped_bytes == sum(sizes)
    assert layer.files == len(sizes)
    assert package.sha256 == hashlib.sha256(package.path.read_bytes()).hexdigest()
    assert package.total_unzipped_bytes == package.unzipped_bytes + layer.unzipped_bytes


def test_manifest_names_the_distributions_and_no_time(service: Service, store: Store) -> None:
    """The manifest in the layer lists its distributions, its target, and their hashes."""
    result = _build(service, store)

    (layer,) = result.build.layers
    with zipfile.ZipFile(layer.path) as archive:
        manifest = json.loads(archive.read(f"lamina/{layer.digest}.json"))

    assert manifest["digest"] == layer.digest
    assert manifest["target"] == {"runtime": "python3.13", "architecture": None}
    assert [(row["name"], row["version"], row["sha256"]) for row in manifest["distributions"]] == [
        (name, path.name.split("-")[1], hashlib.sha256(path.read_bytes()).hexdigest())
        for name, path in sorted(service.locked.items())
    ]


def test_second_build_finds_nothing_to_do(service: Service, store: Store) -> None:
    """If nothing has changed, no file is written."""
    first = _build(service, store)
    (layer,) = first.build.layers
    before = layer.path.stat()

    second = _build(service, store)

    assert second.build.reused
    assert [(layer.name, layer.reused is not None, layer.reason) for layer in second.plan.decided] == [
        ("common", True, "unchanged")
    ]
    assert layer.path.stat() == before
    assert second.build.layers == first.build.layers


@pytest.mark.parametrize("change", ["comment", "order", "marker-excluded", "development"])
def test_digest_ignores_what_does_not_reach_the_layer(service: Service, store: Store, change: str) -> None:
    """A comment, the order, an excluded package or a development group in the lock file does not change the layer."""
    before = _digest(service, store)

    if change == "comment":
        service.comment = "looked at on a Monday"
    elif change == "order":
        service.locked = dict(reversed(service.locked.items()))
    elif change == "marker-excluded":
        service.add("gamma", "1.0", {"gamma.py": ""})
        service.markers["gamma"] = "sys_platform == 'win32'"
    else:
        service.add("gamma", "1.0", {"gamma.py": ""})
        service.markers["gamma"] = "'dev' in dependency_groups"

    assert before == _digest(service, store)


def test_digest_changes_with_what_reaches_the_layer(service: Service, store: Store) -> None:
    """A different version, target or exclusion results in a different layer each."""
    service.add("native", "1.0", tag="py3-none-manylinux_2_17_x86_64.manylinux_2_17_aarch64")
    digests = [_digest(service, store)]
    digests.append(_digest(service, store, BuildOptions(architecture="arm64")))
    digests.append(_digest(service, store, BuildOptions(runtime="python3.12")))
    service.settings["exclude"] = '["alpha/data.bin"]'
    digests.append(_digest(service, store))
    service.add("beta", "2.0.1", {"beta.py": "import alpha\n"})
    digests.append(_digest(service, store))

    assert len(set(digests)) == len(digests)


def test_bump_says_what_changed(service: Service, store: Store) -> None:
    """The reason for a new layer names the changed distributions and both versions."""
    _build(service, store)
    service.add("beta", "2.1", {"beta.py": "import alpha  # newer\n"})
    service.add("delta", "0.1", {"delta.py": ""})

    (layer,) = _build(service, store).plan.decided

    assert (layer.reused, layer.reason) == (None, "beta 2.0 → 2.1, added delta 0.1")


def test_changed_zip_is_made_again(service: Service, store: Store) -> None:
    """A layer whose zip was changed is built again."""
    (layer,) = _build(service, store).build.layers
    content = layer.path.read_bytes()
    layer.path.write_bytes(content[:-1])

    (planned,) = _build(service, store).plan.decided

    assert planned.reason == "its zip was changed or removed"
    assert layer.path.read_bytes() == content


def test_handler_edit_leaves_the_layer(service: Service, store: Store) -> None:
    """Changed first-party code only changes the function packages."""
    first = _build(service, store).build
    (service.root / "service" / "handlers" / "hello.py").write_text(HANDLER + "\n# edited\n")

    second = _build(service, store).build

    assert second.layers == first.layers
    assert second.packages[0].sha256 != first.packages[0].sha256


def test_removed_function_takes_its_zip_along(service: Service, store: Store) -> None:
    """The output directory contains only the project's current layers and functions."""
    service.functions["other"] = "service.handlers.hello.lambda_handler"
    _build(service, store)
    del service.functions["other"]

    _build(service, store)

    assert _tree(service.root / ".lamina") == [
        ".gitignore",
        "build.json",
        "functions/hello.zip",
        "functions/hello.zip.intoto.json",
        "history.jsonl",
        "layers/common.zip",
        "layers/common.zip.intoto.json",
        "lock",
        "state.json",
    ]


def test_same_bytes_in_another_place(tmp_path: Path, store: Store) -> None:
    """The zips do not depend on the directory, the store, or the order of the lock file."""
    first = make_service(tmp_path / "here")
    second = make_service(tmp_path / "over" / "there")
    second.locked = dict(reversed(second.locked.items()))

    builds = [
        _build(first, store).build,
        _build(second, Store.open(tmp_path / "another store")).build,
    ]

    assert builds[0].layers[0].sha256 == builds[1].layers[0].sha256
    assert builds[0].packages[0].sha256 == builds[1].packages[0].sha256


def test_failed_build_leaves_the_last_one(service: Service, store: Store) -> None:
    """A failed build leaves the previous outputs unchanged."""
    _build(service, store)
    before = {path: (service.root / ".lamina" / path).read_bytes() for path in _tree(service.root / ".lamina")}
    service.add("beta", "3.0", {"beta.py": "", "alpha/data.bin": b"another"})

    with pytest.raises(PathCollisionError) as caught:
        _build(service, store)

    assert str(caught.value) == (
        "distributions install different content at the same path: `python/alpha/data.bin` in `alpha` and `beta`"
    )
    assert {path: (service.root / ".lamina" / path).read_bytes() for path in _tree(service.root / ".lamina")} == before


def test_wrong_hash_writes_nothing(service: Service, store: Store) -> None:
    """A file with a wrong hash stops the build before any output is written."""
    service.write()
    service.locked["beta"].write_bytes(b"another file")

    with pytest.raises(HashMismatchError) as caught:
        build(service.root, BuildOptions(), store=store)

    assert caught.value.filename == "beta-2.0-py3-none-any.whl"
    assert _tree(service.root / ".lamina") == [".gitignore", "lock"]


def test_missing_handler_is_named(service: Service, store: Store) -> None:
    """A handler that is missing from the sources is an error."""
    service.functions["hello"] = "service.handlers.hello.lambda_handlr"

    with pytest.raises(PackageError, match="lambda_handlr"):
        _build(service, store)


def test_lock_for_another_python_is_refused(service: Service, store: Store) -> None:
    """A wheel for another Python version is an error."""
    service.add("alpha", "1.0", {"alpha.py": ""}, tag="cp312-cp312-manylinux_2_17_x86_64")

    with pytest.raises(LockError) as caught:
        _build(service, store)

    assert "`alpha`" in str(caught.value)


def test_each_wheel_is_fetched_once(tmp_path: Path, store: Store) -> None:
    """A second service with the same wheels downloads nothing, and builds offline."""
    with IndexServer(tmp_path / "first" / "wheels") as server:
        service = make_service(tmp_path / "first", base_url=f"{server.url}/files")
        _build(service, store)
        service.root = tmp_path / "second"
        _build(service, store, BuildOptions(offline=True))

        assert [len(server.requests_for(path.name)) for path in service.locked.values()] == [1, 1]


def test_offline_names_what_is_missing(tmp_path: Path, store: Store) -> None:
    """In offline mode, one error lists all files that are missing from the store."""
    service = make_service(tmp_path, base_url="https://index.example/files")

    with pytest.raises(OfflineError) as caught:
        _build(service, store, BuildOptions(offline=True))

    assert all(f"`{path.name}`" in str(caught.value) for path in service.locked.values())


def test_layer_over_the_limit_is_refused_before_it_is_fetched(
    tmp_path: Path, store: Store, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service that exceeds Lambda's limits is refused before the download, also in a dry run."""
    monkeypatch.setenv("LAMINA_CACHE_DIR", str(store.root))
    with IndexServer(tmp_path / "wheels") as server:
        service = make_service(tmp_path, base_url=f"{server.url}/files")
        # A quarter of the content is random, so that it compresses about as well as a typical wheel.
        block = b"".join(os.urandom(16 << 10) + bytes(48 << 10) for _ in range(16))
        service.add("huge", "1.0", {f"huge/{index}.bin": block * 27 for index in range(10)})
        result = _build(service, store)

        assert [(finding.rule, finding.severity) for finding in result.build.findings] == [
            ("unzipped-limit", Severity.ERROR)
        ]
        assert not result.build.ok
        assert store.wheel(sha256(service.locked["huge"])) is None
        assert all(request.range for request in server.requests_for(service.locked["huge"].name))
        assert not (service.root / ".lamina").exists()

        code = main(["build", "--dry-run", "--json", "--quiet", "--project", str(service.root)])

        planned = capsys.readouterr()
        assert 1 == code
        assert [finding.message for finding in result.build.findings] == [
            row["message"] for row in json.loads(planned.out)["findings"]
        ]
        assert planned.err.startswith("error: ")
        assert store.wheel(sha256(service.locked["huge"])) is None


def test_two_layers_of_one_lock(service: Service, store: Store) -> None:
    """Layers may select different groups of one lock file."""
    service.add("gamma", "1.0", {"gamma.py": ""})
    service.markers["gamma"] = "'reporting' in dependency_groups"
    service.functions, service.settings["source"] = {}, "[]"
    project = service.write()
    with (project / "pyproject.toml").open("a") as file:
        file.write('[tool.lamina.layers.base]\n[tool.lamina.layers.reports]\ngroups = ["reporting"]\n')
    lock = project / "pylock.toml"
    lock.write_text(lock.read_text().replace("created-by", 'dependency-groups = ["reporting"]\ncreated-by'))

    result = build(project, BuildOptions(), store=store)

    assert {layer.name: [row.name for row in layer.distributions] for layer in result.build.layers} == {
        "base": ["alpha", "beta"],
        "reports": ["alpha", "beta", "gamma"],
    }


def test_a_lock_that_was_read_is_not_parsed_again(service: Service, store: Store) -> None:
    """A lock file that was parsed before is not parsed again while its wheels are in the store."""
    project = service.write()
    first = build(project, BuildOptions(), store=store).build
    (kept,) = (store.root / "selections").rglob("*.json")
    content = open_sealed(kept.read_bytes(), place_of(kept))
    content["pins"][1]["version"] = "2.0.post1"
    store.write_document(kept, content)
    shutil.rmtree(project / ".lamina")

    second = build(project, BuildOptions(), store=store).build

    assert [row.version for row in first.layers[0].distributions] == ["1.0", "2.0"]
    assert [row.version for row in second.layers[0].distributions] == ["1.0", "2.0.post1"]


def test_a_kept_reading_ends_with_the_files_it_was_made_from(service: Service, store: Store) -> None:
    """After a change to the lock file, to the project's requirements, or to the record in the store, the lock file is parsed again."""
    project = service.write()
    build(project, BuildOptions(), store=store)
    for change in (
        lambda: service.add("beta", "2.1", {"beta.py": ""}),
        lambda: shutil.rmtree(store.root / "wheels"),
    ):
        change()

        assert build(service.write(), BuildOptions(), store=store).build.layers[0].distributions[1].version == "2.1"


def test_a_lock_that_appears_closer_is_noticed(service: Service, store: Store) -> None:
    """A build is no longer current if another lock file would be used."""
    project = service.write()
    build(project, BuildOptions(), store=store)
    before = state.recall(str(project), BuildOptions().asked())
    (project / "uv.lock").write_text("version = 1\n")

    assert before is not None
    assert state.recall(str(project), BuildOptions().asked()) is None


def _members(path: Path) -> list[str]:
    with zipfile.ZipFile(path) as archive:
        return archive.namelist()


@pytest.mark.parametrize("damage", [b"", b"not a segment"])
def test_damaged_bytecode_of_the_sources_is_compiled_again(
    service: Service, store: Store, damage: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A package contains its bytecode even if the copy in the store is damaged or missing."""
    service.settings["bytecode"] = '"all"'
    target = sys.version_info[:2]
    monkeypatch.setenv(environment_variable(target), sys.executable)
    service.settings["runtime"] = f'"python{target[0]}.{target[1]}"'
    service.requires_python = ">=3.11"
    (package,) = _build(service, store).build.packages
    before = _members(package.path)
    (kept,) = (store.root / "own-bytecode").rglob("*.seg")
    kept.write_bytes(damage)
    shutil.rmtree(service.root / ".lamina")

    (again,) = _build(service, store).build.packages

    assert f"service/handlers/__pycache__/hello.cpython-{target[0]}{target[1]}.pyc" in before
    assert _members(again.path) == before
    assert again.sha256 == package.sha256


def test_bytecode_gives_way_to_the_limit(
    service: Service,
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A layer that is too large only because of bytecode is built with less, with a note, and the digest says so."""
    monkeypatch.setenv("LAMINA_CACHE_DIR", str(store.root))
    service.settings["bytecode"] = '"all"'
    target = sys.version_info[:2]
    monkeypatch.setenv(environment_variable(target), sys.executable)
    service.settings["runtime"] = f'"python{target[0]}.{target[1]}"'
    service.requires_python = ">=3.11"
    (full,) = _build(service, store).build.layers
    (share,) = (each for each in full.distributions if each.name == "alpha")
    limit = full.unzipped_bytes - 1
    monkeypatch.setattr("lamina.pipeline.layers.quotas", lambda: replace(quotas(), unzipped_bytes=limit))
    shutil.rmtree(service.root / ".lamina")

    assert 0 == main(["build", "--project", str(service.root)])

    assert "note: layer `common` does not contain the bytecode of `alpha`: with it, " in capsys.readouterr().err
    built = json.loads((service.root / ".lamina" / "build.json").read_bytes())
    (layer,) = built["layers"]
    assert limit > layer["unzipped_bytes"]
    assert [("alpha", False), ("beta", True)] == [
        (each["name"], bool(each["bytecode_bytes"])) for each in layer["distributions"]
    ]
    assert share.bytecode_bytes
    assert [] == [name for name in _members(service.root / layer["path"]) if "alpha/__pycache__" in name]
    assert full.digest != layer["digest"]
    # Elsewhere, and again: the same choice, known from the store or measured.
    shutil.rmtree(service.root / ".lamina")
    assert layer["digest"] == _digest(service, store)
    shutil.rmtree(service.root / ".lamina")
    assert layer["digest"] == _digest(service, Store.open(tmp_path / "another store"))
    assert "unchanged" == _build(service, store).plan.layers[0].reason


def test_unchanged_build_imports_little(service: Service, store: Store) -> None:
    """If nothing has changed, modules that take long to import are not imported, whether they are lamina's or Python's."""
    result = _build(service, store)
    project = result.plan.previous.project
    # Files that changed within two seconds before a build are read and hashed: pretend that the build came later.
    state = project / ".lamina" / "state.json"
    document = open_sealed(state.read_bytes(), ".lamina/state.json")
    document["inputs"] = [[path, kind, seen + 3_000_000_000, *rest] for path, kind, seen, *rest in document["inputs"]]
    state.write_bytes(seal(document, ".lamina/state.json"))
    slow = {"lamina.pipeline.build", "lamina.core.store", "rich", "packaging", "typing", "hashlib", "threading"}
    program = (
        "import sys; before = set(sys.modules)\nfrom lamina.cli.main import main\n"
        f"code = main(['build', '--project', {str(project)!r}])\n"
        f"print(code, sorted(({slow!r} & sys.modules.keys()) - before))"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert "nothing to do" in done.stderr
    assert "0 []\n" == done.stdout


def test_build_imports_no_clients() -> None:
    """The modules of a build import nothing that is slow and that only downloads, subprocesses or git need."""
    slow = {"lamina.fetch.settings", "subprocess", "dataclasses", "inspect", "ssl", "socket", "httpx", "packaging"}
    program = f"import sys, lamina.pipeline.build; print(sorted({slow!r} & sys.modules.keys()))"

    done = subprocess.run(
        [sys.executable, "-S", "-c", program], capture_output=True, text=True, check=True, env=_paths()
    )

    assert "[]\n" == done.stdout


def _paths() -> dict[str, str]:
    """Return the environment for a Python without ``site``, which some installations use to import modules of their own."""
    return {"PYTHONPATH": os.pathsep.join(sys.path)}


def test_deprecated_runtime_is_a_warning(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A dry run, a build and a build with nothing to do all warn about a deprecated runtime, and succeed."""
    monkeypatch.setenv("LAMINA_CACHE_DIR", str(tmp_path / "store"))
    service.settings["runtime"], service.requires_python = '"python3.9"', ">=3.9"
    project, said = str(service.write()), ""

    for options in (["--dry-run"], [], []):
        assert 0 == main(["build", "--project", project, *options])
        said = capsys.readouterr().err
        assert 1 == said.count("warning: `python3.9` is deprecated: no support since 2025-12-15, ")
        assert said.endswith("; change it to `python3.14` in `pyproject.toml`, line 7\n")
    assert "nothing to do" in said
