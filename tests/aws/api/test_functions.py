"""Requests to Lambda about functions, checked against the AWS SDK's model, and its answers."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import botocore.session
import pytest
from botocore.validate import ParamValidator

from aws.lambdafakes import code
from emulators import knows_storage_mode
from lamina.aws.api.functions import PUBLISHED, LambdaFunctions, S3Code, Storage, Zip, _code_storage
from lamina.aws.api.session import Access

if TYPE_CHECKING:
    from pathlib import Path

    from emulators import Emulator

_KEY = "arn:aws:kms:eu-west-1:123456789012:key/0f0e0d0c"


class Model:
    """Answers every request with *answer*, after checking its parameters with the SDK's model."""

    def __init__(self, **answer: Any) -> None:
        self.answer = answer
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self._model = botocore.session.get_session().get_service_model("lambda")

    def __call__(self, operation: str, *, doing: str, expected: frozenset[str] = frozenset(), **parameters: Any) -> Any:
        assert doing
        shape = self._model.operation_model(operation).input_shape
        assert not ParamValidator().validate(parameters, shape).has_errors()
        assert set(parameters) <= set(shape.members)
        self.asked.append((operation, parameters))
        return {"Configuration": self.answer, "Code": {}} if operation == "GetFunction" else self.answer


def test_customers_key() -> None:
    """New code is encrypted with the given key, and the request says nothing about a key if there is none."""
    model = Model()
    functions = LambdaFunctions(model)
    for key in (_KEY, None):
        functions.update_code("orders", Zip(content=b"zip"), architecture="arm64", revision="r", kms_key=key)

    assert [_KEY, None] == [parameters.get("SourceKMSKeyArn") for _, parameters in model.asked]
    assert "SourceKMSKeyArn" not in model.asked[1][1]


def test_reads_the_customers_key(ministack: Emulator, tmp_path: Path) -> None:
    """The key that encrypts a function's code is read with the code, so that an update can name it again."""
    functions = Access(region=ministack.region).connect().functions
    found = []
    for key in ({"SourceKMSKeyArn": _KEY}, {}):
        name = f"f{uuid.uuid4().hex[:10]}"
        ministack.client("lambda").create_function(
            FunctionName=name,
            Role="arn:aws:iam::000000000000:role/r",
            Runtime="python3.13",
            Handler="app.handler",
            Code={"ZipFile": code("x"), **key},
        )
        found.append(functions.download(name, tmp_path / name).kms_key)

    assert [_KEY, None] == found


@knows_storage_mode
def test_reads_the_storage_of_the_code() -> None:
    """The response has an S3 object only for code that Lambda reads from a bucket."""
    where = {"S3Bucket": "artifacts", "S3Key": "code/1.zip", "S3ObjectVersion": "v1"}
    model = botocore.session.get_session().get_service_model("lambda")

    assert where.keys() <= model.shape_for("FunctionCodeLocation").members["ResolvedS3Object"].members.keys()
    assert [Storage.REFERENCE, Storage.COPY] == [
        _code_storage({"Location": "https://example.com/code.zip", **more}).storage
        for more in ({"ResolvedS3Object": where}, {})
    ]


@knows_storage_mode
def test_code_by_reference() -> None:
    """Code by reference names the storage mode and the object's version."""
    model = Model()
    code = S3Code(bucket="artifacts", key="code/1.zip", storage=Storage.REFERENCE, version_id="v1")
    LambdaFunctions(model).update_code("orders", code, architecture="arm64", revision="r")

    [(_, parameters)] = model.asked
    assert ("REFERENCE", "v1") == (parameters["S3ObjectStorageMode"], parameters["S3ObjectVersion"])


@knows_storage_mode
def test_publishes_for_managed_instances() -> None:
    """A version is published with a number, or as the version that callers on Lambda Managed Instances use."""
    model = Model(Version="7")
    functions = LambdaFunctions(model)
    for to in (None, PUBLISHED):
        functions.publish_version("orders", code_sha256="abc=", revision="r", to=to)

    assert [None, "LATEST_PUBLISHED"] == [parameters.get("PublishTo") for _, parameters in model.asked]


@pytest.mark.parametrize(
    ("version", "state", "busy"),
    [
        ("$LATEST", "Active", False),
        ("$LATEST", "ActiveNonInvocable", False),
        ("$LATEST", "Pending", True),
        ("$LATEST", "Inactive", False),
        ("7", "Pending", True),
        ("7", "ActiveNonInvocable", True),
        ("7", "Active", False),
        ("$LATEST", "Deactivating", True),
        ("7", "Deactivating", True),
        ("$LATEST", "Deactivated", False),
        ("7", "AnotherState", True),
        ("7", None, False),
    ],
)
def test_waits_for_a_version_that_can_be_invoked(version: str, state: str | None, busy: bool) -> None:
    """A published version is complete when it can be invoked, as for AWS's own waiter. On managed instances, `$LATEST` never can."""
    capacity = {"LambdaManagedInstancesCapacityProviderConfig": {"CapacityProviderArn": "arn:x"}}
    model = Model(Version=version, State=state, LastUpdateStatus="Successful", CapacityProviderConfig=capacity)
    found = LambdaFunctions(model).get("orders", version)

    assert found is not None
    assert (busy, True) == (found.busy, found.is_managed)
    assert found.failure is None


@pytest.mark.parametrize(
    ("version", "state", "reason", "failure"),
    [
        ("$LATEST", "Deleting", None, "its state is `Deleting`: Lambda gives no reason"),
        ("7", "Deleting", "the stack is deleted", "its state is `Deleting`: the stack is deleted"),
        ("7", "Deactivated", "no instances", "its state is `Deactivated`: no instances"),
        ("7", "Failed", "the role is missing", "the role is missing"),
    ],
)
def test_state_that_ends_a_deployment(version: str, state: str, reason: str | None, failure: str) -> None:
    """A deployment does not wait for a function that is being deleted, nor for a version that cannot be invoked, and says why."""
    found = LambdaFunctions(Model(Version=version, State=state, StateReason=reason)).get("orders", version)

    assert found is not None
    assert (False, failure) == (found.busy, found.failure)


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ({"SnapStart": {"ApplyOn": "None", "OptimizationStatus": "Off"}}, {"SnapStart": {"ApplyOn": "None", "OptimizationStatus": "On"}}, True),
        ({"VpcConfig": {"SubnetIds": [], "SecurityGroupIds": [], "VpcId": ""}, "Description": ""}, {}, True),
        ({"LastModified": "yesterday", "RevisionId": "1"}, {"LastModified": "today", "RevisionId": "2"}, True),
        ({"MemorySize": 128}, {"MemorySize": 256}, False),
        ({"VpcConfig": {"Ipv6AllowedForDualStack": False}}, {"VpcConfig": {"Ipv6AllowedForDualStack": True}}, False),
        ({"TracingConfig": {"Mode": "PassThrough"}}, {"TracingConfig": {"Mode": "Active"}}, False),
    ],
)  # fmt: skip
def test_settings_are_comparable(one: dict[str, Any], other: dict[str, Any], alike: bool) -> None:
    """Two versions have the same other settings whatever AWS leaves out or reports of its own progress."""
    states = [LambdaFunctions(Model(**answer)).get("orders") for answer in (one, other)]

    assert alike == (states[0] is not None and states[1] is not None and states[0].others == states[1].others)


def test_environment_that_aws_hides() -> None:
    """A caller who may not decrypt the variables gets an error in their place."""
    hidden = LambdaFunctions(Model(Environment={"Error": {"ErrorCode": "AccessDeniedException"}})).get("orders")
    shown = LambdaFunctions(Model(Environment={"Variables": {"A": "1"}})).get("orders")

    assert [({}, True), ({"A": "1"}, False)] == [
        (each.environment, each.has_hidden_environment) for each in (hidden, shown) if each is not None
    ]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"State": "Pending", "StateReason": "The function is being created."}, "its state is `Pending`: The function is being created."),
        ({"State": "Deactivating"}, "its state is `Deactivating`"),
        ({"State": "Active", "LastUpdateStatus": "InProgress"}, "its last update is `InProgress`"),
        ({"State": "Active", "LastUpdateStatus": "Successful"}, ""),
    ],
)  # fmt: skip
def test_unfinished_change(answer: dict[str, str], words: str) -> None:
    """What Lambda reports of a change in progress is kept for the error that names it."""
    found = LambdaFunctions(Model(**answer)).get("orders")

    assert found is not None
    assert words == found.unfinished
