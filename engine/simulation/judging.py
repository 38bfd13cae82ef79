"""Judging: the gates of one action, compiled. The twin of `engine.gates`: the same questions in the same order.

The answer is the place of the first failing gate in `GateCode`, from 1; FILLED where none fails; BEYOND_RANGE where the
kernel cannot tell, because a figure leaves its range.
"""

from typing import Final

import numpy as np

from engine.rejections import GateCode
from engine.simulation.actions import CLOSE, FRACTION, LONG_SIDE, NOTIONAL, OPEN, QUANTITY
from engine.simulation.arithmetic import BEYOND, ONE, below, fee, nearest, notional
from engine.simulation.booking import fill_price, gain, is_in_range, part
from engine.simulation.compiled import compiled
from engine.simulation.layout import ACTIVE, MISSING, RANGE, Actions, Book, Limits, Market
from engine.simulation.units import Flags

FILLED: Final = 0
BEYOND_RANGE: Final = -2
CODES: Final = tuple(GateCode)

UNSUPPORTED_ACTION: Final = 1 + CODES.index(GateCode.UNSUPPORTED_ACTION)
ACCOUNT_NOT_ACTIVE: Final = 1 + CODES.index(GateCode.ACCOUNT_NOT_ACTIVE)
ASSET_NOT_ALLOWED: Final = 1 + CODES.index(GateCode.ASSET_NOT_ALLOWED)
DIRECTION_NOT_ALLOWED: Final = 1 + CODES.index(GateCode.DIRECTION_NOT_ALLOWED)
POSITION_NOT_FOUND: Final = 1 + CODES.index(GateCode.POSITION_NOT_FOUND)
PRICE_MISSING: Final = 1 + CODES.index(GateCode.PRICE_MISSING)
PRICE_STALE: Final = 1 + CODES.index(GateCode.PRICE_STALE)
PRICE_PROTECTION: Final = 1 + CODES.index(GateCode.PRICE_PROTECTION)
QUANTITY_BELOW_MINIMUM: Final = 1 + CODES.index(GateCode.QUANTITY_BELOW_MINIMUM)
QUANTITY_EXCEEDS_POSITION: Final = 1 + CODES.index(GateCode.QUANTITY_EXCEEDS_POSITION)
NOTIONAL_EXCEEDS_MAXIMUM: Final = 1 + CODES.index(GateCode.NOTIONAL_EXCEEDS_MAXIMUM)
LEVERAGE_EXCEEDS_MAXIMUM: Final = 1 + CODES.index(GateCode.LEVERAGE_EXCEEDS_MAXIMUM)
AGGREGATE_LEVERAGE_EXCEEDED: Final = 1 + CODES.index(GateCode.AGGREGATE_LEVERAGE_EXCEEDED)
POSITION_EQUITY_EXCEEDED: Final = 1 + CODES.index(GateCode.POSITION_EQUITY_EXCEEDED)
INSUFFICIENT_MARGIN: Final = 1 + CODES.index(GateCode.INSUFFICIENT_MARGIN)
MAX_OPEN_POSITIONS_EXCEEDED: Final = 1 + CODES.index(GateCode.MAX_OPEN_POSITIONS_EXCEEDED)
MAX_OPEN_ORDERS_EXCEEDED: Final = 1 + CODES.index(GateCode.MAX_OPEN_ORDERS_EXCEEDED)


@compiled
def judged(
    market: Market, tick: int, limits: Limits, allows: Flags, book: Book, actions: Actions, row: int
) -> tuple[int, int, int, int]:
    """(code, price, quantity, leverage) of an action; the last three are those of its fill, where it passes."""
    account, kind = book.account, actions.kind[row]
    if kind > CLOSE:
        return UNSUPPORTED_ACTION, 0, 0, 0
    if account.status != ACTIVE:
        return ACCOUNT_NOT_ACTIVE, 0, 0, 0
    symbol, is_opening = actions.symbol[row], kind == OPEN
    if not allows[symbol]:
        return ASSET_NOT_ALLOWED, 0, 0, 0
    slot = 2 * symbol + actions.side[row]
    if is_opening and not _is_direction_allowed(limits, book, slot):
        return DIRECTION_NOT_ALLOWED, 0, 0, 0
    held = book.positions[slot].quantity
    if not is_opening and held == 0:
        return POSITION_NOT_FOUND, 0, 0, 0
    if market.age[tick, symbol] > limits.trade_age:
        return PRICE_MISSING if market.age[tick, symbol] == MISSING else PRICE_STALE, 0, 0, 0
    price = fill_price(market, tick, limits, slot, is_opening)
    highest, lowest = actions.max_price[row], actions.min_price[row]
    if (highest and price > highest) or price < lowest:
        return PRICE_PROTECTION, 0, 0, 0
    quantity = _quantity(actions, row, held, price)
    if quantity <= 0:
        return QUANTITY_BELOW_MINIMUM, 0, 0, 0
    if not is_opening:
        code = QUANTITY_EXCEEDS_POSITION if quantity > held else FILLED
        return code, price, quantity, 0
    leverage = actions.leverage[row] if actions.leverage[row] else limits.max_leverage
    return _exposed(market, tick, limits, book, slot, quantity, price, leverage), price, quantity, leverage


@compiled
def _is_direction_allowed(limits: Limits, book: Book, slot: int) -> bool:
    allowed = limits.allows_long if (slot & 1) == LONG_SIDE else limits.allows_short
    opposite: int = book.positions[slot ^ 1].quantity
    return allowed != 0 and (limits.allow_hedging != 0 or opposite == 0)


@compiled
def _quantity(actions: Actions, row: int, held: int, price: int) -> int:
    kind, sizing = actions.kind[row], actions.sizing[row]
    size: int = actions.size[row]
    if kind == CLOSE:
        return held
    if sizing == QUANTITY:
        return size
    if kind == OPEN and sizing == NOTIONAL:
        return below(size, ONE, price)
    if kind != OPEN and sizing == FRACTION:
        return part(held, size)
    return 0


@compiled
def _exposed(
    market: Market, tick: int, limits: Limits, book: Book, slot: int, quantity: int, price: int, leverage: int
) -> int:
    """Gates 11 to 17, which only an opening is asked."""
    account = book.account
    order_notional = notional(quantity, price)
    if order_notional > limits.max_notional:
        return NOTIONAL_EXCEEDS_MAXIMUM
    if quantity >= BEYOND or order_notional >= RANGE:
        too_much = np.float64(limits.max_notional) * 1e8 * 1.000001
        return NOTIONAL_EXCEEDS_MAXIMUM if np.float64(quantity) * np.float64(price) > too_much else BEYOND_RANGE
    if not ONE <= leverage <= limits.max_leverage:
        return LEVERAGE_EXCEEDS_MAXIMUM
    equity, open_notional, margin_used, held_notional = _valued(market, tick, limits, book, slot)
    if equity <= 0 or open_notional + order_notional > below(equity, limits.max_leverage, ONE):
        return AGGREGATE_LEVERAGE_EXCEEDED
    if held_notional + order_notional > below(equity, limits.position_equity_ratio, ONE):
        return POSITION_EQUITY_EXCEEDED
    if nearest(order_notional, ONE, leverage) + fee(order_notional, limits.fee_bps) > equity - margin_used:
        return INSUFFICIENT_MARGIN
    if book.positions[slot].quantity == 0 and account.open_positions >= limits.max_open_positions:
        return MAX_OPEN_POSITIONS_EXCEEDED
    if limits.max_open_orders == 0:  # an order fills whole or is never made: none stays open
        return MAX_OPEN_ORDERS_EXCEEDED
    return FILLED if is_in_range(market, book, slot, quantity, order_notional) else BEYOND_RANGE


@compiled
def _valued(market: Market, tick: int, limits: Limits, book: Book, slot: int) -> tuple[int, int, int, int]:
    """Equity, open notional, margin used and the notional of `slot`: at fresh quotes where there are, else at the last
    marks."""
    equity, open_notional, margin_used, held_notional = book.account.cash, 0, 0, 0
    for place in range(book.account.open_positions):
        each = book.open[place]
        position = book.positions[each]
        worth = position.worth
        if market.age[tick, each >> 1] <= limits.trade_age:
            worth = notional(position.quantity, market.mid[tick, each >> 1])
        equity += gain(book, each, worth)
        open_notional += worth
        margin_used += nearest(worth, ONE, position.leverage)
        if each == slot:
            held_notional = worth
    return equity, open_notional, margin_used, held_notional
