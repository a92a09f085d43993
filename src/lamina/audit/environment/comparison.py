"""Compare an environment of Python with the layers of a service, for `lamina.audit.families.environment`."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lamina.archive.record import RecordRow
from lamina.archive.segment import Recipe
from lamina.archive.wheel import same_version
from lamina.audit.environment.cures import Cures
from lamina.audit.environment.explanation import Explanation
from lamina.audit.environment.venv import InstalledEnvironment, record_rows
from lamina.audit.segments import examined
from lamina.core.frozen import frozen
from lamina.core.paths import PREFIX, printable
from lamina.core.text import count, from_here
from lamina.core.values import Layer
from lamina.lock import formats
from lamina.pipeline.checks.common import error, listed, note, owner_of, warning
from lamina.pipeline.checks.ignoring import ignoring

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from lamina.audit.environment.venv import InstalledDistribution
    from lamina.audit.inspection import Inspection
    from lamina.core.values import Build, Distribution, Finding, Package
    from lamina.project.service import Service

_DEFAULT = ".venv"
_named = partial(listed, most=20)
"""Returns names in backticks: more than in other findings, because each of them may need a decision."""
_UNKNOWN_VERSION = "dynamic"
"""The version of a distribution that lamina built, if nothing stated it before the build."""


def _located(asked: Path) -> Path | None:
    """
    Return the environment *asked* for. If it is ``.venv`` and missing, return that of a parent directory, or the active one, or ``None``.

    In a workspace, uv creates one environment at its root. Other tools create it elsewhere, and activate it.
    """
    if asked.name != _DEFAULT or asked.is_dir():
        return asked
    for directory in asked.absolute().parents:
        if (directory / _DEFAULT / "pyvenv.cfg").is_file():
            return directory / _DEFAULT
        if (directory / ".git").exists():
            break
    active = os.environ.get("VIRTUAL_ENV") or os.environ.get("CONDA_PREFIX")
    return Path(active) if active else None


class _Records:
    """Reads the RECORD of each distribution in a layer."""

    key = ("records", 1)

    def wants(self, path: str) -> bool:
        """Return whether *path* is a RECORD."""
        return (path.startswith(PREFIX) or path.count("/") == 1) and path.endswith(".dist-info/RECORD")

    def wants_content(self, path: str, head: bytes) -> bool:  # noqa: ARG002 - the protocol has it
        """Return whether to read the RECORD: always."""
        return True

    def examine(self, path: str, content: bytes) -> Any:  # noqa: ARG002 - the protocol has it
        """Return the rows."""
        return {name: list(row) for name, row in record_rows(content).items()}


@frozen
class _Expected:
    """A distribution in a layer or in the zip of a function, as an environment should have it."""

    layer: str
    """The layer, or the first function whose zip has the distribution."""
    selected_by: tuple[str, ...]
    """The layers of the configuration that may select it."""
    distribution: Distribution
    version: str
    record: Mapping[str, RecordRow]
    """The files in the layer with their hashes, by path relative to ``python/``."""
    excluded: Callable[[str], bool]
    """Whether the layer leaves out a path."""

    @property
    def is_from_source(self) -> bool:
        """Whether lamina built the wheel, so that another build of the same source has other native files."""
        return not self.distribution.artifact.endswith(".whl")

    @property
    def tags(self) -> frozenset[str]:
        """The tags of the wheel; none if lamina built it."""
        from packaging.utils import parse_wheel_filename

        return (
            frozenset()
            if self.is_from_source
            else frozenset(map(str, parse_wheel_filename(self.distribution.artifact)[3]))
        )


def compare(inspection: Inspection, asked: Path) -> Iterator[Finding]:
    """Yield how the environment *asked* for differs from the layers. Raises the errors of `lamina.audit.families.environment.check`."""
    place = _located(asked)
    if place is not None:
        return _Comparison(inspection, InstalledEnvironment(place)).findings()
    return iter((_no_environment(inspection, printable(from_here(asked))),))


def _no_environment(inspection: Inspection, shown: str) -> Finding:
    service, target = inspection.service, inspection.builds[0].target
    cures = Cures(formats.find(service.root, service.lock, target=target), service.selected, shown)
    return error(
        "environment-missing",
        shown,
        f"there is no virtual environment `{shown}`, nor `{_DEFAULT}` in a parent directory, and none is active; "
        f"create one: `{cures.create(target.python)}`",
    )


class _Comparison:
    def __init__(self, inspection: Inspection, environment: InstalledEnvironment) -> None:
        self._service = inspection.service
        self._today = inspection.today
        self._environment = environment
        self._shown = printable(from_here(environment.path))
        self._build = _fitting(inspection.builds, environment)
        self._explanation = Explanation(
            self._service, self._build.target, environment.python, lambda: environment.distributions
        )
        self._cures = Cures(self._explanation.lock_file, self._service.selected, self._shown)
        self._expected: dict[str, list[_Expected]] = {}
        for archive in _with_distributions(self._build):
            for each in _of_archive(archive, self._service, inspection):
                self._expected.setdefault(each.distribution.name, []).append(each)
        self._explained: dict[str, dict[str, None]] = {}

    def findings(self) -> Iterator[Finding]:
        """Yield the findings. Those that something explains share the last one, a note."""
        if (python := self._python()) is not None:
            yield python
            # Creating the environment again corrects the other differences, too. Their cures would fill the wrong one.
            if ignoring(python, self._service.ignore, today=self._today) is None:
                return
        if self._environment.has_system_packages:
            yield warning(
                "environment-extra",
                self._shown,
                f"code in `{self._shown}` can import the packages of the system's Python, which Lambda does not have; "
                "create it again without `--system-site-packages`",
            )
        for installed in self._environment.distributions:
            if installed.name in self._expected:
                yield from self._distribution(self._expected[installed.name], installed)
        yield from self._missing()
        yield from self._extra()
        if self._explained:
            reasons = "; ".join(f"{reason}: {_named([*names])}" for reason, names in self._explained.items())
            yield note(
                "environment-explained", self._shown, f"`{self._shown}` differs from the layers as expected: {reasons}"
            )

    def _explain(self, reason: str, name: str) -> None:
        self._explained.setdefault(reason, {})[name] = None

    def _python(self) -> Finding | None:
        python, target = self._environment.python, self._build.target
        if python is None or python == target.python:
            return None
        return error(
            "environment-python",
            self._shown,
            f"`{self._shown}` has Python {python[0]}.{python[1]}, but the runtime is `{target.runtime}`; "
            f"create it again: `{self._cures.create(target.python, options=' --clear')}`",
        )

    def _distribution(self, expected: Sequence[_Expected], installed: InstalledDistribution) -> Iterator[Finding]:
        """Yield how *installed* differs from the distributions of the same name in the layers."""
        if installed.is_editable:
            self._explain("editable, so not compared", installed.name)
            return
        other = [each for each in expected if not same_version(each.version, installed.version)]
        for version in dict.fromkeys(each.version for each in other):
            layers = _named([each.layer for each in other if each.version == version])
            yield error(
                "environment-version",
                installed.name,
                f"`{installed.name}` {installed.version} is in `{self._shown}`, but {version} in the layers ({layers}); "
                f"run `{self._cures.sync}`",
            )
        same = next((each for each in expected if each not in other), None)
        if same is not None and installed.installer == "conda":
            self._explain("from conda, so only the version is compared", installed.name)
        elif same is not None and (different := sorted(self._differing(same, installed))):
            kinds: dict[str, list[str]] = {"changed": [], "missing": [], "not in the wheel": []}
            for path in different:
                present = os.path.lexists(self._environment.path_of(path))
                is_known = path in same.record or (installed.record or {})[path].digest
                kind = "missing" if not present else "changed" if is_known else "not in the wheel"
                kinds[kind].append(printable(path))
            what = "; ".join(f"{kind}: {_named(paths)}" for kind, paths in kinds.items() if paths)
            yield error(
                "environment-file",
                installed.name,
                f"{count(len(different), 'file')} of `{installed.name}` {installed.version} in `{self._shown}` "
                f"{'is' if len(different) == 1 else 'are'} not as in the wheel: {what}; "
                f"install it again: `{self._cures.reinstall(installed.name)}`",
            )

    def _differing(self, expected: _Expected, installed: InstalledDistribution) -> set[str]:
        """Return the files of *installed* that are not those of its wheel, which is usually that of the layer."""
        record = installed.record or {}
        reference = {path: row for path, row in expected.record.items() if row.digest}
        # WHEEL has the tags, which differ between the wheels of a version.
        wheel = next((each for each in reference.items() if each[0].endswith(".dist-info/WHEEL")), None)
        if wheel is None or expected.is_from_source or not self._environment.matches(*wheel):
            reason = "built from source" if expected.is_from_source else "from a wheel of another platform or build"
            self._explain(f"{reason}, so native and generated files differ", installed.name)
            source = {path: row for path, row in reference.items() if path.endswith(".py")}
            # Another build of a wheel for the same platform has other metadata only.
            same = {} if expected.tags != self._environment.tags(installed) else _without_metadata(reference)
            # Without a RECORD, only the sources are known.
            reference = {path: row for path, row in record.items() if row.digest} or source
            if expected.is_from_source:
                reference |= {path: row for path, row in source.items() if path in reference}
            reference |= same
            return {path for path, row in reference.items() if not self._environment.matches(path, row)}
        added = [path for path in record if path not in expected.record and not _is_of_installer(path)]
        if any(map(expected.excluded, added)):
            self._explain("files left out by `exclude`", installed.name)
        return {path for path, row in reference.items() if not self._environment.matches(path, row)} | {
            path for path in added if not expected.excluded(path)
        }

    def _missing(self) -> Iterator[Finding]:
        installed = {each.name for each in self._environment.distributions}
        missing = [each for name, found in self._expected.items() if name not in installed for each in found]
        names = dict.fromkeys(each.distribution.name for each in missing)
        used = {name for each in missing for name in each.selected_by}
        applying = {
            layer.name: self._explanation.applying(layer) for layer in self._service.selected if layer.name in used
        }
        for each in missing:
            name, found = each.distribution.name, [applying.get(layer) for layer in each.selected_by]
            if all(names_here is not None and name not in names_here for names_here in found):
                self._explain("not for this platform or Python, by markers", name)
                names.pop(name, None)
        if names:
            yield error(
                "environment-missing",
                self._shown,
                f"{_named(sorted(names))} {'is' if len(names) == 1 else 'are'} in the layers, but not in `{self._shown}`; "
                f"run `{self._cures.sync}`",
            )

    def _extra(self) -> Iterator[Finding]:
        found: dict[str, None] = {}
        for each in self._environment.distributions:
            if each.name in self._expected:
                continue
            if (reason := self._explanation.of_extra(each)) is None:
                found[each.name] = None
            else:
                self._explain(reason, each.name)
        if extra := [*found]:
            yield warning(
                "environment-extra",
                self._shown,
                f"{_named(extra)} {'is' if len(extra) == 1 else 'are'} in `{self._shown}`, but neither in the layers nor "
                f"in the lock file, so code that imports {_them(extra)} works only here; lock {_them(extra)}, or uninstall "
                f"{_them(extra)}",
            )
        if foreign := [printable(path) for path in self._environment.foreign_modules()]:
            yield warning(
                "environment-extra",
                self._shown,
                f"no distribution in `{self._shown}` installed {_named(foreign)}, so code that imports {_them(foreign)} works "
                f"only here; delete {_them(foreign)}, or move {_them(foreign)} into your source",
            )


def _fitting(builds: Sequence[Build], environment: InstalledEnvironment) -> Build:
    """Return the build for the Python of *environment*, or else for the main target."""
    return next((build for build in builds if build.target.python == environment.python), builds[0])


def _with_distributions(build: Build) -> Iterator[Layer | Package]:
    """Yield the layers and, once, each zip of functions that contains distributions."""
    yield from build.layers
    yield from {package.sha256: package for package in reversed(build.packages) if package.distributions}.values()


def _of_archive(archive: Layer | Package, service: Service, inspection: Inspection) -> Iterator[_Expected]:
    records = {owner_of(path): (path, rows) for path, rows in examined(archive, _Records(), inspection.store).items()}
    selected_by = (archive.name,) if isinstance(archive, Layer) else archive.bundled
    config = next((each for each in service.selected if each.name in selected_by), None)
    excluded = Recipe(exclude=() if config is None else config.exclude).excluded()
    for each in archive.distributions:
        path, rows = records.get(each.name, ("", {}))
        stated = path.split("/")[-2].removesuffix(".dist-info").rpartition("-")[2] if path else each.version
        yield _Expected(
            layer=archive.name,
            selected_by=selected_by,
            distribution=each,
            version=stated if each.version == _UNKNOWN_VERSION else each.version,
            record={name: RecordRow(*row) for name, row in rows.items()},
            excluded=excluded,
        )


def _without_metadata(record: Mapping[str, RecordRow]) -> dict[str, RecordRow]:
    return {path: row for path, row in record.items() if ".dist-info/" not in path}


def _is_of_installer(path: str) -> bool:
    """Return whether an installer may have written *path* in addition to the files of a wheel."""
    return path.endswith((".pyc", ".pyo")) or path.partition("/")[0].endswith(".dist-info")


def _them(names: Sequence[str]) -> str:
    return "it" if len(names) == 1 else "them"
