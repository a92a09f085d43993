"""
Compare the sizes of functions and layers with the budgets of the configuration, and with another build.

===============  ========  ==============================================================================
rule             severity  reported if
===============  ========  ==============================================================================
``over-budget``  error     a function with all its layers, or a layer, is larger than ``max-unzipped``
``grew``         error     it grew by more than ``max-growth``; a note if it grew by less, or has no limit
===============  ========  ==============================================================================
"""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from lamina.audit.location import Locator
from lamina.core.errors import ConfigError, NotInRevisionError
from lamina.core.frozen import frozen
from lamina.pipeline import report
from lamina.pipeline.checks.common import error, listed, note
from lamina.project.budgets import NO_BUDGET, SizeBudget

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from lamina.audit.inspection import Inspection
    from lamina.core.values import Build, Distribution, Finding, Layer
    from lamina.project.service import Function, LayerConfig, Service

_Limit = TypeVar("_Limit")
_SHOWN = 3
_WORTH_SHOWING = 0.01
"""The least share of the growth of a part that a message names."""
_CODE = "own code"


def check(inspection: Inspection) -> Iterable[Finding]:
    """
    Return the sizes over budget, and with a base in *inspection* what grew since then.

    Raises `ConfigError` if the base is neither a git revision nor a readable build report, and the errors of building it.
    """
    service, asked = inspection.service, inspection.base
    if asked is None and any(each.max_growth is not None for each in _budgets(service)):
        inspection.reporter.note("`max-growth` is not checked without `--base`, such as `lamina check --base main`")
    bases = () if asked is None else _base_builds(asked, inspection)
    findings: dict[Finding, None] = {}
    for build in inspection.builds:
        base = next((each for each in bases if each.target == build.target), next(iter(bases), None))
        target = f" for {build.target}" if len(inspection.builds) > 1 else ""
        for subject in _subjects(build, base, service, target):
            findings |= dict.fromkeys([*_over(subject, service), *_grown(subject, asked or "", service)])
    return findings


def _base_builds(base: str, inspection: Inspection) -> tuple[Build, ...]:
    """Return the builds in the report *base*, or those of the project at the git revision *base*."""
    if Path(base).is_file():
        return _reported_builds(Path(base), inspection)
    from lamina.aws.store.team import team_store
    from lamina.pipeline.last_build import last_options
    from lamina.pipeline.revision import RevisionOption, at_revision

    try:
        with at_revision(
            inspection.project,
            base,
            last_options(inspection.project),
            asked=RevisionOption(name="--base", other="file", alternative="a build report", metavar="FILE"),
            team_store=team_store,
            reporter=inspection.reporter,
            store=inspection.store,
        ) as directory:
            return report.read_all(directory)
    except NotInRevisionError as error:
        inspection.reporter.note(f"sizes are not compared: {error}")
        return ()


def _reported_builds(base: Path, inspection: Inspection) -> tuple[Build, ...]:
    """Return the builds of the service in the report *base*, which may be that of its workspace."""
    service = inspection.service
    builds = report.read_file(base, inspection.project)
    found = tuple(each for each in builds if each.service == service.name)
    names = {each.service for each in builds}
    if found or len(names) != 1:
        if not found:
            inspection.reporter.note(f"sizes are not compared: `{base}` does not have the service `{service.name}`")
        return found
    if not service.is_named:
        # The service is named after its directory, and the report is of another checkout.
        return builds
    raise ConfigError(
        f"`{base}` is the build report of {listed([*names])}, not of `{service.name}`",
        hint="write one of all services: run `lamina build --json` at the root of the workspace",
    )


@frozen
class _Size:
    """What a function with all its layers, or a layer, consists of. Sizes are in bytes, unzipped."""

    layers: tuple[Layer, ...]
    code_bytes: int = 0
    """The size of a function's own zip."""
    bundled: tuple[Distribution, ...] = ()
    """The distributions in the function's zip."""

    @property
    def total(self) -> int:
        """The whole size."""
        return self.code_bytes + sum(layer.unzipped_bytes for layer in self.layers)

    @property
    def parts(self) -> dict[str, int]:
        """The size of each distribution with its bytecode, by name, and that of the rest, which is own code."""
        found: dict[str, int] = {}
        for each in self._distributions:
            found[each.name] = found.get(each.name, 0) + each.unzipped_bytes + each.bytecode_bytes
        return found | {_CODE: self.total - sum(found.values())}

    @property
    def versions(self) -> dict[str, str]:
        """The versions of the distributions, by name."""
        return {each.name: each.version for each in self._distributions}

    @property
    def _distributions(self) -> Iterator[Distribution]:
        return chain(self.bundled, (each for layer in self.layers for each in layer.distributions))


def _of_functions(build: Build) -> dict[str, _Size]:
    layers = {layer.name: layer for layer in build.layers}
    return {
        package.name: _Size(
            layers=tuple(layers[name] for name in package.layers),
            code_bytes=package.unzipped_bytes,
            bundled=package.distributions,
        )
        for package in build.packages
    }


def _of_layers(build: Build) -> dict[str, _Size]:
    return {layer.name: _Size(layers=(layer,)) for layer in build.layers}


@frozen
class _Subject:
    """Functions of the same size, or a layer, with their budget."""

    names: tuple[str, ...]
    is_layer: bool
    size: _Size
    before: _Size | None
    """The size in the base; ``None`` if there is no base, or if the base does not have it."""
    budget: SizeBudget
    target: str
    """The target, for messages about services with several; otherwise empty."""
    has_note: bool
    """Whether growth within the budget is worth a note. That of a layer that functions have is in their notes."""

    @property
    def shown(self) -> str:
        """The start of a message."""
        return ("layer " if self.is_layer else "") + listed(self.names) + self.target


def _subjects(build: Build, base: Build | None, service: Service, target: str) -> Iterator[_Subject]:
    before = {} if base is None else _of_functions(base)
    own = {function.name: function.budget for function in service.functions}
    alike: dict[tuple[_Size, _Size | None, SizeBudget], list[str]] = {}
    for name, size in _of_functions(build).items():
        budget = SizeBudget(
            max_unzipped=_first(own[name].max_unzipped, service.budget.max_unzipped),
            max_growth=_first(own[name].max_growth, service.budget.max_growth),
        )
        alike.setdefault((size, before.get(name), budget), []).append(name)
    for (size, old, budget), names in alike.items():
        yield _Subject(
            names=tuple(names), is_layer=False, size=size, before=old, budget=budget, target=target, has_note=True
        )
    before = {} if base is None else _of_layers(base)
    used = {name for package in build.packages for name in package.layers}
    budgets = {layer.name: layer.budget for layer in service.layers}
    for name, size in _of_layers(build).items():
        unused = service.budget if name not in used else NO_BUDGET
        budget = SizeBudget(
            max_unzipped=_first(budgets[name].max_unzipped, unused.max_unzipped),
            max_growth=_first(budgets[name].max_growth, unused.max_growth),
        )
        yield _Subject(
            names=(name,),
            is_layer=True,
            size=size,
            before=before.get(name),
            budget=budget,
            target=target,
            has_note=name not in used,
        )


def _budgets(service: Service) -> Iterator[SizeBudget]:
    yield service.budget
    yield from (each.budget for each in service.functions)
    yield from (each.budget for each in service.layers)


def _first(own: _Limit | None, other: _Limit | None) -> _Limit | None:
    return other if own is None else own


def _over(subject: _Subject, service: Service) -> Iterator[Finding]:
    limit, total = subject.budget.max_unzipped, subject.size.total
    if limit is not None and total > limit:
        largest = sorted(subject.size.parts.items(), key=lambda part: (-part[1], part[0]))[:_SHOWN]
        parts = ", ".join(f"{_part(name)} {size:,}" for name, size in largest)
        yield _error(
            "over-budget",
            "max-unzipped",
            subject,
            f"{subject.shown}: {total:,} bytes unzipped, {total - limit:,} over the budget of {limit:,} bytes; largest "
            f"parts: {parts}",
            service,
        )


def _grown(subject: _Subject, base: str, service: Service) -> Iterator[Finding]:
    before, growth = subject.before, subject.budget.max_growth
    if before is None or (more := subject.size.total - before.total) <= 0:
        return
    share = f" ({more / before.total:.1%})" if before.total else ""
    fact = f"{subject.shown}: grew by {more:,} bytes{share} to {subject.size.total:,} bytes unzipped since `{base}`"
    what = ", ".join(_growing(before, subject.size))
    if growth is not None and subject.size.total > growth.limit(before.total):
        message = f"{fact}, more than the budget of {growth}: {what}"
        yield _error("grew", "max-growth", subject, message, service)
    elif subject.has_note:
        yield note("grew", subject.names[0], f"{fact}: {what}")


def _growing(before: _Size, after: _Size) -> Iterator[str]:
    """Yield the parts that grew most, each with its versions and the number of bytes."""
    old, new = before.parts, after.parts
    more = {name: size - old.get(name, 0) for name, size in new.items() if size > old.get(name, 0)}
    largest = sorted(more.items(), key=lambda part: (-part[1], part[0]))
    shown = [part for part in largest[:_SHOWN] if part[1] >= sum(more.values()) * _WORTH_SHOWING]
    for name, size in shown:
        versions = [each[name] for each in (before.versions, after.versions) if name in each]
        yield " ".join([_part(name), *([" → ".join(dict.fromkeys(versions))] if versions else []), f"+{size:,}"])
    if rest := largest[len(shown) :]:
        yield f"{len(rest)} more +{sum(size for _, size in rest):,}"


def _part(name: str) -> str:
    return name if name == _CODE else f"`{name}`"


def _error(rule: str, key: str, subject: _Subject, message: str, service: Service) -> Finding:
    """Return an error, with the line of the configuration that sets the budget *key*, if it has a line of its own."""
    name = subject.names[0]
    configs: Sequence[Function | LayerConfig] = service.layers if subject.is_layer else service.functions
    own = next(each.budget for each in configs if each.name == name)
    is_own = getattr(own, key.replace("-", "_")) is not None
    locator = Locator(service)
    line = locator.line(f"{'layers' if subject.is_layer else 'functions'}.{name}.{key}" if is_own else key)
    return error(rule, name, message, file=None if line is None else locator.configuration, line=line)
