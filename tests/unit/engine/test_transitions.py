"""Every cell of the table of states: six states, seven verbs, and whether the account is marked."""

from collections.abc import Callable

import pytest

from engine.account import Account
from tests.support.ledger_page import (
    Expected,
    Opening,
    Page,
    Step,
    account_completed,
    account_liquidated,
    account_locked,
    account_paused,
    account_resumed,
    account_started,
    complete,
    given,
    later,
    liquidate,
    liquidation_triggered,
    lock,
    mark,
    mark_to_market,
    open_long,
    opened,
    pause,
    pending,
    resume,
    start,
)

STATES: dict[str, tuple[Opening, list[Step]]] = {
    "pending": (pending(), []),
    "active": (opened(), []),
    "paused": (opened(), [pause()]),
    "locked": (opened(), [lock()]),
    "completed": (opened(), [complete()]),
    "liquidated": (opened(), [liquidate()]),
}
VERBS: dict[str, Step] = {
    "start": start(),
    "pause": pause("for a reason"),
    "lock": lock("for a reason"),
    "resume": resume("for a reason"),
    "complete": complete(),
    "liquidate": liquidate("for a reason"),
}
GOALS = {"start": "active", "pause": "paused", "lock": "locked", "resume": "active"}
GOALS |= {"complete": "completed", "liquidate": "liquidated"}
# Rows and columns of the design: `same` writes nothing, `-` is refused.
TABLE = """
           start   pause   lock    resume  complete   liquidate
pending    active  -       -       -       -          -
active     same    paused  locked  same    completed  liquidated
paused     -       same    locked  active  completed  liquidated
locked     -       -       same    active  completed  liquidated
completed  -       -       -       -       -          -
liquidated -       -       -       -       -          -
"""
HEADER, *ROWS = [line.split() for line in TABLE.strip().splitlines()]
CELLS = [(row[0], verb, target) for row in ROWS for verb, target in zip(HEADER, row[1:], strict=True)]
EVENTS: dict[str, Callable[[], list[Expected]]] = {
    "start": lambda: [account_started()],
    "pause": lambda: [account_paused(reason="for a reason")],
    "lock": lambda: [account_locked(reason="for a reason")],
    "resume": lambda: [account_resumed(reason="for a reason")],
    "complete": lambda: [account_completed(settle="close", reason="completed")],
    "liquidate": lambda: [
        liquidation_triggered(trigger="requested", reason="for a reason", pass_id=None),
        account_liquidated(reason="for a reason"),
    ],
}


def in_state(status: str) -> Page:
    opening, past = STATES[status]
    page = given(opening, *past)
    assert page.account.status == status
    return page


def test_the_table_is_whole():
    assert len(CELLS) == 36


@pytest.mark.parametrize(("status", "verb", "target"), CELLS)
def test_cell(status, verb, target):
    page = in_state(status)
    before: Account = page.account
    page.when(later(1), VERBS[verb])
    if target == "same":
        assert page.refusal is None
        page.then()
        assert page.account is before
    elif target != "-":
        page.then(*EVENTS[verb]())
        assert page.account.status == target == GOALS[verb]
    elif status in ("completed", "liquidated"):
        page.refused("account_terminal", status=status)
        assert page.account is before
    else:
        page.refused("invalid_transition", **{"from": status, "to": GOALS[verb]})
        assert page.account is before


@pytest.mark.parametrize("status", STATES)
def test_only_an_active_account_takes_actions(status):
    page = in_state(status).when(open_long(quantity="0.1"))
    assert page.codes == ([] if status == "active" else ["account_not_active"])
    assert (page.account.positions == {}) is (status != "active")


@pytest.mark.parametrize(("status", "marked"), [("active", True), ("paused", True), ("locked", False)])
def test_active_and_paused_accounts_are_marked(status, marked):
    _, past = STATES[status]
    page = given(opened(), open_long(quantity="0.1"), *past).when(mark())
    if marked:
        page.outcome("marked").then(mark_to_market(pass_id="pass-1"))
    else:
        page.refused("account_not_active", status=status)


@pytest.mark.parametrize("status", ["pending", "completed", "liquidated"])
def test_pending_and_ended_accounts_are_not_marked(status):
    in_state(status).when(mark()).refused("account_not_active", status=status)


@pytest.mark.parametrize("ending", [complete(), complete("none"), liquidate()])
def test_nothing_comes_after_the_end_but_rejections(ending: Step):
    page = given(opened(), open_long(quantity="0.1"), ending)
    before = page.account
    for verb in VERBS.values():
        page.when(verb).refused("account_terminal")
    page.when(mark()).refused("account_not_active")
    page.when(open_long(quantity="0.1")).rejected("account_not_active")
    assert page.account.positions == before.positions
    page.balance(cash=before.cash, equity=before.equity, status=before.status)


def test_started_and_ended_at():
    page = given(pending(), later(1), start(), later(2), complete())
    account = page.account
    assert account.started_at is not None
    assert account.ended_at is not None
    assert (account.started_at - account.created_at).total_seconds() == 1
    assert (account.ended_at - account.started_at).total_seconds() == 2
    assert account.end_reason == "completed"


def test_resuming_does_not_start_again():
    page = given(opened(), later(1), pause(), resume())
    assert page.account.started_at == page.account.created_at
