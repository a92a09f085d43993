"""
Publish a layer as a version once, whoever else does so, and whatever becomes of requests and replies on the way.

Lambda makes another version each time it is asked. So where it is not known whether a version was made, its list is looked at before
it is asked again; and after each publication the oldest of several versions that are the same layer stays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.aws.publish.survey import candidates
from lamina.core.errors import IntegrityError, ThrottledError, UnavailableError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from lamina.aws.api.protocols import Objects, Publication, PublishedVersion
    from lamina.aws.publish.survey import LayerStep

__all__ = ["publish", "standing"]

_ATTEMPTS = 5
_FIRST_WAIT_SECONDS = 0.2


def standing(step: LayerStep, code_sha256: str) -> tuple[PublishedVersion, ...]:
    """Return all versions that are the wanted layer, with this content, oldest first."""
    layers = step.place.services.layers
    found = candidates(layers, step.wanted, layers.versions(step.wanted.name))
    return tuple(each for each in found if each.code_sha256 == code_sha256)


def publish(
    step: LayerStep,
    publication: Publication,
    *,
    expected: str,
    objects: Objects | None,
    sleep: Callable[[float], None],
) -> tuple[PublishedVersion, bool]:
    """
    Publish, and return the version that stays, and whether that is new.

    Its CodeSha256 is to be *expected*; where that is empty, S3 has proven the archive's parts, and Lambda must have as many bytes.
    Raises IntegrityError otherwise, after deleting the version, and what it came from in *objects*.
    """
    layers = step.place.services.layers
    version = _ask(step, publication, expected, sleep)
    _check(step, version, expected, objects)
    same = standing(step, version.code_sha256)
    if not same or version.number < same[0].number:
        return version, True
    for each in same[1:]:
        # What is younger than ours came while we were at it: by another publisher, who wanted the oldest, too, or because
        # the request was delivered twice. What is older than ours, its own publisher deletes.
        if each.number >= version.number:
            layers.delete(publication.name, each.number)
    return same[0], same[0].number == version.number


def _ask(step: LayerStep, publication: Publication, expected: str, sleep: Callable[[float], None]) -> PublishedVersion:
    """Publish; where it is not known whether that was done, look before asking again."""
    for attempt in range(_ATTEMPTS):
        try:
            return step.place.services.layers.publish(publication)
        except (ThrottledError, UnavailableError, UnreachableError):
            sleep(_FIRST_WAIT_SECONDS * 2**attempt)
            if same := standing(step, expected):
                return same[0]
            if attempt == _ATTEMPTS - 1 or not expected:
                raise
    raise AssertionError(publication.name)  # pragma: no cover - the last attempt returns or raises


def _check(step: LayerStep, version: PublishedVersion, expected: str, objects: Objects | None) -> None:
    wanted, keys = step.wanted, step.place.keys
    if version.code_sha256 == expected if expected else version.code_bytes == wanted.layer.zipped_bytes:
        return
    step.place.services.layers.delete(wanted.name, version.number)
    if objects is not None:
        objects.delete(keys.layer(wanted.layer.digest))
        # It may be what said what to expect.
        objects.delete(keys.record(wanted.layer.digest))
    raise IntegrityError(
        f"Lambda's copy of layer `{wanted.name}` is not what was built: expected "
        + (
            f"CodeSha256 {expected}, got {version.code_sha256}"
            if expected
            else f"{wanted.layer.zipped_bytes:,} bytes, got {version.code_bytes:,}"
        ),
        hint="the version has been deleted again; run again",
    )
