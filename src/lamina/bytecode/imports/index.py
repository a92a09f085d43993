"""
List the modules of a distribution or service, keep their scanned imports in the store, and find the reachable modules.

The target's interpreter scans a module when a handler first reaches it. An unchanged module is not scanned again.
"""

from __future__ import annotations

import configparser
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from lamina.bytecode.imports.resolve import Module, module_name, resolve
from lamina.bytecode.imports.rules import FIRST_PARTY, RECIPE, rules
from lamina.bytecode.imports.scan import Scan, decode, scan_extension
from lamina.bytecode.workers import Workers

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from lamina.bytecode.imports.resolve import Reachable
    from lamina.bytecode.interpreter import Interpreter
    from lamina.core.store import Store

IMPORTS_AREA = "imports"
_PROGRAM = Path(__file__).with_name("scan.py")


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

    def read(self, paths: Sequence[str]) -> Iterator[bytes]:
        """Yield the contents of *paths*, in order."""


class Scanner(Workers):
    """A pool of processes that scan sources with one interpreter, started with the first source; a context manager."""

    def __init__(self, interpreter: Interpreter, *, jobs: int | None = None) -> None:
        """Scan up to *jobs* sources at once (default: one per processor)."""
        super().__init__(interpreter, _PROGRAM, jobs=jobs)
        self.python = interpreter.version[:2]

    def scan(self, sources: Iterable[bytes]) -> Iterator[Scan]:
        """Yield the imports of each of *sources*, in order. Raises `BytecodeError` if the interpreter fails to run."""
        return self.map(self._scan, sources)

    def _scan(self, source: bytes) -> Scan:
        request = self.python[1].to_bytes(4, "little") + len(source).to_bytes(4, "little") + source
        _, answer = self.mine().ask(request)
        return decode(json.loads(answer))


def index_place(distribution: str, key: str, store: Store, *, python: tuple[int, int]) -> Path:
    """Return the path in *store* of the `ModuleIndex` for the tree *key* of *distribution* and the minor version *python*."""
    text = json.dumps([RECIPE, python, distribution, key], separators=(",", ":"))
    return store.entry(IMPORTS_AREA, hashlib.sha256(text.encode()).hexdigest(), ".json")


def is_index(content: bytes) -> bool:
    """Return whether *content*, which is untrusted, has the format of a `ModuleIndex` file. Its imports may still be wrong."""
    try:
        known = _Known(**json.loads(content))
        scans = [decode(row) for row in known.scans.values()]
        return (
            _are_strings([*known.modules, *known.modules.values(), *known.entry_points])
            and all(type(names) is list and _are_strings(names) for names in known.entry_points.values())
            and all(_is_scan(scan) for scan in scans)
        )
    except (AttributeError, RecursionError, TypeError, ValueError):
        return False


def _is_scan(scan: Scan) -> bool:
    texts = [
        *(text for each in scan.imports for text in (each.module, *each.names, each.scope)),
        *(text for name, mentioned in (*scan.table, *scan.mentions) for text in (name, *mentioned)),
        *scan.exports,
        *scan.names,
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
    scans: dict[str, Sequence[object]]
    """The scans as JSON arrays, by path; for the service's own sources, by the SHA-256 of the content."""


class ModuleIndex:
    """The modules of one tree with their scanned imports. Call `save` to write them to the store."""

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
        known = _load(self._path)
        self._scans = known.scans if known is not None else {}
        self._used: dict[str, Sequence[object]] = {}
        self._news = known is None
        if known is None or self._changes:
            known = _list(code)
        self._listed = known
        self.modules = {name: Module(name, code.distribution, path) for name, path in known.modules.items()}
        self.entry_points = known.entry_points

    def scans(self, modules: Sequence[Module], scanner: Scanner) -> dict[str, Scan]:
        """Return the imports of *modules* of this tree, by module name. Scan those that are not in the index."""
        keys = {module.name: module.path for module in modules}
        unknown = modules if self._changes else [module for module in modules if module.path not in self._scans]
        sources: dict[str, bytes] = {}
        for module, content in zip(unknown, self._code.read([module.path for module in unknown]), strict=True):
            if self._changes:
                keys[module.name] = hashlib.sha256(content).hexdigest()
            key = keys[module.name]
            if key in self._scans:
                continue
            self._news = True
            if module.is_extension:
                self._scans[key] = scan_extension(content, self.modules)
            else:
                sources[key] = content
        for key, read in zip(sources, scanner.scan(sources.values()), strict=True):
            self._scans[key] = read
        self._used.update((key, self._scans[key]) for key in keys.values())
        return {name: decode(self._scans[key]) for name, key in keys.items()}

    def save(self) -> None:
        """Write the index to the store if it has changed. For sources that change, keep only the scans used this time."""
        if not self._news:
            return
        document = _Known({}, {}, self._used) if self._changes else self._listed._replace(scans=self._scans)
        with self._store.writing(self._path) as file:
            file.write(json.dumps(document._asdict(), separators=(",", ":")).encode())
        self._news = False


def reachable(
    handlers: Iterable[str],
    trees: Sequence[Code],
    *,
    scanner: Scanner,
    store: Store,
    recorded: Iterable[str] = (),
) -> Reachable:
    """
    Return every module in *trees* that the modules *handlers* (dotted names) can import.

    *trees* are the service's own sources, followed by its distributions. If two trees contain the same module, that of the
    first tree counts, because Lambda puts a function's own code before its layers. *recorded* are the names of modules
    from a profile, which count as imported. Raises `BytecodeError` if the interpreter fails to run, and the errors of
    reading *trees*.
    """
    indexes = {tree.distribution: ModuleIndex(tree, store, python=scanner.python) for tree in trees}
    modules: dict[str, Module] = {}
    groups: dict[str, list[str]] = {}
    for index in indexes.values():
        for name, module in index.modules.items():
            modules.setdefault(name, module)
        for group, names in index.entry_points.items():
            groups.setdefault(group, []).extend(names)

    def scans(wave: Sequence[Module]) -> dict[str, Scan]:
        by_tree: dict[str, list[Module]] = {}
        for module in wave:
            by_tree.setdefault(module.distribution, []).append(module)
        found: dict[str, Scan] = {}
        for distribution, members in by_tree.items():
            found |= indexes[distribution].scans(members, scanner)
        return found

    result = resolve(handlers, modules, scans=scans, rules=rules(), entry_points=groups, recorded=recorded)
    for index in indexes.values():
        index.save()
    return result


def _load(path: Path) -> _Known | None:
    try:
        return _Known(**json.loads(path.read_bytes()))
    except (OSError, RecursionError, ValueError, TypeError):
        # If the file is unreadable or invalid, scan the modules again.
        return None


def _list(code: Code) -> _Known:
    paths = sorted(code.paths())
    modules: dict[str, str] = {}
    # Python imports a package rather than a module, and an extension module rather than a source.
    for path in sorted(paths, key=lambda path: ("/__init__." not in path, path.endswith(".py"), path)):
        name = module_name(path)
        if name is not None:
            modules.setdefault(name, path)
    declarations = [path for path in paths if path.endswith(".dist-info/entry_points.txt") and path.count("/") == 1]
    groups: dict[str, list[str]] = {}
    for content in code.read(declarations):
        for group, name in _entry_points(content):
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
