"""Facts about AWS agree with what the AWS SDK itself knows."""

from __future__ import annotations

import re
from typing import Any

import botocore
import pytest
from botocore.loaders import Loader

from lamina.aws.api.facts import fits, kept_settings, progress, unsettled_stack_statuses, waiter_seconds
from lamina.aws.api.functions import Storage
from lamina.core.target import Architecture, quotas, runtimes
from lamina.core.toml import read_data
from lamina.project.functions import name_pattern, setting

_NEW = tuple(map(int, botocore.__version__.split(".")[:2])) >= (1, 44)


@pytest.mark.parametrize("name", ["FunctionUpdated", "PublishedVersionActive"])
def test_waiters(name: str) -> None:
    """Lamina waits for Lambda as long as the SDK's waiters do."""
    waiters: dict[str, Any] = Loader().load_service_model("lambda", "waiters-2")["waiters"]

    assert waiters[name]["delay"] * waiters[name]["maxAttempts"] == waiter_seconds(name)


@pytest.mark.skipif(not _NEW, reason="earlier versions of botocore have earlier limits")
@pytest.mark.parametrize(("name", "shape"), [("memory", "MemorySize"), ("timeout", "Timeout")])
def test_settings(name: str, shape: str) -> None:
    """The limits of a function's settings are those of the SDK's model, where it states them."""
    model: dict[str, Any] = Loader().load_service_model("lambda", "service-2")
    limits, known = setting(name), model["shapes"][shape]

    assert limits.least == known["min"]
    assert limits.most == known.get("max", limits.most)
    text = model["shapes"]["CreateFunctionRequest"]["members"][shape].get("documentation", "")
    if shape == "Timeout":
        assert f"{limits.ordinary:,} seconds" in text
        assert f"{limits.most:,} seconds" in text


def _shape(name: str) -> dict[str, Any]:
    shape: dict[str, Any] = Loader().load_service_model("lambda", "service-2")["shapes"][name]
    return shape


def test_settings_that_versions_keep() -> None:
    """Every setting of a function in the SDK's model is compared with that of a version, or deliberately not."""
    model: dict[str, Any] = Loader().load_service_model("lambda", "service-2")
    members = set(model["shapes"]["FunctionConfiguration"]["members"])
    other = set(read_data("aws.toml")["function"][0]["other"])

    assert set() == other & kept_settings().keys()
    assert set() == members - other - kept_settings().keys()
    if _NEW:
        assert set() == (other | kept_settings().keys()) - members


def test_runtimes() -> None:
    """Lambda has every runtime that lamina builds for or refuses, and lamina knows every Python runtime of the SDK."""
    known = {name for name in _shape("Runtime")["enum"] if name.startswith("python")}
    stable = {runtime.name for runtime in runtimes() if runtime.preview is None}
    retired = {row["name"] for row in read_data("runtimes.toml")["retired"]}

    assert stable | retired <= known
    assert known <= {runtime.name for runtime in runtimes()} | retired
    assert ["python3.15"] == [runtime.name for runtime in runtimes() if runtime.preview is not None]


def test_order_of_a_runtimes_end() -> None:
    """AWS ends support first; then Lambda rejects new functions, and at last updates."""
    for runtime in runtimes():
        dates = (runtime.deprecation, runtime.block_create, runtime.block_update)

        assert None not in dates or runtime.preview is not None
        assert sorted(filter(None, dates)) == [day for day in dates if day is not None]


def test_architectures() -> None:
    """Lamina knows the architectures that the SDK knows, and each runtime has one of them."""
    assert set(_shape("Architecture")["enum"]) == set(map(str, Architecture))
    assert all(runtime.architectures for runtime in runtimes())


@pytest.mark.parametrize(
    ("quota", "shape"),
    [
        ("layer_name_characters", "LayerName"),
        ("layer_description_characters", "Description"),
        ("layer_license_characters", "LicenseInfo"),
        ("layer_runtimes", "CompatibleRuntimes"),
        ("layer_architectures", "CompatibleArchitectures"),
    ],
)
def test_quotas(quota: str, shape: str) -> None:
    """The limits of a layer version are those of the SDK's model."""
    assert _shape(shape)["max"] == getattr(quotas(), quota)


@pytest.mark.parametrize(
    ("kind", "shape", "names"),
    [
        ("layer-name", "LayerName", ["a", "a-b_C9", "a" * 140]),
        ("function-name", "UnqualifiedFunctionName", ["a", "a-b_C9", "a" * 64]),
        ("alias", "Alias", ["live", "9a", "a" * 128]),
        ("role", "RoleArn", ["arn:aws:iam::123456789012:role/a", "arn:aws-us-gov:iam::123456789012:role/path/a+b"]),
        ("organisation", "OrganizationId", ["o-a1b2c3d4e5"]),
    ],
)
def test_names(kind: str, shape: str, names: list[str]) -> None:
    """Lamina accepts no name that the SDK's pattern rejects, and rejects none of these that it accepts."""
    pattern = re.compile(_shape(shape)["pattern"])
    longest = _shape(shape).get("max", 140)

    for name in names:
        assert fits(kind, name)
        assert pattern.fullmatch(name)
    for name in ("", "a b", "a.b", "ä", "a/b", "123", "o-", "a" * (longest + 1), *names):
        assert not fits(kind, name) or pattern.fullmatch(name)


def test_handler() -> None:
    """A handler has at most as many characters as the SDK's model allows, and no space."""
    pattern = re.compile(name_pattern("handler"))
    longest = "a" * _shape("Handler")["max"]

    assert pattern.fullmatch(longest)
    assert not pattern.fullmatch(longest + "a")
    for handler in ("a.b", "a b", "a\u2003b", ""):
        assert bool(re.fullmatch(_shape("Handler")["pattern"], handler)) == bool(pattern.fullmatch(handler))


@pytest.mark.skipif(not _NEW, reason="earlier versions of botocore have earlier states")
def test_states() -> None:
    """A deployment knows what to do in every state of the SDK's model."""
    known = {row["name"]: {row["latest"], row["version"]} for row in read_data("aws.toml")["state"]}

    assert set(_shape("State")["enum"]) == set(known)
    assert {"ready", "waiting", "failed"} == set().union(*known.values())
    assert ["Failed", "InProgress", "Successful"] == sorted(_shape("LastUpdateStatus")["enum"])


@pytest.mark.parametrize("name", ["FunctionUpdated", "FunctionActive", "PublishedVersionActive"])
def test_states_of_waiters(name: str) -> None:
    """Where the SDK's waiters succeed, fail or wait, a deployment continues, stops or waits."""
    waiters: dict[str, Any] = Loader().load_service_model("lambda", "waiters-2")["waiters"]
    outcomes = {"success": "ready", "failure": "failed", "retry": "waiting"}

    for row in waiters[name]["acceptors"]:
        if row["argument"] == "State":
            assert outcomes[row["state"]] == progress(row["expected"], is_version=name.startswith("Published"))


@pytest.mark.skipif(not _NEW, reason="earlier versions of botocore do not know the mode")
def test_storage_modes() -> None:
    """Lamina knows every way in which Lambda stores code."""
    assert set(_shape("S3ObjectStorageMode")["enum"]) == {mode.name for mode in Storage}


def test_stack_statuses() -> None:
    """CloudFormation has every status in which lamina expects that a stack may still roll back."""
    statuses = Loader().load_service_model("cloudformation", "service-2")["shapes"]["StackStatus"]["enum"]

    assert set(unsettled_stack_statuses()) <= set(statuses)
    assert {status for status in statuses if "_IN_PROGRESS" in status} - set(unsettled_stack_statuses()) == {
        "DELETE_IN_PROGRESS",
        "REVIEW_IN_PROGRESS",
    }


@pytest.mark.parametrize("service", ["lambda", "s3", "ssm", "sts", "logs", "xray", "cloudformation"])
def test_operations(service: str) -> None:
    """Every operation whose permissions lamina lists is one of the SDK's model."""
    operations = Loader().load_service_model(service, "service-2")["operations"]
    listed = {row["name"] for row in read_data("aws.toml")["operation"] if row["service"] == service}

    assert listed
    assert listed <= set(operations)


def test_services() -> None:
    """The permissions are of services that these tests compare."""
    assert {"lambda", "s3", "ssm", "sts", "logs", "xray", "cloudformation"} == {
        row["service"] for row in read_data("aws.toml")["operation"]
    }
