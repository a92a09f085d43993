"""
Find imports that fail on Lambda, because nothing provides the module.

A module comes from the function package, a layer, or the runtime with its standard library. The check reads finished zips and
runs no code. Inside distributions it follows imports only as far as they have been scanned to choose bytecode.

==================  ========  ========================================================================================
rule                severity  reported if
==================  ========  ========================================================================================
``missing-import``  error     a handler's module, or a module that it imports, imports a module that nothing provides; a
                              warning if the import is in a function or under a condition, and a note if a layer by ARN that
                              is not pinned may provide it
==================  ========  ========================================================================================
"""

from __future__ import annotations

import re
import sys
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from lamina.bytecode.choice import source_key
from lamina.bytecode.imports.index import KnownModules, ModuleIndex, OwnScanner
from lamina.bytecode.imports.lines import import_lines
from lamina.bytecode.imports.missing import Form, InsideMiss, OwnModules, find_inside, find_missing
from lamina.bytecode.imports.resolve import Module
from lamina.bytecode.imports.rules import FIRST_PARTY
from lamina.bytecode.imports.rules import version as imports_version
from lamina.core.paths import PREFIX
from lamina.core.store import key_of
from lamina.core.values import Finding, Severity
from lamina.pipeline.checks.common import View, listed, own_paths
from lamina.pipeline.checks.modules import created_modules, preinstalled_modules
from lamina.pipeline.checks.origins import Origins
from lamina.pipeline.checks.stdlib import is_standard
from lamina.project.pinned import is_pinnable
from lamina.project.publishers import can_have_modules
from lamina.project.service import BytecodeMode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from lamina.bytecode.imports.missing import Miss
    from lamina.bytecode.imports.scan import Scan
    from lamina.core.store import Store
    from lamina.core.values import Layer, Package
    from lamina.pipeline.checks.cures import ImportCures
    from lamina.pipeline.layers import LayerDraft
    from lamina.project.service import Function, PackageConfig, Service
    from lamina.project.sources import SourceFile, SourceTree

RULE = "missing-import"
MISSING_AREA = "missing"
"""The area of the store with the missing imports of distributions."""
_FORMAT = 2
# An `.so` file of another Python version or platform is rare, because wheels with such files do not fit the target.
_MODULE_FILE = re.compile(rb"\.(?:py(?![a-z])|pyc|(?:[\w-]+\.)*so)")


def check(
    layers: Sequence[Layer],
    packages: Sequence[Package],
    service: Service,
    plans: Sequence[LayerDraft],
    trees: Mapping[PackageConfig, SourceTree | None],
    *,
    bundles: Mapping[PackageConfig, LayerDraft | None],
    store: Store,
) -> tuple[Finding, ...]:
    """
    Return a finding for each module that a handler of *packages* imports and that nothing provides.

    *plans* are the plans of *layers*, *trees* the sources of each package, as far as they were read, and *bundles* the distributions
    in it. *store* keeps the imports. Without bytecode, the service's own modules are scanned in this process, and no wheel is read. Raises
    ArchiveError for a damaged zip, PackageError for a source that changed during the build, and the errors of reading the
    lock file again if something is missing.
    """
    views = {layer.name: View(layer.path) for layer in layers}
    found: dict[str, tuple[Severity, list[str], tuple[str | None, int | None]]] = {}
    for group in _groups(packages, service, bundles):
        search = _GroupSearch(group, service, views, plans, trees[group.config], store=store)
        misses = search.misses(group.functions)
        if not misses:
            continue
        # Importing what reads lock files takes longer than the whole search.
        from lamina.pipeline.checks.cures import ImportCures

        cures = ImportCures(service, group.config, plans, trees[group.config], group.bundle)
        for miss in misses:
            severity, text = _worded(miss, search, cures, group)
            found.setdefault(text, (severity, [], search.place(miss)))[1].extend(search.affected(miss))
    return tuple(
        Finding(rule=RULE, severity=severity, message=f"{listed(names)} {text}", path=names[0], file=file, line=line)
        for text, (severity, names, (file, line)) in found.items()
    )


class _Group(NamedTuple):
    """Functions with the same code and layers."""

    package: Package
    functions: tuple[Function, ...]
    config: PackageConfig
    layers: tuple[str, ...]
    arns: tuple[str, ...]
    bundle: LayerDraft | None
    """The distributions in the package."""


def _groups(
    packages: Iterable[Package], service: Service, bundles: Mapping[PackageConfig, LayerDraft | None]
) -> Iterator[_Group]:
    by_name = {package.name: package for package in packages}
    for config in service.packages:
        alike: dict[tuple[tuple[str, ...], tuple[str, ...]], list[Function]] = {}
        for function in config.functions:
            alike.setdefault((function.layers, function.layer_arns), []).append(function)
        for (layers, arns), functions in alike.items():
            package = by_name[functions[0].name]
            yield _Group(package, tuple(functions), config, layers, arns, bundles.get(config))


class _GroupSearch:
    """The search for what the functions of one group import."""

    def __init__(
        self,
        group: _Group,
        service: Service,
        views: Mapping[str, View],
        plans: Sequence[LayerDraft],
        tree: SourceTree | None,
        *,
        store: Store,
    ) -> None:
        python = service.target.python
        self._group = group
        # Without bytecode, this process scans the sources, whose version of Python may be another one than the target's.
        self._keeps = service.bytecode is BytecodeMode.NONE
        key = source_key(service, group.config)
        used = [plan for plan in plans if plan.name in group.layers]
        package = View(group.package.path)
        own = own_paths(package, group.package)
        self._code = _OwnCode.of(
            package,
            own,
            [(views[plan.name], plan) for plan in used],
            tree.files if tree is not None else (),
            f"{key}\nin Python {sys.version_info[:2]}" if self._keeps else key,
        )
        self._index = ModuleIndex(self._code, store, python=python)
        self._scanner = OwnScanner(python)
        self._scanned: dict[str, Scan] = {}
        self._lines: dict[str, Mapping[tuple[str, int, tuple[str, ...]], int]] = {}
        self._missed: dict[str, frozenset[str]] = {}
        """The missing modules of each function, if there are several functions and one of them misses a module."""
        self._origins = Origins(service)
        self._own = OwnModules(self._index.modules, self._code.paths())
        in_layers = _LayersPath([views[name] for name in group.layers], python)
        pins = service.pins_of(group.arns)
        self.unread = tuple(arn for arn in group.arns if not service.pins_of((arn,)) and can_have_modules(arn))
        """The layers by ARN that may have modules, but which ones is unknown, because they are not pinned."""
        provided = sorted({*service.provided, *(name for pin in pins for name in pin.contents.modules_for(python))})
        in_zip = _ZipPath(
            {member.path for member, _ in package.rows}.difference(own) if group.bundle is not None else ()
        )
        created = [
            name
            for maker, names in created_modules().items()
            if in_layers.form(maker) or in_zip.form(maker)
            for name in names
        ]
        more = {*preinstalled_modules(service.target), *provided, *created}
        self._others = (in_zip, in_layers, _RuntimePath(python, more))
        held = used if group.bundle is None else [*used, group.bundle]
        indexed = held if service.bytecode is BytecodeMode.REACHABLE else []
        # What else decides whether a distribution finds a module.
        tops = sorted({path.partition("/")[0] for path in self._code.paths()})
        world = [service.target.runtime, provided, tops]
        self._inside = _IndexedModules(indexed, world, store, python)

    def misses(self, functions: Iterable[Function]) -> tuple[Miss, ...]:
        """Return what the handlers of *functions* import and nothing provides."""
        found = find_missing(
            [function.module for function in functions],
            self._own,
            self._others,
            scans=self._scan,
            inside=self._inside,
        )
        if self._keeps:
            self._index.save()
        return found

    def affected(self, miss: Miss) -> list[str]:
        """Return the names of the functions for which *miss* is found."""
        functions = self._group.functions
        if len(functions) == 1:
            return [functions[0].name]
        if not self._missed:
            self._missed = {
                function.name: frozenset(each.module for each in self.misses((function,))) for function in functions
            }
        return [name for name, modules in self._missed.items() if miss.module in modules]

    def has_parent(self, miss: Miss) -> bool:
        """Return whether the package contains the parent of the missing module, so that only a part of it is missing."""
        return self._own.form(miss.module.rpartition(".")[0]) is not None

    def place(self, miss: Miss) -> tuple[str | None, int | None]:
        """Return the source of the last of the service's own modules on the way to *miss*, relative to the project, and the line."""
        importer = miss.chain[-1]
        own = next((each for each in reversed(miss.chain) if each.distribution == FIRST_PARTY), importer)
        file = self._origins.of(own.path, self._group.package.name)
        return file, self.line(miss) if file is not None and own is importer else None

    def line(self, miss: Miss) -> int | None:
        """Return the line of the import in the service's own module that leads to *miss*, or ``None`` if it is not found."""
        each, path = miss.statement, miss.chain[-1].path
        if each is None:
            return None
        if path not in self._lines:
            self._lines[path] = import_lines(self._code.content(path))
        return self._lines[path].get((each.module, each.level, each.names))

    def _scan(self, module: Module) -> Scan:
        if module.path not in self._scanned:
            self._scanned[module.path] = self._index.scan(module, self._scanner)[0]
        return self._scanned[module.path]


class _OwnCode:
    """The service's own modules in finished zips: a package, then layers; implements `lamina.bytecode.imports.index.Code`."""

    distribution = FIRST_PARTY

    def __init__(self, readers: Mapping[str, Callable[[], bytes]], key: str) -> None:
        self._readers = readers
        self.key = key

    @classmethod
    def of(
        cls,
        package: View,
        own: Iterable[str],
        layers: Iterable[tuple[View, LayerDraft]],
        sources: Iterable[SourceFile],
        key: str,
    ) -> Self:
        """
        Return the modules *own* of *package* and, unless it has the same path, those that *layers* contain for the service.

        The files of the package are read from *sources*, which is faster, as far as these are known.
        """
        readers: dict[str, Callable[[], bytes]] = {path: partial(package.content, path) for path in own}
        readers |= {file.path: file.read for file in sources if file.path in readers}
        for view, plan in layers:
            for file in plan.own_code:
                readers.setdefault(file.path, partial(view.content, PREFIX + file.path))
        return cls(readers, key)

    def paths(self) -> Iterable[str]:
        """Return the paths of all files."""
        return self._readers

    def read(self, path: str) -> Iterator[bytes]:
        """Yield the content of *path*."""
        yield self.content(path)

    def content(self, path: str) -> bytes:
        """Return the content of *path*."""
        return self._readers[path]()


class _LayersPath:
    """The directories of ``/opt`` on ``sys.path``, into which Lambda unpacks all layers of a function."""

    def __init__(self, views: Sequence[View], python: tuple[int, int]) -> None:
        site_packages = b"python/lib/python%d.%d/site-packages/" % python
        self._trees = [
            (view.raw, root, frozenset(re.findall(re.escape(root) + rb"(\w+)", view.raw)))
            for view in views
            for root in (b"python/", site_packages)
        ]
        """The unparsed central directory, the root, and its top-level names. Parsing thousands of members takes longer."""
        self._forms: dict[str, Form | None] = {}

    def form(self, module: str) -> Form | None:
        """Return how the layers contain *module*; see `ImportPath`."""
        if module not in self._forms:
            name = module.encode()
            top = name.partition(b".")[0]
            forms = {_form_in(raw, root + name.replace(b".", b"/")) for raw, root, tops in self._trees if top in tops}
            self._forms[module] = next((form for form in Form if form in forms), None)
        return self._forms[module]


class _ZipPath:
    """The distributions in the zip of a function, which Lambda unpacks into the directory of the function's own code."""

    def __init__(self, paths: Iterable[str]) -> None:
        self._regular: set[str] = set()
        self._directories: set[str] = set()
        for path in paths:
            directory, _, name = path.rpartition("/")
            stem = name.partition(".")[0]
            if _MODULE_FILE.fullmatch(name.removeprefix(stem).encode()):
                self._regular.add(directory if stem == "__init__" else f"{directory}/{stem}".strip("/"))
            while directory and directory not in self._directories:
                self._directories.add(directory)
                directory = directory.rpartition("/")[0]

    def form(self, module: str) -> Form | None:
        """Return how the distributions contain *module*; see `ImportPath`."""
        path = module.replace(".", "/")
        if path in self._regular:
            return Form.REGULAR
        return Form.NAMESPACE if path in self._directories else None


def _form_in(directory: bytes, path: bytes) -> Form | None:
    """Return how the zip with the central *directory* contains the module at *path*, without a suffix."""
    for name in (path + b"/__init__", path):
        position = directory.find(name + b".")
        while position >= 0:
            if _MODULE_FILE.match(directory, position + len(name)):
                return Form.REGULAR
            position = directory.find(name + b".", position + 1)
    return Form.NAMESPACE if path + b"/" in directory else None


class _RuntimePath:
    """The runtime's standard library and preinstalled distributions."""

    def __init__(self, python: tuple[int, int], more: Iterable[str]) -> None:
        self._python = python
        self._more = frozenset(more)

    def form(self, module: str) -> Form | None:
        """Return how the runtime contains *module*; see `ImportPath`."""
        top = module.partition(".")[0]
        parts = module.split(".")
        names = {".".join(parts[:end]) for end in range(1, len(parts) + 1)}
        if is_standard(top, self._python) or self._more & names:
            return Form.REGULAR
        return Form.NAMESPACE if any(name.startswith(f"{module}.") for name in self._more) else None


class _IndexedModules:
    """The distributions whose imports the store knows; implements `Inside`. Results are kept in the store."""

    def __init__(self, plans: Iterable[LayerDraft], key: object, store: Store, python: tuple[int, int]) -> None:
        rows = {pin.name: plan.recipe.modules.key(pin.sha256) for plan in plans for pin in plan.selection.pins}
        self._keys = dict(sorted(rows.items()))
        self._key = key
        self._store = store
        self._python = python

    def missing(self, entered: Mapping[str, bool], absent: Callable[[str], str | None]) -> Sequence[InsideMiss]:
        """Return what the modules *entered* import and nothing provides; see `Inside`."""
        if not self._keys:
            return ()
        inputs = [_FORMAT, imports_version(), self._python, self._keys, self._key, sorted(entered.items())]
        place = self._store.entry(MISSING_AREA, key_of(*inputs), ".json")
        if (kept := self._store.read_document(place, partial(_kept, entered))) is not None:
            return kept
        loaded = [KnownModules.load(name, key, self._store, python=self._python) for name, key in self._keys.items()]
        indexes = {index.distribution: index for index in loaded if index is not None}
        modules: dict[str, Module] = {}
        for index in reversed(indexes.values()):
            # Of two distributions with the same module, that whose name sorts first counts.
            modules.update(index.modules)
        found = find_inside(
            entered, absent, modules=modules, scans=lambda module: indexes[module.distribution].scan(module)
        )
        if len(indexes) == len(self._keys):
            rows = [[miss.module, miss.is_required, miss.chain] for miss in found]
            self._store.write_document(place, {"rows": rows})
        return found


def _kept(entered: Mapping[str, bool], content: Mapping[str, Any]) -> tuple[InsideMiss, ...]:
    """Return the result in *content*, that of a file of `MISSING_AREA`. Raises ValueError or TypeError if it is invalid."""
    found = tuple(
        InsideMiss(module=str(module), is_required=bool(required), chain=tuple(Module(*each) for each in chain))
        for module, required, chain in content["rows"]
    )
    if not all(isinstance(text, str) for miss in found for module in miss.chain for text in module) or not all(
        miss.chain and miss.chain[0].name in entered for miss in found
    ):
        raise ValueError("not the imports of these modules")
    return found


def _worded(miss: Miss, search: _GroupSearch, cures: ImportCures, group: _Group) -> tuple[Severity, str]:
    """
    Return the severity and the text of the finding for *miss*, without the functions at its start.

    *cures* search the project and the lock file, so they are asked only if the text has a cure. Raises the errors of
    `ImportCures.cure`.
    """
    importer, line = miss.chain[-1], search.line(miss)
    place = f"`{importer.path}`" + ("" if line is None else f", line {line}")
    if importer.distribution != FIRST_PARTY:
        place += f" of `{importer.distribution}`"
    if miss.doubt:
        place += f", unless code adds it through `{miss.doubt}`"
    elif not miss.is_required:
        place += ", in a function or under a condition"
    chain = " → ".join(f"`{name}`" for name in (*(module.name for module in miss.chain), miss.module))
    verb = "cannot import" if miss.is_required else "may fail to import"
    severity = Severity.ERROR if miss.is_required else Severity.WARNING
    if miss.is_beyond_top and miss.statement is not None:
        name = f"`{'.' * miss.statement.level}{miss.statement.module}`"
        return severity, (
            f"{verb} {name}: {chain} ({place}); `{importer.name}` has too few parent packages for a relative import: "
            f"import `{miss.module}` without dots"
        )
    if search.unread:
        cure = "; to find out, run `lamina pin`" if any(map(is_pinnable, search.unread)) else ""
        return (
            Severity.NOTE,
            f"imports `{miss.module}`: {chain} ({place}); lamina does not know what {listed(search.unread)} contains{cure}",
        )
    cure = cures.cure(miss, group.layers, is_own=search.has_parent(miss))
    return severity, f"{verb} `{miss.module}`: {chain} ({place}); {cure}"
