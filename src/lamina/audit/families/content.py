"""
Find content of layers and packages that should not be there, or that Python does not find on Lambda.

=======================  ========  =====================================================================================
rule                     severity  reported if
=======================  ========  =====================================================================================
``secret-in-artifact``   error     a file of the service's own code contains a secret
``build-machine-path``   warning   a file of the service's own code contains the path of the project on this machine
``missing-metadata``     warning   your code reads the metadata of a distribution that neither layers nor runtime contain
``unreadable-mode``      error     the user that Lambda runs functions as cannot read a file
``split-namespace``      error     a package in your code and one in a layer have the same name below a namespace, and one
                                   hides the other
``shared-module``        warning   a distribution in a layer hides a module of the standard library
=======================  ========  =====================================================================================

A wheel of an index is public, so it contains no secrets of yours: only your own code and local packages are searched for them.
"""

from __future__ import annotations

import ast
import re
import warnings
from itertools import chain
from typing import TYPE_CHECKING, Any

from lamina.audit.secrets import forms_key, secrets_in, text_of
from lamina.audit.segments import archives_of, examined, is_own, members_of, origin_of
from lamina.core.names import normalized
from lamina.core.paths import PREFIX
from lamina.core.target import runtime_of
from lamina.core.values import Layer
from lamina.pipeline.checks.common import View, error, listed, owner_of, shown, warning
from lamina.pipeline.checks.origins import Origins
from lamina.pipeline.checks.stdlib import can_be_shadowed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from zipfile import ZipInfo

    from lamina.audit.inspection import Inspection
    from lamina.core.values import Build, Distribution, Finding, Package

_MANIFEST = "lamina/"
_MOST_BYTES = 8 << 20
"""How much of a file is searched. Larger files are data or binaries."""
_FEWEST_PARTS = 2
"""The number of directories from which on a path is unmistakable; `/app` is also the path of a route or of another machine."""
_BINARY = "\0"
_HEAD = 16
"""The number of characters at the start of a file that show whether it is binary."""
_MODULE_ENDINGS = (".py", ".pyc", ".so")
_MERGING = re.compile(r"extend_path|declare_namespace")
"""What an ``__init__.py`` calls to include the directories of other parts of its package (`pkgutil`, `pkg_resources`)."""
_READS_METADATA = re.compile(r"importlib[._]metadata|from importlib import|pkg_resources")
_METADATA_MODULES = frozenset({"importlib.metadata", "importlib_metadata", "pkg_resources"})
_METADATA_READERS = frozenset({"version", "metadata", "distribution", "requires", "files", "get_distribution"})
_EVERYBODY_READS = 0o444
_UNIX = 3


class _OwnFiles:
    """Searches the files of the service's own code in one zip for secrets, paths of the project, and names of distributions."""

    def __init__(self, paths: Iterable[str], project: str) -> None:
        self.paths = frozenset(paths)
        self.project = project
        self.pattern = re.compile(rf"(?<![\w/.-]){re.escape(project)}(?![\w-])")

    @property
    def key(self) -> Sequence[object]:
        return ("content", 2, self.project, forms_key())

    def wants(self, path: str) -> bool:
        return path in self.paths

    def wants_content(self, path: str, head: bytes) -> bool:  # noqa: ARG002 - the protocol's signature
        return True

    def examine(self, path: str, content: bytes) -> dict[str, Any] | None:
        text = text_of(content[:_MOST_BYTES])
        # Compilers write paths of the machine into binaries, which nothing reads.
        is_searched = self.project.count("/") >= _FEWEST_PARTS and _BINARY not in text[:_HEAD]
        place = self.pattern.search(text) if is_searched else None
        found = {
            "secrets": [list(each) for each in secrets_in(text)],
            "project": None if place is None else text.count("\n", 0, place.start()) + 1,
            "metadata": [list(each) for each in _read_metadata(text)] if path.endswith(".py") else [],
        }
        return found if any(found.values()) else None


def check(inspection: Inspection) -> Iterator[Finding]:
    """Yield the findings on the content of layers and packages. Raises `DamagedOutputError` for a damaged zip."""
    origins = Origins(inspection.service)
    for build in inspection.builds:
        for archive, subject in archives_of(build):
            members = members_of(archive)
            yield from _modes(archive, subject, members)
            own = [member.filename for member, share in members if _is_own(member.filename, share, archive)]
            if own:
                yield from _own_files(archive, subject, own, build, inspection, origins=origins)
            yield from _hidden_stdlib(archive, members, build)
            if not isinstance(archive, Layer):
                layers = [layer for layer in build.layers if layer.name in archive.layers]
                yield from _split(archive, subject, layers, origins)


def _is_own(path: str, share: Distribution | None, archive: Layer | Package) -> bool:
    """Return whether *path* is a source file or data of the service's own code, or of a local package."""
    if path.endswith(".pyc"):
        return False
    return is_own(share) and not (share is None and isinstance(archive, Layer) and path.startswith(_MANIFEST))


def _own_files(
    archive: Layer | Package,
    subject: str,
    own: Sequence[str],
    build: Build,
    inspection: Inspection,
    *,
    origins: Origins,
) -> Iterator[Finding]:
    found = examined(archive, _OwnFiles(own, str(inspection.project.resolve())), inspection.store)
    present = _distributions(archive, own, build)
    unknown: dict[str, list[tuple[str, int]]] = {}
    for path, result in sorted(found.items()):
        file = origin_of(path, archive, origins)
        for what, line in result["secrets"]:
            yield error(
                "secret-in-artifact",
                archive.name,
                f"{subject}: `{path}` contains {what}{_at(file, line)}; revoke it, and read it from Secrets Manager or the Parameter Store instead",
                file=file,
                line=line,
            )
        if result["project"] is not None:
            yield warning(
                "build-machine-path",
                archive.name,
                f"{subject}: `{path}` contains the path of your project on this machine{_at(file, result['project'])}, which does not exist "
                "on Lambda; write a path that is relative to the file",
                file=file,
                line=result["project"],
            )
        for name, line in result["metadata"]:
            if normalized(name) not in present:
                unknown.setdefault(name, []).append((path, line))
    for name, places in unknown.items():
        path, line = places[0]
        yield warning(
            "missing-metadata",
            archive.name,
            f"{subject}: {listed(list(dict.fromkeys(path for path, _ in places)))} reads the metadata of `{name}`, which is not in the "
            "layers, so `importlib.metadata` raises PackageNotFoundError; lock the distribution, or catch the error",
            file=origin_of(path, archive, origins),
            line=line,
        )


def _at(file: str | None, line: int) -> str:
    """Return the *line* for a message, unless the finding is at that line of *file*."""
    return f" in line {line}" if file is None else ""


def _distributions(archive: Layer | Package, own: Iterable[str], build: Build) -> frozenset[str]:
    """Return the names of the distributions whose metadata the files *own* in *archive* find: there, in its layers and in the runtime."""
    names = [layer.name for layer in build.layers] if archive in build.layers else list(getattr(archive, "layers", ()))
    preinstalled = runtime_of(build.target).preinstalled
    shares = chain(
        archive.distributions, chain.from_iterable(layer.distributions for layer in build.layers if layer.name in names)
    )
    local = (owner_of(path) for path in own if path.endswith(".dist-info/METADATA"))
    return frozenset(chain((share.name for share in shares), (each.name for each in preinstalled), local))


def _read_metadata(text: str) -> Iterator[tuple[str, int]]:
    """Yield the names of distributions whose metadata the module *text* reads, each with its line; not those read in a ``try``."""
    if _READS_METADATA.search(text) is None:
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            module = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        # The target's Python may know a newer syntax; if not, `uncompiled-module` reports the file.
        return
    nodes = list(ast.walk(module))
    guarded = {id(inner) for node in nodes if isinstance(node, ast.Try) for inner in ast.walk(node)}
    names = _metadata_names(nodes)
    for node in nodes:
        if isinstance(node, ast.Call) and id(node) not in guarded and _dotted(node.func) in names and node.args:
            name = node.args[0]
            if isinstance(name, ast.Constant) and isinstance(name.value, str):
                yield name.value, node.lineno


def _metadata_names(nodes: Iterable[ast.AST]) -> frozenset[str]:
    """Return how the module with *nodes* names the functions of `importlib.metadata` and `pkg_resources` that need a distribution."""
    functions, modules = [], []
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.module in _METADATA_MODULES:
            functions += [each.asname or each.name for each in node.names if each.name in _METADATA_READERS]
        elif isinstance(node, ast.ImportFrom) and node.module == "importlib":
            modules += [each.asname or each.name for each in node.names if each.name == "metadata"]
        elif isinstance(node, ast.Import):
            modules += [each.asname or each.name for each in node.names if each.name in _METADATA_MODULES]
    return frozenset(functions).union(f"{module}.{reader}" for module in modules for reader in _METADATA_READERS)


def _dotted(node: ast.expr) -> str:
    """Return the dotted name that *node* is, or an empty string."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join((node.id, *reversed(parts))) if isinstance(node, ast.Name) else ""


def _modes(archive: Layer | Package, subject: str, members: Iterable[tuple[ZipInfo, object]]) -> Iterator[Finding]:
    """Yield a finding for the files that others than their owner cannot read. A mode of 0 is the usual one of other programs."""
    found = [
        member.filename
        for member, _ in members
        if member.create_system == _UNIX
        and (mode := member.external_attr >> 16 & 0o777)
        and (mode & _EVERYBODY_READS != _EVERYBODY_READS or (member.is_dir() and mode & 0o111 != 0o111))
    ]
    if found:
        yield error(
            "unreadable-mode",
            archive.name,
            f"{subject}: only their owner can read {listed(found)}, but Lambda runs functions as another user; "
            "delete the output and build it again with `lamina build`",
        )


def _hidden_stdlib(
    archive: Layer | Package, members: Iterable[tuple[ZipInfo, Distribution | None]], build: Build
) -> Iterator[Finding]:
    """Yield a finding for each distribution among *members* with top-level modules that the standard library has, too."""
    hidden: dict[str, set[str]] = {}
    for member, share in members:
        module = None if share is None else _top_level(member.filename)
        if share is not None and module is not None and can_be_shadowed(module, build.target.python):
            hidden.setdefault(share.name, set()).add(module)
    for name, modules in hidden.items():
        yield warning(
            "shared-module",
            archive.name,
            f"{shown(archive)}: `{name}` contains {listed(sorted(modules))}, which hides the standard library's; "
            f'do not lock `{name}` for `{build.target.runtime}`, or set `without = ["{name}"]`',
        )


def _top_level(path: str) -> str | None:
    """Return the module or regular package of which *path* is the file, if it is a top-level one."""
    path = path.removeprefix(PREFIX)
    top, slash, rest = path.partition("/")
    if slash:
        return top if rest == "__init__.py" else None
    return top.removesuffix(".py") if top.endswith(".py") else None


def _split(package: Package, subject: str, layers: Sequence[Layer], origins: Origins) -> Iterator[Finding]:
    """
    Yield a finding for each package below a namespace of which *package* and one of *layers* have a part, if one part hides the other.

    Python searches every directory of a namespace package, in the order of ``sys.path``, and takes the first regular package. Top-level
    packages have rules of their own: `hidden-module` and `shadowed-layer`.
    """
    mine = View(package.path)
    own = _tree(mine, "")
    for layer in layers:
        view = View(layer.path)
        if not any(f"{PREFIX}{name}/".encode() in view.raw for name in own):
            continue
        theirs = _tree(view, PREFIX)
        for path in sorted(own.keys() & theirs.keys()):
            if not _is_split(path, own, theirs) or _extends(*((mine, path) if own[path] else (view, PREFIX + path))):
                continue
            module = path.replace("/", ".")
            code, other = "your code", f"layer `{layer.name}`"
            regular, hidden = (code, other) if own[path] else (other, code)
            yield error(
                "split-namespace",
                package.name,
                f"{subject}: `{module}` is a package in {regular}, so Python does not find the modules of `{module}` in {hidden}; "
                f"{'rename your package' if theirs[path] else 'delete one `__init__.py`, or rename your package'}",
                file=origins.of_package(path, package.name),
            )


def _is_split(path: str, own: Mapping[str, bool], theirs: Mapping[str, bool]) -> bool:
    """Return whether *path* is in a namespace package of both, and regular in at least one of them."""
    parents = path.split("/")[:-1]
    above = ["/".join(parents[:depth]) for depth in range(1, len(parents) + 1)]
    return bool(above) and (own[path] or theirs[path]) and not any(own[each] or theirs[each] for each in above)


def _extends(view: View, directory: str) -> bool:
    """Return whether the regular package *directory* in *view* includes the other directories of its name."""
    init = f"{directory}/__init__.py"
    return init in view.members and _MERGING.search(view.text(init)) is not None


def _tree(view: View, prefix: str) -> dict[str, bool]:
    """Return the directories with modules in *view*, below *prefix*: ``True`` for a regular package."""
    tree: dict[str, bool] = {}
    for path in view.members:
        if not path.startswith(prefix) or not path.endswith(_MODULE_ENDINGS) or "__pycache__" in path:
            continue
        *parents, name = path.removeprefix(prefix).split("/")
        for depth in range(1, len(parents) + 1):
            tree.setdefault("/".join(parents[:depth]), False)
        if parents and name in {"__init__.py", "__init__.pyc"}:
            tree["/".join(parents)] = True
    return tree
