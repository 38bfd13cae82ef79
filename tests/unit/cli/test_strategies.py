"""The demo's strategies: what each wants, given prices and an account."""

from collections.abc import Sequence
from decimal import Decimal

from gateway.demo.strategies import (
    BuyAndHold,
    DipBuyer,
    MeanReversion,
    Momentum,
    Overreacher,
    ShortSeller,
    Sight,
    all_strategies,
)
from gateway.demo.trader import fill_text, plain, rejection_text
from prop.models import ActionResult, Fill
from tests.support.replies import example


def sight(
    closes: dict[str, Sequence[int]],
    held: dict[tuple[str, str], int] | None = None,
    capacity: dict[tuple[str, str], int] | None = None,
) -> Sight:
    return Sight(
        closes={symbol: [Decimal(close) for close in seen] for symbol, seen in closes.items()},
        held={key: Decimal(quantity) for key, quantity in (held or {}).items()},
        capacity={key: Decimal(quantity) for key, quantity in (capacity or {}).items()},
        equity=Decimal(100_000),
    )


def test_without_prices_nobody_does_anything():
    for strategy in all_strategies():
        assert strategy.decide(sight({})) == []


def test_names_are_distinct_and_fit_an_id():
    names = [strategy.name for strategy in all_strategies()]
    assert len(set(names)) == len(names) == 6
    assert all(name.replace("-", "").isalpha() for name in names)


def test_buy_and_hold_buys_once():
    bought = BuyAndHold().decide(sight({"IBM": [100], "AAPL": [50]}))
    assert bought == [{"action": "open", "symbol": "IBM", "side": "long", "quantity": "350", "leverage": "2"}]
    assert BuyAndHold().decide(sight({"IBM": [100]}, {("IBM", "long"): 350})) == []


def test_momentum_buys_a_rise_and_sells_a_fall():
    assert Momentum().decide(sight({"IBM": [100, 100, 100, 100]})) == []
    bought = Momentum().decide(sight({"IBM": [100, 100, 100, 100, 110]}))
    assert bought == [{"action": "open", "symbol": "IBM", "side": "long", "quantity": "227"}]
    sold = Momentum().decide(sight({"IBM": [100, 100, 100, 100, 90]}, {("IBM", "long"): 227}))
    assert sold == [{"action": "close", "symbol": "IBM", "side": "long"}]


def test_mean_reversion_buys_a_fall_and_sells_in_two_parts():
    closes = [100] * 7
    bought = MeanReversion().decide(sight({"IBM": [*closes, 80]}))
    assert bought == [{"action": "open", "symbol": "IBM", "side": "long", "quantity": "250", "leverage": "3"}]
    half = MeanReversion().decide(sight({"IBM": [*closes, 101]}, {("IBM", "long"): 250}))
    assert half == [{"action": "reduce", "symbol": "IBM", "side": "long", "fraction": "0.5"}]
    assert MeanReversion().decide(sight({"IBM": [*closes, 101]}, {("IBM", "long"): 100})) == []
    rest = MeanReversion().decide(sight({"IBM": [*closes, 110]}, {("IBM", "long"): 100}))
    assert rest == [{"action": "close", "symbol": "IBM", "side": "long"}]


def test_the_short_seller_sells_what_falls():
    sold = ShortSeller().decide(sight({"IBM": [100, 100, 100, 100, 100, 80]}))
    assert sold == [{"action": "open", "symbol": "IBM", "side": "short", "quantity": "250"}]
    back = ShortSeller().decide(sight({"IBM": [100, 100, 100, 100, 100, 120]}, {("IBM", "short"): 250}))
    assert back == [{"action": "close", "symbol": "IBM", "side": "short"}]


def test_the_overreacher_asks_for_too_much_then_for_what_fits():
    overreacher = Overreacher()
    (asked,) = overreacher.decide(sight({"IBM": [100]}))
    assert asked == {"action": "open", "symbol": "IBM", "side": "long", "quantity": "620"}
    fitting = overreacher.second_try(asked, Decimal("500.5"))
    assert fitting is not None
    assert fitting["quantity"] == "495"
    assert overreacher.second_try(asked, Decimal("0.5")) is None


def test_the_dip_buyer_takes_all_the_room_there_is_at_every_dip():
    room = {("MSFT", "long"): 1_000}
    (first,) = DipBuyer().decide(sight({"MSFT": [90]}, capacity=room))
    assert (first["quantity"], first["leverage"]) == ("990", "5")
    held = {("MSFT", "long"): 990}
    assert DipBuyer().decide(sight({"MSFT": [90, 91]}, held, room)) == []
    assert DipBuyer().decide(sight({"MSFT": [91, 90]}, held, room)) != []
    assert DipBuyer().decide(sight({"MSFT": [91, 90]}, held, {("MSFT", "long"): 10})) == []


def test_fills_and_rejections_as_text():
    fill = example(Fill, "FillView", quantity="0.50000000", symbol="AAPL", price="130.31000000")
    assert fill_text(fill) == "long 0.5 AAPL @ 130.31"
    closed = fill.model_copy(update={"intent": "close", "realized_pnl": Decimal("-3.25000000")})
    assert fill_text(closed) == "close long 0.5 AAPL @ 130.31 pnl -3.25"
    context = {"notional": "62000.00000000", "limit": "50000.00000000"}
    failures = [{"code": "notional_exceeds_maximum", "context": context}]
    refused = example(ActionResult, "ActionResult", code="notional_exceeds_maximum", failures=failures)
    assert rejection_text(refused) == "notional_exceeds_maximum 62000 > 50000"
    together = {"notional": "6000.00000000", "openNotional": "495000.00000000", "limit": "500000.00000000"}
    failures = [{"code": "aggregate_leverage_exceeded", "context": together}]
    too_much = example(ActionResult, "ActionResult", code="aggregate_leverage_exceeded", failures=failures)
    assert rejection_text(too_much) == "aggregate_leverage_exceeded 501000 > 500000"
    failures = [{"code": "price_missing", "context": {"symbol": "DOGE"}}]
    missing = example(ActionResult, "ActionResult", code="price_missing", failures=failures)
    assert rejection_text(missing) == "price_missing symbol=DOGE"


def test_a_number_loses_its_zeros_and_no_other_text_changes():
    assert [plain(text) for text in ("100.00000000", "0.50000000", "-1.10", "100", "a.b", 5, Decimal("0E-8"))] == [
        "100",
        "0.5",
        "-1.1",
        "100",
        "a.b",
        "5",
        "0",
    ]
