"""One run: a seed makes a world, clients and faults; then the faults stop, and everything must hold.

Safety is checked on all that was stored and told; liveness by one more action for every account that trades.
"""

import asyncio
import gc
import traceback
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from hashlib import blake2b
from itertools import islice
from random import Random
from typing import Any, Final

import msgspec
import structlog

from engine.account import TERMINAL, Account
from engine.book import AccountBook, replayed
from engine.commands import Action
from engine.events import RecordedEvent
from engine.invariants import InvariantBroken
from engine.policy import LONG
from persistence.codec import decode
from persistence.reconcile import drifts
from tests.simulation.clients import Client
from tests.simulation.faults import FAULTS, strike_until
from tests.simulation.virtual import VirtualLoop
from tests.simulation.world import Parts, World
from tests.support.audit import Violation, audit
from tests.support.audit_rows import in_memory
from tests.support.history import History

STRIKES_S: Final = 7.0
LIVE_AGAIN_S: Final = 30.0
CLIENTS: Final = 3
ACCOUNTS: Final = 4


class Run(msgspec.Struct, kw_only=True):
    """What a seed made of it. `trace` holds everything that happened, in order; `digest` is the trace in 16 bytes."""

    seed: int
    violations: list[Violation]
    faults: list[str]
    outcomes: dict[str, int]
    events: int
    virtual_s: float
    trace: list[str]

    @property
    def digest(self) -> str:
        return blake2b("\n".join(self.trace).encode(), digest_size=16).hexdigest()

    def report(self) -> str:
        """What a developer needs: the faults, what broke, and how to see it again."""
        return "\n".join(
            [
                f"seed {self.seed}: {len(self.violations)} violations in {self.events} events",
                *(f"  {fault}" for fault in self.faults),
                *(f"  {violation}" for violation in self.violations[:20]),
                f"again: python -m tests.simulation --from {self.seed} --seeds 1 --trace",
            ]
        )


def run(
    seed: int, parts: Parts | None = None, kinds: tuple[str, ...] = tuple(FAULTS), *, strikes_s: float = STRIKES_S
) -> Run:
    """Run a seed from beginning to end, in virtual time. `kinds`: the faults that may happen, for `strikes_s`."""
    unheard: list[str] = []
    with _swept_once():
        made = _world_run(seed, parts or Parts(), kinds, strikes_s, unheard)
    made.violations += [Violation("defect", "", each) for each in unheard]
    return made


@contextmanager
def _swept_once() -> Iterator[None]:
    """Rubbish is looked for once, when a run is over and its world is let go, and only in what was made meanwhile: else
    that is a tenth of a run."""
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.collect()
        gc.enable()
        gc.unfreeze()


def _world_run(seed: int, parts: Parts, kinds: tuple[str, ...], strikes_s: float, unheard: list[str]) -> Run:
    """`unheard`: exceptions that nobody looked at, now or when rubbish is swept."""
    trace: list[str] = []
    with closing(VirtualLoop()) as loop:

        def note(what: str) -> None:
            trace.append(f"{loop.time():10.4f} {what}")

        loop.set_exception_handler(
            lambda _, context: unheard.append(f"{context['message']}: {context.get('exception')!r}")
        )
        before = structlog.get_config()
        structlog.configure(processors=[_into(note)], cache_logger_on_first_use=False)
        try:
            return loop.run_until_complete(_run(seed, parts, kinds, strikes_s, trace, note))
        except Exception as defect:
            trace += traceback.format_exception(defect)
            broken = Violation("defect", "", repr(defect))
            return Run(seed=seed, violations=[broken], faults=[], outcomes={}, events=0, virtual_s=0.0, trace=trace)
        finally:
            loop.abandon()
            structlog.configure(**before)


async def _run(seed: int, parts: Parts, kinds: tuple[str, ...], strikes_s: float, trace: list[str], note: Any) -> Run:
    clock = asyncio.get_running_loop()
    world = World(Random(seed), parts, note)
    history = History()
    clients = [Client(f"c{number}", world, history) for number in range(CLIENTS)]
    accounts = [await clients[0].opened(f"account-{number}") for number in range(ACCOUNTS)]
    ends_at = clock.time() + strikes_s
    watcher = Client("watcher", world, history)
    trading = asyncio.gather(
        watcher.watch_until(ends_at, accounts), *(client.trade_until(ends_at, accounts) for client in clients)
    )
    struck = await strike_until(world, ends_at, kinds)
    await trading
    world.storage.refuse_next.clear()
    note("faults have stopped")
    violations = [each async for each in _not_live(world, clients[0], accounts)]
    while world.storage.in_doubt:
        await asyncio.sleep(0.1)
    rows, quotes = in_memory(world.memory, world.prices.recorded)
    violations += audit(history, rows, quotes)
    violations += _told_lies(world)
    violations += [Violation("drain", "", overdue) for overdue in world.overdue]
    for account_id in accounts:
        stored = await world.memory.stored(account_id)
        violations += [Violation("I6", account_id, str(drift)) for drift in drifts(stored, None)]
        violations += _seen_otherwise(world, account_id, stored.ledger)
    return Run(
        seed=seed,
        violations=violations,
        faults=struck,
        outcomes=history.outcomes(),
        events=len(world.memory.events),
        virtual_s=clock.time(),
        trace=trace,
    )


async def _not_live(world: World, client: Client, accounts: list[str]) -> Any:
    """I11: with the faults gone, every account takes an action again in time, from quarantine by a recompute."""
    for account_id in accounts:
        hold = Action(decision_action_id="alive", action="close", symbol="BTC-USD", side=LONG)
        try:
            async with asyncio.timeout(LIVE_AGAIN_S):
                while (outcome := await client.acts(account_id, hold, attempts=1)) != "ok":
                    if outcome == "refused":
                        await client.recomputes(account_id)
                    await asyncio.sleep(0.2)
        except TimeoutError:
            yield Violation("I11", account_id, f"takes no action {LIVE_AGAIN_S:g} s after the faults stopped")
        if world.memory.accounts[account_id].status in TERMINAL:
            world.note(f"{account_id} has ended")


def _told_lies(world: World) -> Iterator[Violation]:
    """Of the group commit: what it called committed is stored, what it called fenced or refused is not, and it called
    nothing refused but what was.

    Two activations may decide the same to the last byte, where their clock stands still; then only one is stored, and
    its epoch says which.
    """
    stored = {(event.account_id, event.seq): event for event in world.memory.events.values()}
    for told in world.told:
        append = told.append
        if told.verdict == "refused" and (append.account_id, append.expected_seq) not in world.storage.refused_at:
            yield Violation(
                "G8", append.account_id, f"refused after {append.expected_seq}, for a row of another account"
            )
        event = stored.get((append.account_id, append.last_seq))
        is_there = event is not None and event.hash == append.head_hash
        is_its_own = is_there and event is not None and event.epoch == append.epoch
        lie = {"committed": not is_there, "fenced": is_its_own, "refused": is_its_own, "unknown": False}[told.verdict]
        if lie:
            what = f"append up to {append.last_seq} of epoch {append.epoch} was called {told.verdict}"
            yield Violation("verdict", append.account_id, f"{what}, and is {'' if is_there else 'not '}stored")


def _seen_otherwise(world: World, account_id: str, ledger: Sequence[RecordedEvent]) -> Iterator[Violation]:
    """I6: whatever a client saw of an account is what its ledger makes, up to the same seq."""
    events = iter([(event, decode(event.type, event.version, event.payload)) for event in ledger])
    sightings: dict[int, list[Account]] = {}
    for seen in world.seen:
        if seen.id == account_id:
            sightings.setdefault(seen.seq, []).append(seen)
    book: AccountBook | None = None
    for seq, sights in sorted(sightings.items()):
        try:
            if book is None:
                book, _ = replayed(islice(events, seq), receipts_in_memory_max=1)
            else:
                book.replay(islice(events, seq - book.account.seq))
        except InvariantBroken:
            return  # of which `drifts` has told
        for seen in sights:
            if book.account != seen:
                yield Violation("I6", account_id, f"was seen at {seq} as the ledger does not make it: {seen}")


def _into(note: Any) -> Any:
    def processor(_: object, level: str, entry: dict[str, Any]) -> None:
        note(f"{level} {entry}")
        raise structlog.DropEvent

    return processor
