"""No invented price, through the real door: what is no usable quote never fills, marks or liquidates (G7)."""

import pytest

from tests.support.served import Answered, Served

pytestmark = [pytest.mark.ray, pytest.mark.postgres]

BAD = {
    "zero": ("0", "0", 0.0, "price_missing"),
    "negative": ("-5", "-5", 0.0, "price_missing"),
    "crossed": ("101", "99", 0.0, "price_missing"),
    "not-a-number": ("NaN", "NaN", 0.0, "price_missing"),
    "infinite": ("Infinity", "Infinity", 0.0, "price_missing"),
    "stale": ("100", "100", 200.0, "price_stale"),
    "future": ("100", "100", -30.0, "price_stale"),
}


def seen(engine: Served, symbol: str) -> bool:
    return any(each["symbol"] == symbol for each in engine.get(f"/api/v1/prop/prices?symbols={symbol}")["data"])


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_quote_is_no_price(engine: Served, kind: str) -> None:
    bid, ask, age_s, code = BAD[kind]
    symbol = f"BAD-{kind}"
    engine.observe(symbol, "100")
    account = engine.trading_account(kind)
    engine.act(account, "a1", symbol=symbol, quantity="400", leverage="5")
    if age_s > 0:  # the newest observation is the quote, so an old one replaces the good one only where that is gone
        engine.execute("delete from market_prices where symbol = %s", (symbol,))
    engine.observe(symbol, bid, ask, age_s=age_s, seen=False)
    before = engine.get(f"/api/v1/prop/accounts/{account}/snapshot")

    rejected = next_judged(engine, account, symbol, code)
    assert rejected["order"] is None
    marked = engine.post(f"/api/v1/prop/accounts/{account}/mark-to-market")
    assert marked["outcome"] == "failed"
    assert [failure["code"] for failure in marked["failures"]] == [code]
    with pytest.raises(Answered) as refused:
        engine.post(f"/api/v1/prop/accounts/{account}/liquidate", {"reason": "test"})
    assert (refused.value.status, refused.value.code) == (409, code)
    with pytest.raises(Answered) as refused:
        engine.post(f"/api/v1/prop/accounts/{account}/complete", {"settle": "close"})
    assert (refused.value.status, refused.value.code) == (409, code)
    after = engine.get(f"/api/v1/prop/accounts/{account}/snapshot")
    assert after["balance"] == before["balance"]
    assert after["valuation"] == "stale"
    assert after["account"]["status"] == "active"


def next_judged(engine: Served, account: str, symbol: str, code: str) -> dict[str, object]:
    """Propose until the engine has seen the new row; an earlier verdict is judged at the old, good price."""
    for attempt in range(100):
        answer = engine.act(account, f"probe-{attempt}", symbol=symbol, action="close", minPrice="999999999")
        result = dict(answer["results"][0])
        assert result["status"] == "rejected"
        if result["code"] == code:
            return result
    raise AssertionError(f"the engine never saw the bad quote of {symbol}")


def test_a_symbol_without_any_quote_is_missing(engine: Served) -> None:
    account = engine.trading_account("no-quote")
    result = engine.act(account, "a1", symbol="NOWHERE", quantity="1")["results"][0]
    assert (result["code"], result["failures"][0]["context"]["reason"]) == ("price_missing", "none")


def test_a_pass_in_which_one_account_fails_marks_all_the_others_and_says_so_in_its_ledger(engine: Served) -> None:
    for symbol in ("GOOD", "LOST"):
        engine.observe(symbol, "100")
    good = [engine.trading_account(f"good-{number}") for number in range(2)]
    for account in good:
        engine.act(account, "a1", symbol="GOOD", quantity="10")
    lost = engine.trading_account("lost")
    engine.act(lost, "a1", symbol="LOST", quantity="10")
    engine.execute("delete from market_prices where symbol = 'LOST'")
    engine.observe("GOOD", "110")
    for _ in range(2):
        report = engine.post("/api/v1/prop/mark-to-market-all")
        assert report["marked"] >= 2
        assert report["failed"] >= 1
    types = [event["type"] for event in engine.get(f"/api/v1/prop/accounts/{lost}/ledger")["data"]]
    assert types.count("mark_to_market_failed") == 1, "written when the state begins, not at every pass"
    for account in good:
        snapshot = engine.get(f"/api/v1/prop/accounts/{account}/snapshot")
        assert snapshot["positions"][0]["unrealizedPnl"] == "100.00000000"


def test_an_account_below_its_floor_is_liquidated_by_the_pass(engine: Served) -> None:
    engine.observe("FALL", "100")
    account = engine.trading_account("fall", policy={"maxDrawdown": "0.1"})
    engine.act(account, "a1", symbol="FALL", quantity="400")
    engine.observe("FALL", "70")
    assert engine.post("/api/v1/prop/mark-to-market-all")["liquidated"] == 1
    shown = engine.get(f"/api/v1/prop/accounts/{account}")
    assert (shown["status"], shown["endReason"]) == ("liquidated", "max_drawdown")
    types = [event["type"] for event in engine.get(f"/api/v1/prop/accounts/{account}/ledger")["data"]]
    assert types[-6:] == [
        "mark_to_market",
        "liquidation_triggered",
        "order_validated",
        "fill_booked",
        "position_closed",
        "account_liquidated",
    ]
    result = engine.act(account, "a2", symbol="FALL", quantity="1")["results"][0]
    assert result["code"] == "account_not_active"
