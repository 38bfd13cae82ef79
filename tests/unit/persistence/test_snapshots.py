"""Snapshots as bytes: what goes in comes out, and what an account never had takes no room."""

from engine.money import ZERO
from persistence.snapshots import packed, unpacked
from tests.support.authors import Author


def test_a_snapshot_is_the_book_it_was_taken_of():
    author = Author()
    author.start()
    author.open(quantity="0.5")
    found = unpacked(packed(author.snapshot))
    assert found == author.snapshot


def test_zeros_that_nothing_ever_moved_are_one_zero_for_all_accounts():
    author = Author()
    author.start()
    author.open(quantity="0.5")
    found = unpacked(packed(author.snapshot))
    assert found is not None
    account = found.state.account
    assert account.curve is not None
    untouched = (account.adjustments, account.tally.gains, account.tally.losses)
    assert all(figure is ZERO for figure in (*untouched, account.curve.returns, account.curve.squares))
    assert account.policy.max_notional is author.opening.policy.max_notional
