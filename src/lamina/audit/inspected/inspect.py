"""Inspect the zips of a subject: read each one, identify modules without metadata, and compare the zips with each other and with a lock."""

from __future__ import annotations

from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING
from zipfile import is_zipfile

from lamina.audit.inspected.files import examine
from lamina.audit.inspected.fitness import judge
from lamina.audit.inspected.matching import match_modules
from lamina.audit.inspected.shadowing import shadowed
from lamina.audit.inventory.contents import contents_of, source_of
from lamina.audit.inventory.subjects import AuditedDistribution, UnknownCode
from lamina.core.errors import ArchiveError, ConfigError, FetchError, LockError
from lamina.core.frozen import frozen
from lamina.core.target import Target
from lamina.lock import formats
from lamina.pipeline.plan import locked_selection
from lamina.pipeline.provenance import verify
from lamina.project.external import LayerArn
from lamina.project.publishers import publisher_of
from lamina.project.wrappers import known_wrappers

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from lamina.audit.inspected.files import ExaminedFiles
    from lamina.audit.inspected.fitness import Fitness
    from lamina.audit.inspected.matching import Match
    from lamina.audit.inspected.shadowing import Shadowed
    from lamina.audit.inspected.subjects import InspectedSubject, InspectedZip
    from lamina.audit.inventory.contents import ArchiveContents
    from lamina.audit.inventory.origins import LockedOrigins
    from lamina.audit.vulnerabilities.audit import DatabaseAnswer
    from lamina.audit.vulnerabilities.settings import AuditSettings
    from lamina.audit.vulnerabilities.values import Advisories
    from lamina.pipeline.context import BuildContext
    from lamina.pipeline.provenance import Verification
    from lamina.project.publishers import Publisher
    from lamina.project.service import Service
    from lamina.project.wrappers import Wrapper

_HINT = "do not use it: programs may unpack it differently; ask its author for another one"
_NOT_ZIP_HINT = "pass a zip; if you downloaded this file as one, download it again"


@frozen
class Locked:
    """A distribution that both an inspected zip and the lock file of the project have."""

    name: str
    version: str
    """The version in the zip."""
    locked: str
    """The version in the lock file; empty if the lock does not state it."""


@frozen
class InspectedArchive:
    """One zip, and what is in it."""

    zip: InspectedZip
    publisher: Publisher | None
    contents: ArchiveContents
    files: ExaminedFiles
    matches: tuple[Match, ...]
    """The distributions of modules without metadata, as far as an index has the same files."""
    fitness: Fitness
    targets: tuple[Target, ...]
    """The targets for which the binaries and the bytecode are judged."""
    handlers: tuple[Wrapper, ...]
    """The handlers of vendors in the zip, which call a function's own handler."""
    locked: tuple[Locked, ...]
    provenance: Verification | None
    """Whether the statement of provenance next to a zip describes it; ``None`` if there is no statement."""

    @property
    def distributions(self) -> tuple[tuple[str, str], ...]:
        """The name and version of each distribution, also of those that were identified by their files."""
        named = [(each.name, each.version) for each in self.contents.distributions]
        return tuple(sorted({*named, *((each.name, each.version) for each in self.matches if each.is_exact)}))

    @cached_property
    def identified(self) -> frozenset[str]:
        """The files without metadata that belong to the distributions that were identified, with the bytecode made from them."""
        found = {path for match in self.matches if match.is_exact for path in match.matching}
        return frozenset(file.path for file in self.contents.unowned if source_of(file.path) in found)

    @property
    def unknown_modules(self) -> tuple[str, ...]:
        """The modules without metadata that were not identified."""
        places = {root + module.replace(".", "/"): module for root, module in self.contents.modules}
        # Only the stems of modules are kept: many deep paths have too many others.
        unknown = {stem for path in self._unidentified for stem in _stems(source_of(path)) if stem in places}
        return tuple(module for place, module in places.items() if place in unknown)

    @property
    def unmatched_modules(self) -> tuple[str, ...]:
        """The modules without metadata that no distribution has, not even with other content."""
        similar = {module for match in self.matches for module in match.modules}
        return tuple(module for module in self.unknown_modules if module not in similar)

    @property
    def unexplained(self) -> tuple[str, ...]:
        """The files of no distribution, without extensions and wrappers."""
        known = {*self.contents.extensions, *self.contents.wrappers}
        return tuple(path for path in self._unidentified if path not in known)

    @property
    def _unidentified(self) -> tuple[str, ...]:
        return tuple(file.path for file in self.contents.unowned if file.path not in self.identified)


@frozen
class InspectionReport:
    """The result of `inspect`."""

    subject: InspectedSubject
    archives: tuple[InspectedArchive, ...]
    shadowed: tuple[Shadowed, ...]
    notes: tuple[str, ...]
    """What could not be looked up, and why."""
    answer: DatabaseAnswer | None = None
    """What a database of advisories says of the distributions in all zips; ``None`` if none was asked."""


@frozen
class Auditor:
    """Who looks for vulnerabilities in the distributions, and by which rules."""

    settings: AuditSettings
    advisories: Advisories
    today: dt.date
    everything: bool
    """Whether names of distributions that are not known to be public may leave the machine, too."""

    def answer(self, archives: Iterable[InspectedArchive], origins: LockedOrigins) -> DatabaseAnswer:
        """Return what the database says of *archives*. Raises the errors of `Advisories.ask`, and those of `LockedOrigins.obstacle`."""
        from lamina.audit.vulnerabilities.audit import ask

        places: dict[tuple[str, str], list[InspectedZip]] = {}
        for archive in archives:
            for release in archive.distributions:
                places.setdefault(release, []).append(archive.zip)
        distributions = [
            AuditedDistribution(
                name=name,
                version=version,
                places=tuple(each.name for each in zips),
                obstacle=origins.obstacle(name, (each.arn for each in zips if each.arn is not None)),
            )
            for (name, version), zips in sorted(places.items())
        ]
        unknown = [code for each in archives for code in UnknownCode.of_modules(each.zip.name, each.unknown_modules)]
        return ask(distributions, unknown, self.settings, self.advisories, today=self.today)


def inspect(
    subject: InspectedSubject,
    context: BuildContext,
    *,
    service: Service | None,
    target: Target | None,
    matches: bool,
    auditor: Auditor | None = None,
) -> InspectionReport:
    """
    Return what is in the zips of *subject*.

    *target* is judged in place of the runtimes that are stated for the zips. The lock file of *service* is compared with them, if there is
    one. With *matches*, modules without metadata are looked up on the indexes of *context*. *auditor* looks for vulnerabilities.

    Raises `ArchiveError` for a zip that is unsafe, ambiguous or damaged, and the errors of `Auditor.answer`.
    """
    notes: list[str] = []
    lock = None if service is None else _locked(service, context, notes)
    fallback = None if service is None else service.target
    archives = []
    for each in subject.zips:
        context.reporter.stage(f"reading {each.name}")
        try:
            contents = contents_of(each.path, store=context.store, name=each.name, is_layer=each.is_layer)
            files = examine(each.path, contents, context.store, name=each.name)
        except ArchiveError as error:
            error.hint = _HINT if is_zipfile(each.path) else _NOT_ZIP_HINT
            raise
        targets = (target,) if target is not None else _targets(subject, each, fallback)
        found = _matches(contents, files, context, targets, notes) if matches else ()
        archives.append(
            InspectedArchive(
                zip=each,
                publisher=_publisher(each),
                contents=contents,
                files=files,
                matches=found,
                fitness=judge(files, contents, targets),
                targets=targets,
                handlers=tuple(wrapper for wrapper in known_wrappers() if _has(contents, wrapper.handler)),
                locked=_twice(contents, found, lock or {}) if contents.is_layer else (),
                provenance=verify(each.path, contents.sha256),
            )
        )
    function = subject.function
    python = archives[-1].targets[0].python if function is not None and archives[-1].targets else None
    together = [(each.zip.name, each.contents) for each in archives]
    answer = None
    if auditor is not None:
        from lamina.audit.inventory.origins import LockedOrigins

        context.reporter.stage(f"asking {auditor.advisories.place}")
        readable = None if lock is None else service
        answer = auditor.answer(archives, LockedOrigins(context.project, readable, everything=auditor.everything))
    return InspectionReport(
        subject=subject,
        archives=tuple(archives),
        shadowed=shadowed(together, python) if function is not None else (),
        notes=tuple(dict.fromkeys(notes)),
        answer=answer,
    )


def _stems(path: str) -> Iterator[str]:
    """Yield *path* without its suffix, and its directories."""
    *directories, name = path.split("/")
    yield "/".join((*directories, name.partition(".")[0]))
    for length in range(1, len(directories) + 1):
        yield "/".join(directories[:length])


def _targets(subject: InspectedSubject, each: InspectedZip, fallback: Target | None) -> tuple[Target, ...]:
    """Return the targets of the function, or those that are stated for the zip, or *fallback*; without those that lamina does not know."""
    runtimes: tuple[str, ...]
    architectures: tuple[str, ...]
    if (function := subject.function) is not None:
        runtimes, architectures = (function.settings.runtime,), (function.architecture,)
    elif each.runtimes:
        # A layer without stated architectures is one for all, as far as Lambda knows.
        runtimes, architectures = each.runtimes, each.architectures or ("x86_64",)
    else:
        return () if fallback is None else (fallback,)
    found = []
    for runtime in runtimes:
        for architecture in architectures:
            with suppress(ConfigError):
                found.append(Target.of(runtime, architecture))
    return tuple(found)


def _matches(
    contents: ArchiveContents,
    files: ExaminedFiles,
    context: BuildContext,
    targets: Sequence[Target],
    notes: list[str],
) -> tuple[Match, ...]:
    if not contents.modules:
        return ()
    context.reporter.stage("looking for the wheels of modules without metadata")
    try:
        return match_modules(contents, files, context.index, targets)
    except FetchError as error:
        notes.append(f"modules without metadata are not identified: {error}")
        return ()


def _publisher(each: InspectedZip) -> Publisher | None:
    layer = LayerArn.parse(each.arn) if each.arn is not None else None
    return None if layer is None else publisher_of(layer)


def _has(contents: ArchiveContents, handler: str) -> bool:
    """Return whether the zip has the module of *handler*, such as ``vendor.module.function``, as a source or as bytecode."""
    module = handler.rpartition(".")[0].replace(".", "/")
    roots = {root for root, _ in contents.modules} | {each.root for each in contents.distributions}
    paths = contents.paths
    return any(f"{root}{module}{end}" in paths for root in roots for end in (".py", ".pyc", "/__init__.py"))


def _locked(service: Service, context: BuildContext, notes: list[str]) -> Mapping[str, str] | None:
    try:
        return locked_versions(service, context)
    except (ConfigError, FetchError, LockError) as error:
        notes.append(f"the lock file of this project is not compared: {error}")
        return None


def locked_versions(service: Service, context: BuildContext) -> Mapping[str, str]:
    """
    Return the versions of the distributions that the lock file of *service* has for its layers, by name; empty for an unknown version.

    Raises the errors of finding and reading a lock file.
    """
    found: dict[str, str] = {}
    lock_file = formats.find(service.root, service.lock, target=service.target)
    for layer in service.selected:
        selection = locked_selection(context, service, layer, lock_file).selection
        found |= {pin.name: pin.version for pin in selection.pins}
        for source in selection.sources:
            found[source.name] = source.version or ""
    return found


def _twice(contents: ArchiveContents, matches: Sequence[Match], lock: Mapping[str, str]) -> tuple[Locked, ...]:
    versions = {match.name: match.version for match in matches if match.is_exact}
    versions |= {each.name: each.version for each in contents.distributions}
    return tuple(
        Locked(name=name, version=version, locked=lock[name])
        for name, version in sorted(versions.items())
        if name in lock
    )
