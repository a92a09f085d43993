"""

A loopback proxy that records the IAM permissions that each request requires: actions and their resources.

Operations are identified with botocore's service models, and their actions with `lamina.aws.api.facts`.
If the emulator does not support a service, the recorder answers the request itself.
"""

from __future__ import annotations

import base64
import functools
import http.client
import json
import re
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from email.utils import format_datetime, parsedate_to_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

from botocore.loaders import Loader

from lamina.aws.api import facts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ACCOUNT = "000000000000"
REPORT = b"REPORT RequestId: 1 Duration: 1.00 ms Billed Duration: 1 ms Memory Size: 128 MB Init Duration: 99.00 ms\t\n"
LOGGED = [
    {"field": "@timestamp", "value": "2026-11-23 05:43:28.123"},
    {"field": "@message", "value": REPORT.decode()},
    {"field": "@logStream", "value": "2026/11/23/[1]0123456789abcdef"},
]
STACK = "<StackName>orders</StackName><StackStatus>UPDATE_IN_PROGRESS</StackStatus><CreationTime>2026-01-01T00:00:00Z</CreationTime>"
CANNED: dict[str, tuple[dict[str, str], object]] = {
    "DescribeStacks": ({}, f"<Stacks><member>{STACK}</member></Stacks>"),
    "GetTemplate": ({}, "<TemplateBody>{}</TemplateBody>"),
    "ListStackResources": ({}, "<StackResourceSummaries></StackResourceSummaries>"),
    "GetTraceSummaries": ({}, {"TraceSummaries": [{"Id": "1-6b035f00-0123456789abcdef01234567"}]}),
    "BatchGetTraces": ({}, {"Traces": []}),
    "StartQuery": ({}, {"queryId": "1"}),
    "GetQueryResults": ({}, {"status": "Complete", "results": [LOGGED]}),
    "GetTraceSegmentDestination": ({}, {"Destination": "XRay", "Status": "ACTIVE"}),
    "ListProvisionedConcurrencyConfigs": ({}, {"ProvisionedConcurrencyConfigs": []}),
    "Invoke": ({"X-Amz-Log-Result": base64.b64encode(REPORT).decode()}, None),
}
# The resource of these actions is the bucket. The resource of all other S3 actions is an object.
BUCKET_ACTIONS = {"s3:ListBucket", "s3:ListBucketMultipartUploads", "s3:GetBucketPolicy", "s3:GetBucketVersioning"}
S3_QUERIES = {
    ("GET", "versioning"): "GetBucketVersioning",
    ("GET", "policy"): "GetBucketPolicy",
    ("GET", "uploads"): "ListMultipartUploads",
    ("GET", "list-type"): "ListObjectsV2",
    ("POST", "uploads"): "CreateMultipartUpload",
    ("POST", "uploadId"): "CompleteMultipartUpload",
    ("DELETE", "uploadId"): "AbortMultipartUpload",
}
S3_PLAIN = {"HEAD": "HeadObject", "GET": "GetObject", "PUT": "PutObject", "DELETE": "DeleteObject"}
# These actions have no resource (Service Authorization Reference, read 2026-11-23), or apply to all stacks, as no stack is named.
EVERYTHING = {
    "lambda:ListFunctions",
    "lambda:ListLayers",
    "cloudformation:DescribeStacks",
    "cloudformation:ListStacks",
    "logs:GetQueryResults",
    "xray:BatchGetTraces",
    "xray:GetTraceSegmentDestination",
    "xray:GetTraceSummaries",
}

Need = tuple[str, str]
"""An IAM action, and the ARN of its resource."""


@functools.cache
def routes(service: str) -> list[tuple[str, re.Pattern[str], str, str]]:
    """
    Return the method, path pattern, fixed query and name of each operation of a service that identifies operations by path.

    Operations with a fixed query come first: without the query, their path belongs to another operation.
    """
    model: dict[str, Any] = Loader().load_service_model(service, "service-2")
    found = []
    for name, operation in model["operations"].items():
        uri, _, query = operation["http"]["requestUri"].partition("?")
        pattern = re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(uri))
        found.append((operation["http"]["method"], re.compile(pattern), query, name))
    return sorted(found, key=lambda route: not route[2])


@dataclass
class Asked:
    """One signed request."""

    service: str
    region: str
    operation: str
    bucket: str = ""
    key: str = ""
    source: str = ""
    """The bucket and key of the copy source."""
    names: dict[str, str] = field(default_factory=dict)
    """The parameters in the path and the query."""
    body: dict[str, Any] = field(default_factory=dict)

    def needs(self) -> set[Need]:
        """Return the permissions that the caller's policy must grant."""
        found = set()
        for action in self._actions():
            found |= {(action, arn) for arn in self._resources(action)}
        return found

    def _actions(self) -> tuple[str, ...]:
        actions = facts.actions(self.service, self.operation)
        content = self.body.get("Content", self.body)
        if self.operation in {"PublishLayerVersion", "UpdateFunctionCode", "CreateFunction"}:
            code = content.get("Code", content)
            versioned = bool(code.get("S3ObjectVersion"))
            # If the code is in a bucket, Lambda reads it with the caller's permissions.
            wanted = {"s3:GetObjectVersion"} if versioned else {"s3:GetObject"} if code.get("S3Key") else set()
            actions = tuple(action for action in actions if not action.startswith("s3:") or action in wanted)
        return actions

    def _resources(self, action: str) -> list[str]:  # noqa: PLR0911 - one for each service
        if action in EVERYTHING:
            return ["*"]
        service = action.partition(":")[0]
        where = f"arn:aws:{service}:{self.region}:{ACCOUNT}"
        if service == "s3":
            return self._objects(action)
        if service == "ssm":
            return [f"{where}:parameter{self.body.get('Name') or self.body['Path']}"]
        if service == "logs":
            return [f"{where}:log-group:{self.body['logGroupName']}"]
        if service == "cloudformation":
            return [f"{where}:stack/{self.body['StackName'].partition(':stack/')[2] or self.body['StackName']}"]
        if service == "sts":
            return [self.body["RoleArn"]]
        if service == "iam":
            return [self.body["Role"]]
        if action == "lambda:GetLayerVersion" and "LayerName" not in self.names:
            return list(self.body.get("Layers") or ())
        if "LayerName" in self.names:
            version = self.names.get("VersionNumber")
            return [f"{where}:layer:{self.names['LayerName']}" + (f":{version}" if version else "")]
        name = self.names.get("FunctionName") or self.body["FunctionName"]
        qualifier = self.names.get("Qualifier")
        return [f"{where}:function:{name}" + (f":{qualifier}" if qualifier else "")]

    def _objects(self, action: str) -> list[str]:
        if self.service == "lambda":
            code = self.body.get("Content") or self.body.get("Code") or self.body
            return [f"arn:aws:s3:::{code['S3Bucket']}/{code['S3Key']}"]
        if action in BUCKET_ACTIONS:
            return [f"arn:aws:s3:::{self.bucket}"]
        if action == "s3:GetObject" and self.source:
            return [f"arn:aws:s3:::{self.source}"]
        return [f"arn:aws:s3:::{self.bucket}/{self.key}"]


@dataclass
class Record:
    """

    The requests since the last `clear`.

    Operations in *refuse* are denied; an entry may end with a function's name to deny only that function. The date in responses is *days*
    later than the emulator's.
    """

    url: str = ""
    asked: list[Asked] = field(default_factory=list)
    refuse: set[str] = field(default_factory=set)
    days: int = 0
    before: Callable[[str], None] = lambda _: None
    """A callback that receives each operation before it is forwarded."""

    def clear(self) -> None:
        self.asked, self.refuse = [], set()

    def needs(self) -> set[Need]:
        return {need for each in self.asked for need in each.needs()}

    def operations(self) -> set[tuple[str, str]]:
        return {(each.service, each.operation) for each in self.asked}


def read(method: str, path: str, headers: Any, body: bytes) -> Asked | None:
    """Parse a signed request. Return ``None`` for an unsigned request, such as a download from a signed address."""
    scope = re.search(r"Credential=[^/]+/\d+/([^/]+)/([^/]+)/", headers.get("Authorization") or "")
    if scope is None:
        return None
    region, service = scope[1], scope[2]
    parts = urlsplit(path)
    query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
    if service == "s3":
        bucket, _, key = unquote(parts.path).lstrip("/").partition("/")
        return Asked(
            service,
            region,
            _s3_operation(method, key, query, copies="x-amz-copy-source" in headers),
            bucket=bucket,
            key=key,
            source=unquote(headers.get("x-amz-copy-source") or "").lstrip("/"),
        )
    if target := headers.get("X-Amz-Target"):
        return Asked(service, region, target.split(".")[-1], body=json.loads(body))
    if service in {"sts", "cloudformation"}:
        form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
        return Asked(service, region, form["Action"], body=form)
    for wanted, pattern, fixed, name in routes(service):
        found = pattern.fullmatch(parts.path.rstrip("/") or "/")
        if wanted == method and found is not None and fixed in parts.query:
            names = {key: unquote(value) for key, value in found.groupdict().items()} | query
            return Asked(service, region, name, names=names, body=_json(body))
    raise AssertionError(f"{service} {method} {path}")


def _json(body: bytes) -> dict[str, Any]:
    document: object = json.loads(body) if body.startswith(b"{") else {}
    return document if isinstance(document, dict) else {}


def _s3_operation(method: str, key: str, query: dict[str, str], *, copies: bool) -> str:
    if method == "PUT" and "partNumber" in query:
        return "UploadPartCopy" if copies else "UploadPart"
    for (wanted, name), operation in S3_QUERIES.items():
        if wanted == method and name in query:
            return operation
    return S3_PLAIN[method] if key else "HeadBucket"


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, host: str, record: Record) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.host = host
        self.record = record


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True

    def handle_expect_100(self) -> bool:
        super().handle_expect_100()
        self.wfile.flush()
        return True

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        asked = read(self.command, self.path, self.headers, body)
        record = self.server.record
        operation = "" if asked is None else asked.operation
        about = "" if asked is None else f"{operation} {asked.names.get('FunctionName')}"
        if record.refuse.intersection({operation, about}):
            self._refuse(operation)
            return
        if asked is not None:
            record.asked.append(asked)
        record.before(operation)
        if operation in CANNED:
            headers, document = CANNED[operation]
            if isinstance(document, str):
                document = (
                    f"<{operation}Response><{operation}Result>{document}</{operation}Result></{operation}Response>"
                )
                self._answer(200, {"Content-Type": "text/xml"}, document.encode())
            else:
                self._answer(200, {"Content-Type": "application/json", **headers}, json.dumps(document).encode())
            return
        connection = http.client.HTTPConnection(self.server.host, timeout=60)
        try:
            sent = {name: value for name, value in self.headers.items() if name.lower() != "expect"}
            connection.request(self.command, self.path, body, sent)
            response = connection.getresponse()
            self._answer(response.status, dict(response.getheaders()), response.read())
        finally:
            connection.close()

    def _refuse(self, operation: str) -> None:
        if self.path.startswith("/20"):
            headers = {"x-amzn-ErrorType": "AccessDeniedException", "Content-Type": "application/json"}
            self._answer(403, headers, b'{"Message": "no"}')
        elif "X-Amz-Target" in self.headers:
            body = b'{"__type": "AccessDeniedException", "message": "no"}'
            self._answer(400, {"Content-Type": "application/x-amz-json-1.1"}, body)
        else:
            body = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
            self._answer(403, {"Content-Type": "application/xml"}, b"" if self.command == "HEAD" else body)

    def _answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
        self.send_response_only(status)
        length = str(len(content))
        for name, value in headers.items():
            if name.lower() == "content-length" and self.command == "HEAD":
                length = value
            elif name.lower() == "date":
                later = parsedate_to_datetime(value) + timedelta(days=self.server.record.days)
                self.send_header(name, format_datetime(later, usegmt=True))
            elif name.lower() not in {"content-length", "transfer-encoding", "connection"}:
                self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", length)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _serve  # noqa: N815 - named by the base class

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - named by the base class
        """Suppress the request log."""


@contextmanager
def recorder(url: str) -> Iterator[Record]:
    """Serve *url* through a recorder."""
    record = Record()
    server = _Server(urlsplit(url).netloc, record)
    record.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield record
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
