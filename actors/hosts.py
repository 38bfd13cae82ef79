"""Hosts: the account hosts that live now; they are made, adopted and ended here.

Guarantee: no account waits for one host only. A host that is being made, or that gives no sign of life, is waited for
in `patience_ms` at most where another can take its place; what a host is asked through `answer` is given up when it is
not heard of any more, however long the call might take.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Mapping
from typing import Any, TypeVar

import structlog

from actors.limits import SupervisorLimits
from actors.placement import Placement
from actors.ports import Fleet, Host, Lost, Silent
from actors.price_board import PriceBoard

log = structlog.get_logger(__name__)

Answer = TypeVar("Answer")


class Hosts(Mapping[str, Host]):
    """Hosts by name. Those that can take accounts are in the placement as well; `entropy` makes their names."""

    def __init__(
        self,
        fleet: Fleet,
        placement: Placement,
        board: PriceBoard,
        limits: SupervisorLimits,
        *,
        entropy: Callable[[int], bytes],
    ) -> None:
        self._fleet = fleet
        self._placement = placement
        self._board = board
        self._limits = limits
        self._entropy = entropy
        self._living: dict[str, Host] = {}
        self._unheard: dict[str, asyncio.Event] = {}  # set while a host is silent, and once it is ended
        self._coming: dict[asyncio.Task[Host], str] = {}  # hosts in the making, and the nodes that they are to be on
        self._making = asyncio.Semaphore(limits.cold_activations_max)
        self._suspects: dict[str, float] = {}  # nodes with a host that fell silent or was lost, until this time
        self._ending: set[asyncio.Task[None]] = set()
        self._closing = False
        self.lost = 0
        """How many were ended because they were dead or silent."""
        self.live_nodes = 0
        """Of the cluster, as of the last survey."""

    def __getitem__(self, name: str) -> Host:
        return self._living[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._living)

    def __len__(self) -> int:
        return len(self._living)

    @property
    def heard(self) -> tuple[Host, ...]:
        """Those that are not silent."""
        return tuple(host for name, host in self._living.items() if not self._unheard[name].is_set())

    def is_silent(self, name: str) -> bool:
        """Whether it gives no sign of life, or is none of ours."""
        unheard = self._unheard.get(name)
        return unheard is None or unheard.is_set()

    # -- making ---------------------------------------------------------------------------------------------

    @property
    def coming(self) -> int:
        """Hosts in the making."""
        return len(self._coming)

    @property
    def room(self) -> int:
        """How many more may be made."""
        return 0 if self._closing else max(0, self._placement.hosts_max - len(self._living) - len(self._coming))

    def make(self, node: str | None = None, *, account_id: str | None = None) -> "asyncio.Task[Host]":
        """Begin to make a host, on `node` or on the one with the fewest; the account lives on it, unless it has found
        another place meanwhile. At most `cold_activations_max` are made at once."""
        node = node or self._placement.roomiest(tuple(self._coming.values()))
        making = asyncio.create_task(self._made(node, account_id))
        self._coming[making] = node or ""
        making.add_done_callback(self._came)
        return making

    async def _made(self, node: str | None, account_id: str | None) -> Host:
        async with self._making:
            host = await self._fleet.spawn(f"account-host-{self._entropy(6).hex()}", node)
        self._add(host)
        await self._board.show(host)
        if host.name not in self._living:
            raise Lost(f"{host.name} was lost as soon as it was made")
        self._placement.add_host(host.name, node or "")
        if account_id is not None and self._placement.host_of(account_id) is None:
            self._placement.assign(account_id, host.name)
        return host

    def _came(self, making: "asyncio.Task[Host]") -> None:
        del self._coming[making]
        if not making.cancelled() and (lost := making.exception()) is not None:
            log.warning("host_not_made", why=str(lost) or repr(lost))

    def make_some(self, wanted: int) -> None:
        """Begin to make `wanted` hosts, as far as there is room."""
        for _ in range(min(wanted, self.room, self._limits.cold_activations_max)):
            self.make()

    def make_spare(self) -> None:
        """Have empty hosts ready while there is room: making one takes a process start, which a first request would
        wait for."""
        self.make_some(self._limits.spare_hosts - self._placement.empty - len(self._coming))

    async def made(self) -> None:
        """Wait for what is in the making as long as patience lasts, and beyond it until there is a host at all: whoever
        needs a place takes one of those that there are then."""
        patience_s, whose_end = self._limits.patience_ms / 1000, asyncio.ALL_COMPLETED
        while self._coming:
            await asyncio.wait(self._coming, timeout=patience_s, return_when=whose_end)
            if self._placement.emptiest() is not None:
                return
            whose_end = asyncio.FIRST_COMPLETED

    async def place_for(self, account_id: str) -> Host:
        """The account's host unless that is silent, else the best place for it: an empty host, a new one while there is
        room, the one with the fewest accounts. Raises `Lost` where there is none in time."""
        if self._closing:
            raise Lost("the supervisor is closing")
        home = self._placement.host_of(account_id)
        if home is not None and self.is_silent(home):  # it may go on, and is fenced then
            self._placement.release([account_id])
        place = self._placement.host_of(account_id) or self._placement.choose(room=self.room)
        if place is None:
            # Where every host is silent another is made, room or not.
            making = set(self._coming) if self._coming and not self.room else {self.make(account_id=account_id)}
            await asyncio.wait(making, timeout=self._limits.patience_ms / 1000, return_when=asyncio.FIRST_COMPLETED)
            place = self._placement.host_of(account_id) or self._placement.emptiest()
        if place is None:
            raise Lost("no account actor could be made in time")
        self._placement.assign(account_id, place)
        return self._living[place]

    async def adopt_all(self) -> None:
        """Take over the hosts that outlived an earlier supervisor, with whom they host."""
        await asyncio.gather(*(self._adopt(host) for host in await self._fleet.existing()))

    async def _adopt(self, host: Host) -> None:
        try:
            roster = await asyncio.wait_for(host.roster(), self._limits.pulse_deadline_ms / 1000)
        except Exception as lost:  # one that cannot say whom it hosts is of no use, and its accounts are fenced
            log.warning("host_not_adopted", host=host.name, why=repr(lost))
            self._discard(host)
            return
        self._add(host)
        self._placement.add_host(host.name)
        for account_id in roster:
            self._placement.assign(account_id, host.name)

    def _add(self, host: Host) -> None:
        self._living[host.name] = host
        self._unheard[host.name] = asyncio.Event()

    # -- signs of life --------------------------------------------------------------------------------------

    async def answer(self, host: Host, asking: Coroutine[Any, Any, Answer]) -> Answer:
        """What the host answers. Raises `Silent` as soon as it is not heard of any more."""
        asked = asyncio.ensure_future(asking)
        asked.add_done_callback(_seen)
        unheard = asyncio.ensure_future(self._unheard[host.name].wait()) if host.name in self._unheard else None
        try:
            if unheard is not None:
                await asyncio.wait((asked, unheard), return_when=asyncio.FIRST_COMPLETED)
            if asked.done():
                return asked.result()
            raise Silent(f"{host.name} is not heard of")
        finally:
            asked.cancel()
            if unheard is not None:
                unheard.cancel()

    def fell_silent(self, host: Host) -> None:
        """Nothing new for it, and no account has to wait for it, until it is heard of again."""
        if host.name in self._living and not self._unheard[host.name].is_set():
            self._unheard[host.name].set()
            self._placement.shun(host.name)
            self._suspect(self._placement.node_of(host.name))

    def showed_life(self, host: Host, node: str) -> None:
        """It is well, and on this node."""
        if host.name in self._living:
            self._unheard[host.name].clear()
            self._placement.found(host.name, node)
            self._suspects.pop(node, None)

    def end(self, host: Host) -> frozenset[str]:
        """Forget a host and have it ended; the accounts that lost their place."""
        if self._living.pop(host.name, None) is None:
            return frozenset()
        self.lost += 1
        self._unheard.pop(host.name).set()
        self._suspect(self._placement.node_of(host.name))
        self._discard(host)
        return self._placement.remove_host(host.name)

    def retire(self, host: Host) -> None:
        """End a host that is well and has nothing to finish."""
        self._living.pop(host.name, None)
        self._unheard.pop(host.name).set()
        self._placement.remove_host(host.name)
        self._discard(host)

    def _discard(self, host: Host) -> None:
        """In the background: its accounts are fenced by their next activation, whenever it ends."""
        ending = asyncio.create_task(self._discarded(host))
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)

    async def _discarded(self, host: Host) -> None:
        try:
            await self._fleet.discard(host)
        except Lost as lost:
            log.warning("host_not_ended", host=host.name, why=str(lost))

    async def close(self) -> None:
        """Make no more, let every host finish and snapshot, and end it; a silent one is ended as it is."""
        self._closing = True
        for making in self._coming:
            making.cancel()
        hosts = list(self._living.values())  # a request that is answered meanwhile may find one of them lost
        ended = await asyncio.gather(*(self.answer(host, host.close()) for host in hosts), return_exceptions=True)
        for host, outcome in zip(hosts, ended, strict=True):
            if isinstance(outcome, BaseException):
                log.warning("host_not_closed", host=host.name, why=repr(outcome))  # safe: recovery needs no farewell
            if host.name in self._living:
                self.retire(host)
        if self._ending or self._coming:  # Ray's head may be away
            await asyncio.wait((*self._ending, *self._coming), timeout=self._limits.patience_ms / 1000)

    # -- nodes ----------------------------------------------------------------------------------------------

    async def survey(self) -> None:
        """What the cluster has room for now: nodes come and go."""
        room = await self._fleet.room()
        self.live_nodes = len(room.nodes)
        now = asyncio.get_running_loop().time()
        trusted = tuple(node for node in room.nodes if self._suspects.get(node, now) <= now)
        self._placement.nodes = trusted or room.nodes
        if room.hosts_max != self._placement.hosts_max:
            log.info("room_changed", hosts_max=room.hosts_max, nodes=len(room.nodes))
            self._placement.hosts_max = room.hosts_max

    def _suspect(self, node: str) -> None:
        """Put nothing new on the node of a host that is lost or silent, until one there shows life or Ray must know."""
        if node:
            self._suspects[node] = asyncio.get_running_loop().time() + self._limits.suspicion_ms / 1000
            others = tuple(each for each in self._placement.nodes if each != node)
            self._placement.nodes = others or self._placement.nodes


def _seen(asked: "asyncio.Future[Any]") -> None:
    """Whoever asked may have given up; what became of it is then nobody's business."""
    if not asked.cancelled():
        asked.exception()
