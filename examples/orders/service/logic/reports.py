"""Numbers about many orders."""

from collections.abc import Iterable

import numpy as np

from service.models.order import Order, OrderStatus

EARNED = {OrderStatus.PAID}
EDGES = np.array([0, 25, 50, 100, 250, 1000, np.inf])


def summarise(orders: Iterable[Order]) -> dict[str, object]:
    orders = list(orders)
    totals = np.array([float(order.total) for order in orders])
    earned = np.array([order.status in EARNED for order in orders], dtype=bool)
    counts, _ = np.histogram(totals, bins=EDGES)
    return {
        "orders": len(orders),
        "revenue": round(float(totals[earned].sum()), 2),
        "percentiles": dict(zip(("p50", "p90", "p99"), np.percentile(totals, [50, 90, 99]).round(2), strict=True))
        if orders
        else {},
        "histogram": {"from": EDGES[:-1], "orders": counts},
        "by_status": {status.value: sum(order.status is status for order in orders) for status in OrderStatus},
    }
