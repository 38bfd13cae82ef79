"""Drawdown: valuing a whole account at one price vector (DESIGN section 5); `rules` judges what comes of it.

Guarantee (G7): an account is marked at fresh quotes for every position or not at all, and liquidated only at
quotes fresh enough to liquidate at.
"""

from datetime import datetime

from engine import positions
from engine.account import Account
from engine.events import Mark, MarkedToMarket
from engine.money import ZERO, notional
from engine.positions import Position
from engine.quotes import Quote, Quotes, Use, usable
from engine.rejections import Failure


def needed(account: Account, quotes: Quotes, now: datetime, use: Use) -> dict[str, Quote] | tuple[Failure, ...]:
    """A usable quote for every open position, or every reason why not, by symbol."""
    age_ms_max = account.policy.quote_max_age_ms.of(use)
    found: dict[str, Quote] = {}
    failures: dict[str, Failure] = {}
    for position in in_order(account):
        quote = usable(quotes, position.symbol, now, age_ms_max)
        if isinstance(quote, Quote):
            quote = positions.believed(position, quote)
        if isinstance(quote, Quote):
            found[position.symbol] = quote
        else:
            failures.setdefault(position.symbol, quote)
    return tuple(failures.values()) or found


def in_order(account: Account) -> list[Position]:
    """Open positions by (symbol, side): the order in which they are marked and closed."""
    return [account.positions[key] for key in sorted(account.positions)]


def is_marked_at(account: Account, quotes: dict[str, Quote]) -> bool:
    """Whether a mark at these quotes, one for each position, would leave balance, watermark and valuation as they are:
    it would only say so again."""
    if account.stale or account.equity > account.high_watermark:
        return False
    return all(position.mark_price == quotes[position.symbol].mid for position in account.positions.values())


def mark(account: Account, quotes: dict[str, Quote], pass_id: str) -> MarkedToMarket:
    """Every position at its quote's mid; `quotes` has one for each."""
    marks, unrealized = [], ZERO
    for position in in_order(account):
        quote = quotes[position.symbol]
        gain = position.gain(notional(position.quantity, quote.mid))
        unrealized += gain
        marks.append(
            Mark(
                symbol=position.symbol,
                side=position.side,
                price=quote.mid,
                unrealized_pnl=gain,
                source=quote.source,
                observed_at=quote.observed_at,
            )
        )
    equity = account.cash + unrealized
    return MarkedToMarket(
        pass_id=pass_id,
        marks=tuple(marks),
        cash=account.cash,
        equity=equity,
        unrealized_pnl=unrealized,
        high_watermark=max(account.high_watermark, equity),
    )
