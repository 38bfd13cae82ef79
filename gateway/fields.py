"""Fields: the types that request models are made of, each with its check, its error code and its JSON schema.

Parse once at the door: what leaves here is a `Decimal` at scale 8, a bounded ASCII id, a printable word. Nothing is
coerced: a number is no text, a bool is no integer, a float is no money.
"""

import re
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Final

import msgspec
from pydantic import BeforeValidator, Field, PlainSerializer, PlainValidator, StringConstraints, WithJsonSchema
from pydantic_core import PydanticCustomError

from engine import money
from gateway.json_body import JsonFloat

RATIONALE_BYTES_MAX: Final = 4_096
METADATA_BYTES_MAX: Final = 4_096
CONFIDENCE_CHARACTERS_MAX: Final = 32
WORD_CHARACTERS_MAX: Final = 64
REASON_CHARACTERS_MAX: Final = 500
INTEGER_MAX: Final = 2**63 - 1
"""Integers in metadata: what the ledger's encoding and every client hold."""

CLIENT_ID: Final = re.compile(r"[A-Za-z0-9_.:-]{1,128}")
"""What clients may name their own things. ASCII, so that no two ids look alike and none breaks a log line."""
MOMENT: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?Z")
DIGITS: Final = re.compile(r"[0-9]{1,18}")
"""A whole number in a query string or a header."""


def _money(value: Any) -> Decimal:
    if isinstance(value, JsonFloat):
        raise PydanticCustomError("decimal_must_be_string", 'must be a decimal in a string, like "50000.25"')
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise PydanticCustomError("wrong_type", "must be a decimal string or an integer")
    try:
        return money.parse(value)
    except money.NotMoney as fault:
        raise PydanticCustomError("invalid_decimal", "must be {form}", {"form": str(fault)}) from None


def _positive(value: Decimal) -> Decimal:
    if value <= 0:
        raise PydanticCustomError("out_of_range", "must be above 0")
    return value


def _word(value: Any) -> str:
    if not isinstance(value, str):
        raise PydanticCustomError("wrong_type", "must be a string")
    if not 1 <= len(value) <= WORD_CHARACTERS_MAX or not value.isprintable():
        raise PydanticCustomError("invalid_format", "must be 1 to 64 printable characters")
    return value


def _confidence(value: Any) -> str:
    if isinstance(value, JsonFloat):
        value = value.text
    elif isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise PydanticCustomError("wrong_type", "must be a number or a string")
    if len(value) > CONFIDENCE_CHARACTERS_MAX or not value.isprintable():
        raise PydanticCustomError("invalid_format", "must be at most 32 printable characters")
    return value


def _rationale(value: Any) -> str:
    if not isinstance(value, str):
        raise PydanticCustomError("wrong_type", "must be a string")
    if "\0" in value:
        raise PydanticCustomError("invalid_text", "must not hold U+0000")
    if len(value.encode()) > RATIONALE_BYTES_MAX:
        raise PydanticCustomError("too_long", "must be at most 4096 bytes in UTF-8")
    return value


def _reason(value: Any) -> str:
    if not isinstance(value, str):
        raise PydanticCustomError("wrong_type", "must be a string")
    if not 1 <= len(value) <= REASON_CHARACTERS_MAX:
        raise PydanticCustomError("too_long" if value else "too_short", "must be 1 to 500 characters")
    if "\0" in value:
        raise PydanticCustomError("invalid_text", "must not hold U+0000")
    return value


def _metadata(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise PydanticCustomError("wrong_type", "must be a JSON object")
    kept: dict[str, Any] = _kept(value)
    if len(msgspec.json.encode(kept)) > METADATA_BYTES_MAX:
        raise PydanticCustomError("too_long", "must be at most 4096 bytes of JSON")
    return kept


def _kept(value: Any) -> Any:
    """Metadata as it is stored: numbers with a point as their text. Depth was bounded when the body was parsed."""
    match value:
        case dict():
            return {_kept(name): _kept(item) for name, item in value.items()}
        case list():
            return [_kept(item) for item in value]
        case str():
            if "\0" in value:
                raise PydanticCustomError("invalid_text", "must not hold U+0000")
        case JsonFloat():
            return value.text
        case int() if not -INTEGER_MAX <= value <= INTEGER_MAX:
            raise PydanticCustomError("out_of_range", "integers must fit 64 bits")
    return value


def _digits(value: Any) -> Any:
    """An integer from a query string."""
    if isinstance(value, str):
        if DIGITS.fullmatch(value) is None:
            raise PydanticCustomError("wrong_type", "must be a whole number")
        return int(value)
    return value


def _moment(value: Any) -> Any:
    if isinstance(value, str):
        if MOMENT.fullmatch(value) is None:
            raise PydanticCustomError("invalid_format", "must be a time like 2026-01-02T03:04:05.000006Z")
        try:
            return datetime.fromisoformat(value)
        except ValueError:
            raise PydanticCustomError("invalid_format", "is no time of any calendar") from None
    return value


def _flag(value: Any) -> bool:
    if value not in ("true", "false"):
        raise PydanticCustomError("wrong_type", "must be true or false")
    return bool(value == "true")


def _listed(value: Any) -> list[str]:
    """`A,B` from a query string."""
    return str(value).split(",")


Money = Annotated[
    Decimal,
    PlainValidator(_money),
    PlainSerializer(money.text, return_type=str),
    WithJsonSchema(
        {
            "description": "Decimal string, at most 12 digits before and 8 after the point; an integer is taken too.",
            "anyOf": [
                {"type": "string", "pattern": r"^-?[0-9]{1,12}(\.[0-9]{1,8})?$"},
                {"type": "integer", "exclusiveMinimum": -(10**12), "exclusiveMaximum": 10**12},
            ],
        }
    ),
]
PositiveMoney = Annotated[
    Decimal,
    PlainValidator(lambda value: _positive(_money(value))),
    PlainSerializer(money.text, return_type=str),
    WithJsonSchema(
        {
            "description": "Decimal string above 0, at most 12 digits before and 8 after the point; or an integer.",
            "anyOf": [
                {"type": "string", "pattern": r"^(?=.*[1-9])[0-9]{1,12}(\.[0-9]{1,8})?$"},
                {"type": "integer", "exclusiveMinimum": 0, "exclusiveMaximum": 10**12},
            ],
        }
    ),
]
ClientId = Annotated[str, StringConstraints(pattern=f"^{CLIENT_ID.pattern}$")]
Symbol = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.:/-]{1,64}$")]
Currency = Annotated[str, StringConstraints(pattern=r"^[A-Z]{2,10}$")]
Uuid = Annotated[str, StringConstraints(pattern=r"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$")]
Word = Annotated[
    str, PlainValidator(_word), WithJsonSchema({"type": "string", "minLength": 1, "maxLength": WORD_CHARACTERS_MAX})
]
Confidence = Annotated[
    str,
    PlainValidator(_confidence),
    WithJsonSchema({"anyOf": [{"type": "number"}, {"type": "string", "maxLength": CONFIDENCE_CHARACTERS_MAX}]}),
]
Rationale = Annotated[
    str, PlainValidator(_rationale), WithJsonSchema({"type": "string", "maxLength": RATIONALE_BYTES_MAX})
]
Reason = Annotated[
    str,
    PlainValidator(_reason),
    WithJsonSchema({"type": "string", "minLength": 1, "maxLength": REASON_CHARACTERS_MAX}),
]
Metadata = Annotated[
    dict[str, Any],
    PlainValidator(_metadata),
    WithJsonSchema({"type": "object", "additionalProperties": True, "description": "At most 4096 bytes of JSON."}),
]
Count = Annotated[int, Field(ge=0, le=10**9)]
"""A count in a body; `engine.policy.faults` holds the real range."""
Digits = Annotated[int, BeforeValidator(_digits)]
Moment = Annotated[
    datetime,
    BeforeValidator(_moment),
    WithJsonSchema({"type": "string", "format": "date-time", "pattern": MOMENT.pattern}),
]
Flag = Annotated[bool, PlainValidator(_flag), WithJsonSchema({"type": "boolean"})]
Symbols = Annotated[list[Symbol], BeforeValidator(_listed), Field(min_length=1, max_length=1_000)]
