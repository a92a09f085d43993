"""
Know who publishes layers that are often used by ARN, and what to lock instead of them.

The facts are in ``data/publishers.toml``, each with its source and the date when it was read. Only this module reads that file.
"""

from __future__ import annotations

import re
from enum import Enum
from functools import cache
from typing import TYPE_CHECKING

from lamina.core import toml
from lamina.core.frozen import frozen
from lamina.project.external import LayerArn, allowed_layer

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping

_ELSEWHERE = "*"


class Content(Enum):
    """What a publisher's layer has."""

    PYTHON = "python"
    """Only Python packages, which a lock file can have instead."""
    EXTENSION = "extension"
    """A program, such as a Lambda extension, which no Python package replaces."""
    BOTH = "both"


@frozen
class Publisher:
    """A publisher's layers of one kind, such as those of Powertools for AWS Lambda."""

    name: str
    """The name of the layers, as the publisher calls them."""
    layers: str
    """The regular expression of the layers' names in Lambda."""
    kind: Content
    accounts: Mapping[str, tuple[str, ...]]
    """The publisher's accounts by region; those of ``*`` are for every other region."""
    newest: str
    """Where the publisher lists the newest versions."""
    source: str
    read: dt.date
    requirements: tuple[str, ...] = ()
    """The requirements to lock instead of the layer's Python packages; of an extension, those that do the same in code."""
    vendor: str = ""
    """The vendor of the handler that functions with the layer usually have; see `lamina.project.wrappers`."""
    note: str = ""
    """What to know before the requirements take the layer's place, as Markdown."""

    def accounts_in(self, region: str) -> tuple[str, ...]:
        """Return the publisher's accounts in *region*; empty if none is known, or if the region is not (``*``)."""
        return () if region == _ELSEWHERE else self.accounts.get(region, self.accounts.get(_ELSEWHERE, ()))

    def locked(self, layer: str) -> tuple[str, ...]:
        """Return the requirements to lock instead of the layer named *layer*."""
        found = re.fullmatch(self.layers, layer)
        distribution = found.groupdict().get("distribution", "") if found is not None else ""
        return tuple(requirement.replace("{distribution}", distribution) for requirement in self.requirements)


@cache
def publishers() -> tuple[Publisher, ...]:
    """Return every known publisher."""
    return tuple(
        Publisher(
            **row
            | {
                "kind": Content(row["kind"]),
                "accounts": {region: tuple(accounts) for region, accounts in row["accounts"].items()},
                "requirements": tuple(row.get("requirements", ())),
            }
        )
        for row in toml.read_data("publishers.toml")["publisher"]
    )


def publisher_of(arn: LayerArn) -> Publisher | None:
    """Return the publisher of the layer *arn*, also if its account is that of another region; ``None`` if it is not known."""
    for each in publishers():
        known = {account for accounts in each.accounts.values() for account in accounts}
        if arn.account in known and re.fullmatch(each.layers, arn.name) is not None:
            return each
    return None


def can_have_modules(arn: str) -> bool:
    """Return whether the layer version *arn* may have Python modules: all but the known extensions of publishers."""
    layer = LayerArn.parse(arn)
    publisher = publisher_of(layer) if layer is not None else None
    return publisher is None or publisher.kind is not Content.EXTENSION


def described(arn: str) -> str:
    """Return the layer version *arn* as messages show it: in backticks, with the publisher if it is known."""
    layer = LayerArn.parse(arn)
    publisher = publisher_of(layer) if layer is not None else None
    return f"`{arn}`" + (f" ({publisher.name})" if publisher is not None else "")


def cure(arn: str) -> str:
    """Return what to do about the layer version *arn* of another account: lock packages instead, copy it, or allow it."""
    layer = LayerArn.parse(arn)
    publisher = publisher_of(layer) if layer is not None else None
    example = entry(arn)
    if not example:
        return "correct the ARN, which Lambda does not accept"
    allow = f"allow it: add `{example}` to `allow-layers`"
    if layer is None or publisher is None:
        # The account may be one of the user's that the configuration does not name.
        return f"build it from your lock file, or if the account is yours or you trust it, {allow}"
    known = publisher.accounts_in(layer.region)
    wrong = f"in {layer.region} its account is `{known[0]}`; " if known and layer.account not in known else ""
    locked = " and ".join(f"`{each}`" for each in publisher.locked(layer.name))
    match publisher.kind:
        case Content.PYTHON:
            return f"{wrong}lock {locked} instead, or {allow}"
        case Content.BOTH:
            return f"{wrong}lock {locked} instead of its Python packages, or {allow}"
        case Content.EXTENSION:
            instead = f"{locked} does the same in code" if locked else "no Python package replaces this extension"
            return f"{wrong}{instead}: copy it to your account, or {allow}"


def entry(arn: str) -> str:
    """
    Return the entry of ``allow-layers`` that allows every version of the layer *arn*, in all regions, except its reason.

    The result is empty if no entry can allow *arn*, because it is not the ARN of a layer version.
    """
    layer = LayerArn.parse(arn)
    pattern = arn if layer is None else f"arn:{layer.partition}:lambda:*:{layer.account}:layer:{layer.name}"
    if allowed_layer(pattern, "…") is None:
        return ""
    return toml.value({"arn": pattern, "reason": "…"})
