"""The demo's table: what it shows, also where there is little room."""

import io
import json
from datetime import date
from decimal import Decimal

import pytest
from rich.console import Console

from gateway.demo.table import Lines, LiveTable
from gateway.demo.trader import Event, Standing


def standing(account_id: str, status: str, equity: int, last_event: str) -> Standing:
    return Standing(
        "dip-buyer",
        account_id,
        status=status,
        starting=Decimal(100_000),
        equity=Decimal(equity),
        drawdown=Decimal("0.5577"),
        positions=("7055 MSFT",),
        fills=3,
        rejections=1,
        last_event=last_event,
    )


class Watched:
    standings = (standing("account-00000002", "active", 100_500, "fill long 7055 MSFT @ 69.81"),)
    day = date(2000, 4, 3)
    actions = 7


ENDED = standing("account-00000001", "liquidated", 44_230, "LIQUIDATED at equity 44,230.00, drawdown 55.8%")
LIQUIDATED = Event(kind="liquidated", strategy="dip-buyer", account_id=ENDED.account_id, text=ENDED.last_event)


def rendered(width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    table = LiveTable(Watched(), console)
    table.tell(LIQUIDATED, ENDED)
    with console.capture() as capture:
        console.print(table.rendered())
    return capture.get().splitlines()


def test_a_wide_terminal_shows_everything():
    _, heading, _, trading, ended = rendered(170)
    assert heading.startswith("replaying 2000-04-03")
    assert trading.split()[:6] == ["00000002", "dip-buyer", "active", "100,500.00", "▲", "+0.50%"]
    assert "7055 MSFT" in trading
    assert "LIQUIDATED at equity 44,230.00, drawdown 55.8%" in ended


@pytest.mark.parametrize("width", [80, 100, 120, 140])
def test_a_narrow_terminal_drops_columns_and_cuts_only_the_last(width: int):
    *_, trading, ended = rendered(width)
    assert "dip-buyer" in trading
    assert "100,500.00" in trading
    assert "▼ -55.77%" in ended
    assert "liquidated" in ended
    assert "LIQUIDATED at equity" in ended
    assert max(map(len, rendered(width))) <= width


def test_without_a_terminal_an_event_is_a_line(capsys: pytest.CaptureFixture[str]):
    Lines(lambda: date(2000, 4, 3), json=False).tell(LIQUIDATED, ENDED)
    assert capsys.readouterr().out == "2000-04-03  dip-buyer       LIQUIDATED at equity 44,230.00, drawdown 55.8%\n"
    Lines(lambda: date(2000, 4, 3), json=True).tell(LIQUIDATED, ENDED)
    assert json.loads(capsys.readouterr().out)["event"] == "liquidated"
