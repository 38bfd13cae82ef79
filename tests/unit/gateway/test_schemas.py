"""Requests: every kind of bad input, and the pointer and code that name it."""

from decimal import Decimal
from typing import Any

import pytest

from engine.commands import CreateAccount
from engine.policy import Policy
from gateway import mapping
from gateway.json_body import parse_object
from gateway.problems import FAULTS_MAX, InvalidRequest, Problem
from gateway.schemas import CreateAccountIn, DecisionActionsIn, LedgerQuery, PageQuery, ReasonIn
from gateway.validation import Wire, validated

OPEN = {"decisionActionId": "a1", "action": "open", "symbol": "BTC-USD", "side": "long", "quantity": "0.5"}
REDUCE = {"decisionActionId": "a1", "action": "reduce", "symbol": "BTC-USD", "side": "long", "fraction": "0.5"}
CLOSE = {"decisionActionId": "a1", "action": "close", "symbol": "BTC-USD", "side": "long"}
HOLD = {"decisionActionId": "a1", "action": "hold"}
ACCOUNT = {"ownerId": "user-7", "cloneId": "clone-9"}
ABSENT: Any = object()


def changed(base: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {name: value for name, value in {**base, **fields}.items() if value is not ABSENT}


def faults(model: type[Wire], text: str | bytes) -> dict[str, str]:
    """Pointer and code of each fault that JSON of this text has."""
    data = text.encode() if isinstance(text, str) else text
    try:
        validated(model, parse_object(data, depth_max=16))
    except InvalidRequest as problem:
        return {fault.pointer: fault.code for fault in problem.faults}
    return {}


def json(value: Any) -> str:
    import json

    return json.dumps(value)


def action_faults(action: Any) -> dict[str, str]:
    found = faults(DecisionActionsIn, json({"decisionRunId": "r", "actions": [action]}))
    return {pointer.removeprefix("/actions/0"): code for pointer, code in found.items()}


@pytest.mark.parametrize(
    "action",
    [
        OPEN,
        changed(OPEN, quantity=ABSENT, notional=1000),
        changed(OPEN, quantity=1, leverage="3", maxPrice="50000.25", minPrice=1, rationale="so", confidence=1),
        changed(OPEN, leverage="-3"),
        changed(OPEN, confidence="high"),
        changed(OPEN, confidence=0.75),
        changed(OPEN, notional=None, fraction=None, rationale=None, confidence=None),
        changed(OPEN, quantity="999999999999.99999999"),
        changed(OPEN, quantity="0.00000001"),
        {
            "decision_action_id": "a1",
            "action": "open",
            "symbol": "X/Y",
            "side": "short",
            "quantity": "1",
            "max_price": 2,
        },
        REDUCE,
        changed(REDUCE, fraction="1"),
        changed(REDUCE, fraction=ABSENT, quantity="1"),
        CLOSE,
        HOLD,
        changed(HOLD, symbol="BTC-USD", side="long", quantity="0", notional="-1", fraction="7"),
        changed(HOLD, action="cancel"),
        changed(HOLD, action="buy the dip"),
        changed(HOLD, action="OPEN"),
        changed(HOLD, action="開く"),
        changed(HOLD, rationale="é" * 2048),
    ],
)
def test_good_actions(action: dict[str, Any]):
    assert action_faults(action) == {}


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        ("open", {"": "wrong_type"}),
        (None, {"": "wrong_type"}),
        ([], {"": "wrong_type"}),
        (changed(OPEN, decisionActionId=ABSENT), {"/decisionActionId": "required"}),
        (changed(OPEN, action=ABSENT), {"/action": "required"}),
        (changed(OPEN, action=""), {"/action": "invalid_format"}),
        (changed(OPEN, action="x" * 65), {"/action": "invalid_format"}),
        (changed(OPEN, action="a\u0000"), {"/action": "invalid_format"}),
        (changed(OPEN, action="a\u202eb"), {"/action": "invalid_format"}),
        (changed(OPEN, action=7), {"/action": "wrong_type"}),
        (changed(OPEN, symbol=ABSENT), {"/symbol": "required"}),
        (changed(OPEN, symbol=None, side=None), {"/symbol": "required", "/side": "required"}),
        (changed(OPEN, symbol=""), {"/symbol": "invalid_format"}),
        (changed(OPEN, symbol="BTC USD"), {"/symbol": "invalid_format"}),
        (changed(OPEN, symbol="x" * 65), {"/symbol": "invalid_format"}),
        (changed(OPEN, symbol="BTC\u0000"), {"/symbol": "invalid_format"}),
        (changed(OPEN, symbol=1), {"/symbol": "wrong_type"}),
        (changed(OPEN, side="LONG"), {"/side": "not_allowed"}),
        (changed(OPEN, side="buy"), {"/side": "not_allowed"}),
        (changed(OPEN, side=1), {"/side": "not_allowed"}),
        (changed(OPEN, quantity=ABSENT), {"/quantity": "required"}),
        (changed(OPEN, notional="1"), {"/notional": "not_allowed"}),
        (changed(OPEN, fraction="1"), {"/fraction": "not_allowed"}),
        (changed(OPEN, quantity="0"), {"/quantity": "out_of_range"}),
        (changed(OPEN, quantity="-0"), {"/quantity": "out_of_range"}),
        (changed(OPEN, quantity="-1"), {"/quantity": "out_of_range"}),
        (changed(OPEN, quantity=-1), {"/quantity": "out_of_range"}),
        (changed(OPEN, quantity=0.5), {"/quantity": "decimal_must_be_string"}),
        (changed(OPEN, quantity=1e10), {"/quantity": "decimal_must_be_string"}),
        (changed(OPEN, quantity=True), {"/quantity": "wrong_type"}),
        (changed(OPEN, quantity=[]), {"/quantity": "wrong_type"}),
        (changed(OPEN, quantity={}), {"/quantity": "wrong_type"}),
        (changed(OPEN, quantity=10**12), {"/quantity": "invalid_decimal"}),
        (changed(OPEN, quantity=10**39), {"/quantity": "invalid_decimal"}),
        *(
            (changed(OPEN, quantity=text), {"/quantity": "invalid_decimal"})
            for text in (
                *("", " ", " 1", "1 ", "1_0", "1e3", "1E-8", "NaN", "sNaN", "Infinity", "-Infinity", "+1", ".5", "5."),
                *("0x10", "1,5", "1.000000001", "1000000000000", "1e999999999", "--1", "1\n", "1\u0000", "٣", "½"),
                "9" * 5_000,
            )
        ),
        (changed(OPEN, leverage=3.0), {"/leverage": "decimal_must_be_string"}),
        (changed(OPEN, maxPrice="0"), {"/maxPrice": "out_of_range"}),
        (changed(OPEN, minPrice="-1"), {"/minPrice": "out_of_range"}),
        (changed(OPEN, maxPrice=1.5), {"/maxPrice": "decimal_must_be_string"}),
        (changed(OPEN, rationale="x" * 4097), {"/rationale": "too_long"}),
        (changed(OPEN, rationale="é" * 2049), {"/rationale": "too_long"}),
        (changed(OPEN, rationale="a\u0000b"), {"/rationale": "invalid_text"}),
        (changed(OPEN, rationale=1), {"/rationale": "wrong_type"}),
        (changed(OPEN, confidence="x" * 33), {"/confidence": "invalid_format"}),
        (changed(OPEN, confidence="a\u0000"), {"/confidence": "invalid_format"}),
        (changed(OPEN, confidence=True), {"/confidence": "wrong_type"}),
        (changed(OPEN, confidence=[]), {"/confidence": "wrong_type"}),
        (changed(OPEN, price="1"), {"/price": "unknown_field"}),
        (changed(OPEN, decision_action_id="a1"), {"": "duplicate_field"}),
        (changed(OPEN, max_price="1", maxPrice="1"), {"/maxPrice": "duplicate_field"}),
        (changed(OPEN, max_price="0"), {"/max_price": "out_of_range"}),
        (changed(REDUCE, fraction=ABSENT), {"/quantity": "required"}),
        (changed(REDUCE, quantity="1"), {"/fraction": "not_allowed"}),
        (changed(REDUCE, notional="1"), {"/notional": "not_allowed"}),
        (changed(REDUCE, fraction="0"), {"/fraction": "out_of_range"}),
        (changed(REDUCE, fraction="1.00000001"), {"/fraction": "out_of_range"}),
        (changed(REDUCE, fraction="-0.5"), {"/fraction": "out_of_range"}),
        (changed(CLOSE, quantity="1"), {"/quantity": "not_allowed"}),
        (changed(CLOSE, side=ABSENT), {"/side": "required"}),
        (changed(HOLD, quantity="NaN"), {"/quantity": "invalid_decimal"}),
        (changed(HOLD, side="up"), {"/side": "not_allowed"}),
    ],
)
def test_bad_actions(action: Any, expected: dict[str, str]):
    if expected == {"": "duplicate_field"}:
        expected = {"/decisionActionId": "duplicate_field"}
    assert action_faults(action) == expected


HOSTILE_IDS = (
    *(
        "",
        " ",
        "a b",
        "a\u0000",
        "a\r\nb",
        "../a",
        "a/b",
        "a%2Fb",
        "é",
        "e\u0301",
        "😀",
        "\u202ea",
        "a" * 129,
        "a'--",
        "a;",
    ),
    *("\u001b[31m", "%s", '{"a":1}', "a\n", "٣"),
)


@pytest.mark.parametrize("value", HOSTILE_IDS)
@pytest.mark.parametrize("field", ["ownerId", "cloneId", "idempotencyKey", "raceId", "parentAccountId"])
def test_hostile_ids_are_refused(field: str, value: str):
    assert faults(CreateAccountIn, json({**ACCOUNT, field: value})) == {f"/{field}": "invalid_format"}


@pytest.mark.parametrize("value", ["a", "A-Z_a.z:0-9", "a" * 128, "..", "-"])
def test_plain_ids_are_taken(value: str):
    assert faults(CreateAccountIn, json({**ACCOUNT, "ownerId": value, "idempotencyKey": value})) == {}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"ownerId": ABSENT, "cloneId": ABSENT}, {"/ownerId": "required", "/cloneId": "required"}),
        ({"ownerId": None}, {"/ownerId": "wrong_type"}),
        ({"ownerId": 1}, {"/ownerId": "wrong_type"}),
        ({"mode": "live"}, {"/mode": "not_allowed"}),
        ({"mode": None}, {"/mode": "not_allowed"}),
        ({"startingBalance": "0"}, {"/startingBalance": "out_of_range"}),
        ({"startingBalance": "-1"}, {"/startingBalance": "out_of_range"}),
        ({"startingBalance": 1.5}, {"/startingBalance": "decimal_must_be_string"}),
        ({"startingBalance": None}, {"/startingBalance": "wrong_type"}),
        ({"currency": "usd"}, {"/currency": "invalid_format"}),
        ({"currency": "U"}, {"/currency": "invalid_format"}),
        ({"currency": "ABCDEFGHIJK"}, {"/currency": "invalid_format"}),
        ({"parentAccountId": "abc"}, {"/parentAccountId": "invalid_format"}),
        ({"metadata": []}, {"/metadata": "wrong_type"}),
        ({"metadata": "x"}, {"/metadata": "wrong_type"}),
        ({"metadata": {"a": "x" * 4090}}, {"/metadata": "too_long"}),
        ({"metadata": {"a": "\u0000"}}, {"/metadata": "invalid_text"}),
        ({"metadata": {"\u0000": 1}}, {"/metadata": "invalid_text"}),
        ({"metadata": {"a": [{"b": 2**63}]}}, {"/metadata": "out_of_range"}),
        ({"policy": 5}, {"/policy": "wrong_type"}),
        ({"policy": {"maxLeverage": 5.0}}, {"/policy/maxLeverage": "decimal_must_be_string"}),
        ({"policy": {"maxLeverage": None}}, {"/policy/maxLeverage": "wrong_type"}),
        ({"policy": {"max_leverage": "x"}}, {"/policy/max_leverage": "invalid_decimal"}),
        ({"policy": {"maxOpenPositions": "5"}}, {"/policy/maxOpenPositions": "wrong_type"}),
        ({"policy": {"maxOpenPositions": 5.5}}, {"/policy/maxOpenPositions": "wrong_type"}),
        ({"policy": {"maxOpenPositions": True}}, {"/policy/maxOpenPositions": "wrong_type"}),
        ({"policy": {"maxOpenPositions": -1}}, {"/policy/maxOpenPositions": "out_of_range"}),
        ({"policy": {"allowedDirections": "long"}}, {"/policy/allowedDirections": "wrong_type"}),
        ({"policy": {"allowedDirections": ["up"]}}, {"/policy/allowedDirections/0": "not_allowed"}),
        ({"policy": {"allowedAssets": ["BTC-USD", "B TC"]}}, {"/policy/allowedAssets/1": "invalid_format"}),
        ({"policy": {"allowHedging": "yes"}}, {"/policy/allowHedging": "wrong_type"}),
        ({"policy": {"allowHedging": 1}}, {"/policy/allowHedging": "wrong_type"}),
        ({"policy": {"slippageModel": "x"}}, {"/policy/slippageModel": "not_allowed"}),
        ({"policy": {"quoteMaxAgeMs": {"trade": "1"}}}, {"/policy/quoteMaxAgeMs/trade": "wrong_type"}),
        ({"policy": {"quoteMaxAgeMs": {"other": 1}}}, {"/policy/quoteMaxAgeMs/other": "unknown_field"}),
        ({"policy": {"maxDailyLoss": "0.05"}}, {"/policy/maxDailyLoss": "wrong_type"}),
        ({"policy": {"maxDailyLoss": {}}}, {"/policy/maxDailyLoss/fraction": "required"}),
        (
            {"policy": {"max_daily_loss": {"fraction": "0.05", "amount": 5}}},
            {"/policy/max_daily_loss/amount": "not_allowed"},
        ),
        ({"policy": {"maxDailyLoss": {"fraction": 0.05}}}, {"/policy/maxDailyLoss/fraction": "decimal_must_be_string"}),
        ({"policy": {"maxDailyLoss": {"amount": "-1"}}}, {"/policy/maxDailyLoss/amount": "out_of_range"}),
        ({"policy": {"maxDailyLoss": {"amount": 1, "basis": "x"}}}, {"/policy/maxDailyLoss/basis": "not_allowed"}),
        ({"policy": {"maxDailyLoss": {"amount": 1, "of": None}}}, {"/policy/maxDailyLoss/of": "not_allowed"}),
        ({"policy": {"trailingDrawdown": {"amount": 1}}}, {"/policy/trailingDrawdown/mode": "required"}),
        (
            {"policy": {"trailingDrawdown": {"amount": 1, "mode": "end_of_day", "locksAtStart": 1}}},
            {"/policy/trailingDrawdown/locksAtStart": "wrong_type"},
        ),
        (
            {"policy": {"profitTarget": {"fraction": "0", "minTradingDays": -1}}},
            {"/policy/profitTarget/fraction": "out_of_range", "/policy/profitTarget/minTradingDays": "out_of_range"},
        ),
        ({"policy": {"profitTarget": {"amount": 1, "day": 1}}}, {"/policy/profitTarget/day": "unknown_field"}),
        ({"status": "active"}, {"/status": "unknown_field"}),
        ({"<b>\u001b": 1}, {"": "unknown_field"}),
        ({"policy": {"' or 1=1": 1}}, {"/policy": "unknown_field"}),
        ({"owner_id": "x"}, {"/ownerId": "duplicate_field"}),
    ],
)
def test_bad_accounts(fields: dict[str, Any], expected: dict[str, str]):
    assert faults(CreateAccountIn, json(changed(ACCOUNT, **fields))) == expected


@pytest.mark.parametrize(
    ("policy", "pointer"),
    [
        ({"maxLeverage": "0.5"}, "/policy/maxLeverage"),
        ({"maxNotional": 0}, "/policy/maxNotional"),
        ({"maxOpenPositions": 1_001}, "/policy/maxOpenPositions"),
        ({"allowedDirections": ["long", "long"]}, "/policy/allowedDirections"),
        ({"feeBps": "10001"}, "/policy/feeBps"),
        ({"maxDrawdown": "1.1"}, "/policy/maxDrawdown"),
        ({"maxPositionEquityRatio": "0"}, "/policy/maxPositionEquityRatio"),
        ({"quoteMaxAgeMs": {"mark": 0}}, "/policy/quoteMaxAgeMs/mark"),
        ({"maxDailyLoss": {"fraction": "1.00000001"}}, "/policy/maxDailyLoss/fraction"),
        ({"trailingDrawdown": {"fraction": 2, "mode": "end_of_day"}}, "/policy/trailingDrawdown/fraction"),
        ({"profitTarget": {"fraction": 1_001}}, "/policy/profitTarget/fraction"),
        ({"profitTarget": {"amount": 1, "minTradingDays": 10_001}}, "/policy/profitTarget/minTradingDays"),
    ],
)
def test_a_policy_out_of_range_is_pointed_at(policy: dict[str, Any], pointer: str):
    asked = validated(CreateAccountIn, {**ACCOUNT, "policy": policy})
    with pytest.raises(InvalidRequest) as found:
        mapping.opening(asked)
    assert [(fault.pointer, fault.code) for fault in found.value.faults] == [(pointer, "out_of_range")]


def test_what_is_left_out_is_the_engines_default():
    assert mapping.opening(validated(CreateAccountIn, ACCOUNT)) == CreateAccount(owner_id="user-7", clone_id="clone-9")
    in_part = validated(CreateAccountIn, {**ACCOUNT, "policy": {"maxLeverage": 3, "quoteMaxAgeMs": {"mark": 5}}})
    made = mapping.opening(in_part).policy
    assert (made.max_leverage, made.quote_max_age_ms.mark) == (Decimal(3), 5)
    assert (made.quote_max_age_ms.trade, made.max_notional) == (60_000, Policy().max_notional)


def test_metadata_keeps_numbers_as_their_text():
    said = parse_object(b'{"ownerId":"o","cloneId":"c","metadata":{"a":[0.10, 5, null, {"b": 1e3}]}}', depth_max=16)
    made = mapping.opening(validated(CreateAccountIn, said))
    assert made.metadata == {"a": ["0.10", 5, None, {"b": "1e3"}]}


@pytest.mark.parametrize(("count", "code"), [(0, "too_few_actions"), (101, "too_many_actions")])
def test_one_to_a_hundred_actions(count: int, code: str):
    actions = [changed(OPEN, decisionActionId=f"a{place}") for place in range(count)]
    assert faults(DecisionActionsIn, json({"decisionRunId": "r", "actions": actions})) == {"/actions": code}


def test_at_most_twenty_faults_are_listed():
    with pytest.raises(InvalidRequest) as found:
        validated(DecisionActionsIn, {"decisionRunId": "r", "actions": [{}] * 100})
    assert len(found.value.faults) == FAULTS_MAX


def test_an_id_twice_in_a_batch_is_refused():
    asked = validated(DecisionActionsIn, {"decisionRunId": "r", "actions": [OPEN, CLOSE]})
    with pytest.raises(InvalidRequest) as found:
        mapping.batch(asked)
    assert found.value.code == "duplicate_decision_action"
    assert found.value.faults[0].pointer == "/actions/1/decisionActionId"


@pytest.mark.parametrize("reason", ["", "x" * 501, "a\u0000", 1, None])
def test_a_reason_is_needed(reason: Any):
    assert set(faults(ReasonIn, json({"reason": reason}))) == {"/reason"}


@pytest.mark.parametrize(
    ("model", "query", "pointer"),
    [
        (PageQuery, {"limit": "0"}, "/query/limit"),
        (PageQuery, {"limit": "1001"}, "/query/limit"),
        (PageQuery, {"limit": "1e9"}, "/query/limit"),
        (PageQuery, {"limit": "-1"}, "/query/limit"),
        (PageQuery, {"limit": ""}, "/query/limit"),
        (PageQuery, {"limit": "9" * 5_000}, "/query/limit"),
        (PageQuery, {"limit": "٣"}, "/query/limit"),
        (PageQuery, {"offset": "1"}, "/query/offset"),
        (PageQuery, {"a b": "1"}, "/query"),
        (LedgerQuery, {"afterSeq": "-1"}, "/query/afterSeq"),
        (LedgerQuery, {"type": "x' or 1=1"}, "/query/type"),
        (LedgerQuery, {"waitMs": "10001"}, "/query/waitMs"),
    ],
)
def test_bad_queries(model: type[Wire], query: dict[str, str], pointer: str):
    with pytest.raises(Problem) as found:
        validated(model, query, under="/query")
    assert [fault.pointer for fault in found.value.faults] == [pointer]
