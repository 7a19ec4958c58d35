"""Why the price of a stack moved, from the `cost` that each revision's own program tells.

Every line of the two bills is a quantity times a rate. What moved by the rate is the price's doing, what moved by the
quantity is that of the resources where a line is paid for always, and that of use where it is not. The three add up to
the difference.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Cost = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class PriceChange:
    """US dollars a month as expected; None is unknown. The causes are there where both are known."""

    before: float | None
    after: float | None
    by_price: float = 0.0
    by_quantity: float = 0.0
    by_use: float = 0.0
    currency: str = "USD"
    is_whole: bool = True
    """Whether every machine of both has a price."""
    lines: tuple[tuple[str, float], ...] = ()
    """What moved, the largest first: the line and by how much."""

    @property
    def difference(self) -> float | None:
        """By how much it moved; None where either is unknown."""
        return None if self.before is None or self.after is None else self.after - self.before


def price_change(before: Cost | None, after: Cost | None, *, is_new: bool = False) -> PriceChange:
    """Compare two costs; None is unknown. A stack that is new costs nothing before."""
    empty: Cost = {"monthly": {"expected": 0.0}, "lines": [], "isWhole": True, "currency": "USD"}
    old, new = empty if is_new else before, after
    known = [cost for cost in (old, new) if cost is not None]
    if old is None or new is None:
        return PriceChange(
            before=None if old is None else old["monthly"]["expected"],
            after=None if new is None else new["monthly"]["expected"],
            is_whole=all(cost["isWhole"] for cost in known),
        )
    lines = {key: (_lines(old).get(key), _lines(new).get(key)) for key in {**_lines(old), **_lines(new)}}
    causes = {"price": 0.0, "quantity": 0.0, "use": 0.0}
    moved: list[tuple[str, float]] = []
    for key, (was, now) in lines.items():
        there = now or was or {}
        rate = (was or there)["rate"]
        amounts = [0.0 if line is None else line["quantity"]["expected"] for line in (was, now)]
        by_price = amounts[1] * (there["rate"] - rate)
        by_amount = (amounts[1] - amounts[0]) * rate
        causes["price"] += by_price
        causes["quantity" if there["alwaysOn"] else "use"] += by_amount
        if abs(by_price + by_amount) >= 0.01:
            moved.append((key[1], by_price + by_amount))
    return PriceChange(
        before=old["monthly"]["expected"],
        after=new["monthly"]["expected"],
        by_price=causes["price"],
        by_quantity=causes["quantity"],
        by_use=causes["use"],
        currency=str(new["currency"]),
        is_whole=bool(old["isWhole"] and new["isWhole"]),
        lines=tuple(sorted(moved, key=lambda line: (-abs(line[1]), line[0]))),
    )


def _lines(cost: Cost) -> dict[tuple[str, str, str], Mapping[str, Any]]:
    """Lines by what they are for. Two of one name, such as two claims of one size, are told apart by their place."""
    found: dict[tuple[str, str, str], Mapping[str, Any]] = {}
    for line in cost["lines"]:
        what = line["what"] if line["what"].startswith(line["resource"]) else f"{line['resource']}: {line['what']}"
        place = 0
        while (key := (line["part"], what, f"{line['unit']} {place}")) in found:
            place += 1
        found[key] = line
    return found
