"""
Make the bytecode of a layer and of a service's own sources, and compile no source of a wheel twice.

The bytecode of a wheel is a segment of its own. What a wheel has compiled so far is kept as one *pack* in the store,
itself a segment; a segment is cut from it.
So when a handler imports something new, only the modules that no handler imported before are compiled.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from typing import TYPE_CHECKING

from lamina.archive.segment import Recipe, Segment, find_segment, write_segment
from lamina.archive.zip.copying import read_at
from lamina.archive.zip.zipformat import DEFLATED, LOCAL_HEADER, Entry, encode, own_rows
from lamina.core.frozen import frozen
from lamina.core.paths import PREFIX
from lamina.project.service import BytecodeMode

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from lamina.bytecode.compiler import Compiled, Compiler
    from lamina.bytecode.interpreter import Interpreter
    from lamina.bytecode.toolchain import Toolchain
    from lamina.core.store import Store
    from lamina.core.values import Wheel
    from lamina.project.sources import SourceTree

RECIPE = 1
"""Number of the way bytecode is made. Whatever changes its bytes for the same source and interpreter raises it."""

LAYER_ROOT = f"/opt/{PREFIX}"
"""Where Lambda puts a layer's modules: what tracebacks say (AWS, "Working with layers for Python", 2026-11)."""
FUNCTION_ROOT = "/var/task/"
"""Where Lambda puts a function's own code (AWS, "Define Lambda function handler in Python", 2026-11)."""

AREA = "bytecode"
_OWN_AREA = "own-bytecode"
_REFUSED = ".refused"


@frozen
class Bytecode:
    """The bytecode of one wheel, for one interpreter and one choice of modules."""

    segment: Segment
    refused: tuple[tuple[str, str], ...]
    """Sources without bytecode, relative to ``python/``, and what the interpreter says of each: old syntax, templates."""


def bytecode_key(
    wheel_sha256: str,
    recipe: Recipe,
    *,
    interpreter: Interpreter,
    modules: frozenset[str] | None,
    omitted: frozenset[str] = frozenset(),
) -> str:
    """
    Return the name of the segment in the store; the arguments are those of `bytecode_segment`.

    The interpreter's patch release is part of it, because patch releases fix the compiler.
    """
    chosen = None if modules is None else sorted(modules)
    return _digest([*_origin(interpreter), recipe.canonical(), wheel_sha256, sorted(omitted), chosen])


def _origin(interpreter: Interpreter) -> list[object]:
    return [RECIPE, LAYER_ROOT, interpreter.magic, interpreter.version]


def _digest(values: list[object]) -> str:
    text = json.dumps(values, separators=(",", ":"), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def read_bytecode(key: str, store: Store) -> Bytecode | None:
    """Return what the store holds under a `bytecode_key`, or nothing; no interpreter is started."""
    segment = find_segment(store.entry(AREA, key, ".seg"))
    if segment is None:
        return None
    try:
        refused = json.loads(store.entry(AREA, key, ".json").read_bytes())
    except FileNotFoundError:
        refused = []
    return Bytecode(segment=segment, refused=tuple((str(path), str(reason)) for path, reason in refused))


def bytecode_segment(
    wheel: Wheel,
    recipe: Recipe,
    *,
    compiler: Compiler,
    store: Store,
    modules: frozenset[str] | None = None,
    omitted: frozenset[str] = frozenset(),
) -> Bytecode:
    """
    Return the bytecode of *wheel* as a segment, from the store or compiled now.

    *modules* are the sources to compile, relative to ``python/``; others are left out, and ``None`` means all.
    *recipe* and *omitted* are those of the wheel's own segment: a source that is not in the layer gets no bytecode.
    Raises `BytecodeError` if the interpreter cannot be run, and what opening and placing the wheel raise.
    """
    key = bytecode_key(wheel.pin.sha256, recipe, interpreter=compiler.interpreter, modules=modules, omitted=omitted)
    if (kept := read_bytecode(key, store)) is not None:
        return kept
    from lamina.archive.placement import place
    from lamina.archive.wheel import WheelArchive

    pack_key = _digest([*_origin(compiler.interpreter), wheel.pin.sha256])
    with store.exclusive(f"bytecode-{pack_key}"):
        # Whoever had the lock before may have compiled all of it, or of its sources what is in the pack.
        if (kept := read_bytecode(key, store)) is not None:
            return kept
        with WheelArchive(wheel.path) as archive:
            sources = {
                placed.path.removeprefix(PREFIX): placed.located
                for placed in place(archive, excluded=recipe.excluded(), omitted=omitted).copied
                if placed.path.endswith(".py")
            }
            wanted = sorted(sources if modules is None else sources.keys() & modules)
            pack = _Pack(store.entry(AREA, pack_key, ".pack"), compiler.interpreter)
            missing = ((path, archive.read(sources[path])) for path in wanted if path not in pack)
            pack.add(compiler.compile(missing, root=LAYER_ROOT), store)
        return _write(key, pack, wanted, store)


def _write(key: str, pack: _Pack, sources: Iterable[str], store: Store) -> Bytecode:
    """Cut the segment *key* of *sources* from *pack*."""
    refused = tuple((path, reason) for path in sources if (reason := pack.reason(path)) is not None)
    if refused:
        # First, because a segment in the store means that all of it is there.
        with store.writing(store.entry(AREA, key, ".json")) as file:
            file.write(json.dumps(refused).encode())
    entries = (entry for path in sources if (entry := pack.bytecode(path)) is not None)
    return Bytecode(segment=write_segment(store.entry(AREA, key, ".seg"), entries, store), refused=refused)


def compile_sources(mode: BytecodeMode, tree: SourceTree, toolchain: Toolchain, store: Store) -> tuple[Entry, ...]:
    """
    Return the bytecode of the service's own sources, as members of its packages; kept in *store* for the next build.

    Raises BytecodeError where no interpreter is there, and PackageError for a source that changed since the tree was walked.
    """
    if mode is BytecodeMode.NONE:
        return ()
    files = [file for file in tree.files if file.path.endswith(".py")]
    key = _digest([RECIPE, *toolchain.release, [[file.path, file.sha256] for file in files]])
    place = store.entry(_OWN_AREA, key, ".seg")
    # What is damaged in the store reads as empty, and is made again.
    if kept := tuple(read_members(place)):
        return kept
    sources = [(file.path, file.read()) for file in files]
    members, _ = package_bytecode(sources, compiler=toolchain.compiler)
    write_segment(place, members, store)
    return members


def package_bytecode(
    sources: Iterable[tuple[str, bytes]], *, compiler: Compiler
) -> tuple[tuple[Entry, ...], tuple[tuple[str, str], ...]]:
    """
    Return the bytecode of a function's own *sources* as members of its package, and what was refused, with the reason.

    It is checked against the sources when it is imported, because those can be edited in the console.
    Raises `BytecodeError` if the interpreter cannot be run.
    """
    from lamina.bytecode.compiler import Invalidation, bytecode_path

    members: list[Entry] = []
    refused: list[tuple[str, str]] = []
    python = compiler.interpreter.version[:2]
    for done in compiler.compile(sources, root=FUNCTION_ROOT, invalidation=Invalidation.CHECKED):
        if done.bytecode is None:
            refused.append((done.path, done.reason or ""))
        else:
            members.append(encode(bytecode_path(done.path, python), done.bytecode))
    return tuple(members), tuple(refused)


class _Pack:
    """
    Everything that one interpreter has made of one wheel so far, in memory; a segment on disk.

    Its members are bytecode files at their paths in the layer, and for each refused source a text that says why.
    Whoever adds holds the store's lock on it, so that nobody's additions are lost.
    """

    def __init__(self, path: Path, interpreter: Interpreter) -> None:
        self._path = path
        self._python = interpreter.version[:2]
        self._members = {entry.member.path: entry for entry in read_members(path)}

    def __contains__(self, source: str) -> bool:
        return self._place(source) in self._members or source + _REFUSED in self._members

    def _place(self, source: str) -> str:
        from lamina.bytecode.compiler import bytecode_path

        return PREFIX + bytecode_path(source, self._python)

    def bytecode(self, source: str) -> Entry | None:
        """Return the bytecode of *source*, unless it was refused."""
        return self._members.get(self._place(source))

    def reason(self, source: str) -> str | None:
        """Return why *source* was refused, if it was."""
        entry = self._members.get(source + _REFUSED)
        if entry is None:
            return None
        text = zlib.decompress(entry.payload, -15) if entry.member.method == DEFLATED else bytes(entry.payload)
        return text.decode("utf-8")

    def add(self, results: Iterable[Compiled], store: Store) -> None:
        """Keep *results*, also on disk if there are any."""
        before = len(self._members)
        for done in results:
            if done.bytecode is None:
                entry = encode(done.path + _REFUSED, (done.reason or "").encode())
            else:
                entry = encode(self._place(done.path), done.bytecode)
            self._members[entry.member.path] = entry
        if len(self._members) > before:
            write_segment(self._path, (self._members[path] for path in sorted(self._members)), store)


def read_members(path: Path) -> Iterator[Entry]:
    """Yield the members of the segment at *path*, if there is one; it was written by lamina, into its own store."""
    segment = find_segment(path)
    if segment is None:
        return
    with path.open("rb", buffering=0) as file:
        entries = read_at(file, 0, segment.entries_bytes)
    if zlib.crc32(entries) != segment.crc32:
        return  # damaged in the store: what it held is compiled again
    for member, offset in own_rows(segment.directory):
        start = offset + LOCAL_HEADER.size + len(member.path.encode())
        yield Entry(member, entries[start : start + member.compressed])
