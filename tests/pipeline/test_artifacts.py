"""The origin of wheels, sources and segments: the local store first, then the remote store, else they are created."""

from __future__ import annotations

import marshal
import shutil
import sys
import zipfile
from typing import TYPE_CHECKING

import pytest

from lamina.archive.segment import AREA
from lamina.bytecode.compiler import Compiler
from lamina.bytecode.interpreter import environment_variable
from lamina.core.errors import PathCollisionError
from lamina.core.frozen import replace
from lamina.core.store import Store
from lamina.pipeline.artifacts import ArtifactProvider
from lamina.pipeline.build import build
from lamina.pipeline.context import BuildContext
from lamina.pipeline.layers import LayerPlan
from lamina.pipeline.packages import all_sources
from lamina.pipeline.plan import closure_of, complete, resolve
from lamina.project import config
from lamina.project.options import BuildOptions
from locking import write_pylock
from pipeline.fakes import FakeRemoteStore
from services import HANDLER, Service, make_service
from sourceprojects import source_files, write_sources
from wheels import make_wheel, sha256

if TYPE_CHECKING:
    from pathlib import Path

    from lamina.pipeline.plan import TargetPlan

RUNTIME = f"python{sys.version_info[0]}.{sys.version_info[1]}"
COMMON = "common/__init__.py"
SHARED = f"python/{COMMON}"


class Machine:
    """A machine that builds a service, with its own store and optionally a remote store."""

    def __init__(self, project: Path, store: Store, remote: FakeRemoteStore | None = None) -> None:
        context = BuildContext.open(project, BuildOptions(), store=store)
        self.store = store
        self.context = replace(context, remote=remote)
        self.plan: TargetPlan = resolve(self.context, config.load(project)).targets[0]
        self.artifacts = ArtifactProvider(self.context, self.plan.service.target)

    def layer_plan(self) -> LayerPlan:
        (layer,) = complete(self.plan, self.artifacts).layers

        assert isinstance(layer, LayerPlan)
        return layer

    def fetched(self) -> list[str]:
        """Return the names of the distributions whose wheels are in the store."""
        pins = {pin.sha256: pin for layer in self.plan.layers for pin in layer.selection.pins}
        return sorted(pin.name for pin in pins.values() if self.store.wheel(pin.sha256))

    def segment(self, name: str, omitted: frozenset[str] = frozenset()) -> str:
        """Return the name of a distribution's segment in every store."""
        (layer,) = self.plan.layers
        (pin,) = (pin for pin in layer.selection.pins if pin.name == name)
        return layer.recipe.key(pin.sha256, omitted=omitted)


@pytest.fixture(autouse=True)
def interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use the running interpreter as the target's."""
    monkeypatch.setenv(environment_variable(sys.version_info[:2]), sys.executable)


@pytest.fixture
def service(tmp_path: Path) -> Service:
    service = make_service(tmp_path)
    service.requires_python = ">=3.11"
    service.settings["runtime"] = f'"{RUNTIME}"'
    return service


def other_store(tmp_path: Path, service: Service) -> Store:
    """Return the store of another machine that has built *service*, without writing outputs into the project."""
    store = Store(tmp_path / "other")
    project = service.write()
    context = replace(BuildContext.open(project, BuildOptions(), store=store), output=tmp_path / "elsewhere")
    plan = resolve(context, config.load(project)).targets[0]
    with ArtifactProvider(context, plan.service.target) as artifacts:
        (layer,) = complete(plan, artifacts).decided
        artifacts.layer(layer, tmp_path / "elsewhere" / "common.zip")
    return store


def share_a_file(service: Service, *, content: str = "") -> None:
    """Add the same path to two distributions."""
    service.add("alpha", "1.0", {"alpha.py": "A = 1\n", COMMON: ""})
    service.add("beta", "2.0", {"beta.py": "B = 1\n", COMMON: content})


def test_local_store_comes_first(tmp_path: Path, service: Service) -> None:
    """A segment in the local store is not requested from the remote store."""
    other = other_store(tmp_path, service)
    remote = FakeRemoteStore(other, other)
    machine = Machine(service.root, other, remote)

    parts = machine.artifacts.contributions(machine.layer_plan())

    assert [] == remote.asked
    assert ["alpha", "beta"] == [part.name for part in parts]


def test_only_what_is_missing_is_asked_of_the_remote_store(tmp_path: Path, service: Service) -> None:
    """If the local store has one of two segments, only the other one is requested from the remote store."""
    store = Store(tmp_path / "store")
    other = other_store(tmp_path, service)
    remote = FakeRemoteStore(other, store)
    machine = Machine(service.root, store, remote)
    here = store.entry(AREA, machine.segment("alpha"), ".seg")
    here.parent.mkdir(parents=True)
    here.write_bytes((other.root / here.relative_to(store.root)).read_bytes())

    parts = machine.artifacts.contributions(machine.layer_plan())

    assert [machine.segment("beta")] == remote.asked
    assert [True, False] == [part.segment.path.exists() for part in parts]


def test_remote_store_comes_second(tmp_path: Path, service: Service) -> None:
    """A segment that the remote store describes needs neither a wheel nor a local file."""
    store = Store(tmp_path / "store")
    other = other_store(tmp_path, service)
    machine = Machine(service.root, store, FakeRemoteStore(other, store))

    parts = machine.artifacts.contributions(machine.layer_plan())

    assert [] == machine.fetched()
    assert [(machine.segment(name), False) for name in ("alpha", "beta")] == [
        (part.segment.path.stem, part.segment.path.exists()) for part in parts
    ]


def test_wheels_come_last(tmp_path: Path, service: Service) -> None:
    """Only the wheel whose segment is in no store is fetched."""
    store = Store(tmp_path / "store")
    other = other_store(tmp_path, service)
    service.add("beta", "2.1", {"beta.py": "import alpha  # again\n"})
    machine = Machine(service.write(), store, FakeRemoteStore(other, store))

    parts = machine.artifacts.contributions(machine.layer_plan())

    assert ["beta"] == machine.fetched()
    assert [("alpha", False), ("beta", True)] == [(part.name, part.segment.path.exists()) for part in parts]


def test_wheels_are_fetched_together_without_a_remote_store(tmp_path: Path, service: Service) -> None:
    """All wheels of the layers to build are fetched together, before the first one is spliced."""
    machine = Machine(service.write(), Store(tmp_path / "store"))

    machine.artifacts.fetch([machine.layer_plan()])

    assert ["alpha", "beta"] == machine.fetched()


def test_no_wheel_is_fetched_before_the_remote_store_was_asked(tmp_path: Path, service: Service) -> None:
    """With a remote store, a wheel is only fetched after its segment turns out to be missing."""
    store = Store(tmp_path / "store")
    machine = Machine(service.write(), store, FakeRemoteStore(Store(tmp_path / "other"), store))

    machine.artifacts.fetch([machine.layer_plan()])

    assert [] == machine.fetched()


def test_remote_layer_is_the_same_layer(tmp_path: Path, service: Service) -> None:
    """A layer of remote segments is byte for byte the layer built from wheels."""
    share_a_file(service)
    store = Store(tmp_path / "store")
    other = other_store(tmp_path, service)
    machine = Machine(service.root, store, FakeRemoteStore(other, store, shared={"beta": frozenset({SHARED})}))

    layer = machine.artifacts.layer(machine.layer_plan(), tmp_path / "common.zip")

    assert (tmp_path / "elsewhere" / "common.zip").read_bytes() == layer.path.read_bytes()
    assert [] == machine.fetched()


def test_compose_that_fails_is_asked_again(tmp_path: Path, service: Service) -> None:
    """If a segment is missing from the bucket, the layer is composed again, with that segment from its wheel."""
    store = Store(tmp_path / "store")
    remote = FakeRemoteStore(other_store(tmp_path, service), store)
    machine = Machine(service.root, store, remote)
    remote.lost.add(machine.segment("beta"))

    layer = machine.artifacts.layer(machine.layer_plan(), tmp_path / "common.zip")

    assert (2, ["beta"]) == (remote.composed, machine.fetched())
    assert (tmp_path / "elsewhere" / "common.zip").read_bytes() == layer.path.read_bytes()


def test_shared_path_stays_with_the_first(tmp_path: Path, service: Service) -> None:
    """A path with the same content in two wheels is left out of the second wheel in name order."""
    share_a_file(service)
    machine = Machine(service.write(), Store(tmp_path / "store"))

    parts = machine.artifacts.contributions(machine.layer_plan())

    assert [("alpha", frozenset()), ("beta", frozenset({SHARED}))] == [(part.name, part.omitted) for part in parts]


def test_shared_path_with_other_content_is_refused(tmp_path: Path, service: Service) -> None:
    """Two wheels with different content at the same path raise an error."""
    share_a_file(service, content="other\n")
    machine = Machine(service.write(), Store(tmp_path / "store"))
    plan = machine.layer_plan()

    with pytest.raises(PathCollisionError):
        machine.artifacts.contributions(plan)


def test_remote_answer_about_shared_paths_is_used(tmp_path: Path, service: Service) -> None:
    """If the remote store's shared paths fit, no wheels are fetched to compare their contents."""
    share_a_file(service)
    store = Store(tmp_path / "store")
    other = other_store(tmp_path, service)
    machine = Machine(service.root, store, FakeRemoteStore(other, store, shared={"beta": frozenset({SHARED})}))

    parts = machine.artifacts.contributions(machine.layer_plan())

    assert [frozenset(), frozenset({SHARED})] == [part.omitted for part in parts]
    assert [] == machine.fetched()


@pytest.mark.parametrize(
    "shared",
    [
        {},
        {"alpha": frozenset({SHARED}), "beta": frozenset({SHARED})},
        {"beta": frozenset({SHARED, "python/nowhere.py"})},
    ],
    ids=["leaves a path twice", "loses a path", "names an unknown path"],
)
def test_remote_answer_that_does_not_fit_is_refused(
    tmp_path: Path, service: Service, shared: dict[str, frozenset[str]]
) -> None:
    """If the remote store's shared paths would lose or duplicate a path, they are rejected and the contents are compared."""
    share_a_file(service)
    store = Store(tmp_path / "store")
    remote = FakeRemoteStore(other_store(tmp_path, service), store, shared=shared)
    machine = Machine(service.root, store, remote)

    parts = machine.artifacts.contributions(machine.layer_plan())

    assert 1 == remote.refused
    assert [frozenset(), frozenset({SHARED})] == [part.omitted for part in parts]
    assert ["alpha", "beta"] == machine.fetched()


def test_sources_wait_for_local_packages(tmp_path: Path) -> None:
    """The sources of a service with a local package are unknown until that package is built."""
    project = tmp_path / "project"
    write_sources(tmp_path / "shared", source_files("shared"))
    project.mkdir()
    (project / "pyproject.toml").write_text(
        '[project]\nname = "greeter"\nversion = "1"\nrequires-python = ">=3.11"\n'
        f'[tool.lamina]\nruntime = "{RUNTIME}"\narchitecture = "x86_64"\nsource = ["app.py"]\n'
        '[tool.lamina.functions]\nhello = "app.lambda_handler"\n'
    )
    (project / "app.py").write_text(HANDLER)
    write_pylock(project, {"name": "shared", "directory": {"path": "../shared"}})
    machine = Machine(project, Store(tmp_path / "store"))

    assert machine.artifacts.sources(machine.plan.service, machine.plan.local, fetch=False) is None


def test_sources_without_local_packages(tmp_path: Path, service: Service) -> None:
    """Without local packages, the sources are those of the project, and nothing is fetched."""
    machine = Machine(service.write(), Store(tmp_path / "store"))

    packages = machine.artifacts.sources(machine.plan.service, (), fetch=False)

    assert packages is not None
    (tree,) = (package.tree for package in packages)
    assert ["service/__init__.py", "service/handlers/__init__.py", "service/handlers/hello.py"] == [
        file.path for file in tree.files
    ]


def test_choice_of_bytecode_waits_for_wheels(tmp_path: Path, service: Service) -> None:
    """Without fetching, imports into a missing wheel are not followed."""
    service.settings["bytecode"] = '"reachable"'
    machine = Machine(service.write(), Store(tmp_path / "store"))
    (layer,) = machine.plan.layers
    closure = closure_of(layer, machine.plan.layers, machine.plan.service)
    sources = all_sources(machine.plan.package_plans)

    (choice,) = machine.artifacts.choose_bytecode(machine.plan.service, [(closure, ())], sources, fetch=False)

    assert choice is None
    assert [] == machine.fetched()


def test_choice_of_bytecode_fetches_wheels(tmp_path: Path, service: Service) -> None:
    """With fetching, imports are followed from the handlers into the wheels."""
    service.settings["bytecode"] = '"reachable"'
    project = service.write()
    (project / "service" / "handlers" / "hello.py").write_text(f"import alpha\n{HANDLER}")
    machine = Machine(project, Store(tmp_path / "store"))

    with machine.artifacts:
        choice = machine.layer_plan().bytecode

    assert choice is not None
    assert (("alpha", ("alpha/__init__.py",)), ("beta", ())) == choice.modules
    assert ["alpha", "beta"] == machine.fetched()


def test_choice_of_bytecode_is_known_to_the_remote_store(tmp_path: Path, service: Service) -> None:
    """Imports that another machine has followed come from the remote store, without wheels and without fetching."""
    service.settings["bytecode"] = '"reachable"'
    store = Store(tmp_path / "store")
    other = other_store(tmp_path, service)
    machine = Machine(service.root, store, FakeRemoteStore(other, store))

    assert [LayerPlan] == [type(layer) for layer in machine.plan.layers]
    assert [] == machine.fetched()


def test_bytecode_stands_apart_from_its_wheel(tmp_path: Path, service: Service) -> None:
    """Bytecode is a separate segment, and a distribution without reached modules has none."""
    service.settings["bytecode"] = '"reachable"'
    project = service.write()
    (project / "service" / "handlers" / "hello.py").write_text(f"import alpha\n{HANDLER}")
    machine = Machine(project, Store(tmp_path / "store"))

    with machine.artifacts:
        parts = machine.artifacts.contributions(machine.layer_plan())

    assert [("alpha", False), ("beta", False), ("alpha", True)] == [(part.name, part.is_bytecode) for part in parts]


def test_damaged_segment_is_made_again(tmp_path: Path, service: Service) -> None:
    """A damaged segment counts as missing, and is spliced from its wheel again."""
    store = other_store(tmp_path, service)
    machine = Machine(service.root, store)
    path = store.entry(AREA, machine.segment("alpha"), ".seg")
    content = path.read_bytes()
    path.write_bytes(content[:-1])

    machine.artifacts.contributions(machine.layer_plan())

    assert content == path.read_bytes()


def test_planning_only_reads(tmp_path: Path, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the store has all wheels, resolving follows imports, but compiles and splices nothing: the build does that once."""
    service.settings["bytecode"] = '"none"'
    store = Store(tmp_path / "store")
    build(service.write(), BuildOptions(), store=store)
    shutil.rmtree(store.root / AREA)
    service.settings["bytecode"] = '"reachable"'
    project = service.write()
    (project / "service" / "handlers" / "hello.py").write_text(f"import alpha, beta\n{HANDLER}")
    roots: dict[str, str | None] = {}
    scan = Compiler.scan

    def record(self: Compiler, path: str, source: bytes, *, root: str | None = None) -> object:
        roots[path] = root
        return scan(self, path, source, root=root)

    monkeypatch.setattr(Compiler, "scan", record)

    plan = Machine(project, store).plan

    assert all(isinstance(layer, LayerPlan) for layer in plan.layers)
    assert {"alpha/__init__.py", "beta.py"} < roots.keys()
    assert {None} == set(roots.values())
    assert not (store.root / AREA).exists()


def test_layers_with_different_versions_of_a_distribution(tmp_path: Path, service: Service) -> None:
    """Each layer gets the bytecode of its own version, even if both versions have the same paths."""
    versions = {"one": "1.0", "two": "2.0"}
    service.settings["bytecode"] = '"reachable"'
    service.functions = {}
    project = service.write()
    (project / "service" / "handlers" / "hello.py").write_text(f"import alpha\n{HANDLER}")
    packages = []
    with (project / "pyproject.toml").open("a", encoding="utf-8") as file:
        for extra, version in versions.items():
            path = make_wheel(service.wheels, "alpha", version, {"alpha.py": f"VERSION = {version!r}\n"})
            wheel = {"name": path.name, "path": str(path), "hashes": {"sha256": sha256(path)}}
            packages.append({"name": "alpha", "version": version, "marker": f"'{extra}' in extras", "wheels": [wheel]})
            file.write(
                f'[tool.lamina.layers.{extra}]\nextras = ["{extra}"]\n[tool.lamina.functions.{extra}]\n'
                f'handler = "service.handlers.hello.lambda_handler"\nlayers = ["{extra}"]\n'
            )
    write_pylock(project, *packages, extras=list(versions))

    build(project, BuildOptions(), store=Store(tmp_path / "store"))

    for extra, version in versions.items():
        with zipfile.ZipFile(project / ".lamina" / "layers" / f"{extra}.zip") as layer:
            (path_of_bytecode,) = (name for name in layer.namelist() if name.endswith(".pyc"))
            assert version in marshal.loads(layer.read(path_of_bytecode)[16:]).co_consts  # noqa: S302
            assert version in layer.read("python/alpha.py").decode()
