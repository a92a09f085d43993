"""Run by a schedule: summarise all orders, into the bucket ``REPORT_BUCKET`` if there is one."""

import os
from functools import cache
from typing import Any

import boto3
import orjson
from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.data_classes import EventBridgeEvent, event_source
from aws_lambda_powertools.utilities.typing import LambdaContext

from service.dal.repository import orders
from service.logic.reports import summarise

logger = Logger(service="orders")


@cache
def _s3():
    return boto3.client("s3")


@logger.inject_lambda_context
@event_source(data_class=EventBridgeEvent)
def lambda_handler(event: EventBridgeEvent, context: LambdaContext) -> dict[str, Any]:
    report = orjson.dumps(summarise(orders().all()), option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_INDENT_2)
    key = f"reports/{event.time[:10]}.json"
    bucket = os.environ.get("REPORT_BUCKET")
    if bucket:
        _s3().put_object(Bucket=bucket, Key=key, Body=report, ContentType="application/json")
    return {"statusCode": 200, "key": key, "stored": bool(bucket), "report": orjson.loads(report)}
