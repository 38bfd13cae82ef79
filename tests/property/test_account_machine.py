"""One account under everything at once, each step compared with the auditor's books and with the replayed ledger."""

from collections.abc import Callable
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import msgspec
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from engine.book import AccountBook, ActionBatch, Entry, replayed
from engine.changes import PlacedEvent, changes
from engine.commands import (
    Action,
    Command,
    CompleteAccount,
    CreateAccount,
    LiquidateAccount,
    LockAccount,
    MarkToMarket,
    PauseAccount,
    ResumeAccount,
    StartAccount,
    VoidFill,
    VoidOrder,
)
from engine.decide import Context
from engine.events import EVENT_TYPES, Event, FillVoided, RecordedEvent
from engine.money import round8
from engine.policy import LONG, SHORT, MaxDailyLoss, Policy, ProfitTarget, QuoteMaxAge, Side, TrailingDrawdown, faults
from engine.quotes import Quote
from engine.receipts import ActionKey
from engine.rejections import Refusal
from engine.rule_views import rules_view
from engine.views import ActionResult
from tests.property.auditor import Auditor, Traded, Verdict, sound, timely
from tests.support.rows import Rows

BEGIN = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
ACCOUNT_ID = "019b8e2a-0000-7000-8000-000000000002"
SIDES: st.SearchStrategy[Side] = st.sampled_from([LONG, SHORT])
SYMBOLS = ("AAA-USD", "BBB-USD", "CCC-USD")
UNIT = Decimal("0.00000001")
NAN = Decimal("NaN")


def scaled(value: Decimal | str | int) -> Decimal:
    return round8(Decimal(value))


def decimals(low: str, high: str) -> st.SearchStrategy[Decimal]:
    """Every 8-decimal figure from low to high."""
    units = st.integers(int(Decimal(low) * 10**8), int(Decimal(high) * 10**8))
    return units.map(lambda count: Decimal(count).scaleb(-8))


def one_of_these(*values: str | int) -> st.SearchStrategy[Decimal]:
    return st.sampled_from([scaled(value) for value in values])


AGES = st.builds(
    QuoteMaxAge,
    trade=st.sampled_from([60_000, 1_000, 1]),
    mark=st.sampled_from([120_000, 60_000, 500]),
    liquidate=st.sampled_from([60_000, 120_000, 700]),
)


def mostly(usual: Any, rare: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """`usual` three times out of four."""
    return st.sampled_from([True, True, True, False]).flatmap(lambda plain: st.just(usual) if plain else rare)


SHARES = one_of_these("0.01", "0.05", "0.1", "0.1", 1) | decimals("0.00000001", "1")
AMOUNTS = one_of_these("0.00000001", 100, 2_000, 5_000, 10**6) | decimals("0.00000001", "20000")
ALLOWANCES = st.tuples(SHARES, st.none()) | st.tuples(st.none(), AMOUNTS)
"""(fraction, amount): one of the two."""


def ruled(rule: type[Any], **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """No such rule half of the time."""
    made = st.builds(
        lambda size, more: rule(fraction=size[0], amount=size[1], **more), ALLOWANCES, st.fixed_dictionaries(fields)
    )
    return st.none() | made


POLICIES = st.builds(
    Policy,
    max_daily_loss=ruled(
        MaxDailyLoss, basis=st.sampled_from(["initial", "day_start"]), of=st.sampled_from(["balance", "equity"])
    ),
    trailing_drawdown=ruled(
        TrailingDrawdown, mode=st.sampled_from(["intraday_equity", "end_of_day"]), locks_at_start=st.booleans()
    ),
    profit_target=ruled(ProfitTarget, min_trading_days=st.sampled_from([0, 1, 2, 3])),
    max_leverage=mostly(scaled(5), one_of_these(1, "1.5", 20, 1000) | decimals("1", "30")),
    max_notional=mostly(
        scaled(50_000), one_of_these("0.00000001", 10, 1_000, 10**9) | decimals("0.00000001", "100000")
    ),
    max_open_positions=mostly(5, st.sampled_from([0, 1, 2, 3, 1000])),
    max_open_orders=mostly(10, st.sampled_from([1, 1, 0])),
    allowed_directions=mostly(("long", "short"), st.sampled_from([("long",), ("short",)])),
    allowed_assets=mostly(None, st.sampled_from([SYMBOLS, SYMBOLS[:2]])),
    fee_bps=mostly(scaled(10), one_of_these(0, "0.00000001", "2.5", 10_000) | decimals("0", "100")),
    slippage_model=st.sampled_from(["mid_price", "fixed_bps", "spread"]),
    slippage_bps=mostly(scaled(5), one_of_these(0, "0.00000001", "0.5", 4_000) | decimals("0", "50")),
    max_drawdown=one_of_these("0.01", "0.1", "0.5", 1) | one_of_these("0.00000001") | decimals("0.00000001", "1"),
    max_position_equity_ratio=mostly(None, one_of_these("0.00000001", "0.5", 1, 1_000) | decimals("0.01", "10")),
    allow_hedging=st.booleans(),
    quote_max_age_ms=mostly(QuoteMaxAge(), AGES),
)
OPENINGS = st.builds(
    CreateAccount,
    owner_id=st.just("owner"),
    clone_id=st.just("clone"),
    starting_balance=mostly(scaled(100_000), one_of_these("0.00000001", 10**11) | decimals("0.00000001", "200000")),
    policy=POLICIES,
)
# A symbol's prices stay within a factor of a thousand of its base, so that no figure leaves NUMERIC(28, 8).
BASES = one_of_these(50_000, 100, 1, "0.00000001", "0.00000007", "0.12345678") | decimals("0.0001", "100000")
FACTORS = st.sampled_from(
    ["1.00123457", "0.98765431", "1", "0.999", "1.00000001", "1.1", "0.95", "0.8", "0.5", "2", "0.001", "1000"]
)
SPREADS = st.sampled_from(["0", "0", "0.00000001", "0.0001", "0.01", "0.3"])
QUOTE_KINDS = st.sampled_from(["good"] * 8 + ["none", "zero", "negative", "crossed", "nan", "infinite", "no_mid"])
AGES_MS = st.sampled_from([0] * 8 + [1, 500, 700, 999, 1_000, 1_001, 60_000, 60_001, 120_000, 120_001, -5_000, -5_001])
DAYS_MS = (43_199_999, 43_200_000, 86_400_000, 5 * 86_400_000)
PAUSES_MS = st.sampled_from(
    [0, 1, 499, 1_000, 5_000, 59_000, 60_000, 61_000, -1, -1_000, -3_600_000, 3_600_000, *DAYS_MS]
)
SIZES = st.sampled_from(
    [*["part"] * 6, "dust", "unit", "limit", "over_limit", "wish", "odd", "huge", "notional", "notional", "nothing"]
)
REDUCTIONS = st.sampled_from(["whole", "unit", "less_a_unit", "over", "half", "third", "one", "odd", "zero", "tiny"])
WORDS = st.sampled_from(["open"] * 6 + ["reduce"] * 4 + ["close"] * 2 + ["hold", "cancel", "buy"])
LEVERAGES = mostly(None, one_of_these("0", "0.99999999", 1, 3, 5, "5.00000001", 1000) | decimals("1", "30"))
BOUNDS = st.sampled_from([None] * 12 + ["0.999", "1", "1.001"])
VERBS: dict[str, Callable[[], Command]] = {
    "start": StartAccount,
    "pause": lambda: PauseAccount("why"),
    "lock": lambda: LockAccount("why"),
    "resume": lambda: ResumeAccount("why"),
    "complete": CompleteAccount,
    "abandon": lambda: CompleteAccount("none"),
    "liquidate": lambda: LiquidateAccount("why"),
}


def exactly(value: Decimal | None) -> Fraction | None:
    return None if value is None else Fraction(value)


def decoded(recorded: RecordedEvent) -> Event:
    return msgspec.json.decode(recorded.payload, type=EVENT_TYPES[recorded.type])


class AccountMachine(RuleBasedStateMachine):
    """Commands, quotes and time in any order; the auditor sees what the book sees."""

    @initialize(opening=OPENINGS, bases=st.tuples(BASES, BASES, BASES), starts=st.sampled_from([True] * 9 + [False]))
    def opens(self, opening: CreateAccount, bases: tuple[Decimal, ...], starts: bool) -> None:
        assert list(faults(opening.policy)) == []
        self.now = BEGIN
        self.bases = dict(zip(SYMBOLS, bases, strict=True))
        self.market = {
            symbol: Quote(symbol, price, price, price, "feed", BEGIN) for symbol, price in self.bases.items()
        }
        self.book, first = AccountBook.open(opening, account_id=ACCOUNT_ID, now=BEGIN, request_id="create")
        self.auditor = Auditor(opening, BEGIN)
        self.shadow, placed = replayed([(first, decoded(first))], receipts_in_memory_max=10_000)
        self.placed: list[PlacedEvent] = placed
        self.ledger: list[tuple[RecordedEvent, Event]] = [(first, decoded(first))]
        self.rows = Rows()
        self.answers: dict[ActionKey, tuple[Action, ActionResult]] = {}
        self.wish = UNIT
        self.requests = 0
        if starts:
            self.does("start")

    # ------------------------------------------------------------ the world moves

    @rule(symbol=st.sampled_from(SYMBOLS), kind=QUOTE_KINDS, factor=FACTORS, spread=SPREADS, age_ms=AGES_MS)
    def quotes(self, symbol: str, kind: str, factor: str, spread: str, age_ms: int) -> None:
        mid = max(UNIT, scaled(self.bases[symbol] * Decimal(factor)))
        gap = scaled(mid * Decimal(spread))
        bid, ask = max(UNIT, mid - gap), mid + gap
        match kind:
            case "none":
                self.market.pop(symbol, None)
                return
            case "zero":
                bid = scaled(0)
            case "negative":
                mid = -mid
            case "crossed":
                bid, ask = ask + UNIT, bid
            case "nan":
                ask = NAN
            case "infinite":
                ask = Decimal("Infinity")
            case "no_mid":
                mid = NAN
        at = self.now - timedelta(milliseconds=age_ms)
        self.market = {**self.market, symbol: Quote(symbol, bid, ask, mid, "feed", at)}

    @rule(pause_ms=PAUSES_MS)
    def waits(self, pause_ms: int) -> None:
        self.now += timedelta(milliseconds=pause_ms)

    @rule(factor=FACTORS)
    def refreshes(self, factor: str) -> None:
        """The feed is well again: every symbol has a fresh and sound quote."""
        for symbol in SYMBOLS:
            self.quotes(symbol, "good", factor, "0.0001", 0)

    # ------------------------------------------------------------ actions

    def _action(self, data: st.DataObject, name: str) -> Action:
        word = data.draw(WORDS)
        symbol, side = data.draw(st.sampled_from(SYMBOLS)), data.draw(SIDES)
        if word in ("reduce", "close") and self.book.account.positions and data.draw(st.integers(0, 4)):
            symbol, side = data.draw(st.sampled_from(sorted(self.book.account.positions)))
        size: dict[str, Any] = {}
        if word == "open":
            size = self._opening_size(data, symbol)
        elif word == "reduce":
            size = self._reduction_size(data, symbol, side)
        quote = self.market.get(symbol)
        reference = quote.mid if quote is not None and quote.mid.is_finite() else self.bases[symbol]
        above, under = data.draw(BOUNDS), data.draw(BOUNDS)
        return Action(
            decision_action_id=name,
            action=word,
            symbol=symbol if word in ("open", "reduce", "close") else None,
            side=side if word in ("open", "reduce", "close") else None,
            leverage=data.draw(LEVERAGES),
            max_price=None if above is None else scaled(reference * Decimal(above)),
            min_price=None if under is None else scaled(reference * Decimal(under)),
            **size,
        )

    def _opening_size(self, data: st.DataObject, symbol: str) -> dict[str, Any]:
        policy, quote = self.auditor.policy, self.market.get(symbol)
        price = quote.mid if quote is not None and sound(quote) else self.bases[symbol]
        limit = scaled(policy.max_notional / price)
        match data.draw(SIZES):
            case "dust":
                return {"quantity": data.draw(decimals("0.00000001", "0.000001"))}
            case "unit":
                return {"quantity": UNIT}
            case "limit":
                return {"quantity": limit}
            case "over_limit":
                return {"quantity": limit + UNIT}
            case "part":
                budget = scaled(self.book.account.equity * data.draw(one_of_these("0.1", "0.4", 1, 4, 5)) / price)
                return {"quantity": max(UNIT, min(limit, budget))}
            case "wish":
                return {"quantity": self.wish + data.draw(st.sampled_from([scaled(0), UNIT]))}
            case "odd":
                return {"quantity": data.draw(decimals("0.00000001", "10"))}
            case "huge":
                return {"quantity": Decimal("999999999999.99999999")}
            case "notional":
                return {"notional": data.draw(decimals("0.00000001", "60000"))}
        return {"quantity": scaled(0)}

    def _reduction_size(self, data: st.DataObject, symbol: str, side: Side) -> dict[str, Any]:
        position = self.book.account.positions.get((symbol, side))
        held = position.quantity if position else UNIT
        match data.draw(REDUCTIONS):
            case "whole":
                return {"quantity": held}
            case "unit":
                return {"quantity": UNIT}
            case "less_a_unit":
                return {"quantity": held - UNIT}
            case "over":
                return {"quantity": held + UNIT}
            case "half":
                return {"fraction": Decimal("0.50000000")}
            case "third":
                return {"fraction": Decimal("0.33333333")}
            case "one":
                return {"fraction": scaled(1)}
            case "odd":
                return {"fraction": data.draw(decimals("0.00000001", "1"))}
            case "tiny":
                return {"fraction": UNIT}
        return {"quantity": scaled(0)}

    @rule(data=st.data(), count=st.sampled_from([1, 1, 1, 2, 3]))
    def acts(self, data: st.DataObject, count: int) -> None:
        self.requests += 1
        run = f"run-{self.requests}"
        actions = tuple(self._action(data, f"a{place}") for place in range(count))
        entry = self._takes(ActionBatch(run, actions))
        for action, result in zip(actions, entry.results, strict=True):
            assert not result.replayed
            verdict = self.auditor.take(action, self.market, self.now)
            self._agrees(action, result, verdict)
            self.answers[run, action.decision_action_id] = (action, result)
            self.wish = result.max_quantity or self.wish
        assert entry.account is self.book.account

    def _acts_once(self, action: Action) -> None:
        self.requests += 1
        run = f"run-{self.requests}"
        result = self._takes(ActionBatch(run, (action,))).results[0]
        self._agrees(action, result, self.auditor.take(action, self.market, self.now))
        self.answers[run, action.decision_action_id] = (action, result)

    @rule(
        symbol=st.sampled_from(SYMBOLS),
        side=SIDES,
        share=one_of_these("0.1", "0.03", "0.3", "0.7", 2),
        odd=decimals("0.00000000", "0.00001"),
        data=st.data(),
    )
    def opens_some(self, symbol: str, side: Side, share: Decimal, odd: Decimal, data: st.DataObject) -> None:
        """A size that the policy has a chance to let through, often more of what is open."""
        if data.draw(st.booleans()) and self.book.account.positions:
            symbol, side = data.draw(st.sampled_from(sorted(self.book.account.positions)))
        policy, quote = self.auditor.policy, self.market.get(symbol)
        price = quote.mid if quote is not None and sound(quote) else self.bases[symbol]
        notional = min(policy.max_notional * Decimal("0.9"), max(UNIT, self.book.account.equity) * share)
        quantity = max(UNIT, scaled(notional / price * (1 - odd)))
        self._acts_once(Action(decision_action_id="some", action="open", symbol=symbol, side=side, quantity=quantity))

    @precondition(lambda self: self.book.account.positions)
    @rule(data=st.data())
    def takes_off(self, data: st.DataObject) -> None:
        """Some or all of what is open."""
        symbol, side = data.draw(st.sampled_from(sorted(self.book.account.positions)))
        size = self._reduction_size(data, symbol, side)
        self._acts_once(Action(decision_action_id="off", action="reduce", symbol=symbol, side=side, **size))

    @rule(data=st.data())
    def trades_up_to_the_limit(self, data: st.DataObject) -> None:
        """Ask for far too much, then for exactly what was said to pass, or for one unit more."""
        symbol, side = data.draw(st.sampled_from(SYMBOLS)), data.draw(SIDES)
        self.requests += 1
        run = f"run-{self.requests}"
        much = Action(
            decision_action_id="much",
            action="open",
            symbol=symbol,
            side=side,
            quantity=Decimal("999999999999.00000000"),
        )
        first = self._takes(ActionBatch(run, (much,))).results[0]
        self._agrees(much, first, self.auditor.take(much, self.market, self.now))
        self.answers[run, "much"] = (much, first)
        if first.max_quantity is None:
            return
        more = data.draw(st.booleans())
        asked = msgspec.structs.replace(
            much, decision_action_id="just", quantity=first.max_quantity + (UNIT if more else scaled(0))
        )
        second = self._takes(ActionBatch(run, (asked,))).results[0]
        self._agrees(asked, second, self.auditor.take(asked, self.market, self.now))
        self.answers[run, "just"] = (asked, second)
        assert second.status == ("rejected" if more else "executed")
        assert not more or second.max_quantity == first.max_quantity

    def _agrees(self, action: Action, result: ActionResult, verdict: Verdict) -> None:
        """The engine's verdict is the auditor's."""
        codes = [failure.code.value for failure in result.failures]
        assert codes == verdict.codes, f"{action}: engine {codes}, auditor {verdict.codes}"
        assert result.code == (codes[0] if codes else None)
        assert exactly(result.max_quantity) == verdict.quantity_max
        if verdict.traded is None:
            assert result.status == "rejected"
            assert (result.order, result.fill, result.position) == (None, None, None)
            return
        assert result.status == "executed"
        assert result.fill is not None
        assert result.order is not None
        assert Fraction(result.order.leverage) == verdict.traded.leverage
        self._same_fill(result.fill, verdict.traded)

    def _same_fill(self, fill: Any, traded: Traded) -> None:
        assert (fill.symbol, fill.side) == (traded.symbol, traded.side)
        figures = (fill.quantity, fill.price, fill.notional, fill.fee, fill.realized_pnl)
        wanted = (traded.quantity, traded.price, traded.notional, traded.fee, traded.realized)
        assert tuple(map(Fraction, figures)) == wanted

    @precondition(lambda self: self.answers)
    @rule(data=st.data())
    def repeats(self, data: st.DataObject) -> None:
        """The same keys again: the same answers, and nothing happens."""
        run, name = data.draw(st.sampled_from(sorted(self.answers)))
        action, result = self.answers[run, name]
        entry = self._takes(ActionBatch(run, (action,)))
        assert entry.recorded == ()
        assert entry.results == (msgspec.structs.replace(result, replayed=True),)

    @precondition(lambda self: self.answers)
    @rule(data=st.data())
    def contradicts(self, data: st.DataObject) -> None:
        """A known key with other content, beside a new action: neither runs."""
        run, name = data.draw(st.sampled_from(sorted(self.answers)))
        other = msgspec.structs.replace(self.answers[run, name][0], rationale="changed my mind")
        new = self._action(data, "new")
        conflicts = self.book.take(ActionBatch(run, (new, other)), self._context, request_id="conflict")
        assert not isinstance(conflicts, Entry)
        assert [(each.decision_action_id, each.fields) for each in conflicts] == [(name, ("rationale",))]

    @rule(data=st.data())
    def rehearses(self, data: st.DataObject) -> None:
        """A dry run foretells the real thing and leaves no trace."""
        action, before = self._action(data, "rehearsal"), self.book.state
        batch = ActionBatch(f"dry-{self.requests}", (action,))
        entry = self.book.fork().take(batch, self._context, request_id="dry")
        assert isinstance(entry, Entry)
        self._agrees(action, entry.results[0], self.auditor.judge(action, self.market, self.now))
        for verb in ("complete", "liquidate"):  # imagined often, since the real end comes but once
            fork, imagined = self.book.fork(), deepcopy(self.auditor)
            answer = fork.submit(VERBS[verb](), self._context, request_id="dry")
            wanted = imagined.lifecycle(verb, "close", self.market, self.now)
            assert (answer.code if isinstance(answer, Refusal) else None) == wanted
            assert Fraction(fork.account.cash) == imagined.cash
        assert self.book.state == before
        assert self.book.receipts.get((batch.decision_run_id, "rehearsal")) is None

    # ------------------------------------------------------------ states and marks

    @rule(verb=st.sampled_from(["start", "pause", "lock", *["resume"] * 5]))
    def changes_state(self, verb: str) -> None:
        self.does(verb)

    @precondition(lambda self: self.auditor.status in ("pending", "paused", "locked"))
    @rule()
    def trades_again(self) -> None:
        self.does("start" if self.auditor.status == "pending" else "resume")

    @rule(verb=st.sampled_from(["complete", "abandon", "liquidate"]), dice=st.integers(0, 9))
    def ends(self, verb: str, dice: int) -> None:
        if dice == 9:  # rarely, since nothing comes after it
            self.does(verb)

    def does(self, verb: str) -> None:
        before, told = self.book.account, len(self.fills)
        answer = self.book.submit(VERBS[verb](), self._context, request_id="lifecycle")
        settle = "none" if verb == "abandon" else "close"
        wanted = self.auditor.lifecycle("complete" if verb == "abandon" else verb, settle, dict(self.market), self.now)
        if wanted is not None:
            assert isinstance(answer, Refusal)
            assert answer.code == wanted
            assert self.book.account is before
            return
        assert isinstance(answer, Entry)
        self._settles(answer)
        if before.status == self.auditor.status:
            assert answer.recorded == ()
        if settle == "close" and self.auditor.is_over:
            assert len(self.fills) - told == len(before.positions)
            assert self.book.account.positions == {}

    @precondition(lambda self: self.auditor.policy.has_rules)
    @rule(pause_ms=st.sampled_from(DAYS_MS), factor=st.sampled_from(["1", "1.001", "0.999", "0.98", "1.02"]))
    def a_night_passes(self, pause_ms: int, factor: str) -> None:
        """The next mark is of another day."""
        self.waits(pause_ms)
        self.refreshes(factor)
        self.marks()

    @rule(factor=FACTORS, side_factor=FACTORS)
    def the_market_moves(self, factor: str, side_factor: str) -> None:
        """Every quote is fresh, at other prices, and the account is marked at them."""
        self.refreshes(factor)
        self.quotes(SYMBOLS[0], "good", side_factor, "0", 0)
        self.marks()

    @precondition(lambda self: self.book.account.positions or self.auditor.policy.has_rules)
    @rule()
    def marks(self) -> None:
        before, told = self.book.account, len(self.fills)
        answer = self.book.submit(MarkToMarket("pass"), self._context, request_id="mark")
        outcome, types, closed = self.auditor.mark(self.market, self.now)
        if outcome == "refused":
            assert isinstance(answer, Refusal)
            assert answer.code == "account_not_active"
            assert self.book.account is before
            return
        assert isinstance(answer, Entry)
        assert answer.decision is not None
        assert answer.decision.mark == outcome
        assert [event.type for event in answer.recorded] == types
        self._settles(answer)
        for fill, traded in zip(self.fills[told:], closed, strict=True):
            self._same_fill(fill, traded)
        assert self.book.account.end_reason == self.auditor.reason

    # ------------------------------------------------------------ corrections

    @precondition(lambda self: self.fills)
    @rule(data=st.data(), by_order=st.booleans(), cascade=st.booleans())
    def voids(self, data: st.DataObject, by_order: bool, cascade: bool) -> None:
        """Take any fill out, also one that is out or that later fills need."""
        fills = self.fills
        place = data.draw(st.integers(0, len(fills) - 1))
        fill, before = fills[place], self.book.state
        command = VoidOrder(fill.order_id, "why", cascade) if by_order else VoidFill(fill.id, "why", cascade)
        answer = self.book.correct(command, self.ledger, self.now, request_id="void")
        wanted = self.auditor.void(place, self.now, cascade=cascade)
        concerned = [fills[each].id for each in wanted.places]
        if isinstance(answer, Refusal):
            assert answer.code == wanted.code
            assert [orphan.fill_id for orphan in answer.orphans] == concerned
            assert self.book.state == before
            return
        assert wanted.code is None
        self._settles(answer)
        told = [event.fill_ids for _, event in self.ledger[before.account.seq :] if isinstance(event, FillVoided)]
        assert told == ([tuple(concerned)] if concerned else [])

    # ------------------------------------------------------------ what holds after every step

    @property
    def fills(self) -> list[Any]:
        """In the order in which they were booked, the voided ones among them."""
        return list(self.rows.fills.values())

    @property
    def _context(self) -> Context:
        return Context(self.now, dict(self.market))

    def _takes(self, batch: ActionBatch) -> Entry:
        entry = self.book.take(batch, self._context, request_id="take")
        assert isinstance(entry, Entry)
        self._settles(entry)
        return entry

    def _settles(self, entry: Entry) -> None:
        """Write down what one decision added, as the tables would, and replay it from its bytes."""
        events = [(recorded, decoded(recorded)) for recorded in entry.recorded]
        self.placed += self.shadow.replay(events)
        self.ledger += events
        assert not any(b'"-0.00000000"' in recorded.payload for recorded in entry.recorded)
        self.rows.take(entry.changes)
        for fill in entry.changes.fills:
            ages = self.auditor.policy.quote_max_age_ms
            age_ms_max = ages.liquidate if self._is_own(fill) else ages.trade
            assert fill.quote == self.market[fill.symbol]
            assert sound(fill.quote)
            assert timely(fill.quote, self.now, age_ms_max)

    def _is_own(self, fill: Any) -> bool:
        """An order of the engine's own: it closes what a lifecycle command or a breach ends."""
        return self.rows.orders[fill.order_id].prop_action_id is None

    @invariant()
    def money_is_conserved_and_as_audited(self) -> None:
        account, auditor = self.book.account, self.auditor
        assert account.cash == account.starting_balance + account.realized_pnl - account.fees_paid + account.adjustments
        assert account.equity == account.cash + sum(each.unrealized_pnl for each in account.positions.values())
        assert account.status == auditor.status
        figures = (account.cash, account.realized_pnl, account.fees_paid, account.equity, account.high_watermark)
        assert tuple(map(Fraction, figures)) == (
            auditor.cash,
            auditor.realized,
            auditor.fees,
            auditor.equity,
            auditor.watermark,
        )
        assert (Fraction(account.margin_used), Fraction(account.drawdown)) == (auditor.margin_used, auditor.drawdown)
        assert list(account.stale) == auditor.stale
        assert account.positions.keys() == auditor.holdings.keys()
        for key, holding in auditor.holdings.items():
            position = account.positions[key]
            assert Fraction(position.quantity) == holding.quantity
            assert Fraction(position.entry_notional) == holding.cost
            assert Fraction(position.leverage) == holding.leverage
            assert Fraction(position.mark_notional) == holding.worth

    @invariant()
    def the_rules_stand_as_audited(self) -> None:
        auditor, shown = self.auditor, rules_view(self.book.account, self.now)
        if not auditor.policy.has_rules:
            assert (shown.day, shown.floors, shown.goal) == (None, (), None)
            return
        day = auditor.day(auditor.at if auditor.is_over else self.now)
        assert shown.day == day
        floors = [(each.rule, Fraction(each.anchor), Fraction(each.floor), each.warned) for each in shown.floors]
        assert floors == [
            (each.rule, each.anchor, each.floor, (day, each.rule) in auditor.warned) for each in auditor.limits(day)
        ]
        assert (None if shown.goal is None else shown.goal.trading_days) == (
            None if auditor.goal() is None else len(auditor.traded_on)
        )

    @invariant()
    def replay_is_the_live_state(self) -> None:
        assert self.shadow.account == self.book.account
        assert self.shadow.head == self.book.head
        assert self.shadow.receipts.seen == self.book.receipts.seen

    @invariant()
    def the_ledger_has_no_gaps_and_never_goes_back(self) -> None:
        assert [each.seq for each in self.placed] == list(range(1, self.book.account.seq + 1))
        times = [each.at for each in self.placed]
        assert times == sorted(times)

    @invariant()
    def rows_are_those_of_the_whole_history(self) -> None:
        rows = Rows().take(changes(self.book.account, self.placed))
        assert rows.orders == self.rows.orders
        assert rows.fills == self.rows.fills
        assert rows.receipts == self.rows.receipts
        assert rows.positions == self.rows.positions

    @invariant()
    def fills_are_as_audited_and_the_voided_are_out(self) -> None:
        for place, (fill, traded) in enumerate(zip(self.fills, self.auditor.fills, strict=True)):
            is_out = place in self.auditor.out
            assert fill.status == ("voided" if is_out else "booked")
            assert self.rows.orders[fill.order_id].status == ("voided" if is_out else "filled")
            if not is_out:
                self._same_fill(fill, traded)

    @invariant()
    def every_key_was_answered_once(self) -> None:
        assert [receipt.key for receipt in self.rows.receipts] == list(self.answers)
        assert len(self.book.receipts.seen) == len(self.answers)
        counters = self.book.account.counters
        assert counters.actions == counters.executed + counters.rejected == len(self.answers)
        assert counters.orders == counters.fills == len(self.fills)


TestAccountMachine = AccountMachine.TestCase
