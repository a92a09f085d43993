"""Tests that every function answers its example event and rejects invalid requests."""

import importlib
import json
import tomllib
from pathlib import Path

import pytest

from service.handlers import (
    cancel_order,
    create_order,
    export_report,
    get_order,
    list_orders,
    pay_order,
    process_stream,
    refund_order,
    render_invoice,
)
from service.logic.payments import is_genuine

ROOT = Path(__file__).parents[2]
FUNCTIONS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["lamina"]["functions"]
EXPECTED = json.loads((ROOT / "events" / "expected.json").read_text())


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_answers_its_example(name, event, context):
    module, handler = FUNCTIONS[name].rsplit(".", 1)
    answer = getattr(importlib.import_module(module), handler)(event(name), context)

    assert EXPECTED[name].items() <= answer.items()


def test_a_created_order_can_be_fetched(event, context):
    created = json.loads(create_order.lambda_handler(event("create-order"), context)["body"])
    asked = event("get-order") | {"pathParameters": {"id": created["id"]}}

    assert created == json.loads(get_order.lambda_handler(asked, context)["body"])
    assert ("88.00", "16.72", "104.72") == (created["net"], created["tax"], created["total"])


def test_mistakes_are_listed_at_once(event, context):
    asked = event("create-order") | {"body": json.dumps({"customer": "", "country": "de", "lines": []})}
    answer = create_order.lambda_handler(asked, context)

    assert 400 == answer["statusCode"]
    assert ["customer", "country", "lines"] == [mistake["at"] for mistake in json.loads(answer["body"])["mistakes"]]


def test_unknown_products_are_refused(event, context):
    asked = event("create-order")
    asked["body"] = json.dumps({"customer": "erin", "country": "DE", "lines": [{"sku": "XXX-999", "quantity": 1}]})

    assert 422 == create_order.lambda_handler(asked, context)["statusCode"]


def test_pages_continue_where_the_last_one_ended(event, context):
    first = json.loads(list_orders.lambda_handler(event("list-orders"), context)["body"])
    asked = event("list-orders")
    asked["queryStringParameters"]["after"] = first["after"]
    second = json.loads(list_orders.lambda_handler(asked, context)["body"])

    assert ["ord-1001", "ord-1003"] == [order["id"] for order in first["orders"]]
    assert (["ord-1006"], None) == ([order["id"] for order in second["orders"]], second["after"])


def test_only_open_orders_can_be_cancelled(event, context):
    asked = event("cancel-order") | {"pathParameters": {"id": "ord-1002"}}

    assert 409 == cancel_order.lambda_handler(asked, context)["statusCode"]


def test_receipts_are_signed(event, context):
    paid = json.loads(pay_order.lambda_handler(event("pay-order"), context)["body"])

    assert is_genuine(paid["receipt"])
    assert not is_genuine("e30=." + paid["receipt"].split(".")[1])


def test_declined_cards_leave_the_order_open(event, context):
    asked = event("pay-order") | {"body": json.dumps({"card_token": "declined-card"})}
    answer = pay_order.lambda_handler(asked, context)
    order = json.loads(get_order.lambda_handler(event("pay-order"), context)["body"])

    assert (402, "open") == (answer["statusCode"], order["status"])


def test_refunds_happen_once(event, context):
    assert 202 == refund_order.lambda_handler(event("refund-order"), context)["statusCode"]
    assert 409 == refund_order.lambda_handler(event("refund-order"), context)["statusCode"]


def test_invoices_escape_what_customers_call_themselves(event, context):
    asked = event("create-order")
    asked["body"] = asked["body"].replace("erin", "<script>")
    created = json.loads(create_order.lambda_handler(asked, context)["body"])
    asked = event("render-invoice") | {"pathParameters": {"id": created["id"]}}

    assert "&lt;script&gt;" in render_invoice.lambda_handler(asked, context)["body"]


def test_invoices_come_as_text_too(event, context):
    asked = event("render-invoice") | {"queryStringParameters": {"format": "txt"}}

    assert (
        "Total                                                70.80 EUR"
        in render_invoice.lambda_handler(asked, context)["body"]
    )


def test_reports_count_what_was_paid(event, context):
    report = export_report.lambda_handler(event("export-report"), context)["report"]

    assert (6, 204.08) == (report["orders"], report["revenue"])
    assert {"open": 2, "paid": 2, "cancelled": 1, "refunded": 1} == report["by_status"]


def test_only_failed_records_of_a_batch_come_back(event, context):
    asked = event("process-stream")
    asked["Records"] = asked["Records"][:2]

    assert {"batchItemFailures": []} == process_stream.lambda_handler(asked, context)
