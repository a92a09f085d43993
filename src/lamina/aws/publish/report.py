"""Format plans and published versions as JSON values and as environment variables. This module calls no AWS API."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from lamina.aws.publish.plan import KeepLayer, PublishLayer

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from lamina.aws.api.account import Account
    from lamina.aws.destination.destination import Destination
    from lamina.aws.publish.apply import Published, PublishOutcome
    from lamina.aws.publish.desired import DesiredLayer
    from lamina.aws.publish.stage import StageOutcome, StagePlan
    from lamina.aws.publish.survey import LayerStep
    from lamina.core.errors import LaminaError

VERSION = "1"


def plan_document(service: str, steps: Sequence[LayerStep]) -> dict[str, object]:
    """Return the publication plan of a service as JSON values."""
    return {"version": VERSION, "service": service, "layers": [_step(step) for step in steps]}


def document(service: str, outcome: PublishOutcome, destinations: Iterable[Destination]) -> dict[str, object]:
    """Return the published layer versions of a service, and the outcome at each of *destinations*, as JSON values."""
    changed = {each.step.destination for each in outcome.published if each.step.action.is_change}
    places = _places(destinations, changed, "published", outcome.errors)
    return published_document(service, outcome.published) | {"places": places}


def _places(
    destinations: Iterable[Destination],
    changed: Collection[Destination],
    words: str,
    errors: Mapping[Destination, LaminaError],
) -> list[dict[str, object]]:
    """Return the outcome at each of *destinations*: *words* at those that were *changed*."""
    return [
        place(
            each.services.account,
            "failed" if each in errors else words if each in changed else "unchanged",
            errors.get(each),
        )
        for each in dict.fromkeys(destinations)
    ]


def place(account: Account, outcome: str, error: LaminaError | None) -> dict[str, object]:
    """Return the *outcome* in *account* as JSON values."""
    return {
        "account": account.id,
        "region": account.region,
        "outcome": outcome,
        "error": None if error is None else error.document(),
    }


def published_document(service: str, published: Sequence[Published]) -> dict[str, object]:
    """Return the published layer versions of a service as JSON values."""
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


def stage_document(service: str, plans: Sequence[StagePlan]) -> dict[str, object]:
    """Return the planned uploads of a service's layers to buckets as JSON values."""
    return {"version": VERSION, "service": service, "layers": [_stage(each) for each in plans]}


def staged_document(service: str, outcome: StageOutcome, destinations: Iterable[Destination]) -> dict[str, object]:
    """Return the completed uploads of a service's layers to buckets, and the outcome at each of *destinations*, as JSON values."""
    rows = [_stage(each.plan) | {"sent_bytes": each.sent_bytes} for each in outcome.uploads]
    changed = {each.plan.destination for each in outcome.uploads if not each.plan.upload.composed}
    places = _places(destinations, changed, "uploaded", outcome.errors)
    return {"version": VERSION, "service": service, "layers": rows, "places": places}


def _stage(plan: StagePlan) -> dict[str, object]:
    return _layer(plan.job.desired, plan.destination.services.account) | {
        "bucket": plan.bucket.name,
        "key": plan.key,
        "change": not plan.upload.composed,
        "upload_bytes": plan.upload.sent_bytes,
    }


def _layer(desired: DesiredLayer, account: Account, **names: str) -> dict[str, object]:
    return {
        "name": desired.layer.name,
        **names,
        "runtime": desired.runtime,
        "architectures": list(desired.architectures),
        "digest": desired.layer.digest,
        "account": account.id,
        "region": account.region,
    }


def _step(step: LayerStep) -> dict[str, object]:
    action, account = step.action, step.destination.services.account
    kept = action.version if isinstance(action, KeepLayer) else None
    return _layer(step.desired, account, layer_name=step.desired.name) | {
        "action": "publish" if kept is None else "keep",
        "arn": None if kept is None else kept.arn,
        "layer_version": None if kept is None else kept.number,
        "upload_bytes": action.upload_bytes if isinstance(action, PublishLayer) else 0,
        "reason": action.reason,
        "change": action.is_change,
        "share_with": [grant.principal for grant in action.grants],
        "parameter": action.parameter,
    }


def environment(published: Sequence[Published]) -> str:
    """
    Return the ARNs as lines ``NAME=value``, a format that shells and CI systems read.

    ``NAME`` is ``LAMINA_LAYER_<LAYER>``, followed by the target if the service has several, and by ``_<ACCOUNT>_<REGION>`` if there
    are several destinations. It is in upper case, with ``_`` in place of every character except letters and digits.
    """
    several = len({each.step.destination for each in published}) > 1
    return "".join(f"{_variable(each, several=several)}={each.version.arn}\n" for each in published)


def _variable(published: Published, *, several: bool) -> str:
    words = [published.step.desired.label]
    if several:
        words += [published.account.id, published.account.region]
    return "_".join(("LAMINA_LAYER", *(re.sub(r"[^A-Z0-9]", "_", word.upper()) for word in words)))
