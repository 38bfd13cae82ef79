"""Corrections: what an account is worth without a fill, worked out by hand."""

import pytest

from engine.changes import PlacedEvent, changes
from engine.commands import VoidFill, VoidOrder
from engine.events import FillVoided
from engine.invariants import InvariantBroken
from engine.money import ZERO
from tests.support.ledger_page import (
    Page,
    close_long,
    close_short,
    complete,
    decoded,
    fill_voided,
    given,
    later,
    liquidate,
    lock,
    mark,
    open_long,
    open_short,
    opened,
    pause,
    pending,
    priced,
    reduce_long,
    reduce_short,
    unpriced,
    void_fill,
    void_order,
)

LARGE = {"max_notional": 200_000}


def two_buys_and_three_sales(last: str) -> Page:
    """The worked example of docs/corrections.md: buy 1 at 50000, buy 1 at 52000, sell in three parts. Fee 10 bps.

    | fill | price | quantity | cost | realized | fee | cash | held |
    | 1 buy | 50000 | 1 | - | - | 50 | 99950 | 1 for 50000 |
    | 2 buy | 52000 | 1 | - | - | 52 | 99898 | 2 for 102000 |
    | 3 sell | 54000 | 0.5 | 102000 * 0.5 / 2 = 25500 | 1500 | 27 | 101371 | 1.5 for 76500 |
    | 4 sell | 55000 | 0.3 | 76500 * 0.3 / 1.5 = 15300 | 1200 | 16.5 | 102554.5 | 1.2 for 61200 |
    | 5 sell | 50000 | 0.2 | 61200 * 0.2 / 1.2 = 10200 | -200 | 10 | 102344.5 | 1 for 51000 |
    """
    return given(
        opened(100_000, **LARGE),
        open_long("BTC-USD", 1),
        priced("BTC-USD", 52_000),
        open_long("BTC-USD", 1),
        later(1),
        priced("BTC-USD", 54_000),
        reduce_long("BTC-USD", "0.5"),
        later(1),
        priced("BTC-USD", 55_000),
        reduce_long("BTC-USD", "0.3"),
        later(1),
        priced("BTC-USD", 50_000),
        reduce_long("BTC-USD", last),
    )


def test_the_worked_example():
    """Without fill 1, fill 2 opens: 1 for 52000. The sales then cost 26000, 15600 and (all that is left) 10400."""
    page = two_buys_and_three_sales("0.2").balance(
        cash="102344.5", realized_pnl=2500, fees_paid="155.5", high_watermark="107354.5"
    )
    ids = page.fill_ids
    page.when(later(60), void_fill(1)).then(
        fill_voided(
            reason="because",
            asked_fill_id=ids[0],
            fill_ids=[ids[0]],
            order_ids=[page.fills[0].order_id],
            restated_fills=[
                {"fill_id": ids[2], "cost": 26_000, "realized_pnl": 1_000},
                {"fill_id": ids[3], "cost": 15_600, "realized_pnl": 900},
                {"fill_id": ids[4], "cost": 10_400, "realized_pnl": -400},
            ],
            positions=[],
            closed=[{"quantity": 0, "realized_pnl": 1_500, "fees": "105.5", "avg_entry_price": 52_000}],
            cash="101394.5",
            equity="101394.5",
            realized_pnl=1_500,
            fees_paid="105.5",
            high_watermark="102404.5",  # after fill 4: 101804.5 and 0.2 at 55000 for 10400
        )
    )
    page.balance(cash="101394.5", realized_pnl=1_500, fees_paid="105.5", high_watermark="102404.5")
    assert page.account.positions == {}


def test_the_worked_example_with_an_orphan():
    """Of 0.2 that fill 5 would find, it takes 0.5: refused, or voided with it; then 0.2 at 55000 stays."""
    page = two_buys_and_three_sales("0.5")
    last = page.fills[4]
    page.when(void_fill(1)).refused("void_would_orphan")
    assert page.refusal is not None
    (orphan,) = page.refusal.orphans
    assert (orphan.fill_id, orphan.order_id, orphan.intent) == (last.fill_id, last.order_id, "reduce")
    assert (str(orphan.quantity), str(orphan.held)) == ("0.50000000", "0.20000000")
    page.when(void_fill(1, cascade=True)).then(
        fill_voided(
            fill_ids=[page.fill_ids[0], page.fill_ids[4]],
            positions=[{"quantity": "0.2", "entry_notional": 10_400, "mark_price": 55_000, "realized_pnl": 1_900}],
            closed=[],
            cash="101804.5",
            equity="102404.5",
            realized_pnl=1_900,
            fees_paid="95.5",
        )
    )


def test_an_order_is_voided_with_its_fill():
    by_fill, by_order = two_buys_and_three_sales("0.2"), two_buys_and_three_sales("0.2")
    by_fill.when(void_fill(1))
    by_order.when(void_order(1))
    assert by_fill.events == by_order.events


def test_a_short_is_restated_alike():
    """Sell 2 at 2000 and 2 at 1900, buy 1 at 1800: cost 7800 / 4 = 1950. Without the first, 1900."""
    page = given(
        opened(fee_bps=0),
        open_short("ETH-USD", 2),
        priced("ETH-USD", 1_900),
        open_short("ETH-USD", 2),
        priced("ETH-USD", 1_800),
        reduce_short("ETH-USD", 1),
    ).balance(realized_pnl=150)
    page.when(void_fill(1)).then(fill_voided(realized_pnl=100, cash=100_100, equity=100_200))
    assert page.position("ETH-USD", "short").entry_notional == 1_900


def test_without_its_only_fill_an_account_never_traded():
    page = given(opened(), open_long("BTC-USD", "0.5"), priced("BTC-USD", 60_000), mark())
    opened_seq = page.position().opened_seq
    page.when(void_fill(1)).then(fill_voided(positions=[], closed=[], gone=[opened_seq], equity=100_000))
    page.balance(cash=100_000, fees_paid=0, high_watermark=100_000)


def test_marks_value_what_is_there_without_the_fill():
    """Marked at 60000: 1 of 2 gains 10000. The watermark falls with it."""
    page = given(
        opened(fee_bps=0, **LARGE), open_long("BTC-USD", 1), open_long("BTC-USD", 1), priced("BTC-USD", 60_000), mark()
    ).balance(high_watermark=120_000)
    marked_at = page.now
    page.when(later(5), priced("BTC-USD", 55_000), mark(), void_fill(2))
    assert page.position().mark_price == 55_000
    assert page.position().marked_at > marked_at
    page.balance(equity=105_000, high_watermark=110_000)


def test_a_position_that_was_closed_when_others_were_marked_keeps_its_last_mark():
    """G7: the pass at 60000 had no price for BTC, since none was held; none is invented for the one that comes back."""
    page = given(
        opened(fee_bps=0),
        open_long("BTC-USD", "0.1"),
        open_long("ETH-USD", 1),
        priced("BTC-USD", 51_000),
        close_long("BTC-USD"),
        priced("BTC-USD", 60_000),
        priced("ETH-USD", 2_100),
        mark(),
    )
    page.when(void_fill(3))
    assert page.position("BTC-USD").mark_price == 50_000
    assert page.position("ETH-USD").mark_price == 2_100
    page.balance(cash=100_000, equity=100_100)


def test_an_episode_reopens_and_swallows_the_next_when_its_close_is_voided():
    page = given(opened(fee_bps=0), open_long("BTC-USD", "0.1"))
    first = page.position().opened_seq
    page.when(close_long(), open_long("BTC-USD", "0.2"))
    second = page.position().opened_seq
    page.when(void_fill(2)).then(fill_voided(positions=[{"quantity": "0.3", "opened_seq": first}], gone=[second]))


def test_an_episode_ends_early_and_another_begins_when_its_opening_is_voided():
    """0.1 + 0.2 - 0.2 + 0.3: without the first the sale closes, and the last buy opens anew."""
    page = given(
        opened(fee_bps=0),
        open_long("BTC-USD", "0.1"),
        open_long("BTC-USD", "0.2"),
        reduce_long("BTC-USD", "0.2"),
        open_long("BTC-USD", "0.3"),
    )
    first = page.position().opened_seq
    page.when(void_fill(1))
    (event,) = page.events
    assert isinstance(event, FillVoided)
    (closed,) = event.closed
    assert event.gone == (first,)
    assert first < closed.opened_seq < page.position().opened_seq
    assert page.position().quantity == page.fills[3].quantity


def test_a_close_that_finds_more_than_it_took_only_reduces():
    page = given(
        opened(fee_bps=0),
        open_long("BTC-USD", "0.2"),
        reduce_long("BTC-USD", "0.1"),
        close_long(),
    )
    page.when(void_fill(2)).then(fill_voided(positions=[{"quantity": "0.1"}], closed=[]))


def test_cascades_take_out_everything_that_stood_on_the_fill():
    page = given(opened(fee_bps=0), open_long("BTC-USD", "0.2"), reduce_long("BTC-USD", "0.1"), close_long())
    page.when(void_fill(1)).refused("void_would_orphan")
    assert page.refusal is not None
    assert [orphan.fill_id for orphan in page.refusal.orphans] == page.fill_ids[1:]
    page.when(void_fill(1, cascade=True)).then(fill_voided(fill_ids=page.fill_ids, cash=100_000, realized_pnl=0))


def test_other_symbols_and_sides_are_left_alone():
    page = given(opened(), open_long("BTC-USD", "0.1"), open_short("BTC-USD", "0.1"), open_long("ETH-USD", 1))
    before = dict(page.account.positions)
    page.when(void_fill(2))
    assert page.account.positions == {key: held for key, held in before.items() if key != ("BTC-USD", "short")}
    page.when(close_short()).rejected("position_not_found")


def test_voids_add_up():
    page = two_buys_and_three_sales("0.2")
    page.when(void_fill(3))
    page.when(open_long("BTC-USD", "0.1"), void_fill(1), void_fill(6))
    other = two_buys_and_three_sales("0.2")
    other.when(open_long("BTC-USD", "0.1"), void_fill(6), void_fill(1), void_fill(3))
    assert page.account.positions == other.account.positions
    assert (page.account.cash, page.account.high_watermark) == (other.account.cash, other.account.high_watermark)


def test_a_fill_is_voided_once():
    page = two_buys_and_three_sales("0.5")
    page.when(void_fill(1, cascade=True))
    for again in (void_fill(1), void_order(1), void_fill(5)):
        page.when(again).then()
        assert page.refusal is None


@pytest.mark.parametrize(
    ("asked", "code"),
    [(VoidFill("nothing", "because"), "fill_not_found"), (VoidOrder("nothing", "because"), "order_not_found")],
)
def test_what_never_was_cannot_be_voided(asked, code):
    given(opened(), open_long("BTC-USD", "0.1")).when(asked).refused(code)
    given(pending()).when(asked).refused(code)


@pytest.mark.parametrize("end", [complete(), complete("none"), liquidate()])
def test_an_account_that_has_ended_stays_as_it_ended(end):
    page = given(opened(), open_long("BTC-USD", "0.1"), end)
    page.when(void_fill(1)).refused("account_terminal", status=page.account.status)


@pytest.mark.parametrize("step", [pause(), lock()])
def test_a_stopped_account_is_corrected_and_stays_stopped(step):
    page = given(opened(), open_long("BTC-USD", "0.1"), step)
    status = page.account.status
    page.when(void_fill(1)).then(fill_voided(cash=100_000))
    assert page.account.status == status


def test_a_void_liquidates_nobody_until_the_next_mark():
    """Without the short that won 9000, the long's loss of 10000 is too much: the next mark says so, not the void."""
    page = given(
        opened(100_000, fee_bps=0, max_drawdown="0.05", max_notional=100_000),
        open_long("BTC-USD", 1),
        open_short("BTC-USD", "0.9"),
        priced("BTC-USD", 40_000),
        mark(),
    ).balance(equity=99_000)
    page.when(void_fill(2)).then(fill_voided(equity=90_000))
    assert page.account.status == "active"
    page.when(mark()).outcome("liquidated")


def test_a_stale_valuation_is_forgotten_with_the_position_that_kept_it():
    page = given(opened(), open_long("BTC-USD", "0.1"), open_long("ETH-USD", 1))
    page.when(unpriced("ETH-USD"), mark()).outcome("failed")
    page.when(void_fill(1))
    assert page.account.stale == (("ETH-USD", "price_missing"),)
    page.when(void_fill(2))
    assert not page.account.stale


def test_counters_and_receipts_tell_what_happened_then():
    page = two_buys_and_three_sales("0.2")
    counters, results = page.account.counters, list(page.results)
    page.when(void_fill(1))
    assert page.account.counters == counters
    receipts = page.book.receipts
    assert [receipts.get(("run-1", f"auto-{n}")) is not None for n in range(1, 6)] == [True] * 5
    assert receipts.get(("run-1", "auto-5")).result == results[-1]  # type: ignore[union-attr]  # asserted above


def test_rows_of_booked_fills_add_up_to_the_balance():
    page = two_buys_and_three_sales("0.5")
    page.when(void_fill(1, cascade=True))
    placed = [PlacedEvent(each.seq, each.occurred_at, decoded(each)) for each in page.ledger]
    made = changes(page.account, placed)
    assert [fill.status for fill in made.fills] == ["voided", "booked", "booked", "booked", "voided"]
    assert [order.status for order in made.orders] == ["voided", "filled", "filled", "filled", "voided"]
    booked = [fill for fill in made.fills if fill.status == "booked"]
    assert sum((fill.realized_pnl for fill in booked), ZERO) == page.account.realized_pnl
    assert sum((fill.fee for fill in booked), ZERO) == page.account.fees_paid
    (row,) = made.positions
    assert (row.view.status, row.view.realized_pnl) == ("open", page.account.realized_pnl)


def test_a_ledger_that_does_not_lead_to_the_account_restates_nothing():
    page = two_buys_and_three_sales("0.2")
    before = page.book.state
    with pytest.raises(InvariantBroken, match="does not lead"):
        page.book.correct(
            VoidFill(page.fill_ids[0], "because"),
            [(each, decoded(each)) for each in page.ledger[:-1]],
            page.now,
            request_id="r",
        )
    assert page.book.state == before
