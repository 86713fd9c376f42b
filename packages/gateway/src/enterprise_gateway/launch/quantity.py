"""Amounts as Kubernetes writes them: 500m, 2, 1.5Gi."""

import re
from decimal import Decimal

__all__ = ["InvalidQuantity", "quantity"]

_QUANTITY = re.compile(r"([0-9]{1,18}(?:\.[0-9]{0,9})?)(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?")
_FACTORS = {
    "": Decimal(1),
    "m": Decimal("0.001"),
    **{suffix: Decimal(1000) ** power for power, suffix in enumerate("kMGTPE", start=1)},
    **{f"{suffix}i": Decimal(1024) ** power for power, suffix in enumerate("KMGTPE", start=1)},
}


class InvalidQuantity(ValueError):
    """A text is no amount."""


def quantity(text: str) -> Decimal:
    """Return the amount that a text names.

    Raises
    ------
    InvalidQuantity
        It names none that is positive or zero; exponents and signs, which Kubernetes also knows, aren't taken.
    """
    match = _QUANTITY.fullmatch(text)
    if match is None:
        raise InvalidQuantity("write an amount as Kubernetes does: 500m, 2, 4Gi")
    number, suffix = match.groups()
    return Decimal(number) * _FACTORS[suffix or ""]
