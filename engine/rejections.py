"""How the engine says no: gate codes with the numbers they compared, and refusals of commands.

A no is a value. `Failure` is a gate's verdict on an action (an event, never an HTTP error); `Refusal` is a
command that an account's state does not allow (nothing is written).
"""

from decimal import Decimal
from enum import StrEnum

import msgspec


class GateCode(StrEnum):
    """The gates, in the order they are judged. The order is part of the API."""

    UNSUPPORTED_ACTION = "unsupported_action"
    ACCOUNT_NOT_ACTIVE = "account_not_active"
    ASSET_NOT_ALLOWED = "asset_not_allowed"
    DIRECTION_NOT_ALLOWED = "direction_not_allowed"
    POSITION_NOT_FOUND = "position_not_found"
    PRICE_MISSING = "price_missing"
    PRICE_STALE = "price_stale"
    PRICE_PROTECTION = "price_protection"
    QUANTITY_BELOW_MINIMUM = "quantity_below_minimum"
    QUANTITY_EXCEEDS_POSITION = "quantity_exceeds_position"
    NOTIONAL_EXCEEDS_MAXIMUM = "notional_exceeds_maximum"
    LEVERAGE_EXCEEDS_MAXIMUM = "leverage_exceeds_maximum"
    AGGREGATE_LEVERAGE_EXCEEDED = "aggregate_leverage_exceeded"
    POSITION_EQUITY_EXCEEDED = "position_equity_exceeded"
    INSUFFICIENT_MARGIN = "insufficient_margin"
    MAX_OPEN_POSITIONS_EXCEEDED = "max_open_positions_exceeded"
    MAX_OPEN_ORDERS_EXCEEDED = "max_open_orders_exceeded"


class Failure(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """One failing gate. `context` holds what it compared: decimals as fixed-point text, counts and ages as int."""

    code: GateCode
    context: dict[str, str | int | None]


class Orphan(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """A later fill that takes off more than would be there: `held` is what would be, both in units of the symbol."""

    fill_id: str
    order_id: str
    symbol: str
    side: str
    intent: str
    quantity: Decimal
    held: Decimal
    account_seq: int


class Refusal(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """A command refused without writing anything; `code` is stable, `context` names the figures."""

    code: str
    detail: str
    context: dict[str, str | int | None] = {}
    failures: tuple[Failure, ...] = ()
    orphans: tuple[Orphan, ...] = ()
