"""An order, as it is kept and as the API shows it."""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

# Callers see cents wherever an order was kept: DynamoDB forgets trailing zeros.
Money = Annotated[Decimal, AfterValidator(lambda amount: amount.quantize(Decimal("0.01")))]


class OrderStatus(StrEnum):
    OPEN = "open"
    PAID = "paid"
    CANCELLED = "cancelled"
    REFUNDED = "refunded"


class Line(BaseModel):
    model_config = ConfigDict(frozen=True)

    sku: str
    name: str
    quantity: int = Field(gt=0)
    unit_price: Money = Field(ge=0, decimal_places=2)

    @property
    def amount(self) -> Decimal:
        return self.unit_price * self.quantity


class Order(BaseModel):
    model_config = ConfigDict(frozen=True)

    id: str
    customer: str
    country: str = Field(min_length=2, max_length=2)
    currency: str = Field(min_length=3, max_length=3)
    created_at: datetime
    lines: tuple[Line, ...] = Field(min_length=1)
    net: Money
    tax: Money
    status: OrderStatus = OrderStatus.OPEN
    receipt: str | None = None

    @property
    def total(self) -> Decimal:
        return self.net + self.tax
