"""Tests of storing orders in a DynamoDB table, emulated by moto."""

import boto3
import pytest
from moto import mock_aws

from service.dal.dynamodb import DynamoOrders
from service.dal.sql import demo_orders
from service.logic.errors import OrderNotFound


@pytest.fixture
def table(monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with mock_aws():
        boto3.client("dynamodb").create_table(
            TableName="orders",
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": n, "AttributeType": "S"} for n in ("id", "customer")],
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            GlobalSecondaryIndexes=[
                {
                    "IndexName": "by-customer",
                    "KeySchema": [{"AttributeName": "customer", "KeyType": "HASH"}],
                    "Projection": {"ProjectionType": "ALL"},
                }
            ],
        )
        yield DynamoOrders("orders")


def test_orders_survive_the_round_trip(table):
    expected = list(demo_orders())
    for order in expected:
        table.put(order)

    assert expected == sorted(table.all(), key=lambda order: order.id)
    assert expected[0] == table.get("ord-1001")


def test_money_keeps_its_cents(table):
    for order in demo_orders():
        table.put(order)
    shown = [order.model_dump_json() for order in sorted(table.all(), key=lambda order: order.id)]

    assert [order.model_dump_json() for order in demo_orders()] == shown


def test_customers_see_their_own_orders(table):
    for order in demo_orders():
        table.put(order)
    found = table.search(customer="alice", status="open", after="ord-1001", limit=10)

    assert ["ord-1006"] == [order.id for order in found]


def test_missing_orders_are_named(table):
    with pytest.raises(OrderNotFound, match="ord-9999"):
        table.get("ord-9999")
