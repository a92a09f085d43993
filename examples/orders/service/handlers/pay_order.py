"""POST /orders/{id}/payments"""

from aws_lambda_powertools.utilities.data_classes import APIGatewayProxyEventV2

from service.dal.events import publish
from service.dal.repository import orders
from service.handlers.api import Response, body, endpoint, order_id, reply, shown
from service.logic.orders import pay
from service.logic.payments import gateway, sign_receipt
from service.models.requests import PayOrder


@endpoint
def lambda_handler(event: APIGatewayProxyEventV2) -> Response:
    request = body(event, PayOrder)
    order = orders().get(order_id(event))
    # Whether it may be paid is known before the card is charged.
    pay(order, receipt="")
    reference = gateway().charge(
        order_id=order.id,
        amount=order.total,
        currency=order.currency,
        card_token=request.card_token.get_secret_value(),
    )
    paid = pay(order, receipt=sign_receipt(order, reference=reference))
    orders().put(paid)
    publish("OrderPaid", paid)
    return reply(200, shown(paid))
