"""Read the ARNs of layers that lamina does not build, and decide which of them the configuration allows."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Self

from lamina.core.frozen import frozen

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from lamina.project.table import Table

# The pattern of LayerVersionArn and LayerArn in botocore 1.44.8, 2026-11-27, except the service's own layers (`awslayer`).
_ARN = re.compile(
    r"arn:(?P<partition>aws[a-z-]*|\*):lambda:(?P<region>[a-z]+(?:-[a-z0-9]+)+|\*):(?P<account>[0-9]{12}):layer:"
    r"(?P<name>[A-Za-z0-9_-]{1,140})(?::(?P<version>[0-9]{1,18}|\*))?"
)
# The same with `*` in any part. A pattern becomes a value of a policy, too, so it has no other special characters.
_PATTERN = re.compile(
    r"arn:[a-z*-]+:lambda:(?:[a-z0-9*-]+:(?:[0-9]{12}|[0-9]*\*[0-9*]*):layer:[A-Za-z0-9_*-]+(?::[0-9*]+)?|::awslayer:[A-Za-z0-9_*-]+)"
)

OWN_ACCOUNT = "${AWS::AccountId}"
"""The text for the account of the deployment in the ARNs of deploy descriptions, as in CloudFormation."""
# CloudFormation's names of the parts that only the deployment knows, as `lamina init` once wrote them to `layer-arns`.
_PSEUDO = re.compile(r"\$\{AWS::(?:Partition|Region)\}")
_PLACE = re.compile(r"arn:([^:]*):lambda:([^:]*):")
_NAME = 6

NOT_A_LAYER = "is not the ARN of a layer, or a pattern such as `arn:aws:lambda:*:123456789012:layer:tools`"
_VERSION_PARTS = 7
_SERVICE = "::awslayer:"
_ROLE = re.compile(r"arn:[a-z-]+:iam::([0-9]{12}):role/")


@frozen
class LayerArn:
    """The parts of the ARN of a layer or of a layer version. ``*`` stands for a partition or region that only the deployment knows."""

    partition: str
    region: str
    """The region; ``*`` if only the deployment decides it."""
    account: str
    """The account of the publisher, 12 digits."""
    name: str
    version: int | None = None
    """The version number; ``None`` in the ARN of a layer, and if only the deployment knows it."""

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Return the parts of the ARN *text*, or ``None`` if it is not the ARN of a layer in an account."""
        found = _ARN.fullmatch(_PSEUDO.sub("*", text))
        if found is None:
            return None
        version = found["version"]
        return cls(
            partition=found["partition"],
            region=found["region"],
            account=found["account"],
            name=found["name"],
            version=None if version is None or version == "*" else int(version),
        )


@frozen
class AllowedLayer:
    """An entry of ``allow-layers``: the layers by ARN that functions of the service may have."""

    pattern: str
    """The ARN of a layer or layer version, in which ``*`` stands for any characters. Without a version it means all versions."""
    reason: str

    @property
    def value(self) -> str:
        """The pattern of the layer versions, also in policies of AWS, where ``*`` stands for any characters, too."""
        is_whole = self.pattern.endswith("*") or self.pattern.count(":") >= _VERSION_PARTS or _SERVICE in self.pattern
        return self.pattern if is_whole else f"{self.pattern}:*"

    def covers(self, arn: str) -> bool:
        """
        Return whether the layer version *arn* matches the pattern.

        A partition, region or version ``*`` in *arn*, which only the deployment knows, matches everything. An unknown name
        matches only a pattern for all names.
        """
        known = _PSEUDO.sub("*", arn)
        parts, wanted = known.split(":"), self.value.split(":")
        if "*" not in known or len(parts) < len(wanted):
            return fnmatchcase(arn, self.value)
        # A pattern that ends with `*` can leave out the version.
        wanted += ["*"] * (len(parts) - len(wanted))
        return all(
            (part == "*" and number != _NAME) or fnmatchcase(part, each)
            for number, (part, each) in enumerate(zip(parts, wanted, strict=True))
        )


def is_layer_version(text: str) -> bool:
    """Return whether *text* is the ARN of a layer version, in which ``*`` and `OWN_ACCOUNT` stand for what the deployment decides."""
    return text.startswith("arn:") and ":layer:" in text and text.replace(OWN_ACCOUNT, "").count(":") == _VERSION_PARTS


def can_name(pattern: str, arn: str) -> bool:
    """Return whether *pattern*, as `Function.layer_arns` has it, can be the layer version *arn* in some deployment."""
    return fnmatchcase(arn, _PSEUDO.sub("*", pattern).replace(OWN_ACCOUNT, "*"))


def located(arn: str, *, partition: str, region: str, account: str = OWN_ACCOUNT) -> str:
    """Return *arn* with *partition*, *region* and *account* in place of those that only the deployment knows."""
    known = _PSEUDO.sub("*", arn)
    if (place := _PLACE.match(known)) is None:
        return arn
    parts = [value if "*" in part else part for part, value in zip(place.groups(), (partition, region), strict=True)]
    return "arn:{}:lambda:{}:".format(*parts) + known[place.end() :].replace(OWN_ACCOUNT, account)


def may_be_same(one: str, other: str) -> bool:
    """Return whether two ARNs of layer versions, as `Function.layer_arns` has them, can be those of one version."""
    return one == other or can_name(one, other) or can_name(other, one)


def are_versions(one: str, other: str) -> bool:
    """Return whether two ARNs of layer versions, as `Function.layer_arns` has them, can be those of one layer."""
    return may_be_same(one.rpartition(":")[0], other.rpartition(":")[0])


def may_be_own(arn: str) -> bool:
    """Return whether the layer *arn* is in the account of the deployment, or in one that only the deployment knows."""
    return is_of_unknown_account(arn) or f":{OWN_ACCOUNT}:layer:" in arn


def is_of_unknown_account(arn: str) -> bool:
    """Return whether the layer *arn* is in an account that only the deployment knows."""
    return "*" in arn.partition(":layer:")[0].rpartition(":")[2]


def allowing(arn: str, allowed: Iterable[AllowedLayer]) -> AllowedLayer | None:
    """Return the first entry of *allowed* that covers the layer version *arn*, or ``None``."""
    return next((entry for entry in allowed if entry.covers(arn)), None)


def is_refused(arn: str, allowed: Iterable[AllowedLayer], accounts: Collection[str]) -> bool:
    """Return whether the layer version *arn* is neither *allowed* nor of one of *accounts*."""
    layer = LayerArn.parse(arn)
    is_known = may_be_own(arn) or (layer is not None and layer.account in accounts)
    return not is_known and allowing(arn, allowed) is None


def read_accounts(publish: Table | None) -> tuple[str, ...]:
    """Return the accounts of the ``roles`` in the table *publish*. `lamina.aws.publish.config` checks that table."""
    roles = publish.value("roles") if publish is not None else None
    found = [_ROLE.match(role) for role in roles if isinstance(role, str)] if isinstance(roles, list) else []
    return tuple(dict.fromkeys(role[1] for role in found if role is not None))


def allowed_layer(pattern: str, reason: str) -> AllowedLayer | None:
    """Return the entry that allows layers of *pattern*, or ``None`` if no ARN of a layer can match it."""
    return None if _PATTERN.fullmatch(pattern) is None else AllowedLayer(pattern=pattern, reason=reason)


def read_allowed(reader: Table) -> tuple[AllowedLayer, ...]:
    """Return the entries of ``allow-layers``, tables with ``arn`` and ``reason``, and record a mistake for each invalid one."""
    rows = reader.tables("allow-layers") or ()
    allowed = []
    for table in rows:
        pattern, reason = table.string("arn"), table.reason()
        table.done()
        if not pattern:
            table.complain("arn", "required, but missing or empty")
        entry = allowed_layer(pattern, reason or "") if pattern else None
        if pattern and entry is None:
            table.complain("arn", f"`{pattern}` {NOT_A_LAYER}")
        elif entry is not None and reason:
            allowed.append(entry)
    return tuple(allowed)
