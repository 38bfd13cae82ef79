"""Every gate at its edge: what just passes, what just fails, and the numbers it says it compared."""

import pytest

from engine.gates import GATES
from engine.rejections import GateCode
from tests.support.ledger_page import (
    Page,
    Step,
    act,
    action_rejected,
    ages,
    close_long,
    close_short,
    complete,
    decimal,
    fill_booked,
    given,
    later,
    liquidate,
    lock,
    mark,
    open_long,
    open_short,
    opened,
    order_validated,
    pause,
    pending,
    position_reduced,
    priced,
    reduce_long,
    reduce_short,
    resume,
    unpriced,
)

ROOMY = {"max_notional": 10**11, "max_leverage": 1000, "max_position_equity_ratio": 1000, "fee_bps": 0}
"""Limits so wide that only the gate under test can fail."""


def failing(page: Page, code: str) -> dict[str, str | int | None]:
    """The last action failed this gate alone: the numbers that it compared."""
    page.rejected(code, max_quantity=page.result.max_quantity)
    assert page.result.code == code
    return page.failures[code]


# ---------------------------------------------------------------- 1 unsupported_action


@pytest.mark.parametrize("word", ["hold", "cancel", "buy", "OPEN", ""])
def test_any_word_but_open_reduce_and_close_is_recorded_and_rejected(word):
    page = given(opened()).when(act(word, None, None))
    assert failing(page, "unsupported_action") == {"action": word, "supported": "open, reduce, close"}


# ---------------------------------------------------------------- 2 account_not_active


@pytest.mark.parametrize(
    ("past", "status"),
    [
        ([pause()], "paused"),
        ([lock()], "locked"),
        ([complete()], "completed"),
        ([liquidate()], "liquidated"),
    ],
)
def test_an_account_that_is_not_active_refuses_actions(past: list[Step], status):
    page = given(opened(), *past).when(open_long(quantity="0.1"))
    assert failing(page, "account_not_active") == {"status": status}


def test_a_pending_account_refuses_actions():
    page = given(pending()).when(open_long(quantity="0.1"))
    assert failing(page, "account_not_active") == {"status": "pending"}


def test_a_resumed_account_takes_actions():
    given(opened(), pause(), resume()).when(open_long(quantity="0.1")).executed()


# ---------------------------------------------------------------- 3 asset_not_allowed


@pytest.mark.parametrize("allowed", [None, ("BTC-USD",), ("ETH-USD", "BTC-USD")])
def test_a_listed_asset_may_be_traded(allowed):
    given(opened(allowed_assets=allowed)).when(open_long(quantity="0.1")).executed()


@pytest.mark.parametrize("allowed", [(), ("ETH-USD",), ("BTC-USDT",)])
def test_an_asset_that_the_policy_does_not_list_may_not(allowed):
    page = given(opened(allowed_assets=allowed)).when(open_long(quantity="0.1"))
    assert failing(page, "asset_not_allowed") == {"symbol": "BTC-USD"}


# ---------------------------------------------------------------- 4 direction_not_allowed


@pytest.mark.parametrize(("allowed", "told"), [(("short",), "short"), ((), "")])
def test_opening_a_side_that_the_policy_forbids(allowed, told):
    page = given(opened(allowed_directions=allowed)).when(open_long(quantity="0.1"))
    assert failing(page, "direction_not_allowed") == {"side": "long", "allowed": told}


def test_opening_a_side_that_the_policy_allows():
    given(opened(allowed_directions=("short",))).when(open_short(quantity="0.1")).executed()


def test_without_hedging_the_other_side_of_an_open_symbol_is_refused():
    page = given(opened(allow_hedging=False), open_long(quantity="0.1")).when(open_short(quantity="0.1"))
    assert failing(page, "direction_not_allowed") == {"side": "short", "open": "long", "allowHedging": "false"}
    page.when(open_long(quantity="0.1")).executed()
    page.when(open_short("ETH-USD", "0.1")).executed()
    page.when(close_long()).executed()
    page.when(open_short(quantity="0.1")).executed()


def test_the_way_out_has_no_direction():
    given(opened(allowed_directions=())).when(close_short()).rejected("position_not_found")
    page = given(opened(allow_hedging=False), open_long(quantity="0.1"))
    page.when(reduce_short(quantity="0.1")).rejected("position_not_found")
    page.when(reduce_long(quantity="0.1")).executed()


def test_with_hedging_a_symbol_has_two_positions():
    page = given(opened(), open_long(quantity="0.1")).when(open_short(quantity="0.2")).executed()
    assert set(page.account.positions) == {("BTC-USD", "long"), ("BTC-USD", "short")}


# ---------------------------------------------------------------- 5 position_not_found


@pytest.mark.parametrize("asked", [reduce_short(quantity="0.1"), close_short(), reduce_short("ETH-USD", "1")])
def test_nothing_is_reduced_or_closed_where_nothing_is_open(asked):
    """Never from flat into the opposite side, and never across it."""
    page = given(opened(), open_long(quantity="0.1")).when(asked)
    assert failing(page, "position_not_found") == {"symbol": asked.action.symbol, "side": "short"}


def test_what_was_closed_is_not_open():
    page = given(opened(), open_long(quantity="0.1"), close_long()).when(close_long())
    assert page.rejected("position_not_found").account.positions == {}


# ---------------------------------------------------------------- 6 price_missing


@pytest.mark.parametrize(
    ("market", "reason"),
    [
        (unpriced("BTC-USD"), "none"),
        (priced("BTC-USD", 0), "non_positive"),
        (priced("BTC-USD", 50_000, bid=0), "non_positive"),
        (priced("BTC-USD", 50_000, ask="-0.00000001"), "non_positive"),
        (priced("BTC-USD", -1, bid=1, ask=2), "non_positive"),
        (priced("BTC-USD", 50_000, bid="50000.00000001", ask=50_000), "crossed"),
        (priced("BTC-USD", 50_000, bid=50_001, ask=50_002), "crossed"),
        (priced("BTC-USD", 50_000, bid=49_998, ask=49_999), "crossed"),
        (priced("BTC-USD", "NaN", bid=1, ask=2), "not_a_number"),
        (priced("BTC-USD", 50_000, ask="NaN"), "not_a_number"),
        (priced("BTC-USD", 0, bid="NaN", ask="NaN"), "not_a_number"),
    ],
)
def test_no_action_is_judged_at_a_price_that_is_none(market: Step, reason):
    page = given(opened(), market).when(open_long(quantity="0.1"))
    assert failing(page, "price_missing") == {"symbol": "BTC-USD", "reason": reason}
    assert page.account.positions == {}


@pytest.mark.parametrize(("bid", "ask"), [(50_000, 50_000), ("0.00000001", "99999999")])
def test_a_locked_or_wide_market_is_a_price(bid, ask):
    given(opened(), priced("BTC-USD", 50_000, bid=bid, ask=ask)).when(open_long(quantity="0.1")).executed()


# ---------------------------------------------------------------- 7 price_stale


@pytest.mark.parametrize("age_ms", [-5_000, -1, 0, 59_999, 60_000])
def test_a_quote_of_the_last_minute_is_fresh(age_ms):
    page = given(opened(), priced("BTC-USD", 50_000, age_ms=age_ms)).when(open_long(quantity="0.1"))
    page.executed()
    assert isinstance(page.events[0], order_validated().kind)
    assert page.events[0].quote_age_ms == age_ms  # type: ignore[attr-defined]


@pytest.mark.parametrize("age_ms", [-5_001, 60_001, 10**9])
def test_an_older_quote_or_one_from_the_future_is_not(age_ms):
    page = given(opened(), priced("BTC-USD", 50_000, age_ms=age_ms)).when(open_long(quantity="0.1"))
    numbers = {"symbol": "BTC-USD", "ageMs": age_ms, "ageMsMax": 60_000, "futureMsMax": 5_000}
    assert failing(page, "price_stale") == numbers


@pytest.mark.parametrize(("age_ms", "fresh"), [(250, True), (251, False)])
def test_the_policy_says_how_old_a_price_may_be(age_ms, fresh):
    page = given(opened(quote_max_age_ms=ages(trade=250)), priced("BTC-USD", 50_000, age_ms=age_ms))
    page.when(open_long(quantity="0.1"))
    assert page.codes == ([] if fresh else ["price_stale"])


# ---------------------------------------------------------------- 8 price_protection


@pytest.mark.parametrize("bound", ["50025.00000001", "50025"])
def test_a_fill_at_or_inside_the_bound_passes(bound):
    page = given(opened(slippage_model="fixed_bps", slippage_bps=5)).when(open_long(quantity="0.1", max_price=bound))
    page.executed()
    assert page.result.fill is not None
    assert page.result.fill.price == 50_025


def test_the_fill_price_is_bounded_and_not_the_mid():
    page = given(opened(slippage_model="fixed_bps", slippage_bps=5))
    page.when(open_long(quantity="0.1", max_price="50024.99999999"))
    assert failing(page, "price_protection") == {"price": "50025.00000000", "maxPrice": "50024.99999999"}


@pytest.mark.parametrize(("bound", "passes"), [("49974.99999999", True), ("49975", True), ("49975.00000001", False)])
def test_the_lower_bound_holds_for_sellers_and_buyers_alike(bound, passes):
    page = given(opened(slippage_model="fixed_bps", slippage_bps=5)).when(open_short(quantity="0.1", min_price=bound))
    assert page.codes == ([] if passes else ["price_protection"])
    if not passes:
        assert page.failures["price_protection"] == {"price": "49975.00000000", "minPrice": "49975.00000001"}


@pytest.mark.parametrize("asked", [close_long(min_price="50000.00000001"), reduce_long(quantity="0.1", max_price=1)])
def test_the_way_out_is_protected_too(asked):
    given(opened(), open_long(quantity="0.1")).when(asked).rejected("price_protection")


# ---------------------------------------------------------------- 9 quantity_below_minimum


@pytest.mark.parametrize(("notional", "quantity"), [("0.0005", "0.00000001"), ("0.00099999", "0.00000001")])
def test_the_smallest_quantity_is_one_unit_of_the_eighth_decimal(notional, quantity):
    page = given(opened()).when(open_long(notional=notional)).executed()
    assert page.position().quantity == decimal(quantity)


@pytest.mark.parametrize(
    "asked",
    [
        open_long(notional="0.00049999"),
        open_long(quantity="0"),
        open_long(quantity="-0.00000001"),
        open_long(),
    ],
)
def test_an_opening_size_that_rounds_down_to_nothing(asked):
    page = given(opened()).when(asked)
    quantity = asked.action.quantity or decimal(0)
    numbers = {"quantity": f"{quantity:f}", "minimum": "0.00000001"}
    assert failing(page, "quantity_below_minimum") == numbers


def test_a_negative_notional_is_no_size():
    page = given(opened()).when(open_long(notional="-1"))
    assert failing(page, "quantity_below_minimum")["quantity"] == "-0.00002000"


@pytest.mark.parametrize(("fraction", "passes"), [("0.33333334", True), ("0.33333333", False), ("0", False)])
def test_a_fraction_that_rounds_down_to_nothing(fraction, passes):
    page = given(opened(), open_long(quantity="0.00000003")).when(reduce_long(fraction=fraction))
    assert page.codes == ([] if passes else ["quantity_below_minimum"])
    assert page.position().quantity == decimal("0.00000002" if passes else "0.00000003")


# ---------------------------------------------------------------- 10 quantity_exceeds_position


@pytest.mark.parametrize(("quantity", "left"), [("0.49999999", "0.00000001"), ("0.5", None)])
def test_up_to_the_whole_position_can_be_taken_off(quantity, left):
    page = given(opened(), open_long(quantity="0.5")).when(reduce_long(quantity=quantity)).executed()
    assert [each.quantity for each in page.account.positions.values()] == ([decimal(left)] if left else [])


@pytest.mark.parametrize("quantity", ["0.50000001", "1", "999999999999.99999999"])
def test_more_than_is_open_never_flips_the_position(quantity):
    page = given(opened(), open_long(quantity="0.5")).when(reduce_long(quantity=quantity))
    numbers = {"quantity": f"{decimal(quantity):f}", "open": "0.50000000"}
    assert failing(page, "quantity_exceeds_position") == numbers
    assert page.position().quantity == decimal("0.5")


def test_a_fraction_above_one_is_more_than_is_open():
    page = given(opened(), open_long(quantity="0.5"))
    page.when(reduce_long(fraction="1.00000002")).rejected("quantity_exceeds_position")


# ---------------------------------------------------------------- 11 notional_exceeds_maximum


@pytest.mark.parametrize("quantity", ["0.99999999", "1"])
def test_an_order_up_to_the_maximum_notional(quantity):
    given(opened()).when(open_long(quantity=quantity)).executed()


def test_an_order_above_the_maximum_notional():
    page = given(opened()).when(open_long(quantity="1.00000001"))
    assert failing(page, "notional_exceeds_maximum") == {"notional": "50000.00050000", "limit": "50000.00000000"}
    page.rejected("notional_exceeds_maximum", max_quantity="1")


def test_the_notional_is_that_of_the_fill_price():
    page = given(opened(slippage_model="fixed_bps", slippage_bps=5)).when(open_long(quantity="1"))
    assert failing(page, "notional_exceeds_maximum")["notional"] == "50025.00000000"


def test_the_notional_limit_is_per_order():
    given(opened(), open_long(quantity="1")).when(open_long(quantity="1")).executed()


# ---------------------------------------------------------------- 12 leverage_exceeds_maximum


@pytest.mark.parametrize("leverage", [None, "1", "1.00000001", "4.99999999", "5"])
def test_leverage_between_one_and_the_maximum(leverage):
    page = given(opened()).when(open_long(quantity="0.1", leverage=leverage)).executed()
    assert page.position().leverage == decimal(leverage or 5)


@pytest.mark.parametrize("leverage", ["5.00000001", "0.99999999", "0", "-1", "999999999999"])
def test_leverage_outside_is_refused_and_never_lowered(leverage):
    page = given(opened()).when(open_long(quantity="0.1", leverage=leverage))
    numbers = {"leverage": f"{decimal(leverage):f}", "minimum": 1, "limit": "5.00000000"}
    assert failing(page, "leverage_exceeds_maximum") == numbers


# ---------------------------------------------------------------- 13 aggregate_leverage_exceeded


def test_all_notionals_together_up_to_the_leveraged_equity():
    limits = {**ROOMY, "max_leverage": 5}
    page = given(opened(100_000, **limits), open_long("ETH-USD", 125))  # 250,000 of 500,000
    page.when(open_short(quantity="4.99999999")).executed()
    page.when(open_long(quantity="0.00000001")).executed()
    page.when(open_long("SOL-USD", quantity="0.00000001")).rejected(
        "aggregate_leverage_exceeded", "insufficient_margin"
    )
    assert page.failures["aggregate_leverage_exceeded"] == {
        "notional": "0.00000100",
        "openNotional": "500000.00000000",
        "equity": "100000.00000000",
        "maxLeverage": "5.00000000",
        "limit": "500000.00000000",
    }


def test_aggregate_leverage_is_judged_at_current_quotes():
    limits = {**ROOMY, "max_leverage": 2}
    page = given(opened(100_000, **limits), open_short(quantity="1"), priced("BTC-USD", 100_000), priced("SOL-USD", 1))
    page.when(open_long("SOL-USD", quantity="0.00000001"))  # equity 50,000, open 100,000
    assert page.failures["aggregate_leverage_exceeded"]["openNotional"] == "100000.00000000"
    assert page.failures["aggregate_leverage_exceeded"]["equity"] == "50000.00000000"
    page.when(priced("BTC-USD", "99999.99999999"), open_long("SOL-USD", quantity="0.00000001")).executed()


def test_a_position_without_a_fresh_quote_counts_at_its_last_mark():
    limits = {**ROOMY, "max_leverage": 1}
    page = given(opened(100_000, **limits), open_long(quantity="1"), priced("BTC-USD", 60_000), mark())
    page.when(priced("BTC-USD", 90_000, age_ms=60_001), open_long("SOL-USD", quantity="500.00000001"))
    numbers = page.failures["aggregate_leverage_exceeded"]
    assert (numbers["openNotional"], numbers["equity"]) == ("60000.00000000", "110000.00000000")
    page.when(open_long("SOL-USD", quantity="500")).executed()


@pytest.mark.parametrize(("price", "equity"), [("80", "0.00000000"), ("79.99999999", "-0.00000050")])
def test_without_equity_nothing_is_opened(price, equity):
    page = given(opened(1_000, fee_bps=0), open_long("SOL-USD", 50), priced("SOL-USD", price))
    page.when(open_long("BTC-USD", quantity="0.00000001"))
    page.rejected("aggregate_leverage_exceeded", "position_equity_exceeded", "insufficient_margin")
    assert page.failures["aggregate_leverage_exceeded"]["equity"] == equity


def test_with_an_equity_of_nothing_not_even_dust_is_opened():
    page = given(opened(1_000, fee_bps=0), open_long("SOL-USD", 50), priced("SOL-USD", 80), close_long("SOL-USD"))
    page.balance(equity=0)
    page.when(priced("SOL-USD", "0.4"), open_long("SOL-USD", "0.00000001"))
    page.rejected("aggregate_leverage_exceeded", max_quantity=None)
    assert page.failures["aggregate_leverage_exceeded"]["notional"] == "0.00000000"


# ---------------------------------------------------------------- 14 position_equity_exceeded


def test_one_position_up_to_its_share_of_equity():
    limits = {**ROOMY, "max_position_equity_ratio": "0.5"}
    page = given(opened(100_000, **limits), open_long(quantity="0.5"))
    page.when(open_long(quantity="0.50000001"))
    assert failing(page, "position_equity_exceeded") == {
        "positionNotional": "50000.00050000",
        "equity": "100000.00000000",
        "ratio": "0.50000000",
        "limit": "50000.00000000",
    }
    page.rejected("position_equity_exceeded", max_quantity="0.5")
    page.when(open_short(quantity="1")).executed()  # another position, with a share of its own
    page.when(open_long(quantity="0.5")).executed()


def test_what_is_held_counts_at_the_current_quote():
    limits = {**ROOMY, "max_position_equity_ratio": 1}
    page = given(opened(100_000, **limits), open_long(quantity="1"), priced("BTC-USD", 100_000))
    page.when(open_long(quantity="0.50000001"))  # held 100,000 of 150,000
    assert failing(page, "position_equity_exceeded")["positionNotional"] == "150000.00100000"
    page.when(open_long(quantity="0.5")).executed()


def test_the_share_is_the_maximum_leverage_unless_set():
    page = given(opened(10_000, fee_bps=0)).when(open_long(quantity="1")).executed()
    page.when(open_long(quantity="0.00000001"))
    assert page.failures["position_equity_exceeded"]["ratio"] == "5.00000000"


# ---------------------------------------------------------------- 15 insufficient_margin


def test_margin_and_fee_fit_into_the_free_margin():
    page = given(opened(1_000)).when(open_long("SOL-USD", "9.99001", leverage=1))
    assert failing(page, "insufficient_margin") == {
        "needed": "1000.00000100",
        "fee": "0.99900100",
        "freeMargin": "1000.00000000",
    }
    page.rejected("insufficient_margin", max_quantity="9.99000999")
    page.when(open_long("SOL-USD", "9.99000999", leverage=1)).executed()


def test_the_margin_of_open_positions_is_not_free():
    page = given(opened(1_000, fee_bps=0), open_long("SOL-USD", 5, leverage=1)).when(
        open_long("SOL-USD", 10, leverage=2)
    )
    page.executed()
    page.when(close_long("SOL-USD"), open_long("SOL-USD", 5, leverage=1)).executed()
    page.when(open_long("ETH-USD", "0.50000001", leverage=2))
    assert failing(page, "insufficient_margin") == {
        "needed": "500.00001000",
        "fee": "0.00000000",
        "freeMargin": "500.00000000",
    }


# ---------------------------------------------------------------- 16 max_open_positions_exceeded


@pytest.mark.parametrize("limit", [0, 1, 2])
def test_a_new_position_past_the_limit(limit):
    asked = [open_long("ETH-USD", 1), open_long("SOL-USD", 1)][:limit]
    page = given(opened(max_open_positions=limit), *asked).when(open_long(quantity="0.1"))
    assert failing(page, "max_open_positions_exceeded") == {"open": limit, "limit": limit}


def test_at_the_limit_a_position_may_grow_and_a_closed_one_leaves_room():
    page = given(opened(max_open_positions=1)).when(open_long(quantity="0.1")).executed()
    page.when(open_long(quantity="0.1")).executed()
    page.when(open_short(quantity="0.1")).rejected("max_open_positions_exceeded")  # the other side is another position
    page.when(close_long(), open_short(quantity="0.1")).executed()


# ---------------------------------------------------------------- 17 max_open_orders_exceeded


def test_orders_fill_at_once_so_only_a_limit_of_none_refuses_them():
    page = given(opened(max_open_orders=0)).when(open_long(quantity="0.1"))
    assert failing(page, "max_open_orders_exceeded") == {"open": 0, "limit": 0}
    page = given(opened(max_open_orders=1)).when(open_long(quantity="0.1"), open_long(quantity="0.1")).executed()


# ---------------------------------------------------------------- the order, and which are judged


def test_the_order_of_the_gates_is_that_of_their_codes():
    assert [GateCode.UNSUPPORTED_ACTION, *(code for code, _, _ in GATES)] == list(GateCode)


def test_after_an_unsupported_action_no_gate_is_judged():
    page = given(opened(allowed_assets=()), pause(), unpriced("BTC-USD")).when(act("hold", "BTC-USD", "long"))
    page.rejected("unsupported_action")


def test_all_that_can_be_judged_of_an_opening():
    limits = {
        "allowed_assets": (),
        "allowed_directions": (),
        "max_notional": 10,
        "max_leverage": 1,
        "max_position_equity_ratio": 1,
        "max_open_positions": 0,
        "max_open_orders": 0,
    }
    page = given(opened(100, **limits), pause()).when(open_long(quantity=1, leverage=2, max_price=1))
    page.rejected(
        "account_not_active",
        "asset_not_allowed",
        "direction_not_allowed",
        "price_protection",
        "notional_exceeds_maximum",
        "leverage_exceeds_maximum",
        "aggregate_leverage_exceeded",
        "position_equity_exceeded",
        "insufficient_margin",
        "max_open_positions_exceeded",
        "max_open_orders_exceeded",
    )


@pytest.mark.parametrize(
    ("market", "code"), [(unpriced("BTC-USD"), "price_missing"), (priced("BTC-USD", 1, age_ms=60_001), "price_stale")]
)
def test_without_a_price_nothing_that_needs_one_is_judged(market: Step, code):
    page = given(opened(max_open_positions=0, max_open_orders=0, allowed_assets=()), market)
    page.when(open_long(quantity=0, leverage=99, max_price=1)).rejected("asset_not_allowed", code)
    page.when(reduce_short(quantity=5, max_price=1)).rejected("asset_not_allowed", "position_not_found", code)


def test_without_a_position_its_size_is_not_judged():
    page = given(opened()).when(reduce_long(quantity=0, max_price=1))
    page.rejected("position_not_found", "price_protection")


def test_without_a_size_no_limit_is_judged():
    page = given(opened(max_open_positions=0, max_open_orders=0)).when(open_long(quantity=0, leverage=99, max_price=1))
    page.rejected("price_protection", "quantity_below_minimum")


def test_the_way_out_passes_no_exposure_gate():
    """Leverage asked, open orders, equity below zero: none of it keeps an account from closing."""
    page = given(opened(1_000, fee_bps=0, max_open_orders=1), open_long("SOL-USD", 50), priced("SOL-USD", 1))
    page.when(reduce_long("SOL-USD", 10, leverage=99)).executed()
    page.then(order_validated(leverage=5), fill_booked(), position_reduced())
    assert page.position("SOL-USD").leverage == 5
    page.when(close_long("SOL-USD", leverage=0)).executed()
    page.balance(cash="-3950")


def test_the_first_failing_gate_is_the_code():
    page = (
        given(opened())
        .when(open_long(quantity=2, leverage=99))
        .then(
            action_rejected(
                code="notional_exceeds_maximum",
                failures=[{"code": "notional_exceeds_maximum"}, {"code": "leverage_exceeds_maximum"}],
                max_quantity=None,
            )
        )
    )
    assert page.result.status == "rejected"


def test_a_rejection_changes_nothing_but_the_count():
    page = given(opened(), open_long(quantity="0.1"), later(1))
    before = page.account
    page.when(open_long(quantity=99)).rejected(
        "notional_exceeds_maximum",
        "aggregate_leverage_exceeded",
        "position_equity_exceeded",
        "insufficient_margin",
        max_quantity=1,
    )
    assert page.account.positions == before.positions
    page.balance(cash=before.cash, high_watermark=before.high_watermark)
    assert page.account.counters.rejected == 1
