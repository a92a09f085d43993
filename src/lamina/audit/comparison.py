"""Compare an environment of Python with the layers of a service, for `lamina.audit.families.environment`."""

from __future__ import annotations

import os
import shlex
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lamina.archive.record import RecordRow
from lamina.archive.segment import Recipe
from lamina.archive.wheel import same_version
from lamina.audit.explanation import Explanation
from lamina.audit.parts import examined
from lamina.audit.venv import InstalledEnvironment, record_rows
from lamina.core.frozen import frozen
from lamina.core.paths import PREFIX, printable
from lamina.core.text import count, from_here
from lamina.lock.commands import located
from lamina.pipeline.checks.common import error, note, owner_of, warning

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from lamina.audit.inspection import Inspection
    from lamina.audit.venv import InstalledDistribution
    from lamina.core.values import Build, Distribution, Finding, Layer
    from lamina.project.service import Service

_DEFAULT = ".venv"
_SHOWN = 20
_UNKNOWN_VERSION = "dynamic"
"""The version of a distribution that lamina built, if nothing stated it before the build."""
_SYNC = {"poetry.lock": "poetry sync", "pdm.lock": "pdm sync --clean", "Pipfile.lock": "pipenv sync --dev"}
"""The command that makes an environment fit the lock, for the tools without options for groups and extras."""


def _located(asked: Path) -> Path:
    """
    Return the environment *asked* for. If it is ``.venv`` and missing, return that of a parent directory, or the active one.

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
    return Path(active) if active else asked


class _Records:
    """Reads the RECORD of each distribution in a layer."""

    key = ("records", 1)

    def wants(self, path: str) -> bool:
        """Return whether *path* is a RECORD."""
        return path.startswith(PREFIX) and path.endswith(".dist-info/RECORD")

    def wants_content(self, path: str, head: bytes) -> bool:  # noqa: ARG002 - the protocol has it
        """Return whether to read the RECORD: always."""
        return True

    def examine(self, path: str, content: bytes) -> Any:  # noqa: ARG002 - the protocol has it
        """Return the rows."""
        return {name: list(row) for name, row in record_rows(content).items()}


@frozen
class _Expected:
    """A distribution in a layer, as an environment should have it."""

    layer: str
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


def compare(inspection: Inspection, asked: Path) -> Iterator[Finding]:
    """Yield how the environment *asked* for differs from the layers. Raises the errors of `lamina.audit.families.environment.check`."""
    return _Comparison(inspection, InstalledEnvironment(_located(asked))).findings()


class _Comparison:
    def __init__(self, inspection: Inspection, environment: InstalledEnvironment) -> None:
        self._service = inspection.service
        self._environment = environment
        self._shown = printable(from_here(environment.path))
        self._build = _fitting(inspection.builds, environment)
        self._explanation = Explanation(self._service, self._build.target, environment.python)
        self._expected: dict[str, list[_Expected]] = {}
        for layer in self._build.layers:
            for each in _of_layer(layer, self._service, inspection):
                self._expected.setdefault(each.distribution.name, []).append(each)
        self._explained: dict[str, dict[str, None]] = {}

    def findings(self) -> Iterator[Finding]:
        """Yield the findings. Those that something explains share the last one, a note."""
        yield from self._python()
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

    def _python(self) -> Iterator[Finding]:
        python, target = self._environment.python, self._build.target
        if python is not None and python != target.python:
            wanted = f"{target.python[0]}.{target.python[1]}"
            command = f"uv venv --clear --python {wanted} {shlex.quote(self._shown)}"
            if self._has_uv_lock:
                command = self._located(f"uv sync --python {wanted}{self._selection}")
            yield error(
                "environment-python",
                self._shown,
                f"`{self._shown}` has Python {python[0]}.{python[1]}, but the runtime is `{target.runtime}`; "
                f"create it again: `{command}`",
            )
        if self._environment.has_system_packages:
            yield warning(
                "environment-extra",
                self._shown,
                f"code in `{self._shown}` can import the packages of the system's Python, which Lambda does not have; "
                "create it again without `--system-site-packages`",
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
                f"run `{self._sync}`",
            )
        same = next((each for each in expected if each not in other), None)
        if same is not None and installed.installer == "conda":
            self._explain("from conda, so only the version is compared", installed.name)
        elif same is not None and (different := sorted(self._differing(same, installed))):
            yield error(
                "environment-file",
                installed.name,
                f"{count(len(different), 'file')} of `{installed.name}` {installed.version} in `{self._shown}` "
                f"{'differs' if len(different) == 1 else 'differ'} from the wheel: "
                f"{_named([printable(path) for path in different])}; "
                f"install it again: `{self._reinstall(installed)}`",
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
            # Without a RECORD, only the sources are known.
            reference = {path: row for path, row in record.items() if row.digest} or source
            if expected.is_from_source:
                reference |= {path: row for path, row in source.items() if path in reference}
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
        for layer in self._service.layers:
            own = {each.distribution.name for each in missing if each.layer == layer.name}
            applying = self._explanation.applying(layer) if own else None
            if applying is not None:
                for name in own - applying:
                    self._explain("not for this platform or Python, by markers", name)
                    names.pop(name, None)
        if names:
            yield error(
                "environment-missing",
                self._shown,
                f"{_named(sorted(names))} {'is' if len(names) == 1 else 'are'} in the layers, but not in `{self._shown}`; "
                f"run `{self._sync}`",
            )

    def _extra(self) -> Iterator[Finding]:
        installed = self._environment.distributions
        extra = []
        for each in installed:
            if each.name in self._expected:
                continue
            if (reason := self._explanation.of_extra(each, installed)) is None:
                extra.append(each.name)
            else:
                self._explain(reason, each.name)
        if extra:
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

    @property
    def _has_uv_lock(self) -> bool:
        return self._explanation.lock_file.kind == "uv.lock"

    @cached_property
    def _selection(self) -> str:
        """The options of uv for the groups and extras of the layers."""
        groups = dict.fromkeys(group for layer in self._service.layers for group in layer.groups)
        extras = dict.fromkeys(extra for layer in self._service.layers for extra in layer.extras)
        words = [
            *(f"--group {shlex.quote(each)}" for each in groups),
            *(f"--extra {shlex.quote(each)}" for each in extras),
        ]
        return "".join(f" {word}" for word in words)

    @cached_property
    def _sync(self) -> str:
        """The command that installs what the lock file says."""
        lock_file = self._explanation.lock_file
        if self._has_uv_lock:
            return self._located(f"uv sync{self._selection}")
        if lock_file.kind in _SYNC:
            return self._located(_SYNC[lock_file.kind])
        place = shlex.quote(from_here(lock_file.path))
        return f"uv pip install --python {shlex.quote(self._shown)} --requirement {place}"

    def _reinstall(self, installed: InstalledDistribution) -> str:
        if self._has_uv_lock:
            return self._located(f"uv sync{self._selection} --reinstall-package {installed.name}")
        options = f"--python {shlex.quote(self._shown)} --no-deps --reinstall"
        return f"uv pip install {options} {installed.name}=={installed.version}"

    def _located(self, command: str) -> str:
        return located(command, self._explanation.lock_file.project)


def _fitting(builds: Sequence[Build], environment: InstalledEnvironment) -> Build:
    """Return the build for the Python of *environment*, or else for the main target."""
    return next((build for build in builds if build.target.python == environment.python), builds[0])


def _of_layer(layer: Layer, service: Service, inspection: Inspection) -> Iterator[_Expected]:
    records = {owner_of(path): (path, rows) for path, rows in examined(layer, _Records(), inspection.store).items()}
    config = next((each for each in service.layers if each.name == layer.name), None)
    excluded = Recipe(exclude=() if config is None else config.exclude).excluded()
    for each in layer.distributions:
        path, rows = records.get(each.name, ("", {}))
        stated = path.split("/")[-2].removesuffix(".dist-info").rpartition("-")[2] if path else each.version
        yield _Expected(
            layer=layer.name,
            distribution=each,
            version=stated if each.version == _UNKNOWN_VERSION else each.version,
            record={name: RecordRow(*row) for name, row in rows.items()},
            excluded=excluded,
        )


def _is_of_installer(path: str) -> bool:
    """Return whether an installer may have written *path* in addition to the files of a wheel."""
    return path.endswith((".pyc", ".pyo")) or path.partition("/")[0].endswith(".dist-info")


def _them(names: Sequence[str]) -> str:
    return "it" if len(names) == 1 else "them"


def _named(names: Sequence[str]) -> str:
    """Return *names* in backticks: more than in other findings, because each of them may need a decision."""
    shown = ", ".join(f"`{name}`" for name in names[:_SHOWN])
    return f"{shown} and {len(names) - _SHOWN} more" if len(names) > _SHOWN else shown
