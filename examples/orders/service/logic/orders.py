"""The life of an order: priced when it is made, then paid, cancelled or refunded."""

from collections.abc import Iterable
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal

from service.logic.catalogue import catalogue
from service.logic.errors import UnknownCountry, UnknownProduct, WrongStatus
from service.models.order import Line, Order, OrderStatus

CENT = Decimal("0.01")


def price(
    *, order_id: str, customer: str, country: str, wanted: Iterable[tuple[str, int]], created_at: datetime
) -> Order:
    known = catalogue()
    wanted = list(wanted)
    if unknown := sorted({sku for sku, _ in wanted} - known.products.keys()):
        raise UnknownProduct(unknown)
    if country not in known.tax_rates:
        raise UnknownCountry(country)
    lines = tuple(
        Line(sku=sku, name=known.products[sku].name, quantity=quantity, unit_price=known.products[sku].price)
        for sku, quantity in wanted
    )
    net = sum((line.amount for line in lines), Decimal(0))
    return Order(
        id=order_id,
        customer=customer,
        country=country,
        currency=known.currency,
        created_at=created_at,
        lines=lines,
        net=net.quantize(CENT),
        tax=(net * known.tax_rates[country]).quantize(CENT, ROUND_HALF_UP),
    )


def cancel(order: Order) -> Order:
    return _move(order, OrderStatus.CANCELLED, allowed=(OrderStatus.OPEN,))


def pay(order: Order, *, receipt: str) -> Order:
    return _move(order, OrderStatus.PAID, allowed=(OrderStatus.OPEN,)).model_copy(update={"receipt": receipt})


def refund(order: Order) -> Order:
    return _move(order, OrderStatus.REFUNDED, allowed=(OrderStatus.PAID,))


def _move(order: Order, status: OrderStatus, *, allowed: tuple[OrderStatus, ...]) -> Order:
    if order.status not in allowed:
        raise WrongStatus(order.id, order.status, status)
    return order.model_copy(update={"status": status})
