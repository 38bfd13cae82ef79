"""The exact engine is the live core: what it does to an account, the live core does to it (G9)."""

from decimal import Decimal

import numpy as np
import pytest

from engine.book import AccountBook, ActionBatch, replayed
from engine.commands import Action, MarkToMarket
from engine.decide import Context
from engine.events import RecordedEvent
from engine.ids import derived_id
from engine.policy import Policy, ProfitTarget
from engine.results import result_of
from engine.simulation.actions import COLUMNS, LONG_SIDE, OPEN, QUANTITY, UNSIZED, ActionTable
from engine.simulation.entering import forked, opened
from engine.simulation.exact import MARKING, ExactRun, Recorded, Traded, run
from engine.simulation.faults import BadInput
from engine.simulation.outcome import CODES, NO_TICK, STATUSES
from engine.simulation.prices import PriceTable
from engine.simulation.strategies import Entrant, Sight, closing, opening
from engine.simulation.units import SCALE, decimal, moment
from tests.support.ledger_page import decoded, policy

START_US = 1_767_600_000_000_000
MINUTE_US = 60_000_000
SYMBOLS = ("BTC-USD", "ETH-USD")


def prices(*mids: tuple[int, int], observed: list[list[int]] | None = None) -> PriceTable:
    """A minute a tick; bid and ask a hundredth around the mid."""
    times = START_US + np.arange(len(mids), dtype=np.int64) * MINUTE_US
    mid = np.array(mids, np.int64) * SCALE
    seen = np.repeat(times[:, None], 2, axis=1) if observed is None else np.array(observed, np.int64)
    return PriceTable(
        times=times, symbols=SYMBOLS, bid=mid - mid // 10_000, ask=mid + mid // 10_000, mid=mid, observed=seen
    )


def actions(*rows: dict[str, int]) -> ActionTable:
    default = {"account": 0, "kind": OPEN, "symbol": 0, "side": LONG_SIDE, "sizing": QUANTITY, "size": SCALE}
    return ActionTable(
        **{name: np.array([(default | row).get(name, 0) for row in rows], dtype) for name, dtype in COLUMNS.items()}
    )


def recorded(acting: ActionTable) -> Recorded:
    return Recorded(table=acting, rows=np.arange(len(acting)))


RISING = prices((50_000, 2_000), (51_000, 2_000), (52_000, 2_100), (53_000, 1_900))
SOME = actions(
    {"tick": 0, "size": SCALE // 2},
    {"tick": 0, "size": 9 * SCALE},
    {"tick": 0, "account": 1, "symbol": 1},
    {"tick": 2, "kind": 1, "size": SCALE // 8},
    {"tick": 2, "account": 1, "kind": 3, "symbol": -1, "side": -1, "sizing": UNSIZED},
    {"tick": 3, "kind": 2, "sizing": UNSIZED},
)


def exactly(
    table: PriceTable,
    acting: ActionTable,
    *policies: Policy,
    keeps_ledger: bool = True,
    mark_every: int = 1,
    equity_every: int = 1,
) -> ExactRun:
    books = opened(policies, moment(int(table.times[0])))
    return run(
        table,
        books,
        recorded(acting),
        keeps_ledger=keeps_ledger,
        mark_every=mark_every,
        equity_every=equity_every,
    )


def live(
    table: PriceTable, acting: ActionTable, account: int, terms: Policy
) -> tuple[AccountBook, list[RecordedEvent]]:
    """The same, put to the live book by hand."""
    book = opened([terms], moment(int(table.times[0])), first=account)[0]
    ledger: list[RecordedEvent] = []
    for tick in range(table.ticks):
        context = Context(moment(int(table.times[tick])), table.quotes(tick))
        mine = [row for row in range(len(acting)) if (acting.account[row], acting.tick[row]) == (account, tick)]
        batch = tuple(acting.action(row, SYMBOLS, str(place)) for place, row in enumerate(mine))
        if batch:
            entry = book.take(ActionBatch(f"tick-{tick}", batch), context, request_id="simulation")
            assert not isinstance(entry, tuple)
            ledger += entry.recorded
        if book.account.status == "active" and book.account.positions:
            pass_id = derived_id("pass", MARKING, tick, context.now)
            marked = book.submit(MarkToMarket(pass_id), context, request_id="simulation")
            assert hasattr(marked, "recorded")
            ledger += marked.recorded
    return book, ledger


def test_ledgers_are_those_of_the_live_book_byte_for_byte() -> None:
    terms = policy(fee_bps="7.5", slippage_model="spread")
    ran = exactly(RISING, SOME, terms, terms)
    for account in (0, 1):
        book, ledger = live(RISING, SOME, account, terms)
        assert list(ran.ledgers[account]) == ledger
        assert ran.books[account] == book.account


def test_a_simulated_ledger_replays_like_any_other() -> None:
    book = opened([Policy()], moment(int(RISING.times[0])))[0]
    before = book.fork()
    ran = run(RISING, [book], recorded(SOME.of_accounts(0, 1)), keeps_ledger=True)
    before.replay((each, decoded(each)) for each in ran.ledgers[0])
    assert before.account == ran.books[0]
    with pytest.raises(AssertionError, match="seq 1 is missing"):
        replayed(((each, decoded(each)) for each in ran.ledgers[0]), receipts_in_memory_max=1)


def test_without_a_ledger_everything_else_is_the_same() -> None:
    with_one = exactly(RISING, SOME, Policy(), policy(max_drawdown="0.01"))
    without = exactly(RISING, SOME, Policy(), policy(max_drawdown="0.01"), keeps_ledger=False)
    assert without.books == with_one.books
    assert without.ledgers == ((), ())
    assert same(without, with_one)


def same(one: ExactRun, other: ExactRun) -> bool:
    first, second = one.outcome, other.outcome
    pairs = [(first.equity, second.equity)]
    for name in ("fills", "rejections", "liquidations", "accounts", "verdicts"):
        columns, others = getattr(first, name), getattr(second, name)
        pairs += [(columns[column], others[column]) for column in columns]
    return all(np.array_equal(left, right, equal_nan=left.dtype.kind == "f") for left, right in pairs)


def test_verdicts_are_by_row_of_the_action_table() -> None:
    outcome = exactly(RISING, SOME, Policy(), Policy()).outcome
    assert outcome.verdicts is not None
    codes = [CODES[code - 1].value if code else "filled" for code in outcome.verdicts["code"].tolist()]
    assert codes == ["filled", "notional_exceeds_maximum", "filled", "filled", "filled", "unsupported_action"]
    assert outcome.verdicts["action"].tolist() == [0, 1, 3, 5, 2, 4]
    assert outcome.verdicts["account"].tolist() == [0, 0, 0, 0, 1, 1]
    assert outcome.verdicts["price"].tolist() == [50_000 * SCALE, 0, 52_000 * SCALE, 53_000 * SCALE, 2_000 * SCALE, 0]
    assert outcome.verdicts["realized"][3] == 3_000 * SCALE * 3 // 8
    assert outcome.rejections["gates"].tolist()[0] & (1 << 10)


def test_equity_is_that_of_the_account_after_each_mark() -> None:
    outcome = exactly(RISING, SOME.of_accounts(1, 2), policy(fee_bps=0)).outcome
    assert outcome.equity_ticks.tolist() == [0, 1, 2, 3]
    assert [decimal(each) for each in outcome.equity[:, 0].tolist()] == [100_000, 100_000, 100_100, 99_900]


def test_marks_and_what_is_kept_of_them_may_be_rarer() -> None:
    outcome = exactly(RISING, SOME.of_accounts(1, 2), policy(fee_bps=0), mark_every=3).outcome
    assert outcome.equity_ticks.tolist() == [2, 3]
    assert outcome.accounts["marks"].tolist() == [2]
    outcome = exactly(RISING, SOME.of_accounts(1, 2), policy(fee_bps=0), equity_every=4).outcome
    assert outcome.equity_ticks.tolist() == [3]
    assert outcome.accounts["marks"].tolist() == [4]


def test_a_fall_liquidates_and_what_comes_later_is_refused() -> None:
    falling = prices((50_000, 2_000), (30_000, 2_000), (60_000, 2_000))
    wide = policy(max_notional=1_000_000, max_drawdown="0.2", fee_bps=0)
    outcome = exactly(falling, actions({"tick": 0}, {"tick": 2}), wide).outcome
    assert outcome.liquidations["tick"].tolist() == [1]
    assert outcome.liquidations["equity"].tolist() == [80_000 * SCALE]
    assert STATUSES[outcome.accounts["status"][0]] == "liquidated"
    assert outcome.accounts["ended_tick"].tolist() == [1]
    assert outcome.end_reasons == ["max_drawdown"]
    assert outcome.verdicts is not None
    assert [CODES[each - 1].value for each in outcome.verdicts["code"][1:]] == ["account_not_active"]


def test_a_frozen_feed_grows_old() -> None:
    first = START_US
    frozen = prices(*[(50_000, 2_000)] * 4, observed=[[first, first + tick * MINUTE_US] for tick in range(4)])
    outcome = exactly(frozen, actions(*({"tick": tick, "size": SCALE // 100} for tick in range(4))), Policy()).outcome
    assert outcome.verdicts is not None
    assert [CODES[each - 1].value if each else "" for each in outcome.verdicts["code"]] == [
        "",
        "",
        "price_stale",
        "price_stale",
    ]
    assert outcome.accounts["marks"].tolist() == [3]  # a mark may be two minutes old


def test_a_target_completes_the_account() -> None:
    target = policy(fee_bps=0, profit_target=ProfitTarget(amount=Decimal(1_000)))
    outcome = exactly(RISING, actions({"tick": 0}), target).outcome
    assert (outcome.end_reasons, outcome.accounts["ended_tick"].tolist()) == (["profit_target"], [1])


def test_statistics_are_those_that_production_freezes_at_the_end() -> None:
    falling = prices((50_000, 2_000), (30_000, 2_000))
    wide = policy(max_notional=1_000_000, max_drawdown="0.2")
    ran = exactly(falling, actions({"tick": 0}), wide)
    result = result_of(ran.books[0], ran.ledgers[0])
    assert result is not None
    assert ran.outcome.accounts["total_return"][0] == float(result.statistics.total_return)
    assert ran.outcome.accounts["turnover"][0] == float(result.statistics.turnover)
    assert np.isnan(ran.outcome.accounts["sharpe"][0])
    assert ran.outcome.accounts["ended_tick"].tolist() == [1]


class Seesaw:
    """Long on even ticks, flat on odd ones; looks at what an agent would look at."""

    def __init__(self, entrant: Entrant) -> None:
        self.seen: list[int] = []

    def decide(self, sight: Sight) -> list[Action]:
        self.seen.append(sight.tick)
        room = next(each for each in sight.context.symbols if each.symbol == "BTC-USD").capacity[0]
        if sight.held("BTC-USD"):
            return [closing("BTC-USD", "long")]
        assert room.max_quantity is not None
        return [opening("BTC-USD", "long", quantity=room.max_quantity / 2)]


def test_a_strategy_is_asked_with_the_context_that_the_api_gives() -> None:
    trader = Seesaw.__new__(Seesaw)
    trader.seen = []
    books = opened([Policy()], moment(int(RISING.times[0])))
    outcome = run(RISING, books, Traded(strategies=[trader])).outcome
    assert trader.seen == [0, 1, 2, 3]
    assert outcome.fills["intent"].tolist() == [0, 2, 0, 2]
    assert outcome.verdicts is None


class Watcher(Seesaw):
    """Buys too much once, and writes down what it sees."""

    def decide(self, sight: Sight) -> list[Action]:
        self.seen.append(sight.tick)
        assert sight.mids("BTC-USD", 2) == [
            decimal(each) for each in PLUNGE.mid[max(0, sight.tick - 1) : sight.tick + 1, 0].tolist()
        ]
        return [] if sight.tick else [opening("BTC-USD", "long", quantity=2)]


PLUNGE = prices((50_000, 2_000), (49_000, 2_000), (30_000, 2_000), (60_000, 2_000), (70_000, 2_000))


def test_a_strategy_sees_nothing_of_what_comes_and_is_not_asked_after_the_end() -> None:
    trader = Watcher.__new__(Watcher)
    trader.seen = []
    books = opened([policy(max_notional=1_000_000, max_drawdown="0.2")], moment(int(PLUNGE.times[0])))
    outcome = run(PLUNGE, books, Traded(strategies=[trader])).outcome
    assert outcome.end_reasons == ["max_drawdown"]
    assert trader.seen == [0, 1, 2]


def test_an_account_that_holds_nothing_is_judged_by_its_rules() -> None:
    target = policy(fee_bps=0, profit_target=ProfitTarget(amount=Decimal(1_000)))
    bought_and_sold = actions({"tick": 0}, {"tick": 1, "kind": 2, "sizing": UNSIZED})
    outcome = exactly(RISING, bought_and_sold, target, mark_every=3).outcome
    assert (outcome.end_reasons, outcome.accounts["ended_tick"].tolist()) == (["profit_target"], [2])


def test_what_no_door_would_let_in_is_named() -> None:
    class Careless(Seesaw):
        def decide(self, sight: Sight) -> list[Action]:
            return [Action(decision_action_id="", action="open", symbol="BTC-USD", side="long")]

    books = opened([Policy()], moment(int(RISING.times[0])))
    with pytest.raises(BadInput, match="open takes exactly one of quantity, notional"):
        run(RISING, books, Traded(strategies=[Careless.__new__(Careless)]))


def test_a_fork_goes_on_from_the_account_as_it_stood() -> None:
    book, _ = live(RISING, SOME, 1, Policy())
    later = prices((50_000, 1_900), (50_000, 2_500))
    later = PriceTable(
        times=later.times + 10 * MINUTE_US,
        symbols=SYMBOLS,
        bid=later.bid,
        ask=later.ask,
        mid=later.mid,
        observed=later.observed + 10 * MINUTE_US,
    )
    seq, equity = book.account.seq, book.account.equity
    books = forked(book, [None, policy(max_leverage=1), policy(profit_target=ProfitTarget(amount=Decimal(1)))])
    ran = run(later, books, recorded(ActionTable.empty()), keeps_ledger=True)
    assert [ledger[0].seq for ledger in ran.ledgers] == [seq + 1] * 3
    assert ran.outcome.equity[:2, 0].tolist() == [int(equity * SCALE), int((equity + 600) * SCALE)]
    assert ran.outcome.end_reasons == [None, None, "profit_target"]
    assert (book.account.seq, ran.outcome.accounts["ended_tick"].tolist()) == (seq, [NO_TICK, NO_TICK, 1])
    with pytest.raises(BadInput, match="only an active one goes on"):
        forked(AccountBook(ran.books[2], epoch=0, head=b"", receipts=book.receipts), [None])
