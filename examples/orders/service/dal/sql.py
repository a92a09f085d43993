"""Orders in a relational database."""

from collections.abc import Iterator
from datetime import datetime
from importlib.resources import files

import yaml
from sqlalchemy import JSON, String, create_engine, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.pool import StaticPool

from service.logic.errors import OrderNotFound
from service.logic.orders import price
from service.models.order import Order, OrderStatus


class Base(DeclarativeBase):
    pass


class OrderRow(Base):
    __tablename__ = "orders"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    customer: Mapped[str] = mapped_column(String(80), index=True)
    status: Mapped[str] = mapped_column(String(20), index=True)
    document: Mapped[dict] = mapped_column(JSON)


class SqlOrders:
    def __init__(self, url: str) -> None:
        # A database in memory lives as long as its one connection.
        options = {"poolclass": StaticPool} if url == "sqlite://" else {}
        self._engine = create_engine(url, **options)
        Base.metadata.create_all(self._engine)

    def get(self, order_id: str) -> Order:
        with Session(self._engine) as session:
            row = session.get(OrderRow, order_id)
            if row is None:
                raise OrderNotFound(order_id)
            return Order.model_validate(row.document)

    def put(self, order: Order) -> None:
        row = OrderRow(
            id=order.id, customer=order.customer, status=order.status, document=order.model_dump(mode="json")
        )
        with Session(self._engine) as session, session.begin():
            session.merge(row)

    def search(self, *, customer: str | None, status: str | None, after: str | None, limit: int) -> list[Order]:
        query = select(OrderRow).order_by(OrderRow.id).limit(limit)
        if customer:
            query = query.where(OrderRow.customer == customer)
        if status:
            query = query.where(OrderRow.status == status)
        if after:
            query = query.where(OrderRow.id > after)
        with Session(self._engine) as session:
            return [Order.model_validate(row.document) for row in session.scalars(query)]

    def all(self) -> Iterator[Order]:
        with Session(self._engine) as session:
            for row in session.scalars(select(OrderRow).order_by(OrderRow.id)):
                yield Order.model_validate(row.document)

    def close(self) -> None:
        self._engine.dispose()


def demo_orders() -> Iterator[Order]:
    """Iterate over the orders that the package brings along to be tried out."""
    for row in yaml.safe_load(files("service").joinpath("data", "demo_orders.yaml").read_text(encoding="utf-8")):
        order = price(
            order_id=row["id"],
            customer=row["customer"],
            country=row["country"],
            wanted=[(sku, quantity) for sku, quantity in row["lines"]],
            created_at=datetime.fromisoformat(row["created_at"]),
        )
        yield order.model_copy(update={"status": OrderStatus(row["status"])})
