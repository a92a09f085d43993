"""
Carry out a plan. Whatever is interrupted here leaves whole things only, and running again goes on from them.

A layer becomes a version once, however many publish it at the same time: with a bucket one of them claims it and the others
find what it published; and everybody looks again after publishing, and takes back what came second.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, assert_never

from lamina.aws.api.functions import S3Code, Storage, Zip
from lamina.aws.api.protocols import Publication
from lamina.aws.publish import idempotent, stage
from lamina.aws.publish.lease import Leases
from lamina.aws.publish.plan import KeepLayer, PublishLayer
from lamina.aws.publish.survey import each_in_its_place
from lamina.core.reporter import SILENT
from lamina.core.values import code_sha256

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lamina.aws.api.protocols import Account, Grant, Objects, PublishedVersion
    from lamina.aws.publish.survey import LayerStep
    from lamina.core.reporter import Reporter

__all__ = ["Published", "apply"]

_CLAIMS = Leases()


@dataclass(frozen=True, kw_only=True, slots=True)
class Published:
    """A layer version that is what was wanted."""

    step: LayerStep
    version: PublishedVersion
    new: bool
    """Whether it was published now, by us."""
    sent_bytes: int

    @property
    def account(self) -> Account:
        """Where it is."""
        return self.step.place.services.account


def apply(
    steps: Sequence[LayerStep], *, reporter: Reporter = SILENT, claims: Leases = _CLAIMS
) -> tuple[Published, ...]:
    """
    Carry out *steps* and return the versions, in the same order; places work at the same time, layers after each other.

    Raises AwsError and its kinds; what was done by then stays, and is found by the next plan.
    """
    bytes_to_send = sum(step.action.upload_bytes for step in steps if isinstance(step.action, PublishLayer))
    if bytes_to_send:
        reporter.stage("Uploading", total=bytes_to_send, unit="bytes")
    return each_in_its_place(partial(_apply, reporter=reporter, claims=claims), steps)


def _apply(step: LayerStep, *, reporter: Reporter, claims: Leases) -> Published:
    step.place.stop.check()
    match step.action:
        case KeepLayer() as action:
            published = Published(step=step, version=action.version, new=False, sent_bytes=0)
        case PublishLayer() as action:
            published = _publish(step, action, reporter=reporter, claims=claims)
        case _:
            assert_never(step.action)
    _share(step, published.version, action.grants)
    if action.parameter is not None:
        step.place.services.parameters.put(action.parameter, published.version.arn)
    return published


def _share(step: LayerStep, version: PublishedVersion, grants: Sequence[Grant]) -> None:
    for grant in grants:
        step.place.services.layers.grant(step.wanted.name, version.number, grant)


def _publish(step: LayerStep, action: PublishLayer, *, reporter: Reporter, claims: Leases) -> Published:
    objects = step.place.objects
    if objects is None:
        reporter.advance(step.wanted.layer.zipped_bytes)
        expected = step.wanted.layer.code_sha256
        version, new = _once(step, Zip(content=step.job.source.read()), None, expected=expected, sleep=claims.sleep)
        return Published(step=step, version=version, new=new, sent_bytes=step.wanted.layer.zipped_bytes if new else 0)
    job, place = step.job, step.place
    sent = stage.send(
        job, place, objects, missing=action.missing, copies=action.copies, known=action.shelved, reporter=reporter
    )
    claim = place.keys.claim(place.services.account, step.wanted.name, step.wanted.layer.digest)
    check = place.stop.check

    def waiting() -> None:
        reporter.note(f"another publisher is at work on layer `{step.wanted.name}`: waiting for it")

    with claims.hold(objects, claim, waiting=waiting, check=check):
        # It may have been published while the parts were on their way.
        found = _existing(step, step.wanted.layer.code_sha256)
        if found is not None:
            return Published(step=step, version=found, new=False, sent_bytes=sent)
        composed, sha256 = stage.put_together(job, place, objects)
        sent += composed
        if sha256:
            stage.record(job, place, objects, sha256)
        check()
        expected = code_sha256(sha256)
        version, new = _once(step, _code(step, objects), objects, expected=expected, sleep=claims.sleep)
        if not sha256:
            stage.record(job, place, objects, base64.b64decode(version.code_sha256).hex())
    return Published(step=step, version=version, new=new, sent_bytes=sent)


def _code(step: LayerStep, objects: Objects) -> S3Code:
    key = step.place.keys.layer(step.wanted.layer.digest)
    storage = step.wanted.config.storage
    stored = objects.head(key) if storage is Storage.REFERENCE else None
    return S3Code(
        bucket=objects.bucket, key=key, storage=storage, version_id=None if stored is None else stored.version_id
    )


def _existing(step: LayerStep, code_sha256: str) -> PublishedVersion | None:
    return next(iter(idempotent.standing(step, code_sha256)), None)


def _once(
    step: LayerStep, code: Zip | S3Code, objects: Objects | None, *, expected: str, sleep: Callable[[float], None]
) -> tuple[PublishedVersion, bool]:
    wanted = step.wanted
    publication = Publication(
        name=wanted.name,
        description=wanted.description,
        code=code,
        runtimes=(wanted.runtime,),
        architectures=wanted.architectures,
        license=wanted.config.license,
    )
    return idempotent.publish(step, publication, expected=expected, objects=objects, sleep=sleep)
