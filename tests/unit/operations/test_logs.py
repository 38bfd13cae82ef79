"""Logs: events have stable names that `docs/logs.md` lists, lines are JSON off a terminal, and keep secrets."""

import io
import json
import re
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from actors.logs import configure
from persistence.store import StoreUnavailable
from tests.unit.gateway.fakes import READ, TRADE, FakeDoor, opened_door
from tests.unit.gateway.test_http import ACCOUNT, ACCOUNTS, OPEN
from tests.unit.operations.logged import ROOT, logged

ROW = re.compile(r"^\| `(\w+)` \| (\w+(?:, \w+)*) \| (.*?) \| .+ \|$", re.MULTILINE)
SECRETS = re.compile(
    "QUERYSECRET|HEADERSECRET|BODYSECRET|WRONGSECRET|COOKIESECRET|" + rf"(?<!name-of-)({READ}|{TRADE})"
)


def listed() -> dict[str, tuple[set[str], set[str]]]:
    """Levels and fields by event, as the page has them."""
    rows = ROW.findall((ROOT / "docs" / "logs.md").read_text())
    found = {event: (set(levels.split(", ")), set(re.findall(r"`(\w+)`", fields))) for event, levels, fields in rows}
    assert len(found) == len(rows), "an event is listed twice"
    return found


def test_the_page_of_logs_lists_every_event_with_its_levels_and_fields() -> None:
    made: dict[str, tuple[set[str], set[str]]] = {}
    for each in logged():
        assert each.event is not None, f"{each.place}: an event's name is plain text"
        levels, fields = made.setdefault(each.event, (set(), set()))
        levels.add(each.level)
        fields |= {field for field in each.fields if field is not None}
    made["request"][1].update(
        ("account_id", "seq", "epoch", "actions", "rejected", "clone_id", "race_id", "prop_action_id")
    )  # its notes
    assert made == listed()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """Standard error, as the program configures its logs."""
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    configure("debug", "auto")
    structlog.configure(cache_logger_on_first_use=False)
    yield stream
    structlog.reset_defaults()


def lines(told: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in told.getvalue().splitlines()]


async def test_a_batch_is_one_line_of_json_with_all_that_leads_to_it(told: io.StringIO) -> None:
    async with opened_door() as door:
        account_id = await door.opened()
        batch = {"decisionRunId": "r", "actions": [OPEN, {**OPEN, "decisionActionId": "a2", "symbol": "NONE"}]}
        path = f"{ACCOUNTS}/{account_id}/decision-actions"
        heard = await door.post(path, batch, headers={"X-Request-Id": "asked-1"})
        await door.post(path, {**batch, "decisionRunId": ""})
    created, _, line, refused = (each for each in lines(told) if each["event"] == "request")
    assert created["account_id"] == account_id == refused["account_id"] == line["account_id"]
    assert (line["request_id"], line["seq"], line["epoch"]) == ("asked-1", heard.json["accountSeq"], 0)
    assert (line["actions"], line["rejected"], line["code"]) == (2, {"price_missing": 1}, None)
    assert line["duration_ms"] > 0
    assert (refused["code"], refused["status"]) == ("invalid_request", 422)
    assert "ms" not in line


async def test_no_token_and_no_payload_is_ever_in_a_log(told: io.StringIO) -> None:
    async with opened_door() as door:
        account_id = await door.opened()
        for failure in (None, StoreUnavailable("away"), RuntimeError("a defect")):
            door.client.failure = failure
            await said_in_every_place(door, account_id)
    assert len(lines(told)) > 20
    assert SECRETS.search(told.getvalue()) is None


async def said_in_every_place(door: FakeDoor, account_id: str) -> None:
    for token in (READ, TRADE, "WRONGSECRET"):
        headers = {"X-Api-Key": "HEADERSECRET", "Cookie": "session=COOKIESECRET"}
        await door.get(f"{ACCOUNTS}?access_token=QUERYSECRET", token=token, headers=headers)
        await door.post(ACCOUNTS, {**ACCOUNT, "metadata": {"a": "BODYSECRET"}}, token=token)
        batch = {"decisionRunId": "BODYSECRET", "actions": [{**OPEN, "symbol": "BODYSECRET"}, {"action": "BODYSECRET"}]}
        await door.post(f"{ACCOUNTS}/{account_id}/decision-actions", batch, token=token)
        await door.send("POST", ACCOUNTS, token=token, data=b'{"a": BODYSECRET')
        await door.post(f"{ACCOUNTS}/{account_id}/liquidate", {"reason": "BODYSECRET"}, token=token)


@pytest.mark.parametrize(
    ("stream", "format_", "is_json"),
    [
        (io.StringIO(), "auto", True),
        (Terminal(), "auto", False),
        (Terminal(), "json", True),
        (io.StringIO(), "console", False),
    ],
)
def test_lines_are_json_off_a_terminal(
    monkeypatch: pytest.MonkeyPatch, stream: io.StringIO, format_: str, is_json: bool
) -> None:
    monkeypatch.setattr(sys, "stderr", stream)
    configure("info", format_)
    try:
        structlog.get_logger("fresh").info("event", seq=1)
    finally:
        structlog.reset_defaults()
    assert stream.getvalue().startswith("{") == is_json
