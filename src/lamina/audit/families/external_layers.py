"""
Compare the pins of layers by ARN with the configuration, with the zips in the store and, on request, with AWS.

==========================  ========  ==================================================================================
rule                        severity  reported if
==========================  ========  ==================================================================================
``external-layer-changed``  error     a pin does not describe the zip in the store, or AWS has another zip
``external-layer-gone``     error     AWS no longer has a pinned layer version, or its publisher no longer shares it
``unused-pin``              warning   no function has a pinned layer any more
==========================  ========  ==================================================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina import __version__
from lamina.audit.kept_findings import FINDINGS_AREA, findings_document
from lamina.core.errors import ArchiveError
from lamina.core.files import is_own_file, read_file
from lamina.core.frozen import replace
from lamina.core.store import key_of
from lamina.pipeline.checks.common import error, listed, warning
from lamina.project.external import can_name
from lamina.project.pinned import LOCK_NAME, read_pins

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lamina.audit.inspection import Inspection
    from lamina.aws.api.external import ExternalVersion
    from lamina.core.values import Finding
    from lamina.project.pinned import PinnedLayer


def check(inspection: Inspection) -> Iterator[Finding]:
    """Yield findings on the pinned layers of the service. Raises `ConfigError` if the file of the pins is invalid, and `AwsError`."""
    pins = read_pins(inspection.project)
    if not pins:
        return
    # Slow to import, and most services have no pins.
    from lamina.aws.external.zips import ExternalRegions

    lines, regions = _lines(inspection), ExternalRegions()
    for pin in pins:
        line = lines.get(pin.arn)
        if (user := _user(pin, inspection)) is None:
            yield warning(
                "unused-pin",
                None,
                f"no function has the pinned layer `{pin.arn}`; run `lamina pin`",
                file=LOCK_NAME,
                line=line,
            )
        elif (fact := _changed(pin, inspection)) is not None:
            yield error(
                "external-layer-changed",
                user,
                f"`{user}`: {fact}; restore `lamina-layers.lock` from version control, or delete the entry and run `lamina pin`",
                file=LOCK_NAME,
                line=line,
            )
        elif inspection.aws:
            yield from _in_aws(pin, regions.of(pin.arn).version(pin.arn), function=user, line=line)


def _user(pin: PinnedLayer, inspection: Inspection) -> str | None:
    """Return the first function that has the layer of *pin*, or ``None``."""
    functions = inspection.service.functions
    return next((each.name for each in functions if any(can_name(arn, pin.arn) for arn in each.layer_arns)), None)


def _in_aws(pin: PinnedLayer, version: ExternalVersion | None, *, function: str, line: int | None) -> Iterator[Finding]:
    """Yield a finding if *version*, what AWS has, is not the layer of *pin*."""
    from lamina.aws.external.zips import pin_difference

    if version is None:
        yield error(
            "external-layer-gone",
            function,
            f"`{function}`: the version of layer `{pin.arn}` was deleted, or its publisher does not share it with your account any more, so "
            "the function cannot be changed; set a newer version in `layer-arns`, then run `lamina pin`",
            file=LOCK_NAME,
            line=line,
        )
    elif (difference := pin_difference(pin, version)) is not None:
        yield error(
            "external-layer-changed",
            function,
            f"`{function}`: {difference}; a layer version never changes, so restore `lamina-layers.lock` from version control",
            file=LOCK_NAME,
            line=line,
        )


def _changed(pin: PinnedLayer, inspection: Inspection) -> str | None:
    """
    Return how the zip of *pin* in the store differs from what the pin says; ``None`` if it does not, or if the store lacks it.

    A zip that was found to be the pinned one is not read again until it or the pin changes.
    """
    from lamina.aws.external.zips import place_of, stored_zip

    path = place_of(inspection.store, pin.sha256)
    if not is_own_file(path):
        return None
    stat = path.stat()
    key = key_of(__version__, "external", pin.document(), stat.st_size, stat.st_mtime_ns, stat.st_ino)
    known = inspection.store.entry(FINDINGS_AREA, key, ".json")
    if inspection.store.read_document(known, lambda document: document["findings"] == []):
        return None
    if stored_zip(inspection.store, pin.sha256) is None:
        return None
    difference = _difference(pin, path)
    if difference is None:
        inspection.store.write_document(known, findings_document(()))
    return difference


def _difference(pin: PinnedLayer, path: Path) -> str | None:
    from lamina.archive.external import read_contents

    try:
        contents = read_contents(path, name=pin.arn)
    except ArchiveError as problem:
        return f"the zip of layer `{pin.arn}` is unsafe: {problem}"
    found = replace(pin, contents=contents, code_size=path.stat().st_size).document()
    wrong = [key for key, value in pin.document().items() if value != found[key]]
    return f"the entry of layer `{pin.arn}` has other {listed(wrong)} than its zip" if wrong else None


def _lines(inspection: Inspection) -> dict[str, int]:
    """Return the line of each pinned layer in the file, by ARN."""
    text = read_file(inspection.project / LOCK_NAME).decode("utf-8-sig")
    rows = (line.partition("=") for line in text.splitlines())
    return {value.strip().strip('"'): number for number, (key, _, value) in enumerate(rows, 1) if key.strip() == "arn"}
