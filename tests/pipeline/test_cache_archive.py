from __future__ import annotations

import json
import os
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lamina.bytecode.interpreter import environment_variable
from lamina.bytecode.workers import Worker
from lamina.cli.main import main
from lamina.core.documents import seal
from lamina.core.errors import ArchiveError, ConfigError
from lamina.core.store import Store
from lamina.pipeline.build import build
from lamina.pipeline.cache_archive import add, export
from lamina.project.options import BuildOptions
from services import HANDLER, make_service

if TYPE_CHECKING:
    from services import Service

KEY = "ab" + "0" * 62


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Service:
    """A service with bytecode, for the running interpreter."""
    monkeypatch.setenv(environment_variable(sys.version_info[:2]), sys.executable)
    service = make_service(tmp_path)
    service.requires_python = ">=3.11"
    service.settings |= {"bytecode": '"reachable"', "runtime": '"python{}.{}"'.format(*sys.version_info)}
    return service


@pytest.fixture
def built(tmp_path: Path, service: Service) -> Store:
    """The store after a build with bytecode."""
    store = Store.open(tmp_path / "store")
    project = service.write()
    (project / "service" / "handlers" / "hello.py").write_text(f"import alpha, beta\n{HANDLER}")
    build(project, BuildOptions(), store=store)
    return store


def contents(store: Store) -> dict[str, bytes]:
    return {
        path.relative_to(store.root).as_posix(): path.read_bytes() for path in store.root.rglob("*") if path.is_file()
    }


def test_another_store_compiles_nothing(
    tmp_path: Path, service: Service, built: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With an imported archive, a build needs no compiler for its layers, and writes the same layer."""
    layer = next((service.root / ".lamina").glob("layers/*.zip"))
    before = layer.read_bytes()
    other = Store.open(tmp_path / "other")

    written = export(built, tmp_path / "bytecode.zip")
    added = add(tmp_path / "bytecode.zip", other)

    def refuse(*_: object) -> None:
        raise AssertionError("an interpreter was started")

    monkeypatch.setattr(Worker, "__init__", refuse)
    layer.unlink()
    build(service.root, BuildOptions(), store=other)
    assert before == layer.read_bytes()
    assert written.files == added.files > 0
    assert (0, added.files) == (
        (again := add(tmp_path / "bytecode.zip", other)).files,
        again.present,
    )


def test_archive_is_reproducible_and_has_no_wheels(tmp_path: Path, built: Store) -> None:
    """The archive contains neither wheels nor segments, and its bytes depend only on the files."""
    archives = [tmp_path / "one.zip", tmp_path / "two.zip"]
    for archive in archives:
        export(built, archive)

    one, two = (archive.read_bytes() for archive in archives)
    names = zipfile.ZipFile(archives[0]).namelist()
    assert one == two
    assert {"bytecode", "imports", "own-bytecode", "reach"} == {name.partition("/")[0] for name in names}
    assert not [name for name in names if name.startswith("bytecode/") and not name.endswith(".pack")]


@pytest.mark.parametrize(
    ("path", "content"),
    [
        (f"../imports/ab/{KEY}.json", b"{}"),
        (f"wheels/ab/{KEY}/demo-1.0-py3-none-any.whl", b"PK"),
        (f"imports/cd/{KEY}.json", b"{}"),
        (f"imports/ab/{KEY}.json", b"["),
        (f"imports/ab/{KEY}.json", seal({}, f"reach/{KEY}.json")),
        (f"imports/ab/{KEY}.json", seal({"modules": 1}, f"imports/{KEY}.json")),
        (f"reach/ab/{KEY}.json", seal({"demo": 1}, f"reach/{KEY}.json")),
        (f"bytecode/ab/{KEY}.pack", b"no segment"),
        (f"own-bytecode/ab/{KEY}.seg", b""),
        (f"bytecode/ab/{KEY}.seg", b""),
        ("interpreters.json", b"{}"),
    ],
)
def test_hostile_member(tmp_path: Path, path: str, content: bytes) -> None:
    """A member that `export` would not write is refused, and nothing of it reaches the store."""
    with zipfile.ZipFile(tmp_path / "bytecode.zip", "w") as archive:
        archive.writestr(path, content)
    store = Store.open(tmp_path / "store")

    with pytest.raises(ArchiveError) as caught:
        add(tmp_path / "bytecode.zip", store)

    assert "lamina cache export" in str(caught.value.hint)
    assert {} == contents(store)
    assert ["bytecode.zip"] == [found.name for found in tmp_path.iterdir() if found.is_file()]


def test_members_of_another_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Files in another format are left out with a note, so that a job that imports an old archive goes on."""
    archive = tmp_path / "bytecode.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr(f"bytecode/ab/{KEY}.pack", b"members and the magic number lamina\0\3")
        file.writestr(f"imports/ab/{KEY}.json", b'{"modules": {}}')
    store = Store.open(tmp_path / "store")

    monkeypatch.setenv("LAMINA_CACHE_DIR", str(store.root))
    assert 0 == main(["cache", "import", str(archive)])
    assert (
        f"note: 2 files of `{archive}` left out: another version of lamina wrote them, in another format\n"
        == capsys.readouterr().err
    )
    assert {"in-use"} == contents(store).keys()


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "bomb"])
def test_damaged_archive(tmp_path: Path, built: Store, damage: str) -> None:
    """A damaged archive, or one with a bomb, is refused; files that were added before it are intact."""
    path = tmp_path / "bytecode.zip"
    export(built, path)
    content = bytearray(path.read_bytes())
    if damage == "bomb":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(f"imports/ab/{KEY}.json", b" " * 300_000_000)
    elif damage == "flipped":
        content[100] ^= 255
        path.write_bytes(content)
    else:
        path.write_bytes(content[: 0 if damage == "empty" else -30])
    other = Store.open(tmp_path / "other")

    with pytest.raises(ArchiveError):
        add(path, other)

    assert contents(other).items() <= contents(built).items()


def test_damaged_files_are_not_exported(tmp_path: Path, built: Store) -> None:
    """Files of the store that an import would refuse are left out, so that another store can import the rest."""
    sound = export(built, tmp_path / "sound.zip").files
    for area in ("imports", "bytecode"):
        next((built.root / area).rglob("*.pack" if area == "bytecode" else "*.json")).write_bytes(b"damaged")

    written = export(built, tmp_path / "bytecode.zip")

    assert sound - 2 == written.files
    assert written.files == add(tmp_path / "bytecode.zip", Store.open(tmp_path / "other")).files


def test_places_that_are_not_for_archives(tmp_path: Path, built: Store) -> None:
    """Export replaces neither links nor directories nor files of the store, and import waits for no pipe."""
    (tmp_path / "link").symlink_to(tmp_path / "target")
    os.mkfifo(tmp_path / "pipe")
    before = contents(built)

    for place in (tmp_path / "link", tmp_path / "pipe", Path(), built.root / "bytecode.zip", tmp_path / "pipe" / "x"):
        with pytest.raises(ConfigError) as caught:
            export(built, place)
        assert caught.value.hint
    with pytest.raises(ConfigError, match="is not a regular file"):
        add(tmp_path / "pipe", built)

    assert before == contents(built)
    assert (tmp_path / "link").is_symlink()


def test_output(
    tmp_path: Path, built: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both commands say how many files were written, also as JSON."""
    archive = str(tmp_path / "bytecode.zip")

    monkeypatch.setenv("LAMINA_CACHE_DIR", str(built.root))
    assert 0 == main(["cache", "export", "--bytecode", archive])
    out = capsys.readouterr().out
    files = int(out.split()[1])
    assert out.startswith(f"wrote {files} files (")
    assert archive in out
    monkeypatch.setenv("LAMINA_CACHE_DIR", str(tmp_path / "other"))
    assert 0 == main(["cache", "import", archive, "--json"])
    assert (files, 0) == ((document := json.loads(capsys.readouterr().out))["files"], document["present"])
    assert 0 == main(["cache", "import", archive])
    assert (
        f"added 0 files (0.0 kB unpacked) to {tmp_path / 'other'}; {files} files there already"
        in capsys.readouterr().out
    )


def test_files_that_do_not_exist(tmp_path: Path) -> None:
    """An empty store and a missing archive are errors with a next step."""
    store = Store.open(tmp_path / "store")

    with pytest.raises(ConfigError, match="has no bytecode"):
        export(store, tmp_path / "bytecode.zip")
    for missing, expected in ((tmp_path / "missing.zip", "cannot read"), (tmp_path, "is not a regular file")):
        with pytest.raises(ConfigError, match=expected) as caught:
            add(missing, store)
        assert caught.value.hint


@pytest.mark.parametrize(
    "arguments",
    [["export"], ["import"], ["size", "--bytecode", "x.zip"], ["verify", "x.zip"], ["import", "--bytecode", "x.zip"]],
)
def test_arguments_that_do_not_fit(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """An action without its file, or a file without its action, is an error that shows the right command."""
    assert 2 == main(["cache", *arguments])
    assert "run `lamina cache" in capsys.readouterr().err
