"""Read ``[tool.lamina.publish]``: where layers are published, their names, and the accounts that may use them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lamina.aws.api.facts import fits
from lamina.aws.api.functions import Storage
from lamina.aws.api.layers import Grant
from lamina.aws.destination.naming import placeholders
from lamina.core.buckets import bucket_mistake
from lamina.core.errors import ConfigError, InvalidConfigError
from lamina.core.target import quotas
from lamina.project import config

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from lamina.project.table import Table

_LAYER_NAMES = ("service", "layer", "runtime", "architecture")
_PLACES = ("account", "region", "partition")


@dataclass(frozen=True, kw_only=True, slots=True)
class PublishConfig:
    """The publishing configuration. Every name in it has the format that AWS requires."""

    bucket: str | None = None
    """The template of the bucket's name, such as ``artifacts-{account}-{region}``; ``None`` to send zips inside API calls."""
    prefix: str = "lamina/"
    """The prefix of every key in the bucket: empty, or a string that ends with a slash."""
    regions: tuple[str, ...] = ()
    """The regions to publish in; empty means the region of the AWS configuration."""
    roles: tuple[str, ...] = ()
    """The ARNs of the roles to assume, one for each account; empty means the current credentials."""
    share_with: tuple[Grant, ...] = ()
    storage: Storage = Storage.COPY
    ssm_prefix: str | None = None
    """The path below which lamina stores each layer version's ARN as a Systems Manager parameter; ``None`` to store none."""
    layer_name: str = "{service}-{layer}"
    license: str | None = None
    fetches: bool = False
    """Whether to download missing wheels even if the bucket has their segments (``missing-wheels = "fetch"``)."""

    def at(self, regions: Collection[str]) -> PublishConfig:
        """Return the configuration for *regions*, or unchanged if *regions* is empty. Raises `ConfigError` if a region name is invalid."""
        if wrong := [f"`{each}`" for each in regions if not fits("region", each)]:
            names = "is not a valid region name" if len(wrong) == 1 else "are not valid region names"
            raise ConfigError(f"{' and '.join(wrong)} {names}", hint="use names such as `eu-west-1`")
        return replace(self, regions=tuple(dict.fromkeys(regions))) if regions else self


def load(project: Path) -> PublishConfig:
    """Return the publishing configuration of *project*. Raises `InvalidConfigError` listing every mistake."""
    mistakes: list[tuple[str, str]] = []
    file, table = config.section(project, "publish", mistakes)
    found = PublishConfig(
        bucket=_bucket(table),
        prefix=_prefix(table),
        regions=_all_fit(table, "regions", ("region",), "not a valid region name, such as `eu-west-1`"),
        roles=_all_fit(
            table, "roles", ("role",), "not the ARN of a role, such as `arn:aws:iam::123456789012:role/publisher`"
        ),
        share_with=_share_with(table),
        storage=Storage(table.one_of("storage", [each.value for each in Storage]) or Storage.COPY),
        ssm_prefix=_ssm_prefix(table),
        layer_name=template(table, "layer-name", _LAYER_NAMES) or PublishConfig().layer_name,
        license=_license(table),
        fetches=table.one_of("missing-wheels", ("bucket", "fetch")) == "fetch",
    )
    if found.storage is Storage.REFERENCE and found.bucket is None and "bucket" not in table:
        table.complain("storage", '`"reference"` requires `bucket` in `[tool.lamina.publish]`')
    table.done()
    if mistakes:
        raise InvalidConfigError(file=file, mistakes=mistakes)
    return found


def template(table: Table, name: str, known: Collection[str]) -> str | None:
    """
    Return the template at the key *name* of *table*, or ``None`` if the key is missing or a placeholder is not *known*.

    Report placeholders that are not *known*, and braces that are not part of a placeholder, as mistakes.
    """
    value = table.string(name)
    if value is None:
        return None
    wrong = [each for each in placeholders(value) if each not in known]
    allowed = (
        f"use {', '.join(f'`{{{each}}}`' for each in sorted(known))}" if known else f"`{name}` supports no placeholders"
    )
    for each in wrong:
        table.complain(name, f"unknown placeholder `{{{each}}}`; {allowed}")
    if not wrong and ("{" in (rest := _plain(value, known)) or "}" in rest):
        table.complain(name, f"`{value}` has a brace that is not part of a placeholder; {allowed}")
    return None if wrong else value


def _plain(value: str, known: Collection[str]) -> str:
    for each in known:
        value = value.replace(f"{{{each}}}", "")
    return value


def _bucket(table: Table) -> str | None:
    value = template(table, "bucket", _PLACES)
    if value is None:
        return None
    # The values of the placeholders start and end with a letter or digit, so an example is enough to check the name.
    example = value.replace("{account}", "123456789012").replace("{region}", "eu-west-1").replace("{partition}", "aws")
    if (mistake := bucket_mistake(example)) is not None:
        table.complain("bucket", f"`{value}` {mistake}")
        return None
    return value


def _prefix(table: Table) -> str:
    value = template(table, "prefix", ())
    if value is None:
        return PublishConfig().prefix
    stripped = value.strip("/")
    return f"{stripped}/" if stripped else ""


def _all_fit(table: Table, name: str, kinds: Sequence[str], fact: str) -> tuple[str, ...]:
    values = table.strings(name) or ()
    for value in values:
        if not any(fits(kind, value) for kind in kinds):
            table.complain(name, f"`{value}` is {fact}")
    return values


def _share_with(table: Table) -> tuple[Grant, ...]:
    fact = "neither an account ID, such as `123456789012`, nor an organisation ID, such as `o-a1b2c3d4e5`"
    values = _all_fit(table, "share-with", ("account", "organisation"), fact)
    return tuple(Grant(principal=value) for value in values)


def _ssm_prefix(table: Table) -> str | None:
    value = template(table, "ssm-prefix", ("service", *_PLACES))
    if value is None:
        return None
    value = value.rstrip("/")
    if not value.startswith("/") or not fits(
        "parameter", _plain(value, ("service", *_PLACES)).replace("//", "/x/") + "x"
    ):
        table.complain("ssm-prefix", f"`{value}` is not a valid parameter path, such as `/layers`")
        return None
    return value


def _license(table: Table) -> str | None:
    value = table.string("license")
    most = quotas().layer_license_characters
    if value is not None and len(value) > most:
        table.complain("license", f"the text has {len(value)} characters; Lambda's limit is {most} characters")
    return value
