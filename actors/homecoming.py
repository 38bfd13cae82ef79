"""Homecoming: accounts that have lost their place, and how they get another one.

Guarantee: who can live again does. A host that is lost or late on the way holds up nobody but the accounts that were
going to it, and those are on their way again in the next round; accounts with open positions come first.
"""

import asyncio
from collections.abc import Container, Iterable, Mapping, Sequence

import structlog

from actors.hosts import Hosts
from actors.limits import SupervisorLimits
from actors.placement import Placement
from actors.ports import Activation, Break, Host, Lost
from actors.quarantine import Quarantine
from persistence.store import Store, StoreUnavailable

log = structlog.get_logger(__name__)


class Homecoming:
    """Accounts without a place. Those in `quarantine` are not brought back."""

    def __init__(
        self, hosts: Hosts, placement: Placement, quarantine: Quarantine, store: Store, limits: SupervisorLimits
    ) -> None:
        self._hosts = hosts
        self._placement = placement
        self._quarantine = quarantine
        self._store = store
        self._limits = limits
        self._homeless: dict[str, None] = {}  # in the order in which they are to come back
        self._returning: dict[str, str] = {}  # accounts on their way, and the hosts that they go to
        self._placing = asyncio.Lock()
        self._rounds: set[asyncio.Task[None]] = set()

    @property
    def waiting(self) -> int:
        """How many have no place yet."""
        return len(self._homeless)

    @property
    def backlog(self) -> int:
        """How many have no place yet, or are on their way to one."""
        return len(self._homeless) + len(self._returning)

    @property
    def returning(self) -> Container[str]:
        """Accounts on their way: to place one once more would fence it."""
        return self._returning

    def lost(self, account_ids: Iterable[str]) -> None:
        """Accounts that live nowhere now, until the next round brings them back."""
        account_ids = tuple(account_ids)
        self._placement.release(account_ids)
        self._homeless |= dict.fromkeys(account_ids)

    def broke(self, told: Mapping[str, Sequence[Break]]) -> None:
        """What hosts tell of accounts that broke there, perhaps again."""
        for account_id, breaks in told.items():
            for broke in breaks:
                if self._quarantine.broke(account_id, broke):
                    self._placement.release([account_id])

    async def enlist(self) -> None:
        """Everybody who trades is to come back. Raises `StoreUnavailable`."""
        self._homeless = dict.fromkeys(await self._store.hostable())

    async def complete(self) -> None:
        """Bring back all who were listed. Raises `Lost` while somebody waits still, or `StoreUnavailable`."""
        await self.round(tuple(self._homeless))
        if self._homeless:
            raise Lost(f"{len(self._homeless)} accounts have no place yet")

    def attend(self) -> None:
        """See to it that who waits is on the way, without waiting for that."""
        if self._homeless and not self._placing.locked():
            self.begin()

    def begin(self) -> "asyncio.Task[None]":
        """A round that nobody has to wait for."""
        going = asyncio.create_task(self.round())
        self._rounds.add(going)
        going.add_done_callback(self._ended)
        return going

    async def close(self) -> None:
        """Bring nobody back any more."""
        for going in self._rounds:
            going.cancel()
        await asyncio.gather(*self._rounds, return_exceptions=True)

    def _ended(self, going: "asyncio.Task[None]") -> None:
        self._rounds.discard(going)
        if not going.cancelled() and (failed := going.exception()) is not None:
            log.warning("homecoming_delayed", accounts=len(self._homeless), why=repr(failed))

    async def round(self, order: Sequence[str] | None = None) -> None:
        """Bring every account that has lost its place back, in bulk, those with open positions first; what fails waits
        for the next round. `order` is that of the store, where it was asked already. Raises `Lost` where there is no
        host at all, or `StoreUnavailable`."""
        async with self._placing:
            if not self._homeless:
                return
            order = order or await self._store.hostable()
            # A few hosts now, so that all are back soon; they spread out once they trade (`Balance`).
            self._hosts.make_some(len(self._homeless))
            await self._hosts.made()
            if self._placement.emptiest() is None:
                raise Lost("there is no account actor left to live on")
            groups = self._placed(order)
        outcomes = await asyncio.gather(
            *(self._activate_all(self._hosts[place], ids) for place, ids in groups.items()), return_exceptions=True
        )
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome

    def _placed(self, order: Sequence[str]) -> dict[str, list[str]]:
        """Everybody who waits, by the host that they go to."""
        waiting = dict.fromkeys(each for each in order if each in self._homeless) | self._homeless
        groups: dict[str, list[str]] = {}
        for account_id in waiting:
            place = self._placement.emptiest()
            if account_id in self._quarantine or place is None:
                continue
            if self._placement.host_of(account_id) is None:
                self._placement.assign(account_id, place)
                self._returning[account_id] = place
                groups.setdefault(place, []).append(account_id)
        self._homeless.clear()
        return groups

    async def _activate_all(self, host: Host, account_ids: Sequence[str]) -> None:
        chunk = self._limits.activation_chunk
        for start in range(0, len(account_ids), chunk):
            part = account_ids[start : start + chunk]
            try:
                activation = await self._hosts.answer(host, host.activate(part))
            except (Lost, StoreUnavailable) as away:
                left = account_ids[start:]
                log.warning("accounts_not_back", host=host.name, accounts=len(left), why=str(away))
                self._give_up(host, left)
                return
            except BaseException:
                self._give_up(host, account_ids[start:])
                raise
            self._settled(host, part)
            self.came(host, part, activation)

    def _give_up(self, host: Host, account_ids: Sequence[str]) -> None:
        self._settled(host, account_ids)
        self.lost(each for each in account_ids if self._placement.host_of(each) == host.name)

    def _settled(self, host: Host, account_ids: Iterable[str]) -> None:
        for account_id in account_ids:
            if self._returning.get(account_id) == host.name:
                del self._returning[account_id]

    def came(self, host: Host, asked: Sequence[str], activation: Activation) -> None:
        """What an activation brought. Who found another place meanwhile keeps it."""
        self._quarantine.not_rebuilt(activation.broken)
        for account_id in activation.hosted:
            self._quarantine.lives(account_id)
        absent = {each for each in asked if self._placement.host_of(each) == host.name} - set(activation.hosted)
        self._placement.release(absent)
        gone = absent - set(activation.unknown) - activation.broken.keys()  # poisoned while the others came
        self._homeless |= dict.fromkeys(sorted(gone))
