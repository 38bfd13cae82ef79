"""Trader: one strategy with one account, a client of the HTTP API like any other.

Owns the ids. An account is created under a key of its number (`demo-momentum-3`), so that a restart finds the one that
is still open; a decision run has an id of its own and is sent again under it until it is answered. So whatever is lost
on the way, nothing is done twice.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final

import msgspec

from gateway.commands.api import Api, ApiError
from gateway.demo.strategies import MEMORY, Action, Sight, Strategy

OWNER: Final = "demo"
RACE: Final = "demo"
ENDED: Final = ("completed", "liquidated")
PAUSE_AFTER_END_SECONDS: Final = 4.0
"""So that the end of an account is seen before the next one begins."""
PAUSE_AFTER_ERROR_SECONDS: Final = 1.0


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
        self, strategy: Strategy, api: Api, *, seconds: float, tell: Callable[[Event, Standing], None]
    ) -> None:
        self.strategy = strategy
        self.standing = Standing(strategy.name, "")
        self.actions = 0
        self._api = api
        self._seconds = seconds
        self._tell = tell
        self._seen: dict[str, str] = {}
        self._closes: dict[str, deque[Decimal]] = {}

    async def run(self) -> None:
        """Until cancelled. What the gateway refuses is told, and tried again after a while."""
        number = 1
        while True:
            try:
                number = await self._adopt(number)
                while self.standing.status not in ENDED:
                    await asyncio.gather(self._turn(), asyncio.sleep(self._seconds))
            except ApiError as error:
                self._event("trouble", str(error))
                await asyncio.sleep(PAUSE_AFTER_ERROR_SECONDS)
            else:
                await asyncio.sleep(PAUSE_AFTER_END_SECONDS)

    # ------------------------------------------------------------ the account

    async def _adopt(self, number: int) -> int:
        """Open account `number`, or the first after it that has not ended yet, and start it; returns its number."""
        while True:
            try:
                account = await self._api.post("/accounts", self._opening(number), patient=True)
            except ApiError as error:
                if error.code != "idempotency_key_reused":
                    raise
                account = {"status": "completed"}  # another version of the demo had it
            if account["status"] not in ENDED:
                break
            number += 1
        is_new = account["status"] == "pending"
        if is_new:
            account = await self._api.post(f"/accounts/{account['id']}/start", patient=True)
        self.standing = Standing(
            self.strategy.name,
            account["id"],
            status=account["status"],
            starting=Decimal(account["startingBalance"]),
            equity=Decimal(account["startingBalance"]),
        )
        starting = f"started with {self.standing.starting:,.0f} {account['currency']}"
        self._event("started", starting if is_new else "goes on where it was")
        return number

    def _opening(self, number: int) -> dict[str, Any]:
        name = self.strategy.name
        return {
            "idempotencyKey": f"demo-{name}-{number}",
            "ownerId": OWNER,
            "cloneId": f"demo-{name}",
            "raceId": RACE,
            "mode": "race",
            "policy": dict(self.strategy.policy),
        }

    # ------------------------------------------------------------ a turn

    async def _turn(self) -> None:
        """Look, decide, act; and once more where a refusal says what would have passed."""
        context = await self._api.get(f"/accounts/{self.standing.account_id}/decision-context", patient=True)
        self._note(context["snapshot"])
        if self.standing.status != "active":
            return
        actions = self.strategy.decide(self._sight(context))
        if not actions:
            return
        results = await self._act(actions)
        again = [self._second_try(action, result) for action, result in zip(actions, results, strict=True)]
        if fitting := [action for action in again if action is not None]:
            await self._act(fitting)

    async def _act(self, actions: list[Action]) -> list[dict[str, Any]]:
        """Send under ids that no other decision has; patience repeats them as they are."""
        self.actions += len(actions)
        named = [{"decisionActionId": f"a{place}", **action} for place, action in enumerate(actions, 1)]
        done = await self._api.post(
            f"/accounts/{self.standing.account_id}/decision-actions",
            {"decisionRunId": f"run-{time.time_ns()}", "actions": named},
            patient=True,
        )
        results: list[dict[str, Any]] = done["results"]
        for action, result in zip(actions, results, strict=True):
            self._report(action, result)
        return results

    def _second_try(self, action: Action, result: dict[str, Any]) -> Action | None:
        most = result["maxQuantity"]
        return None if most is None else self.strategy.second_try(action, Decimal(most))

    def _sight(self, context: dict[str, Any]) -> Sight:
        capacity: dict[tuple[str, str], Decimal] = {}
        for symbol in context["symbols"]:
            self._remember(symbol)
            for side in symbol["capacity"]:
                if side["maxQuantity"] is not None:
                    capacity[symbol["symbol"], side["side"]] = Decimal(side["maxQuantity"])
        snapshot = context["snapshot"]
        return Sight(
            closes={name: tuple(closes) for name, closes in self._closes.items()},
            held={(held["symbol"], held["side"]): Decimal(held["quantity"]) for held in snapshot["positions"]},
            capacity=capacity,
            equity=Decimal(snapshot["balance"]["equity"]),
        )

    def _remember(self, symbol: dict[str, Any]) -> None:
        """Each quote once."""
        name, quote = symbol["symbol"], symbol["quote"]
        if quote is None or self._seen.get(name) == quote["observedAt"]:
            return
        self._seen[name] = quote["observedAt"]
        self._closes.setdefault(name, deque(maxlen=MEMORY)).append(Decimal(quote["mid"]))

    # ------------------------------------------------------------ telling

    def _note(self, snapshot: dict[str, Any]) -> None:
        standing, account, balance = self.standing, snapshot["account"], snapshot["balance"]
        standing.status = account["status"]
        standing.equity = Decimal(balance["equity"])
        standing.drawdown = Decimal(balance["drawdown"])
        standing.positions = tuple(_held(position) for position in snapshot["positions"])
        standing.fills = snapshot["counters"]["fills"]
        standing.rejections = snapshot["counters"]["rejected"]
        if standing.status == "liquidated":
            figures = {"equity": balance["equity"], "drawdown": balance["drawdown"], "reason": account["endReason"]}
            self._event(
                "liquidated",
                f"LIQUIDATED at equity {standing.equity:,.2f}, drawdown {standing.drawdown:.1%}",
                figures,
            )
        elif standing.status == "completed":
            self._event("completed", f"completed: {account['endReason']}")

    def _report(self, action: Action, result: dict[str, Any]) -> None:
        if result["status"] == "executed":
            fill = result["fill"]
            text = f"fill {fill_text(fill)}"
            details = {name: fill[name] for name in ("symbol", "side", "intent", "quantity", "price", "realizedPnl")}
            self._event("fill", text, details)
        else:
            details = {"code": result["code"], "failures": result["failures"], "maxQuantity": result["maxQuantity"]}
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


def fill_text(fill: Mapping[str, Any]) -> str:
    """`long 0.5 AAPL @ 130.31`, `close long 0.5 AAPL @ 131.00 pnl +0.35`."""
    quantity, price = plain(fill["quantity"]), plain(fill["price"])
    text = f"{fill['side']} {quantity} {fill['symbol']} @ {price}"
    if fill["intent"] == "open":
        return text
    return f"{fill['intent']} {text} pnl {Decimal(fill['realizedPnl']):+,.2f}"


def rejection_text(result: Mapping[str, Any]) -> str:
    """`notional_exceeds_maximum 62000 > 50000`: the code, and the two numbers that the gate compared."""
    context = result["failures"][0]["context"] if result["failures"] else {}
    compared = next((value for name, value in context.items() if name not in ("symbol", "side", "limit")), None)
    if "openNotional" in context:  # what is open already counts as well
        compared = Decimal(context["openNotional"]) + Decimal(context["notional"])
    if "limit" in context and compared is not None:
        return f"{result['code']} {plain(compared)} > {plain(context['limit'])}"
    named = " ".join(f"{name}={plain(value)}" for name, value in context.items())
    return f"{result['code']} {named}".rstrip()


def plain(number: object) -> str:
    """`130.31000000` as `130.31`; what is no number, as it is."""
    text = str(number)
    if "." not in text or not text.replace(".", "", 1).lstrip("-").isdigit():
        return text
    return text.rstrip("0").rstrip(".")


def _held(position: Mapping[str, Any]) -> str:
    return f"{'-' if position['side'] == 'short' else ''}{plain(position['quantity'])} {position['symbol']}"
