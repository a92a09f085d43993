"""What an order is."""

from uuid import uuid4

from pydantic import BaseModel, Field


class Order(BaseModel):
    id: str = Field(default_factory=lambda: str(uuid4()))
    customer: str = Field(min_length=1)
    items: int = Field(gt=0)


def create(body: str) -> Order:
    return Order.model_validate_json(body)
