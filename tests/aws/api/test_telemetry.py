"""Reading cold starts from X-Ray, CloudWatch Logs and Lambda."""

from __future__ import annotations

import datetime as dt
import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from lamina.aws.api.errors import Caller
from lamina.aws.api.telemetry import DeployedFunction, DeployedFunctions, LoggedLine, Logs, XRay, cold_starts
from lamina.core.errors import AwsError

if TYPE_CHECKING:
    from emulators import Emulator

_START = 1_795_412_608.0


def _segment(**changes: Any) -> dict[str, Any]:
    """Return a function's X-Ray segment with a cold start, in the format of X-Ray's documentation."""
    return {
        "id": "5c0b1b1c2d3e4f50",
        "name": "orders",
        "start_time": _START,
        "end_time": _START + 0.5,
        "trace_id": "1-6b035f00-0123456789abcdef01234567",
        "parent_id": "47e0a5a1b2c3d4e5",
        "origin": "AWS::Lambda::Function",
        "aws": {"account_id": "123456789012", "function_arn": "arn:aws:lambda:eu-west-1:123456789012:function:orders"},
        "subsegments": [
            {"id": "1a", "name": "Initialization", "start_time": _START - 0.25, "end_time": _START},
            {"id": "1b", "name": "Invocation", "start_time": _START, "end_time": _START + 0.4},
            {"id": "1c", "name": "Overhead", "start_time": _START + 0.4, "end_time": _START + 0.5},
        ],
    } | changes


@dataclass
class FakeCaller:
    """Returns prepared responses in order, and records the requests."""

    answers: list[tuple[str, dict[str, Any] | None]]
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def __call__(self, operation: str, *, doing: str, expected: frozenset[str] = frozenset(), **parameters: Any) -> Any:
        name, answer = self.answers.pop(0)
        assert name == operation
        self.asked.append((operation, parameters))
        return answer


def _fake(*answers: tuple[str, dict[str, Any] | None]) -> Any:
    # The code under test only calls this object, so the type does not matter.
    return FakeCaller(list(answers))


def test_initialisation() -> None:
    """A cold start lasts as long as its subsegment. The service's segment and other functions' segments are ignored."""
    service = _segment(origin="AWS::Lambda", start_time=_START - 0.3)
    other = _segment(name="payments")
    documents = [json.dumps(each) for each in (service, other, _segment())]
    began = dt.datetime.fromtimestamp(_START - 0.25, dt.UTC)

    [found] = cold_starts("1-a", documents, "orders")
    assert ("1-a", "init", began) == (found.trace_id, found.kind, found.began)
    assert found.milliseconds == pytest.approx(250.0)


def test_initialised_in_advance() -> None:
    """An environment that was initialised before Lambda received the request, as with provisioned concurrency, is no cold start."""
    hours_ago = {"id": "1a", "name": "Initialization", "start_time": _START - 7200, "end_time": _START - 0.01}
    documents = [
        json.dumps(each)
        for each in (
            _segment(origin="AWS::Lambda", start_time=_START - 0.3),
            _segment(subsegments=[hours_ago]),
        )
    ]

    assert () == cold_starts("1-a", documents, "orders")
    assert 1 == len(cold_starts("1-a", [documents[0], json.dumps(_segment())], "orders"))


def test_restore_and_unfinished() -> None:
    """A restore from a snapshot counts as a cold start, and an unfinished initialisation does not."""
    restore = {"id": "1a", "name": "Restore", "start_time": _START, "end_time": _START + 0.125}
    going = {"id": "1b", "name": "Initialization", "start_time": _START, "in_progress": True}

    [found] = cold_starts("1-a", [json.dumps(_segment(subsegments=[restore, going]))], "orders")
    assert ("restore", 125.0) == (found.kind, round(found.milliseconds, 3))


@pytest.mark.parametrize(
    "document", ["{", "[]", '{"origin": "AWS::Lambda::Function", "name": "orders", "subsegments": [1]}']
)
def test_no_segment(document: str) -> None:
    """An invalid segment document causes an error that names the trace."""
    with pytest.raises(AwsError) as raised:
        cold_starts("1-a", [document], "orders")

    assert "X-Ray trace `1-a` contains an invalid segment document" == str(raised.value)


def test_windows_and_batches() -> None:
    """A long period is queried in windows, and each trace is read once, in batches of five."""
    ids = [f"1-{number}" for number in range(6)]
    trace = {"Id": "1-0", "Segments": [{"Id": "s", "Document": json.dumps(_segment())}]}
    call = _fake(
        ("GetTraceSummaries", {"TraceSummaries": [{"Id": each} for each in ids[:4]], "NextToken": "more"}),
        ("GetTraceSummaries", {"TraceSummaries": [{"Id": each} for each in ids[4:]]}),
        ("GetTraceSummaries", {"TraceSummaries": [{"Id": ids[0]}]}),
        ("BatchGetTraces", {"Traces": [trace]}),
        ("BatchGetTraces", {"Traces": []}),
    )
    begin = dt.datetime(2026, 11, 23, tzinfo=dt.UTC)
    found = XRay(call).cold_starts("orders", begin, begin + dt.timedelta(hours=9))

    assert 1 == len(found)
    windows = [
        (asked["StartTime"].hour, asked["EndTime"].hour) for name, asked in call.asked if name == "GetTraceSummaries"
    ]
    assert [(0, 6), (0, 6), (6, 9)] == windows
    assert [ids[:5], ids[5:]] == [asked["TraceIds"] for name, asked in call.asked if name == "BatchGetTraces"]


def test_emulated_xray(moto: Emulator) -> None:
    """A trace sent to X-Ray is found by the function's name and the time."""
    client = moto.client("xray")
    now = dt.datetime.now(dt.UTC)
    start = now.timestamp() - 60
    trace_id = f"1-{int(start):08x}-0123456789abcdef01234567"
    part = {"id": "1a2b3c4d5e6f7081", "name": "Initialization", "start_time": start, "end_time": start + 0.25}
    segment = _segment(start_time=start, end_time=start + 1, trace_id=trace_id, subsegments=[part])
    assert [] == client.put_trace_segments(TraceSegmentDocuments=[json.dumps(segment)])["UnprocessedTraceSegments"]
    call = _without_filter(Caller(client))
    [found] = XRay(call).cold_starts("orders", now - dt.timedelta(hours=1), now)

    assert (trace_id, "init", 250) == (found.trace_id, found.kind, round(found.milliseconds))
    assert () == XRay(call).cold_starts("payments", now - dt.timedelta(hours=1), now)
    assert () == XRay(call).cold_starts("orders", now - dt.timedelta(hours=9), now - dt.timedelta(hours=8))


def _without_filter(call: Caller) -> Any:
    """Remove the filter expression, which moto rejects. moto then returns all traces, and lamina still filters by function."""

    def ask(operation: str, **parameters: Any) -> Any:
        parameters.pop("FilterExpression", None)
        return call(operation, **parameters)

    return ask


def _row(timestamp: str, message: str, stream: str) -> list[dict[str, str]]:
    return [
        {"field": "@timestamp", "value": timestamp},
        {"field": "@message", "value": message},
        {"field": "@logStream", "value": stream},
        {"field": "@ptr", "value": f"{timestamp} {message}"},
    ]


def test_logs() -> None:
    """The query is polled until it completes, and its rows have the time, the message and the function's version."""
    rows = [
        _row("2026-11-23 05:43:28.123", "REPORT a", "2026/11/23/[42]0123456789abcdef"),
        _row("2026-11-23 05:44:00.000", "REPORT b", "2026/11/23/orders[$LATEST]0123456789abcdef"),
        _row("2026-11-23 05:45:00.000", "REPORT c", "of-our-own"),
    ]
    call = _fake(
        ("StartQuery", {"queryId": "q"}),
        ("GetQueryResults", {"status": "Scheduled", "results": []}),
        ("GetQueryResults", {"status": "Running", "results": rows[:1]}),
        ("GetQueryResults", {"status": "Complete", "results": rows}),
    )
    slept: list[float] = []
    end = dt.datetime(2026, 11, 23, 6, tzinfo=dt.UTC)
    found = Logs(call, sleep=slept.append).cold_starts("/aws/lambda/orders", end - dt.timedelta(hours=1), end)

    moment = dt.datetime(2026, 11, 23, 5, 43, 28, 123_000, tzinfo=dt.UTC)
    assert LoggedLine(moment=moment, message="REPORT a", version="42") == found[0]
    assert ["42", "$LATEST", None] == [line.version for line in found]
    assert 2 == len(slept)
    asked = dict(call.asked)["StartQuery"]
    assert ("/aws/lambda/orders", 3600) == (asked["logGroupName"], asked["endTime"] - asked["startTime"])


def test_more_rows_than_a_query_returns() -> None:
    """If a query returns as many rows as it can, the rest is asked for, and no row counts twice."""
    begin = dt.datetime(2026, 11, 23, tzinfo=dt.UTC)
    moments = [begin + dt.timedelta(seconds=number / 10) for number in range(10_500)]
    rows = [
        [*_row(f"{moment:%Y-%m-%d %H:%M:%S.%f}"[:-3], "REPORT", "2026/11/23/[1]01")[:3], {"field": "@ptr", "value": str(number)}]
        for number, moment in enumerate(moments)
    ]  # fmt: skip
    call = _fake(
        ("StartQuery", {"queryId": "1"}),
        ("GetQueryResults", {"status": "Complete", "results": rows[:10_000]}),
        ("StartQuery", {"queryId": "2"}),
        # The second that was cut off is asked for again.
        ("GetQueryResults", {"status": "Complete", "results": rows[9_990:]}),
    )
    found = Logs(call).cold_starts("/aws/lambda/orders", begin, begin + dt.timedelta(hours=1))

    assert moments == [line.moment for line in found]
    assert int(begin.timestamp()) + 999 == call.asked[2][1]["startTime"]


def test_logs_that_functions_share() -> None:
    """In a log group that other functions write to as well, the query selects the streams of one function."""
    begin = dt.datetime(2026, 11, 23, tzinfo=dt.UTC)
    call = _fake(("StartQuery", None))
    Logs(call).cold_starts("/shop", begin, begin, function="orders-fn01")
    [pattern] = re.findall(r"@logStream like /(.+)/$", call.asked[0][1]["queryString"], re.MULTILINE)
    streams = re.compile(pattern.replace(r"\/", "/"))

    assert streams.search("2026/11/27/orders-fn01[1]0123456789abcdef")
    for other in ("billing-heavy[1]0123", "old-orders-fn01[1]0123", "orders-fn012[1]0123", "[1]0123"):
        assert not streams.search(f"2026/11/27/{other}")


def test_no_log_group() -> None:
    """A function without a log group has no cold starts."""
    begin = dt.datetime(2026, 11, 23, tzinfo=dt.UTC)

    assert () == Logs(_fake(("StartQuery", None))).cold_starts("/aws/lambda/orders", begin, begin)


def test_failed_query() -> None:
    """A failed query causes an error that states the query's status."""
    begin = dt.datetime(2026, 11, 23, tzinfo=dt.UTC)
    call = _fake(("StartQuery", {"queryId": "q"}), ("GetQueryResults", {"status": "Timeout", "results": []}))
    with pytest.raises(AwsError) as raised:
        Logs(call).cold_starts("/aws/lambda/orders", begin, begin)

    assert "cannot query the logs in `/aws/lambda/orders`: the query ended with status `Timeout`" == str(raised.value)


_CONFIGURATION = {
    "FunctionName": "orders",
    "Version": "7",
    "RevisionId": "r1",
    "Layers": [{"Arn": "arn:aws:lambda:eu-west-1:123456789012:layer:common:4", "CodeSize": 1}],
    "Environment": {"Variables": {"TABLE": "orders"}},
    "LastUpdateStatus": "Successful",
}


def test_function() -> None:
    """The configuration of a function includes its layers, its log group and its environment variables."""
    call = _fake(("GetFunctionConfiguration", _CONFIGURATION))
    expected = DeployedFunction(
        name="orders",
        version="7",
        revision="r1",
        layers=("arn:aws:lambda:eu-west-1:123456789012:layer:common:4",),
        log_group="/aws/lambda/orders",
        environment=(("TABLE", "orders"),),
    )

    assert expected == DeployedFunctions(call).get("orders", "7")
    assert ("GetFunctionConfiguration", {"FunctionName": "orders", "Qualifier": "7"}) == call.asked[0]
    assert "orders')" not in repr(expected)
    assert "TABLE" not in repr(expected)


def test_function_with_secrets() -> None:
    """An environment that Lambda cannot decrypt is not treated as empty, and a custom log group is used."""
    row = _CONFIGURATION | {
        "Environment": {"Error": {"ErrorCode": "AccessDeniedException", "Message": "no"}},
        "LoggingConfig": {"LogFormat": "JSON", "LogGroup": "/shop"},
    }
    found = DeployedFunctions(_fake(("GetFunctionConfiguration", row))).get("orders")

    assert found is not None
    assert (None, "/shop", True) == (found.environment, found.log_group, found.shares_log_group)
    assert DeployedFunctions(_fake(("GetFunctionConfiguration", None))).get("orders") is None


def test_aliases() -> None:
    """An alias may send traffic to two versions."""
    weighted = {"Name": "live", "FunctionVersion": "7", "RoutingConfig": {"AdditionalVersionWeights": {"8": 0.1}}}
    call = _fake(
        ("ListAliases", {"Aliases": [weighted], "NextMarker": "m"}),
        ("ListAliases", {"Aliases": [{"Name": "dev", "FunctionVersion": "$LATEST"}]}),
    )

    assert (("live", ("7", "8")), ("dev", ("$LATEST",))) == DeployedFunctions(call).aliases("orders")


def test_provisioned_concurrency() -> None:
    """The versions with provisioned concurrency are found also if it is configured for an alias."""
    arn = "arn:aws:lambda:eu-west-1:123456789012:function:orders"
    call = _fake(
        (
            "ListProvisionedConcurrencyConfigs",
            {"ProvisionedConcurrencyConfigs": [{"FunctionArn": f"{arn}:live"}, {"FunctionArn": f"{arn}:gone"}]},
        ),
        ("GetFunctionConfiguration", _CONFIGURATION),
        ("GetFunctionConfiguration", None),
    )

    assert ("7",) == DeployedFunctions(call).provisioned("orders")
    assert ["live", "gone"] == [parameters["Qualifier"] for _, parameters in call.asked[1:]]


@pytest.mark.parametrize(
    ("answer", "complete"),
    [
        ({"Destination": "CloudWatchLogs", "Status": "ACTIVE"}, False),
        ({"Destination": "XRay", "Status": "ACTIVE"}, True),
        ({}, True),
    ],
)
def test_transaction_search(answer: dict[str, str], complete: bool) -> None:
    """With Transaction Search, X-Ray itself no longer has all traces."""
    assert complete is XRay(_fake(("GetTraceSegmentDestination", answer))).is_complete()


def test_touch() -> None:
    """An update names the revision that it replaces, and lamina waits until it is applied."""
    call = _fake(
        ("UpdateFunctionConfiguration", {}),
        ("GetFunctionConfiguration", _CONFIGURATION | {"LastUpdateStatus": "InProgress"}),
        ("GetFunctionConfiguration", _CONFIGURATION | {"RevisionId": "r2"}),
    )
    slept: list[float] = []

    assert "r2" == DeployedFunctions(call, sleep=slept.append).touch("orders", {"A": "1"}, "r1")
    expected = {"FunctionName": "orders", "Environment": {"Variables": {"A": "1"}}, "RevisionId": "r1"}
    assert ("UpdateFunctionConfiguration", expected) == call.asked[0]
    assert 1 == len(slept)


def test_failed_touch() -> None:
    """A failed update causes an error that states Lambda's reason."""
    row = _CONFIGURATION | {"LastUpdateStatus": "Failed", "LastUpdateStatusReason": "Subnet is gone"}
    call = _fake(("UpdateFunctionConfiguration", {}), ("GetFunctionConfiguration", row))
    with pytest.raises(AwsError) as raised:
        DeployedFunctions(call).touch("orders", {}, "r1")

    assert "updating function `orders` failed: Subnet is gone" == str(raised.value)


def test_invoke() -> None:
    """An invocation is sent to the unpublished version, and the end of its log is decoded."""
    call = _fake(("Invoke", {"LogResult": "UkVQT1JUIGE=", "FunctionError": "Unhandled", "StatusCode": 200}))
    found = DeployedFunctions(call).invoke("orders", b"{}")

    assert ("REPORT a", "Unhandled") == (found.log, found.error)
    assert ("Tail", "$LATEST") == (call.asked[0][1]["LogType"], call.asked[0][1]["Qualifier"])
