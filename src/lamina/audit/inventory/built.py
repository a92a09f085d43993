"""Find what `lamina audit` looks into: the zips of a build, the pinned layers of others, and the distributions in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.audit.inventory.contents import contents_of
from lamina.audit.inventory.licences import expression_of, named
from lamina.audit.inventory.sbom import Described
from lamina.audit.inventory.subjects import AuditedDistribution, StatedLicence, UnknownCode
from lamina.aws.external.zips import stored_zip
from lamina.core.errors import ArchiveError, DamagedOutputError
from lamina.pipeline.checks import sdk
from lamina.pipeline.checks.common import listed
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
        pinned = [(pin.arn, pin.sha256, stored_zip(store, pin.sha256)) for pin in service.pinned]
        self.zips: tuple[Described, ...] = (
            *(each for build in builds for each in _of_build(build, store)),
            *(_external(arn, path, sha256, store) for arn, sha256, path in pinned if path is not None),
        )
        self._missing = [arn for arn, _, path in pinned if path is None]

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
                obstacle=origins.obstacle(name, (each.name for each, _ in these if each.kind == EXTERNAL)),
                licence=StatedLicence(
                    expression=next(filter(None, (expression_of(each) for _, each in these)), None),
                    text=next(filter(None, (named(each) for _, each in these)), ""),
                ),
            )
            for (name, version), these in sorted(found.items())
        )

    def unknown(self) -> Iterator[UnknownCode]:
        """Yield the code that belongs to no distribution, without the service's own."""
        for described in self.zips:
            if described.kind == EXTERNAL:
                modules = (module for _, module in described.contents.modules)
                yield from UnknownCode.of_modules(described.name, modules)
        for arn in self._missing:
            yield UnknownCode(place=arn, what="a layer by ARN that is not in the store; run `lamina pin`")
        if names := sorted(sdk.left_out(self._service)):
            yield UnknownCode(place=self._service.name, what=f"the AWS SDK of the runtime: {listed(names)}")

    def reached(self, name: str, version: str, imports: Iterable[str]) -> bool | None:
        """
        Return whether a handler can import one of *imports*, dotted names of modules and attributes of the distribution *name*.

        lamina compiles exactly the modules that handlers can import, so that their bytecode in the layer tells. Return ``None`` if it does
        not: another setting of `bytecode` compiles all modules or none, and code without a source in the layer has no bytecode that lamina made.
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


def _external(arn: str, path: Path, sha256: str, store: Store) -> Described:
    return Described(
        name=arn,
        kind=EXTERNAL,
        # A layer by ARN is the same for all targets.
        target="",
        path=path,
        contents=contents_of(path, store=store, name=arn, is_layer=True, sha256=sha256),
        artifacts={},
    )


def _contents(path: Path, store: Store, *, is_layer: bool) -> ArchiveContents:
    try:
        return contents_of(path, store=store, is_layer=is_layer)
    except (ArchiveError, OSError) as error:
        raise DamagedOutputError(path, str(error)) from error


def _is_compiled(distribution: ContainedDistribution, name: str) -> bool | None:
    """Return whether the module *name* of *distribution*, or the module with the attribute *name*, has bytecode; ``None`` without its source."""
    sources = {file.path for file in distribution.files if file.path.endswith(".py")}
    while name:
        base = f"{distribution.root}{name.replace('.', '/')}"
        # A package without an `__init__` is only what is in it.
        found = sources & {f"{base}.py", f"{base}/__init__.py"} or {
            path for path in sources if path.startswith(f"{base}/")
        }
        if found:
            return not found.isdisjoint(distribution.compiled)
        if any(file.path.startswith((f"{base}.", f"{base}/")) for file in distribution.files):
            return None
        name = name.rpartition(".")[0]
    return None
