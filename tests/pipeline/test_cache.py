from __future__ import annotations

import os
import subprocess
import threading
import time
from typing import TYPE_CHECKING

import pytest

from lamina.archive.segment import Recipe, read_segment, splice
from lamina.bytecode.interpreter import CACHE as INTERPRETERS
from lamina.core.documents import seal
from lamina.core.store import Store
from lamina.core.values import Pin, Sha256, Wheel
from lamina.pipeline.cache import Area, Damage, Removed, clean, measure, verify
from wheels import make_wheel

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

DAY = 86_400


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "store")


def admit(store: Store, tmp_path: Path, name: str) -> Wheel:
    import hashlib

    content = make_wheel(tmp_path, name, "1.0", {f"{name}/x.txt": name * 5_000}).read_bytes()
    sha256 = Sha256(hashlib.sha256(content).hexdigest())
    pin = Pin(name=name, version="1.0", filename=f"{name}-1.0-py3-none-any.whl", sha256=sha256)
    path = store.wheel_destination(sha256, pin.filename)
    with store.writing(path) as file:
        file.write(content)
    return Wheel(pin=pin, path=path)


def write(path: Path, content: bytes, *, age_days: float = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    then = time.time() - age_days * DAY
    os.utime(path, (then, then))


def test_measure(store: Store) -> None:
    """Each area is counted, without the files of running processes."""
    write(store.entry("segments", "ab" * 32, ".seg"), bytes(10))
    write(store.entry("segments", "cd" * 32, ".seg"), bytes(20))
    write(store.root / "partial" / ("ef" * 32), bytes(5))
    write(store.root / "tmp" / "x", bytes(100))
    write(store.root / "in-use", b"")

    assert measure(store) == (Area(name="partial", files=1, bytes=5), Area(name="segments", files=2, bytes=30))


def test_measure_nothing(store: Store) -> None:
    """A missing store is empty."""
    assert measure(store) == ()


def test_sound_store(store: Store, tmp_path: Path) -> None:
    """Undamaged files pass verification, and keep their timestamps."""
    wheels = [admit(store, tmp_path, name) for name in "ab"]
    segments = [splice(wheel, Recipe(), store) for wheel in wheels]
    os.utime(segments[0].path, (1_000_000, 2_000_000))
    found = verify(store)
    status = segments[0].path.stat()

    assert found == ()
    assert (1_000_000, 2_000_000) == (status.st_atime, status.st_mtime)


def flipped(path: Path, position: int) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "flipped": lambda path: flipped(path, 200),
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-5]),
    "empty": lambda path: path.write_bytes(b""),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_damaged_wheel(store: Store, tmp_path: Path, damage: Callable[[Path], object]) -> None:
    """A wheel with a wrong hash is deleted; other files stay."""
    bad, good = (admit(store, tmp_path, name) for name in "ab")
    damage(bad.path)
    found = verify(store)

    assert [bad.path.relative_to(store.root)] == [each.path for each in found]
    assert (None, good.path) == (store.wheel(bad.pin.sha256), store.wheel(good.pin.sha256))
    assert not bad.path.parent.exists()


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_damaged_segment(store: Store, tmp_path: Path, damage: Callable[[Path], object]) -> None:
    """A damaged segment is deleted."""
    segment = splice(admit(store, tmp_path, "a"), Recipe(), store)
    damage(segment.path)
    found = verify(store)

    assert [segment.path.relative_to(store.root)] == [each.path for each in found]
    assert read_segment(segment.path) is None


def test_every_byte_of_a_segments_directory(store: Store, tmp_path: Path) -> None:
    """Every changed bit in a segment's central directory is detected."""
    segment = splice(admit(store, tmp_path, "a"), Recipe(), store)
    whole = segment.path.read_bytes()
    missed = []
    for position in range(segment.entries_bytes, segment.entries_bytes + segment.rows_bytes):
        write(segment.path, whole)
        flipped(segment.path, position)
        if not verify(store):
            missed.append(position - segment.entries_bytes)

    assert missed == []


def test_damaged_answer(store: Store) -> None:
    """A JSON file that lamina did not write there is deleted."""
    place = store.entry("index", "ab" * 32, ".json")
    write(place, b"[{")

    assert verify(store) == (
        Damage(
            path=place.relative_to(store.root),
            reason="its content does not match its checksum",
        ),
    )


def test_other_formats(store: Store, tmp_path: Path) -> None:
    """What another version of lamina wrote in another format is not damaged, and is deleted when it was not used for long."""
    segment = splice(admit(store, tmp_path, "a"), Recipe(), store)
    places = [store.entry("segments", "ab" * 32, ".seg"), store.entry("imports", "cd" * 32, ".json")]
    write(places[0], segment.path.read_bytes()[:-1] + b"\3")
    write(places[1], b'{"modules": {}}')
    for place in places:
        os.utime(place, (1_000_000, 2_000_000))

    assert verify(store) == ()
    assert [True, True] == [place.exists() for place in places]
    assert 2 == clean(store, older_than_days=1).files
    assert [False, False] == [place.exists() for place in places]
    assert segment.path.exists()


@pytest.mark.parametrize("content", [b"", b"{}", b'{"3.13": {}}'])
def test_a_damaged_list_of_interpreters(store: Store, content: bytes) -> None:
    """The file beside the areas is verified, too."""
    place = store.directory("") / INTERPRETERS
    place.write_bytes(content)

    assert [INTERPRETERS] == [str(damage.path) for damage in verify(store)]
    assert not place.exists()
    place.write_bytes(seal({}, place.name))
    assert () == verify(store)


def test_clean_everything(store: Store, tmp_path: Path) -> None:
    """Cleaning deletes everything, including unfinished downloads and the files of killed writers."""
    wheel = admit(store, tmp_path, "a")
    size = wheel.path.stat().st_size
    write(store.root / "partial" / ("ef" * 32), bytes(5))
    write(store.root / "tmp" / ("ab" * 12), bytes(100))
    removed = clean(store)

    assert Removed(files=2, bytes=size + 5, dry_run=False) == removed
    assert measure(store) == ()
    assert list((store.root / "tmp").iterdir()) == []


def test_clean_what_is_old(store: Store) -> None:
    """Recently read or written files stay."""
    old, written, read = (store.entry("segments", key * 32, ".seg") for key in ("aa", "bb", "cc"))
    write(old, bytes(10), age_days=31)
    write(written, bytes(10), age_days=29)
    write(read, bytes(10), age_days=31)
    os.utime(read, (time.time() - DAY, time.time() - 31 * DAY))
    removed = clean(store, older_than_days=30)

    assert Removed(files=1, bytes=10, dry_run=False) == removed
    assert [False, True, True] == [path.exists() for path in (old, written, read)]


def test_dry_run(store: Store) -> None:
    """A dry run counts files but deletes nothing."""
    place = store.entry("segments", "aa" * 32, ".seg")
    write(place, bytes(10))

    assert clean(store, dry_run=True) == Removed(files=1, bytes=10, dry_run=True)
    assert place.exists()


def test_clean_waits_for_builds(store: Store) -> None:
    """Cleaning waits while a build uses the store, and prints a note."""
    place = store.entry("segments", "aa" * 32, ".seg")
    write(place, bytes(10))
    notes: list[str] = []
    noted = threading.Event()

    class Reporter:
        def stage(self, name: str, *, total: int | None = None, unit: str = "items") -> None: ...
        def advance(self, amount: int) -> None: ...
        def warn(self, message: str, *, hint: str | None = None) -> None: ...
        def note(self, message: str) -> None:
            notes.append(message)
            noted.set()

    thread = threading.Thread(target=clean, args=(store,), kwargs={"reporter": Reporter()})
    with store.in_use():
        thread.start()
        assert noted.wait(60)
        during = place.exists()
    thread.join()

    assert (True, False) == (during, place.exists())
    assert notes == ["waiting until no other lamina process uses the store"]


def test_the_cache_of_uv_is_one_thing(tmp_path: Path) -> None:
    """Files of uv in the store are counted, but never verified or deleted by age; a full clean deletes them."""
    store = Store.open(tmp_path)
    cache = store.directory("uv")
    (cache / "broken.json").write_text("no json")
    (cache / "dangling").symlink_to(cache / "nothing")

    sizes = {area.name: (area.files, area.bytes) for area in measure(store)}
    damages = verify(store)
    aged = clean(store, older_than_days=0)
    assert (cache / "broken.json").exists()
    everything = clean(store)

    assert {"uv": (1, 7)} == sizes
    assert ((), 0, 1) == (damages, aged.files, everything.files)
    assert not cache.exists()


@pytest.mark.parametrize("kind", ["directory", "pipe", "link"])
@pytest.mark.parametrize("work", [verify, clean])
def test_another_kind_in_place_of_a_file(
    kind: str, work: Callable[[Store], object], store: Store, tmp_path: Path
) -> None:
    """It is removed like a damaged file, without following a link."""
    place, outside = store.entry("segments", "ab" * 32, ".seg"), tmp_path / "outside"
    write(outside, b"mine")
    os.utime(outside, (1, 2))
    place.parent.mkdir(parents=True)
    if kind == "directory":
        write(place / "x", b"")
    elif kind == "pipe":
        os.mkfifo(place)
    else:
        place.symlink_to(outside)
    work(store)

    assert not os.path.lexists(place)
    assert (b"mine", 2) == (outside.read_bytes(), outside.stat().st_mtime)


def test_files_of_others_in_the_store_stay(store: Store) -> None:
    """`LAMINA_CACHE_DIR` may name a directory with other files, such as the home directory."""
    others = [
        store.root / name for name in ("notes.txt", "Documents/cv.pdf", "wheels/ab/notes", "files/ab/" + "cd" * 32)
    ]
    for path in others:
        write(path, b"mine", age_days=100)
    write(store.entry("wheels", "ab" * 32) / "a.whl", b"")

    assert 1 == clean(store).files
    assert all(path.read_bytes() == b"mine" for path in others)


def test_a_store_whose_times_cannot_be_set_is_verified(store: Store, tmp_path: Path) -> None:
    """A read-only store is one; so is a file that no user may change, where the system has such files."""
    path = admit(store, tmp_path, "a").path
    if subprocess.run(["chattr", "+i", path], capture_output=True, check=False).returncode:
        pytest.skip("this file system or user cannot make files immutable")
    try:
        assert () == verify(store)
    finally:
        subprocess.run(["chattr", "-i", path], check=True)
