"""Marking: valuing an account at a tick, and what its floors and its goal make of it, compiled.

The twin of `engine.drawdown`, `engine.rules` and `engine.day`.
"""

from engine.simulation.arithmetic import ONE, above, below, notional
from engine.simulation.booking import fill_price, gain, take_off
from engine.simulation.compiled import compiled, inlined
from engine.simulation.layout import (
    COMPLETED,
    LIQUIDATED,
    MAX_DAILY_LOSS,
    MAX_DRAWDOWN,
    NO_REASON,
    PROFIT_TARGET,
    TRAILING_DRAWDOWN,
    Account,
    Book,
    Limits,
    Market,
)
from engine.simulation.policies import BALANCE, BY_AMOUNT, INITIAL, INTRADAY_EQUITY, NO_RULE
from engine.simulation.recording import close_days, end, show


@compiled
def begin(market: Market, limits: Limits, account: Account, starting_balance: int) -> None:
    """A new account, active before the first tick."""
    account.ended_tick = -1
    account.starting_balance = starting_balance
    account.cash = starting_balance
    account.equity = starting_balance
    account.high_watermark = starting_balance
    account.lowest = starting_balance
    account.day_before = starting_balance
    account.liquidation_equity = below(starting_balance, ONE - limits.max_drawdown, ONE)
    account.trailing_size = _size(limits.trailing_kind, limits.trailing_size, starting_balance)
    account.goal = starting_balance + _size(limits.target_kind, limits.target_size, starting_balance)
    account.closing_peak = starting_balance
    _begin_day(limits, account, market.day[0])


@compiled
def turn_day(limits: Limits, account: Account, day: int) -> None:
    """A later day begins with the figures with which the one before it ended."""
    close_days(account, day - account.day)
    _begin_day(limits, account, day)


@compiled
def _begin_day(limits: Limits, account: Account, day: int) -> None:
    account.day = day
    account.has_traded = 0
    account.closing_peak = max(account.closing_peak, account.cash)
    anchor = account.cash if limits.daily_loss_of == BALANCE else account.equity
    basis = account.starting_balance if limits.daily_loss_basis == INITIAL else anchor
    account.daily_floor = anchor - _size(limits.daily_loss_kind, limits.daily_loss_size, basis)


@inlined
def mark(market: Market, tick: int, limits: Limits, book: Book) -> None:
    """Value every position at fresh quotes, or none; then judge."""
    account = book.account
    if account.open_positions:
        if not _is_priced(market, tick, limits.mark_age, book):
            return
        equity = account.cash
        for place in range(account.open_positions):
            slot = book.open[place]
            worth = notional(book.positions[slot].quantity, market.mid[tick, slot >> 1])
            book.positions[slot].worth = worth
            equity += gain(book, slot, worth)
        show(account, equity)
        account.marks += 1
        if equity > account.liquidation_equity and not limits.has_rules:
            return
    elif not limits.has_rules:
        return
    _judge(market, tick, limits, book)


@compiled
def _judge(market: Market, tick: int, limits: Limits, book: Book) -> None:
    account = book.account
    reason, floor = _broken(limits, account)
    if reason == NO_REASON and _is_goal_reached(limits, account):
        reason = PROFIT_TARGET
    if reason != NO_REASON and _is_priced(market, tick, limits.liquidate_age, book):
        account.broken_equity = account.equity
        account.broken_floor = floor
        _end(market, tick, limits, book, reason)


@inlined
def _is_priced(market: Market, tick: int, age_max: int, book: Book) -> bool:
    for place in range(book.account.open_positions):  # noqa: SIM110 - no generator can be compiled
        if market.age[tick, book.open[place] >> 1] > age_max:
            return False
    return True


@compiled
def _broken(limits: Limits, account: Account) -> tuple[int, int]:
    """The rule to blame and its floor: of floors that are broken the highest, and of equal ones the first."""
    reason, highest = NO_REASON, 0
    if account.open_positions and account.equity <= account.liquidation_equity:
        reason, highest = MAX_DRAWDOWN, account.liquidation_equity
    floor = account.daily_floor
    if limits.daily_loss_kind != NO_RULE and account.equity <= floor and (reason == NO_REASON or floor > highest):
        reason, highest = MAX_DAILY_LOSS, floor
    floor = _trailing_floor(limits, account)
    if limits.trailing_kind != NO_RULE and account.equity <= floor and (reason == NO_REASON or floor > highest):
        reason, highest = TRAILING_DRAWDOWN, floor
    return reason, highest


@compiled
def _trailing_floor(limits: Limits, account: Account) -> int:
    peak = account.high_watermark if limits.trailing_mode == INTRADAY_EQUITY else account.closing_peak
    floor = peak - account.trailing_size
    return min(floor, account.starting_balance) if limits.trailing_locks_at_start else floor


@compiled
def _is_goal_reached(limits: Limits, account: Account) -> bool:
    return (
        limits.target_kind != NO_RULE
        and account.equity >= account.goal
        and account.trading_days >= limits.target_min_trading_days
    )


@compiled
def _size(kind: int, size: int, basis: int) -> int:
    """The amount, or the fraction of a basis; nothing is lost of a basis that is gone."""
    if kind == NO_RULE:
        return 0
    return size if kind == BY_AMOUNT else above(max(basis, 0), size, ONE)


@compiled
def _end(market: Market, tick: int, limits: Limits, book: Book, reason: int) -> None:
    """Every position is taken off through the ordinary fill, in (symbol, side) order."""
    account = book.account
    while account.open_positions:
        slot = book.open[0]
        closing, quantity = book.closings[slot], book.positions[slot].quantity
        price = fill_price(market, tick, limits, slot, False)
        closing.quantity = quantity
        closing.price = price
        closing.notional, closing.fee, closing.realized = take_off(market, tick, limits, book, slot, quantity, price)
    account.status = COMPLETED if reason == PROFIT_TARGET else LIQUIDATED
    account.reason = reason
    account.ended_tick = tick
    end(account, market.time[tick])
