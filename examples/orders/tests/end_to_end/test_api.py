"""
Tests of a deployed service over HTTP, at the URL in ORDERS_URL:

    ORDERS_URL=https://… pytest tests/end_to_end
"""

import json
import os
import time
import urllib.error
import urllib.request
import uuid

import pytest

URL = os.environ.get("ORDERS_URL", "").rstrip("/")
pytestmark = pytest.mark.skipif(not URL, reason="ORDERS_URL is not set")


def ask(method, path, body=None):
    """Send a request, and return the status and the body of the response, also for HTTP errors."""
    content = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(URL + path, method=method, data=content)
    request.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@pytest.fixture
def customer():
    """Return a new customer's name, so that this run does not find orders of earlier runs."""
    return f"customer-{uuid.uuid4()}"


@pytest.fixture
def order(customer):
    wanted = {"customer": customer, "country": "DE", "lines": [{"sku": "TEA-001", "quantity": 2}]}
    status, answer = ask("POST", "/orders", wanted)

    assert 201 == status, answer
    return json.loads(answer)


def test_it_is_there():
    status, answer = ask("GET", "/health")

    assert (200, "ok") == (status, json.loads(answer)["status"])


def test_an_order_is_remembered(order):
    status, answer = ask("GET", f"/orders/{order['id']}")

    assert (200, order) == (status, json.loads(answer))


def test_customers_find_their_orders(order, customer):
    # The index is updated shortly after the table.
    for _ in range(20):
        status, answer = ask("GET", f"/orders?customer={customer}&status=open")
        if json.loads(answer)["orders"]:
            break
        time.sleep(0.5)

    assert (200, [order]) == (status, json.loads(answer)["orders"])


def test_an_order_is_paid_and_refunded_once(order):
    place = f"/orders/{order['id']}"
    paid, _ = ask("POST", f"{place}/payments", {"card_token": "card-of-a-test"})
    cancelled, _ = ask("DELETE", place)
    refunded, _ = ask("POST", f"{place}/refunds", {"reason": "not what I ordered"})
    again, _ = ask("POST", f"{place}/refunds", {"reason": "not what I ordered"})

    assert (200, 409, 202, 409) == (paid, cancelled, refunded, again)


def test_an_open_order_can_be_cancelled(order):
    status, answer = ask("DELETE", f"/orders/{order['id']}")

    assert (200, "cancelled") == (status, json.loads(answer)["status"])


def test_an_invoice_names_the_customer(order, customer):
    status, answer = ask("GET", f"/orders/{order['id']}/invoice?format=txt")

    assert 200 == status
    assert customer in answer


def test_mistakes_are_refused():
    status, answer = ask("POST", "/orders", {"customer": "", "country": "de", "lines": []})

    assert (400, 3) == (status, len(json.loads(answer)["mistakes"]))
