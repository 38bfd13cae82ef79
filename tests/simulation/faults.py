"""Faults: each happens at a moment that chance picks, and where it lasts, ends after a while."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Final

from actors.ports import Lost
from persistence.store import StoreUnavailable
from tests.simulation.world import Gateway, Persister, SupervisorProcess, World

Fault = Callable[[World], Awaitable[None]]

EVERY_S: Final = 0.3
LASTS_S: Final = (0.2, 3.0)
LUNCH_S: Final = (0.2, 6.0)
FROZEN_S: Final = (1.0, 8.0)
DRAINED_WITHIN_S: Final = 30.0


async def account_actor_killed(world: World) -> None:
    if world.living_hosts():
        world.chance.choice(world.living_hosts()).process.kill()


async def account_actor_stopped(world: World) -> None:
    if world.living_hosts():
        process = world.chance.choice(world.living_hosts()).process
        process.stop()
        await _a_while(world)
        process.go_on()


async def account_actor_drained(world: World) -> None:
    """SIGTERM: what was taken in is finished, then the process ends."""
    if world.living_hosts():
        leaving = world.chance.choice(world.living_hosts())
        try:
            async with asyncio.timeout(DRAINED_WITHIN_S):
                with contextlib.suppress(Lost):  # another fault may be quicker
                    await leaving.process.asked(leaving.host.close)
        except TimeoutError:
            world.overdue.append(f"{leaving.name} was not drained within {DRAINED_WITHIN_S:g} s")
        leaving.process.kill()


async def supervisor_drained(world: World) -> None:
    """A whole deployment: every host it knows finishes, then another supervisor begins."""
    leaving = world.supervisor
    try:
        async with asyncio.timeout(DRAINED_WITHIN_S):
            with contextlib.suppress(Lost):
                await leaving.process.asked(leaving.supervisor.close)
    except TimeoutError:
        world.overdue.append(f"the supervisor was not drained within {DRAINED_WITHIN_S:g} s")
    if world.supervisor is leaving:
        leaving.process.kill()
        world.supervisor = SupervisorProcess(world)


async def clock_stepped(world: World) -> None:
    """The clock of one node jumps, ahead or back, and returns."""
    if world.living_hosts():
        host = world.chance.choice(world.living_hosts())
        host.clock_error = timedelta(seconds=world.chance.uniform(-20, 20))
        await _a_while(world)
        host.clock_error = timedelta()


async def node_cut_off(world: World) -> None:
    """The supervisor loses sight of a host that goes on, and replaces it: two live activations."""
    if world.living_hosts():
        world.chance.choice(world.living_hosts()).cut_off_from = frozenset({"supervisor"})


async def node_partitioned(world: World) -> None:
    """Only a gateway on the same side, that reads, still reaches the host."""
    if world.living_hosts():
        others = {"supervisor", *(gateway.process.name for gateway in world.gateways)}
        world.chance.choice(world.living_hosts()).cut_off_from = frozenset(others)


async def account_taken_over(world: World) -> None:
    """A second supervisor somewhere activates an account for itself."""
    ids = sorted(world.memory.heads)
    if ids and world.living_hosts():
        thief = world.chance.choice(world.living_hosts())
        taken = [world.chance.choice(ids)]
        with contextlib.suppress(Lost, StoreUnavailable):
            await thief.process.asked(lambda: thief.host.activate(taken))


async def persister_killed(world: World) -> None:
    world.persister.process.kill()
    world.persister = Persister(world)


async def persister_stopped(world: World) -> None:
    process = world.persister.process
    process.stop()
    await _a_while(world)
    process.go_on()


async def supervisor_killed(world: World) -> None:
    world.supervisor.process.kill()
    world.supervisor = SupervisorProcess(world)


async def gateway_killed(world: World) -> None:
    place = world.chance.randrange(len(world.gateways))
    world.gateways[place].process.kill()
    world.gateways[place] = Gateway(f"gateway-{place}", world)


async def postgres_away(world: World) -> None:
    world.storage.is_away = True
    await _a_while(world)
    world.storage.is_away = False


async def postgres_slow(world: World) -> None:
    world.storage.is_slow = True
    await _a_while(world)
    world.storage.is_slow = False


async def answers_of_postgres_lost(world: World) -> None:
    world.storage.lost_answers = 0.5
    await _a_while(world)
    world.storage.lost_answers = 0.0


async def row_refused(world: World) -> None:
    ids = sorted(world.memory.heads)
    if ids:
        world.storage.refuse_next.add(world.chance.choice(ids))


async def rows_refused(world: World) -> None:
    """Whatever an account writes, until it is in quarantine."""
    ids = sorted(world.memory.heads)
    if ids:
        refused = world.chance.choice(ids)
        world.storage.refuse_all.add(refused)
        await _a_while(world)
        world.storage.refuse_all.discard(refused)


async def head_locked(world: World) -> None:
    """Somebody looks at an account `for update` and goes to lunch."""
    ids = sorted(world.memory.heads)
    if ids:
        async with world.storage.locked_by_a_stranger(world.chance.choice(ids)):
            await asyncio.sleep(world.chance.uniform(*LUNCH_S))


async def calls_lost(world: World) -> None:
    world.line.loss = 0.25
    await _a_while(world)
    world.line.loss = 0.0


async def feed_frozen(world: World) -> None:
    world.prices.is_frozen = True
    await _a_while(world, FROZEN_S)
    world.prices.is_frozen = False


async def market_falls(world: World) -> None:
    for symbol, mid in world.prices.mids.items():
        world.prices.mids[symbol] = round(mid * world.chance.randint(60, 140) / 100, 8)


FAULTS: Final[Mapping[str, Fault]] = {
    fault.__name__: fault
    for fault in (
        account_actor_killed,
        account_actor_stopped,
        account_actor_drained,
        clock_stepped,
        node_cut_off,
        node_partitioned,
        account_taken_over,
        persister_killed,
        persister_stopped,
        supervisor_killed,
        supervisor_drained,
        gateway_killed,
        postgres_away,
        postgres_slow,
        answers_of_postgres_lost,
        row_refused,
        rows_refused,
        head_locked,
        calls_lost,
        feed_frozen,
        market_falls,
    )
}


async def strike_until(world: World, ends_at: float, kinds: tuple[str, ...]) -> list[str]:
    """Faults one after another until a moment; returns what happened when, once every one has ended."""
    clock, struck = asyncio.get_running_loop(), list[str]()
    lasting: list[asyncio.Future[None]] = []
    world.faults_end_at = ends_at
    while True:
        await asyncio.sleep(world.chance.expovariate(1 / EVERY_S))
        if clock.time() >= ends_at:
            break
        name = world.chance.choice(kinds)
        struck.append(f"{clock.time():8.3f} {name}")
        world.note(name)
        lasting.append(asyncio.ensure_future(FAULTS[name](world)))
    await asyncio.gather(*lasting)
    return struck


async def _a_while(world: World, lasts_s: tuple[float, float] = LASTS_S) -> None:
    """And no longer than the clients trade: nobody would notice."""
    left_s = world.faults_end_at - asyncio.get_running_loop().time()
    await asyncio.sleep(min(world.chance.uniform(*lasts_s), left_s))
