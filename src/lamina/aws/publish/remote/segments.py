"""
Get the segments of wheels that are not here from a bucket's shelf, and lay out a layer's zip with holes where only S3 has the bytes.

A segment comes from the machine's store, or the shelf describes it, or its wheel is fetched: in this order. What the shelf says
is only as good as what stands where it says it does; where that has gone or is something else, the shelf is not asked again.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from itertools import accumulate
from typing import TYPE_CHECKING

from lamina.archive.collisions import are_settled, shared_paths
from lamina.archive.layer import Contribution
from lamina.archive.remote_segment import decode
from lamina.archive.segment import AREA, find_segment, splice
from lamina.archive.zip.copying import read_pieces
from lamina.aws.api.parallel import in_parallel
from lamina.aws.publish.remote.index import group_name, grouped
from lamina.bytecode.segment import AREA as BYTECODE_AREA
from lamina.bytecode.segment import bytecode_key, bytecode_segment, read_bytecode
from lamina.core.errors import CorruptArchiveError
from lamina.core.frozen import frozen
from lamina.project.service import BytecodeMode

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path
    from typing import BinaryIO

    from lamina.archive.layer import Ending
    from lamina.archive.remote_segment import RemoteSegment
    from lamina.archive.segment import Recipe, Segment
    from lamina.aws.api.protocols import Objects
    from lamina.aws.publish.naming import Keys
    from lamina.aws.publish.parts import Part, PartLayout
    from lamina.aws.publish.remote.index import RemoteIndex
    from lamina.bytecode.toolchain import Toolchain
    from lamina.core.store import Store
    from lamina.core.values import Pin
    from lamina.fetch.provider import WheelProvider
    from lamina.pipeline.layers import LayerPlan

__all__ = ["RemoteSegments", "SparseZip", "sharing_name", "sharing_note"]

_RANGE_BYTES = 8 << 20


@frozen
class SparseZip:
    """A layer's zip on disk, with holes."""

    parts: tuple[str, ...]
    """SHA-256 of each part of the cut."""
    here: frozenset[int]
    """Where the parts begin that have no holes."""
    whole: bool
    """Whether there is no hole at all."""
    elsewhere: Mapping[str, str]
    """SHA-256 of the segments that are not on this machine, by their names."""


def sharing_name(pins: Iterable[Pin], recipe: Recipe) -> str:
    """Return under which name the shelf keeps which paths several of *pins* have in common."""
    rows = sorted([pin.name, pin.sha256] for pin in pins)
    return hashlib.sha256(json.dumps(["sharing", recipe.canonical(), rows], sort_keys=True).encode()).hexdigest()


def sharing_note(pins: Iterable[Pin], recipe: Recipe, shared: Mapping[str, frozenset[str]]) -> tuple[str, bytes]:
    """Return name and content of what the shelf keeps of the answer of `shared_paths`: to give it takes wheels."""
    rows = {name: sorted(paths) for name, paths in sorted(shared.items()) if paths}
    return sharing_name(pins, recipe), json.dumps(rows).encode()


def _read_sharing(content: bytes) -> dict[str, frozenset[str]] | None:
    try:
        rows = json.loads(content)
        fine = all(isinstance(path, str) for name, paths in rows.items() for path in (name, *paths))
        return {name: frozenset(paths) for name, paths in rows.items()} if fine else None
    except (ValueError, TypeError, AttributeError):
        return None


class RemoteSegments:
    """The segments of one target's layers."""

    def __init__(
        self,
        shelf: RemoteIndex,
        objects: Objects,
        keys: Keys,
        *,
        supply: WheelProvider,
        toolchain: Toolchain,
        store: Store,
    ) -> None:
        """Ask *store* first, then *shelf*, and *supply* for wheels; bytes are in *objects*."""
        self._shelf = shelf
        self._objects = objects
        self._keys = keys
        self._supply = supply
        self._toolchain = toolchain
        self._store = store
        self._fragments: dict[str, RemoteSegment] = {}

    def known(self, pins: Sequence[Pin], recipe: Recipe) -> int:
        """Return of how many of *pins* the shelf describes the segment."""
        return len(self._shelf.look([recipe.key(pin.sha256) for pin in pins]))

    def contributions(self, plan: LayerPlan) -> list[Contribution]:
        """
        Return the contributions of the planned layer; of some there may be nothing but the directory.

        Raises PathCollisionError, and whatever fetching, splicing and compiling raise.
        """
        pins, recipe = plan.selection.pins, plan.recipe
        segments, shared = self._noted(pins, recipe) or self._compared(pins, recipe)
        made = [
            Contribution(name=name, segment=segment, omitted=shared.get(name, frozenset()))
            for name, segment in segments.items()
        ]
        return [*made, *self._bytecode(plan, shared)]

    def _noted(
        self, pins: Sequence[Pin], recipe: Recipe
    ) -> tuple[dict[str, Segment], Mapping[str, frozenset[str]]] | None:
        """Return the segments, and what is omitted from them as somebody found before; nothing where nobody did."""
        name = sharing_name(pins, recipe)
        content = self._shelf.look([name]).get(name)
        if content is None:
            return None
        shared = _read_sharing(content)
        if shared is not None:
            segments = self._segments([(pin, shared.get(pin.name, frozenset())) for pin in pins], recipe)
            if are_settled(segments, shared):
                return segments, shared
        self._shelf.refuse(name)
        return None

    def _compared(self, pins: Sequence[Pin], recipe: Recipe) -> tuple[dict[str, Segment], Mapping[str, frozenset[str]]]:
        segments = self._segments([(pin, frozenset()) for pin in pins], recipe)
        shared = self._shared(segments, pins, recipe)
        if shared:
            segments |= self._segments([(pin, shared[pin.name]) for pin in pins if pin.name in shared], recipe)
        return segments, shared

    def _segments(self, wanted: Sequence[tuple[Pin, frozenset[str]]], recipe: Recipe) -> dict[str, Segment]:
        names = {pin.name: recipe.key(pin.sha256, omitted=omitted) for pin, omitted in wanted}
        found = self._found({name: self._store.entry(AREA, key, ".seg") for name, key in names.items()})
        absent = [(pin, omitted) for pin, omitted in wanted if pin.name not in found]
        for (pin, omitted), wheel in zip(absent, self._supply.all([pin for pin, _ in absent]), strict=True):
            found[pin.name] = splice(wheel, recipe, self._store, omitted=omitted)
        # In the order of the lock, whatever was where.
        return {pin.name: found[pin.name] for pin, _ in wanted}

    def _found(self, paths: Mapping[str, Path]) -> dict[str, Segment]:
        """Return the segments that are in the store or on the shelf, given where the store would have them."""
        found = {name: segment for name, path in paths.items() if (segment := find_segment(path)) is not None}
        for name in found:
            self._fragments.pop(paths[name].stem, None)
        missing = {name: path for name, path in paths.items() if name not in found}
        described = self._shelf.look([path.stem for path in missing.values()])
        for name, path in missing.items():
            if path.stem not in described:
                continue
            fragment = decode(described[path.stem], path.stem)
            if fragment is None:
                self._shelf.refuse(path.stem)
                continue
            self._fragments[path.stem] = fragment
            found[name] = fragment.segment(path)
        return found

    def _shared(self, segments: dict[str, Segment], pins: Sequence[Pin], recipe: Recipe) -> dict[str, frozenset[str]]:
        """Return what is omitted from which distribution; where contents must be compared, wheels are fetched for it."""
        by_name = {pin.name: pin for pin in pins}
        while True:
            try:
                return shared_paths(segments)
            except FileNotFoundError as error:
                name = next(name for name, segment in segments.items() if str(segment.path) == str(error.filename))
                (wheel,) = self._supply.all([by_name[name]])
                segments[name] = splice(wheel, recipe, self._store)
                self._fragments.pop(segments[name].path.stem, None)

    def _bytecode(self, plan: LayerPlan, shared: Mapping[str, frozenset[str]]) -> list[Contribution]:
        if plan.bytecode.mode is BytecodeMode.NONE:
            return []
        keys: dict[str, str] = {}
        for pin in plan.selection.pins:
            modules = plan.bytecode.of(pin.name)
            if modules is not None and not any(module.endswith(".py") for module in modules):
                continue
            keys[pin.name] = bytecode_key(
                pin.sha256,
                plan.recipe,
                interpreter=self._toolchain.interpreter,
                modules=modules,
                omitted=shared.get(pin.name, frozenset()),
            )
        # What was refused in compiling stands beside the segment, and is not looked at here.
        found = self._found({name: self._store.entry(BYTECODE_AREA, key, ".seg") for name, key in keys.items()})
        absent = [pin for pin in plan.selection.pins if pin.name in keys and pin.name not in found]
        for pin, wheel in zip(absent, self._supply.all(absent), strict=True):
            made = read_bytecode(keys[pin.name], self._store) or bytecode_segment(
                wheel,
                plan.recipe,
                compiler=self._toolchain.compiler,
                store=self._store,
                modules=plan.bytecode.of(pin.name),
                omitted=shared.get(pin.name, frozenset()),
            )
            found[pin.name] = made.segment
        return [Contribution(name=name, segment=segment, is_bytecode=True) for name, segment in found.items()]

    def lay(self, path: Path, ordered: Sequence[Contribution], end: Ending, layout: PartLayout) -> SparseZip | None:
        """
        Write the zip of *ordered* contributions and *end* to *path*, as far as its bytes are here or have to be.

        Return nothing where the shelf was wrong: then it is not asked again, and the contributions have to be got anew.
        Raises AwsError and its kinds, and CorruptArchiveError for a segment that was damaged in the store.
        """
        segments = [each.segment for each in ordered]
        starts = [0, *accumulate(segment.entries_bytes for segment in segments)]
        with path.open("w+b", buffering=0) as file:
            file.truncate(end.zipped_bytes)
            sha256s = [self._place(file, segment, start) for segment, start in zip(segments, starts, strict=False)]
            parts = self._expected(layout, sha256s)
            here: set[int] = set()
            failed: list[int] = []
            number = 0
            for at, (part, sha256) in enumerate(zip(layout.parts, parts, strict=True)):
                count = len(part.extents)
                inside = range(number, number + count)
                number += count
                if not any(segments[each].path.stem in self._fragments for each in inside):
                    here.add(part.start)
                if sha256 is None:
                    failed += [each for each in inside if not self._bring(file, segments[each], starts[each])]
                    parts[at] = _hash(file, part)
                    here.add(part.start)
            rest = range(number, len(segments))
            failed += [each for each in rest if not self._bring(file, segments[each], starts[each])]
            file.seek(starts[-1])
            file.write(b"".join(end.tail))
        if failed:
            return None
        names = [segment.path.stem for segment in segments]
        return SparseZip(
            parts=tuple(sha256 for sha256 in parts if sha256 is not None),
            here=frozenset(here),
            whole=len(here) == len(parts),
            elsewhere={name: self._fragments[name].sha256 for name in names if name in self._fragments},
        )

    def _place(self, file: BinaryIO, segment: Segment, start: int) -> str:
        """Write what is here of a segment, and return the SHA-256 of all of it."""
        fragment = self._fragments.get(segment.path.stem)
        if fragment is not None:
            for entry in fragment.entries:
                file.seek(start + entry.start)
                file.write(entry.content)
            return fragment.sha256
        digest, checksum = hashlib.sha256(), 0
        file.seek(start)
        with segment.path.open("rb", buffering=0) as source:
            for piece in read_pieces(source, 0, segment.entries_bytes):
                digest.update(piece)
                checksum = zlib.crc32(piece, checksum)
                file.write(piece)
        if checksum != segment.crc32:
            segment.path.unlink(missing_ok=True)
            raise CorruptArchiveError(
                f"`{segment.path}` was damaged in the store, and has been removed",
                hint="publish again: it is made anew from its wheel",
            )
        return digest.hexdigest()

    def _expected(self, layout: PartLayout, sha256s: Sequence[str]) -> list[str | None]:
        """Return the SHA-256 of each part that the bucket has, whole and unharmed."""
        groups: list[str] = []
        number = 0
        for part in layout.parts:
            groups.append(group_name(sha256s[number : number + len(part.extents)]))
            number += len(part.extents)
        several = [name for name, part in zip(groups, layout.parts, strict=True) if len(part.extents) > 1]
        known = {name: grouped(payload) for name, payload in self._shelf.look(several).items()}
        singles = {part.start: sha256s[at] for at, part in self._single(layout)}

        def stands(numbered: tuple[str, Part]) -> str | None:
            name, part = numbered
            sha256 = singles.get(part.start) or known.get(name)
            if sha256 is None:
                return None
            stored = self._objects.head(self._keys.part(sha256))
            whole = stored is not None and stored.proves(sha256, part.size)
            if not whole and name in known:
                self._shelf.refuse(name)
            return sha256 if whole else None

        return in_parallel(stands, zip(groups, layout.parts, strict=True))

    @staticmethod
    def _single(layout: PartLayout) -> list[tuple[int, Part]]:
        """Return the parts of one segment, each with that segment's number."""
        numbers = [0, *accumulate(len(part.extents) for part in layout.parts)]
        return [(at, part) for at, part in zip(numbers, layout.parts, strict=False) if len(part.extents) == 1]

    def _bring(self, file: BinaryIO, segment: Segment, start: int) -> bool:
        """Write all bytes of a segment, from where they stand; say whether they were what they should be."""
        name = segment.path.stem
        fragment = self._fragments.get(name)
        if fragment is None:
            return True
        digest = hashlib.sha256()
        key, first = self._keys.below(fragment.location.key), fragment.location.start
        file.seek(start)
        for offset in range(0, fragment.entries_bytes, _RANGE_BYTES):
            size = min(_RANGE_BYTES, fragment.entries_bytes - offset)
            content = self._objects.get_range(key, first + offset, size)
            if content is None:
                break
            digest.update(content)
            file.write(content)
        if digest.hexdigest() == fragment.sha256:
            return True
        self._shelf.refuse(name)
        del self._fragments[name]
        return False


def _hash(file: BinaryIO, part: Part) -> str:
    digest = hashlib.sha256()
    for piece in read_pieces(file, part.start, part.size):
        digest.update(piece)
    return digest.hexdigest()
