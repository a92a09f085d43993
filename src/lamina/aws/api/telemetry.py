"""
Ask X-Ray and CloudWatch Logs about cold starts that real traffic had, and Lambda for functions as they are deployed.

Only reads, but for `DeployedFunctions.touch`.
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

from lamina.aws.api.errors import pages
from lamina.core.errors import AwsError
from lamina.core.toml import read_data

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from lamina.aws.api.errors import Call

_MISSING = frozenset({"missing"})
_POLL_SECONDS = 1.0
_ATTEMPTS = 300
# What ends an initialisation, in either of the formats that a function's log can have.
_QUERY = """fields @timestamp, @message, @logStream
| filter @type = "REPORT" or type = "platform.report"
| filter @message like /Init Duration|Restore Duration|initDurationMs|restoreDurationMs/
| sort @timestamp asc"""
_STREAM_VERSION = re.compile(r"\[([^\]]+)\]")


@dataclass(frozen=True, kw_only=True, slots=True)
class ColdStart:
    """One initialisation that X-Ray saw."""

    trace_id: str
    kind: str
    """``init``, or ``restore`` from a snapshot."""
    began: dt.datetime
    milliseconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class LoggedLine:
    """One line of a function's log."""

    moment: dt.datetime
    message: str
    version: str | None
    """Of the function, as the log stream's name says."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DeployedFunction:
    """A function as Lambda has it."""

    name: str
    version: str
    revision: str
    layers: tuple[str, ...]
    """ARNs of layer versions, in their order."""
    log_group: str
    environment: tuple[tuple[str, str], ...] | None
    """``None`` where Lambda does not let us read it."""

    def __repr__(self) -> str:
        """Leave the environment out, which holds secrets."""
        return f"Deployed({self.name!r}, {self.version!r})"


@dataclass(frozen=True, kw_only=True, slots=True)
class Invoked:
    """One invocation, with the end of its log."""

    log: str
    error: str | None
    """``Handled`` or ``Unhandled``, where the function failed."""


class XRay:
    """The traces of one account in one region."""

    def __init__(self, call: Call) -> None:
        """Ask through *call*, of ``xray``."""
        self._call = call

    def cold_starts(self, function: str, begin: dt.datetime, end: dt.datetime) -> tuple[ColdStart, ...]:
        """Return the cold starts of *function* among the sampled traces between *begin* and *end*, by time."""
        ids = sorted({each for first, last in _windows(begin, end) for each in self._ids(function, first, last)})
        size = int(_limit("traces_in_a_batch"))
        batches = (ids[position : position + size] for position in range(0, len(ids), size))
        found = (each for batch in batches for each in self._of(function, batch))
        return tuple(sorted(found, key=lambda each: (each.began, each.trace_id)))

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

    Raises AwsError if a document is not a segment.
    """
    kinds = {name: row["kind"] for row in _facts()["subsegment"] for name in row["names"]}
    found: list[ColdStart] = []
    for text in documents:
        try:
            segment: dict[str, Any] = json.loads(text)
            if segment.get("origin") != "AWS::Lambda::Function" or segment.get("name") != function:
                continue
            found += [
                ColdStart(
                    trace_id=trace_id,
                    kind=kinds[part["name"]],
                    began=dt.datetime.fromtimestamp(part["start_time"], dt.UTC),
                    milliseconds=(part["end_time"] - part["start_time"]) * 1000,
                )
                for part in segment.get("subsegments", ())
                # One that is still going on has no end.
                if part["name"] in kinds and "end_time" in part
            ]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise AwsError(f"X-Ray's trace `{trace_id}` cannot be read: it holds no segment document") from error
    return tuple(found)


class Logs:
    """The logs of one account in one region."""

    def __init__(self, call: Call, *, sleep: Callable[[float], None] = time.sleep) -> None:
        """Ask through *call*, of ``logs``; wait for answers with *sleep*."""
        self._call = call
        self._sleep = sleep

    def cold_starts(self, group: str, begin: dt.datetime, end: dt.datetime) -> tuple[LoggedLine, ...]:
        """
        Return the lines that report cold starts in the log *group* between *begin* and *end*; none where there is no such group.

        Raises AwsError if the query fails or does not end.
        """
        doing = f"query the logs in `{group}`"
        started = self._call(
            "StartQuery",
            doing=doing,
            expected=_MISSING,
            logGroupName=group,
            startTime=int(begin.timestamp()),
            endTime=int(end.timestamp()),
            queryString=_QUERY,
            limit=int(_limit("query_rows")),
        )
        if started is None:
            return ()
        for _ in range(_ATTEMPTS):
            answer = self._call("GetQueryResults", doing=doing, queryId=started["queryId"]) or {}
            status = answer.get("status")
            if status == "Complete":
                return tuple(_logged({cell["field"]: cell["value"] for cell in row}) for row in answer["results"])
            if status not in {"Scheduled", "Running"}:
                raise AwsError(f"Cannot {doing}: the query ended as `{status}`", hint="try a shorter time")
            self._sleep(_POLL_SECONDS)
        raise AwsError(f"Cannot {doing}: the query does not end", hint="try a shorter time")


def _logged(row: Mapping[str, str]) -> LoggedLine:
    version = _STREAM_VERSION.search(row.get("@logStream", ""))
    return LoggedLine(
        moment=dt.datetime.fromisoformat(row["@timestamp"]).replace(tzinfo=dt.UTC),
        message=row["@message"],
        version=None if version is None else version[1],
    )


class DeployedFunctions:
    """The functions of one account in one region, as far as cold starts are concerned."""

    def __init__(self, call: Call, *, sleep: Callable[[float], None] = time.sleep) -> None:
        """Ask through *call*, of ``lambda``; wait for changes with *sleep*."""
        self._call = call
        self._sleep = sleep

    def get(self, name: str, version: str | None = None) -> DeployedFunction | None:
        """Return the function *name*, at *version* or as it is now; nothing where there is none."""
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
            log_group=(row.get("LoggingConfig") or {}).get("LogGroup") or f"/aws/lambda/{row['FunctionName']}",
            environment=None if "Error" in environment else tuple(sorted((environment.get("Variables") or {}).items())),
        )

    def aliases(self, name: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """Return the aliases of the function *name*, each with all versions that it sends traffic to."""
        found: list[tuple[str, tuple[str, ...]]] = []
        for page in pages(self._call, "ListAliases", doing=f"list the aliases of `{name}`", FunctionName=name):
            for row in page.get("Aliases", ()):
                weights = (row.get("RoutingConfig") or {}).get("AdditionalVersionWeights") or {}
                found.append((row["Name"], (row["FunctionVersion"], *sorted(weights))))
        return tuple(found)

    def touch(self, name: str, environment: Mapping[str, str], revision: str) -> str:
        """
        Give the function's unpublished version *environment*, wait until that holds, and return its new revision.

        Raises AwsError if it is not at *revision* any more, because somebody else has changed it.
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
                    f"The update of `{name}` failed: {row.get('LastUpdateStatusReason', 'no reason is given')}"
                )
            self._sleep(_POLL_SECONDS)
        raise AwsError(f"The update of `{name}` does not end")

    def invoke(self, name: str, payload: bytes) -> Invoked:
        """Send the event *payload* to the function's unpublished version, and return the end of its log."""
        qualified: dict[str, Any] = {"FunctionName": name, "Qualifier": "$LATEST"}
        response = self._call("Invoke", doing=f"invoke `{name}`", LogType="Tail", Payload=payload, **qualified) or {}
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
