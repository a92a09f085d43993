"""Word plans and published versions for people and programs. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, assert_never

from lamina.aws.publish.plan import KeepLayer, PublishLayer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lamina.aws.publish.apply import Published
    from lamina.aws.publish.stage import StagedUpload, StagePlan
    from lamina.aws.publish.survey import LayerStep

__all__ = ["VERSION", "document", "environment", "plan_document", "stock_document", "supply_document"]

VERSION = "1"


def plan_document(service: str, steps: Sequence[LayerStep]) -> dict[str, object]:
    """Return the plan as the plain values of a JSON document."""
    return {"version": VERSION, "service": service, "layers": [_step(step) for step in steps]}


def document(service: str, published: Sequence[Published]) -> dict[str, object]:
    """Return what was done as the plain values of a JSON document."""
    return {
        "version": VERSION,
        "service": service,
        "layers": [
            _step(each.step)
            | {
                "arn": each.version.arn,
                "layer_version": each.version.number,
                "code_sha256": each.version.code_sha256,
                "published": each.new,
                "sent_bytes": each.sent_bytes,
            }
            for each in published
        ],
    }


def supply_document(service: str, supplies: Sequence[StagePlan]) -> dict[str, object]:
    """Return what buckets are to get as the plain values of a JSON document."""
    return {"version": VERSION, "service": service, "layers": [_supply(each) for each in supplies]}


def stock_document(service: str, stocked: Sequence[StagedUpload]) -> dict[str, object]:
    """Return what buckets got as the plain values of a JSON document."""
    rows = [_supply(each.supply) | {"sent_bytes": each.sent_bytes} for each in stocked]
    return {"version": VERSION, "service": service, "layers": rows}


def _supply(supply: StagePlan) -> dict[str, object]:
    wanted, account = supply.job.wanted, supply.place.services.account
    return {
        "name": wanted.layer.name,
        "runtime": wanted.runtime,
        "architectures": list(wanted.architectures),
        "digest": wanted.layer.digest,
        "account": account.id,
        "region": account.region,
        "bucket": supply.objects.bucket,
        "key": supply.key,
        "change": not supply.composed,
        "upload_bytes": supply.upload_bytes,
    }


def _step(step: LayerStep) -> dict[str, object]:
    account, action = step.place.services.account, step.action
    row: dict[str, object] = {
        "name": step.wanted.layer.name,
        "layer_name": step.wanted.name,
        "runtime": step.wanted.runtime,
        "architectures": list(step.wanted.architectures),
        "digest": step.wanted.layer.digest,
        "account": account.id,
        "region": account.region,
    }
    changes = {
        "reason": action.reason,
        "change": action.is_change,
        "share_with": [grant.principal for grant in action.grants],
        "parameter": action.parameter,
    }
    match action:
        case KeepLayer():
            row |= {
                "action": "keep",
                "arn": action.version.arn,
                "layer_version": action.version.number,
                "upload_bytes": 0,
            }
        case PublishLayer():
            row |= {"action": "publish", "arn": None, "layer_version": None, "upload_bytes": action.upload_bytes}
        case _:
            assert_never(action)
    return row | changes


def environment(published: Sequence[Published]) -> str:
    """
    Return the ARNs as lines ``NAME=value``, as shells and CI systems read them.

    The name is ``LAMINA_LAYER_<LAYER>``; with several places, ``_<ACCOUNT>_<REGION>`` follows.
    """
    several = len({each.step.place for each in published}) > 1
    return "".join(f"{_variable(each, several=several)}={each.version.arn}\n" for each in published)


def _variable(published: Published, *, several: bool) -> str:
    return "_".join(_words(published, several=several))


def _words(published: Published, *, several: bool) -> Iterator[str]:
    yield "LAMINA_LAYER"
    yield _shouted(published.step.wanted.label)
    if several:
        yield published.account.id
        yield _shouted(published.account.region)


def _shouted(name: str) -> str:
    return re.sub(r"[^A-Z0-9]", "_", name.upper())
