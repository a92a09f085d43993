"""The plan of one layer: its digest, its reuse, the reason for building it, and its composition."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import pytest

from lamina.archive.layer import Contribution
from lamina.archive.segment import Recipe, splice
from lamina.bytecode.choice import BytecodeChoice
from lamina.core.errors import CorruptArchiveError
from lamina.core.frozen import replace
from lamina.core.store import Store
from lamina.core.target import Target, quotas
from lamina.core.values import Build, Distribution, Extent, Layer, Pin, Selection, Wheel
from lamina.pipeline import state
from lamina.pipeline.layers import LayerDraft, LayerPlan, compose_layer, fit, fitting
from lamina.pipeline.previous import Previous
from lamina.pipeline.state import Left
from lamina.project.service import BytecodeMode, LayerConfig
from lamina.project.snapshot import Snapshot
from wheels import make_wheel, sha256

TARGET = Target.of("python3.13", "arm64")
LIMIT = quotas().unzipped_bytes
ALL_BYTECODE = BytecodeChoice(mode=BytecodeMode.ALL, magic="f30d0d0a")
NO_BYTECODE = BytecodeChoice(mode=BytecodeMode.NONE)


def pin(path: Path) -> Pin:
    name, version, *_ = path.name.split("-")
    return Pin(name=name, version=version, filename=path.name, sha256=sha256(path), path=path)


@pytest.fixture
def pins(tmp_path: Path) -> tuple[Pin, ...]:
    return tuple(pin(make_wheel(tmp_path / "wheels", name, "1.0")) for name in ("alpha", "beta"))


def draft(*pins: Pin, recipe: Recipe | None = None, target: Target = TARGET) -> LayerDraft:
    return LayerDraft(
        config=LayerConfig(name="common"),
        selection=Selection(target=target, pins=pins),
        recipe=recipe or Recipe(),
    )


def parts_of(pins: tuple[Pin, ...], store: Store) -> list[Contribution]:
    return [
        Contribution(name=pin.name, segment=splice(Wheel(pin=pin, path=pin.path), Recipe(), store))
        for pin in pins
        if pin.path
    ]


NOTHING_LEFT = Left(stats={}, sources=())


def left(project: Path, plan: LayerPlan, *, target: Target = TARGET) -> Previous:
    """Return a last build that left the zip of *plan* in *project*."""
    path = project / ".lamina" / "layers" / "common.zip"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"zip")
    layer = Layer(
        name="common",
        path=path,
        digest=plan.digest,
        sha256=hashlib.sha256(b"zip").hexdigest(),
        zipped_bytes=3,
        unzipped_bytes=3,
        files=1,
        distributions=tuple(
            Distribution(
                name=pin.name,
                version=pin.version,
                artifact=pin.filename,
                sha256=pin.sha256,
                zipped_bytes=1,
                unzipped_bytes=1,
            )
            for pin in plan.selection.pins
        ),
        extents=(),
    )
    build = Build(service="shop", target=target, layers=(layer,), packages=(), findings=(), reused=False, seconds=0.0)
    outputs = [path.relative_to(project).as_posix()]
    state.remember(project, asked={}, inputs=Snapshot(observations=()), sources=(), outputs=outputs)
    return Previous(project=project, build=build, left=state.Left.of(project))


def plan_of(drafted: LayerDraft, previous: Previous) -> LayerPlan:
    return LayerPlan.of(drafted, NO_BYTECODE, previous)


def nothing(project: Path) -> Previous:
    return Previous(project=project, build=None, left=NOTHING_LEFT)


def test_layer_that_was_never_built(tmp_path: Path, pins: tuple[Pin, ...]) -> None:
    """Without a last build, a layer is built with the reason that it was not built before."""
    plan = plan_of(draft(*pins), nothing(tmp_path))

    assert (None, "not built before") == (plan.reused, plan.reason)


def test_layer_that_is_left_is_reused(tmp_path: Path, pins: tuple[Pin, ...]) -> None:
    """A layer with the same digest as the last build's, and an unchanged zip, is reused."""
    previous = left(tmp_path, plan_of(draft(*pins), nothing(tmp_path)))

    plan = plan_of(draft(*pins), previous)

    assert (previous.layer("common"), "unchanged") == (plan.reused, plan.reason)


def test_layer_whose_zip_was_changed_is_made_again(tmp_path: Path, pins: tuple[Pin, ...]) -> None:
    """A layer with the same digest but a changed zip is built again."""
    previous = left(tmp_path, plan_of(draft(*pins), nothing(tmp_path)))
    (tmp_path / ".lamina" / "layers" / "common.zip").write_bytes(b"other")

    plan = plan_of(draft(*pins), previous)

    assert (None, "its zip was changed or removed") == (plan.reused, plan.reason)


def test_bump_is_the_reason(tmp_path: Path, pins: tuple[Pin, ...]) -> None:
    """The reason for building a layer names the distributions that changed."""
    previous = left(tmp_path, plan_of(draft(*pins), nothing(tmp_path)))
    bumped = pin(make_wheel(tmp_path / "wheels", "beta", "2.0"))

    plan = plan_of(draft(pins[0], bumped), previous)

    assert (None, "beta 1.0 → 2.0") == (plan.reused, plan.reason)


def test_recipe_is_a_reason(tmp_path: Path, pins: tuple[Pin, ...]) -> None:
    """If the distributions are the same, the reason names the build options."""
    previous = left(tmp_path, plan_of(draft(*pins), nothing(tmp_path)))

    plan = plan_of(draft(*pins, recipe=Recipe(exclude=("*.txt",))), previous)

    assert (
        "same packages, different build options: exclusions, bytecode, the handlers' imports, or lamina's format"
        == plan.reason
    )


def test_digest_names_everything_that_decides_the_layer(tmp_path: Path, pins: tuple[Pin, ...]) -> None:
    """Different wheels, recipes, runtimes and bytecode each result in a different digest."""
    previous = nothing(tmp_path)
    plans = [
        plan_of(draft(*pins), previous),
        plan_of(draft(pins[0]), previous),
        plan_of(draft(*pins, recipe=Recipe(exclude=("*.txt",))), previous),
        plan_of(draft(*pins, target=Target.of("python3.12", "arm64")), previous),
        LayerPlan.of(draft(*pins), BytecodeChoice(mode=BytecodeMode.ALL, magic="cb0d0d0a"), previous),
    ]

    assert len(plans) == len({plan.digest for plan in plans})


def test_digest_ignores_the_name_and_the_order(tmp_path: Path, pins: tuple[Pin, ...]) -> None:
    """The layer's name and the order of its distributions do not change the digest."""
    plan = plan_of(draft(*pins), nothing(tmp_path))
    renamed = replace(draft(*reversed(pins)), config=LayerConfig(name="other"))

    assert plan.digest == plan_of(renamed, nothing(tmp_path)).digest


def test_unchanged_layer_needs_no_choice_of_bytecode(tmp_path: Path, pins: tuple[Pin, ...]) -> None:
    """An unchanged layer keeps its digest, and has no identity to compose from."""
    layer = left(tmp_path, plan_of(draft(*pins), nothing(tmp_path))).layer("common")

    assert layer is not None
    plan = LayerPlan.unchanged(draft(*pins), layer)

    assert (layer.digest, layer, "unchanged") == (plan.digest, plan.reused, plan.reason)
    with pytest.raises(
        ValueError, match=r"^the bytecode of layer `common` is unknown, because the layer has not changed$"
    ):
        plan.identity  # noqa: B018 - reading it raises


def test_composed_layer_is_described(tmp_path: Path, pins: tuple[Pin, ...]) -> None:
    """The layer's sizes, hash and distributions match its zip."""
    plan = plan_of(draft(*pins), nothing(tmp_path))

    layer = compose_layer(plan, pins, parts_of(pins, Store(tmp_path / "store")), tmp_path / "common.zip")

    content = layer.path.read_bytes()
    with zipfile.ZipFile(layer.path) as archive:
        sizes = [row.file_size for row in archive.infolist()]
    assert (hashlib.sha256(content).hexdigest(), len(content)) == (layer.sha256, layer.zipped_bytes)
    assert (sum(sizes), len(sizes)) == (layer.unzipped_bytes, layer.files)
    assert ["alpha", "beta"] == [each.name for each in layer.distributions]


def test_extents_follow_the_zip(tmp_path: Path, pins: tuple[Pin, ...]) -> None:
    """A layer's extents are its segments in zip order, regardless of the order of the parts."""
    parts = parts_of(pins, Store(tmp_path / "store"))
    plan = plan_of(draft(*pins), nothing(tmp_path))

    layer = compose_layer(plan, pins, parts[::-1], tmp_path / "common.zip")

    assert (
        tuple(Extent(name=part.name, size=part.segment.entries_bytes, segment=part.segment.path.stem) for part in parts)
        == layer.extents
    )


def test_bytecode_is_counted_apart(tmp_path: Path, pins: tuple[Pin, ...]) -> None:
    """Bytecode counts towards a distribution's zipped bytes, and has a separate unzipped size."""
    wheel, bytecode = parts_of(pins, Store(tmp_path / "store"))
    parts = [wheel, replace(bytecode, name="alpha", is_bytecode=True)]

    layer = compose_layer(plan_of(draft(*pins), nothing(tmp_path)), pins[:1], parts, tmp_path / "common.zip")

    (share,) = layer.distributions
    assert wheel.segment.zipped_bytes + bytecode.segment.zipped_bytes == share.zipped_bytes
    assert (wheel.segment.unzipped_bytes, bytecode.segment.unzipped_bytes) == (
        share.unzipped_bytes,
        share.bytecode_bytes,
    )


def test_distribution_without_a_segment_is_listed(tmp_path: Path, pins: tuple[Pin, ...]) -> None:
    """A distribution without files in a layer is still in the layer's list."""
    parts = parts_of(pins[:1], Store(tmp_path / "store"))

    layer = compose_layer(plan_of(draft(*pins), nothing(tmp_path)), pins, parts, tmp_path / "common.zip")

    assert [("alpha", True), ("beta", False)] == [(each.name, each.zipped_bytes > 0) for each in layer.distributions]


def test_damaged_segment_leaves_the_last_zip(tmp_path: Path, pins: tuple[Pin, ...]) -> None:
    """A damaged segment in the store raises an error, and the existing layer stays."""
    parts = parts_of(pins, Store(tmp_path / "store"))
    path = parts[0].segment.path
    path.write_bytes(b"?" + path.read_bytes()[1:])
    (tmp_path / "common.zip").write_bytes(b"before")

    with pytest.raises(CorruptArchiveError):
        compose_layer(plan_of(draft(*pins), nothing(tmp_path)), pins, parts, tmp_path / "common.zip")

    assert b"before" == (tmp_path / "common.zip").read_bytes()


def weighing(sources: int, plan: LayerPlan, **bytecode: int) -> Layer:
    """Return the layer of *plan* with *sources* bytes, and the given bytes of bytecode by distribution."""
    shares = tuple(
        Distribution(
            name=name, version="1", artifact="", sha256="", zipped_bytes=1, unzipped_bytes=1, bytecode_bytes=size
        )
        for name, size in bytecode.items()
    )
    return Layer(
        name=plan.name,
        path=Path("common.zip"),
        digest=plan.digest,
        sha256="",
        zipped_bytes=1,
        unzipped_bytes=sources + sum(bytecode.values()),
        files=1,
        distributions=shares,
    )


@pytest.mark.parametrize(
    ("sources", "bytecode", "left_out"),
    [
        (LIMIT - 30, {"alpha": 10, "beta": 20}, None),
        (LIMIT - 29, {"alpha": 10, "beta": 20}, ("alpha", "beta")),
        (LIMIT // 2, {"alpha": LIMIT // 3, "beta": LIMIT // 4}, ("alpha",)),
        (LIMIT // 2, {"alpha": LIMIT // 4, "beta": LIMIT // 3, "gamma": LIMIT // 4}, ("alpha", "beta")),
        (LIMIT // 2, {"alpha": LIMIT // 2, "beta": LIMIT // 21, "gamma": 0}, ("alpha",)),
        (LIMIT, {"alpha": 10, "beta": 20}, ("alpha", "beta")),
        (LIMIT + 1, {"alpha": 10, "beta": 20}, None),
        (LIMIT + 1, {}, None),
    ],
    ids=[
        "fits",
        "a byte too much",
        "one is enough",
        "the largest first",
        "room for code",
        "none fits",
        "no use",
        "none",
    ],
)
def test_bytecode_gives_way(
    tmp_path: Path, pins: tuple[Pin, ...], sources: int, bytecode: dict[str, int], left_out: tuple[str, ...] | None
) -> None:
    """If a layer is too large only because of bytecode, that of the largest distributions is left out, with another digest."""
    store, previous = Store(tmp_path / "store"), nothing(tmp_path)
    plan = LayerPlan.of(draft(*pins), ALL_BYTECODE, previous)

    lighter = fit(plan, weighing(sources, plan, **bytecode), previous, store)

    assert left_out == (None if lighter is None else lighter.uncompiled)
    if lighter is not None:
        assert lighter.bytecode is not None
        assert [frozenset()] * len(lighter.uncompiled) == [lighter.bytecode.of(name) for name in lighter.uncompiled]
        assert plan.digest != lighter.digest


def test_bytecode_that_gave_way_is_known(tmp_path: Path, pins: tuple[Pin, ...]) -> None:
    """The next plan knows which bytecode to leave out; the plan of a layer with other distributions does not."""
    store, previous = Store(tmp_path / "store"), nothing(tmp_path)
    plan = LayerPlan.of(draft(*pins), ALL_BYTECODE, previous)

    lighter = fit(plan, weighing(LIMIT // 2, plan, alpha=LIMIT), previous, store)

    assert lighter is not None
    assert lighter.bytecode == fitting(draft(*pins), ALL_BYTECODE, store)
    assert ALL_BYTECODE == fitting(draft(*pins[:1]), ALL_BYTECODE, store)
    assert NO_BYTECODE == fitting(draft(*pins), NO_BYTECODE, store)


@pytest.mark.parametrize("damage", [b"", b"{}", b"[", b"[" * 100_000])
def test_damaged_record_of_bytecode(tmp_path: Path, pins: tuple[Pin, ...], damage: bytes) -> None:
    """A damaged record is ignored: the build measures the layer again."""
    store, previous = Store(tmp_path / "store"), nothing(tmp_path)
    plan = LayerPlan.of(draft(*pins), ALL_BYTECODE, previous)
    fit(plan, weighing(LIMIT // 2, plan, alpha=LIMIT), previous, store)
    (record,) = (store.root / "uncompiled").rglob("*.json")
    record.write_bytes(damage)

    assert ALL_BYTECODE == fitting(draft(*pins), ALL_BYTECODE, store)
