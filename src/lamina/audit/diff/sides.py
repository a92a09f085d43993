"""Find out what an argument of ``lamina diff`` names, and read it as one side of the comparison."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import is_zipfile

from lamina.audit.diff.archives import read_archive
from lamina.audit.diff.values import ArchiveKind, ArchiveSizes, ComparedArchive, ComparedDistribution, Side
from lamina.core.errors import CheckFailedError, ConfigError, UsageError
from lamina.core.files import file_sha256, is_own_file
from lamina.core.frozen import frozen, replace
from lamina.lock.formats import READERS
from lamina.pipeline import report, state
from lamina.pipeline.checks.common import listed
from lamina.project import config

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from lamina.audit.diff.values import ColdStarts
    from lamina.audit.vulnerabilities.values import Advisories
    from lamina.core.reporter import Reporter
    from lamina.core.store import Store
    from lamina.core.values import Build, Layer, Package
    from lamina.pipeline.context import TeamStore
    from lamina.project.options import BuildOptions
    from lamina.project.service import Service

WORKING_TREE = "the working tree"


@frozen
class SideRequest:
    """What all sides of one comparison have in common."""

    project: Path
    options: BuildOptions
    store: Store
    team_store: TeamStore
    reporter: Reporter
    builds: bool = True
    """Whether to build the working tree first if it has changed. If false, its last build is compared."""
    vulnerabilities: bool = False
    """Whether a database of advisories is to be asked about the sides."""
    everything: bool = False
    """Whether names of distributions that are not known to be public may leave the machine, too."""
    starts: Callable[[Path], ColdStarts | None] = lambda _project: None
    """Returns the cold starts that are recorded in a project."""


def working_tree(request: SideRequest) -> Side:
    """Return the project as it is now. Raises the errors of building it."""
    project = request.project
    if request.builds and state.recall(str(project), request.options.asked()) is None:
        from lamina.pipeline.build import build

        result = build(
            project,
            request.options,
            store=request.store,
            team_store=request.team_store,
            reporter=request.reporter,
        )
        if result.refused:
            raise _refused(WORKING_TREE)
    return _of_builds(WORKING_TREE, report.read_all(project), project, request)


def open_advisories(request: SideRequest, osv: str | None) -> Advisories:
    """
    Return the database of advisories that the project configures, or OSV at *osv*, a mirror's address or the path of its zip.

    Raises `InvalidConfigError`, and the errors of `lamina.audit.vulnerabilities.databases.open_database`.
    """
    from lamina.audit.inventory.origins import LockedOrigins
    from lamina.audit.vulnerabilities.databases import open_database
    from lamina.audit.vulnerabilities.settings import load

    return open_database(
        load(request.project, osv=osv),
        LockedOrigins(request.project, None),
        store=request.store,
        offline=request.options.offline,
    )


def open_side(argument: str, request: SideRequest) -> Side:
    """
    Return the side that *argument* names: the ARN of a layer version, a file, a directory with a build, or else a git revision.

    Raises `UsageError` if it is empty, `ConfigError` if it is none of them, and the errors of reading, downloading, resolving or building it.
    """
    if not argument:
        raise UsageError("an empty text names no state; is a variable of your shell not set?")
    request.reporter.stage(f"reading {argument}")
    path = Path(argument)
    if argument.startswith("arn:"):
        return _of_arn(argument, request)
    if path.is_dir():
        return _of_directory(argument, path, request)
    if path.is_file():
        return _of_file(argument, path, request)
    return _of_revision(argument, request)


def _of_file(argument: str, path: Path, request: SideRequest) -> Side:
    if is_zipfile(path):
        return _of_zip(argument, read_archive(path, store=request.store), request)
    if path.suffix == ".json":
        project = path.parent.parent if path.parent.name == report.OUTPUT_DIRECTORY else path.parent
        return _of_builds(argument, report.read_file(path, project.absolute()), project, request)
    if path.name in READERS or path.match("pylock.*.toml") or path.suffix == ".txt":
        return _of_lock(argument, path, request)
    raise ConfigError(
        f"`{argument}` is neither a zip, a build report nor a lock file",
        hint="name a zip, `build.json`, or a lock file by its own name, such as `old/uv.lock`; a git revision with the name of a file is "
        "written as `refs/heads/NAME`",
    )


def _of_directory(argument: str, directory: Path, request: SideRequest) -> Side:
    for project in (directory, directory.parent):
        if (project / report.BUILD_FILE).is_file() and directory in {project, project / report.OUTPUT_DIRECTORY}:
            return _of_builds(argument, report.read_all(project.absolute()), project, request)
    raise ConfigError(
        f"directory `{argument}` has no build to compare",
        hint=f"build it: `lamina build --project {shlex.quote(argument)}`; "
        "a git revision with the name of a directory is written as `refs/heads/NAME`",
    )


def _of_revision(argument: str, request: SideRequest) -> Side:
    from lamina.pipeline.revision import RevisionOption, at_revision

    asked = RevisionOption(name="lamina diff", other="file", alternative="a build or zip", metavar="FILE")
    with at_revision(
        request.project,
        argument,
        request.options,
        asked=asked,
        team_store=request.team_store,
        reporter=request.reporter,
        store=request.store,
    ) as project:
        if not (project / report.BUILD_FILE).exists():
            raise _refused(f"revision `{argument}`")
        return _of_builds(argument, report.read_all(project), project, request)


def _refused(name: str) -> CheckFailedError:
    return CheckFailedError(
        f"{name} cannot be compared: a build of it stops, because its layers would exceed Lambda's limits",
        hint="see what is too large: `lamina build --dry-run`",
    )


def _of_builds(name: str, builds: Sequence[Build], project: Path, request: SideRequest) -> Side:
    request.reporter.stage(f"comparing {name}")
    archives = tuple(archive for build in builds for archive in _archives(build, request.store))
    public = _public(project, archives, request)
    return Side(name=name, archives=archives, starts=request.starts(project), public=public)


def _service(project: Path, request: SideRequest) -> Service:
    with request.store.in_use(request.reporter):
        return config.load(project, request.options, store=request.store)


def _public(
    project: Path,
    archives: Iterable[ComparedArchive],
    request: SideRequest,
    *,
    arns: Sequence[str] = (),
    lock: Path | None = None,
) -> frozenset[str]:
    """
    Return the names of the distributions in *archives* that a database may be asked about; none if it is not to be. A note tells of the others.

    The lock file of *project*, or *lock*, says where they come from. *arns* are those of the layer that is compared.
    """
    from lamina.audit.inventory.origins import LockedOrigins

    if not request.vulnerabilities:
        return frozenset()
    service = _service(project, request)
    if lock is not None:
        service = replace(service, lock=lock)
    origins = LockedOrigins(service.root, service, everything=request.everything)
    names = sorted({each.name for archive in archives for each in archive.distributions})
    obstacles = {name: origins.obstacle(name, arns) for name in names}
    for reason in dict.fromkeys(str(each) for each in obstacles.values() if each is not None):
        withheld = [name for name, each in obstacles.items() if str(each) == reason]
        request.reporter.note(f"vulnerabilities of {listed(withheld)} are not compared: {reason}")
    return frozenset(name for name, each in obstacles.items() if each is None)


def _archives(build: Build, store: Store) -> Iterator[ComparedArchive]:
    target = str(build.target)
    for layer in build.layers:
        yield _layer(layer, target, store)
    shared: dict[str, ComparedArchive] = {}
    for package in build.packages:
        if package.sha256 not in shared:
            shared[package.sha256] = _package(package, target, store)
        yield replace(shared[package.sha256], name=package.name)


def _layer(layer: Layer, target: str, store: Store) -> ComparedArchive:
    if _is_there(layer):
        found = read_archive(
            layer.path, store=store, kind=ArchiveKind.LAYER, name=layer.name, target=target, sha256=layer.sha256
        )
    else:
        bytecode = sum(each.bytecode_bytes for each in layer.distributions)
        found = _reported(layer, ArchiveKind.LAYER, target, bytecode)
    return replace(found, digest=layer.digest, distributions=_distributions(layer))


def _distributions(archive: Layer | Package) -> tuple[ComparedDistribution, ...]:
    return tuple(
        ComparedDistribution(
            name=each.name,
            version=each.version,
            sha256=each.sha256,
            unzipped_bytes=each.unzipped_bytes + each.bytecode_bytes,
        )
        for each in archive.distributions
    )


def _package(package: Package, target: str, store: Store) -> ComparedArchive:
    if _is_there(package):
        found = read_archive(
            package.path, store=store, kind=ArchiveKind.PACKAGE, name=package.name, target=target, sha256=package.sha256
        )
    else:
        bytecode = sum(each.bytecode_bytes for each in package.distributions)
        found = _reported(package, ArchiveKind.PACKAGE, target, bytecode)
    # Without its own distributions, a package can have those of local packages, which only the zip tells.
    return replace(found, distributions=_distributions(package)) if package.distributions else found


def _is_there(archive: Layer | Package) -> bool:
    """Return whether the zip of *archive* is the reported one. A report may be of another machine, or older than the zips."""
    return is_own_file(archive.path) and archive.sha256 == file_sha256(archive.path)


def _reported(archive: Layer | Package, kind: ArchiveKind, target: str, bytecode_bytes: int) -> ComparedArchive:
    return ComparedArchive(
        kind=kind,
        name=archive.name,
        target=target,
        sha256=archive.sha256,
        sizes=ArchiveSizes(
            zipped_bytes=archive.zipped_bytes,
            unzipped_bytes=archive.unzipped_bytes,
            bytecode_bytes=bytecode_bytes,
            files=archive.files,
        ),
    )


def _of_lock(argument: str, path: Path, request: SideRequest) -> Side:
    from lamina.pipeline.context import BuildContext
    from lamina.pipeline.plan import resolve

    context = BuildContext.open(request.project, request.options, store=request.store, reporter=request.reporter)
    service = replace(_service(request.project, request), lock=path.absolute())
    with request.store.in_use(request.reporter):
        plan = resolve(context, service)
    archives = tuple(
        ComparedArchive(
            kind=ArchiveKind.LAYER,
            name=layer.name,
            target=str(target.service.target),
            distributions=tuple(
                ComparedDistribution(name=pin.name, version=pin.version, sha256=pin.sha256)
                for pin in layer.selection.pins
            ),
        )
        for target in plan.targets
        for layer in target.layers
    )
    public = _public(request.project, archives, request, lock=service.lock)
    return Side(name=argument, archives=archives, is_lock=True, public=public)


def _of_zip(argument: str, archive: ComparedArchive, request: SideRequest) -> Side:
    public = _public(request.project, (archive,), request)
    return Side(name=argument, archives=(archive,), public=public)


def _of_arn(arn: str, request: SideRequest) -> Side:
    from lamina.aws.external.zips import layer_zip

    found = layer_zip(
        arn, request.project, store=request.store, offline=request.options.offline, reporter=request.reporter
    )
    archive = read_archive(found.path, store=request.store, name=arn.split(":", 6)[-1], sha256=found.sha256)
    public = _public(request.project, (archive,), request, arns=(arn,))
    return Side(name=arn, archives=(archive,), public=public)
