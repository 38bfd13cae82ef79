"""Messages: what an administrator asks and hears crosses a process border unchanged."""

from datetime import UTC, datetime

import msgspec

from actors.messages import Correct, Corrected, Deed, Recompute, Recomputed, Submit, packed, replies, requests
from engine.account import Account
from engine.commands import PauseAccount, VoidFill, VoidOrder
from engine.events import FillVoided
from engine.policy import MaxDailyLoss
from engine.views import account_view, balance_view, open_positions
from persistence.drift import Drift
from persistence.store import Append
from tests.support.authors import Author
from tests.support.ledger_page import decimal, given, open_long, opened, priced, void_fill

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
WHY = Deed("operator", "void_fill", "why")


def corrected() -> tuple[Account, FillVoided]:
    """An account with rules, so that every field of the event is there."""
    page = given(
        opened(max_daily_loss=MaxDailyLoss(amount=decimal(1_000))),
        open_long("BTC-USD", "0.2"),
        priced("BTC-USD", 51_000),
        open_long("BTC-USD", "0.1"),
    ).when(void_fill(1))
    (event,) = page.events
    assert isinstance(event, FillVoided)
    return page.account, event


def test_requests() -> None:
    sent = (
        Submit("a", PauseAccount("lunch"), "r", dry_run=True, deed=WHY),
        Correct("a", VoidFill("f", "why", cascade=True), "r", WHY),
        Correct("a", VoidOrder("o", "why"), "r", WHY, dry_run=True),
        Recompute("a", "r", WHY),
    )
    assert requests(packed(sent)) == sent


def test_replies() -> None:
    account, event = corrected()
    assert event.day is not None
    drift = Drift(account_id="a", table="t", key="k", field="f", ledger_value="1", stored_value=None)
    sent = (
        Corrected(event, account_view(account), balance_view(account), open_positions(account)),
        Corrected(None, account_view(account), balance_view(account), ()),
        Recomputed(7, 1, (drift,), repaired=True),
    )
    assert replies(packed(sent)) == sent


def test_appends_bring_their_amendment_and_audit_along() -> None:
    author = Author()
    author.start()
    first, _ = author.open(), author.open(price=60_000)
    author.reduce("0.005")
    append = author.correct(VoidFill(first.fills[0].id, "why"), author.audit("void_fill"))
    assert append.amendment.restated
    assert append.amendment.gone
    assert append.audit
    assert msgspec.msgpack.decode(msgspec.msgpack.encode([append]), type=tuple[Append, ...]) == (append,)
