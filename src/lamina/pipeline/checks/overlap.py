"""
Find modules and files that hide others: between two layers, or between a function's code, its layers and the stdlib.

Lambda unpacks all layers of a function into one ``/opt``, in order, so the later of two files with the same path stays.
The function's own code is in ``/var/task``, which precedes the layers on ``sys.path``. Both precede the standard library
(AWS, "Working with layers for Python Lambda functions", and ``sys.path`` of the runtimes, 2026-11).

===================  ========  ======================================================================================
rule                 severity  reported if
===================  ========  ======================================================================================
``layer-conflict``   error     two layers of a function differ in a distribution's version, or in a file
``hidden-module``    error     a layer or the standard library hides a function's directory without ``__init__.py``, or a
                               distribution in the function's zip hides its file
``layer-overlap``    warning   two layers of a function contain the same distribution, from the same file, or a pinned layer by
                               ARN has a module of another layer
``shadowed-layer``   warning   a module of the function hides a module of one of its layers, or of a distribution in its zip
``shadowed-stdlib``  warning   a module of the function hides a module of the standard library
===================  ========  ======================================================================================
"""

from __future__ import annotations

import re
from itertools import combinations
from typing import TYPE_CHECKING

from lamina.core.frozen import replace
from lamina.core.paths import PREFIX
from lamina.core.values import Layer
from lamina.pipeline.checks.common import View, error, listed, own_paths, owner_of, stacks, warning
from lamina.pipeline.checks.origins import Origins
from lamina.pipeline.checks.stdlib import can_be_shadowed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from lamina.archive.zip.zipformat import Member
    from lamina.core.values import Distribution, Finding, Package
    from lamina.pipeline.checks.common import Stack
    from lamina.project.pinned import PinnedLayer
    from lamina.project.service import Service

# RECORD files differ if files were left out of one layer, and handlers do not read them.
_UNIMPORTANT = "/RECORD"
_MODULE_ENDINGS = (".py", ".so", ".pyc")


def check(layers: Sequence[Layer], packages: Sequence[Package], service: Service) -> tuple[Finding, ...]:
    """
    Return findings on modules and files that hide others, for each function of *packages* with its *layers*.

    Raises `DamagedOutputError` for a damaged zip.
    """
    views = {layer.name: View(layer.path) for layer in layers}
    found: list[Finding] = []
    for stack in stacks(layers, packages):
        for first, later in combinations([each for each in stack.layers if isinstance(each, Layer)], 2):
            found += _between(stack, first, later, views)
    found += _with_external(packages, views, service)
    found += _own_modules(packages, views, service)
    return tuple(found)


def hidden_in_layer(own: Iterable[str], theirs: Iterable[str]) -> tuple[str, ...]:
    """
    Return the modules that Python finds if all files are in one zip, but not if *theirs* are in a layer, as sorted paths.

    *own* are the paths in a function's zip, and *theirs* those of distributions, both relative to a directory of ``sys.path``.
    In one zip, directories with the same name are one. In two directories of ``sys.path``, the first regular package hides
    the modules in the other directory of that name.
    """
    ours, others = _in_directories(own), _in_directories(theirs)
    found: list[str] = []
    for top in ours.keys() & others.keys():
        regular, regular_theirs = _packages(ours[top]), _packages(others[top])
        for path in ours[top] ^ others[top]:
            parents = (path[:end] for end, letter in enumerate(path) if letter == "/")
            package = next((each for each in parents if each in regular or each in regular_theirs), None)
            if package is not None and (package in regular) != (path in ours[top]):
                found.append(path)
    return tuple(sorted(found))


def _in_directories(paths: Iterable[str]) -> dict[str, set[str]]:
    """Return those of *paths* that are modules in a directory, by the name of their top-level directory, without cached bytecode."""
    found: dict[str, set[str]] = {}
    for path in paths:
        top, slash, rest = path.partition("/")
        if slash and rest.endswith(_MODULE_ENDINGS) and "__pycache__/" not in rest:
            found.setdefault(top, set()).add(path)
    return found


def _packages(paths: Iterable[str]) -> frozenset[str]:
    """Return the directories of the regular packages in *paths*."""
    return frozenset(path.rpartition("/")[0] for path in paths if path.rpartition("/")[2].startswith("__init__."))


def _between(stack: Stack, first: Layer, later: Layer, views: Mapping[str, View]) -> Iterator[Finding]:
    held = {share.name: share for share in later.distributions}
    pairs = [(share, held[share.name]) for share in first.distributions if share.name in held]
    same = [share for share, other in pairs if share.sha256 == other.sha256]
    if same:
        wasted = sum(share.unzipped_bytes + share.bytecode_bytes for share in same)
        yield warning(
            "layer-overlap",
            stack.path,
            f"{stack.subject}: layers `{first.name}` and `{later.name}` both contain "
            f"{listed([share.name for share in same])} ({wasted:,} duplicate bytes); "
            f'to keep one copy, set `minus = ["{first.name}"]` in `[tool.lamina.layers.{later.name}]`',
        )
    different = [(share, other) for share, other in pairs if share.sha256 != other.sha256]
    for share, other in different:
        yield _versions(stack, first, later, share, other)
    yield from _files(stack, first, later, views, known={share.name for share, _ in different})


def _versions(stack: Stack, first: Layer, later: Layer, share: Distribution, other: Distribution) -> Finding:
    return error(
        "layer-conflict",
        stack.path,
        f"{stack.subject}: layer `{first.name}` contains `{share.name}` {share.version}, and layer `{later.name}` contains "
        f"version {other.version}; Lambda unpacks both into one directory, which mixes their files; lock one version for "
        "both layers"
        if share.version != other.version
        else f"{stack.subject}: layer `{first.name}` contains `{share.name}` from `{share.artifact}`, and layer `{later.name}` "
        f"from `{other.artifact}`; Lambda unpacks both into one directory, which mixes their files; lock one file for both "
        "layers",
    )


def _files(
    stack: Stack, first: Layer, later: Layer, views: Mapping[str, View], *, known: set[str]
) -> Iterator[Finding]:
    """
    Yield a finding for each pair of distributions in two layers that have different files at the same path.

    Distributions that are *known* to differ are skipped.
    """
    one, other = views[first.name], views[later.name]
    members = other.members
    paths = [
        path
        for path, member in one.members.items()
        if path.startswith(PREFIX)
        and path in members
        and (member.crc, member.size) != (members[path].crc, members[path].size)
        and not path.endswith(_UNIMPORTANT)
    ]
    if not paths:
        return
    mine, theirs = _owners(one), _owners(other)
    by_pair: dict[tuple[str, str], list[str]] = {}
    for path in sorted(paths):
        pair = mine.get(path, "?"), theirs.get(path, "?")
        if not known.intersection(pair):
            by_pair.setdefault(pair, []).append(path.removeprefix(PREFIX))
    for (owner, other_owner), found in by_pair.items():
        yield error(
            "layer-conflict",
            stack.path,
            f"{stack.subject}: `{owner}` in layer `{first.name}` and `{other_owner}` in layer `{later.name}` contain different "
            f"files at the same path: {listed(found)}; Lambda uses those of `{later.name}`, the later layer; leave them out of one layer "
            "with `exclude`",
        )


def _owners(
    view: View, prefix: str = PREFIX, *, own: frozenset[str] = frozenset(), known: dict[Member, list[str]] | None = None
) -> dict[str, str]:
    """
    Return the distribution of each path below *prefix*, by path, according to the RECORD files; these do not list bytecode.

    Those in *own*, the files of the service and of its local packages, do not count. *known* keeps the paths of each RECORD, which
    several zips can have.
    """
    import csv

    owners: dict[str, str] = {}
    known = {} if known is None else known
    for record, _ in view.rows:
        path = record.path
        if path.startswith(prefix) and path.endswith(".dist-info/RECORD") and path not in own:
            if record not in known:
                known[record] = [row[0] for row in csv.reader(view.text(path).splitlines())]
            owners |= dict.fromkeys((prefix + each for each in known[record]), owner_of(path))
    return owners


def _with_external(packages: Sequence[Package], views: Mapping[str, View], service: Service) -> Iterator[Finding]:
    """Yield a finding for each pinned layer by ARN that has modules of another layer of the same function. Functions share it."""
    python = service.target.python
    functions: dict[tuple[tuple[str, ...], tuple[PinnedLayer, ...]], list[str]] = {}
    for package in packages:
        if found := service.pins_of(package.layer_arns):
            functions.setdefault((package.layers, found), []).append(package.name)
    for (layers, pins), names in functions.items():
        for number, pin in enumerate(pins):
            modules = pin.contents.modules_for(python)
            for layer in layers:
                both = [module for module in sorted(modules) if _has_module(views[layer].raw, module)]
                cure = f"remove the ARN from `layer-arns`, or leave the distributions out of `{layer}` with `without`"
                yield from _shared(names, layer, pin.arn, both, cure)
            for zipped in {package.sha256: package for package in packages if package.distributions}.values():
                if zipped.name in names:
                    yield from _in_zip_and_pin(zipped, pin, modules)
            for other in pins[:number]:
                both = sorted(modules & other.contents.modules_for(python))
                yield from _shared(names, other.arn, pin.arn, both, "remove one of the two from `layer-arns`")


def _in_zip_and_pin(package: Package, pin: PinnedLayer, modules: Iterable[str]) -> Iterator[Finding]:
    """Yield a finding if distributions in the zip of *package* have some of *modules*, those of *pin*."""
    owned = {_top(path) for path in _owners(View(package.path), "")}
    if both := sorted(owned.intersection(modules)):
        yield warning(
            "layer-overlap",
            package.name,
            f"the zip of `{package.name}` and layer `{pin.arn}` both contain {listed(both)}, and Python imports that of the zip; "
            "remove the ARN from `layer-arns`, or leave the distributions out with `without`",
        )


def _shared(names: Sequence[str], first: str, second: str, modules: Sequence[str], cure: str) -> Iterator[Finding]:
    """Yield a finding if there are *modules* that the layers *first* and *second* of the functions *names* both contain."""
    if modules:
        yield warning(
            "layer-overlap",
            names[0],
            f"{listed(names)}: layers `{first}` and `{second}` both contain {listed(modules)}, and Python imports only one of the two, or a "
            f"mixture of both; {cure}",
        )


def _has_module(directory: bytes, module: str) -> bool:
    """Return whether the zip with the central *directory* contains the dotted name *module*."""
    path = re.escape(f"{PREFIX}{module.replace('.', '/')}".encode())
    return re.search(path + rb"(?:/|\.(?:[\w-]+\.)*(?:so|pyc?)(?![a-z]))", directory) is not None


def _own_modules(packages: Iterable[Package], views: Mapping[str, View], service: Service) -> Iterator[Finding]:
    """Yield findings on the functions' own top-level modules. Functions with the same code and layers share a finding."""
    alike: dict[tuple[str, tuple[str, ...], tuple[str, ...]], list[Package]] = {}
    for package in packages:
        alike.setdefault((package.sha256, package.layers, package.layer_arns), []).append(package)
    origins = Origins(service)
    known: dict[Member, list[str]] = {}
    for (_, layers, arns), same in alike.items():
        view = View(same[0].path)
        own = frozenset(own_paths(view, same[0]))
        modules = _top_level(own)
        owners = _owners(view, "", own=own, known=known) if same[0].distributions else {}
        names = [package.name for package in same]
        for module, is_regular in modules.items():
            found = []
            if can_be_shadowed(module, service.target.python):
                found.append(_against_stdlib(module, names, is_regular=is_regular))
            for layer in layers:
                found += _against_layer(module, names, layer, views[layer], is_regular=is_regular)
            found += _against_zip(module, names, own, owners)
            for pin in service.pins_of(arns):
                found += _against_pin(module, names, pin, service.target.python, is_regular=is_regular)
            for each in found:
                yield replace(each, file=origins.of_module(module, names[0]))


def _against_stdlib(module: str, names: Sequence[str], *, is_regular: bool) -> Finding:
    if is_regular:
        fact = (
            f"{listed(names)}: your module `{module}` hides the standard library's `{module}` from your code and from all "
            "packages in the layers; rename your module"
        )
        return warning("shadowed-stdlib", names[0], fact)
    return _hidden(module, names, f"the standard library's `{module}`")


def _against_layer(module: str, names: Sequence[str], layer: str, view: View, *, is_regular: bool) -> Iterator[Finding]:
    inside = f"{PREFIX}{module}"
    if f"{inside}/".encode() not in view.raw and f"{inside}.".encode() not in view.raw:
        return
    theirs = _kind(module, [path.removeprefix(PREFIX) for path in view.members if path.startswith(inside)])
    if theirs is None or not (is_regular or theirs):
        # Two directories without `__init__.py` form one namespace package (PEP 420), so neither hides the other.
        return
    if is_regular:
        yield _shadowed(module, names, layer)
    else:
        yield _hidden(module, names, f"the package `{module}` of layer `{layer}`")


def _against_zip(
    module: str, names: Sequence[str], own: frozenset[str], owners: Mapping[str, str]
) -> Iterator[Finding]:
    """Yield a finding if the distributions in the same zip, with the files *owners*, have the top-level *module*, too."""
    theirs = {path: name for path, name in owners.items() if path.startswith((f"{module}/", f"{module}."))}
    package = f"{module}/__init__.py"
    # Python prefers a package, and then an extension module, to a source file in the same directory.
    stronger = next((path for path in theirs if path == package or re.fullmatch(r"[^/]+\.so", path)), None)
    if f"{module}.py" in own and package not in own and stronger is not None:
        yield error(
            "hidden-module",
            names[0],
            f"{listed(names)}: Python imports `{stronger}` of `{theirs[stronger]}` in the same zip instead of your `{module}.py`; "
            "rename your module",
        )
    elif replaced := sorted(own & theirs.keys()):
        yield warning(
            "shadowed-layer",
            names[0],
            f"{listed(names)}: your {listed(replaced)} replaces that of `{theirs[replaced[0]]}` in the same zip; rename your module",
        )


def _against_pin(
    module: str, names: Sequence[str], pin: PinnedLayer, python: tuple[int, int], *, is_regular: bool
) -> Iterator[Finding]:
    theirs = pin.contents.modules_for(python)
    if module in theirs:
        yield (
            _shadowed(module, names, pin.arn)
            if is_regular
            else _hidden(module, names, f"the package `{module}` of layer `{pin.arn}`")
        )
    elif is_regular and any(each.startswith(f"{module}.") for each in theirs):
        yield _shadowed(module, names, pin.arn)


def _shadowed(module: str, names: Sequence[str], layer: str) -> Finding:
    fact = f"{listed(names)}: your module `{module}` hides `{module}` in layer `{layer}`; rename your module"
    return warning("shadowed-layer", names[0], fact)


def _hidden(module: str, names: Sequence[str], other: str) -> Finding:
    fact = f"the directory `{module}` has no `__init__.py`, so Python imports {other} instead; rename the directory"
    return error("hidden-module", names[0], f"{listed(names)}: {fact}")


def _top_level(paths: Iterable[str]) -> dict[str, bool]:
    """Return the importable top-level names: ``True`` for a module or regular package, ``False`` for a namespace package."""
    grouped: dict[str, list[str]] = {}
    for path in paths:
        grouped.setdefault(_top(path), []).append(path)
    kinds = {name: _kind(name, paths) for name, paths in sorted(grouped.items()) if name.isidentifier()}
    return {name: kind for name, kind in kinds.items() if kind is not None}


def _top(path: str) -> str:
    """Return the top-level name that *path* belongs to, without a suffix."""
    return path.partition("/")[0].partition(".")[0]


def _kind(module: str, paths: Iterable[str]) -> bool | None:
    """
    Return how *paths* contain *module*: ``True`` as a module or regular package, ``False`` as a namespace package.

    Return ``None`` if they do not contain it.
    """
    is_namespace = False
    for path in paths:
        top, slash, rest = path.partition("/")
        if not slash and top.partition(".")[0] == module and path.endswith(_MODULE_ENDINGS):
            return True
        if slash and top == module:
            if rest in {"__init__.py", "__init__.pyc"}:
                return True
            is_namespace |= rest.endswith(_MODULE_ENDINGS)
    return False if is_namespace else None
