"""Moving: accounts from one host to another while they trade, and when that is worth it.

Guarantee: an account that moves is asked for in vain at its old host and found at its new one; a request meanwhile
waits for the move in the supervisor, so that a client sees at most a retry inside the gateway. Safe by the epoch that
the new host claims: a move that breaks off anywhere leaves an account that is activated again.
"""

import asyncio
from collections.abc import Sequence
from functools import partial

import structlog

from actors.homecoming import Homecoming
from actors.hosts import Hosts
from actors.limits import SupervisorLimits
from actors.messages import Unserved
from actors.placement import Placement
from actors.ports import Host, Location, Lost
from persistence.store import StoreUnavailable

log = structlog.get_logger(__name__)

Arriving = dict[str, "asyncio.Task[Location | Unserved]"]


class Mover:
    """Moves accounts in a placement. `arriving` holds those that askers wait for; who is left without a place by a move
    comes home."""

    def __init__(self, hosts: Hosts, placement: Placement, homecoming: Homecoming, arriving: Arriving) -> None:
        self._hosts = hosts
        self._placement = placement
        self._homecoming = homecoming
        self._arriving = arriving

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
            handed_over = await self._hosts.answer(source, source.hand_over(account_ids))
        except (Lost, StoreUnavailable) as lost:  # the watch examines the host, and its accounts if it is gone
            log.warning("accounts_not_handed_over", host=source.name, why=str(lost))
            return 0
        left = [each for each in handed_over if self._placement.host_of(each) == source.name]
        if target.name not in self._hosts:
            self._homecoming.lost(left)
            return 0
        for account_id in left:
            self._placement.assign(account_id, target.name)
        try:
            activation = await self._hosts.answer(target, target.activate(left))
        except (Lost, StoreUnavailable) as lost:
            log.warning("accounts_not_taken_on", host=target.name, why=str(lost))
            self._homecoming.lost(each for each in left if self._placement.host_of(each) == target.name)
            return 0
        self._homecoming.came(target, left, activation)
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


class Balance:
    """One step at a time towards as many hosts as there is room for, as many on every node, and as many accounts on
    every host."""

    def __init__(self, hosts: Hosts, placement: Placement, mover: Mover, limits: SupervisorLimits) -> None:
        self._hosts = hosts
        self._placement = placement
        self._mover = mover
        self._limits = limits

    async def step(self) -> None:
        """Not to be taken during a marking pass, which would miss what moves; nor is one taken while a host is in the
        making, which may be all that it needs. A host changes nodes in two steps: another is made on the node with the
        fewest, which nobody waits for, and then there is one too many where they are most."""
        if self._hosts.coming:
            return
        surplus = self._placement.surplus()
        if surplus is not None:
            await self._give_up(surplus)
            return
        node = self._placement.lacking()
        if node is not None:
            self._hosts.make(node)
            return
        move = self._placement.uneven(self._limits.moves_max)
        if move is not None:
            await self._mover.move(move.accounts, move.source, move.target)

    async def _give_up(self, name: str) -> None:
        """Do without a host, its accounts moving to the others; what does not move in time keeps it for now."""
        while leaving := sorted(self._placement.accounts_of(name)):
            target = self._placement.emptiest(but=name)
            if target is None or not await self._mover.move(leaving[: self._limits.moves_max], name, target):
                return
        if name in self._hosts:
            self._hosts.retire(self._hosts[name])  # empty as it is, it has nothing to finish
