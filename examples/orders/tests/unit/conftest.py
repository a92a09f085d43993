"""Fixtures for tests without AWS and network: orders are in memory, and opening a connection fails the test."""

import json
import socket
from pathlib import Path

import pytest

from service.dal import repository

EVENTS = Path(__file__).parents[2] / "events"


class Context:
    function_name = "function"
    function_version = "$LATEST"
    memory_limit_in_mb = 256
    invoked_function_arn = "arn:aws:lambda:eu-central-1:123456789012:function:function"
    aws_request_id = "request-0001"

    def get_remaining_time_in_millis(self) -> int:
        return 3000


@pytest.fixture
def context() -> Context:
    return Context()


@pytest.fixture
def event():
    return lambda name: json.loads((EVENTS / f"{name}.json").read_text(encoding="utf-8"))


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch):
    """Give each test its own demo data, and prevent network connections."""

    def refuse(*_: object) -> None:
        raise AssertionError("a test opened a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    for name in (
        "ORDERS_TABLE",
        "ORDERS_DATABASE_URL",
        "EVENT_BUS",
        "PAYMENTS_URL",
        "REFUND_WEBHOOK_URL",
        "REPORT_BUCKET",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    yield
    if repository.orders.cache_info().currsize:
        repository.orders().close()
    repository.orders.cache_clear()
