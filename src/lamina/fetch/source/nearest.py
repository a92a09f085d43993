"""Find the version of a project, nearest to the locked one, that has a wheel for a target."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packaging.utils import InvalidWheelFilename, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from lamina.core.errors import FetchError

if TYPE_CHECKING:
    from lamina.core.target import Target
    from lamina.core.values import SourcePin
    from lamina.fetch.index import PackageIndex

__all__ = ["nearest"]


def nearest(pin: SourcePin, target: Target, index: PackageIndex) -> str | None:
    """
    Return ``name==version`` of the next later version with a wheel that *target* takes, else of the last earlier one.

    One question to each configured index; ``None`` where none knows one, or none can be asked.
    """
    try:
        filenames = index.filenames(pin.source.name)
        locked = Version(pin.version)
    except (FetchError, InvalidVersion):
        # A suggestion is not worth an error of its own.
        return None
    wanted = frozenset(target.tags)
    versions = {version for filename in filenames if (version := _version_for(filename, pin.name, wanted)) is not None}
    later = sorted(version for version in versions if version > locked and not version.is_prerelease)
    earlier = sorted(version for version in versions if version < locked)
    found = later[0] if later else earlier[-1] if earlier else None
    return f"{pin.source.name}=={found}" if found else None


def _version_for(filename: str, name: str, wanted: frozenset[object]) -> Version | None:
    try:
        project, version, _, tags = parse_wheel_filename(filename)
    except InvalidWheelFilename:
        return None
    return version if project == name and tags & wanted else None
