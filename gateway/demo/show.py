"""Show: feed, traders and table, put together on a running engine."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import date
from pathlib import Path

from rich.console import Console

from gateway.demo.feed import Feed, Replay
from gateway.demo.strategies import all_strategies
from gateway.demo.table import Lines, LiveTable
from gateway.demo.trader import Event, Standing, Trader
from prop import AsyncProp

REPLAY_FILE = "replay.json"
TURN_SECONDS_MAX = 0.5
"""A trader looks at least this often, however slow the replay."""
TURN_SECONDS_MIN = 0.1
PATIENCE_SECONDS = 60.0
"""How long a trader goes on trying to reach a gateway."""


class Show:
    """The demo itself, until it is told to stop."""

    def __init__(self, *, url: str, token: str, database_url: str, data_dir: Path, bars_per_second: float) -> None:
        self._prop = AsyncProp(url, token, deadline_s=PATIENCE_SECONDS)
        self._feed = Feed(Replay.recorded(), database_url, data_dir / REPLAY_FILE, bars_per_second=bars_per_second)
        seconds = min(TURN_SECONDS_MAX, max(TURN_SECONDS_MIN, 1 / bars_per_second))
        self._traders = [
            Trader(strategy, self._prop, seconds=seconds, tell=self._told) for strategy in all_strategies()
        ]
        self._tell: Callable[[Event, Standing], None] = lambda event, standing: None

    @property
    def standings(self) -> Sequence[Standing]:
        return [trader.standing for trader in self._traders]

    @property
    def day(self) -> date:
        return self._feed.day

    @property
    def actions(self) -> int:
        return sum(trader.actions for trader in self._traders)

    async def run(self, until: Awaitable[None], *, console: Console | None, json: bool) -> None:
        """Play until `until` is done: a table on `console`, or lines where there is none."""
        async with self._prop, asyncio.TaskGroup() as tasks:
            playing = [tasks.create_task(self._feed.run())]
            if console is None:
                self._tell = Lines(lambda: self.day, json=json).tell
                playing += [tasks.create_task(trader.run()) for trader in self._traders]
                await until
            else:
                table = LiveTable(self, console)
                self._tell = table.tell
                with table.shown():
                    playing += [tasks.create_task(trader.run()) for trader in self._traders]
                    await until
            for task in playing:
                task.cancel()

    def _told(self, event: Event, standing: Standing) -> None:
        self._tell(event, standing)
