"""Plan the content of one layer, and compose the layer from its segments."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.archive.layer import Contribution, Identity, compose, in_order
from lamina.archive.segment import Recipe
from lamina.core.errors import LockError
from lamina.core.files import writing
from lamina.core.frozen import frozen, replace
from lamina.core.store import key_of
from lamina.core.target import quotas
from lamina.core.values import Distribution, Extent, Layer
from lamina.pipeline.differences import OWN_CODE_CHANGED, RECIPE_CHANGED
from lamina.pipeline.previous import changes, difference
from lamina.project.sources import fingerprint

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from lamina.archive.layer import Composed, Ending
    from lamina.archive.package import Packed
    from lamina.bytecode.choice import BytecodeChoice
    from lamina.core.store import Store
    from lamina.core.values import Pin, Selection
    from lamina.pipeline.previous import Previous
    from lamina.project.service import LayerConfig, PackageConfig
    from lamina.project.sources import SourceFile

_AREA = "uncompiled"
# If bytecode must be left out, also leave this share of the limit for the function's own code.
_CODE_SHARE = 0.05


@frozen
class LayerDraft:
    """The planned content of one layer, before its bytecode and digest are known."""

    config: LayerConfig
    selection: Selection
    recipe: Recipe
    own_code: tuple[SourceFile, ...] = ()
    """The service's own files in the layer, sorted by path."""
    reason: str = ""
    """Why the digest is unknown; in a `LayerPlan`, why the layer is reused or built."""
    differs: bool = False
    """Whether the layer certainly differs from the last build's layer, even though its digest is unknown."""
    function: str | None = None
    """The first function whose zip has the content; ``None`` for a layer. The *config* is then that of the first layer in the zip."""

    @property
    def name(self) -> str:
        """The layer's name. That of the content of a zip is one that no layer can have."""
        return self.config.name if self.function is None else self.shown

    @property
    def is_bundle(self) -> bool:
        """Whether the content is part of a function's zip, and not a layer."""
        return self.function is not None

    @property
    def shown(self) -> str:
        """The layer in messages, or the zip of a function."""
        return f"layer `{self.name}`" if self.function is None else f"the zip of `{self.function}`"

    @property
    def is_empty(self) -> bool:
        """Whether the layer contains neither distributions nor own code."""
        return not self.selection.pins and not self.own_code


@frozen
class LayerPlan(LayerDraft):
    """The complete plan for one layer, with its digest."""

    bytecode: BytecodeChoice | None
    """The modules to compile; ``None`` if the layer is reused without a check, because no input has changed."""
    digest: str
    reused: Layer | None
    """The last build's layer, if it has this digest and its zip is unchanged; otherwise ``None``."""

    @classmethod
    def of(cls, draft: LayerDraft, bytecode: BytecodeChoice, previous: Previous) -> LayerPlan:
        """Complete *draft* with its *bytecode*, its digest, and the layer of the *previous* build if it can be reused."""
        digest = _identity(draft, bytecode).digest()
        left = previous.layer(draft.name)
        reused = left if left is not None and left.digest == digest else None
        reason = "unchanged" if reused else _why(draft, digest, previous)
        return cls(
            config=draft.config,
            selection=draft.selection,
            recipe=draft.recipe,
            own_code=draft.own_code,
            function=draft.function,
            reason=reason,
            bytecode=bytecode,
            digest=digest,
            reused=reused,
        )

    @classmethod
    def unchanged(cls, draft: LayerDraft, left: Layer) -> LayerPlan:
        """Return a plan that reuses *left*, the last build's layer, because no input of *draft* has changed."""
        return cls(
            config=draft.config,
            selection=draft.selection,
            recipe=draft.recipe,
            reason="unchanged",
            bytecode=None,
            digest=left.digest,
            reused=left,
        )

    @property
    def uncompiled(self) -> tuple[str, ...]:
        """The distributions whose bytecode is left out, because the layer would exceed Lambda's limit with it."""
        return () if self.bytecode is None else self.bytecode.without

    @property
    def identity(self) -> Identity:
        """The values that decide the layer's content. Raises ValueError if *bytecode* is ``None``."""
        if self.bytecode is None:
            raise ValueError(f"the bytecode of layer `{self.name}` is unknown, because the layer has not changed")
        return _identity(self, self.bytecode)


def fitting(draft: LayerDraft, bytecode: BytecodeChoice, store: Store) -> BytecodeChoice:
    """Return *bytecode* for *draft*, without the distributions that an earlier build left out with `fit`, according to *store*."""
    # If the record is missing or damaged, the build measures the layer again.
    left_out = store.read_document(
        _uncompiled(draft, bytecode, store), lambda content: sorted(map(str, content["names"]))
    )
    return bytecode if left_out is None else replace(bytecode, without=tuple(left_out))


def bundle_draft(
    config: PackageConfig, layers: Sequence[LayerConfig], shares: Mapping[str, Selection]
) -> LayerDraft | None:
    """
    Return the planned distributions in the zip *config*: those of all of its layers, each once; ``None`` if it has none.

    *layers* are the configurations of all layers, and *shares* their distributions, by layer name. Raises LockError if two layers of
    the zip lock different files of a distribution.
    """
    chosen = [layer for layer in layers if layer.name in config.bundled]
    if not chosen:
        return None
    pins: dict[str, Pin] = {}
    for layer in chosen:
        for pin in shares[layer.name].pins:
            if pins.setdefault(pin.name, pin).sha256 != pin.sha256:
                raise LockError(
                    f"the zip of function `{config.functions[0].name}` would contain `{pin.name}` {pins[pin.name].version} and "
                    f"{pin.version}, from different layers",
                    hint="select groups and extras that lock one version, or set `layers` of the function",
                )
    first = shares[chosen[0].name]
    left_out = {name for layer in chosen for name in shares[layer.name].left_out} - pins.keys()
    return LayerDraft(
        config=chosen[0],
        function=config.functions[0].name,
        selection=replace(first, pins=tuple(pins[name] for name in sorted(pins)), left_out=tuple(sorted(left_out))),
        recipe=Recipe(exclude=chosen[0].exclude, prefix=""),
    )


def fit(plan: LayerPlan, layer: Layer | Packed, previous: Previous, store: Store) -> LayerPlan | None:
    """
    Return *plan* without some bytecode if *layer*, built from it, exceeds Lambda's unzipped limit only because of bytecode.

    The distributions with the most bytecode are left out. Return ``None`` if the layer fits, or if it does not fit without
    bytecode either. *store* keeps the result, so that the next build and other commands know the digest in advance.
    """
    limit = quotas().unzipped_bytes
    compiled = sorted(
        (each for each in layer.distributions if each.bytecode_bytes),
        key=lambda each: (-each.bytecode_bytes, each.name),
    )
    least = layer.unzipped_bytes - sum(each.bytecode_bytes for each in compiled)
    if plan.bytecode is None or not least <= limit < layer.unzipped_bytes:
        return None
    size, left_out = layer.unzipped_bytes, set(plan.bytecode.without)
    for each in compiled:
        if size > limit * (1 - _CODE_SHARE):
            size -= each.bytecode_bytes
            left_out.add(each.name)
    everything = replace(plan.bytecode, without=())
    store.write_document(_uncompiled(plan, everything, store), {"names": sorted(left_out)})
    return LayerPlan.of(plan, replace(everything, without=tuple(sorted(left_out))), previous)


def _uncompiled(draft: LayerDraft, bytecode: BytecodeChoice, store: Store) -> Path:
    """Return the path in *store* of the file that lists the distributions to leave uncompiled in the layer."""
    key = key_of(quotas().unzipped_bytes, _identity(draft, bytecode).digest())
    return store.entry(_AREA, key, ".json")


def compose_layer(plan: LayerPlan, pins: Sequence[Pin], parts: Sequence[Contribution], destination: Path) -> Layer:
    """
    Compose *parts* into the planned layer and write the zip to *destination*, atomically; *pins* are the layer's wheels.

    Raises CorruptArchiveError if a segment in the store is damaged; an existing file then stays in place.
    """
    with writing(destination) as file:
        composed = compose(file, parts, plan.identity, plan.digest)
    return describe_layer(plan, pins, parts, destination, composed, sha256=composed.sha256)


def describe_layer(
    plan: LayerPlan,
    pins: Sequence[Pin],
    parts: Sequence[Contribution],
    path: Path,
    sizes: Composed | Ending,
    *,
    sha256: str | None,
) -> Layer:
    """
    Return the description of the layer at *path*, which was composed of *parts*.

    *pins* are the layer's wheels. *sha256* is ``None`` if the zip has holes for bytes that are only in the bucket.
    """
    return Layer(
        name=plan.name,
        path=path,
        digest=plan.digest,
        sha256=sha256,
        zipped_bytes=sizes.zipped_bytes,
        unzipped_bytes=sizes.unzipped_bytes,
        files=sizes.files,
        distributions=tuple(distributions(pins, parts)),
        extents=extents(parts),
    )


def extents(parts: Iterable[Contribution]) -> tuple[Extent, ...]:
    """Return the name and size of each of *parts*, in zip order."""
    return tuple(
        Extent(name=part.name, size=part.segment.entries_bytes, segment=part.segment.path.stem)
        for part in in_order(parts)
    )


def distributions(pins: Iterable[Pin], parts: Iterable[Contribution]) -> Iterator[Distribution]:
    """Yield each of *pins* with its sizes in a zip that consists of *parts*, sorted by name."""
    found: dict[str, list[Contribution]] = {}
    for part in parts:
        found.setdefault(part.name, []).append(part)
    for pin in sorted(pins, key=lambda pin: pin.name):
        segments = found.get(pin.name, [])
        yield Distribution(
            name=pin.name,
            version=pin.version,
            artifact=pin.filename,
            sha256=pin.sha256,
            zipped_bytes=sum(part.segment.zipped_bytes for part in segments),
            unzipped_bytes=sum(part.segment.unzipped_bytes for part in segments if not part.is_bytecode),
            bytecode_bytes=sum(part.segment.unzipped_bytes for part in segments if part.is_bytecode),
        )


def _identity(layer: LayerDraft, bytecode: BytecodeChoice) -> Identity:
    own_code = fingerprint((file.path, file.sha256) for file in layer.own_code) if layer.own_code else None
    return Identity(
        target=layer.selection.target,
        pins=layer.selection.pins,
        recipe=layer.recipe,
        bytecode=bytecode.identity(),
        own_code=own_code,
    )


def known_difference(layer: LayerDraft, previous: Previous) -> str:
    """Return how *layer* differs from that of the *previous* build, ignoring bytecode; empty if that is not certain."""
    target = previous.build.target if previous.build else None
    known = previous.known_layer(layer.name)
    return difference(known, layer.selection.pins, layer.selection.target, target)


def _why(layer: LayerDraft, digest: str, previous: Previous) -> str:
    known = previous.known_layer(layer.name)
    if known is not None and known.digest == digest:
        return "its zip was changed or removed"
    target = previous.build.target if previous.build else None
    reason = changes(known, layer.selection.pins, layer.selection.target, target)
    return OWN_CODE_CHANGED if layer.own_code and reason == RECIPE_CHANGED else reason
