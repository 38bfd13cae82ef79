"""Table: the demo as it is watched. A live table on a terminal, else a line for each notable event.

One row an account: the six that trade, then the last ones that have ended.
"""

import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from typing import Literal, NamedTuple, Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from gateway.commands.terminal import print_json, print_line
from gateway.demo.trader import ENDED, Event, Standing

REFRESHES_PER_SECOND = 4
ENDED_SHOWN = 4
RATE_SECONDS = 5.0
STYLES = {"active": "green", "liquidated": "bold red", "completed": "blue", "paused": "yellow", "locked": "yellow"}


class Watching(Protocol):
    """What the table is told and asks for."""

    @property
    def standings(self) -> Sequence[Standing]: ...

    @property
    def day(self) -> date: ...

    @property
    def actions(self) -> int: ...


class Lines:
    """Without a terminal: an event, a line."""

    def __init__(self, day: Callable[[], date], *, json: bool) -> None:
        self._day = day
        self._json = json

    def tell(self, event: Event, standing: Standing) -> None:
        if self._json:
            print_json(
                {
                    "event": event.kind,
                    "day": self._day().isoformat(),
                    "strategy": event.strategy,
                    "accountId": event.account_id,
                    "equity": f"{standing.equity:f}",
                    "text": event.text,
                    **event.details,
                }
            )
        else:
            print_line(f"{self._day()}  {event.strategy:<14}  {event.text}")


class LiveTable:
    """On a terminal: a table redrawn in place under what was printed before."""

    def __init__(self, watching: Watching, console: Console) -> None:
        self._watching = watching
        self._console = console
        self._ended: deque[Standing] = deque(maxlen=ENDED_SHOWN)
        self._counts: deque[tuple[float, int]] = deque()

    def tell(self, event: Event, standing: Standing) -> None:
        if event.kind in ENDED:
            self._ended.appendleft(standing)

    @contextlib.contextmanager
    def shown(self) -> Iterator[None]:
        with Live(
            get_renderable=self.rendered,
            console=self._console,
            refresh_per_second=REFRESHES_PER_SECOND,
            redirect_stdout=False,
            redirect_stderr=False,
        ):
            yield

    def rendered(self) -> RenderableType:
        shown = [column for column in COLUMNS if self._console.width >= column.width_min]
        table = Table(box=None, pad_edge=False, header_style="dim", expand=True)
        for column in shown:
            table.add_column(
                column.name,
                justify=column.justify,
                no_wrap=True,
                overflow="ellipsis",
                max_width=column.width_max,
                ratio=column.share,
            )
        current = self._watching.standings
        for standing in current:
            table.add_row(*(column.cell(standing) for column in shown))
        for standing in self._ended:
            if standing not in current:
                table.add_row(*(column.cell(standing) for column in shown), style="dim")
        rate = self._rate(self._watching.actions)
        heading = Text.assemble(
            ("replaying ", "dim"), (self._watching.day.isoformat(), "bold"), (f"   {rate:.1f} actions/s", "dim")
        )
        return Group(Text(), heading, table)

    def _rate(self, actions: int) -> float:
        now = time.monotonic()
        self._counts.append((now, actions))
        while now - self._counts[0][0] > RATE_SECONDS:
            self._counts.popleft()
        since, before = self._counts[0]
        return (actions - before) / (now - since) if now > since else 0.0


def _pnl(standing: Standing) -> Text:
    """With an arrow beside the colour, for those who see none."""
    gain = standing.gain
    arrow, style = ("▲", "green") if gain > 0 else ("▼", "red") if gain < 0 else (" ", "")
    return Text(f"{arrow} {gain:+.2%}", style=style)


def _last_event(standing: Standing) -> Text:
    text = standing.last_event
    return Text(text, style="red" if text.startswith(("rejected", "LIQUIDATED")) else "")


class Column(NamedTuple):
    """A column, shown where the terminal is at least `width_min` wide. One with a `share` takes what others leave."""

    name: str
    cell: Callable[[Standing], RenderableType]
    justify: Literal["left", "right"] = "left"
    width_min: int = 0
    width_max: int | None = None
    share: int | None = None


COLUMNS = (
    Column("ACCOUNT", lambda standing: standing.account_id[-8:], width_min=130),
    Column("STRATEGY", lambda standing: standing.strategy),
    Column("STATUS", lambda standing: Text(standing.status, style=STYLES.get(standing.status, ""))),
    Column("EQUITY", lambda standing: f"{standing.equity:,.2f}", "right"),
    Column("PNL", _pnl, "right"),
    Column("DRAWDOWN", lambda standing: f"{standing.drawdown:.1%}", "right", width_min=100),
    Column("OPEN", lambda standing: ", ".join(standing.positions) or "flat", width_min=150, width_max=24),
    Column("FILLS", lambda standing: str(standing.fills), "right", width_min=110),
    Column("REFUSED", lambda standing: str(standing.rejections), "right", width_min=110),
    Column("LAST EVENT", _last_event, share=1),
)
