"""What callers may ask for; anything else is answered with 400."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, SecretStr, StringConstraints

Sku = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}-\d{3}$")]


class Request(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RequestedLine(Request):
    sku: Sku
    quantity: int = Field(gt=0, le=1000)


class CreateOrder(Request):
    customer: str = Field(min_length=1, max_length=80)
    country: Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")]
    lines: tuple[RequestedLine, ...] = Field(min_length=1, max_length=100)


class PayOrder(Request):
    card_token: SecretStr = Field(min_length=8)


class RefundOrder(Request):
    reason: str = Field(min_length=3, max_length=200)


class ListOrders(Request):
    customer: str | None = None
    status: str | None = None
    after: str | None = None
    limit: int = Field(default=20, ge=1, le=100)
