"""Mutants: parts that are broken in the ways that lose or repeat what was acknowledged. The suite must catch each.

Each is the real part with one safeguard taken out; `KINDS` are faults under which that safeguard matters.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from actors.hosted import Hosted
from actors.hosting import AccountHost
from actors.messages import Reply, Request, Take, Unserved
from actors.ports import Appender
from engine.decide import Context
from engine.receipts import ActionKey, Receipt, Receipts
from persistence.committer import AppendVerdict, Committer
from persistence.memory_store import MemoryStore
from persistence.store import Append, CommitAmbiguous, CommitVerdict, DataRefused, Head, StoreUnavailable
from tests.simulation.run import STRIKES_S
from tests.simulation.storage import FaultyStore
from tests.simulation.world import Parts


class _Unguarded(MemoryStore):
    """Without the unique keys, which would catch what the fence let through."""

    def _refuse_repeats(self, append: Append) -> None:
        pass


class Unfenced(_Unguarded):
    """Writes whatever comes, of whichever epoch and seq."""

    def _follows(self, append: Append) -> bool:
        return append.account_id in self.heads


class AcknowledgedBeforeCommit(Appender):
    """Says `committed` at once, and commits afterwards."""

    def __init__(self, appender: Appender) -> None:
        self._appender = appender
        self._behind: set[asyncio.Task[Sequence[AppendVerdict]]] = set()

    async def append(self, appends: Sequence[Append]) -> Sequence[AppendVerdict]:
        task = asyncio.create_task(self._later(appends))
        self._behind.add(task)
        task.add_done_callback(self._behind.discard)
        return ["committed"] * len(appends)

    async def _later(self, appends: Sequence[Append]) -> Sequence[AppendVerdict]:
        try:
            return await self._appender.append(appends)
        except Exception:  # nobody is left to be told
            return []


class ReceiptsSkipped(AccountHost):
    """Judges a batch without looking whether it was judged before."""

    async def _take(self, hosted: Hosted, request: Take) -> Reply:
        hosted.book.receipts = Receipts()
        return await super()._take(hosted, request)

    async def _recall(self, hosted: Hosted, keys: Sequence[ActionKey]) -> Mapping[ActionKey, Receipt]:
        hosted.book.receipts = Receipts()
        return {}


class PlainReread(FaultyStore):
    """After a lost COMMIT reads the head without its lock, so before a backend in doubt has ended."""

    async def settle(self, account_ids: Sequence[str]) -> Mapping[str, Head]:
        await self._reached()
        return await self._answered(self.inner.settle(account_ids))


class SeqIgnored(_Unguarded):
    """Fences by epoch alone, so that an append may come without the one before it."""

    def _follows(self, append: Append) -> bool:
        return self._has_epoch(append.account_id, append.epoch)


class EpochsKept(MemoryStore):
    """Lets an activation begin without ending the one before."""

    async def claim(self, account_ids: Sequence[str]) -> Mapping[str, Head]:
        return await self.settle(account_ids)


class PassedOver(AccountHost):
    """Goes on after an append that was not confirmed."""

    def _unconfirmed(self, hosted: Hosted, verdict: AppendVerdict) -> None:
        pass


class UndurableShown(AccountHost):
    """Shows what is decided before it is durable."""

    async def _settled(self, hosted: Hosted, seq: int, reply: Reply) -> Reply:
        return reply


class PromisedTooMuch(AccountHost):
    """Says that nothing was done where nobody knows."""

    async def _answer(self, request: Request) -> Reply:
        reply = await super()._answer(request)
        if isinstance(reply, Unserved) and reply.reason == "outcome_unknown":
            return Unserved("overloaded", reply.detail)
        return reply


class MadeFresh(AccountHost):
    """Takes every quote for one of this moment."""

    def _context(self) -> Context:
        fresh = {name: msgspec.structs.replace(quote, observed_at=self._now()) for name, quote in self._quotes.items()}
        return Context(self._now(), fresh)


class OpenAfterClosing(AccountHost):
    """Takes accounts in after it was closed."""

    def _refuse_when(self, ending: bool) -> None:
        pass


class RefusedTogether(Committer):
    """Does not look for the append that was refused: all that came with it are."""

    async def _commit_apart(self, batch: Any, error: DataRefused) -> None:
        for waiting in batch:
            self._answer(waiting, "refused")


class AmbiguityIgnored(FaultyStore):
    """Takes a lost answer to COMMIT for a COMMIT that did not happen."""

    async def commit(self, appends: Sequence[Append]) -> Mapping[str, CommitVerdict]:
        try:
            return await super().commit(appends)
        except CommitAmbiguous as ambiguous:
            raise StoreUnavailable(str(ambiguous)) from ambiguous


class Mutant(msgspec.Struct, frozen=True):
    """Broken parts, the faults under which they show, and the invariants of which one must be seen broken."""

    parts: Parts
    kinds: tuple[str, ...]
    caught_by: frozenset[str]
    strikes_s: float = STRIKES_S


LIMITS: Final = Parts().host_limits
TAKEOVERS: Final = ("node_cut_off", "node_partitioned", "account_taken_over", "account_actor_stopped", "calls_lost")
LOADED: Final = ("row_refused", "postgres_slow")
LOST_COMMITS: Final = ("answers_of_postgres_lost",)

MUTANTS: Final[Mapping[str, Mutant]] = {
    "fencing off": Mutant(Parts(memory=Unfenced), TAKEOVERS, frozenset({"I1", "I4", "I6"})),
    "acknowledged before the commit": Mutant(
        Parts(appender=AcknowledgedBeforeCommit), ("persister_killed", "postgres_away", *TAKEOVERS), frozenset({"I1"})
    ),
    "receipts skipped": Mutant(
        Parts(memory=_Unguarded, host=ReceiptsSkipped), ("calls_lost", "gateway_killed"), frozenset({"I5"})
    ),
    "a plain re-read after a lost commit": Mutant(Parts(storage=PlainReread), LOST_COMMITS, frozenset({"verdict"})),
    "a lost commit taken for none": Mutant(Parts(storage=AmbiguityIgnored), LOST_COMMITS, frozenset({"verdict"})),
    "gaps accepted": Mutant(
        Parts(memory=SeqIgnored, host=PassedOver), ("persister_killed", "calls_lost"), frozenset({"I3"})
    ),
    "an unconfirmed append passed over": Mutant(
        Parts(host=PassedOver), ("persister_killed", "calls_lost"), frozenset({"I11"})
    ),
    "an unknown outcome called a refusal": Mutant(
        Parts(host=PromisedTooMuch), ("answers_of_postgres_lost", "persister_killed"), frozenset({"I2"})
    ),
    "reads show what is not durable": Mutant(
        Parts(host=UndurableShown), ("persister_killed", "answers_of_postgres_lost"), frozenset({"I1", "I6", "I10"})
    ),
    "epochs not raised": Mutant(Parts(memory=EpochsKept), TAKEOVERS, frozenset({"I10"}), strikes_s=12.0),
    "a bad row refuses the whole commit": Mutant(Parts(committer=RefusedTogether), LOADED, frozenset({"G8"})),
    "stale quotes made fresh": Mutant(Parts(host=MadeFresh), ("feed_frozen",), frozenset({"I9"})),
    "a closed host lives on": Mutant(
        Parts(host=OpenAfterClosing), ("supervisor_drained", "supervisor_killed", "postgres_away"), frozenset({"I11"})
    ),
    "the read lease ignored": Mutant(
        Parts(host_limits=msgspec.structs.replace(LIMITS, read_lease_ms=3_600_000)),
        ("node_partitioned",),
        frozenset({"I10"}),
        strikes_s=12.0,  # a lease has to run out
    ),
}
