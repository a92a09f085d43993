"""Prove that layers provide every module of a layer, and find the distributions whose versions differ."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.adopt.requirements import is_same_version
from lamina.archive.external import module_parts
from lamina.audit.diff.archives import read_archive
from lamina.audit.diff.compare import compare
from lamina.audit.diff.values import ArchiveKind, Side
from lamina.audit.inspected.shadowing import search_rank
from lamina.audit.inventory.contents import contents_of
from lamina.core.frozen import frozen, replace
from lamina.pipeline.checks.sdk import left_out

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from lamina.audit.diff.values import ArchiveChanges
    from lamina.audit.inspected.inspect import InspectedArchive
    from lamina.audit.inventory.contents import ArchiveContents
    from lamina.core.store import Store
    from lamina.core.target import Target
    from lamina.core.values import Build
    from lamina.project.service import Service


@frozen
class VersionChange:
    """A distribution of the old layer that the new layers have in another version."""

    name: str
    old: str
    new: str | None
    """``None`` if the new layers lack the distribution, and in a plan the version of the lock file."""


@frozen
class ProofOfModules:
    """How the modules of a service's own layers compare with those of the layer to adopt."""

    modules: int
    """The number of modules that the runtime imports from the old layer."""
    missing: tuple[str, ...]
    """The modules that the new layers do not provide, sorted."""
    lacking: tuple[str, ...]
    """The distributions that they are of in the old layer, sorted, as far as known."""
    runtime: tuple[str, ...]
    """The distributions of the AWS SDK that the runtime provides in place of the layers (``sdk = "runtime"``)."""
    changes: tuple[VersionChange, ...]
    """The distributions with other versions, sorted by name."""

    def __bool__(self) -> bool:
        """Return whether no module is missing."""
        return not self.missing


def prove(
    old: InspectedArchive,
    versions: Mapping[str, str],
    build: Build,
    service: Service,
    *,
    functions: Sequence[str],
    accepted: Iterable[str],
    store: Store,
) -> ProofOfModules:
    """
    Compare the modules of *old*, whose distributions have the *versions*, with those of the layers that each of *functions* has.

    Without *functions*, all layers of *build* are compared together. The modules and packages in *accepted* may be missing.
    """
    target = service.target
    modules = modules_of_contents(old.contents, target)
    absent = left_out(service)
    from_runtime = {name for name, owner in modules.items() if owner in absent}
    stacks = {each.layers for each in build.packages if each.name in functions}
    contents = {each.name: contents_of(each.path, store=store, is_layer=True) for each in build.layers}
    missing: set[str] = set()
    for names in stacks or {tuple(contents)}:
        provided = {module for name in names for module in modules_of_contents(contents[name], target)}
        missing |= {module for module in modules.keys() - provided - from_runtime if not _is_in(module, accepted)}
    new = {share.name: share.version for layer in build.layers for share in layer.distributions}
    return ProofOfModules(
        modules=len(modules),
        missing=tuple(sorted(missing)),
        lacking=tuple(sorted({owner for module in missing if (owner := modules[module]) is not None})),
        runtime=tuple(sorted({owner for owner in modules.values() if owner is not None and owner in absent})),
        changes=tuple(
            VersionChange(name=name, old=version, new=new.get(name))
            for name, version in sorted(versions.items())
            if not is_same_version(new.get(name), version) and name not in absent
        ),
    )


def differences(old: InspectedArchive, build: Build, store: Store) -> ArchiveChanges:
    """Return what differs between *old* and the layer of *build* that is most like it."""
    before = replace(read_archive(old.zip.path, store=store, name=old.zip.name), kind=ArchiveKind.LAYER)
    after = [read_archive(each.path, store=store, kind=ArchiveKind.LAYER, name=each.name) for each in build.layers]
    changes = compare(Side(name=old.zip.name, archives=(before,)), Side(name=build.service, archives=tuple(after)))
    return changes.archives[0]


def modules_of_contents(contents: ArchiveContents, target: Target) -> dict[str, str | None]:
    """Return all modules that *target* imports from a layer by dotted name, each with its distribution, or ``None`` if none is known."""
    found: dict[str, str | None] = {}
    owned = [(each.name, each.root, [file.path for file in each.files]) for each in contents.distributions]
    roots = {each.root for each in contents.distributions} | {root for root, _ in contents.modules}
    unowned = [file.path for file in contents.unowned]
    for root in sorted(roots):
        if search_rank(root, target.python, is_layer=contents.is_layer) is None:
            continue
        inner = tuple(each for each in roots if each != root and each.startswith(root))
        for owner, paths in ((None, unowned), *((name, paths) for name, at, paths in owned if at == root)):
            inside = (path[len(root) :] for path in paths if path.startswith(root) and not path.startswith(inner))
            for parts in module_parts(inside) - {("__init__",)}:
                found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = owner
    return found


def _is_in(module: str, packages: Iterable[str]) -> bool:
    return any(module == each or module.startswith(f"{each}.") for each in packages)
