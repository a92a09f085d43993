"""An order, as it is kept and as the API shows it."""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field


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
    unit_price: Decimal = Field(ge=0, decimal_places=2)

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
    net: Decimal
    tax: Decimal
    status: OrderStatus = OrderStatus.OPEN
    receipt: str | None = None

    @property
    def total(self) -> Decimal:
        return self.net + self.tax
