"""Find what `lamina audit` looks into: the zips of a build, the pinned layers of others, and the distributions in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.audit.inventory.contents import contents_of
from lamina.audit.inventory.licences import expression_of, named
from lamina.audit.inventory.sbom import Described
from lamina.audit.inventory.subjects import AuditedDistribution, UnknownCode
from lamina.aws.external.zips import stored_zip
from lamina.core.errors import ArchiveError, DamagedOutputError
from lamina.pipeline.checks import sdk
from lamina.project.service import BytecodeMode

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from lamina.audit.inventory.contents import ArchiveContents, ContainedDistribution
    from lamina.audit.inventory.origins import LockedOrigins
    from lamina.core.store import Store
    from lamina.core.target import Target
    from lamina.core.values import Build, Layer
    from lamina.project.service import Service

LAYER, FUNCTION, EXTERNAL = "layer", "function", "external layer"


class Audited:
    """The zips of one service."""

    def __init__(self, service: Service, builds: Iterable[Build], store: Store) -> None:
        """
        Read the zips of *builds* and of the pinned layers, which *store* may have.

        Raises `DamagedOutputError` if a zip was damaged after the build, and the errors of `contents_of` for a pinned layer.
        """
        self._service = service
        self.zips: tuple[Described, ...] = tuple(
            each for build in builds for each in (*_of_build(build, store), *_external(service, build.target, store))
        )
        self._targets = {str(build.target): build.target for build in builds}
        self._missing = [pin.arn for pin in service.pinned if stored_zip(store, pin.sha256) is None]

    def distributions(self, origins: LockedOrigins) -> tuple[AuditedDistribution, ...]:
        """Return the distributions, sorted by name and version. Raises the errors of `LockedOrigins.obstacle`."""
        found: dict[tuple[str, str], list[tuple[Described, ContainedDistribution]]] = {}
        for described in self.zips:
            for each in described.contents.distributions:
                found.setdefault((each.name, each.version), []).append((described, each))
        return tuple(
            AuditedDistribution(
                name=name,
                version=version,
                places=tuple(dict.fromkeys(described.name for described, _ in these)),
                licence=next(filter(None, (expression_of(each) for _, each in these)), None),
                stated=next(filter(None, (named(each) for _, each in these)), ""),
                obstacle=self._obstacle(name, [described for described, _ in these], origins),
            )
            for (name, version), these in sorted(found.items())
        )

    def unknown(self) -> Iterator[UnknownCode]:
        """Yield the code that belongs to no distribution, without the service's own."""
        for described in self.zips:
            if described.kind == EXTERNAL and described.contents.modules:
                modules = sorted({module for _, module in described.contents.modules})
                shown = ", ".join(f"`{each}`" for each in modules[:3])
                more = f" and {len(modules) - 3} more" if len(modules) > 3 else ""
                yield UnknownCode(place=described.name, what=f"modules without metadata: {shown}{more}")
        for arn in self._missing:
            yield UnknownCode(place=arn, what="a layer by ARN that is not in the store; run `lamina pin`")
        if names := sorted(sdk.left_out(self._service)):
            yield UnknownCode(
                place=self._service.name, what=f"the AWS SDK of the runtime: {', '.join(f'`{each}`' for each in names)}"
            )

    def reached(self, name: str, version: str, imports: Iterable[str]) -> bool | None:
        """
        Return whether a handler can import one of *imports*, dotted names of modules and attributes of the distribution *name*.

        lamina compiles exactly the modules that handlers can import, so that their bytecode in the layer tells. Return ``None`` if it does
        not: another setting of `bytecode` compiles all modules or none, and machine code has no bytecode.
        """
        if self._service.bytecode is not BytecodeMode.REACHABLE:
            return None
        answers = [
            _is_compiled(each, module)
            for described in self.zips
            if described.kind == LAYER or described.artifacts
            for each in described.contents.distributions
            if (each.name, each.version) == (name, version)
            for module in imports
        ]
        return True if True in answers else None if None in answers or not answers else False

    def _obstacle(self, name: str, places: list[Described], origins: LockedOrigins) -> str | None:
        # A distribution in a layer of somebody else is known to its users.
        own = [each for each in places if each.kind != EXTERNAL]
        return origins.obstacle(name, self._targets[own[0].target]) if own else None


def _of_build(build: Build, store: Store) -> Iterator[Described]:
    for layer in build.layers:
        contents = _contents(layer.path, store, is_layer=True)
        yield _described(layer, contents, build.target)
    for package in build.packages:
        yield Described(
            name=package.name,
            kind=FUNCTION,
            target=str(build.target),
            path=package.path,
            contents=_contents(package.path, store, is_layer=False),
            artifacts={each.name: (each.artifact, each.sha256) for each in package.distributions},
        )


def _described(layer: Layer, contents: ArchiveContents, target: Target) -> Described:
    return Described(
        name=layer.name,
        kind=LAYER,
        target=str(target),
        path=layer.path,
        contents=contents,
        artifacts={each.name: (each.artifact, each.sha256) for each in layer.distributions},
    )


def _external(service: Service, target: Target, store: Store) -> Iterator[Described]:
    for pin in service.pinned:
        if (path := stored_zip(store, pin.sha256)) is not None:
            yield Described(
                name=pin.arn,
                kind=EXTERNAL,
                target=str(target),
                path=path,
                contents=contents_of(path, store=store, name=pin.arn, is_layer=True),
                artifacts={},
            )


def _contents(path: Path, store: Store, *, is_layer: bool) -> ArchiveContents:
    try:
        return contents_of(path, store=store, is_layer=is_layer)
    except (ArchiveError, OSError) as error:
        raise DamagedOutputError(path, str(error)) from error


def _is_compiled(distribution: ContainedDistribution, name: str) -> bool | None:
    """Return whether the module *name* of *distribution*, or the module with the attribute *name*, has bytecode; ``None`` if it has none to have."""
    paths = {file.path for file in distribution.files}
    while name:
        base = f"{distribution.root}{name.replace('.', '/')}"
        for source in (f"{base}.py", f"{base}/__init__.py"):
            if source in paths:
                directory, _, file = source.rpartition("/")
                start = f"{directory}/__pycache__/{file.removesuffix('.py')}."
                return any(path.startswith(start) for path in paths)
        if any(path.startswith(f"{base}.") and path.endswith(".so") for path in paths):
            return None
        name = name.rpartition(".")[0]
    # The layer does not have the module.
    return False
