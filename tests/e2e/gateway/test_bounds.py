"""Figures at the edge of what is stored, over HTTP: an account that is told no lives on, and so do its books."""

from typing import Any

import pytest

from persistence.reconcile import verify
from tests.e2e.gateway.door import Door
from tests.support.desk import Desk

pytestmark = pytest.mark.postgres

ACCOUNTS = "/api/v1/prop/accounts"
MOST_ASKED = "999999999999.99999999"
SMALLEST = "0.00000001"


async def acted(door: Door, account_id: str, name: str, **action: Any) -> dict[str, Any]:
    """The result of one action on dust."""
    sent = {"decisionActionId": name, "symbol": "DUST-USD", "side": "long", **action}
    heard = await door.post(f"{ACCOUNTS}/{account_id}/decision-actions", {"decisionRunId": "r", "actions": [sent]})
    assert heard.status == 200, heard.body
    result: dict[str, Any] = heard.json["results"][0]
    return result


async def test_more_than_a_table_holds_is_a_rejection(door: Door, engine: Desk, database_url: str):
    policy = {"maxLeverage": "1000", "maxNotional": MOST_ASKED}
    account_id = await door.opened(startingBalance=MOST_ASKED, policy=policy)
    await engine.observe("DUST-USD", SMALLEST)
    for name in ("first", "second"):
        result = await acted(door, account_id, name, action="open", notional=MOST_ASKED)
        assert (result["status"], result["code"]) == ("rejected", "notional_exceeds_maximum")
        assert result["failures"][0]["context"]["bound"] == "position_quantity"
    most = await acted(door, account_id, "most", action="open", quantity="999999999999.99999999")
    assert most["status"] == "executed"
    await engine.observe("DUST-USD", "99")
    assert (await acted(door, account_id, "sold", action="close"))["status"] == "executed"
    assert (await verify(database_url)).is_clean


async def test_a_wild_quote_closes_nothing_and_breaks_nothing(door: Door, engine: Desk, database_url: str):
    """A bad row of the feed, under the default policy: four trillion units for 40,000, then a price of a billion."""
    account_id = await door.opened()
    await engine.observe("DUST-USD", SMALLEST)
    assert (await acted(door, account_id, "in", action="open", notional="40000"))["status"] == "executed"
    await engine.observe("DUST-USD", "1000000000")
    refused = await acted(door, account_id, "out", action="close")
    assert (refused["code"], refused["failures"][0]["context"]["reason"]) == ("price_missing", "out_of_range")
    assert (await door.post(f"{ACCOUNTS}/{account_id}/complete")).refusal == (409, "price_missing")
    assert (await door.post(f"{ACCOUNTS}/{account_id}/mark-to-market")).json["outcome"] == "failed"
    await engine.observe("DUST-USD", "0.00000002")
    assert (await acted(door, account_id, "out-again", action="close"))["status"] == "executed"
    assert (await verify(database_url)).is_clean
