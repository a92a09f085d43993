"""
Read cold starts of deployed functions from X-Ray and CloudWatch Logs, and the functions themselves from Lambda.

Everything here only reads, except `DeployedFunctions.touch` and `DeployedFunctions.invoke`.
"""

from __future__ import annotations

import base64
import datetime as dt
import json
import re
import time
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from lamina.aws.api.errors import pages, parsing
from lamina.core.errors import AwsError
from lamina.core.toml import read_data

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from lamina.aws.api.errors import Call

_MISSING = frozenset({"missing"})
_POLL_SECONDS = 1.0
_ATTEMPTS = 300
# Selects the log lines that report an initialisation, in text and in JSON log format.
_QUERY = """fields @timestamp, @message, @logStream
| filter @type = "REPORT" or type = "platform.report"
| filter @message like /Init Duration|Restore Duration|initDurationMs|restoreDurationMs/
| sort @timestamp asc"""
# In a log group of its own, the names of a function's streams have no function name.
# https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-loggroups.html (read 2026-11-27)
_OF_FUNCTION = r"""
| filter @logStream like /^[0-9]{4}\/[0-9]{2}\/[0-9]{2}\/%s\[/"""
_STREAM_VERSION = re.compile(r"\[([^\]]+)\]")


@dataclass(frozen=True, kw_only=True, slots=True)
class ColdStart:
    """One initialisation or snapshot restore of a function, recorded by X-Ray."""

    trace_id: str
    kind: str
    """``init`` for an initialisation, ``restore`` for a restore from a SnapStart snapshot."""
    began: dt.datetime
    milliseconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class LoggedLine:
    """One line of a function's log."""

    moment: dt.datetime
    message: str
    version: str | None
    """The function's version, taken from the log stream's name; ``None`` if the name has none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DeployedFunction:
    """One version of a function that is deployed in Lambda."""

    name: str
    version: str
    revision: str
    layers: tuple[str, ...]
    """The ARNs of the layer versions, in the order in which Lambda extracts them."""
    log_group: str
    """The function's log group. Other functions may use it too, unless it is the default one."""
    environment: tuple[tuple[str, str], ...] | None
    """The environment variables; ``None`` if Lambda denied access to them."""

    @property
    def shares_log_group(self) -> bool:
        """Whether other functions may write to the function's log group."""
        return self.log_group != _default_log_group(self.name)

    def __repr__(self) -> str:
        """Omit the environment, because it may contain secrets."""
        return f"Deployed({self.name!r}, {self.version!r})"


@dataclass(frozen=True, kw_only=True, slots=True)
class Invoked:
    """The result of one invocation."""

    log: str
    """The end of the invocation's log, at most 4 KB."""
    error: str | None
    """``Handled`` or ``Unhandled`` if the function failed, else ``None``."""


def _default_log_group(function: str) -> str:
    return f"/aws/lambda/{function}"


class XRay:
    """The X-Ray traces of one account in one region."""

    def __init__(self, call: Call) -> None:
        """Send requests through *call*, which must be for the service ``xray``."""
        self._call = call

    def cold_starts(self, function: str, begin: dt.datetime, end: dt.datetime) -> tuple[ColdStart, ...]:
        """Return the cold starts of *function* between *begin* and *end*, sorted by time. X-Ray records only sampled requests."""
        ids = sorted({each for first, last in _windows(begin, end) for each in self._ids(function, first, last)})
        size = int(_limit("traces_in_a_batch"))
        batches = (ids[position : position + size] for position in range(0, len(ids), size))
        found = (each for batch in batches for each in self._of(function, batch))
        return tuple(sorted(found, key=lambda each: (each.began, each.trace_id)))

    def is_complete(self) -> bool:
        """
        Return whether X-Ray itself keeps the account's traces.

        With CloudWatch Transaction Search, spans go to CloudWatch Logs instead, and X-Ray finds only the few that are indexed.
        """
        found = self._call("GetTraceSegmentDestination", doing="read where the account's traces are kept") or {}
        return bool(found.get("Destination", "XRay") == "XRay")

    def _ids(self, function: str, begin: dt.datetime, end: dt.datetime) -> Iterator[str]:
        expression = f'service(id(name: "{function}", type: "AWS::Lambda::Function"))'
        asked: dict[str, Any] = {"StartTime": begin, "EndTime": end, "FilterExpression": expression}
        found = pages(self._call, "GetTraceSummaries", doing=f"list the traces of `{function}`", **asked)
        return (row["Id"] for page in found for row in page.get("TraceSummaries", ()))

    def _of(self, function: str, ids: Sequence[str]) -> Iterator[ColdStart]:
        doing = f"read traces of `{function}`"
        for page in pages(self._call, "BatchGetTraces", doing=doing, TraceIds=list(ids)):
            for trace in page.get("Traces", ()):
                documents = [segment["Document"] for segment in trace["Segments"]]
                yield from cold_starts(trace["Id"], documents, function)


def cold_starts(trace_id: str, documents: Sequence[str], function: str) -> tuple[ColdStart, ...]:
    """
    Return the cold starts of *function* in the segment *documents* (JSON) of one trace.

    An initialisation that began before Lambda received the trace's request is not one: the environment was initialised in advance, such
    as for provisioned concurrency, and X-Ray counts the time until the request (Lambda developer guide, "Visualize Lambda function
    invocations using AWS X-Ray", read 2026-11-27).

    Raises `AwsError` if a document is not a valid X-Ray segment.
    """
    kinds = {name: row["kind"] for row in _facts()["subsegment"] for name in row["names"]}
    found: list[ColdStart] = []
    received: list[float] = []
    for text in documents:
        try:
            segment: dict[str, Any] = json.loads(text)
            if segment.get("name") != function:
                continue
            if segment.get("origin") == "AWS::Lambda":
                received.append(float(segment["start_time"]))
            if segment.get("origin") != "AWS::Lambda::Function":
                continue
            found += [
                ColdStart(
                    trace_id=trace_id,
                    kind=kinds[part["name"]],
                    began=dt.datetime.fromtimestamp(part["start_time"], dt.UTC),
                    milliseconds=(part["end_time"] - part["start_time"]) * 1000,
                )
                for part in segment.get("subsegments", ())
                # A subsegment that is still in progress has no end time.
                if part["name"] in kinds and "end_time" in part
            ]
        except (ArithmeticError, AttributeError, KeyError, OSError, RecursionError, TypeError, ValueError) as error:
            raise AwsError(f"X-Ray trace `{trace_id}` contains an invalid segment document") from error
    if not received:
        return tuple(found)
    return tuple(each for each in found if each.began.timestamp() >= min(received))


class Logs:
    """The CloudWatch logs of one account in one region."""

    def __init__(self, call: Call, *, sleep: Callable[[float], None] = time.sleep) -> None:
        """Send requests through *call*, which must be for the service ``logs``. Wait for query results with *sleep*."""
        self._call = call
        self._sleep = sleep

    def cold_starts(
        self, group: str, begin: dt.datetime, end: dt.datetime, *, function: str | None = None
    ) -> tuple[LoggedLine, ...]:
        """
        Return the lines of the log *group* that report cold starts between *begin* and *end*: those of *function*, if it is given.

        The lines are sorted by time. Return no lines if the group does not exist. Raises `AwsError` if a query fails, or does not finish
        within 5 minutes.
        """
        query = _QUERY + ("" if function is None else _OF_FUNCTION % re.escape(function))
        most = int(_limit("query_rows"))
        found: dict[str, LoggedLine] = {}
        first, last = int(begin.timestamp()), int(end.timestamp())
        while True:
            rows = self._query(group, query, first, last, most)
            with parsing("logs", f"query the logs in `{group}`"):
                found |= {row.get("@ptr", str(row)): _logged(row) for row in rows}
            if len(rows) < most:
                return tuple(found.values())
            # The query returned its oldest rows, sorted by time. Ask for the rest, beginning with the second of the newest one.
            first = max(first + 1, int(_logged(rows[-1]).moment.timestamp()))

    def _query(self, group: str, query: str, first: int, last: int, most: int) -> list[dict[str, str]]:
        """Return at most *most* rows of *query* from the second *first* of the Unix time to the second *last*."""
        doing = f"query the logs in `{group}`"
        started = self._call(
            "StartQuery",
            doing=doing,
            expected=_MISSING,
            logGroupName=group,
            startTime=first,
            endTime=last,
            queryString=query,
            limit=most,
        )
        if started is None:
            return []
        for _ in range(_ATTEMPTS):
            answer = self._call("GetQueryResults", doing=doing, queryId=started["queryId"]) or {}
            status = answer.get("status")
            if status == "Complete":
                return [{cell["field"]: cell["value"] for cell in row} for row in answer["results"]]
            if status not in {"Scheduled", "Running"}:
                raise AwsError(
                    f"cannot {doing}: the query ended with status `{status}`", hint="query fewer hours: lower `--logs`"
                )
            self._sleep(_POLL_SECONDS)
        raise AwsError(
            f"cannot {doing}: the query did not finish within 5 minutes", hint="query fewer hours: lower `--logs`"
        )


def _logged(row: Mapping[str, str]) -> LoggedLine:
    version = _STREAM_VERSION.search(row.get("@logStream", ""))
    return LoggedLine(
        moment=dt.datetime.fromisoformat(row["@timestamp"]).replace(tzinfo=dt.UTC),
        message=row["@message"],
        version=None if version is None else version[1],
    )


class DeployedFunctions:
    """Reads, changes and invokes deployed functions of one account in one region, to measure their cold starts."""

    def __init__(self, call: Call, *, sleep: Callable[[float], None] = time.sleep) -> None:
        """Send requests through *call*, which must be for the service ``lambda``. Wait for updates with *sleep*."""
        self._call = call
        self._sleep = sleep

    def get(self, name: str, version: str | None = None) -> DeployedFunction | None:
        """Return *version* of the function *name*, ``$LATEST`` by default, or ``None`` if it does not exist."""
        qualifier = {"Qualifier": version} if version is not None else {}
        doing = f"read function `{name}`"
        row = self._call("GetFunctionConfiguration", doing=doing, expected=_MISSING, FunctionName=name, **qualifier)
        if row is None:
            return None
        environment = row.get("Environment") or {}
        return DeployedFunction(
            name=row["FunctionName"],
            version=row["Version"],
            revision=row["RevisionId"],
            layers=tuple(layer["Arn"] for layer in row.get("Layers") or ()),
            log_group=(row.get("LoggingConfig") or {}).get("LogGroup") or _default_log_group(row["FunctionName"]),
            environment=None if "Error" in environment else tuple(sorted((environment.get("Variables") or {}).items())),
        )

    def aliases(self, name: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """Return the name of each alias of the function *name*, with the versions that receive the alias's traffic."""
        found: list[tuple[str, tuple[str, ...]]] = []
        for page in pages(self._call, "ListAliases", doing=f"list the aliases of `{name}`", FunctionName=name):
            for row in page.get("Aliases", ()):
                weights = (row.get("RoutingConfig") or {}).get("AdditionalVersionWeights") or {}
                found.append((row["Name"], (row["FunctionVersion"], *sorted(weights))))
        return tuple(found)

    def provisioned(self, name: str) -> tuple[str, ...]:
        """Return the versions of the function *name* that have provisioned concurrency; of an alias that has it, its version."""
        doing = f"list the provisioned concurrency of `{name}`"
        found: set[str] = set()
        for page in pages(self._call, "ListProvisionedConcurrencyConfigs", doing=doing, FunctionName=name):
            for row in page.get("ProvisionedConcurrencyConfigs", ()):
                qualified = self.get(name, str(row["FunctionArn"]).rpartition(":")[2])
                found |= set() if qualified is None else {qualified.version}
        return tuple(sorted(found))

    def touch(self, name: str, environment: Mapping[str, str], revision: str) -> str:
        """
        Replace the environment variables of the function's unpublished version, and return its new revision ID.

        Wait until Lambda has applied the update. Raises `AwsError` if the function is no longer at *revision*, because someone else
        changed it, if the update fails, or if it does not finish within 5 minutes.
        """
        self._call(
            "UpdateFunctionConfiguration",
            doing=f"change the environment of `{name}`",
            FunctionName=name,
            Environment={"Variables": dict(environment)},
            RevisionId=revision,
        )
        for _ in range(_ATTEMPTS):
            row = self._call("GetFunctionConfiguration", doing=f"read function `{name}`", FunctionName=name) or {}
            status = row.get("LastUpdateStatus", "Successful")
            if status == "Successful":
                return str(row["RevisionId"])
            if status == "Failed":
                raise AwsError(
                    f"updating function `{name}` failed: {row.get('LastUpdateStatusReason', 'Lambda gave no reason')}"
                )
            self._sleep(_POLL_SECONDS)
        raise AwsError(
            f"the update of function `{name}` did not finish within 5 minutes",
            hint="wait until Lambda has finished the update, and run again",
        )

    def invoke(self, name: str, payload: bytes) -> Invoked:
        """Invoke the function's unpublished version with the event *payload*, and return its error and the end of its log."""
        qualified: dict[str, Any] = {"FunctionName": name, "Qualifier": "$LATEST"}
        response = self._call("Invoke", doing=f"invoke `{name}`", LogType="Tail", Payload=payload, **qualified) or {}
        with parsing("lambda", f"invoke `{name}`"):
            log = base64.b64decode(response.get("LogResult", "")).decode(errors="replace")
        return Invoked(log=log, error=response.get("FunctionError"))


def _windows(begin: dt.datetime, end: dt.datetime) -> Iterator[tuple[dt.datetime, dt.datetime]]:
    step = dt.timedelta(hours=_limit("summary_hours"))
    while begin < end:
        yield begin, min(begin + step, end)
        begin += step


def _limit(name: str) -> float:
    return next(float(row["value"]) for row in _facts()["limit"] if row["name"] == name)


@cache
def _facts() -> dict[str, Any]:
    return read_data("coldstart.toml")
