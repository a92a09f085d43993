"""The runtime's state of support, and settings that only some functions can have."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lamina.core.target import Target
from lamina.pipeline.checks.runtime import check
from lamina.project.service import Function
from pipeline.checks.made import make_service


def test_preview() -> None:
    """A note says that a runtime is only a preview, unless the rule is ignored; other runtimes have no finding."""
    service = replace(make_service(), target=Target.of("python3.15", "arm64"))
    [finding] = check(service)

    assert ("runtime-preview", "note") == (finding.rule, finding.severity.value)
    assert finding.message.startswith("`python3.15` has been a public preview since 2026-07-24: ")
    assert () == check(replace(service, ignore=("runtime-preview",)))
    assert () == check(replace(service, target=Target.of("python3.14", "arm64")))


@pytest.mark.parametrize(
    ("memory", "timeout", "messages"),
    [
        (10_240, 1_800, []),
        (10_241, 3, ["`f`: `memory` is 10,241 MB, but only functions on Lambda Managed Instances can have more than 10,240 MB"]),
        (128, 1_801, ["`f`: `timeout` is 1,801 seconds, but only functions on Lambda Managed Instances can have more than 1,800 seconds"]),
    ],
)  # fmt: skip
def test_managed_instances(memory: int, timeout: int, messages: list[str]) -> None:
    """A value above the limit of ordinary functions is a warning, because the function may run on Lambda Managed Instances."""
    function = Function(name="f", handler="a.b", layers=(), memory_mb=memory, timeout_seconds=timeout, environment=())
    found = check(replace(make_service(), functions=(function,)))

    assert [("managed-instances-only", "warning", message) for message in messages] == [
        (finding.rule, finding.severity.value, finding.message) for finding in found
    ]
