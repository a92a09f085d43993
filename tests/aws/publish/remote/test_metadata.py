"""Metadata in the index: it replaces the wheels, and hostile entries do not affect a build."""

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
    """Use the running interpreter as the target's interpreter."""
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
    """Return the paths in *store* of the metadata that determine the layer's bytecode."""
    return metadata_paths(reader.target, store)


def entry(store: Store, path: Path) -> Path:
    """Return the path in *store* for the entry that another store has at *path*."""
    return store.entry(path.parent.parent.name, path.stem, ".json")


class TestMetadata:
    def test_of_reachable_bytecode(self, reader: Reader, published: Published) -> None:
        """The modules that handlers reach and the imports of each distribution are uploaded unchanged from the publisher's store."""
        paths = places(reader, published.store)

        assert ["reach", "imports", "imports"] == [path.parent.parent.name for path in paths]
        assert [path.read_bytes() for path in paths] == [published.payload(path.stem) for path in paths]

    def test_digest_is_known_without_wheels(self, reader: Reader, published: Published) -> None:
        """A machine without wheels determines the layer's digest from the index."""
        assert published.layer.digest == reader.plan.digest
        assert [] == list(reader.store.directory("wheels").rglob("*.whl"))

    def test_of_functions_with_their_own_sources(self, tmp_path: Path) -> None:
        """Each package has an entry for the modules that its handlers reach, and the digest is known from all of them."""
        service = make(tmp_path)
        service.functions["own"] = "app.lambda_handler"
        service.sources["own"] = '["functions/own/*"]'
        (service.root / "functions" / "own").mkdir(parents=True)
        (service.root / "functions" / "own" / "app.py").write_text(f"import beta\n{HANDLER}")
        published = publish(service, tmp_path)
        reader = Reader(published.project, tmp_path / "reader", published.objects())

        kinds = [path.parent.parent.name for path in places(reader, published.store)]

        assert ["reach", "reach", "imports", "imports"] == kinds
        assert published.layer.digest == reader.plan.digest
        assert [] == list(reader.store.directory("wheels").rglob("*.whl"))

    @pytest.mark.parametrize("bytecode", ["none", "all"])
    def test_of_other_bytecode(self, tmp_path: Path, bytecode: str) -> None:
        """If the configuration alone decides what is compiled, no imports are uploaded."""
        plan = built(tmp_path, bytecode)

        assert [] == metadata_paths(plan.targets[0], Store(tmp_path / "store"))

    def test_of_a_layer_without_functions(self, reader: Reader, published: Published) -> None:
        """Nothing is uploaded for a layer that no function uses."""
        bare = replace(reader.target, service=replace(reader.target.service, functions=()))

        assert [] == metadata_paths(bare, published.store)

    def test_shared_paths_are_kept(self, tmp_path: Path) -> None:
        """If the store has all segments of a layer, the paths that its distributions share are uploaded."""
        plan = built(tmp_path, "none")
        (layer,) = plan.targets[0].decided

        assert {shared_paths_name(layer.selection.pins, layer.recipe): b"{}"} == metadata(
            plan, Store(tmp_path / "store")
        )

    def test_shared_paths_are_not_guessed(self, tmp_path: Path) -> None:
        """If a segment of a layer is missing, no entry for shared paths is uploaded."""
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
        """A file in the local store is used without reading the bucket."""
        store = import_store(tmp_path, reader, published.store)

        assert all(entry(store, path).read_bytes() == path.read_bytes() for path in places(reader, published.store))
        assert [] == reader.objects.fake.calls

    def test_bucket_comes_second(self, tmp_path: Path, reader: Reader, published: Published) -> None:
        """A file that only the bucket has is read from there, once."""
        store = import_store(tmp_path, reader)
        paths = places(reader, published.store)

        assert all(entry(store, path).read_bytes() == path.read_bytes() for path in [*paths, *paths])
        assert ["GetObject"] * len(paths) == reader.objects.fake.calls

    def test_bucket_is_trusted_for_one_run(self, tmp_path: Path, reader: Reader, published: Published) -> None:
        """Files from the bucket are not added to the local store."""
        store = import_store(tmp_path, reader)

        found = [entry(store, path) for path in places(reader, published.store)]

        assert all(path.is_relative_to(tmp_path / "scratch") for path in found)
        assert not (tmp_path / "local").exists()

    def test_nobody_knows(self, tmp_path: Path, reader: Reader) -> None:
        """A file that neither has does not exist, and can be written."""
        store = import_store(tmp_path, reader)

        path = store.entry("imports", "0" * 64, ".json")
        assert not path.exists()
        with store.writing(path) as file:
            file.write(b"{}")
        assert b"{}" == path.read_bytes()

    def test_other_areas(self, tmp_path: Path, reader: Reader) -> None:
        """Only import metadata is read from the bucket."""
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
        """An entry whose form lamina would not write is refused, and the file does not exist."""
        path = places(reader, published.store)[number]
        reader.put(path.stem, payload)
        store = import_store(tmp_path, reader)

        assert not entry(store, path).exists()
        assert {path.stem} == store._index.refused

    def test_hostile_imports_are_followed_again(self, tmp_path: Path, published: Published) -> None:
        """If the entry for the reached modules is refused, lamina follows the imports again, and the layer is identical."""
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
        """The entry for shared paths can be read back. Distributions that share no paths are omitted."""
        shared = {"a": frozenset({"python/x.py", "python/y.py"}), "b": frozenset[str]()}
        name, content = shared_paths_entry(PINS, Recipe(), shared)

        assert shared_paths_name(PINS, Recipe()) == name
        assert {"a": shared["a"]} == read_shared_paths(content)

    def test_content_is_the_same_on_every_machine(self) -> None:
        """The content does not depend on the order in which paths were found."""
        _, content = shared_paths_entry(PINS, Recipe(), {"b": frozenset("stuvwxyz"), "a": frozenset({"r"})})

        assert b'{"a": ["r"], "b": ["s", "t", "u", "v", "w", "x", "y", "z"]}' == content

    def test_name_says_what_decides_it(self) -> None:
        """The name depends on the wheels and the recipe, but not on the order in the lock file."""
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
        """Content that is not a mapping of distributions to lists of paths is rejected."""
        assert read_shared_paths(content) is None
