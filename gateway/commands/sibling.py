"""Sibling: one more gateway on the port of a program that runs, started by it (`gateway.siblings`).

`python -m gateway.commands.sibling` reads its order from the first line of standard input, says `ready` when it
serves and every second from then on, and goes on until that input ends or a signal comes; then it finishes what is in
flight and ends. It starts nothing and ends nothing but itself: Postgres, Ray and the actors are the first gateway's.
"""

import asyncio
import os
import sys
from contextlib import AsyncExitStack, suppress
from functools import partial

import structlog

from actors import cluster
from actors.collecting import collect_seldom
from actors.logs import configure
from configs.settings import Settings
from gateway.assembly import assembled, drain_ms, serving
from gateway.blocking import started
from gateway.commands.foreground import StopSignal
from gateway.commands.terminal import silence
from gateway.server import new_event_loop
from gateway.siblings import BEAT_SECONDS, READY, Order, order_of

STDIN, STDOUT = 0, 1
ENDING_SECONDS_MAX = 5.0
"""After the drain, to leave a Ray and a Postgres that may be gone already."""

log = structlog.get_logger(__name__)


def main() -> int:
    order = order_of(sys.stdin.buffer.readline())
    settings = Settings.model_validate(order.settings)
    configure(settings.log.level, settings.log.format)
    collect_seldom()
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(_run(order, settings))


async def _run(order: Order, settings: Settings) -> int:
    loop = asyncio.get_running_loop()

    def on_stop() -> None:  # nobody may be there any more to end one that hangs
        parting_ms = settings.gateway.farewell_ms + drain_ms(settings)
        loop.call_later(parting_ms / 1000 + ENDING_SECONDS_MAX, os._exit, 1)

    stop = StopSignal(on_stop)
    stop.listen()
    loop.add_reader(STDIN, _look, stop)
    try:
        await _serve(order, settings, stop)
    except asyncio.CancelledError:
        if not stop.is_told:
            raise
    except Exception as error:
        log.error("gateway_failed", gateway=order.beside.place, exc_info=error)
        return 1
    return 0


async def _serve(order: Order, settings: Settings, stop: StopSignal) -> None:
    async with AsyncExitStack() as stack:
        join = partial(cluster.join, order.ray_address, namespace=settings.ray.namespace)
        await started(stack, join, stop=cluster.leave)
        stop.listen()
        parts = await assembled(settings, order.config, stack, beside=order.beside)
        await stack.enter_async_context(serving(settings, parts, port=order.port))
        stop.started()
        said = os.dup(STDOUT)
        silence()  # whatever else prints is for nobody
        await _beat(said, stop)


async def _beat(said: int, stop: StopSignal) -> None:
    with suppress(BrokenPipeError):  # nobody listens: the end of standard input says so, too
        while not stop.is_told:
            os.write(said, READY)
            with suppress(TimeoutError):
                async with asyncio.timeout(BEAT_SECONDS):
                    await stop.wait()


def _look(stop: StopSignal) -> None:
    """Nothing more is said on standard input: what can be read there is its end."""
    if not os.read(STDIN, 1):
        asyncio.get_running_loop().remove_reader(STDIN)
        stop.tell()


if __name__ == "__main__":
    sys.exit(main())
