"""
Read what a project configures and what its lock holds, and decide what each layer is to be. Nothing is fetched or made.

The one exception is hashed requirements, which name no files: their index is asked once, and its answer kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.archive.segment import Recipe
from lamina.bytecode.choice import PROFILE
from lamina.core.frozen import frozen
from lamina.core.reporter import SILENT
from lamina.core.store import Store
from lamina.core.values import SourcePin
from lamina.lock import formats as locks
from lamina.lock.cache import CachedSelection, keep, recall
from lamina.pipeline import report
from lamina.pipeline.apportion import apportion
from lamina.pipeline.checks import sdk, without
from lamina.pipeline.layers import Draft, missing_pins
from lamina.project import config
from lamina.project.service import Overrides

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from lamina.core.reporter import Reporter
    from lamina.core.target import Target
    from lamina.core.values import Finding, Pin, Selection
    from lamina.fetch.index import PackageIndex
    from lamina.fetch.provider import WheelProvider
    from lamina.lock.types import LockFile
    from lamina.project.service import LayerConfig, Service

__all__ = ["BuildContext", "BuildOptions", "BuildPlan", "local_inputs", "plan", "plan_for"]

_NO_OVERRIDES = Overrides()


@frozen
class BuildOptions:
    """What a caller may ask for beyond the project's configuration."""

    overrides: Overrides = _NO_OVERRIDES
    offline: bool = False

    def asked(self) -> dict[str, object]:
        """Return, as plain JSON values, what of this could change the result."""
        return {
            "runtime": self.overrides.runtime,
            "architecture": self.overrides.architecture,
            "groups": list(self.overrides.groups),
            "extras": list(self.overrides.extras),
        }


@frozen
class BuildContext:
    """What the stages of one build share."""

    project: Path
    options: BuildOptions
    store: Store
    index: PackageIndex
    """The package indexes, with the credentials that were learned on the way."""
    reporter: Reporter
    output: str = report.OUTPUT_DIRECTORY
    """Where the outputs go, relative to *project*."""

    @property
    def output_directory(self) -> Path:
        """Where the outputs go."""
        return self.project / self.output

    def provider(self, target: Target) -> WheelProvider:
        """Return what fetches and builds wheels for *target*."""
        from lamina.fetch.provider import WheelProvider  # noqa: PLC0415 - planning alone needs no wheel

        return WheelProvider(self.store, self.index, self.reporter, target=target)

    @classmethod
    def open(
        cls, project: Path, options: BuildOptions, *, store: Store | None = None, reporter: Reporter = SILENT
    ) -> BuildContext:
        """Begin to work on *project*; nothing is read yet."""
        from lamina.fetch.index import PackageIndex  # noqa: PLC0415 - the class is light, what it uses is loaded on use

        store = Store.open() if store is None else store
        index = PackageIndex(project, store, offline=options.offline)
        return cls(project=project, options=options, store=store, index=index, reporter=reporter)


@frozen
class BuildPlan:
    """What a build is to do, from reading alone."""

    service: Service
    layers: tuple[Draft, ...]
    missing: tuple[Pin, ...]
    """Artifacts that the store does not hold, and that are not built here."""
    local: tuple[SourcePin, ...]
    """First-party packages that go into the function packages."""
    inputs: tuple[Path, ...]
    """Every file whose content decided the plan, and those whose appearance would."""
    findings: tuple[Finding, ...] = ()
    """What the configuration says of the lock that is not so."""


def plan(session: BuildContext) -> BuildPlan:
    """
    Read the configuration and the lock of the session's project, and decide what each layer is to hold.

    Of several targets it is the plan for the first.
    Raises ConfigError, LockError, and FetchError where an index must be asked for the files of locked hashes.
    """
    return plan_for(session, config.load(session.project, session.options.overrides))


def plan_for(session: BuildContext, service: Service) -> BuildPlan:
    """Decide what each layer of *service*, for its one target, is to hold; raises as `plan` does."""
    project = session.project
    lock_file = locks.find(project, service.lock)
    selections: dict[tuple[tuple[str, ...], tuple[str, ...]], Selection] = {}
    local: dict[str, SourcePin] = {}
    inputs = dict.fromkeys(service.inputs)
    chosen: dict[str, Selection] = {}
    for layer in service.layers:
        choice = (layer.groups, layer.extras)
        if choice not in selections:
            kept = _selection(session, service, layer, lock_file)
            selections[choice], apart = _resolved(kept.selection, service)
            local |= {pin.sha256: pin for pin in apart}
            inputs |= dict.fromkeys(kept.inputs)
        chosen[layer.name] = selections[choice]
    shares = apportion(service.layers, chosen, everywhere=sdk.left_out(service))
    drafts = [
        Draft(config=layer, selection=shares[layer.name], recipe=Recipe(exclude=layer.exclude))
        for layer in service.layers
    ]
    return BuildPlan(
        service=service,
        layers=tuple(drafts),
        missing=missing_pins(drafts, session.store),
        local=tuple(local.values()),
        inputs=(
            *inputs,
            *local_inputs((*local.values(), *_built(drafts))),
            *locks.closer(lock_file, project),
            project / PROFILE,
        ),
        findings=without.check(service, chosen),
    )


def _selection(session: BuildContext, service: Service, layer: LayerConfig, lock_file: LockFile) -> CachedSelection:
    """Return what the lock holds for *layer*, without reading it where it was read before."""
    kept = recall(lock_file, layer, service.target, session.store)
    if kept is not None:
        return kept
    from lamina.lock.select import select  # noqa: PLC0415 - loads packaging, which a lock that was read before never needs

    lock = locks.read(lock_file, target=service.target, groups=layer.groups, extras=layer.extras, index=session.index)
    selection = select(lock, target=service.target)
    keep(selection, lock.inputs, lock_file, layer, store=session.store)
    return CachedSelection(selection, lock.inputs)


def _resolved(selection: Selection, service: Service) -> tuple[Selection, tuple[SourcePin, ...]]:
    """Return *selection* with what has to be built among its pins, and apart from it what goes to the functions."""
    if not selection.sources:
        return selection, ()
    from lamina.fetch.source.resolve import resolve  # noqa: PLC0415 - most locks hold wheels only

    return resolve(selection, service)


def _built(drafts: Iterable[Draft]) -> list[SourcePin]:
    return [pin for draft in drafts for pin in draft.selection.pins if isinstance(pin, SourcePin)]


def local_inputs(pins: Iterable[SourcePin]) -> Iterable[Path]:
    """Return every path whose content decides what the local packages *pins* are, each once."""
    return dict.fromkeys(path for pin in pins for path in pin.inputs)
