"""Tests of pruning an account: the calls, the deletions, and changes between plan and deletion."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import tracemalloc
import uuid
from collections import Counter
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.stub import Stubber

from aws.fakes import Cloud, Version
from aws.lambdafakes import code
from aws.largeaccount import LargeAccount
from lamina.aws.api.errors import Caller
from lamina.aws.api.functions import Zip
from lamina.aws.api.inventory import Attachment, AwsInventory, CodeSize, StackLayers
from lamina.aws.api.layers import Grant, Publication
from lamina.aws.api.session import Access
from lamina.aws.api.ssm import StoredParameters
from lamina.aws.destination.bucket import Bucket
from lamina.aws.destination.destination import Cancellation, Destination
from lamina.aws.destination.naming import Keys
from lamina.aws.prune.apply import (
    Guards,
    UnneededObjects,
    delete_objects,
    delete_versions,
    kept_digests,
    survey,
    survey_objects,
)
from lamina.aws.prune.plan import KeepVersion, RetentionRules, ServiceLayers
from lamina.aws.prune.present import NO_PROJECT
from lamina.aws.prune.service import PruneScope, delete_everywhere, plan_everywhere
from lamina.core.errors import StoppedError, UnreachableError
from lamina.core.reporter import Silent

if TYPE_CHECKING:
    from emulators import Emulator

NOW = dt.datetime(2026, 11, 23, tzinfo=dt.UTC)
ONE = RetentionRules(keep=1, keep_days=0)
NOTHING = Guards(project=NO_PROJECT)
NAME = "shop-common"
LAYER = f"arn:aws:lambda:eu-west-1:123456789012:layer:{NAME}"
KEYS = Keys("lamina/")


def digest(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def account(*numbers: int) -> Cloud:
    cloud = Cloud()
    publication = Publication(name=NAME, description="", code=Zip(content=b""), runtimes=(), architectures=())
    cloud.versions[NAME] = [
        Version(number=each, description=f"lamina:{digest(each)}", content=b"x" * each, publication=publication)
        for each in numbers
    ]
    return cloud


def test_deletes() -> None:
    """Unused versions are deleted, and their sizes are read before; used, newest and shared versions are kept."""
    cloud = account(1, 2, 3, 4)
    cloud.attachments = [Attachment(function="f:7", layers=("arn:other:1", f"{LAYER}:2"))]
    cloud.versions[NAME][2].grants["lamina-o-abc"] = Grant(principal="o-abcdefghij")
    inventory = cloud.connect().inventory
    found = survey(inventory, [NAME], ONE, guards=NOTHING, now=NOW)
    pruned = delete_versions(inventory, found)

    assert [1] == [each.number for each in pruned.deletions]
    assert {f"{LAYER}:1": CodeSize(zipped_bytes=1, unzipped_bytes=None)} == found.sizes
    assert [2, 3, 4] == [each.number for each in cloud.live(NAME)]
    assert "shared with other accounts, whose functions are not visible from this account" == found.actions[1].reason


def test_layers_that_the_service_no_longer_publishes() -> None:
    """Of layers whose newest version names the service, and whose name the configuration could give, no version is kept for being new."""
    cloud = account(1)
    publication = cloud.versions[NAME][0].publication
    ours = f"lamina:{digest(9)} python3.13 on arm64 for shop: alpha 1"
    for number, (name, description) in enumerate(
        [
            ("shop-old", ours),
            ("shop-used", ours),
            ("test-old", ours),
            ("shop-orders-common", ours.replace("for shop", "for shop-orders")),
            ("shop-hand", "by hand"),
        ],
        2,
    ):
        cloud.versions[name] = [Version(number=number, description=description, content=b"", publication=publication)]
    cloud.attachments = [Attachment(function="f:7", layers=(f"{LAYER.replace(NAME, 'shop-used')}:3",))]
    service = ServiceLayers(service="shop", template="{service}-{layer}", published=frozenset({NAME}))
    found = survey(cloud.connect().inventory, service.published, ONE, service=service, guards=NOTHING, now=NOW)

    assert [
        (NAME, "among the newest 1 version"),
        ("shop-old", "not used by any version of any function"),
        ("shop-used", "used by a function"),
    ] == [(each.version.name, each.reason) for each in found.actions]
    assert ["shop-old"] == [each.name for each in found.deletions]


def test_came_into_use() -> None:
    """A version that by the time of the deletion is in use or shared, or that a stack may roll back to, is not deleted."""
    cloud = account(1, 2, 3)
    inventory = cloud.connect().inventory
    found = survey(inventory, [NAME], ONE, guards=NOTHING, now=NOW)
    cloud.attachments = [Attachment(function="f:$LATEST", layers=(f"{LAYER}:1",))]
    cloud.versions[NAME][1].grants["lamina-o-abc"] = Grant(principal="o-abcdefghij")
    first = delete_versions(inventory, found)
    cloud.versions[NAME][1].grants.clear()
    cloud.stacks = [StackLayers(name="shop", layers=frozenset({LAYER}))]
    second = delete_versions(inventory, found)
    cloud.stacks = []
    third = delete_versions(inventory, found)

    shared = "shared with other accounts, whose functions are not visible from this account"
    assert [shared, "used by a function"] == [each.reason for each in first.actions[1:]]
    assert () == first.deletions == second.deletions
    assert [2] == [each.number for each in third.deletions]
    assert [1, 3] == [each.number for each in cloud.live(NAME)]


def test_survey_only_reads() -> None:
    """Planning calls only read operations."""
    cloud = account(1, 2)
    fake = cloud.connect()
    survey(fake.inventory, None, ONE, guards=NOTHING, now=NOW)

    assert {"ListLayerVersions", "ListFunctions", "DescribeStacks", "GetLayerVersion", "GetLayerVersionPolicy"} == set(
        fake.calls
    )


class Hints(Silent):
    """A reporter that collects the hints of warnings."""

    def __init__(self) -> None:
        self.hints: list[str] = []

    def warn(self, message: str, *, hint: str | None = None) -> None:
        self.hints.append(f"{message} {hint}")


def test_interrupted() -> None:
    """A requested stop ends the survey between two calls."""
    cloud, stop = account(1, 2, 3), Cancellation()
    cloud.versions["stall-common"] = []
    fake = cloud.connect(after=lambda _: stop.request())
    with pytest.raises(StoppedError):
        survey(fake.inventory, None, ONE, guards=NOTHING, now=NOW, stop=stop)

    assert ["ListLayerVersions"] == fake.calls


def test_an_interrupted_deletion_continues_when_it_is_run_again() -> None:
    """A failure and a stop say how much was deleted; the next run deletes the rest, and one after that finds nothing."""
    cloud, reporter, stop = account(1, 2, 3, 4, 5, 6), Hints(), Cancellation()
    deletions = Counter[str]()

    def fail(operation: str) -> None:
        deletions[operation] += 1
        if deletions["DeleteLayerVersion"] == 3:
            raise UnreachableError("no connection")

    def request_stop(operation: str) -> None:
        if operation == "DeleteLayerVersion":
            stop.request()

    failing, stopping, third = cloud.connect(before=fail), cloud.connect(after=request_stop), cloud.connect()
    with pytest.raises(UnreachableError):
        delete_versions(
            failing.inventory, survey(failing.inventory, None, ONE, guards=NOTHING, now=NOW), reporter=reporter
        )
    left = [[each.number for each in cloud.live(NAME)]]
    with pytest.raises(StoppedError):
        delete_versions(
            stopping.inventory,
            survey(stopping.inventory, None, ONE, guards=NOTHING, now=NOW),
            stop=stop,
            reporter=reporter,
        )
    left.append([each.number for each in cloud.live(NAME)])
    for _ in range(2):
        found = survey(third.inventory, None, ONE, guards=NOTHING, now=NOW)
        left.append([each.number for each in delete_versions(third.inventory, found, reporter=reporter).deletions])

    assert [[1, 2, 3, 6], [1, 2, 6], [2, 1], []] == left
    again = "run the command again to delete the rest"
    assert [
        f"deleted 2 of 5 layer versions, the last `{LAYER}:4` {again}",
        f"deleted 1 of 3 layer versions, the last `{LAYER}:3` {again}",
    ] == reporter.hints


def test_a_failure_in_one_account_stops_no_other() -> None:
    """The versions of other accounts are deleted, and the error names the account that failed."""

    def refuse(operation: str) -> None:
        if operation == "DeleteLayerVersion":
            raise UnreachableError("no connection")

    clouds = account(1, 2), account(1, 2), account(1, 2)
    places = [
        Destination(cloud.connect(before=before), bucket=None, prefix="")
        for cloud, before in zip(clouds, (refuse, None, refuse), strict=True)
    ]
    scope = PruneScope(names=frozenset({NAME}), project=NO_PROJECT, parameters=None)
    found = plan_everywhere(places, scope, ONE)
    done = delete_everywhere(found)

    assert [[1, 2], [2], [1, 2]] == [[each.number for each in cloud.live(NAME)] for cloud in clouds]
    assert "2 of 3 destinations failed" == str(done.error).splitlines()[0]
    assert [[], [1], []] == [[each.number for each in place.deletions] for place in done.surveys.values()]
    document = json.loads(json.dumps(done.document(applied=True)))
    assert ["failed", "pruned", "failed"] == [place["outcome"] for place in document["places"]]
    assert ["keep", "keep", "keep", "delete", "keep", "keep"] == [row["action"] for row in document["layers"]]


def test_versions_deleted_before_an_error_are_reported() -> None:
    """If a deletion fails, the report has the versions that were deleted before it, and keeps the rest."""
    asked: list[str] = []

    def refuse(operation: str) -> None:
        asked.append(operation)
        if asked.count("DeleteLayerVersion") == 2:
            raise UnreachableError("no connection")

    cloud = account(1, 2, 3)
    scope = PruneScope(names=frozenset({NAME}), project=NO_PROJECT, parameters=None)
    done = delete_everywhere(
        plan_everywhere([Destination(cloud.connect(before=refuse), bucket=None, prefix="")], scope, ONE)
    )

    assert "no connection" == str(done.error)
    assert [each.number for found in done.surveys.values() for each in found.deletions] == [2]
    assert [1, 3] == [each.number for each in cloud.live(NAME)]


def test_a_version_that_a_parameter_names_meanwhile_stays() -> None:
    """Parameters are read again before the deletion."""
    cloud = account(1, 2, 3)
    fake = cloud.connect()
    guards = Guards(project=NO_PROJECT, parameters=fake.parameters, path="/layers")
    found = survey(fake.inventory, None, ONE, guards=guards, now=NOW)
    cloud.parameters["/layers/common"] = f"{LAYER}:1"
    done = delete_versions(fake.inventory, found)

    assert ([2, 1], [2]) == ([each.number for each in found.deletions], [each.number for each in done.deletions])
    assert "named by parameter `/layers/common`" == done.actions[-1].reason


def test_sizes_of_many_versions_are_read_on_request() -> None:
    """Up to 100 versions to delete are examined; more only on request, and then shared versions are not planned for deletion."""
    cloud = account(*range(1, 103))
    cloud.versions[NAME][6].grants["lamina-o-abc"] = Grant(principal="o-abcdefghij")
    inventory = cloud.connect().inventory
    many = survey(inventory, None, ONE, guards=NOTHING, now=NOW)
    wanted = survey(inventory, None, ONE, guards=NOTHING, examines_all=True, now=NOW)
    few = survey(inventory, None, RetentionRules(keep=2, keep_days=0), guards=NOTHING, now=NOW)

    assert [(101, 0, False), (100, 100, True), (99, 99, True)] == [
        (len(each.deletions), len(each.sizes), each.is_examined) for each in (many, wanted, few)
    ]
    checked = "not used by any version of any function; whether it is shared with other accounts is checked before it is deleted"
    assert checked == many.actions[-1].reason
    done = delete_versions(inventory, many)
    assert (100, "not used by any version of any function") == (len(done.deletions), done.actions[-1].reason)
    assert [7, 102] == [each.number for each in cloud.live(NAME)]


def test_objects_of_kept_layers_stay() -> None:
    """Objects that a layer of the account needs are kept; other objects are deleted once they are a day old."""
    cloud = account(1, 2)
    part, other = "a" * 64, "b" * 64
    record = {
        "version": "1", "digest": digest(2), "sha256": "0" * 64, "zipped_bytes": 2, "platform": "",
        "distributions": [], "parts": [part],
    }  # fmt: skip
    fake = cloud.connect()
    objects = fake.bucket("artifacts")
    bucket = Bucket(objects=objects, keys=KEYS)
    for key, content in {
        KEYS.part(part): b"needed",
        KEYS.part(other): b"not needed",
        KEYS.record(digest(2)): json.dumps(record).encode(),
        KEYS.layer(digest(1)): b"gone",
    }.items():
        objects.put(key, content, sha256=hashlib.sha256(content).hexdigest())
    found = survey(fake.inventory, [NAME], ONE, guards=NOTHING, now=NOW)
    kept = kept_digests(fake.inventory, found.deletions)
    early = survey_objects(bucket, kept, keep_layers=False)
    cloud.pass_time(86_401)
    freed = delete_objects(survey_objects(bucket, kept, keep_layers=False))

    assert UnneededObjects(bucket=bucket, objects=(), uploads=()) == early
    assert len(b"not needed") + len(b"gone") == freed
    assert sorted([KEYS.part(part), KEYS.record(digest(2))]) == cloud.stored_keys()


@pytest.fixture
def layer() -> str:
    return f"t{uuid.uuid4().hex[:12]}"


def test_pages(ministack: Emulator, layer: str) -> None:
    """Layer versions and functions on all pages are read, and a layer of a published function version is in use."""
    client = ministack.client("lambda")
    content = code("x")
    for number in range(55):
        client.publish_layer_version(
            LayerName=layer, Description=f"lamina:{digest(number)}", Content={"ZipFile": content}
        )
    arn = client.list_layer_versions(LayerName=layer, MaxItems=1)["LayerVersions"][0]["LayerVersionArn"].rpartition(
        ":"
    )[0]
    for number in range(3):
        client.create_function(
            FunctionName=f"{layer}-{number}",
            Role="arn:aws:iam::000000000000:role/r",
            Runtime="python3.13",
            Handler="app.handler",
            Code={"ZipFile": content},
            Layers=[f"{arn}:7"],
        )
        client.get_waiter("function_active_v2").wait(FunctionName=f"{layer}-{number}", WaiterConfig={"Delay": 1})
    client.publish_version(FunctionName=f"{layer}-0")
    for number in range(3):
        client.update_function_configuration(FunctionName=f"{layer}-{number}", Layers=[f"{arn}:8"])
    inventory = Access(region=ministack.region).connect().inventory
    found = survey(inventory, [layer], ONE, guards=NOTHING, now=dt.datetime(2030, 1, 1, tzinfo=dt.UTC))
    delete_versions(inventory, found)
    left = sorted(row["Version"] for row in client.list_layer_versions(LayerName=layer)["LayerVersions"])

    assert [7, 8, 55] == left
    assert 52 == len(found.deletions)


def test_list_without_versions() -> None:
    """If the list of functions contains no function twice, each function's versions are listed, because some servers omit them."""
    client = boto3.client("lambda", region_name="eu-west-1", aws_access_key_id="x", aws_secret_access_key="x")
    call = Caller(client)

    def row(version: str, layer: int) -> dict[str, Any]:
        arns = [{"Arn": f"{LAYER}:{layer}"}]
        return {"FunctionName": "f", "FunctionArn": f"f:{version}", "Version": version, "Layers": arns}

    with Stubber(client) as stubber:
        latest = row("$LATEST", 2) | {"FunctionArn": "f"}
        stubber.add_response("list_functions", {"Functions": [latest]}, {"FunctionVersion": "ALL"})
        stubber.add_response(
            "list_versions_by_function", {"Versions": [row("1", 1), row("2", 2)]}, {"FunctionName": "f"}
        )
        found = [each.layers for each in AwsInventory(call, call).attachments()]

    assert [(f"{LAYER}:2",), (f"{LAYER}:1",), (f"{LAYER}:2",)] == found


def test_functions_without_versions() -> None:
    """An account in which no function has a published version is listed once: the ARNs show that versions were asked for."""
    calls: list[str] = []

    def call(operation: str, **_: Any) -> dict[str, Any]:
        calls.append(operation)
        names = [f"f{number}" for number in range(50)]
        rows = [{"FunctionName": each, "FunctionArn": f"{each}:$LATEST", "Version": "$LATEST"} for each in names]
        return {"Functions": rows, "Versions": rows[:1]}

    assert [] == list(AwsInventory(call, call).attachments())
    assert ["ListFunctions"] == calls


def test_stacks(moto: Emulator, layer: str) -> None:
    """The layer versions in a settled stack's parameters and outputs stay, and only those: its template is not read."""
    client = moto.client("cloudformation")
    template = {
        "Parameters": {"Layer": {"Type": "String"}},
        "Resources": {"Topic": {"Type": "AWS::SNS::Topic"}},
        "Outputs": {"Layer": {"Value": f"{LAYER}:3"}},
        "Metadata": {"Layer": f"{LAYER}:1"},
    }
    given = [{"ParameterKey": "Layer", "ParameterValue": f"{LAYER}:2"}]
    client.create_stack(StackName=layer, TemplateBody=json.dumps(template), Parameters=given)
    inventory = Access(region=moto.region).connect().inventory

    versions = frozenset({f"{LAYER}:2", f"{LAYER}:3"})
    assert [StackLayers(name=layer, versions=versions)] == [each for each in inventory.stacks() if each.name == layer]
    assert frozenset({LAYER}) == inventory._unsettled(layer, "").layers


def test_a_version_that_a_stack_names_stays() -> None:
    """A version in a parameter or an output of a stack is kept, even if no function has it at the moment."""
    cloud = account(1, 2, 3)
    cloud.stacks = [StackLayers(name="shop", versions=frozenset({f"{LAYER}:1"}))]
    found = survey(cloud.connect().inventory, [NAME], ONE, guards=NOTHING, now=NOW)

    assert ([2], "named by stack `shop`") == ([each.number for each in found.deletions], found.actions[-1].reason)


@pytest.mark.parametrize(("values", "deleted"), [(1, [4, 3, 1]), (2, [3, 1]), (5, [])])
def test_an_earlier_value_of_a_parameter_stays(values: int, deleted: list[int]) -> None:
    """The newest values of a parameter stay, because a rollback may set the parameter to one of them again."""
    cloud = account(1, 2, 3, 4, 5)
    fake = cloud.connect()
    for number in (1, 3, 4, 2):
        fake.parameters.put("/layers/common", f"{LAYER}:{number}")
    guards = Guards(project=NO_PROJECT, parameters=fake.parameters, path="/layers", values=values)
    found = survey(fake.inventory, [NAME], ONE, guards=guards, now=NOW)
    kept = {action.version.number: action.reason for action in found.actions if isinstance(action, KeepVersion)}

    assert deleted == [each.number for each in found.deletions]
    assert "named by parameter `/layers/common`" == kept[2]
    assert {"named by an earlier value of parameter `/layers/common`"} >= {
        kept[each] for each in {1, 3, 4} & kept.keys()
    }


def test_values_of_parameters(ministack: Emulator, layer: str) -> None:
    """The history of a parameter is read only if it has one and names a layer version; a value with a label stays whatever its age."""
    client = ministack.client("ssm")
    for name, values in {"a": [1, 2, 3, 4], "b": [4]}.items():
        for number in values:
            client.put_parameter(Name=f"/{layer}/{name}", Value=f"{LAYER}:{number}", Type="String", Overwrite=True)
    for value in ("x", "y"):
        client.put_parameter(Name=f"/{layer}/other", Value=value, Type="String", Overwrite=True)
    client.label_parameter_version(Name=f"/{layer}/a", ParameterVersion=1, Labels=["production"])
    asked: list[str] = []

    def call(operation: str, **parameters: Any) -> dict[str, Any] | None:
        asked.append(f"{operation} {parameters.get('Name', '')}".strip())
        return Caller(client)(operation, **parameters)

    guards = Guards(project=NO_PROJECT, parameters=StoredParameters(call), path=f"/{layer}", values=2)

    earlier = f"an earlier value of parameter `/{layer}/a`"
    assert {f"{LAYER}:4", f"{LAYER}:3", f"{LAYER}:1"} == guards.named(Cancellation()).keys()
    assert earlier == guards.named(Cancellation())[f"{LAYER}:1"]
    assert ["GetParametersByPath", f"GetParameterHistory /{layer}/a"] == asked[:2]
    assert [] == list(StoredParameters(call).history(f"/{layer}/none"))


ROLLBACK: dict[str, dict[str, Any]] = {
    "DescribeStacks": {"Stacks": [{"StackName": "shop", "StackStatus": "UPDATE_ROLLBACK_IN_PROGRESS"}]},
    "GetTemplate": {"TemplateBody": {"Layers": ["{{resolve:ssm:/layers/common}}"]}},
    "ListStackResources": {
        "StackResourceSummaries": [
            {"ResourceType": "AWS::Lambda::Function", "PhysicalResourceId": "shop-hello"},
            {"ResourceType": "AWS::SQS::Queue"},
        ]
    },
    "ListFunctions": {
        "Functions": [
            {
                "FunctionName": "shop-hello",
                "FunctionArn": "arn:aws:lambda:eu-west-1:123456789012:function:shop-hello:$LATEST",
                "Layers": [{"Arn": f"{LAYER}:3"}],
            }
        ]
    },
    "ListVersionsByFunction": {"Versions": []},
    "ListLayerVersions": {
        "LayerVersions": [
            {
                "Version": number,
                "LayerVersionArn": f"{LAYER}:{number}",
                "Description": f"lamina:{digest(number)}",
                "CreatedDate": "2026-01-01T00:00:00.000+0000",
            }
            for number in (1, 2, 3)
        ]
    },
}


class Rollback:
    """A fake `Caller` for an account with a stack in rollback; the stack's template refers to its layer by a parameter."""

    def __call__(self, operation: str, **_: Any) -> dict[str, Any]:
        return ROLLBACK[operation]


def test_stack_without_the_names_of_its_layers() -> None:
    """If a stack's template does not name its layers, all versions of the layers that the stack's functions use are kept."""
    inventory = AwsInventory(Rollback(), Rollback())
    found = survey(inventory, [NAME], ONE, guards=NOTHING, now=NOW)

    guarded = "a CloudFormation stack may still roll back to it"
    assert ["used by a function", guarded, guarded] == [action.reason for action in found.actions]


def test_large_account() -> None:
    """The plan for a large account takes fewer than 1,000 calls and little memory, and the deletion two for each version."""
    caller = LargeAccount()
    inventory = AwsInventory(caller, caller)
    tracemalloc.start()
    try:
        found = survey(inventory, None, ONE, guards=caller.guards(values=5), now=NOW)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    planned = dict(caller.calls)
    # Four versions of a layer are in use, one is in a parameter, and two more are among its last five values.
    unused = caller.LAYERS * (caller.VERSIONS - 7)

    assert {
        "ListLayers": 1, "ListLayerVersions": 80, "ListFunctions": 620, "DescribeStacks": 5,
        "GetParametersByPath": 4, "GetParameterHistory": 80,
    } == planned  # fmt: skip
    assert sum(planned.values()) <= 1000
    assert (unused, False, {}) == (len(found.deletions), found.is_examined, found.sizes)
    assert peak < 8_000_000
    caller.calls.clear()
    deleted = delete_versions(inventory, found).deletions
    assert (unused - 1, unused, unused - 1) == (
        len(deleted), caller.calls["GetLayerVersionPolicy"], caller.calls["DeleteLayerVersion"],
    )  # fmt: skip
    assert 0 == caller.calls["GetLayerVersion"]


def test_a_damaged_record_is_named_with_the_command_that_deletes_it() -> None:
    """Until then all parts are kept, because the record may name them; without it they are deleted."""
    cloud, part = account(1), "a" * 64
    fake = cloud.connect()
    bucket = Bucket(objects=fake.bucket("artifacts"), keys=KEYS)
    for key, content in {KEYS.part(part): b"part", KEYS.record(digest(1)): b"damaged"}.items():
        bucket.objects.put(key, content, sha256=hashlib.sha256(content).hexdigest())
    cloud.pass_time(86_401)
    reporter = Hints()
    found = survey_objects(bucket, [digest(1)], keep_layers=False, reporter=reporter)

    assert ((), True) == (found.objects, f"`aws s3 rm {bucket.url(KEYS.record(digest(1)))}`" in reporter.hints[0])
    bucket.objects.delete(KEYS.record(digest(1)))
    assert [KEYS.part(part)] == [each.key for each in survey_objects(bucket, [digest(1)], keep_layers=False).objects]
