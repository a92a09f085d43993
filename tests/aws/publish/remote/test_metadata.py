"""What the index keeps beside a layer: it is found again without the wheels, and nothing hostile gets into a build."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest

from aws.publish.remote.made import KEYS, Reader, publish
from lamina.archive.segment import AREA, Recipe
from lamina.aws.destination.bucket import Bucket
from lamina.aws.publish.remote.metadata import (
    ImportStore,
    metadata,
    metadata_paths,
    read_shared_paths,
    shared_paths_entry,
    shared_paths_name,
)
from lamina.aws.publish.remote_index import RemoteIndex
from lamina.bytecode.interpreter import environment_variable
from lamina.core.frozen import replace
from lamina.core.store import Store
from lamina.core.values import Pin, Sha256
from lamina.pipeline.build import build
from lamina.pipeline.context import BuildContext
from lamina.pipeline.plan import complete, resolve
from lamina.project import config
from lamina.project.options import BuildOptions
from services import HANDLER, Service, make_service

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from aws.publish.remote.made import Published
    from lamina.pipeline.plan import BuildPlan

RUNTIME = f"python{sys.version_info[0]}.{sys.version_info[1]}"
PINS = tuple(
    Pin(name=name, version="1", filename=f"{name}.whl", sha256=Sha256(name * 64), url=None) for name in ("a", "b")
)


def make(directory: Path, *, bytecode: str = "reachable") -> Service:
    service = make_service(directory)
    service.requires_python = ">=3.11"
    service.settings |= {"runtime": f'"{RUNTIME}"', "bytecode": f'"{bytecode}"'}
    (service.write() / "service" / "handlers" / "hello.py").write_text(f"import alpha\n{HANDLER}")
    return service


@pytest.fixture(scope="module", autouse=True)
def interpreter() -> Iterator[None]:
    """The running interpreter is the target's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(environment_variable(sys.version_info[:2]), sys.executable)
        yield


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Published:
    directory = tmp_path_factory.mktemp("published")
    return publish(make(directory), directory)


@pytest.fixture
def reader(published: Published, tmp_path: Path) -> Reader:
    return Reader(published.project, tmp_path, published.objects())


def import_store(directory: Path, reader: Reader, local: Store | None = None) -> ImportStore:
    """Return a store of another build, which has read nothing yet."""
    index = RemoteIndex(Bucket(objects=reader.objects, keys=KEYS))
    reader.objects.fake.calls.clear()
    return ImportStore(directory / "scratch", local or Store(directory / "local"), index)


def places(reader: Reader, store: Store) -> list[Path]:
    """Return where *store* keeps what decides the layer's bytecode: what the handlers reach, and what modules import."""
    return metadata_paths(reader.target, store)


def entry(store: Store, path: Path) -> Path:
    """Ask *store* for what another one keeps at *path*."""
    return store.entry(path.parent.parent.name, path.stem, ".json")


class TestMetadata:
    def test_of_reachable_bytecode(self, reader: Reader, published: Published) -> None:
        """What the handlers reach and what each distribution imports is kept, as the publisher's store has it."""
        paths = places(reader, published.store)

        assert ["reach", "imports", "imports"] == [path.parent.parent.name for path in paths]
        assert [path.read_bytes() for path in paths] == [published.payload(path.stem) for path in paths]

    def test_digest_is_known_without_wheels(self, reader: Reader, published: Published) -> None:
        """A machine with nothing knows from the index which layer it is to be."""
        assert published.layer.digest == reader.plan.digest
        assert [] == list(reader.store.directory("wheels").rglob("*.whl"))

    @pytest.mark.parametrize("bytecode", ["none", "all"])
    def test_of_other_bytecode(self, tmp_path: Path, bytecode: str) -> None:
        """Where the configuration decides what is compiled, nothing about imports is kept."""
        plan = built(tmp_path, bytecode)

        assert [] == metadata_paths(plan.targets[0], Store(tmp_path / "store"))

    def test_of_a_layer_without_functions(self, reader: Reader, published: Published) -> None:
        """A layer that no function has is not reached from anywhere."""
        bare = replace(reader.target, service=replace(reader.target.service, functions=()))

        assert [] == metadata_paths(bare, published.store)

    def test_shared_paths_are_kept(self, tmp_path: Path) -> None:
        """With all segments of a layer in the store, the paths that its distributions share are kept."""
        plan = built(tmp_path, "none")
        (layer,) = plan.targets[0].decided

        assert {shared_paths_name(layer.selection.pins, layer.recipe): b"{}"} == metadata(
            plan, Store(tmp_path / "store")
        )

    def test_shared_paths_are_not_guessed(self, tmp_path: Path) -> None:
        """If a segment of a layer is missing, nothing is said about shared paths."""
        plan = built(tmp_path, "none")
        store = Store(tmp_path / "store")
        next(store.directory(AREA).rglob("*.seg")).unlink()

        assert {} == metadata(plan, store)


def built(directory: Path, bytecode: str) -> BuildPlan:
    """Build a service with the store ``store``, and return its plan."""
    project, store = make(directory, bytecode=bytecode).write(), Store(directory / "store")
    build(project, BuildOptions(), store=store)
    return resolve(BuildContext.open(project, BuildOptions(), store=store), config.load(project))


class TestImportStore:
    def test_local_store_comes_first(self, tmp_path: Path, reader: Reader, published: Published) -> None:
        """What this machine knows is not asked of the bucket."""
        store = import_store(tmp_path, reader, published.store)

        assert all(entry(store, path).read_bytes() == path.read_bytes() for path in places(reader, published.store))
        assert [] == reader.objects.fake.calls

    def test_bucket_comes_second(self, tmp_path: Path, reader: Reader, published: Published) -> None:
        """What only the bucket knows is read from there, once."""
        store = import_store(tmp_path, reader)
        paths = places(reader, published.store)

        assert all(entry(store, path).read_bytes() == path.read_bytes() for path in [*paths, *paths])
        assert ["GetObject"] * len(paths) == reader.objects.fake.calls

    def test_bucket_is_trusted_for_one_run(self, tmp_path: Path, reader: Reader, published: Published) -> None:
        """What the bucket says stays out of this machine's store."""
        store = import_store(tmp_path, reader)

        found = [entry(store, path) for path in places(reader, published.store)]

        assert all(path.is_relative_to(tmp_path / "scratch") for path in found)
        assert not (tmp_path / "local").exists()

    def test_nobody_knows(self, tmp_path: Path, reader: Reader) -> None:
        """What neither has is not there, and can be written."""
        store = import_store(tmp_path, reader)

        path = store.entry("imports", "0" * 64, ".json")
        assert not path.exists()
        with store.writing(path) as file:
            file.write(b"{}")
        assert b"{}" == path.read_bytes()

    def test_other_areas(self, tmp_path: Path, reader: Reader) -> None:
        """The bucket is asked for nothing but imports."""
        store = import_store(tmp_path, reader)

        assert not store.entry(AREA, reader.name("alpha"), ".seg").exists()
        assert [] == reader.objects.fake.calls

    @pytest.mark.parametrize("number", [0, 1], ids=["reach", "imports"])
    @pytest.mark.parametrize(
        "payload",
        [b"", b"\xff", b"[]", b"null", b'{"alpha": "alpha.py"}', b'{"alpha": [1]}', b'{"modules": {}}', b"[" * 200_000],
        ids=["empty", "bytes", "list", "null", "text", "number", "mapping", "nested"],
    )
    def test_hostile(self, tmp_path: Path, reader: Reader, published: Published, number: int, payload: bytes) -> None:
        """What has another form than lamina writes is refused, and is not there."""
        path = places(reader, published.store)[number]
        reader.put(path.stem, payload)
        store = import_store(tmp_path, reader)

        assert not entry(store, path).exists()
        assert {path.stem} == store._index.refused

    def test_hostile_imports_are_followed_again(self, tmp_path: Path, published: Published) -> None:
        """If what the handlers reach is refused, imports are followed again, and the layer is the same."""
        objects = published.objects()
        first = Reader(published.project, tmp_path / "first", objects)
        for path in places(first, published.store):
            first.put(path.stem, b"[]")
        second = Reader(published.project, tmp_path / "second", objects)

        with second.artifacts:
            (layer,) = complete(second.target, second.artifacts).decided

        assert () == second.target.decided
        assert published.layer.digest == layer.digest


class TestSharedPaths:
    def test_round_trip(self) -> None:
        """What is kept of shared paths is read back; distributions that share none are left out."""
        shared = {"a": frozenset({"python/x.py", "python/y.py"}), "b": frozenset[str]()}
        name, content = shared_paths_entry(PINS, Recipe(), shared)

        assert shared_paths_name(PINS, Recipe()) == name
        assert {"a": shared["a"]} == read_shared_paths(content)

    def test_content_is_the_same_on_every_machine(self) -> None:
        """The content does not depend on the order in which paths were found."""
        _, content = shared_paths_entry(PINS, Recipe(), {"b": frozenset("stuvwxyz"), "a": frozenset({"r"})})

        assert b'{"a": ["r"], "b": ["s", "t", "u", "v", "w", "x", "y", "z"]}' == content

    def test_name_says_what_decides_it(self) -> None:
        """The wheels and the recipe decide what is shared, and not the order of the lock."""
        other = replace(PINS[1], sha256=Sha256("c" * 64))
        name = shared_paths_name(PINS, Recipe())

        assert name == shared_paths_name(PINS[::-1], Recipe())
        assert 3 == len(
            {
                name,
                shared_paths_name((PINS[0], other), Recipe()),
                shared_paths_name(PINS, Recipe(exclude=("*.txt",))),
            }
        )

    @pytest.mark.parametrize(
        "content",
        [b"", b"\xff", b"[]", b"1", json.dumps({"a": "xyz"}).encode(), json.dumps({"a": {"x": 1}}).encode()],
    )
    def test_hostile(self, content: bytes) -> None:
        """Anything but lists of paths by distribution is no answer."""
        assert read_shared_paths(content) is None
