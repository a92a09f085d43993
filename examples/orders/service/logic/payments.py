"""Charge a card, and sign the receipt so that no one else can forge one."""

import base64
import os
from decimal import Decimal
from functools import cache
from typing import Protocol

import orjson
import requests
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from service.logic.errors import PaymentDeclined
from service.models.order import Order


class Gateway(Protocol):
    def charge(self, *, order_id: str, amount: Decimal, currency: str, card_token: str) -> str:
        """Return the provider's reference of the charge."""


class HttpGateway:
    """The real provider, asked over HTTPS; an idempotency key makes a repeated request harmless."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        self._session = requests.Session()
        self._session.mount("https://", HTTPAdapter(max_retries=Retry(total=3, backoff_factor=0.2)))

    def charge(self, *, order_id: str, amount: Decimal, currency: str, card_token: str) -> str:
        response = self._session.post(
            f"{self._url}/charges",
            json={"amount": str(amount), "currency": currency, "token": card_token},
            headers={"Idempotency-Key": order_id},
            timeout=5,
        )
        if response.status_code == requests.codes.payment_required:
            raise PaymentDeclined("the card was declined")
        response.raise_for_status()
        return str(response.json()["reference"])


class SandboxGateway:
    """Takes every card but those whose token says otherwise; needs no network."""

    def charge(self, *, order_id: str, amount: Decimal, currency: str, card_token: str) -> str:
        if card_token.startswith("declined"):
            raise PaymentDeclined("the card was declined")
        return f"sandbox-{order_id}-{amount}{currency}"


@cache
def gateway() -> Gateway:
    url = os.environ.get("PAYMENTS_URL")
    return HttpGateway(url) if url else SandboxGateway()


@cache
def _key() -> Ed25519PrivateKey:
    seed = os.environ.get("RECEIPT_KEY")
    return Ed25519PrivateKey.from_private_bytes(base64.b64decode(seed)) if seed else Ed25519PrivateKey.generate()


def sign_receipt(order: Order, *, reference: str) -> str:
    claim = orjson.dumps({"order": order.id, "total": str(order.total), "reference": reference})
    return ".".join(base64.urlsafe_b64encode(part).decode() for part in (claim, _key().sign(claim)))


def is_genuine(receipt: str) -> bool:
    claim, signature = (base64.urlsafe_b64decode(part) for part in receipt.split("."))
    try:
        _key().public_key().verify(signature, claim)
    except InvalidSignature:
        return False
    return True
