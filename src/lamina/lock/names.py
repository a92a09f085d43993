"""List the distributions in a lock file by name, whether or not a target needs them, to explain what an environment has in addition."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from packaging.utils import canonicalize_name

from lamina.core.files import read_file
from lamina.lock import pyproject
from lamina.lock.reading import load
from lamina.lock.requirementsfile import parse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from packaging.requirements import Requirement

    from lamina.lock.types import LockFile


def locked_names(lock_file: LockFile) -> frozenset[str]:
    """
    Return the normalised names of all distributions in *lock_file*: of every group and extra, and with any marker.

    The lock file was read before, so it is known to be valid.
    """
    return frozenset(map(canonicalize_name, _names(lock_file)))


def optional_requirements(lock_file: LockFile) -> tuple[Requirement, ...]:
    """
    Return the requirements of all groups and extras of the project of *lock_file*.

    Raises the errors of `lamina.lock.pyproject.load`.
    """
    manifest = pyproject.load(lock_file.pyproject)
    lists = (*manifest.groups.values(), *(manifest.extras or {}).values())
    return tuple(requirement for requirements in lists for requirement in requirements)


def _names(lock_file: LockFile) -> Iterator[str]:
    match lock_file.kind:
        case "requirements.txt":
            for line in parse(lock_file.path).entries:
                if line.requirement is not None:
                    yield line.requirement.name
        case "Pipfile.lock":
            document: dict[str, Any] = json.loads(read_file(lock_file.path))
            for section, packages in document.items():
                if section != "_meta":
                    yield from packages
        case kind:
            key = "packages" if kind == "pylock.toml" else "package"
            for row in load(lock_file.path).get(key, ()):
                yield row["name"]
