from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
import zipfile
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from lamina.core.errors import (
    AccessDeniedError,
    DamagedFileError,
    DownloadError,
    FetchError,
    HashMismatchError,
    OfflineError,
    RecordMismatchError,
)
from lamina.core.reporter import Silent
from lamina.core.values import Pin, Sha256, Wheel
from lamina.fetch import download
from lamina.fetch.index import PackageIndex
from lamina.fetch.provider import WheelProvider, fetch
from locking import TARGET
from loopback import IndexServer
from wheels import make_wheel

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from lamina.core.store import Store


def wheel(server: IndexServer, name: str = "a", *, size: int = 0) -> Path:
    files = {f"{name}/data.bin": os.urandom(size)} if size else None
    return make_wheel(server.directory, name, "1.0", files, stored=set(files or ()))


def get(pins: Sequence[Pin], store: Store, index: PackageIndex) -> tuple[Wheel, ...]:
    return fetch(pins, store, index=index)


def leftovers(store: Store) -> list[str]:
    return sorted(
        path.relative_to(store.root).as_posix()
        for path in store.root.rglob("*")
        if path.is_file() and path.relative_to(store.root).parts[0] != "wheels"
    )


class Recorder(Silent):
    """A reporter that adds up the reported progress."""

    def __init__(self) -> None:
        self.total: int | None = None
        self.unit = ""
        self.amount = 0

    def stage(self, name: str, *, total: int | None = None, unit: str = "items") -> None:
        self.total, self.unit = total, unit

    def advance(self, amount: int) -> None:
        self.amount += amount

    def note(self, message: str) -> None:
        raise AssertionError(message)

    def warn(self, message: str, *, hint: str | None = None) -> None:
        raise AssertionError(message, hint)


def test_order_and_content(server: IndexServer, store: Store, index: PackageIndex) -> None:
    """Wheels are returned in the order of the pins, with their own names and the served bytes."""
    paths = [wheel(server, name, size=size) for name, size in (("b", 10), ("c", 900_000), ("a", 300_000))]
    pins = [server.pin(path) for path in paths]
    wheels = get(pins, store, index)

    assert pins == [each.pin for each in wheels]
    assert [path.name for path in paths] == [each.path.name for each in wheels]
    assert [path.read_bytes() for path in paths] == [each.path.read_bytes() for each in wheels]
    assert leftovers(store) == []


def test_once(server: IndexServer, store: Store, index: PackageIndex) -> None:
    """A wheel in the store is not downloaded again, even for a pin without a URL."""
    path = wheel(server)
    first = get([server.pin(path)], store, index)
    second = fetch([replace(server.pin(path), url=None)], store, index=PackageIndex(store.root, store, offline=True))

    assert [each.path for each in first] == [each.path for each in second]
    assert len(server.requests) == 1


def test_nothing_heavy_for_what_is_there(server: IndexServer, store: Store, index: PackageIndex) -> None:
    """With all wheels in the store, the network modules are not imported."""
    pin = server.pin(wheel(server))
    get([pin], store, index)
    script = (
        "import sys; from pathlib import Path; from lamina.fetch.provider import fetch; from lamina.fetch.index import PackageIndex\n"
        "from lamina.core.values import Pin; from lamina.core.store import Store\n"
        "store = Store.open(Path(sys.argv[1])); pin = Pin(name='a', version='1.0', filename=sys.argv[2], sha256=sys.argv[3])\n"
        "fetch([pin], store, index=PackageIndex(Path(), store))\n"
        "print(sorted({'urllib3', 'httpx', 'ssl', 'socket', 'concurrent.futures', 'platformdirs'} & set(sys.modules)))\n"
    )
    arguments = [sys.executable, "-c", script, str(store.root), pin.filename, pin.sha256]
    done = subprocess.run(arguments, check=True, capture_output=True, text=True)

    assert done.stdout == "[]\n"


def test_one_wheel_under_two_pins(server: IndexServer, store: Store, index: PackageIndex) -> None:
    """Two pins with the same content need one download."""
    path = wheel(server)
    wheels = get([server.pin(path), server.pin(path, size=False)], store, index)

    assert wheels[0].path == wheels[1].path
    assert len(server.requests) == 1


@pytest.mark.parametrize("sizes", [True, False])
def test_progress_adds_up(server: IndexServer, store: Store, index: PackageIndex, sizes: bool) -> None:
    """Progress ends at its total despite an interrupted transfer: in bytes if all sizes are known, else in files."""
    paths = [wheel(server, name, size=400_000) for name in ("a", "b")]
    server.behaviour.drop_after[paths[0].name] = [200_000]
    reporter = Recorder()
    fetch([server.pin(path, size=sizes) for path in paths], store, index=index, reporter=reporter)
    expected = (sum(path.stat().st_size for path in paths), "bytes") if sizes else (2, "items")

    assert expected == (reporter.total, reporter.unit)
    assert reporter.total == reporter.amount


def test_refusals_are_retried(server: IndexServer, store: Store, index: PackageIndex) -> None:
    """A request to a temporarily busy server is retried."""
    path = wheel(server)
    server.behaviour.refuse[path.name] = [503, 429, 500]
    get([server.pin(path)], store, index)

    assert [503, 429, 500, 200] == [request.status for request in server.requests]


def test_retry_after(server: IndexServer, store: Store, index: PackageIndex) -> None:
    """The pause before a retry follows the server's ``Retry-After`` header."""
    path = wheel(server)
    server.behaviour.refuse[path.name] = [503]
    server.behaviour.retry_after = "1"
    started = time.monotonic()
    get([server.pin(path)], store, index)

    assert time.monotonic() - started >= 1


def test_all_failures_in_one_error(server: IndexServer, store: Store, index: PackageIndex) -> None:
    """The error lists every file that could not be downloaded, and the store has all other files."""
    good, busy, gone = (wheel(server, name) for name in ("a", "b", "c"))
    server.behaviour.refuse[busy.name] = [503] * 20
    pins = [server.pin(path) for path in (gone, good, busy)]
    gone.unlink()
    with pytest.raises(DownloadError) as caught:
        get(pins, store, index)

    first, *causes = str(caught.value).splitlines()
    assert first.startswith("could not fetch 2 files: ")
    assert {f"`{path.name}`" for path in (gone, busy)} == set(first.partition(": ")[2].split(", "))
    assert [
        f"  could not download `{server.file_url(busy.name)}`: the server returned HTTP 503",
        f"  could not download `{server.file_url(gone.name)}`: the server returned HTTP 404",
    ] == sorted(causes)
    assert "regenerate the lock and review the change" in (caught.value.hint or "")
    assert store.wheel(pins[1].sha256) is not None


def test_no_server(server: IndexServer, store: Store, index: PackageIndex) -> None:
    """If the server does not exist, a download error is raised after a few attempts."""
    with IndexServer(server.directory) as other:
        pin = other.pin(wheel(server))
    with pytest.raises(DownloadError) as caught:
        get([pin], store, index)

    assert str(caught.value) == f"could not download `{pin.url}`: could not connect to the server"
    assert [] == server.requests


def test_broken_transfer_is_resumed(server: IndexServer, store: Store, index: PackageIndex) -> None:
    """After an interrupted transfer, only the missing bytes are downloaded."""
    path = wheel(server, size=1_000_000)
    server.behaviour.drop_after[path.name] = [300_000, 262_144]
    (got,) = get([server.pin(path)], store, index)
    ranges = [request.range for request in server.requests_for(path.name)]

    assert path.read_bytes() == got.path.read_bytes()
    assert ranges[0] is None
    assert len(ranges) == 3
    assert all(value is not None and value != "bytes=0-" for value in ranges[1:])


@pytest.mark.parametrize("chunked", [True, False])
def test_broken_transfer_without_ranges(server: IndexServer, store: Store, index: PackageIndex, chunked: bool) -> None:
    """If the server does not support ranges, an interrupted file is downloaded again from its start."""
    path = wheel(server, size=1_000_000)
    server.behaviour.drop_after[path.name] = [300_000]
    server.behaviour.ranges = False
    server.behaviour.chunked = chunked
    (got,) = get([server.pin(path, size=False)], store, index)

    assert path.read_bytes() == got.path.read_bytes()


@pytest.mark.parametrize("status", [206, 400, 403, 404, 416, 429, 500, 501, 503])
def test_refused_resume(server: IndexServer, store: Store, index: PackageIndex, status: int) -> None:
    """If the server refuses to resume a transfer, however it says so, the file is downloaded again from its start."""
    path = wheel(server, size=1_000_000)
    server.behaviour.drop_after[path.name] = [300_000, 200_000]
    server.behaviour.range_status = status
    (got,) = get([server.pin(path)], store, index)

    assert path.read_bytes() == got.path.read_bytes()
    assert None is server.requests[-1].range
    assert leftovers(store) == []


@pytest.mark.parametrize("status", [206, 403, 404, 500])
def test_refused_resume_in_the_next_run(
    server: IndexServer, store: Store, index: PackageIndex, status: int, tmp_path: Path
) -> None:
    """A partial file from a run that ended does not make later runs fail."""
    path = wheel(server, size=10_000)
    pin = server.pin(path)
    (store.directory("partial") / pin.sha256).write_bytes(path.read_bytes()[:5_000])
    server.behaviour.range_status = status
    (got,) = get([pin], store, index)

    assert path.read_bytes() == got.path.read_bytes()
    assert "bytes=5000-" == server.requests[0].range


def test_parts_of_different_files(server: IndexServer, store: Store, index: PackageIndex) -> None:
    """If the parts of a resumed transfer do not have the locked hash together, the file is downloaded from its start."""
    path = wheel(server, size=1_000_000)
    content = path.read_bytes()
    server.behaviour.drop_after[path.name] = [300_000]
    pin = server.pin(path)

    class Changing(Recorder):
        def advance(self, amount: int) -> None:
            # The first response is of another file.
            server.behaviour.replace.pop(path.name, None)

    server.behaviour.replace[path.name] = bytes(len(content))
    (got,) = fetch([pin], store, index=index, reporter=Changing())

    assert content == got.path.read_bytes()


def test_partial_file_survives_an_outage(server: IndexServer, store: Store, index: PackageIndex) -> None:
    """If the server is not available, the bytes received so far are kept for the next run."""
    path = wheel(server, size=10_000)
    pin = server.pin(path)
    partial = store.directory("partial") / pin.sha256
    partial.write_bytes(path.read_bytes()[:5_000])
    server.behaviour.refuse[path.name] = [503] * 20
    with pytest.raises(DownloadError):
        get([pin], store, index)

    assert path.read_bytes()[:5_000] == partial.read_bytes()


DOWNLOAD = """
import sys
from pathlib import Path
from lamina.fetch.provider import WheelProvider, fetch
from lamina.fetch import download
from lamina.fetch.index import PackageIndex
from lamina.core.values import Pin
from lamina.core.store import Store
store = Store.open(Path(sys.argv[1]))
pins = []
for row in sys.argv[3:]:
    filename, sha256, url, size = row.split("|")
    name = filename.partition("-")[0]
    pins.append(Pin(name=name, version="1.0", filename=filename, sha256=sha256, url=url, size=int(size)))
wheels = fetch(pins, store, index=PackageIndex(Path(sys.argv[2]), store, backoff=0.0))
print(len(wheels))
"""


def command(store: Store, project: Path, pins: Sequence[Pin]) -> list[str]:
    rows = [f"{pin.filename}|{pin.sha256}|{pin.url}|{pin.size}" for pin in pins]
    return [sys.executable, "-c", DOWNLOAD, str(store.root), str(project), *rows]


def test_killed_and_resumed(server: IndexServer, store: Store, index: PackageIndex, tmp_path: Path) -> None:
    """After SIGKILL during a download, the next run requests only the missing bytes, and leaves no partial file."""
    path = wheel(server, size=4_000_000)
    pin = server.pin(path)
    partial = store.root / "partial" / pin.sha256
    server.behaviour.seconds_per_chunk = 0.2
    process = subprocess.Popen(command(store, tmp_path, [pin]))
    deadline = time.monotonic() + 60
    while (not partial.exists() or partial.stat().st_size < 500_000) and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    received = partial.stat().st_size
    server.behaviour.seconds_per_chunk = 0
    half = store.wheel(pin.sha256)
    (got,) = get([pin], store, index)

    assert -signal.SIGKILL == process.returncode
    assert half is None
    assert 500_000 <= received < path.stat().st_size
    assert f"bytes={received}-" == server.requests_for(path.name)[-1].range
    assert path.read_bytes() == got.path.read_bytes()
    assert leftovers(store) == []


@pytest.mark.parametrize("left", [b"garbage", b"g" * 5_000])
def test_damaged_partial(server: IndexServer, store: Store, index: PackageIndex, left: bytes) -> None:
    """If a partial file is damaged, the file is downloaded from its start."""
    path = wheel(server, size=2_000)
    pin = server.pin(path)
    (store.directory("partial") / pin.sha256).write_bytes(left)
    (got,) = get([pin], store, index)

    assert path.read_bytes() == got.path.read_bytes()


@pytest.mark.parametrize("sizes", [True, False])
def test_whole_partial(server: IndexServer, store: Store, index: PackageIndex, sizes: bool) -> None:
    """A complete partial file is added to the store without a request."""
    path = wheel(server)
    pin = server.pin(path, size=sizes)
    (store.directory("partial") / pin.sha256).write_bytes(path.read_bytes())
    (got,) = get([pin], store, index)

    assert path.read_bytes() == got.path.read_bytes()
    assert server.requests == []


def test_partial_longer_than_the_file(server: IndexServer, store: Store, index: PackageIndex) -> None:
    """If the server rejects the requested range, the file is downloaded from its start."""
    path = wheel(server)
    pin = server.pin(path, size=False)
    (store.directory("partial") / pin.sha256).write_bytes(bytes(1_000_000))
    (got,) = get([pin], store, index)

    assert path.read_bytes() == got.path.read_bytes()
    assert [416, 200] == [request.status for request in server.requests]


def test_each_wheel_once_among_processes(server: IndexServer, store: Store, tmp_path: Path) -> None:
    """Eight processes that need the same wheels download each of them once."""
    pins = [server.pin(wheel(server, f"p{number}", size=100_000)) for number in range(6)]
    processes = [subprocess.Popen(command(store, tmp_path, pins), stdout=subprocess.PIPE, text=True) for _ in range(8)]
    answers = [process.communicate()[0] for process in processes]

    assert ["6\n"] * 8 == answers
    assert sorted(pin.filename for pin in pins) == sorted(
        request.path.rsplit("/", 1)[-1] for request in server.requests
    )
    assert leftovers(store) == []


def test_wrong_hash(server: IndexServer, store: Store, index: PackageIndex) -> None:
    """A file of the right length with another hash raises an error and is deleted."""
    path = wheel(server)
    pin = server.pin(path)
    other = bytes(path.stat().st_size)
    server.behaviour.replace[path.name] = other
    with pytest.raises(HashMismatchError) as caught:
        get([pin], store, index)

    expected = (path.name, pin.sha256, hashlib.sha256(other).hexdigest())
    assert expected == (caught.value.filename, caught.value.expected, caught.value.actual)
    assert (None, []) == (store.wheel(pin.sha256), leftovers(store))


def test_wrong_hashes_are_all_named(server: IndexServer, store: Store, index: PackageIndex) -> None:
    """Several files with wrong hashes raise one error with the expected and actual hash of each."""
    paths = [wheel(server, name) for name in ("a", "b")]
    pins = [replace(server.pin(path), sha256=Sha256(letter * 64)) for path, letter in zip(paths, "de", strict=True)]
    with pytest.raises(FetchError) as caught:
        get(pins, store, index)

    first, *causes = str(caught.value).splitlines()
    assert first.startswith("could not fetch 2 files: ")
    assert len(causes) == len(pins)
    assert all(any(f"expected sha256 {pin.sha256}" in cause for cause in causes) for pin in pins)


@pytest.mark.parametrize("sizes", [True, False])
def test_truncated(server: IndexServer, store: Store, index: PackageIndex, sizes: bool) -> None:
    """A file that is shorter than the locked size is not added to the store."""
    path = wheel(server)
    server.behaviour.replace[path.name] = path.read_bytes()[:-10]
    pin = server.pin(path, size=sizes)
    with pytest.raises(DownloadError if sizes else HashMismatchError):
        get([pin], store, index)

    assert (None, []) == (store.wheel(pin.sha256), leftovers(store))


def test_announced_longer(server: IndexServer, store: Store, index: PackageIndex) -> None:
    """A file with a larger announced size than the locked one is not downloaded."""
    path = wheel(server)
    server.behaviour.append[path.name] = bytes(1000)
    pin = server.pin(path)
    with pytest.raises(DownloadError) as caught:
        get([pin], store, index)

    size = path.stat().st_size
    assert str(caught.value) == (f"`{path.name}` should have {size:,} bytes, but the server sent {size + 1000:,} bytes")
    assert leftovers(store) == []


def test_longer_without_announcement(server: IndexServer, store: Store, index: PackageIndex) -> None:
    """A body that is longer than the locked size is cut off."""
    path = wheel(server)
    server.behaviour.append[path.name] = bytes(50_000_000)
    server.behaviour.chunked = True
    with pytest.raises(DownloadError) as caught:
        get([server.pin(path)], store, index)

    assert str(caught.value) == f"`{path.name}` should have {path.stat().st_size:,} bytes, but the server sent more"
    assert leftovers(store) == []


def test_longer_than_any_distribution(
    server: IndexServer, store: Store, index: PackageIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the lock has no size, a body that exceeds lamina's limit is cut off, and the error states the limit."""
    path = wheel(server)
    server.behaviour.chunked = True
    monkeypatch.setattr(download, "LARGEST_FILE_BYTES", 100)
    with pytest.raises(DownloadError) as caught:
        get([replace(server.pin(path), size=None)], store, index)

    assert str(caught.value) == f"`{path.name}` exceeds 100 bytes, the largest download that lamina accepts"
    assert leftovers(store) == []


def test_verification_comes_before_admission(server: IndexServer, store: Store, index: PackageIndex) -> None:
    """A wheel with contents that do not match its RECORD is never in the store."""
    path = wheel(server)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("a/unrecorded.py", b"")
    pin = server.pin(path)

    with pytest.raises(RecordMismatchError) as caught:
        get([pin], store, index)

    assert "`a/unrecorded.py`" in str(caught.value)
    assert (None, []) == (store.wheel(pin.sha256), leftovers(store))


@pytest.mark.parametrize("as_url", [True, False])
def test_local_files(server: IndexServer, store: Store, as_url: bool, tmp_path: Path) -> None:
    """Local files are verified and copied, with ``--offline`` too."""
    path = wheel(server)
    place: dict[str, object] = {"url": path.as_uri()} if as_url else {"url": None, "path": path}
    pin = replace(server.pin(path), **place)  # type: ignore[arg-type]
    (got,) = fetch([pin], store, index=PackageIndex(store.root, store, offline=True))
    content = path.read_bytes()
    path.unlink()

    assert content == got.path.read_bytes()
    assert server.requests == []


def test_local_file_with_another_hash(server: IndexServer, store: Store, tmp_path: Path) -> None:
    """A local file that changed after it was locked raises an error."""
    path = wheel(server)
    pin = replace(server.pin(path), url=None, path=path)
    path.write_bytes(bytes(path.stat().st_size))
    with pytest.raises(HashMismatchError):
        fetch([pin], store, index=PackageIndex(tmp_path, store))

    assert (None, []) == (store.wheel(pin.sha256), leftovers(store))


def test_local_file_that_is_missing(server: IndexServer, store: Store, tmp_path: Path) -> None:
    """The error names a local file that does not exist."""
    path = wheel(server)
    pin = replace(server.pin(path), url=None, path=path)
    path.unlink()
    with pytest.raises(FetchError) as caught:
        fetch([pin], store, index=PackageIndex(tmp_path, store))

    assert str(caught.value) == f"cannot read `{path}`: No such file or directory"


def test_offline_names_all_that_is_missing(server: IndexServer, store: Store, index: PackageIndex) -> None:
    """With ``--offline``, no request is sent, and the error lists all missing files."""
    a, b, c = (server.pin(wheel(server, name)) for name in "abc")
    get([b], store, index)
    requests = len(server.requests)
    with pytest.raises(OfflineError) as caught:
        fetch([a, b, c], store, index=PackageIndex(store.root, store, offline=True))

    assert str(caught.value) == (
        "`--offline` prevents the download of files missing from the store: `a-1.0-py3-none-any.whl`, `c-1.0-py3-none-any.whl`"
    )
    assert requests == len(server.requests)


def test_name_that_is_a_path(server: IndexServer, store: Store, index: PackageIndex) -> None:
    """A file name in a lock cannot cause a write outside the store."""
    pin = replace(server.pin(wheel(server)), filename="../../a.whl")
    with pytest.raises(FetchError) as caught:
        get([pin], store, index)

    assert str(caught.value) == "the lock has an invalid file name: `../../a.whl` is not a plain file name"
    assert leftovers(store) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may delete from every directory")
def test_damaged_wheel_that_cannot_be_deleted(server: IndexServer, store: Store, index: PackageIndex) -> None:
    """A damaged wheel in a directory that is read-only is an error; it is neither used nor looked at forever."""
    pin = server.pin(wheel(server))
    (got,) = get([pin], store, index)
    got.path.write_bytes(b"damaged")
    got.path.parent.chmod(0o500)
    try:
        with pytest.raises(DamagedFileError, match=pin.filename):
            get([pin], store, index)
        with pytest.raises(DamagedFileError, match=pin.filename):
            WheelProvider(store, index, target=TARGET).all([pin])
    finally:
        got.path.parent.chmod(0o700)


def test_pin_without_a_place(server: IndexServer, store: Store, index: PackageIndex) -> None:
    """A pin without a URL or path is looked up in the indexes, and raises an error if they do not have it."""
    listed = replace(server.pin(wheel(server)), url=None)
    get([listed], store, index)
    pin = replace(listed, sha256=Sha256("0" * 64))
    with pytest.raises(DownloadError) as caught:
        get([pin], store, index)

    assert str(caught.value) == f"`{pin.filename}` has no URL or path in the lock"


def test_access_denied(server: IndexServer, store: Store, tmp_path: Path, home: Path) -> None:
    """The error names the URL that was denied, and the hint lists the places searched for credentials."""
    paths = [wheel(server, name) for name in "ab"]
    with IndexServer(server.directory, users={"user": "secret"}) as private:
        index = PackageIndex(tmp_path, store, index_url=private.simple)
        with pytest.raises(AccessDeniedError) as caught:
            get([private.pin(paths[0])], store, index)
        index.client.close()

    url = private.file_url(paths[0].name)
    assert str(caught.value) == f"access to `{url}` was denied (HTTP 401): lamina found no credentials for it"
    assert caught.value.hint == (
        "set your credentials: lamina searches the index URL, `UV_INDEX_<NAME>_USERNAME` and "
        f"`UV_INDEX_<NAME>_PASSWORD`, `{home / '.netrc'}` (does not exist), and keyring"
    )


def test_rejected_credentials(
    server: IndexServer, store: Store, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Credentials that the server rejects are told from missing ones, and the variables of the named index are named."""
    path = wheel(server, "a")
    (home / ".netrc").touch()
    monkeypatch.setenv("UV_INDEX_OUR_INDEX_USERNAME", "user")
    monkeypatch.setenv("UV_INDEX_OUR_INDEX_PASSWORD", "wrong-password")
    with IndexServer(server.directory, users={"user": "secret"}) as private:
        monkeypatch.setenv("UV_DEFAULT_INDEX", f"our-index={private.simple}")
        index = PackageIndex(tmp_path, store)
        with pytest.raises(AccessDeniedError) as caught:
            get([private.pin(path)], store, index)
        index.client.close()

    assert str(caught.value).endswith("(HTTP 401): the server rejected the credentials that lamina sent")
    assert (caught.value.hint or "").startswith(
        "correct your credentials: lamina searches the index URL, `UV_INDEX_OUR_INDEX_USERNAME` and "
        f"`UV_INDEX_OUR_INDEX_PASSWORD`, `{home / '.netrc'}`, and keyring"
    )
    assert "wrong-password" not in f"{caught.value} {caught.value.hint}"


@pytest.mark.live
def test_real_index(store: Store, tmp_path: Path) -> None:
    """A small wheel is downloaded from the configured index, with this machine's certificates and proxies."""
    index = PackageIndex(tmp_path, store)
    hashes = {"4721f391ed90541fddacab5acf947aa0d3dc7d27b2e1e8eda2be8970586c3274"}
    (found,) = index.files("six", "1.17.0", hashes, None, target=TARGET)
    pin = Pin(
        name="six",
        version="1.17.0",
        filename=found.filename,
        sha256=Sha256(found.sha256),
        url=found.url,
        size=found.size,
    )
    (got,) = get([pin], store, index)
    index.client.close()

    assert got.path.name == "six-1.17.0-py2.py3-none-any.whl"


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[IndexServer]:
    """Return another index."""
    (tmp_path / "mirror").mkdir()
    with IndexServer(tmp_path / "mirror") as mirror:
        yield mirror


@pytest.mark.parametrize("kind", ["other bytes", "too long", "too short", "gone", "denied", "broken", "damaged rest"])
def test_next_index(server: IndexServer, mirror: IndexServer, store: Store, tmp_path: Path, kind: str) -> None:
    """If an index does not serve the bytes that it promises, the file is downloaded from the next index that has it."""
    path = wheel(server, size=1_000)
    content = path.read_bytes()
    (mirror.directory / path.name).write_bytes(content)
    pin = server.pin(path, size=kind != "too short")
    index = PackageIndex(tmp_path, store, index_url=mirror.simple, extra_index_urls=[server.simple], backoff=0.0)
    (listed,) = index.files("a", "1.0", {pin.sha256}, None, target=TARGET)
    match kind:
        case "other bytes":
            server.behaviour.replace[path.name] = bytes(len(content))
        case "too long":
            server.behaviour.append[path.name] = b"x"
        case "too short":
            server.behaviour.replace[path.name] = content[:-1]
        case "damaged rest":
            server.behaviour.raw[path.name] = b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n" + bytes(500)
        case _:
            server.behaviour.refuse[path.name] = [{"gone": 404, "denied": 403, "broken": 500}[kind]] * 20
    reporter = Recorder()
    (got,) = fetch([pin], store, index=index, reporter=reporter)
    index.client.close()

    assert server.file_url(path.name) == listed.url
    assert content == got.path.read_bytes()
    assert reporter.total == reporter.amount
    assert {200, 206} >= {request.status for request in mirror.requests_for(path.name)} != set()


def test_no_index_has_the_bytes(server: IndexServer, mirror: IndexServer, store: Store, tmp_path: Path) -> None:
    """If all indexes serve other bytes, the error names each, and nothing is in the store."""
    path = wheel(server)
    (mirror.directory / path.name).write_bytes(path.read_bytes())
    pin = server.pin(path)
    for each, letter in ((server, b"x"), (mirror, b"y")):
        each.behaviour.replace[path.name] = letter * len(path.read_bytes())
    index = PackageIndex(tmp_path, store, index_url=mirror.simple, extra_index_urls=[server.simple], backoff=0.0)
    with pytest.raises(FetchError) as caught:
        fetch([pin], store, index=index)
    index.client.close()

    summary, *causes = str(caught.value).splitlines()
    assert (
        f"could not fetch `{path.name}` from `{server.file_url(path.name)}`, `{mirror.file_url(path.name)}`" == summary
    )
    assert 2 == len(causes)
    assert all(f"expected sha256 {pin.sha256}" in cause for cause in causes)
    assert (None, []) == (store.wheel(pin.sha256), leftovers(store))


def test_indexes_that_are_not_asked(server: IndexServer, mirror: IndexServer, store: Store, tmp_path: Path) -> None:
    """A file of a package that is locked to one index is not looked up in others, which must not learn its name."""
    path = wheel(server)
    (mirror.directory / path.name).write_bytes(path.read_bytes())
    server.behaviour.replace[path.name] = b"x"
    index = PackageIndex(tmp_path, store, index_url=mirror.simple, backoff=0.0)
    with pytest.raises(FetchError):
        fetch([replace(server.pin(path), index=server.simple)], store, index=index)
    index.client.close()

    assert [] == mirror.requests


def test_failures_are_in_the_order_of_the_lock(server: IndexServer, store: Store, index: PackageIndex) -> None:
    """The error lists the files as the lock does, whichever fails first."""
    paths = [wheel(server, name, size=size) for name, size in (("c", 10), ("a", 9_000), ("b", 5_000))]
    pins = [server.pin(path) for path in paths]
    for path in paths:
        server.behaviour.replace[path.name] = b"x"
    with pytest.raises(FetchError) as caught:
        get(pins, store, index)

    first, *_ = str(caught.value).splitlines()
    assert "could not fetch 3 files: " + ", ".join(f"`{path.name}`" for path in paths) == first
