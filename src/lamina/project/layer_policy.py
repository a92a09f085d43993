"""
Write the policies that forbid functions to use layers of other accounts, except those that are allowed.

The condition key ``lambda:Layer`` has the ARNs of all layer versions in a request; it is missing if the request sets no layers. Each
value is compared on its own, so one layer that matches no pattern is enough to deny the request. (AWS: Service Authorization Reference,
"Actions, resources, and condition keys for AWS Lambda", and IAM User Guide, "Multivalued context key examples", 2026-11-28.)
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from lamina.project.external import AllowedLayer

# The variable has the account of the caller, in which the function is. Service control policies support variables, too (IAM User Guide,
# "IAM policy elements: Variables and tags", 2026-11-28). `*` stands for the partition, so one policy is for all of them.
_OWN = "${aws:PrincipalAccount}"
_LAYERS = "arn:*:lambda:*:{}:layer:*"
_ACTIONS = ("lambda:CreateFunction", "lambda:UpdateFunctionConfiguration")
_VERSION = "2012-10-17"


def service_control_policy(allowed: Iterable[AllowedLayer], accounts: Iterable[str]) -> dict[str, Any]:
    """
    Return a policy for an organisation, which denies layers that are neither *allowed* nor of the function's own account.

    *accounts* are further accounts whose layers functions may have.
    """
    return {"Version": _VERSION, "Statement": [_denial(_patterns(allowed, accounts))]}


def identity_policy(allowed: Iterable[AllowedLayer], accounts: Iterable[str]) -> dict[str, Any]:
    """Return `service_control_policy` as a policy for an identity, which also gets the permission to use the other layers."""
    layers = _patterns(allowed, accounts)
    # IAM rejects a policy whose resources are in another partition.
    resources = [re.sub("^arn:[^:]*:", "arn:*:", layer) for layer in layers]
    use = {"Sid": "UseAllowedLayers", "Effect": "Allow", "Action": "lambda:GetLayerVersion", "Resource": resources}
    return {"Version": _VERSION, "Statement": [*([use] if layers else []), _denial(layers)]}


def _patterns(allowed: Iterable[AllowedLayer], accounts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys((*(_LAYERS.format(account) for account in accounts), *(each.value for each in allowed))))


def _denial(layers: Sequence[str]) -> dict[str, Any]:
    return {
        "Sid": "DenyLayersOfOtherAccounts",
        "Effect": "Deny",
        "Action": list(_ACTIONS),
        "Resource": "*",
        "Condition": {
            "ForAnyValue:StringNotLike": {"lambda:Layer": [_LAYERS.format(_OWN), *layers]},
            "Null": {"lambda:Layer": "false"},
        },
    }
