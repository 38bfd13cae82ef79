"""Moving: accounts from one host to another while they trade.

Guarantee: an account that moves is asked for in vain at its old host and found at its new one; a request meanwhile
waits for the move in the supervisor, so that a client sees at most a retry inside the gateway. Safe by the epoch that
the new host claims: a move that breaks off anywhere leaves an account that is activated again.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

import structlog

from actors.messages import Unserved
from actors.placement import Placement
from actors.ports import Activation, Host, Location, Lost
from persistence.store import StoreUnavailable

log = structlog.get_logger(__name__)

Arriving = dict[str, "asyncio.Task[Location | Unserved]"]


class Mover:
    """Moves accounts in a placement. `arriving` holds those that askers wait for; `evict` takes those that a move left
    without a place, `activated` is told what an activation brought."""

    def __init__(
        self,
        placement: Placement,
        hosts: Mapping[str, Host],
        arriving: Arriving,
        *,
        evict: Callable[[Iterable[str]], None],
        activated: Callable[[Sequence[str], Activation], None],
    ) -> None:
        self._placement = placement
        self._hosts = hosts
        self._arriving = arriving
        self._evict = evict
        self._activated = activated

    async def move(self, account_ids: Sequence[str], source: str, target: str) -> int:
        """Move what can be moved; how many that were. Accounts that are on their way anyway stay out of it."""
        moving = [each for each in account_ids if each not in self._arriving]
        if not moving or source not in self._hosts or target not in self._hosts:
            return 0
        work = asyncio.create_task(self._carried(moving, self._hosts[source], self._hosts[target]))
        for account_id in moving:
            arrival = self._arriving[account_id] = asyncio.create_task(self._arrival(work, account_id))
            arrival.add_done_callback(partial(self._arrived, account_id))
        return await work

    async def _carried(self, account_ids: Sequence[str], source: Host, target: Host) -> int:
        try:
            handed_over = await source.hand_over(account_ids)
        except (Lost, StoreUnavailable) as lost:  # the watch examines the host, and its accounts if it is gone
            log.warning("accounts_not_handed_over", host=source.name, why=str(lost))
            return 0
        left = [each for each in handed_over if self._placement.host_of(each) == source.name]
        if target.name not in self._hosts:
            self._evict(left)
            return 0
        for account_id in left:
            self._placement.assign(account_id, target.name)
        try:
            activation = await target.activate(left)
        except (Lost, StoreUnavailable) as lost:
            log.warning("accounts_not_taken_on", host=target.name, why=str(lost))
            self._evict(each for each in left if self._placement.host_of(each) == target.name)
            return 0
        self._activated(left, activation)
        log.info("accounts_moved", source=source.name, target=target.name, accounts=len(left))
        return len(left)

    async def _arrival(self, work: "asyncio.Task[int]", account_id: str) -> Location | Unserved:
        await asyncio.wait([work])
        place = self._placement.host_of(account_id)
        if place is None:
            return Unserved("overloaded", "the account was lost on its way to another host")
        return Location(place)

    def _arrived(self, account_id: str, arrival: "asyncio.Task[Location | Unserved]") -> None:
        del self._arriving[account_id]
