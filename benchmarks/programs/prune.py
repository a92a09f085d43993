"""
Plan a prune of an account with 1,000 functions of 30 versions and 40 layers of 60 versions, and print the number of API calls.

The account is in memory, and sends its lists in pages as AWS does. Nothing is deleted.
"""

from __future__ import annotations

import sys
from pathlib import Path

# Import the tests' account.
sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

from aws.largeaccount import LargeAccount
from lamina.aws.api.inventory import AwsInventory
from lamina.aws.prune.apply import survey
from lamina.aws.prune.plan import RetentionRules

_RULES = RetentionRules(keep=5, keep_days=14.0)


def main() -> None:
    """Plan, and print the number of calls."""
    account = LargeAccount()
    found = survey(AwsInventory(account, account), None, _RULES, guards=account.guards(values=_RULES.keep))
    if len(found.actions) != account.LAYERS * account.VERSIONS or not found.deletions:
        raise SystemExit(f"expected a plan for all layer versions, got {len(found.actions):,} actions")
    print(account.calls.total())


if __name__ == "__main__":
    main()
