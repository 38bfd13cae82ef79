"""Given, when, then: engine tests that read like a ledger page.

    given(opened(100_000)).when(open_long("BTC-USD", "1")).then(
        order_validated(price="50000"), fill_booked(fee="50"), position_opened(cash="99950")
    )

A page is one account with a clock that stands still and a market that only the test moves. `given` must succeed,
`when` records what the account answered, `then` compares the new events in order: exactly as many, each with only
the fields that are named. A number or a text stands for the decimal of that value, a dict for an object of which
only its keys are looked at, a list for a tuple compared element by element.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal, cast

import msgspec

from engine.account import Account
from engine.book import AccountBook, ActionBatch, Conflict, Entry, replayed
from engine.commands import (
    Action,
    Command,
    CompleteAccount,
    Correction,
    CreateAccount,
    LiquidateAccount,
    LockAccount,
    MarkToMarket,
    PauseAccount,
    ResumeAccount,
    StartAccount,
    TakeAction,
    VoidFill,
    VoidOrder,
)
from engine.decide import Context
from engine.events import (
    EVENT_TYPES,
    AccountCompleted,
    AccountCreated,
    AccountLiquidated,
    AccountLocked,
    AccountPaused,
    AccountResumed,
    AccountStarted,
    ActionRejected,
    Event,
    FillBooked,
    FillVoided,
    LiquidationTriggered,
    MarkedToMarket,
    MarkToMarketFailed,
    OrderValidated,
    PositionClosed,
    PositionIncreased,
    PositionOpened,
    PositionReduced,
    RecordedEvent,
    RuleWarning,
)
from engine.money import round8
from engine.policy import LONG, SHORT, Policy, QuoteMaxAge, Side
from engine.positions import Position
from engine.quotes import Quote
from engine.rejections import Refusal
from engine.views import ActionResult

NOW = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
ACCOUNT_ID = "019b8e2a-0000-7000-8000-000000000001"
RUN_ID = "run-1"
REQUEST_ID = "request-1"
MARKET = {"BTC-USD": 50_000, "ETH-USD": 2_000, "SOL-USD": 100}
"""Mid prices of every page, observed at its first moment, until a test says otherwise."""

Number = Decimal | str | int


def decimal(value: Number) -> Decimal:
    """At scale 8, as everything in the engine is."""
    return round8(Decimal(value))


def quote(
    symbol: str,
    mid: Number,
    *,
    bid: Number | None = None,
    ask: Number | None = None,
    at: datetime = NOW,
    source: str = "test",
) -> Quote:
    """A quote as it stands, valid or not; bid and ask are the mid unless told."""
    middle = decimal(mid)
    return Quote(
        symbol,
        middle if bid is None else decimal(bid),
        middle if ask is None else decimal(ask),
        middle,
        source,
        at,
    )


def policy(**limits: Any) -> Policy:
    """The default policy but for what is named; numbers and texts become decimals where the policy has them."""
    defaults = Policy()
    values = {
        name: decimal(value)
        if isinstance(getattr(defaults, name), Decimal) or (name == "max_position_equity_ratio" and value is not None)
        else value
        for name, value in limits.items()
    }
    return msgspec.structs.replace(defaults, **values)


def ages(*, trade: int = 60_000, mark: int = 120_000, liquidate: int = 60_000) -> QuoteMaxAge:
    return QuoteMaxAge(trade=trade, mark=mark, liquidate=liquidate)


# ---------------------------------------------------------------- steps: what happens to an account


class Opening(msgspec.Struct, frozen=True):
    """How the account of a page begins."""

    create: CreateAccount
    starts: bool


class Priced(msgspec.Struct, frozen=True):
    """The market shows this quote from now on (None: no quote at all), `age_ms` old at this moment."""

    symbol: str
    quote: Quote | None
    age_ms: int


class Later(msgspec.Struct, frozen=True):
    """The clock moves; the quotes stay as old as they were observed."""

    by: timedelta


class Voiding(msgspec.Struct, frozen=True):
    """The page's fill number `place` (the first is 1) is taken out, named by itself or by its order."""

    place: int
    cascade: bool
    by_order: bool


Step = Priced | Later | Voiding | Correction | Command


def opened(starting_balance: Number = 100_000, **limits: Any) -> Opening:
    """An active account under the default policy but for `limits`."""
    return Opening(_create(starting_balance, limits), starts=True)


def pending(starting_balance: Number = 100_000, **limits: Any) -> Opening:
    """An account that nobody has started yet."""
    return Opening(_create(starting_balance, limits), starts=False)


def _create(starting_balance: Number, limits: dict[str, Any]) -> CreateAccount:
    return CreateAccount(
        owner_id="owner-1", clone_id="clone-1", starting_balance=decimal(starting_balance), policy=policy(**limits)
    )


def priced(
    symbol: str, mid: Number, *, bid: Number | None = None, ask: Number | None = None, age_ms: int = 0
) -> Priced:
    return Priced(symbol, quote(symbol, mid, bid=bid, ask=ask), age_ms)


def unpriced(symbol: str) -> Priced:
    return Priced(symbol, None, 0)


def later(seconds: float) -> Later:
    return Later(timedelta(seconds=seconds))


def act(
    word: str,
    symbol: str | None = "BTC-USD",
    side: Side | None = LONG,
    *,
    quantity: Number | None = None,
    notional: Number | None = None,
    fraction: Number | None = None,
    leverage: Number | None = None,
    max_price: Number | None = None,
    min_price: Number | None = None,
    rationale: str | None = None,
    key: str = "",
    run: str = RUN_ID,
) -> TakeAction:
    """One action; without a `key` the page gives it the next one."""

    def at_scale(value: Number | None) -> Decimal | None:
        return None if value is None else decimal(value)

    return TakeAction(
        run,
        Action(
            decision_action_id=key,
            action=word,
            symbol=symbol,
            side=side,
            quantity=at_scale(quantity),
            notional=at_scale(notional),
            fraction=at_scale(fraction),
            leverage=at_scale(leverage),
            max_price=at_scale(max_price),
            min_price=at_scale(min_price),
            rationale=rationale,
        ),
    )


def open_long(symbol: str = "BTC-USD", quantity: Number | None = None, **more: Any) -> TakeAction:
    return act("open", symbol, LONG, quantity=quantity, **more)


def open_short(symbol: str = "BTC-USD", quantity: Number | None = None, **more: Any) -> TakeAction:
    return act("open", symbol, SHORT, quantity=quantity, **more)


def reduce_long(symbol: str = "BTC-USD", quantity: Number | None = None, **more: Any) -> TakeAction:
    return act("reduce", symbol, LONG, quantity=quantity, **more)


def reduce_short(symbol: str = "BTC-USD", quantity: Number | None = None, **more: Any) -> TakeAction:
    return act("reduce", symbol, SHORT, quantity=quantity, **more)


def close_long(symbol: str = "BTC-USD", **more: Any) -> TakeAction:
    return act("close", symbol, LONG, **more)


def close_short(symbol: str = "BTC-USD", **more: Any) -> TakeAction:
    return act("close", symbol, SHORT, **more)


def start() -> StartAccount:
    return StartAccount()


def pause(reason: str = "because") -> PauseAccount:
    return PauseAccount(reason)


def lock(reason: str = "because") -> LockAccount:
    return LockAccount(reason)


def resume(reason: str = "because") -> ResumeAccount:
    return ResumeAccount(reason)


def complete(settle: Literal["close", "none"] = "close") -> CompleteAccount:
    return CompleteAccount(settle)


def liquidate(reason: str = "because") -> LiquidateAccount:
    return LiquidateAccount(reason)


def mark(pass_id: str = "pass-1", *, unless_unchanged: bool = False) -> MarkToMarket:
    return MarkToMarket(pass_id, unless_unchanged)


def void_fill(place: int, *, cascade: bool = False) -> Voiding:
    return Voiding(place, cascade, by_order=False)


def void_order(place: int, *, cascade: bool = False) -> Voiding:
    return Voiding(place, cascade, by_order=True)


# ---------------------------------------------------------------- expectations: what is on the page


class Expected(msgspec.Struct, frozen=True):
    """An event of `kind` with these fields; fields that are not named may be anything."""

    kind: type[Event]
    fields: dict[str, Any]


def _expecting(kind: type[Event]) -> Callable[..., Expected]:
    names = {field.name for field in msgspec.structs.fields(kind)}

    def expected(**fields: Any) -> Expected:
        unknown = fields.keys() - names
        assert not unknown, f"{kind.TYPE} has no {', '.join(sorted(unknown))}"
        return Expected(kind, fields)

    return expected


account_created = _expecting(AccountCreated)
account_started = _expecting(AccountStarted)
account_paused = _expecting(AccountPaused)
account_resumed = _expecting(AccountResumed)
account_locked = _expecting(AccountLocked)
account_completed = _expecting(AccountCompleted)
account_liquidated = _expecting(AccountLiquidated)
action_rejected = _expecting(ActionRejected)
order_validated = _expecting(OrderValidated)
fill_booked = _expecting(FillBooked)
position_opened = _expecting(PositionOpened)
position_increased = _expecting(PositionIncreased)
position_reduced = _expecting(PositionReduced)
position_closed = _expecting(PositionClosed)
mark_to_market = _expecting(MarkedToMarket)
mark_to_market_failed = _expecting(MarkToMarketFailed)
rule_warning = _expecting(RuleWarning)
fill_voided = _expecting(FillVoided)
liquidation_triggered = _expecting(LiquidationTriggered)


def differences(actual: object, expected: object, where: str = "") -> list[str]:
    """Where `actual` is not as expected, by path."""
    if isinstance(expected, dict):
        found: list[str] = []
        for name, wanted in expected.items():
            if isinstance(actual, dict):
                value = actual.get(name, "(nothing)")
            else:
                value = getattr(actual, name, "(nothing)")
            found += differences(value, wanted, f"{where}.{name}" if where else str(name))
        return found
    if isinstance(expected, list):
        values = list(cast(tuple[object, ...], actual))
        if len(values) != len(expected):
            return [f"{where} has {len(values)} elements, not {len(expected)}: {values}"]
        pairs = enumerate(zip(values, expected, strict=True))
        return [each for place, (value, wanted) in pairs for each in differences(value, wanted, f"{where}[{place}]")]
    if isinstance(actual, Decimal) and isinstance(expected, str | int):
        expected = Decimal(expected)
    return [] if actual == expected else [f"{where} is {actual}, not {expected}"]


# ---------------------------------------------------------------- the page


class Page:
    """One account, its market and its clock, and what the last `when` brought."""

    def __init__(self, opening: Opening) -> None:
        self.now = NOW
        self.quotes = {symbol: quote(symbol, mid) for symbol, mid in MARKET.items()}
        self.book, first = AccountBook.open(opening.create, account_id=ACCOUNT_ID, now=NOW, request_id=REQUEST_ID)
        self.ledger: list[RecordedEvent] = [first]
        self.recorded: tuple[RecordedEvent, ...] = ()
        self.entry: Entry | None = None
        self.refusal: Refusal | None = None
        self.results: list[ActionResult] = []
        self.conflicts: tuple[Conflict, ...] = ()
        self._keys = 0
        if opening.starts:
            self.happens(start())

    @property
    def account(self) -> Account:
        return self.book.account

    @property
    def context(self) -> Context:
        return Context(self.now, dict(self.quotes))

    @property
    def result(self) -> ActionResult:
        """The last action's."""
        return self.results[-1]

    @property
    def failures(self) -> dict[str, dict[str, str | int | None]]:
        """Failing gates of the last action, in order, with the numbers they compared."""
        return {failure.code.value: failure.context for failure in self.result.failures}

    @property
    def fills(self) -> list[FillBooked]:
        """Every fill that ever was, as it was booked."""
        return [event for event in map(decoded, self.ledger) if isinstance(event, FillBooked)]

    @property
    def fill_ids(self) -> list[str]:
        return [fill.fill_id for fill in self.fills]

    @property
    def codes(self) -> list[str]:
        return list(self.failures)

    @property
    def events(self) -> list[Event]:
        """What the last `when` recorded, read back from the ledger's bytes."""
        return [decoded(each) for each in self.recorded]

    def position(self, symbol: str = "BTC-USD", side: Side = LONG) -> Position:
        return self.account.positions[symbol, side]

    def happens(self, *steps: Step) -> None:
        before = len(self.ledger)
        for step in steps:
            match step:
                case Priced(symbol=symbol, quote=None):
                    self.quotes.pop(symbol, None)
                case Priced(symbol=symbol, quote=Quote() as shown, age_ms=age_ms):
                    observed_at = self.now - timedelta(milliseconds=age_ms)
                    self.quotes[symbol] = msgspec.structs.replace(shown, observed_at=observed_at)
                case Later(by=by):
                    self.now += by
                case TakeAction():
                    self.ledger += self._take(step)
                case Voiding():
                    self.ledger += self._correct(self._named(step))
                case VoidFill() | VoidOrder():
                    self.ledger += self._correct(step)
                case _:
                    self.ledger += self._submit(cast(Command, step))
        self.recorded = tuple(self.ledger[before:])

    def when(self, *steps: Step) -> "Page":
        self.refusal, self.results, self.conflicts, self.entry = None, [], (), None
        self.happens(*steps)
        return self

    def then(self, *expected: Expected) -> "Page":
        """The last `when` recorded exactly these events, whose ledger also replays to the live account."""
        found = [event.TYPE for event in self.events]
        wanted = [each.kind.TYPE for each in expected]
        assert found == wanted, f"the page says {found}, not {wanted}; {self.refusal or self.failures_told()}"
        for event, each in zip(self.events, expected, strict=True):
            unlike = differences(event, each.fields)
            assert not unlike, f"{event.TYPE}: {'; '.join(unlike)}"
        self.replays()
        return self

    def refused(self, code: str, **context: str | int) -> "Page":
        """The last command was refused with this code and (if told) exactly this context; nothing was written."""
        assert self.refusal is not None, f"not refused: {[event.TYPE for event in self.events]}"
        assert self.refusal.code == code
        assert not context or self.refusal.context == context
        assert self.recorded == ()
        return self

    def rejected(self, *codes: str, max_quantity: Number | None = None) -> "Page":
        """The last action failed exactly these gates, in this order."""
        self.then(action_rejected(code=codes[0]))
        assert self.codes == list(codes)
        wanted = None if max_quantity is None else decimal(max_quantity)
        assert self.result.max_quantity == wanted, f"maxQuantity is {self.result.max_quantity}, not {wanted}"
        return self

    def executed(self) -> "Page":
        """The last action filled."""
        assert self.results, "no action was taken"
        assert self.result.status == "executed", self.failures
        return self

    def outcome(self, mark_outcome: str) -> "Page":
        """How the last marking ended."""
        assert self.entry is not None
        assert self.entry.decision is not None
        assert self.entry.decision.mark == mark_outcome
        return self

    def balance(self, **expected: Number) -> "Page":
        """Figures of the account as it stands: cash, equity, fees_paid..."""
        unlike = differences(self.account, expected)
        assert not unlike, "; ".join(unlike)
        return self

    def replays(self) -> None:
        """The whole ledger, read back from bytes, makes the live account and its head again (G5)."""
        book, _ = replayed(((each, decoded(each)) for each in self.ledger), receipts_in_memory_max=1_000)
        assert book.account == self.book.account
        assert book.head == self.book.head

    def failures_told(self) -> str:
        return f"failures {self.failures}" if self.results else "no action"

    def _take(self, asked: TakeAction) -> tuple[RecordedEvent, ...]:
        action = asked.action
        if not action.decision_action_id:
            self._keys += 1
            action = msgspec.structs.replace(action, decision_action_id=f"auto-{self._keys}")
        entry = self.book.take(ActionBatch(asked.decision_run_id, (action,)), self.context, request_id=REQUEST_ID)
        if not isinstance(entry, Entry):
            self.conflicts += entry
            return ()
        self.entry = entry
        self.results += entry.results
        return entry.recorded

    def _named(self, asked: Voiding) -> Correction:
        fill = self.fills[asked.place - 1]
        if asked.by_order:
            return VoidOrder(fill.order_id, "because", asked.cascade)
        return VoidFill(fill.fill_id, "because", asked.cascade)

    def _correct(self, command: Correction) -> tuple[RecordedEvent, ...]:
        ledger = [(each, decoded(each)) for each in self.ledger]
        return self._answered(self.book.correct(command, ledger, self.now, request_id=REQUEST_ID))

    def _submit(self, command: Command) -> tuple[RecordedEvent, ...]:
        return self._answered(self.book.submit(command, self.context, request_id=REQUEST_ID))

    def _answered(self, answer: Entry | Refusal) -> tuple[RecordedEvent, ...]:
        if isinstance(answer, Refusal):
            self.refusal = answer
            return ()
        self.entry = answer
        return answer.recorded


def given(opening: Opening, *steps: Step) -> Page:
    """An account with a past in which nothing was refused or rejected."""
    page = Page(opening)
    for step in steps:
        page.when(step)
        assert page.refusal is None, page.refusal
        assert all(result.status == "executed" for result in page.results), page.failures
    return page


def decoded(recorded: RecordedEvent) -> Event:
    """The event as a reader of the ledger finds it."""
    return msgspec.json.decode(recorded.payload, type=EVENT_TYPES[recorded.type])
