"""Booking: what a fill does to an account, compiled. The twin of `engine.fills` and `engine.positions`.

Everything here happens after every gate has passed, so nothing is refused; `RANGE` was looked at before.
"""

import numpy as np

from engine.simulation.actions import LONG_SIDE
from engine.simulation.arithmetic import BEYOND, ONE, PRODUCT_MAX, below, fee, nearest, notional, slipped
from engine.simulation.compiled import compiled, inlined
from engine.simulation.layout import RANGE, Account, Book, Limits, Market
from engine.simulation.policies import FIXED_BPS, SPREAD
from engine.simulation.recording import close_episode, expose, show, unexpose


@compiled
def fill_price(market: Market, tick: int, limits: Limits, slot: int, is_opening: bool) -> int:
    """Opening long and taking a short off buy; the others sell."""
    symbol, is_buy = slot >> 1, ((slot & 1) == LONG_SIDE) == is_opening
    price: int = market.mid[tick, symbol]
    if limits.slippage_model == SPREAD:
        price = market.ask[tick, symbol] if is_buy else market.bid[tick, symbol]
    elif limits.slippage_model == FIXED_BPS:
        price = slipped(price, limits.slippage_bps, 1 if is_buy else -1)
    return price


@inlined
def gain(book: Book, slot: int, worth: int) -> int:
    """Gross PnL that is not realized, where the position is worth so much."""
    cost: int = book.positions[slot].cost
    return worth - cost if (slot & 1) == LONG_SIDE else cost - worth


@compiled
def add(
    market: Market, tick: int, limits: Limits, book: Book, slot: int, quantity: int, price: int, leverage: int
) -> tuple[int, int]:
    """Open a position or add to it; returns notional and fee. The whole position takes the new leverage."""
    account, position = book.account, book.positions[slot]
    if position.quantity == 0:
        if account.open_positions == 0:
            expose(account, market.time[tick])
        _insert(book, slot)
        _has_opened(account)
        before = 0
    else:
        before = gain(book, slot, position.worth)
    order_notional = notional(quantity, price)
    charged = fee(order_notional, limits.fee_bps)
    position.quantity += quantity
    position.cost += order_notional
    position.leverage = leverage
    position.worth = notional(position.quantity, market.mid[tick, slot >> 1])
    position.fees += charged
    account.cash -= charged
    account.fees_paid += charged
    account.fills += 1
    account.traded += order_notional
    show(account, account.equity - charged + gain(book, slot, position.worth) - before)
    return order_notional, charged


@compiled
def take_off(
    market: Market, tick: int, limits: Limits, book: Book, slot: int, quantity: int, price: int
) -> tuple[int, int, int]:
    """Reduce a position or close it; returns notional, fee and the gross realized PnL."""
    account, position = book.account, book.positions[slot]
    before = gain(book, slot, position.worth)
    order_notional = notional(quantity, price)
    charged = fee(order_notional, limits.fee_bps)
    if quantity == position.quantity:
        cost = position.cost
        position.leverage = 0
        _remove(book, slot)
        if account.open_positions == 0:
            unexpose(account, market.time[tick])
    else:
        cost = nearest(position.cost, quantity, position.quantity)
    realized = order_notional - cost if (slot & 1) == LONG_SIDE else cost - order_notional
    position.quantity -= quantity
    position.cost -= cost
    position.worth = notional(position.quantity, market.mid[tick, slot >> 1])
    position.realized_pnl += realized
    position.fees += charged
    account.cash += realized - charged
    account.realized_pnl += realized
    account.fees_paid += charged
    account.fills += 1
    account.traded += order_notional
    if position.quantity == 0:
        close_episode(account, position)
    show(account, account.equity + realized - charged + gain(book, slot, position.worth) - before)
    return order_notional, charged, realized


@compiled
def is_in_range(market: Market, book: Book, slot: int, quantity: int, order_notional: int) -> bool:
    """Whether the account's figures stay in the kernel's range when this order opens or adds: at the highest price that
    comes, so that no mark and no close has to ask again."""
    account, position = book.account, book.positions[slot]
    total, cost = position.quantity + quantity, position.cost + order_notional
    if total >= BEYOND or np.float64(total) * np.float64(cost) >= PRODUCT_MAX:  # a part of the cost could not be told
        return False
    reach = (
        abs(np.float64(account.cash))
        + order_notional
        + np.float64(total) * np.float64(market.highest[slot >> 1]) * 1e-8
    )
    for place in range(account.open_positions):
        each = book.open[place]
        reach += book.positions[each].cost
        if each != slot:
            reach += np.float64(book.positions[each].quantity) * np.float64(market.highest[each >> 1]) * 1e-8
    return bool(reach < RANGE)


@compiled
def part(quantity: int, fraction: int) -> int:
    """`fraction` of a position's quantity, rounded down unless it is the whole."""
    return below(quantity, fraction, ONE)


@compiled
def _has_opened(account: Account) -> None:
    if not account.has_traded:
        account.has_traded = 1
        account.trading_days += 1


@compiled
def _insert(book: Book, slot: int) -> None:
    place = book.account.open_positions
    while place > 0 and book.open[place - 1] > slot:
        book.open[place] = book.open[place - 1]
        place -= 1
    book.open[place] = slot
    book.account.open_positions += 1


@compiled
def _remove(book: Book, slot: int) -> None:
    account = book.account
    account.open_positions -= 1
    place = 0
    while book.open[place] != slot:
        place += 1
    for later in range(place, account.open_positions):
        book.open[later] = book.open[later + 1]
