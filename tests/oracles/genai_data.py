"""The data of the genai-prices package, in the shape of the data.json that the project publishes.

Prices are JSON numbers there, and here: written digit for digit, through no binary float.
"""

import dataclasses
import datetime
import json
import sys
from decimal import Decimal

from genai_prices import types
from genai_prices.data import providers


def encode(value):
    """A value of the package as JSON text; what is not set is left out."""
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, (datetime.date, datetime.time)):
        return json.dumps(value.isoformat())
    if isinstance(value, types.ModelPrice):
        return encode({key: price for key, price in vars(value).items() if price is not None})
    if dataclasses.is_dataclass(value):
        fields = {field.name: getattr(value, field.name, None) for field in dataclasses.fields(value)}
        return encode({
            # `or` and `and` are words of Python's.
            name.rstrip("_"): field
            for name, field in fields.items()
            if field is not None and not name.startswith("_")
        })
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(key)}:{encode(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(map(encode, value)) + "]"
    return json.dumps(value)


if __name__ == "__main__":
    with open(sys.argv[1], "w", encoding="utf-8") as file:
        file.write(encode(providers))
