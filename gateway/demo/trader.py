"""Trader: one strategy with one account, a user of the Python client like any other.

Owns the ids. An account is created under a key of its number (`demo-momentum-3`), so that a restart finds the one that
is still open; a decision run has an id of its own and is sent again under it until it is answered. So whatever is lost
on the way, nothing is done twice.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

import msgspec

from gateway.demo.strategies import MEMORY, Action, Sight, Strategy
from prop import AsyncProp, PropError, errors
from prop.models import Account, ActionResult, AgedPosition, DecisionContext, Fill, Snapshot, SymbolContext

OWNER: Final = "demo"
RACE: Final = "demo"
ENDED: Final = ("completed", "liquidated")
PAUSE_AFTER_END_SECONDS: Final = 4.0
"""So that the end of an account is seen before the next one begins."""
PAUSE_AFTER_ERROR_SECONDS: Final = 1.0
FILL_TOLD: Final = {"symbol", "side", "intent", "quantity", "price", "realized_pnl"}
REJECTION_TOLD: Final = {"code", "failures", "max_quantity"}


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something worth a line. `kind`: started, fill, rejected, liquidated, completed or trouble."""

    kind: str
    strategy: str
    account_id: str
    text: str
    details: Mapping[str, Any] = {}


class Standing(msgspec.Struct):
    """How an account stands, for the table. Money in account currency."""

    strategy: str
    account_id: str
    status: str = "pending"
    starting: Decimal = Decimal(1)
    equity: Decimal = Decimal(1)
    drawdown: Decimal = Decimal(0)
    positions: tuple[str, ...] = ()
    fills: int = 0
    rejections: int = 0
    last_event: str = ""

    @property
    def gain(self) -> Decimal:
        return self.equity / self.starting - 1


class Trader:
    """Trades one strategy for ever, account after account."""

    def __init__(
        self, strategy: Strategy, prop: AsyncProp, *, seconds: float, tell: Callable[[Event, Standing], None]
    ) -> None:
        self.strategy = strategy
        self.standing = Standing(strategy.name, "")
        self.actions = 0
        self._prop = prop
        self._seconds = seconds
        self._tell = tell
        self._seen: dict[str, datetime] = {}
        self._closes: dict[str, deque[Decimal]] = {}

    async def run(self) -> None:
        """Until cancelled. What the gateway refuses is told, and tried again after a while."""
        number = 1
        while True:
            try:
                number = await self._adopt(number)
                while self.standing.status not in ENDED:
                    await asyncio.gather(self._turn(), asyncio.sleep(self._seconds))
            except PropError as error:
                self._event("trouble", str(error))
                await asyncio.sleep(PAUSE_AFTER_ERROR_SECONDS)
            else:
                await asyncio.sleep(PAUSE_AFTER_END_SECONDS)

    # ------------------------------------------------------------ the account

    async def _adopt(self, number: int) -> int:
        """Open account `number`, or the first after it that has not ended yet, and start it; returns its number."""
        while True:
            try:
                account = await self._opened(number)
            except errors.IdempotencyKeyReused:  # another version of the demo had it
                number += 1
                continue
            if account.status not in ENDED:
                break
            number += 1
        is_new = account.status == "pending"
        if is_new:
            account = await self._prop.start(account.id)
        self.standing = Standing(
            self.strategy.name,
            account.id,
            status=account.status,
            starting=account.starting_balance,
            equity=account.starting_balance,
        )
        starting = f"started with {self.standing.starting:,.0f} {account.currency}"
        self._event("started", starting if is_new else "goes on where it was")
        return number

    async def _opened(self, number: int) -> Account:
        name = self.strategy.name
        return await self._prop.create_account(
            OWNER,
            f"demo-{name}",
            idempotency_key=f"demo-{name}-{number}",
            race_id=RACE,
            mode="race",
            policy=self.strategy.policy,
        )

    # ------------------------------------------------------------ a turn

    async def _turn(self) -> None:
        """Look, decide, act; and once more where a refusal says what would have passed."""
        context = await self._prop.decision_context(self.standing.account_id)
        self._note(context.snapshot)
        if self.standing.status != "active":
            return
        actions = self.strategy.decide(self._sight(context))
        if not actions:
            return
        results = await self._act(actions)
        again = [self._second_try(action, result) for action, result in zip(actions, results, strict=True)]
        if fitting := [action for action in again if action is not None]:
            await self._act(fitting)

    async def _act(self, actions: list[Action]) -> list[ActionResult]:
        """Send under ids that no other decision has; the client repeats them as they are."""
        self.actions += len(actions)
        taken = await self._prop.decide(self.standing.account_id, actions, run_id=f"run-{time.time_ns()}")
        for action, result in zip(actions, taken.results, strict=True):
            self._report(action, result)
        return taken.results

    def _second_try(self, action: Action, result: ActionResult) -> Action | None:
        return None if result.max_quantity is None else self.strategy.second_try(action, result.max_quantity)

    def _sight(self, context: DecisionContext) -> Sight:
        capacity: dict[tuple[str, str], Decimal] = {}
        for symbol in context.symbols:
            self._remember(symbol)
            for room in symbol.capacity:
                if room.max_quantity is not None:
                    capacity[symbol.symbol, room.side] = room.max_quantity
        return Sight(
            closes={name: tuple(closes) for name, closes in self._closes.items()},
            held={(held.symbol, held.side): held.quantity for held in context.snapshot.positions},
            capacity=capacity,
            equity=context.snapshot.balance.equity,
        )

    def _remember(self, symbol: SymbolContext) -> None:
        """Each quote once."""
        quote = symbol.quote
        if quote is None or self._seen.get(symbol.symbol) == quote.observed_at:
            return
        self._seen[symbol.symbol] = quote.observed_at
        self._closes.setdefault(symbol.symbol, deque(maxlen=MEMORY)).append(quote.mid)

    # ------------------------------------------------------------ telling

    def _note(self, snapshot: Snapshot) -> None:
        standing, account, balance = self.standing, snapshot.account, snapshot.balance
        standing.status = account.status
        standing.equity = balance.equity
        standing.drawdown = balance.drawdown
        standing.positions = tuple(_held(position) for position in snapshot.positions)
        standing.fills = snapshot.counters.fills
        standing.rejections = snapshot.counters.rejected
        if standing.status == "liquidated":
            figures = {
                "equity": f"{balance.equity:f}",
                "drawdown": f"{balance.drawdown:f}",
                "reason": account.end_reason,
            }
            self._event(
                "liquidated",
                f"LIQUIDATED at equity {standing.equity:,.2f}, drawdown {standing.drawdown:.1%}",
                figures,
            )
        elif standing.status == "completed":
            self._event("completed", f"completed: {account.end_reason}")

    def _report(self, action: Action, result: ActionResult) -> None:
        if result.fill is not None:
            details = result.fill.model_dump(mode="json", by_alias=True, include=FILL_TOLD)
            self._event("fill", f"fill {fill_text(result.fill)}", details)
        else:
            details = result.model_dump(mode="json", by_alias=True, include=REJECTION_TOLD)
            self._event("rejected", f"rejected {rejection_text(result)}", {"symbol": action["symbol"], **details})

    def _event(self, kind: str, text: str, details: Mapping[str, Any] | None = None) -> None:
        self.standing.last_event = text
        event = Event(
            kind=kind,
            strategy=self.strategy.name,
            account_id=self.standing.account_id,
            text=text,
            details=details or {},
        )
        self._tell(event, self.standing)


def fill_text(fill: Fill) -> str:
    """`long 0.5 AAPL @ 130.31`, `close long 0.5 AAPL @ 131.00 pnl +0.35`."""
    text = f"{fill.side} {plain(fill.quantity)} {fill.symbol} @ {plain(fill.price)}"
    return text if fill.intent == "open" else f"{fill.intent} {text} pnl {fill.realized_pnl:+,.2f}"


def rejection_text(result: ActionResult) -> str:
    """`notional_exceeds_maximum 62000 > 50000`: the code, and the two numbers that the gate compared."""
    context = result.failures[0].context if result.failures else {}
    compared: Decimal | str | int | None = next(
        (value for name, value in context.items() if name not in ("symbol", "side", "limit")), None
    )
    if "openNotional" in context:  # what is open already counts as well
        compared = Decimal(context["openNotional"] or 0) + Decimal(context["notional"] or 0)
    if "limit" in context and compared is not None:
        return f"{result.code} {plain(compared)} > {plain(context['limit'])}"
    named = " ".join(f"{name}={plain(value)}" for name, value in context.items())
    return f"{result.code} {named}".rstrip()


def plain(number: object) -> str:
    """`130.31000000` as `130.31`; what is no number, as it is."""
    text = f"{number:f}" if isinstance(number, Decimal) else str(number)
    if "." not in text or not text.replace(".", "", 1).lstrip("-").isdigit():
        return text
    return text.rstrip("0").rstrip(".")


def _held(position: AgedPosition) -> str:
    return f"{'-' if position.side == 'short' else ''}{plain(position.quantity)} {position.symbol}"
