"""Replies as bytes: engine views in the order of their fields, camelCase, fixed decimals, UTC times.

Reply types that need a clock or belong to HTTP alone stand in `replies`; this module only encodes and stamps headers.
"""

from typing import Any, Final

import msgspec

from engine.canonical import shown

JSON: Final = "application/json"

_ENCODER: Final = msgspec.json.Encoder()


def encoded(value: Any) -> bytes:
    """JSON of structs or builtins: decimals as text with their 8 decimals, times RFC 3339 with six digits and `Z`."""
    return shown(value)


def spliced(value: msgspec.Struct) -> bytes:
    """JSON of a struct of texts, integers and JSON that is there already (`msgspec.Raw`): of nothing else."""
    return _ENCODER.encode(value)


def etag(seq: int) -> str:
    """The entity tag of a resource at ledger position `seq`."""
    return f'"{seq}"'


def is_current(if_none_match: str | None, tag: str) -> bool:
    """Whether `If-None-Match` names this tag (weak comparison, RFC 9110 section 13.1.2)."""
    if if_none_match is None:
        return False
    return any(each.strip().removeprefix("W/") in (tag, "*") for each in if_none_match.split(","))
