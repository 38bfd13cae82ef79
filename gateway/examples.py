"""Examples: one day in the life of an account, from which every example of the description is made.

An example is read off a schema: each field has its value here by its name, so that a field means the same wherever it
stands, and a view that is new today has its example today. Tests hold them to their schemas and send the requests.
"""

from collections.abc import Mapping
from typing import Any, Final

from gateway.components import REF, Schema
from gateway.problems import KINDS, Fault, Problem

ACCOUNT: Final = "01982f3e-5a00-7c3e-9a51-4d6f0b7a1c01"
PROP_ACTION: Final = "01982f3e-5a00-7c3e-9a51-4d6f0b7a1c02"
ORDER: Final = "01982f3e-5a00-7c3e-9a51-4d6f0b7a1c03"
FILL: Final = "01982f3e-5a00-7c3e-9a51-4d6f0b7a1c04"
MARKING: Final = "01982f3e-5a00-7c3e-9a51-4d6f0b7a1c05"
REQUEST: Final = "01982f3e-5a00-7c3e-9a51-4d6f0b7a1c06"

_OPEN: Final[Schema] = {
    "decisionActionId": "a1",
    "action": "open",
    "symbol": "BTC-USD",
    "side": "long",
    "quantity": "0.5",
    "leverage": "3",
}
REQUESTS: Final[Mapping[str, Any]] = {
    "CreateAccountIn": {
        "idempotencyKey": "audition-42",
        "ownerId": "user-7",
        "cloneId": "clone-9",
        "mode": "audition",
        "startingBalance": "100000",
        "currency": "USDC",
        "policy": {"maxLeverage": "5", "maxDrawdown": "0.2"},
        "metadata": {"model": "alpha-3"},
    },
    "DecisionActionsIn": {
        "decisionRunId": "run-1",
        "actions": [
            _OPEN,
            {"decisionActionId": "a2", "action": "reduce", "symbol": "BTC-USD", "side": "long", "fraction": "0.5"},
            {"decisionActionId": "a3", "action": "close", "symbol": "BTC-USD", "side": "long", "minPrice": "48000"},
        ],
    },
    "CompleteIn": {"settle": "close"},
    "VoidFillIn": {"fillId": FILL, "reason": "filled at a price that was never quoted", "cascade": False},
    "VoidOrderIn": {"orderId": ORDER, "reason": "filled at a price that was never quoted", "cascade": False},
    "ReasonIn": {"reason": "end of the audition"},
    "EmptyIn": {},
}
"""Bodies by the name of their model."""

_VALUES: Final[Mapping[str, Any]] = {
    # who
    "id": ACCOUNT,
    "accountId": ACCOUNT,
    "parentAccountId": None,
    "orderId": ORDER,
    "fillId": FILL,
    "propActionId": PROP_ACTION,
    "passId": MARKING,
    "requestId": REQUEST,
    "ownerId": "user-7",
    "cloneId": "clone-9",
    "raceId": None,
    "decisionRunId": "run-1",
    "decisionActionId": "a1",
    "currency": "USDC",
    "mode": "audition",
    "reason": "end of the audition",
    "rationale": "breakout above the 20 day high",
    "confidence": "0.8",
    # when
    "startedAt": "2026-01-05T14:30:01.000000Z",
    "endedAt": None,
    "endReason": None,
    "closedAt": None,
    # how it stands
    "status": "active",
    "startingBalance": "100000.00000000",
    "cash": "99975.00000000",
    "equity": "100225.00000000",
    "realizedPnl": "0.00000000",
    "unrealizedPnl": "250.00000000",
    "feesPaid": "25.00000000",
    "adjustments": "0.00000000",
    "marginUsed": "8416.66666667",
    "freeMargin": "91808.33333333",
    "highWatermark": "100225.00000000",
    "drawdown": "0.00000000",
    "liquidationEquity": "50000.00000000",
    "money": "50225.00000000",
    "perCent": "50.11224744",
    "valuation": "full",
    # what was done
    "symbol": "BTC-USD",
    "side": "long",
    "action": "open",
    "intent": "open",
    "quantity": "0.50000000",
    "leverage": "3.00000000",
    "price": "50000.00000000",
    "notional": "25000.00000000",
    "entryNotional": "25000.00000000",
    "avgEntryPrice": "50000.00000000",
    "fee": "25.00000000",
    "fees": "25.00000000",
    "markPrice": "50500.00000000",
    "bid": "49999.00000000",
    "ask": "50001.00000000",
    "mid": "50000.00000000",
    "source": "feed",
    "ageMs": 240,
    "markAgeMs": 240,
    "fresh": True,
    "fraction": None,
    "maxPrice": None,
    "minPrice": None,
    "blockedBy": None,
    "allowedAssets": None,
    "maxPositionEquityRatio": None,
    "nextCursor": None,
    # policy
    "maxLeverage": "5.00000000",
    "maxNotional": "50000.00000000",
    "maxOpenPositions": 5,
    "maxOpenOrders": 10,
    "allowedDirections": ["long", "short"],
    "feeBps": "10.00000000",
    "slippageModel": "mid_price",
    "maxDrawdown": "0.50000000",
    "allowHedging": True,
    "trade": 60_000,
    "mark": 120_000,
    "liquidate": 60_000,
    # the ledger and the service
    "seq": 3,
    "accountSeq": 6,
    "type": "mark_to_market",
    "version": 1,
    "epoch": 1,
    "payload": {
        "passId": MARKING,
        "marks": [
            {
                "symbol": "BTC-USD",
                "side": "long",
                "price": "50500.00000000",
                "unrealizedPnl": "250.00000000",
                "source": "feed",
                "observedAt": "2026-01-05T14:29:59.500000Z",
            }
        ],
        "cash": "99975.00000000",
        "equity": "100225.00000000",
        "unrealizedPnl": "250.00000000",
        "highWatermark": "100225.00000000",
    },
    "hash": "9f" * 32,
    "outcome": "marked",
    "durationMs": 12,
    "live": True,
    "ready": True,
    "well": True,
    "component": "postgres",
    "detail": "answers",
    "name": "prop-engine",
}
_VALUES_IN: Final[Mapping[tuple[str, str], Any]] = {
    ("OrderView", "id"): ORDER,
    ("OrderView", "status"): "filled",
    ("OrderView", "accountSeq"): 3,
    ("FillView", "id"): FILL,
    ("FillView", "status"): "booked",
    ("FillView", "accountSeq"): 4,
    ("PositionView", "status"): "open",
    ("AgedPosition", "status"): "open",
    ("ActionResult", "status"): "executed",
    ("ActionResult", "code"): None,
    ("ActionResult", "failures"): [],
    ("ActionResult", "maxQuantity"): None,
    ("Marking", "failures"): [],
    ("Capacity", "maxQuantity"): "0.99009900",
    ("VersionView", "version"): "0.1.0",
}
_AT: Final = "2026-01-05T14:30:00.000000Z"


def parameter(name: str, schema: Schema) -> Any:
    """A value of a parameter in a path or a query string."""
    known = {"cloneId": "clone-9", "raceId": "race-1", "type": "fill_booked", "symbols": ["BTC-USD", "ETH-USD"]}
    return known[name] if name in known else schema.get("default", of_schema(schema, {}, name=name))


def body(model: str, components: Mapping[str, Schema]) -> Any:
    """A request body: the one written above, else one read off its schema."""
    return REQUESTS[model] if model in REQUESTS else of_schema(components[model], components, within=model)


def problem(code: str, instance: str) -> bytes:
    """The problem document of a code."""
    faults = [Fault("/startingBalance", "decimal_must_be_string", 'must be a decimal in a string, like "50000.25"')]
    shown = faults if KINDS[code].status == 422 and code != "invalid_cursor" else ()
    return Problem(code, faults=shown).body(instance=instance, request_id=REQUEST)


def of_schema(schema: Schema, components: Mapping[str, Schema], *, within: str = "", name: str = "") -> Any:
    """A value that `schema` allows; `name` is the field it stands in, `within` the component that has the field."""
    for known in (_VALUES_IN.get((within, name), _MISSING), _VALUES.get(name, _MISSING)):
        if known is not _MISSING and _may_hold(schema, known):
            return known
    if "$ref" in schema:
        target = schema["$ref"].removeprefix(REF)
        return of_schema(components[target], components, within=target)
    if "allOf" in schema:
        merged: dict[str, Any] = {}
        for part in schema["allOf"]:
            merged |= of_schema(part, components)
        return merged
    for word in ("anyOf", "oneOf"):
        if word in schema:
            return of_schema(schema[word][0], components, within=within, name=name)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    match schema.get("type"):
        case "object":
            fields = [(field, schema["properties"][field]) for field in schema.get("required", ())]
            return {field: of_schema(each, components, within=within, name=field) for field, each in fields}
        case "array":
            return [of_schema(schema["items"], components, within=within)]
        case "integer" | "number":
            return max(1, schema.get("minimum", 1))
        case "boolean":
            return False
    return {"date-time": _AT, "date": _AT[:10], "uuid": ACCOUNT, "decimal": "0.00000000"}.get(
        schema.get("format", ""), "text"
    )


_MISSING: Final = object()


def _may_hold(schema: Schema, value: Any) -> bool:
    """Whether the schema takes a value of this kind: one name may be a text here and an object there."""
    for word in ("anyOf", "oneOf"):
        if word in schema:
            return any(_may_hold(each, value) for each in schema[word])
    if "enum" in schema:
        return value in schema["enum"]
    kinds = {
        "string": str,
        "integer": int,
        "boolean": bool,
        "array": list,
        "object": dict,
        "null": type(None),
    }
    kind = kinds.get(schema.get("type", ""))
    if kind is None or not isinstance(value, kind) or (isinstance(value, bool) and kind is int):
        return False
    return kind is not dict or "properties" not in schema
