"""
List the modules of a distribution or service, and keep their scanned imports in the store.

The target's interpreter scans a module when a handler first reaches it. An unchanged module is not scanned again.
"""

from __future__ import annotations

import configparser
import hashlib
import json
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, Self

from lamina.bytecode.bounds import TOO_LARGE, is_too_large
from lamina.bytecode.imports.resolve import Module, module_name
from lamina.bytecode.imports.rules import FIRST_PARTY, RECIPE
from lamina.bytecode.imports.scan import Scan, decode, encoded, scan_extension
from lamina.bytecode.segment import LAYER_ROOT
from lamina.core.errors import BytecodeError, DamagedFileError
from lamina.core.store import key_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from lamina.bytecode.compiler import Compiled
    from lamina.core.store import Store

IMPORTS_AREA = "imports"


class Code(Protocol):
    """A tree of modules: a wheel as unpacked in a layer, or the service's own sources."""

    @property
    def distribution(self) -> str:
        """The distribution's normalised name, or `FIRST_PARTY` for the service's own sources."""

    @property
    def key(self) -> str:
        """A text that differs if paths or contents differ. For the service's own sources, it only identifies the project."""

    def paths(self) -> Iterable[str]:
        """Return the paths of all files, relative to the import root."""

    def read(self, path: str) -> Iterator[bytes | memoryview]:
        """Yield the content of the file *path* in pieces. Several threads may call this at once. Raises KeyError without that file."""


class Scanner(Protocol):
    """Finds the imports of a source: a `Compiler`, or `OwnScanner`, which needs no interpreter of the target's version."""

    def scan(self, path: str, source: bytes, *, root: str | None = None) -> tuple[Sequence[Any], Compiled | None]:
        """Return the imports of *source* as JSON values for `decode`, and with *root* its bytecode; see `Compiler.scan`."""


class OwnScanner:
    """Scans sources in this process, for the minor version *python*. Compiles nothing."""

    def __init__(self, python: tuple[int, int]) -> None:
        self._python = python

    def scan(self, path: str, source: bytes, *, root: str | None = None) -> tuple[Sequence[Any], None]:
        """Return the imports of *source*; see `Scanner`. *root* is not needed. Raises `BytecodeError` without memory for it."""
        del root
        try:
            return json.loads(encoded(source, python=self._python)), None
        except MemoryError as error:
            raise BytecodeError(f"there is too little memory to read the imports of `{path}`") from error


def index_place(distribution: str, key: str, store: Store, *, python: tuple[int, int]) -> Path:
    """Return the path in *store* of the `ModuleIndex` for the tree *key* of *distribution* and the minor version *python*."""
    return store.entry(IMPORTS_AREA, key_of(RECIPE, python, distribution, key), ".json")


def parse_index(content: Mapping[str, Any]) -> _Known:
    """
    Return *content*, the untrusted content of a `ModuleIndex` file, whose imports may still be wrong.

    Raises one of `lamina.core.documents.INVALID` if it has another format.
    """
    known = _Known(**content)
    texts = [*known.modules, *known.modules.values(), *known.entry_points]
    if not (
        _are_strings(texts)
        and all(type(names) is list and _are_strings(names) for names in known.entry_points.values())
        and all(_is_scan(decode(row)) for row in known.scans.values())
    ):
        raise ValueError("not an index of modules")
    return known


def _is_scan(scan: Scan) -> bool:
    texts = [
        *(text for each in scan.imports for text in (each.module, *each.names, each.scope, each.need)),
        *(text for name, mentioned in (*scan.table, *scan.mentions) for text in (name, *mentioned)),
        *scan.exports,
        *scan.names,
        *scan.aliases,
        scan.problem or "",
    ]
    return _are_strings(texts) and all(type(each.level) is int and type(each.quoted) is bool for each in scan.imports)


def _are_strings(values: Iterable[object]) -> bool:
    return all(isinstance(value, str) for value in values)


class _Known(NamedTuple):
    """The content of an index file. For the service's own sources, a file contains only *scans*."""

    modules: Mapping[str, str]
    """The path of each module, by dotted name."""
    entry_points: Mapping[str, Sequence[str]]
    """The modules that the entry points name, by entry point group."""
    scans: Mapping[str, Sequence[object]]
    """The scans as JSON arrays, by path; for the service's own sources, by the SHA-256 of the content."""


class ModuleIndex:
    """
    The modules of one tree with their scanned imports. Call `save` to write them to the store.

    `scan` may be called from several threads at once.
    """

    def __init__(self, code: Code, store: Store, *, python: tuple[int, int]) -> None:
        """
        Load the index of *code* from *store*; if there is none, list the files of *code*.

        The service's own files are always listed, because they can change.
        """
        self._code = code
        self._store = store
        # A service's sources change. Scans are therefore kept by content hash, and the files are listed again each time.
        self._changes = code.distribution == FIRST_PARTY
        self._path = index_place(code.distribution, code.key, store, python=python)
        known = _load(self._path, store)
        self.is_new = known is None
        """Whether the store had no index, so that no module of the tree has been scanned before."""
        # A scan that was loaded stays in its JSON form until it is needed.
        self._scans: dict[str, Scan | Sequence[object]] = {} if known is None else dict(known.scans)
        self._keys: dict[str, str] = {}
        self._news = known is None
        if known is None or self._changes:
            known = _list(code)
        self._listed = known
        self.distribution = code.distribution
        self.modules = {name: Module(name, code.distribution, path) for name, path in known.modules.items()}
        self.entry_points = known.entry_points

    def known(self, module: Module) -> Scan | None:
        """Return the imports of *module* of this tree, or ``None`` if `scan` must read the module to find them."""
        key = self._keys.get(module.path) if self._changes else module.path
        found = None if key is None else self._scans.get(key)
        if key is None or found is None:
            return None
        if not isinstance(found, Scan):
            found = self._scans[key] = decode(found)
        return found

    def scan(self, module: Module, scanner: Scanner, *, compile_too: bool = False) -> tuple[Scan, Compiled | None]:
        """
        Read *module* of this tree, and return its imports, and with *compile_too* its bytecode if it is a source of a layer.

        If *scanner* is a `Compiler`, call this in one of its threads. Raises the errors of `Scanner.scan` and of reading the
        tree, and DamagedFileError if the loaded index has modules that the tree lacks.
        """
        compiled = None
        key = module.path
        if module.is_extension:
            found = scan_extension(self._read(module.path), self.modules)
        else:
            content = b"".join(self._read(module.path))
            if self._changes:
                key = self._keys[module.path] = hashlib.sha256(content).hexdigest()
                if (known := self.known(module)) is not None:
                    return known, None
            if is_too_large(content):
                found = self._scans[key] = Scan(problem=TOO_LARGE)
                self._news = True
                return found, None
            root = LAYER_ROOT if compile_too and not self._changes else None
            row, compiled = scanner.scan(module.path, content, root=root)
            found = decode(row)
        self._scans[key] = found
        self._news = True
        return found, compiled

    def _read(self, path: str) -> Iterator[bytes | memoryview]:
        try:
            yield from self._code.read(path)
        except KeyError as error:
            # The index is from another tree. Somebody else wrote it, because lamina's own files prove themselves.
            raise DamagedFileError(self._path) from error

    def save(self) -> None:
        """Write the index to the store if it has changed. For sources that change, keep only the scans used this time."""
        if not self._news:
            return
        if self._changes:
            used = {key: self._scans[key] for key in self._keys.values()}
            document = _Known({}, {}, used)
        else:
            document = self._listed._replace(scans=self._scans)
        self._store.write_document(self._path, document._asdict())
        self._news = False


class KnownModules:
    """The modules of one distribution, with the imports that earlier searches scanned. Reads no wheel."""

    def __init__(self, known: _Known, distribution: str) -> None:
        self._scans: dict[str, Scan | Sequence[object]] = dict(known.scans)
        self.distribution = distribution
        self.modules = {name: Module(name, distribution, path) for name, path in known.modules.items()}

    @classmethod
    def load(cls, distribution: str, key: str, store: Store, *, python: tuple[int, int]) -> Self | None:
        """Return what *store* knows about the tree *key* of *distribution*, or ``None`` if it has no `ModuleIndex` of it."""
        known = _load(index_place(distribution, key, store, python=python), store)
        return None if known is None else cls(known, distribution)

    def scan(self, module: Module) -> Scan | None:
        """Return the imports of *module*, or ``None`` if it has not been scanned."""
        found = self._scans.get(module.path)
        if found is not None and not isinstance(found, Scan):
            found = self._scans[module.path] = decode(found)
        return found


def _load(path: Path, store: Store) -> _Known | None:
    # The scans are not taken apart here: most of them are not needed.
    return store.read_document(path, lambda content: _Known(**content))


def _list(code: Code) -> _Known:
    paths = sorted(code.paths())
    modules: dict[str, str] = {}
    # Python imports a package rather than a module, and an extension module rather than a source.
    for path in sorted(paths, key=lambda path: ("/__init__." not in path, path.endswith(".py"), path)):
        name = module_name(path, any_name=code.distribution == FIRST_PARTY)
        if name is not None:
            modules.setdefault(name, path)
    declarations = [path for path in paths if path.endswith(".dist-info/entry_points.txt") and path.count("/") == 1]
    groups: dict[str, list[str]] = {}
    for path in declarations:
        for group, name in _entry_points(b"".join(code.read(path))):
            groups.setdefault(group, []).append(name)
    return _Known(modules=modules, entry_points=groups, scans={})


def _entry_points(content: bytes) -> Iterator[tuple[str, str]]:
    """
    Yield the group and the module of each entry point in *content*; nothing if *content* is malformed.

    Source: packaging.python.org, "Entry points specification" (read 2026-11).
    """
    parser = configparser.ConfigParser(delimiters=("=",), interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[method-assign,assignment]  # names are case-sensitive
    try:
        parser.read_string(content.decode("utf-8", "replace"))
    except configparser.Error:
        return
    for group in parser.sections():
        for reference in parser[group].values():
            yield group, reference.partition(":")[0].partition("[")[0].strip()
