"""What the service refuses, each with the HTTP status that a caller sees."""


class Refusal(Exception):
    status = 400


class OrderNotFound(Refusal):
    status = 404

    def __init__(self, order_id: str) -> None:
        super().__init__(f"there is no order {order_id}")


class WrongStatus(Refusal):
    status = 409

    def __init__(self, order_id: str, status: str, action: str) -> None:
        super().__init__(f"order {order_id} is {status} and cannot be {action}")


class UnknownProduct(Refusal):
    status = 422

    def __init__(self, skus: list[str]) -> None:
        super().__init__(f"not for sale: {', '.join(skus)}")


class UnknownCountry(Refusal):
    status = 422

    def __init__(self, country: str) -> None:
        super().__init__(f"no deliveries to {country}")


class PaymentDeclined(Refusal):
    status = 402
