"""A gateway over a whole engine in a process of its own, so that what it costs can be measured from outside.

`python -m tests.e2e.gateway.served_desk URL IN_FLIGHT_MAX PER_TOKEN_MAX` prints where it listens and serves until its
standard input ends.
"""

import asyncio
import sys

from actors.logs import configure
from gateway.parts import GatewayLimits
from tests.e2e.gateway.conftest import gateway_on
from tests.support.desk import desk


async def serve(database_url: str, limits: GatewayLimits) -> None:
    async with desk(database_url) as engine, gateway_on(engine, limits) as door:
        await engine.observe("BTC-USD", "50000")
        print(door.url, flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    configure("error", "json")
    url, in_flight, per_token = sys.argv[1:]
    asyncio.run(serve(url, GatewayLimits(in_flight_max=int(in_flight), in_flight_per_token_max=int(per_token))))
