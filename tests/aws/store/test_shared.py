"""The team store: one machine receives verified files of another, and wrong files are rejected without failing the build."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from aws.fakes import Cloud
from lamina.archive.segment import write_segment
from lamina.archive.zip.zipformat import encode
from lamina.aws.store.shared import SharedStore, TracedStore, split_url
from lamina.cli.main import main
from lamina.core.documents import seal
from lamina.core.reporter import Silent
from lamina.core.store import FORMAT, Store
from services import make_service
from wheels import make_wheel

if TYPE_CHECKING:
    from emulators import Emulator

KEY = "ab" + "0" * 62
BYTECODE = f"bytecode/ab/{KEY}.pack"


def _pack() -> bytes:
    with tempfile.TemporaryDirectory() as directory:
        store = Store(Path(directory))
        path = store.root / BYTECODE
        write_segment(path, [encode("python/__pycache__/a.cpython-313.pyc", b"bytecode")], store)
        return path.read_bytes()


PACK = _pack()


class Machine:
    """A machine with a local store and access to the team store."""

    def __init__(self, cloud: Cloud, root: Path) -> None:
        self.fake = cloud.connect()
        self.store = TracedStore(root)
        self.shared = SharedStore(self.fake.bucket("team"), "cache/", name="shop/python3.13-x86_64", reporter=Silent())

    def make(self, path: str, content: bytes) -> None:
        target = self.store.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        self.store.asked[target] = None

    def has(self, path: str) -> bytes | None:
        target = self.store.root / path
        return target.read_bytes() if target.exists() else None


@pytest.fixture
def cloud() -> Cloud:
    return Cloud()


@pytest.fixture
def first(cloud: Cloud, tmp_path: Path) -> Machine:
    """A machine that has created bytecode, downloaded a wheel, and added both to the team store."""
    machine = Machine(cloud, tmp_path / "first")
    machine.make(BYTECODE, PACK)
    # The file name of the wheel spells the project's name differently from the lock file.
    wheel = make_wheel(tmp_path, "typed_alpha", "1.0", {"typed_alpha.py": "A = 1\n"})
    sha256 = hashlib.sha256(wheel.read_bytes()).hexdigest()
    machine.make(f"wheels/{sha256[:2]}/{sha256}/{wheel.name}", wheel.read_bytes())
    machine.shared.pull(machine.store)
    machine.shared.push(machine.store)
    return machine


def second(cloud: Cloud, tmp_path: Path) -> Machine:
    return Machine(cloud, tmp_path / "second")


def wheel_of(machine: Machine) -> str:
    return next(path.relative_to(machine.store.root).as_posix() for path in machine.store.root.rglob("*.whl"))


def blob(cloud: Cloud, content: bytes) -> tuple[str, str]:
    return "team", f"cache/blobs/{hashlib.sha256(content).hexdigest()}"


def test_shared(cloud: Cloud, tmp_path: Path, first: Machine) -> None:
    """A second machine receives the files of the first one unchanged, and does not upload them again."""
    machine = second(cloud, tmp_path)
    pulled = machine.shared.pull(machine.store)
    machine.make(BYTECODE, PACK)

    assert first.has(wheel_of(first)) == machine.has(wheel_of(first))
    assert pulled == sum(
        path.stat().st_size for path in first.store.root.rglob("*") if path.is_file() and path.parent.name != "tmp"
    )
    assert 0 == machine.shared.push(machine.store)


@pytest.mark.parametrize("damage", [b"poison!!", b"byte"])
def test_damaged(cloud: Cloud, tmp_path: Path, first: Machine, damage: bytes) -> None:
    """A poisoned or truncated object is rejected, and a machine that creates the file itself replaces the object."""
    cloud.objects[blob(cloud, PACK)].content = damage
    cloud.objects[blob(cloud, PACK)].sha256 = hashlib.sha256(damage).hexdigest()
    machine = second(cloud, tmp_path)
    machine.shared.pull(machine.store)
    refused = machine.has(BYTECODE)
    machine.make(BYTECODE, PACK)
    sent = machine.shared.push(machine.store)

    assert (None, len(PACK)) == (refused, sent)
    assert PACK == cloud.objects[blob(cloud, PACK)].content
    assert PACK == Machine(cloud, tmp_path / "third").fake.bucket("team").get(blob(cloud, PACK)[1])


@pytest.mark.parametrize(
    ("path", "content"),
    [
        (BYTECODE, PACK[:-1]),
        (BYTECODE.replace("bytecode", "own-bytecode").replace(".pack", ".seg"), PACK),
        (BYTECODE.replace(KEY, "ab" + "1" * 62), PACK),
        (f"reach/ab/{KEY}.json", b"[]"),
        (f"reach/ab/{KEY}.json", b"[" * 200_000),
        (f"reach/ab/{KEY}.json", seal({"demo": ["demo.py"]}, f"imports/{KEY}.json")),
        (f"imports/ab/{KEY}.json", seal({"demo": ["demo.py"]}, f"imports/{KEY}.json")),
    ],
    ids=["cut", "other kind", "other key", "list", "deep", "other place", "other shape"],
)
def test_foreign(cloud: Cloud, tmp_path: Path, path: str, content: bytes) -> None:
    """A file that does not prove itself at its place is rejected, although its content has the hash in the list."""
    writer = Machine(cloud, tmp_path / "writer")
    writer.make(path, content)
    writer.shared.push(writer.store)
    machine = second(cloud, tmp_path)

    assert 0 == machine.shared.pull(machine.store)
    assert machine.has(path) is None


def test_bad_record(cloud: Cloud, tmp_path: Path) -> None:
    """A wheel with an invalid RECORD is rejected, although its content has the hash in its name."""
    wheel = make_wheel(tmp_path, "alpha", "1.0", {"alpha.py": "A = 1\n"})
    content = wheel.read_bytes().replace(b"alpha-1.0.dist-info/RECORD", b"alpha-1.0.dist-info/RECORX")
    sha256 = hashlib.sha256(content).hexdigest()
    path = f"wheels/{sha256[:2]}/{sha256}/{wheel.name}"
    writer = Machine(cloud, tmp_path / "writer")
    writer.make(path, content)
    writer.shared.push(writer.store)
    machine = second(cloud, tmp_path)
    machine.shared.pull(machine.store)

    assert None is machine.has(path)
    assert [] == [each for each in machine.store.root.rglob("*") if each.is_file()]


@pytest.mark.parametrize(
    "path",
    [
        "../escape",
        "/etc/passwd",
        "bytecode/../../x",
        f"bytecode/cd/{KEY}.pack",
        f"segments/ab/{KEY}.seg",
        f"wheels/ab/{KEY}/../../x.whl",
        f"wheels/ab/{KEY}/alpha-1.0-py3-none-any.whl",
        "interpreters.json",
    ],
)
def test_list_is_hostile(cloud: Cloud, tmp_path: Path, path: str) -> None:
    """A list that names files that are not shared, or a wheel with another hash, is ignored."""
    machine = second(cloud, tmp_path)
    content = b"evil"
    sha256 = hashlib.sha256(content).hexdigest()
    document = {"version": "1", "entries": [{"path": path, "sha256": sha256, "size": len(content)}]}
    listed = json.dumps(document).encode()
    objects = machine.fake.bucket("team")
    objects.put(f"cache/blobs/{sha256}", content, sha256=sha256)
    objects.put(f"cache/caches/{FORMAT}/shop/python3.13-x86_64.json", listed, sha256=hashlib.sha256(listed).hexdigest())

    assert 0 == machine.shared.pull(machine.store)
    assert [] == [each for each in tmp_path.rglob("*") if each.is_file() and each.read_bytes() == content]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"[" * 200_000,
        b'{"version": "2"}',
        b'{"version": "1", "entries": [{}]}',
        b'{"version": "1", "entries": [{"path": "x", "sha256": "0", "size": Infinity}]}',
    ],
    ids=["empty", "list", "nested", "later", "entries", "infinity"],
)
def test_no_list(cloud: Cloud, tmp_path: Path, content: bytes) -> None:
    """An invalid list is treated as an empty one."""
    machine = second(cloud, tmp_path)
    machine.fake.bucket("team").put(
        f"cache/caches/{FORMAT}/shop/python3.13-x86_64.json", content, sha256=hashlib.sha256(content).hexdigest()
    )

    assert 0 == machine.shared.pull(machine.store)


def test_url() -> None:
    """A URL has a bucket and an optional prefix."""
    assert [("team", ""), ("team", ""), ("team", "a/b/")] == [
        split_url(url) for url in ("s3://team", "s3://team/", "s3://team/a/b")
    ]


def build(project: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    shutil.rmtree(project / ".lamina", ignore_errors=True)
    monkeypatch.setenv("LAMINA_CACHE_DIR", str(cache))
    return main(["build", "--project", str(project)])


def test_builds_share(
    tmp_path: Path, ministack: Emulator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A second machine builds the same layer from the team store, even if the package index is gone."""
    bucket = ministack.make_bucket(f"t{uuid.uuid4().hex[:12]}")
    service = make_service(tmp_path)
    service.settings["store"] = f'"s3://{bucket}/cache"'
    project = service.write()
    codes = [build(project, tmp_path / "one", monkeypatch)]
    made = (project / ".lamina" / "layers" / "common.zip").read_bytes()
    shutil.rmtree(service.wheels)
    codes.append(build(project, tmp_path / "two", monkeypatch))

    assert [0, 0] == codes
    assert made == (project / ".lamina" / "layers" / "common.zip").read_bytes()
    assert "warning" not in capsys.readouterr().err
    assert 4 == len(ministack.keys(bucket))  # two wheels, the imports of the service's own modules, and the list


def test_unreachable(
    tmp_path: Path, ministack: Emulator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """If the team store is unavailable, the build continues with a warning."""
    service = make_service(tmp_path)
    service.settings["store"] = '"s3://no-such-bucket-anywhere"'
    code = build(service.write(), tmp_path / "cache", monkeypatch)

    assert 0 == code
    assert (
        "warning: building without the team store `s3://no-such-bucket-anywhere`: cannot read"
        in capsys.readouterr().err
    )
