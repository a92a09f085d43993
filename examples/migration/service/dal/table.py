"""Orders, kept as long as the process lives."""

from service.logic.orders import Order

_ORDERS: dict[str, Order] = {}


def put(order: Order) -> None:
    _ORDERS[order.id] = order


def get(id_: str) -> Order | None:
    return _ORDERS.get(id_)
