"""Links in the output directory and in the store, as a repository or a restored cache may contain them, are not followed."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from lamina.core.errors import ForeignFileError
from lamina.core.store import Store
from lamina.pipeline.build import build
from lamina.pipeline.cache import clean, verify
from lamina.project.options import BuildOptions
from services import make_service

if TYPE_CHECKING:
    from pathlib import Path

    from services import Service


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """Return a directory outside the project and the store, with files of names that lamina uses."""
    directory = tmp_path / "victim"
    for path in (
        "backup.zip",
        "build.json",
        "python3.9-x86_64/build.json",
        "python3.9-x86_64/x",
        "ab/id_rsa",
        "f" * 24,
    ):
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_bytes(b"")
    return directory


@pytest.fixture
def service(tmp_path: Path) -> Service:
    made = make_service(tmp_path)
    made.write()
    return made


def files(directory: Path) -> list[str]:
    return sorted(path.relative_to(directory).as_posix() for path in directory.rglob("*"))


@pytest.mark.parametrize(
    "place", [".lamina", ".lamina/layers", ".lamina/functions", ".lamina/lock", ".lamina/python3.9-x86_64"]
)
def test_a_link_in_the_output_directory_is_an_error(place: str, service: Service, victim: Path, tmp_path: Path) -> None:
    """A build writes and deletes nothing outside of the project; the command of the hint removes the link only."""
    store = Store.open(tmp_path / "store")
    link = service.root / place
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(victim / link.name if "." in link.name[1:] or link.name == "lock" else victim)
    before = files(victim)
    with pytest.raises(ForeignFileError, match=f"`{link}` is a symbolic link") as caught:
        build(service.root, BuildOptions(), store=store)

    assert (2, before) == (caught.value.exit_code, files(victim))
    assert caught.value.hint == f"remove it: `rm {link}`"
    link.unlink()
    assert not build(service.root, BuildOptions(), store=store).refused
    assert before == files(victim)


@pytest.mark.parametrize(
    "name", ["layers/common.zip", "functions/hello.zip", "build.json", "state.json", "history.jsonl"]
)
def test_a_link_in_place_of_a_file_is_replaced(name: str, service: Service, victim: Path, tmp_path: Path) -> None:
    link = service.root / ".lamina" / name
    link.parent.mkdir(parents=True)
    link.symlink_to(victim / "backup.zip")
    build(service.root, BuildOptions(), store=Store.open(tmp_path / "store"))

    assert b"" == (victim / "backup.zip").read_bytes()
    assert not link.is_symlink()


@pytest.mark.parametrize(
    "name",
    ["layers/common.zip", "functions/hello.zip", "build.json", "state.json", "history.jsonl", "lock", ".gitignore"],
)
@pytest.mark.parametrize("kind", ["directory", "pipe"])
def test_another_kind_in_place_of_a_file(name: str, kind: str, service: Service, tmp_path: Path) -> None:
    """A directory is an error with the command that removes it; a pipe is replaced or an error, and never waited for."""
    place = service.root / ".lamina" / name
    place.parent.mkdir(parents=True)
    place.mkdir() if kind == "directory" else os.mkfifo(place)
    raised: ForeignFileError | None = None
    try:
        build(service.root, BuildOptions(), store=Store.open(tmp_path / "store"))
    except ForeignFileError as error:
        raised = error
    if raised is None:
        assert name == ".gitignore" or (kind == "pipe" and place.is_file())
    else:
        assert f"rm {'-r ' if kind == 'directory' else ''}{place}" in str(raised.hint)


@pytest.mark.parametrize("area", ["tmp", "locks", "wheels", "segments", "selections", "partial"])
def test_a_link_in_the_store_is_an_error(area: str, service: Service, victim: Path, tmp_path: Path) -> None:
    """Neither builds nor the commands that delete from a store follow the link."""
    store = Store.open(tmp_path / "store")
    build(service.root, BuildOptions(), store=store)
    shutil.rmtree(store.root / area, ignore_errors=True)
    (store.root / area).symlink_to(victim)
    shutil.rmtree(service.root / ".lamina")
    before = files(victim)

    def again() -> None:
        service.add("gamma", "1.0", {"gamma.py": ""})
        service.write()
        build(service.root, BuildOptions(), store=Store.open(store.root))

    for work in (again, lambda: clean(Store.open(store.root)), lambda: verify(Store.open(store.root))):
        with pytest.raises(ForeignFileError, match=f"{area}` is a symbolic link") as caught:
            work()
        assert before == files(victim)
        assert caught.value.hint == f"remove it: `rm {store.root / area}`"


@pytest.mark.parametrize("area", ["segments", "wheels", "selections"])
@pytest.mark.parametrize("depth", [1, 2])
def test_damage_behind_a_link_in_the_store_is_not_deleted(
    area: str, depth: int, service: Service, victim: Path, tmp_path: Path
) -> None:
    """A file that is not what lamina expects is of somebody else if it is behind a link, at whatever depth."""
    root = tmp_path / "store"
    build(service.root, BuildOptions(), store=Store.open(root))
    place = next(path for path in sorted((root / area).rglob("*")) if path.is_file())
    link = next(path for path in place.parents if len(path.relative_to(root).parts) == depth)
    shutil.copytree(link, victim / "precious")
    shutil.rmtree(link)
    link.symlink_to(victim / "precious")
    place.write_bytes(b"letter")
    if area == "wheels":
        shutil.rmtree(root / "segments")
    shutil.rmtree(service.root / ".lamina")
    before = files(victim)
    with pytest.raises(ForeignFileError, match=f"`{link}` is a symbolic link"):
        build(service.root, BuildOptions(), store=Store.open(root))

    assert before == files(victim)


@pytest.mark.parametrize("name", ["letter.txt", "letter-1.0-py3-none-any.whl"])
def test_a_link_in_place_of_the_directory_of_a_wheel(name: str, service: Service, victim: Path, tmp_path: Path) -> None:
    """Files of the user that are found where a wheel is expected stay, however they are named."""
    root = tmp_path / "store"
    build(service.root, BuildOptions(), store=Store.open(root))
    directory = next(path for path in sorted((root / "wheels").rglob("*.whl"))).parent
    shutil.rmtree(directory)
    directory.symlink_to(victim)
    (victim / name).write_text("precious")
    shutil.rmtree(root / "segments")
    shutil.rmtree(service.root / ".lamina")
    before = files(victim)
    with pytest.raises(ForeignFileError, match=f"`{directory}` is a symbolic link"):
        build(service.root, BuildOptions(), store=Store.open(root))

    assert before == files(victim)


@pytest.mark.parametrize("area", ["segments", "wheels", "selections"])
def test_a_link_in_place_of_a_file_of_the_store_is_replaced(
    area: str, service: Service, victim: Path, tmp_path: Path
) -> None:
    """The user's file that the link leads to keeps its content, and is not used."""
    root = tmp_path / "store"
    build(service.root, BuildOptions(), store=Store.open(root))
    link = next(path for path in sorted((root / area).rglob("*")) if path.is_file())
    link.unlink()
    link.symlink_to(victim / "backup.zip")
    if area == "wheels":
        shutil.rmtree(root / "segments")
    shutil.rmtree(service.root / ".lamina")
    assert not build(service.root, BuildOptions(), store=Store.open(root)).refused

    assert b"" == (victim / "backup.zip").read_bytes()
    assert not link.is_symlink()


def test_the_root_of_the_store_and_the_project_may_be_links(service: Service, tmp_path: Path) -> None:
    """A user who moves a directory elsewhere links to it."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "store").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "project").symlink_to(service.root)
    made = build(tmp_path / "project", BuildOptions(), store=Store.open(tmp_path / "store"))

    assert made.build.layers[0].path.is_file()
    assert (tmp_path / "elsewhere" / "segments").is_dir()


def test_only_files_that_lamina_created_are_leftovers(tmp_path: Path) -> None:
    """What else is in the store's directories for temporary files and locks stays."""
    store = Store.open(tmp_path / "store")
    kept = [store.directory("tmp") / "notes.txt", store.directory("locks") / "letter"]
    for path in kept:
        path.write_text("mine")
    gone = [store.root / "tmp" / ("ab" * 12), store.root / "locks" / "wheel-ab"]
    for path in gone:
        path.touch()
    (store.root / "tmp" / ("cd" * 12)).symlink_to(kept[0])
    store.sweep()

    assert [True] * 2 == [path.exists() for path in kept]
    assert [False] * 2 == [path.exists() for path in gone]
