"""Lively histories: accounts that trade, are refused, marked, paused and ended, committed to a real store as they go.

Everything follows from the seed, so a failing test fails again.
"""

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import msgspec

from engine.book import AccountBook, ActionBatch, Entry
from engine.changes import changes
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
)
from engine.decide import Context
from engine.ids import uuid7
from engine.money import round8
from engine.policy import LONG, SHORT, Policy, Side
from engine.quotes import Quote
from persistence.store import Head, Store, StoredSnapshot, append_of

BEGINNING = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
SIDES: Final[tuple[Side, ...]] = (LONG, SHORT)
MIDS = {"BTC-USD": Decimal(50_000), "ETH-USD": Decimal(3_000), "SOL-USD": Decimal(100)}


class Life:
    """One account on a store, with a market and a clock of its own."""

    def __init__(self, store: Store, seed: int) -> None:
        self.store = store
        self.chance = random.Random(seed)
        self.now = BEGINNING
        self.mids = dict(MIDS)
        self.stale: str | None = None
        self.runs = 0
        self.seed = seed
        self.book: AccountBook

    @property
    def id(self) -> str:
        return self.book.account.id

    async def begin(self, **policy: Any) -> None:
        """Created, claimed (so in epoch 1) and started."""
        opening = CreateAccount(
            owner_id=f"owner-{self.seed % 2}",
            clone_id=f"clone-{self.seed % 3}",
            race_id="race-1" if self.seed % 2 else None,
            idempotency_key=f"life-{self.seed}",
            policy=msgspec.structs.replace(Policy(), **policy),
            metadata={"why": {"nested": [1, "é", None]}},
        )
        account_id = uuid7(self.now + timedelta(milliseconds=self.seed), self.chance.randbytes(10))
        self.book, first = AccountBook.open(opening, account_id=account_id, now=self.now, request_id="create")
        made = append_of(
            self.book.account, epoch=0, expected_seq=0, events=[first], changes=changes(self.book.account, [])
        )
        await self.store.create(opening, made)
        await self.claim()
        await self.submit(StartAccount())

    async def claim(self) -> Head:
        head = (await self.store.claim([self.id]))[self.id]
        self.book.epoch = head.epoch
        return head

    async def submit(self, command: Command) -> None:
        self._tick()
        entry = self.book.submit(command, Context(self.now, self._quotes()), request_id=f"request-{self.now:%M%S%f}")
        assert isinstance(entry, Entry), entry
        await self._commit(entry)

    async def mark(self) -> None:
        await self.submit(MarkToMarket(pass_id=f"pass-{self.now:%H%M%S}"))

    async def take(self, *actions: Action) -> None:
        self._tick()
        self.runs += 1
        batch = ActionBatch(f"run-{self.runs}", actions)
        entry = self.book.take(batch, Context(self.now, self._quotes()), request_id=f"run-{self.runs}")
        assert isinstance(entry, Entry), entry
        await self._commit(entry)

    async def snapshot(self) -> None:
        kept = StoredSnapshot(self.id, self.book.account.seq, self.book.epoch, self.book.state)
        assert await self.store.save_snapshots([kept]) == 1

    async def live_through(self, steps: int) -> None:
        """Whatever chance brings: opens, adds, reductions, closes, refusals, marks fresh and stale, pauses."""
        for _ in range(steps):
            what = self.chance.random()
            if what < 0.65:
                await self.take(*(self._action(place) for place in range(self.chance.randint(1, 3))))
            elif what < 0.9:
                self.stale = self.chance.choice([None, None, *MIDS])
                await self.mark()
                self.stale = None
            elif what < 0.95:
                await self.submit(PauseAccount(reason="lunch"))
                await self.take(self._action(0))
                await self.submit(ResumeAccount(reason="back"))
            else:
                await self.submit(LockAccount(reason="inspection"))
                await self.submit(ResumeAccount(reason="inspected"))

    def _action(self, place: int) -> Action:
        symbol, side = self.chance.choice([*MIDS, "DOGE-USD"]), self.chance.choice(SIDES)
        what = self.chance.choice(("open", "open", "open", "reduce", "close", "hold"))
        sized: dict[str, Any] = {}
        if what == "open":
            sized = {"notional": round8(Decimal(self.chance.randint(100, 9_000)) / 7), "leverage": Decimal(3)}
        elif what == "reduce":
            sized = {"fraction": Decimal("0.33333333")}
        return Action(
            decision_action_id=f"a{place}", action=what, symbol=symbol, side=side, rationale="feels right", **sized
        )

    def _tick(self) -> None:
        self.now += timedelta(seconds=1, microseconds=self.chance.randint(0, 999_999))
        for symbol, mid in self.mids.items():
            self.mids[symbol] = round8(mid * Decimal(self.chance.randint(9_950, 10_050)) / 10_000)

    def _quotes(self) -> dict[str, Quote]:
        return {
            symbol: Quote(
                symbol, mid - 1, mid + 1, mid, "test", self.now - timedelta(hours=1 if symbol == self.stale else 0)
            )
            for symbol, mid in self.mids.items()
        }

    async def _commit(self, entry: Entry) -> None:
        if not entry.recorded:
            return
        append = append_of(
            entry.account,
            epoch=self.book.epoch,
            expected_seq=entry.recorded[0].seq - 1,
            events=entry.recorded,
            changes=entry.changes,
        )
        assert await self.store.commit([append]) == {self.id: "committed"}


def long(symbol: str, notional: int) -> Action:
    """Opens or adds `notional` of account currency."""
    sized = round8(Decimal(notional))
    return Action(decision_action_id=f"long-{symbol}", action="open", symbol=symbol, side="long", notional=sized)


async def lively(store: Store, *, steps: int = 12) -> list[Life]:
    """Five accounts: two that trade on, one completed, one liquidated by a fall, one on request."""
    lives = [Life(store, seed) for seed in range(1, 6)]
    for life in lives:
        await life.begin(fee_bps=Decimal("7.50000000"))
        await life.take(long("BTC-USD", 9_000), long("ETH-USD", 1_234))
        await life.live_through(steps // 2)
        await life.snapshot()
        await life.live_through(steps - steps // 2)
    _, _, completed, fallen, ended = lives
    await completed.submit(CompleteAccount(settle="close"))
    for symbol in MIDS:
        await fallen.take(long(symbol, 40_000))
    fallen.mids = {symbol: round8(mid / 10) for symbol, mid in fallen.mids.items()}
    await fallen.mark()
    await ended.submit(LiquidateAccount(reason="asked for"))
    await lives[0].claim()
    await lives[0].take(long("SOL-USD", 77))
    return lives


def ids(lives: Sequence[Life]) -> list[str]:
    return [life.id for life in lives]
