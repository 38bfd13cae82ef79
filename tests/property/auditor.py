"""The auditor: a second, slow opinion on one account, written from the design without any of the engine's arithmetic.

It is told what was asked and which quotes there were, and keeps its own books in exact fractions. From the engine it
takes only the structs it reads (commands, policy, quotes), never a number that the engine computed.
"""

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from fractions import Fraction
from math import floor

from engine.commands import Action, CreateAccount
from engine.policy import MaxDailyLoss, Policy, ProfitTarget, Side, TrailingDrawdown
from engine.quotes import Quote

Market = dict[str, Quote]
GRID = 10**8
TRANSITIONS = {
    # state: start, pause, lock, resume, complete, liquidate (None: refused)
    "pending": ("active", None, None, None, None, None),
    "active": ("active", "paused", "locked", "active", "completed", "liquidated"),
    "paused": (None, "paused", "locked", "active", "completed", "liquidated"),
    "locked": (None, None, "locked", "active", "completed", "liquidated"),
    "completed": (None, None, None, None, None, None),
    "liquidated": (None, None, None, None, None, None),
}
VERBS = ("start", "pause", "lock", "resume", "complete", "liquidate")
WORDS = ("open", "reduce", "close")
QUANTITY_BOUND = 10**16
WORTH_BOUND = 10**14
"""What a position may hold, and cost or be worth, is below these: tables hold no more."""
SIZE_GATES = {
    "notional_exceeds_maximum",
    "aggregate_leverage_exceeded",
    "position_equity_exceeded",
    "insufficient_margin",
}


def nearest(value: Fraction) -> Fraction:
    """On the grid of 1e-8, ties to even (which is what `round` does to a fraction)."""
    return Fraction(round(value * GRID), GRID)


def below(value: Fraction) -> Fraction:
    """The grid point at or below."""
    return Fraction(floor(value * GRID), GRID)


def sound(quote: Quote | None) -> bool:
    """Whether a quote is a price at all."""
    if quote is None:
        return False
    if not all(price.is_finite() and price > 0 for price in (quote.bid, quote.ask, quote.mid)):
        return False
    return quote.bid <= quote.mid <= quote.ask


def timely(quote: Quote, now: datetime, age_ms_max: int) -> bool:
    age = now - quote.observed_at
    return timedelta(seconds=-5) <= age <= timedelta(milliseconds=age_ms_max)


@dataclass
class Holding:
    """An open position: what it holds, what that cost, and what it was last worth."""

    quantity: Fraction
    cost: Fraction
    leverage: Fraction
    worth: Fraction

    def gain(self, side: Side, worth: Fraction | None = None) -> Fraction:
        difference = (self.worth if worth is None else worth) - self.cost
        return difference if side == "long" else -difference


def believed(holding: Holding, quote: Quote) -> bool:
    """A price that would make a position worth more than a table holds is a bad tick."""
    return nearest(holding.quantity * Fraction(quote.ask)) < WORTH_BOUND


@dataclass
class Traded:
    """A fill as the auditor would have booked it."""

    symbol: str
    side: Side
    quantity: Fraction
    price: Fraction
    notional: Fraction
    fee: Fraction
    realized: Fraction
    leverage: Fraction


@dataclass
class Step:
    """One line of the journal: a fill (by its place among all), or the mids of a mark, or only a time."""

    at: datetime
    fill: int | None = None
    opening: bool = False
    mids: dict[str, Fraction] = field(default_factory=dict)


@dataclass
class Voided:
    """Why a void is refused, if it is; the fills that go out, by their places: where it is refused, the orphans."""

    code: str | None = None
    places: list[int] = field(default_factory=list)


@dataclass
class Verdict:
    """Codes of the gates that fail, and the largest size that would have passed; or the fill."""

    codes: list[str] = field(default_factory=list)
    quantity_max: Fraction | None = None
    traded: Traded | None = None


@dataclass
class Limits:
    """The four exposure limits of one opening order."""

    policy: Policy
    price: Fraction
    leverage: Fraction
    equity: Fraction
    open_notional: Fraction
    held: Fraction
    free_margin: Fraction
    ask: Fraction
    held_quantity: Fraction
    held_cost: Fraction

    def broken(self, quantity: Fraction) -> list[str]:
        notional = nearest(quantity * self.price)
        most = Fraction(self.policy.max_leverage)
        ratio = self.policy.max_position_equity_ratio
        share = most if ratio is None else Fraction(ratio)
        codes = []
        if notional > Fraction(self.policy.max_notional) or self._beyond(quantity, notional):
            codes.append("notional_exceeds_maximum")
        if self.equity <= 0 or self.open_notional + notional > most * self.equity:
            codes.append("aggregate_leverage_exceeded")
        if self.held + notional > share * self.equity:
            codes.append("position_equity_exceeded")
        if self.leverage > 0:
            fee = nearest(notional * Fraction(self.policy.fee_bps) / 10_000)
            if nearest(notional / self.leverage) + fee > self.free_margin:
                codes.append("insufficient_margin")
        return codes

    def _beyond(self, quantity: Fraction, notional: Fraction) -> bool:
        """Whether the position would outgrow what a table holds."""
        whole = self.held_quantity + quantity
        costs = self.held_cost + notional
        return whole >= QUANTITY_BOUND or costs >= WORTH_BOUND or nearest(whole * self.ask) >= WORTH_BOUND

    def quantity_max(self) -> Fraction | None:
        """By halving between nothing and what no limit could let through."""
        most = floor((Fraction(self.policy.max_notional) + 1) / self.price * GRID) + 1
        passes, fails = 0, most
        while fails - passes > 1:
            middle = (passes + fails) // 2
            if self.broken(Fraction(middle, GRID)):
                fails = middle
            else:
                passes = middle
        return Fraction(passes, GRID) if passes else None


@dataclass
class Limit:
    """A floor as the auditor would have hung it."""

    rule: str
    anchor: Fraction
    floor: Fraction

    def warns(self, equity: Fraction) -> bool:
        return equity <= self.anchor - (self.anchor - self.floor) * 4 / 5


class Auditor:
    """The books of one account, kept by hand.

    The days are kept as a diary: what the account stood at after the last thing that happened on a date. What a rule
    hangs from is looked up in it, so that no turn of a day has to be noticed.
    """

    def __init__(self, opening: CreateAccount, at: datetime) -> None:
        self.opening = opening
        self.began_at = at
        self.policy = opening.policy
        self.starting = Fraction(opening.starting_balance)
        self.status = "pending"
        self.realized = Fraction(0)
        self.fees = Fraction(0)
        self.watermark = self.starting
        self.holdings: dict[tuple[str, Side], Holding] = {}
        self.stale: list[tuple[str, str]] = []
        self.at = at
        self.diary: dict[date, tuple[Fraction, Fraction]] = {at.date(): (self.starting, self.starting)}
        self.traded_on: set[date] = set()
        self.warned: set[tuple[date, str]] = set()
        self.reason: str | None = None
        self.fills: list[Traded] = []
        self.out: set[int] = set()
        self.journal: list[Step] = []

    # ------------------------------------------------------------ days and rules

    def day(self, now: datetime) -> date:
        """No event is dated before the one it follows."""
        return max(self.at, now).date()

    def _write(self, now: datetime) -> None:
        self.at = max(self.at, now)
        self.diary[self.at.date()] = (self.cash, self.equity)
        self.journal.append(Step(self.at))

    def began_with(self, day: date) -> tuple[Fraction, Fraction]:
        """Balance and equity that the latest day before had ended with."""
        before = [each for each in self.diary if each < day]
        return self.diary[max(before)] if before else (self.starting, self.starting)

    def limits(self, day: date) -> list[Limit]:
        """Floors of the prop rules, on the grid as all that is compared with equity."""
        found, policy = [], self.policy
        if policy.max_daily_loss is not None:
            daily = policy.max_daily_loss
            balance, equity = self.began_with(day)
            anchor = balance if daily.of == "balance" else equity
            basis = self.starting if daily.basis == "initial" else anchor
            found.append(Limit("max_daily_loss", anchor, below(anchor - self._size(daily, basis))))
        if policy.trailing_drawdown is not None:
            trailing = policy.trailing_drawdown
            closes = [balance for each, (balance, _) in self.diary.items() if each < day]
            peak = self.watermark if trailing.mode == "intraday_equity" else max([self.starting, *closes])
            floor = below(peak - self._size(trailing, self.starting))
            found.append(
                Limit("trailing_drawdown", peak, min(floor, self.starting) if trailing.locks_at_start else floor)
            )
        return found

    def goal(self) -> Fraction | None:
        target = self.policy.profit_target
        return None if target is None else self.starting + self._size(target, self.starting)

    @staticmethod
    def _size(rule: MaxDailyLoss | TrailingDrawdown | ProfitTarget, basis: Fraction) -> Fraction:
        if rule.amount is not None:
            return Fraction(rule.amount)
        assert rule.fraction is not None
        return Fraction(rule.fraction) * max(basis, Fraction(0))

    # ------------------------------------------------------------ figures

    @property
    def cash(self) -> Fraction:
        return self.starting + self.realized - self.fees

    @property
    def unrealized(self) -> Fraction:
        return sum((holding.gain(side) for (_, side), holding in self.holdings.items()), Fraction(0))

    @property
    def equity(self) -> Fraction:
        return self.cash + self.unrealized

    @property
    def margin_used(self) -> Fraction:
        return sum((nearest(each.worth / each.leverage) for each in self.holdings.values()), Fraction(0))

    @property
    def drawdown(self) -> Fraction:
        return max(Fraction(0), nearest(1 - self.equity / self.starting))

    @property
    def is_over(self) -> bool:
        return self.status in ("completed", "liquidated")

    # ------------------------------------------------------------ actions

    def judge(self, action: Action, market: Market, now: datetime) -> Verdict:
        """What the gates must say; nothing is booked."""
        if action.action not in WORDS:
            return Verdict(["unsupported_action"])
        assert action.symbol is not None
        assert action.side is not None
        policy, symbol, side, opening = self.policy, action.symbol, action.side, action.action == "open"
        held = self.holdings.get((symbol, side))
        codes = []
        if self.status != "active":
            codes.append("account_not_active")
        if policy.allowed_assets is not None and symbol not in policy.allowed_assets:
            codes.append("asset_not_allowed")
        if opening and not self._may_open(symbol, side):
            codes.append("direction_not_allowed")
        if not opening and held is None:
            codes.append("position_not_found")
        quote = market.get(symbol)
        if quote is None or not sound(quote):
            return Verdict([*codes, "price_missing"])
        if not timely(quote, now, policy.quote_max_age_ms.trade):
            return Verdict([*codes, "price_stale"])
        if held is not None and not believed(held, quote):
            return Verdict([*codes, "price_missing"])
        price = self.price(quote, side, buys=(side == "long") == opening)
        if (action.max_price is not None and price > action.max_price) or (
            action.min_price is not None and price < action.min_price
        ):
            codes.append("price_protection")
        if not opening and held is None:
            return Verdict(codes)
        quantity = self._quantity(action, held, price)
        if quantity <= 0:
            return Verdict([*codes, "quantity_below_minimum"])
        if opening:
            codes, quantity_max = self._exposure(action, codes, quantity, price, market, now)
            if codes:
                return Verdict(codes, quantity_max)
        elif held is not None and quantity > held.quantity:
            codes.append("quantity_exceeds_position")
        if codes:
            return Verdict(codes)
        asked = policy.max_leverage if action.leverage is None else action.leverage
        return Verdict(traded=self._traded(symbol, side, quantity, price, Fraction(asked) if opening else None))

    def take(self, action: Action, market: Market, now: datetime) -> Verdict:
        """Judge, and book what passes."""
        verdict = self.judge(action, market, now)
        if verdict.traded is not None:
            mid = Fraction(market[verdict.traded.symbol].mid)
            self._book(verdict.traded, mid, max(self.at, now), opening=action.action == "open")
        self._write(now)
        return verdict

    def price(self, quote: Quote, side: Side, *, buys: bool) -> Fraction:
        if self.policy.slippage_model == "mid_price":
            return Fraction(quote.mid)
        if self.policy.slippage_model == "spread":
            return Fraction(quote.ask if buys else quote.bid)
        slip = Fraction(self.policy.slippage_bps) / 10_000
        return nearest(Fraction(quote.mid) * (1 + slip if buys else 1 - slip))

    def _may_open(self, symbol: str, side: Side) -> bool:
        if side not in self.policy.allowed_directions:
            return False
        other: Side = "long" if side == "short" else "short"
        return self.policy.allow_hedging or (symbol, other) not in self.holdings

    @staticmethod
    def _quantity(action: Action, held: Holding | None, price: Fraction) -> Fraction:
        if action.action == "open":
            if action.quantity is not None:
                return Fraction(action.quantity)
            assert action.notional is not None
            return below(Fraction(action.notional) / price)
        assert held is not None
        if action.action == "close" or action.fraction == 1:
            return held.quantity
        if action.fraction is not None:
            return below(held.quantity * Fraction(action.fraction))
        assert action.quantity is not None
        return Fraction(action.quantity)

    def _exposure(
        self, action: Action, codes: list[str], quantity: Fraction, price: Fraction, market: Market, now: datetime
    ) -> tuple[list[str], Fraction | None]:
        """Gates 11 to 17 of an opening, in order, and maxQuantity."""
        assert action.symbol is not None
        assert action.side is not None
        key = (action.symbol, action.side)
        worth = {each: self._worth(each, market, now) for each in self.holdings}
        equity = self.cash + sum(self.holdings[each].gain(each[1], worth[each]) for each in self.holdings)
        margin = sum(nearest(worth[each] / self.holdings[each].leverage) for each in self.holdings)
        leverage = Fraction(self.policy.max_leverage if action.leverage is None else action.leverage)
        limits = Limits(
            policy=self.policy,
            price=price,
            leverage=leverage,
            equity=equity,
            open_notional=Fraction(sum(worth.values())),
            held=worth.get(key, Fraction(0)),
            free_margin=equity - margin,
            ask=Fraction(market[action.symbol].ask),
            held_quantity=self.holdings[key].quantity if key in self.holdings else Fraction(0),
            held_cost=self.holdings[key].cost if key in self.holdings else Fraction(0),
        )
        broken = limits.broken(quantity)
        if not 1 <= leverage <= Fraction(self.policy.max_leverage):
            broken.append("leverage_exceeds_maximum")
        if key not in self.holdings and len(self.holdings) + 1 > self.policy.max_open_positions:
            broken.append("max_open_positions_exceeded")
        if self.policy.max_open_orders == 0:
            broken.append("max_open_orders_exceeded")
        order = (
            "notional_exceeds_maximum",
            "leverage_exceeds_maximum",
            "aggregate_leverage_exceeded",
            "position_equity_exceeded",
            "insufficient_margin",
            "max_open_positions_exceeded",
            "max_open_orders_exceeded",
        )
        found = codes + [code for code in order if code in broken]
        return found, limits.quantity_max() if found and set(found) <= SIZE_GATES else None

    def _worth(self, key: tuple[str, Side], market: Market, now: datetime) -> Fraction:
        """At a quote fresh enough to trade at, else as last marked."""
        quote, holding = market.get(key[0]), self.holdings[key]
        fresh = quote is not None and sound(quote) and timely(quote, now, self.policy.quote_max_age_ms.trade)
        if quote is not None and fresh and believed(holding, quote):
            return nearest(holding.quantity * Fraction(quote.mid))
        return holding.worth

    # ------------------------------------------------------------ books

    def _traded(self, symbol: str, side: Side, quantity: Fraction, price: Fraction, asked: Fraction | None) -> Traded:
        """A leverage asked for means that the fill opens or adds."""
        notional = nearest(quantity * price)
        fee = nearest(notional * Fraction(self.policy.fee_bps) / 10_000)
        realized = Fraction(0)
        if asked is None:
            difference = notional - self._cost(self.holdings[symbol, side], quantity)
            realized = difference if side == "long" else -difference
        leverage = self.holdings[symbol, side].leverage if asked is None else asked
        return Traded(symbol, side, quantity, price, notional, fee, realized, leverage)

    @staticmethod
    def _cost(holding: Holding, quantity: Fraction) -> Fraction:
        return holding.cost if quantity == holding.quantity else nearest(holding.cost * quantity / holding.quantity)

    def _book(self, traded: Traded, mid: Fraction, at: datetime, *, opening: bool) -> None:
        key = (traded.symbol, traded.side)
        self.journal.append(Step(at, len(self.fills), opening, {traded.symbol: mid}))
        self.fills.append(traded)
        if opening and key not in self.holdings:
            self.traded_on.add(at.date())
        self.fees += traded.fee
        self.realized += traded.realized
        if opening:
            held = self.holdings.setdefault(key, Holding(Fraction(0), Fraction(0), traded.leverage, Fraction(0)))
            held.quantity += traded.quantity
            held.cost += traded.notional
            held.leverage = traded.leverage
        else:
            held = self.holdings[key]
            held.cost -= self._cost(held, traded.quantity)
            held.quantity -= traded.quantity
        held.worth = nearest(held.quantity * mid)
        if held.quantity == 0:
            assert held.cost == 0
            del self.holdings[key]
        if not self.holdings:
            self.stale = []
        self.watermark = max(self.watermark, self.equity)

    # ------------------------------------------------------------ marks and endings

    def unusable(self, market: Market, now: datetime, age_ms_max: int) -> list[tuple[str, str]]:
        """(symbol, code) of every open position's quote that must not be used, by symbol."""
        found = []
        for symbol in sorted({symbol for symbol, _ in self.holdings}):
            quote = market.get(symbol)
            if quote is None or not sound(quote):
                found.append((symbol, "price_missing"))
            elif not timely(quote, now, age_ms_max):
                found.append((symbol, "price_stale"))
            elif not all(believed(each, quote) for (held, _), each in self.holdings.items() if held == symbol):
                found.append((symbol, "price_missing"))
        return found

    def mark(self, market: Market, now: datetime) -> tuple[str, list[str], list[Traded]]:
        """(outcome, event types, liquidation fills); outcome `refused` where the state is not marked."""
        if self.status not in ("active", "paused"):
            return "refused", [], []
        if not self.holdings:
            return self._judged("flat", [], market, now)
        missing = self.unusable(market, now, self.policy.quote_max_age_ms.mark)
        if missing:
            told = missing != self.stale
            self.stale = missing
            if told:
                self._write(now)
            return "failed", ["mark_to_market_failed"] if told else [], []
        self._value({symbol: Fraction(market[symbol].mid) for symbol, _ in self.holdings}, max(self.at, now))
        self.stale = []
        return self._judged("marked", ["mark_to_market"], market, now)

    def _value(self, mids: dict[str, Fraction], at: datetime) -> None:
        """What has no price among these keeps the worth it had."""
        self.journal.append(Step(at, mids=mids))
        for (symbol, _), holding in self.holdings.items():
            if symbol in mids:
                holding.worth = nearest(holding.quantity * mids[symbol])
        self.watermark = max(self.watermark, self.equity)

    def _judged(
        self, outcome: str, types: list[str], market: Market, now: datetime
    ) -> tuple[str, list[str], list[Traded]]:
        """What comes after the valuation that `types` tells of."""
        day, equity, goal = self.day(now), self.equity, self.goal()
        broken = [limit for limit in self.limits(day) if equity <= limit.floor]
        most = self.starting * (1 - Fraction(self.policy.max_drawdown))
        if self.holdings and equity <= most:
            broken.insert(0, Limit("max_drawdown", self.starting, below(most)))
        days, target = len(self.traded_on), self.policy.profit_target
        reached = goal is not None and target is not None and equity >= goal and days >= target.min_trading_days
        may_end = not self.unusable(market, now, self.policy.quote_max_age_ms.liquidate)
        each = ["order_validated", "fill_booked", "position_closed"]
        if broken and may_end:
            highest = max(limit.floor for limit in broken)
            self.reason = next(limit.rule for limit in broken if limit.floor == highest)
            closed = self.close_all(market, now)
            self.status = "liquidated"
            self._write(now)
            types = [*types, "liquidation_triggered", *(each * len(closed)), "account_liquidated"]
            return "liquidated", types, closed
        if reached and not broken and may_end:
            self.reason = "profit_target"
            closed = self.close_all(market, now)
            self.status = "completed"
            self._write(now)
            return "marked", [*types, *(each * len(closed)), "account_completed"], closed
        for limit in self.limits(day):
            if limit.warns(equity) and (day, limit.rule) not in self.warned:
                self.warned.add((day, limit.rule))
                types = [*types, "rule_warning"]
        if types:
            self._write(now)
        return outcome, types, []

    def close_all(self, market: Market, now: datetime) -> list[Traded]:
        closed = []
        for symbol, side in sorted(self.holdings):
            price = self.price(market[symbol], side, buys=side == "short")
            traded = self._traded(symbol, side, self.holdings[symbol, side].quantity, price, None)
            self._book(traded, Fraction(market[symbol].mid), max(self.at, now), opening=False)
            closed.append(traded)
        return closed

    def lifecycle(self, verb: str, settle: str, market: Market, now: datetime) -> str | None:
        """None where it is done or holds already; else the refusal's code."""
        target = TRANSITIONS[self.status][VERBS.index(verb)]
        if target is None:
            return "account_terminal" if self.is_over else "invalid_transition"
        if target in ("completed", "liquidated") and settle != "none":
            missing = self.unusable(market, now, self.policy.quote_max_age_ms.liquidate)
            if missing:
                return missing[0][1]
            self.close_all(market, now)
        if self.status != target:
            self.status = target
            self._write(now)
        return None

    # ------------------------------------------------------------ corrections

    def void(self, place: int, now: datetime, *, cascade: bool) -> Voided:
        """Take a fill out: books begun anew, and the journal gone through without it."""
        if self.is_over:
            return Voided("account_terminal")
        if place in self.out:
            return Voided()
        again, kept, orphans = self._without(self.out | {place})
        if orphans and not cascade:
            return Voided("void_would_orphan", orphans)
        self.out |= {place, *orphans}
        for each, traded in kept.items():
            self.fills[each] = traded
        self.realized, self.fees, self.watermark = again.realized, again.fees, again.watermark
        self.holdings, self.diary, self.traded_on = again.holdings, again.diary, again.traded_on
        held = {symbol for symbol, _ in self.holdings}
        self.stale = [(symbol, code) for symbol, code in self.stale if symbol in held]
        self._write(now)
        return Voided(places=sorted({place, *orphans}))

    def _without(self, out: set[int]) -> tuple["Auditor", dict[int, Traded], list[int]]:
        """New books, the fills in them by their old places, and those that would take off more than is there."""
        again, kept, orphans = Auditor(self.opening, self.began_at), dict[int, Traded](), list[int]()
        for step in self.journal:
            if step.fill is None:
                if step.mids:
                    again._value(step.mids, step.at)
                else:
                    again._write(step.at)
            elif step.fill not in out:
                traded, mid = self.fills[step.fill], step.mids[self.fills[step.fill].symbol]
                held = again.holdings.get((traded.symbol, traded.side))
                if not step.opening and (held is None or held.quantity < traded.quantity):
                    orphans.append(step.fill)
                    continue
                asked = traded.leverage if step.opening else None
                kept[step.fill] = again._traded(traded.symbol, traded.side, traded.quantity, traded.price, asked)
                again._book(kept[step.fill], mid, step.at, opening=step.opening)
        return again, kept, orphans
