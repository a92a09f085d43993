"""Explain by the lock file and the configuration why an environment rightly has more or fewer distributions than the layers."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, cast

from lamina.core.errors import LockError
from lamina.core.frozen import frozen
from lamina.core.names import normalized
from lamina.core.target import Target, runtime_of, runtimes
from lamina.lock import formats, names
from lamina.lock.offers import selected_names
from lamina.pipeline.checks import sdk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from packaging.markers import Environment
    from packaging.requirements import Requirement

    from lamina.audit.environment.venv import InstalledDistribution
    from lamina.lock.types import LockFile
    from lamina.project.service import LayerConfig, Service

_CREATORS = frozenset({"pip", "setuptools", "wheel"})
"""What programs that create environments install into them."""


class Explanation:
    """What the lock file and the configuration of a service say about distributions in an environment of this machine."""

    def __init__(
        self,
        service: Service,
        target: Target,
        python: tuple[int, int] | None,
        installed: Callable[[], Iterable[InstalledDistribution]],
    ) -> None:
        """
        Find the lock file of *service*. *python* is the minor version of the environment (default: that of *target*).

        *installed* returns the distributions in the environment.

        Raises the errors of `lamina.lock.formats.find`.
        """
        self.lock_file: LockFile = formats.find(service.root, service.lock, target=target)
        self._service = service
        self._target = target
        self._here = _here(target, python)
        self._installed = installed

    def of_extra(self, distribution: InstalledDistribution) -> str | None:
        """
        Return why *distribution* may be in the environment and not in the layers.

        Return ``None`` if nothing explains it. Raises `ConfigError` if ``pyproject.toml`` is invalid.
        """
        name, service = distribution.name, self._service
        if name in sdk.left_out(service) or name in self._preinstalled:
            return "the runtime has it"
        if any(name in layer.without for layer in service.layers):
            return "left out by `without`"
        if distribution.is_editable or (service.is_named and name == normalized(service.name)):
            return "your own code"
        if name in self._locked:
            return "locked, but not for the layers"
        if name in self._for_development:
            return "for development"
        return "of the program that made the environment" if name in _CREATORS else None

    def applying(self, layer: LayerConfig) -> frozenset[str] | None:
        """
        Return the names that the lock selects for *layer* in the environment, by its markers.

        Return ``None`` if the lock does not support such an environment.
        """
        try:
            return selected_names(self.lock_file, self._here, groups=layer.groups, extras=layer.extras)
        except LockError:
            # The lock was read for the runtime. What it says of an environment that it does not support explains nothing.
            return None

    @cached_property
    def _preinstalled(self) -> frozenset[str]:
        runtime = runtime_of(self._target)
        return frozenset(each.name for each in runtime.preinstalled)

    @cached_property
    def _locked(self) -> frozenset[str]:
        return names.locked_names(self.lock_file)

    @cached_property
    def _for_development(self) -> frozenset[str]:
        """Return the names that groups and extras of the project require, lamina itself, and those that these require in turn."""
        from packaging.requirements import Requirement

        requires = {each.name: [*_requirements(each)] for each in self._installed()}
        found: set[tuple[str, str]] = set()
        waiting = [Requirement("lamina"), *names.optional_requirements(self.lock_file)]
        while waiting:
            requirement = waiting.pop()
            name = normalized(requirement.name)
            for extra in ("", *requirement.extras):
                if (name, extra) not in found:
                    found.add((name, extra))
                    waiting += [each for each in requires.get(name, ()) if self._applies(each, extra)]
        return frozenset(name for name, _ in found)

    def _applies(self, requirement: Requirement, extra: str) -> bool:
        marker = requirement.marker
        return marker is None or marker.evaluate({**cast("dict[str, str]", self._here.markers), "extra": extra})


def _requirements(distribution: InstalledDistribution) -> Iterator[Requirement]:
    """Yield the valid requirements of *distribution*."""
    from packaging.requirements import InvalidRequirement, Requirement

    for text in distribution.requires:
        try:
            yield Requirement(text)
        except InvalidRequirement:
            # An old distribution, which installers accept nevertheless, or a hostile one. It explains nothing.
            continue


@frozen
class _EnvironmentTarget(Target):
    """A target with the markers of an environment on this machine."""

    environment: Environment

    @property
    def markers(self) -> Environment:
        """The marker variables of the environment."""
        return self.environment


def _here(target: Target, python: tuple[int, int] | None) -> Target:
    """Return *target* with the markers of an environment of *python* on this machine."""
    from packaging.markers import default_environment

    python = target.python if python is None else python
    minor = f"{python[0]}.{python[1]}"
    known = next((each.python_full_version for each in runtimes() if each.python == python), f"{minor}.0")
    environment = default_environment()
    environment["python_version"] = minor
    environment["python_full_version"] = environment["implementation_version"] = known
    return _EnvironmentTarget(
        runtime=target.runtime,
        architecture=target.architecture,
        python=python,
        glibc=target.glibc,
        environment=environment,
    )
