"""Tallying: what the events of an exact run come to, as rows of the outcome."""

from collections.abc import Iterable, Sequence
from decimal import Decimal

from engine.account import Account
from engine.events import (
    AccountCompleted,
    AccountLiquidated,
    ActionRejected,
    Event,
    FillBooked,
    LiquidationTriggered,
    MarkedToMarket,
)
from engine.simulation.actions import NO_SIDE, NO_SYMBOL, SIDES, UNKNOWN, WORDS
from engine.simulation.outcome import (
    ACCOUNTS,
    CODES,
    FILLED,
    FILLS,
    INTENTS,
    LIQUIDATIONS,
    NO_TICK,
    NONE,
    REJECTIONS,
    RULES,
    STATUSES,
    VERDICTS,
    Outcome,
    Rows,
    by_account,
)
from engine.simulation.units import FIGURE_MAX, Ints, decimal, units
from engine.statistics import statistics

_CODES = {code: place for place, code in enumerate(CODES, 1)}
_KINDS = {word: kind for kind, word in enumerate(WORDS)}
_SIDES = {side: place for place, side in enumerate(SIDES)}
_INTENTS = {intent: place for place, intent in enumerate(INTENTS)}
FIGURE = "a fill's figure"
NAN = float("nan")
LARGEST = decimal(FIGURE_MAX)
"""No action can ask for more here, so where more would have passed this is the largest quantity that would."""


class Tallying:
    """Takes events of accounts, named by their place from `first` on, in the order in which they happen."""

    def __init__(self, symbols: Sequence[str], first: int, recorded: Iterable[int] | None = None) -> None:
        """`recorded`: the rows of the recorded actions that will be judged, in that order."""
        self._first = first
        self._symbols = {symbol: place for place, symbol in enumerate(symbols)}
        self._fills = Rows(FILLS)
        self._rejections = Rows(REJECTIONS)
        self._liquidations = Rows(LIQUIDATIONS)
        self._recorded = None if recorded is None else iter(recorded)
        self._verdicts = None if recorded is None else Rows(VERDICTS)
        self._ended: dict[int, int] = {}

    def acted(self, place: int, tick: int, events: Iterable[Event]) -> None:
        """What actions brought: of each either an order with its fill, or a rejection."""
        for event in events:
            if type(event) is FillBooked:  # `isinstance` would ask its metaclass, which takes longer
                self._judged(place, FILLED, *self._filled(place, tick, event))
            elif type(event) is ActionRejected:
                self._rejected(place, tick, event)
                self._judged(place, _CODES[event.code], 0, 0, 0, 0)

    def marked(self, place: int, tick: int, events: Iterable[Event]) -> None:
        """What a mark brought, also the end of the account."""
        for event in events:
            if type(event) is MarkedToMarket:
                continue  # most often, and equity is seen on the account
            if isinstance(event, FillBooked):
                self._filled(place, tick, event)
            elif isinstance(event, LiquidationTriggered):
                floor = event.liquidation_equity if event.broken is None else event.broken.floor
                equity = units(event.equity, "equity")
                rule = RULES.index(event.trigger)
                self._liquidations.add(self._first + place, tick, rule, equity, units(floor, "a floor"))
            elif isinstance(event, AccountLiquidated | AccountCompleted):
                self._ended[place] = tick

    def outcome(self, ticks: Ints, equity: Ints, accounts: Sequence[tuple[Account, Account]]) -> Outcome:
        """All of it. `accounts`: each as it is, and as it would have ended."""
        rows = Rows(ACCOUNTS)
        for place, (account, ended) in enumerate(accounts):
            rows.add(*self._account(place, account, ended))
        return Outcome(
            first=self._first,
            equity_ticks=ticks,
            equity=equity,
            fills=by_account(self._fills.columns()),
            rejections=by_account(self._rejections.columns()),
            liquidations=by_account(self._liquidations.columns()),
            accounts=rows.columns(),
            end_reasons=[account.end_reason for account, _ in accounts],
            account_ids=[account.id for account, _ in accounts],
            verdicts=None if self._verdicts is None else by_account(self._verdicts.columns()),
        )

    def _judged(self, place: int, code: int, *figures: int) -> None:
        """Recorded actions are judged in the order of their rows."""
        if self._verdicts is not None and self._recorded is not None:
            self._verdicts.add(self._first + place, next(self._recorded), code, *figures)

    def _filled(self, place: int, tick: int, fill: FillBooked) -> tuple[int, int, int, int]:
        """Gives what its verdict says: price, quantity, fee and realized PnL."""
        price, quantity = units(fill.price, FIGURE), units(fill.quantity, FIGURE)
        fee, realized = units(fill.fee, FIGURE), units(fill.realized_pnl, FIGURE)
        self._fills.add(
            self._first + place,
            tick,
            self._symbols.get(fill.symbol, NO_SYMBOL),
            _SIDES[fill.side],
            _INTENTS[fill.intent],
            quantity,
            price,
            units(fill.notional, FIGURE),
            fee,
            realized,
        )
        return price, quantity, fee, realized

    def _rejected(self, place: int, tick: int, rejected: ActionRejected) -> None:
        action = rejected.action
        self._rejections.add(
            self._first + place,
            tick,
            _KINDS.get(action.action, UNKNOWN),
            NO_SYMBOL if action.symbol is None else self._symbols.get(action.symbol, NO_SYMBOL),
            NO_SIDE if action.side is None else _SIDES[action.side],
            _CODES[rejected.code],
            sum(1 << _CODES[failure.code] - 1 for failure in rejected.failures),
            NONE if rejected.max_quantity is None else units(min(rejected.max_quantity, LARGEST), "maxQuantity"),
        )

    def _account(self, place: int, account: Account, ended: Account) -> tuple[int | float, ...]:
        counters, figures = account.counters, statistics(ended)
        money = (
            account.starting_balance,
            account.cash,
            account.equity,
            account.realized_pnl,
            account.fees_paid,
            account.high_watermark,
        )
        return (
            STATUSES.index(account.status),
            self._ended.get(place, NO_TICK),
            *(units(figure, "an account's figure") for figure in money),
            counters.actions,
            counters.executed,
            counters.rejected,
            counters.fills,
            counters.marks,
            figures.trades,
            figures.days,
            *(_share(getattr(figures, name)) for name in SHARES),
        )


SHARES = tuple(name for name, dtype in ACCOUNTS.items() if dtype().dtype.kind == "f")


def _share(value: Decimal | None) -> float:
    return NAN if value is None else float(value)
