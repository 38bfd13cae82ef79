"""Once: a key is answered once for ever, and what is remembered where."""

import msgspec
import pytest

from engine.book import ActionBatch, Conflict, Entry, replayed
from engine.receipts import Receipts, digest
from tests.support.ledger_page import (
    RUN_ID,
    Page,
    act,
    close_long,
    decimal,
    decoded,
    given,
    later,
    lock,
    mark,
    open_long,
    opened,
    priced,
    unpriced,
)


def batch(*asked, run=RUN_ID) -> ActionBatch:
    return ActionBatch(run, tuple(each.action for each in asked))


def take(page: Page, wanted: ActionBatch, **more) -> Entry | tuple[Conflict, ...]:
    return page.book.take(wanted, page.context, request_id="again", **more)


def entered(answer: Entry | tuple[Conflict, ...]) -> Entry:
    assert isinstance(answer, Entry)
    return answer


@pytest.mark.parametrize(
    ("asked", "status"),
    [(open_long(quantity="0.1", key="k"), "executed"), (open_long(quantity=9, key="k"), "rejected")],
)
def test_a_repeated_key_repeats_its_answer_and_nothing_else(asked, status):
    page = given(opened()).when(asked)
    first, account, head = page.result, page.account, page.book.head
    assert (first.status, first.replayed) == (status, False)
    page.when(lock(), later(3_600), unpriced("BTC-USD"))
    account, head = page.account, page.book.head
    page.when(asked).then()
    assert page.result == msgspec.structs.replace(first, replayed=True)
    assert (page.account, page.book.head) == (account, head)


def test_a_rejection_is_final_even_when_it_would_pass_now():
    page = given(opened(), unpriced("BTC-USD")).when(open_long(quantity="0.1", key="k"))
    page.when(priced("BTC-USD", 50_000), open_long(quantity="0.1", key="k")).then()
    assert (page.result.status, page.result.replayed) == ("rejected", True)
    page.when(open_long(quantity="0.1", key="k2")).executed()


def test_the_same_action_id_in_another_run_is_another_key():
    page = given(opened(), open_long(quantity="0.1", key="k"))
    page.when(open_long(quantity="0.1", key="k", run="run-2")).executed()
    assert not page.result.replayed
    assert page.account.counters.executed == 2


@pytest.mark.parametrize(
    ("other", "fields"),
    [
        ({"quantity": "0.2"}, ("quantity",)),
        ({"quantity": "0.1", "leverage": 2}, ("leverage",)),
        ({"quantity": "0.1", "symbol": "ETH-USD"}, ("symbol",)),
        ({"quantity": "0.1", "max_price": 1, "min_price": 1}, ("maxPrice", "minPrice")),
        ({"quantity": "0.1", "rationale": "second thoughts"}, ("rationale",)),
        ({"notional": "5000"}, ("quantity", "notional")),
    ],
)
def test_other_content_under_a_known_key_is_a_conflict_and_nothing_runs(other, fields):
    page = given(opened(), open_long(quantity="0.1", key="k"))
    before = page.book.state
    answer = take(page, batch(open_long(quantity="0.1", key="new"), open_long(key="k", **other)))
    assert answer == (Conflict("k", fields),)
    assert page.book.state == before
    assert page.book.receipts.get((RUN_ID, "new")) is None


def test_every_conflict_of_a_batch_is_told():
    page = given(opened(), open_long(quantity="0.1", key="a"), open_long(quantity="0.1", key="b"))
    answer = take(page, batch(close_long(key="a"), open_long(quantity="0.1", key="c"), close_long(key="b")))
    assert answer == (Conflict("a", ("action", "quantity")), Conflict("b", ("action", "quantity")))


def test_the_same_figure_written_otherwise_is_the_same_content():
    page = given(opened(), open_long(quantity="0.1", key="k")).when(open_long(quantity="0.10", key="k"))
    assert page.result.replayed


def test_a_batch_is_applied_in_order_each_judged_alone():
    page = given(opened())
    asked = [
        open_long(quantity="0.5", key="1"),
        open_long(quantity=9, key="2"),
        act("hold", None, None, key="3"),
        close_long(key="4"),
        close_long(key="5"),
    ]
    entry = entered(take(page, batch(*asked)))
    assert [result.code for result in entry.results] == [
        None,
        "notional_exceeds_maximum",
        "unsupported_action",
        None,
        "position_not_found",
    ]
    assert [event.seq for event in entry.recorded] == list(range(3, 3 + 9))
    assert [receipt.seq for receipt in entry.changes.receipts] == [5, 6, 7, 10, 11]
    assert page.account.counters.actions == 5
    again = entered(take(page, batch(*asked)))
    assert again.recorded == ()
    assert [result.replayed for result in again.results] == [True] * 5


def test_of_a_position_the_batch_keeps_only_its_last_state():
    asked = [open_long(quantity="0.5", key="1"), open_long(quantity="0.1", key="2"), close_long(key="3")]
    entry = entered(take(given(opened()), batch(*asked, open_long(quantity="0.2", key="4"))))
    rows = [(row.opened_seq, row.view.status, row.view.quantity) for row in entry.changes.positions]
    assert rows == [(5, "closed", 0), (14, "open", decimal("0.2"))]
    assert [len(entry.changes.orders), len(entry.changes.fills), len(entry.changes.receipts)] == [4, 4, 4]


def test_a_batch_may_mix_old_keys_and_new():
    page = given(opened(), open_long(quantity="0.1", key="old"))
    entry = entered(take(page, batch(open_long(quantity="0.1", key="old"), close_long(key="new"))))
    assert [result.replayed for result in entry.results] == [True, False]
    assert [result.status for result in entry.results] == ["executed", "executed"]


# ---------------------------------------------------------------- memory


def remembering(count: int, *, recent_max: int) -> Page:
    page = given(opened())
    page.book.receipts = Receipts(recent_max=recent_max)
    page.when(*(open_long(quantity="0.01", key=f"k{number}") for number in range(count)))
    return page


def known(page: Page, count: int) -> list[int]:
    return [number for number in range(count) if page.book.receipts.get((RUN_ID, f"k{number}"))]


def test_the_oldest_durable_receipts_are_forgotten_past_the_limit():
    page = remembering(5, recent_max=2)
    assert known(page, 5) == [0, 1, 2, 3, 4]
    page.book.receipts.trim(page.account.seq)
    assert known(page, 5) == [3, 4]
    assert page.book.receipts.elsewhere(batch(*(open_long(key=f"k{number}") for number in range(6))).keys) == [
        (RUN_ID, "k0"),
        (RUN_ID, "k1"),
        (RUN_ID, "k2"),
    ]
    assert len(page.book.receipts.seen) == 5


def test_what_is_not_durable_is_never_forgotten():
    page = remembering(5, recent_max=2)
    second = page.book.receipts.get((RUN_ID, "k1"))
    assert second is not None
    page.book.receipts.trim(second.seq - 1)
    assert known(page, 5) == [1, 2, 3, 4]
    page.book.receipts.trim(second.seq)
    assert known(page, 5) == [2, 3, 4]
    page.book.receipts.trim(0)
    assert known(page, 5) == [2, 3, 4]


def test_a_forgotten_receipt_is_recalled_from_elsewhere():
    page = remembering(3, recent_max=1)
    stored = page.book.receipts.get((RUN_ID, "k0"))
    assert stored is not None
    page.book.receipts.trim(page.account.seq)
    asked = batch(open_long(quantity="0.01", key="k0"), open_long(quantity="0.01", key="fresh"))
    assert page.book.receipts.elsewhere(asked.keys) == [stored.key]
    entry = entered(take(page, asked, recalled={stored.key: stored}))
    assert entry.results[0] == msgspec.structs.replace(stored.result, replayed=True)
    assert entry.results[1].replayed is False
    other = batch(open_long(quantity="0.02", key="k0"))
    assert take(page, other, recalled={stored.key: stored}) == (Conflict("k0", ("quantity",)),)


def test_a_restored_book_knows_which_keys_were_answered():
    page = given(opened(), open_long(quantity="0.1", key="k"))
    restored = type(page.book).restored(page.book.state, epoch=7, receipts_in_memory_max=10)
    assert restored.receipts.elsewhere([(RUN_ID, "k"), (RUN_ID, "new")]) == [(RUN_ID, "k")]
    assert restored.state == page.book.state
    entry = restored.submit(mark().__class__("pass-2"), page.context, request_id="r")
    assert isinstance(entry, Entry)
    assert [event.epoch for event in entry.recorded] == [7]


def test_a_replayed_book_knows_the_keys_that_live_trading_knew_and_leaves_the_receipts_in_storage():
    page = given(opened(), open_long(quantity="0.1", key="k"), mark())
    page.when(open_long(quantity=9, key="refused")).when(close_long(key="closed"))
    events = [(recorded, decoded(recorded)) for recorded in page.ledger]
    book, _ = replayed(events, receipts_in_memory_max=10)
    assert book.receipts.seen == page.book.receipts.seen
    keys = [(RUN_ID, "k"), (RUN_ID, "refused"), (RUN_ID, "closed")]
    assert book.receipts.elsewhere([*keys, (RUN_ID, "new")]) == keys


def test_a_digest_keeps_run_and_action_apart():
    assert digest(("ab", "c")) != digest(("a", "bc"))
    assert 0 <= digest(("a", "b")) < 2**64


# ---------------------------------------------------------------- dry run


def test_a_dry_run_on_a_fork_leaves_no_trace():
    page = given(opened(), open_long(quantity="0.1", key="k"))
    before, fork = page.book.state, page.book.fork()
    rehearsed = entered(fork.take(batch(close_long(key="dry")), page.context, request_id="dry"))
    fork.submit(lock(), page.context, request_id="dry")
    assert page.book.state == before
    assert page.book.receipts.get((RUN_ID, "dry")) is None
    assert page.book.receipts.elsewhere([(RUN_ID, "dry")]) == []
    assert fork.receipts.get((RUN_ID, "k")) is not None  # but the fork knows what was answered
    real = entered(take(page, batch(close_long(key="dry"))))
    assert real.results == rehearsed.results
    assert [event.hash for event in real.recorded] != []
