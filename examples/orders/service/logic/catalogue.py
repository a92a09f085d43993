"""What is for sale, read once from the package's own YAML."""

from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from importlib.resources import files

import yaml


@dataclass(frozen=True)
class Product:
    sku: str
    name: str
    price: Decimal


@dataclass(frozen=True)
class Catalogue:
    currency: str
    seller: dict[str, str]
    products: dict[str, Product]
    tax_rates: dict[str, Decimal]


@cache
def catalogue() -> Catalogue:
    table = yaml.safe_load(files("service").joinpath("data", "catalogue.yaml").read_text(encoding="utf-8"))
    return Catalogue(
        currency=table["currency"],
        seller=table["seller"],
        products={
            sku: Product(sku=sku, name=row["name"], price=Decimal(row["price"]))
            for sku, row in table["products"].items()
        },
        tax_rates={country: Decimal(rate) for country, rate in table["tax_rates"].items()},
    )
