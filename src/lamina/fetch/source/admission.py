"""
Check a wheel that was built from source, and add it to the store.

The wheel must match the lock and the target, and must not refer to the machine that built it.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING

from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from lamina.archive.record import verify_record
from lamina.archive.wheel import WheelArchive
from lamina.core.errors import LocalBuildError
from lamina.core.files import file_sha256, is_own_file
from lamina.core.store import key_of, require_plain
from lamina.core.values import Pin, Sha256, Wheel

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lamina.core.store import Store
    from lamina.core.target import Target
    from lamina.core.values import SourcePin

_AREA = "built"
_EDITABLE = re.compile(r"(^|/)_*editable_", re.IGNORECASE)


def admitted(pin: SourcePin, target: Target, store: Store) -> Wheel | None:
    """
    Return the wheel in *store* that was built from the sources of *pin*, or ``None`` if there is none.

    Raises `LocalBuildError` if the wheel has an invalid file name, is of another distribution or version than locked, or is
    not supported by *target*.
    """
    record = store.read_document(
        store.entry(_AREA, key_of(pin.sha256), ".json"),
        lambda content: (require_plain(content["filename"]), Sha256(content["sha256"])),
    )
    if record is None:
        return None
    filename, sha256 = record
    path = store.entry(_AREA, key_of(pin.sha256)) / filename
    if not is_own_file(path):
        return None
    _check_name(filename, pin, target)
    return Wheel(pin=_pin(pin, filename), path=path, built_sha256=sha256)


def admit(made: Path, pin: SourcePin, target: Target, store: Store, *, directory: Path) -> Wheel:
    """
    Copy the wheel *made*, built inside *directory*, into *store* under the digest of its sources.

    Raises `LocalBuildError` if the wheel has an invalid file name, is of another distribution or version than locked, is not
    supported by *target*, or refers to paths of the build machine. Raises the errors of `lamina.archive.record.verify_record`.
    """
    _check_name(made.name, pin, target)
    wheel = Wheel(pin=_pin(pin, made.name), path=made)
    verify_record(made, wheel.pin)
    if problems := sorted(_pointers(made, directory)):
        raise LocalBuildError(
            f"the wheel of `{pin.source.name}` depends on the machine that built it: {'; '.join(problems)}",
            hint="remove these references from the project's build: the paths do not exist in Lambda",
        )
    destination = store.entry(_AREA, key_of(pin.sha256)) / made.name
    with made.open("rb") as source, store.writing(destination) as file:
        while piece := source.read(1 << 20):
            file.write(piece)
    sha256 = Sha256(file_sha256(made))
    # Unlike a locked wheel, the built one is not named by its hash.
    store.write_document(store.entry(_AREA, key_of(pin.sha256), ".json"), {"filename": made.name, "sha256": sha256})
    return replace(wheel, path=destination, built_sha256=sha256)


def _pin(pin: SourcePin, filename: str) -> Pin:
    """Return the pin of the built wheel *filename*, with the wheel's version and the digest of the wheel's sources."""
    return Pin(name=pin.name, version=str(parse_wheel_filename(filename)[1]), filename=filename, sha256=pin.sha256)


def _check_name(filename: str, pin: SourcePin, target: Target) -> None:
    source = pin.source
    try:
        name, version, _, tags = parse_wheel_filename(filename)
    except InvalidWheelFilename as error:
        raise LocalBuildError(
            f"building `{source.name}` produced a wheel with an invalid file name: `{filename}`"
        ) from error
    if canonicalize_name(name) != source.name:
        raise LocalBuildError(
            f"the lock has `{source.name}`, but building it from source produced `{name}`",
            hint="regenerate the lock file",
        )
    if source.version is not None and not _same(source.version, version):
        raise LocalBuildError(
            f"the lock has `{source.name}` {source.version}, but building it from source produced version {version}",
            hint="regenerate the lock file",
        )
    if not tags & frozenset(target.tags):
        raise LocalBuildError(
            f"building `{source.name}` {version} from source produced `{filename}`, which {target} does not support",
            hint="lock a version that has a wheel for the target: code compiled for this machine does not run on the target",
        )


def _same(locked: str, built: Version) -> bool:
    try:
        # A build may add a local label such as `+g1a2b3c`.
        return Version(locked) == built or Version(locked).public == built.public
    except InvalidVersion:
        return False


def _pointers(path: Path, directory: Path) -> Iterator[str]:
    """
    Yield, formatted for errors, each file in the wheel at *path* that refers to the build machine.

    Such files belong to editable installations, are ``.pth`` files that add absolute or outer paths, are
    ``direct_url.json`` files with a local URL, or contain the path *directory* of the build.
    """
    here = str(directory).encode()
    with WheelArchive(path) as wheel:
        for located in wheel.members:
            name = located.member.path
            if _EDITABLE.search(name):
                yield f"`{name}` belongs to an editable installation"
                continue
            content = wheel.read(located)
            if name.endswith(".pth") and _leads_out(content):
                yield f"`{name}` adds a path outside the layer to `sys.path`"
            elif name.endswith(".dist-info/direct_url.json") and _is_local(content):
                yield f"`{name}` refers to a local path"
            elif here in content:
                yield f"`{name}` contains the path of the build directory"


def _leads_out(content: bytes) -> bool:
    lines = content.decode("utf-8", "replace").splitlines()
    return any(line.startswith(("/", "\\", "..")) or re.match(r"[A-Za-z]:[\\/]", line) for line in lines)


def _is_local(content: bytes) -> bool:
    try:
        return str(json.loads(content).get("url", "")).startswith("file:")
    except (ValueError, AttributeError):
        return False
