"""Whatever is accepted, at whatever prices: NUMERIC(28, 8) holds every figure, and no invariant breaks."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import msgspec
from hypothesis import given as over
from hypothesis import strategies as st

from engine.money import STORED_MAGNITUDE
from engine.policy import LONG, SHORT, Side
from engine.quotes import Quote
from engine.views import balance_view
from tests.support.ledger_page import NOW, Page, Priced, Step, act, complete, given, liquidate, mark, opened

SYMBOLS = ("AAA-USD", "BBB-USD")
SMALL = ("0.00000001", "0.00000002", "0.0001")
EXTREMES = (*SMALL, "1", "25", "50000", "99999999", "999999999999.99999999")
KEYS = st.tuples(st.sampled_from(SYMBOLS), st.sampled_from([LONG, SHORT]))
POLICIES = st.fixed_dictionaries(
    {
        "max_leverage": st.sampled_from([1, 1_000]),
        "max_notional": st.sampled_from([50_000, "999999999999.99999999", "999999999999.99999999"]),
        "max_position_equity_ratio": st.sampled_from([None, "999999999999"]),
        "fee_bps": st.sampled_from([0, 10, 10_000]),
        "slippage_model": st.sampled_from(["mid_price", "fixed_bps", "spread"]),
        "slippage_bps": st.sampled_from([0, 4_000]),
        "max_drawdown": st.just(1),
    }
)
BALANCES = st.sampled_from(["0.00000001", "100000", "999999999999.99999999", "999999999999.99999999"])


class Most(msgspec.Struct, frozen=True):
    """Open as much as is let through."""

    symbol: str
    side: Side


def quoted(symbol: str, prices: list[str]) -> Priced:
    bid, mid, ask = sorted(map(Decimal, prices))
    return Priced(symbol, Quote(symbol, bid, ask, mid, "feed", NOW), 0)


QUOTES = st.builds(
    quoted,
    st.sampled_from(SYMBOLS),
    st.lists(st.sampled_from(EXTREMES), min_size=3, max_size=3)
    | st.sampled_from(EXTREMES).map(lambda price: [price] * 3),
)
OPENINGS = st.builds(
    lambda key, size, figure: act("open", *key, **{size: figure}),
    KEYS,
    st.sampled_from(["quantity", "notional"]),
    st.sampled_from(EXTREMES),
)
PARTS = st.builds(
    lambda key, part: act("reduce", *key, fraction=part), KEYS, st.sampled_from(["0.5", "0.99999999", "0.00000001"])
)
CLOSINGS = st.builds(lambda key: act("close", *key), KEYS)
STEPS = st.lists(
    st.one_of(QUOTES, st.builds(lambda key: Most(*key), KEYS), OPENINGS, PARTS, CLOSINGS, st.just(mark())),
    min_size=5,
    max_size=25,
)


@over(
    balance=BALANCES,
    policy=POLICIES,
    small=st.sampled_from(SMALL),
    steps=STEPS,
    end=st.sampled_from([liquidate(), complete()]),
)
def test_no_sequence_of_accepted_actions_overflows_what_is_stored(
    balance: str, policy: dict[str, Any], small: str, steps: list[Step | Most], end: Step
) -> None:
    page = given(opened(balance, **policy), *(quoted(symbol, [small] * 3) for symbol in SYMBOLS))
    for step in (*steps, end):
        if page.account.is_terminal:
            break
        if isinstance(step, Most):
            _opens_most(page, step)
        else:
            page.when(step)
        _is_storable(page)
    page.replays()


def _opens_most(page: Page, step: Most) -> None:
    page.when(act("open", step.symbol, step.side, quantity="999999999999"))
    most = page.result.max_quantity
    if most is not None:
        page.when(act("open", step.symbol, step.side, quantity=most)).executed()


def _is_storable(page: Page) -> None:
    account = page.account
    fills = page.entry.changes.fills if page.entry is not None else ()
    for figure in _figures(balance_view(account), account.tally, *account.positions.values(), *fills):
        assert abs(figure) < STORED_MAGNITUDE, (figure, account)
        assert figure == round(figure, 8)


def _figures(*structs: msgspec.Struct) -> Iterator[Decimal]:
    for struct in structs:
        yield from (each for each in msgspec.structs.asdict(struct).values() if isinstance(each, Decimal))
