"""
Compile the bytecode of a layer and of a service's own sources. Each module of a wheel is compiled only once.

A wheel's bytecode is a separate segment. The store also keeps a *pack* for each wheel, which contains all modules compiled
so far, and from which the segments are cut. If a handler imports a new module, only modules that are not in the pack are
compiled.
"""

from __future__ import annotations

import zlib
from types import MappingProxyType
from typing import TYPE_CHECKING

from lamina.archive.segment import Recipe, Segment, find_segment, write_segment
from lamina.archive.zip.copying import read_at
from lamina.archive.zip.zipformat import DEFLATED, LOCAL_HEADER, Entry, encode, own_rows
from lamina.bytecode.bounds import most_tokens
from lamina.core.frozen import frozen
from lamina.core.paths import PREFIX
from lamina.core.store import key_of, open_stored
from lamina.project.service import BytecodeMode

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from lamina.bytecode.compiler import Compiled, Compiler
    from lamina.bytecode.interpreter import Interpreter
    from lamina.bytecode.toolchain import Toolchain
    from lamina.core.store import Store
    from lamina.core.values import Wheel
    from lamina.project.sources import SourceFile, SourceTree

RECIPE = 1
"""The version of the bytecode recipe. Raise it with every change to the bytes for the same source and interpreter."""

LAYER_ROOT = f"/opt/{PREFIX}"
"""Where Lambda unpacks a layer's modules, as shown in tracebacks (AWS, "Working with layers for Python", 2026-11)."""
FUNCTION_ROOT = "/var/task/"
"""Where Lambda unpacks a function's own code (AWS, "Define Lambda function handler in Python", 2026-11)."""

AREA = "bytecode"
OWN_AREA = "own-bytecode"
_REFUSED = ".refused"


@frozen
class Bytecode:
    """The bytecode of one wheel, for one interpreter and one choice of modules."""

    segment: Segment
    refused: tuple[tuple[str, str], ...]
    """
    The sources that do not compile, such as templates or code for Python 2.

    Pairs of path, relative to ``python/``, and error message.
    """


def bytecode_key(
    wheel_sha256: str,
    recipe: Recipe,
    *,
    interpreter: Interpreter,
    modules: frozenset[str] | None,
    omitted: frozenset[str] = frozenset(),
) -> str:
    """
    Return the key under which the store has the segment that `bytecode_segment` returns for the same arguments.

    The key includes the interpreter's patch release, because patch releases fix the compiler.
    """
    chosen = None if modules is None else sorted(modules)
    origin = _origin(interpreter, root_of(recipe))
    return key_of(*origin, recipe.canonical(), wheel_sha256, sorted(omitted), chosen)


def root_of(recipe: Recipe) -> str:
    """Return the directory on Lambda of the modules that *recipe* places into a layer or into the zip of a function."""
    return FUNCTION_ROOT if recipe.prefix != PREFIX else LAYER_ROOT


def _origin(interpreter: Interpreter, root: str) -> list[object]:
    return [*_version(), root, interpreter.magic, interpreter.version]


def _version() -> list[object]:
    """Return what decides which sources are compiled, and how."""
    return [RECIPE, most_tokens()]


def read_bytecode(key: str, store: Store) -> Bytecode | None:
    """Return the bytecode in *store* under *key*, a `bytecode_key`, or ``None`` if there is none."""
    segment = find_segment(store.entry(AREA, key, ".seg"), store)
    if segment is None:
        return None
    listed = store.entry(AREA, key, ".json")
    refused = store.read_document(
        listed, lambda content: tuple((str(path), str(why)) for path, why in content["refused"])
    )
    return Bytecode(segment=segment, refused=refused or ())


class CompiledModules:
    """
    The bytecode of wheels that was compiled before its segments are written. Methods are thread-safe.

    It is kept by wheel, because two layers of a service may contain different versions of one distribution.
    """

    def __init__(self, python: tuple[int, int]) -> None:
        """Keep bytecode of the minor version *python*."""
        self._python = python
        self._entries: dict[str, dict[str, Entry]] = {}

    def keep(self, wheel_sha256: str, compiled: Compiled) -> None:
        """Keep the bytecode of one source of a wheel, compressed."""
        self._entries.setdefault(wheel_sha256, {})[compiled.path] = _packed(compiled, self._python, PREFIX)

    def of(self, wheel_sha256: str) -> Mapping[str, Entry]:
        """Return the members of the `_Pack` of a wheel, by the path of the source."""
        return self._entries.get(wheel_sha256, {})


def bytecode_segment(
    wheel: Wheel,
    recipe: Recipe,
    *,
    compiler: Compiler,
    store: Store,
    modules: frozenset[str] | None = None,
    omitted: frozenset[str] = frozenset(),
    compiled: Mapping[str, Entry] = MappingProxyType({}),
) -> Bytecode:
    """
    Return the bytecode of *wheel* as a segment, compiling modules that are not in the store.

    *modules* are the sources to compile, relative to ``python/``; ``None`` means all sources. *compiled* contains those
    that `CompiledModules` has for this wheel.
    Pass the *recipe* and *omitted* of the wheel's own segment, so that only sources in the layer are compiled.
    Raises `BytecodeError` if the interpreter fails to run, and the errors of opening the wheel and computing its paths.
    """
    key = bytecode_key(wheel.pin.sha256, recipe, interpreter=compiler.interpreter, modules=modules, omitted=omitted)
    if (kept := read_bytecode(key, store)) is not None:
        return kept
    from lamina.archive.placement import place
    from lamina.archive.wheel import WheelArchive

    root = root_of(recipe)
    pack_key = key_of(*_origin(compiler.interpreter, root), wheel.pin.sha256)
    with store.exclusive(f"bytecode-{pack_key}"):
        # The previous holder of the lock may have written this segment, or added some of its modules to the pack.
        if (kept := read_bytecode(key, store)) is not None:
            return kept
        with WheelArchive(wheel.path) as archive:
            sources = {
                placed.path.removeprefix(recipe.prefix): placed.located
                for placed in place(archive, excluded=recipe.excluded(), omitted=omitted, prefix=recipe.prefix).copied
                if placed.path.endswith(".py")
            }
            wanted = sorted(sources if modules is None else sources.keys() & modules)
            pack = _Pack(store.entry(AREA, pack_key, ".pack"), compiler.interpreter, store, prefix=recipe.prefix)
            absent = [path for path in wanted if path not in pack]
            missing = ((path, archive.read(sources[path])) for path in absent if path not in compiled)
            results = compiler.compile(missing, root=root)
            python = compiler.interpreter.version[:2]
            pack.add(
                [
                    *(compiled[path] for path in absent if path in compiled),
                    *(_packed(result, python, recipe.prefix) for result in results),
                ]
            )
        return _write(key, pack, wanted, store)


def _write(key: str, pack: _Pack, sources: Iterable[str], store: Store) -> Bytecode:
    """Write the segment *key* with the bytecode of *sources* from *pack*."""
    refused = tuple((path, reason) for path in sources if (reason := pack.reason(path)) is not None)
    if refused:
        # Write this file before the segment, because an existing segment means that both files are complete.
        store.write_document(store.entry(AREA, key, ".json"), {"refused": refused})
    entries = (entry for path in sources if (entry := pack.bytecode(path)) is not None)
    return Bytecode(segment=write_segment(store.entry(AREA, key, ".seg"), entries, store), refused=refused)


def compile_sources(mode: BytecodeMode, tree: SourceTree, toolchain: Toolchain, store: Store) -> tuple[Entry, ...]:
    """
    Return the bytecode of the service's own sources, as zip members for its function packages.

    The result is empty in the mode ``none``. Raises the errors of `sources_bytecode`.
    """
    if mode is BytecodeMode.NONE:
        return ()
    return tuple(read_members(sources_bytecode(tree, toolchain, store).path, store))


def sources_bytecode(tree: SourceTree, toolchain: Toolchain, store: Store) -> Segment:
    """
    Return the bytecode of the service's own sources in a function package as a segment, from *store* or compiled.

    Sources that do not compile are left out.
    Raises BytecodeError if no interpreter is available or if it fails to run. Raises PackageError for a source that has
    changed since *tree* was read, and OSError for a missing source.
    """
    files = [file for file in tree.files if file.path.endswith(".py")]
    key = key_of(*_version(), *toolchain.release, [[file.path, file.sha256] for file in files])
    place = store.entry(OWN_AREA, key, ".seg")
    if (segment := find_segment(place, store)) is not None and (not segment.rows or any(read_members(place, store))):
        return segment
    sources = [(file.path, file.read()) for file in files]
    members, _ = package_bytecode(sources, compiler=toolchain.compiler)
    return write_segment(place, members, store)


def own_code_bytecode(
    files: Sequence[SourceFile], toolchain: Toolchain, store: Store, *, omitted: frozenset[str] = frozenset()
) -> Segment:
    """
    Return the bytecode of the service's own *files* in a layer as a segment, from *store* or compiled.

    *omitted* contains the layer paths that the layer does not contain from *files*. Sources that do not compile are left out.
    Raises BytecodeError if no interpreter is available or if it fails to run. Raises PackageError for a source that has
    changed since it was listed, and OSError for a missing source.
    """
    from lamina.bytecode.compiler import Invalidation

    sources = [file for file in files if file.path.endswith(".py") and PREFIX + file.path not in omitted]
    key = key_of(*_version(), LAYER_ROOT, *toolchain.release, [[file.path, file.sha256] for file in sources])
    place = store.entry(OWN_AREA, key, ".seg")
    if (segment := find_segment(place, store)) is not None:
        return segment
    python = toolchain.python
    compiled = toolchain.compiler.compile(
        ((file.path, file.read()) for file in sources), root=LAYER_ROOT, invalidation=Invalidation.UNCHECKED
    )
    members = (
        encode(_place(each.path, python, PREFIX), each.bytecode) for each in compiled if each.bytecode is not None
    )
    return write_segment(place, members, store)


def package_bytecode(
    sources: Iterable[tuple[str, bytes]], *, compiler: Compiler
) -> tuple[tuple[Entry, ...], tuple[tuple[str, str], ...]]:
    """
    Return the bytecode of a service's own *sources* (pairs of path and content), as zip members for function packages.

    The second result lists the sources that do not compile, as pairs of path and reason.

    Python checks this bytecode against the sources on import, because the sources can be edited in the console.
    Raises `BytecodeError` if the interpreter fails to run.
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
    All modules of one wheel that one interpreter has compiled so far: in memory, and in the store as a segment.

    Its members are bytecode files at their paths in the layer, and an error text for each source that does not compile.
    Create the pack and call `add` while holding the store's lock for it; otherwise, concurrent builds could overwrite each
    other's modules.
    """

    def __init__(self, path: Path, interpreter: Interpreter, store: Store, *, prefix: str) -> None:
        self._path = path
        self._prefix = prefix
        self._store = store
        self._python = interpreter.version[:2]
        self._members = {entry.member.path: entry for entry in read_members(path, store)}

    def __contains__(self, source: str) -> bool:
        return self.bytecode(source) is not None or source + _REFUSED in self._members

    def bytecode(self, source: str) -> Entry | None:
        """Return the bytecode of *source*, or ``None`` if the source does not compile or is not in the pack."""
        return self._members.get(_place(source, self._python, self._prefix))

    def reason(self, source: str) -> str | None:
        """Return why *source* does not compile, or ``None`` if it compiles or is not in the pack."""
        entry = self._members.get(source + _REFUSED)
        if entry is None:
            return None
        text = zlib.decompress(entry.payload, -15) if entry.member.method == DEFLATED else bytes(entry.payload)
        return text.decode("utf-8")

    def add(self, entries: Iterable[Entry]) -> None:
        """Add *entries*, made by `_packed`. If there are any, write the pack to the store."""
        added = {entry.member.path: entry for entry in entries}
        if added:
            self._members |= added
            write_segment(self._path, (self._members[path] for path in sorted(self._members)), self._store)


def _packed(compiled: Compiled, python: tuple[int, int], prefix: str) -> Entry:
    """Return *compiled* as a member of a `_Pack` with *prefix*."""
    if compiled.bytecode is None:
        return encode(compiled.path + _REFUSED, (compiled.reason or "").encode())
    return encode(_place(compiled.path, python, prefix), compiled.bytecode)


def _place(source: str, python: tuple[int, int], prefix: str) -> str:
    from lamina.bytecode.compiler import bytecode_path

    return prefix + bytecode_path(source, python)


def read_members(path: Path, store: Store) -> Iterator[Entry]:
    """Yield the members of the segment at *path* in *store*, if there is one. A damaged one is discarded."""
    segment = find_segment(path, store)
    if segment is None:
        return
    with open_stored(path) as file:
        entries = read_at(file, 0, segment.entries_bytes)
    if zlib.crc32(entries) != segment.crc32:
        store.discard(path)  # its modules are compiled again
        return
    for member, offset in own_rows(segment.directory):
        start = offset + LOCAL_HEADER.size + len(member.path.encode())
        yield Entry(member, entries[start : start + member.compressed])
