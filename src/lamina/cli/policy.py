"""``lamina policy``: print policies of AWS that enforce what the configuration allows."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from lamina.core.errors import ConfigError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

    from lamina.project.external import AllowedLayer
    from lamina.project.service import Service

HELP = (
    "Print a policy that forbids functions to use layers of other accounts, except those in `allow-layers`. By default, it is a service "
    "control policy for an organisation. It is valid in every partition of AWS."
)
EXAMPLE = """\
examples:
  lamina policy layers                            # for AWS Organizations
  lamina policy layers --account 123456789012     # also allow the layers of an account that publishes for others
  lamina policy layers --iam                      # for a role that deploys functions
"""
PAGE = "how-to/external-layers.md"

_ACCOUNT = re.compile("[0-9]{12}")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``lamina policy`` to *parser*."""
    parser.add_argument("kind", choices=("layers",), help="what the policy is about")
    parser.add_argument(
        "--iam",
        action="store_true",
        help="print a policy for an identity, which also permits to use the allowed layers (default: a service control policy)",
    )
    parser.add_argument(
        "--account",
        action="append",
        default=[],
        metavar="ID",
        help="also allow all layers of the account ID (repeatable; default: those of `roles` in `[tool.lamina.publish]`)",
    )
    parser.add_argument(
        "--allow",
        action="append",
        default=[],
        metavar="ARN",
        help="also allow layers with the ARN or pattern ARN (repeatable)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the policy. Outside a service, the options alone decide what it allows."""
    from lamina.cli.console import emit_json
    from lamina.project import layer_policy

    if wrong := [account for account in arguments.account if _ACCOUNT.fullmatch(account) is None]:
        raise ConfigError(f"`{wrong[0]}` is not an account ID", hint="use 12 digits, such as `123456789012`")
    services = tuple(_services(arguments))
    allowed = [entry for service in services for entry in service.allow_layers]
    allowed += map(_allowed, arguments.allow)
    accounts = arguments.account or [account for service in services for account in service.accounts]
    write = layer_policy.identity_policy if arguments.iam else layer_policy.service_control_policy
    emit_json(write(allowed, accounts))
    return 0


def _allowed(pattern: str) -> AllowedLayer:
    from lamina.project.external import NOT_A_LAYER, allowed_layer

    entry = allowed_layer(pattern, "--allow")
    if entry is None:
        raise ConfigError(
            f"`--allow`: `{pattern}` {NOT_A_LAYER}",
            hint="quote the pattern, so that your shell does not replace `*`",
        )
    return entry


def _services(arguments: argparse.Namespace) -> Iterable[Service]:
    """Yield the service or the services of the workspace, if the directory belongs to one."""
    from pathlib import Path

    from lamina.cli.options import project_of
    from lamina.pipeline import workspace
    from lamina.project import config
    from lamina.project.file import configures

    start = Path(arguments.project or ".").absolute()
    if not any(configures(directory) for directory in (start, *start.parents)):
        return
    found = workspace.find(start)
    for project in (project_of(arguments),) if found is None else found.services:
        yield config.load(project)
