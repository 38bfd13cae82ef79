"""The body of a request, read within limits and parsed without trust.

Guarantee: whatever bytes arrive, the answer is a parsed JSON object or a `Problem`, never another exception; memory is
bounded by `BodyLimits.bytes_max` and time by `timeout_ms`. Refused: any Content-Encoding and another media type (415),
too many bytes (413), too slow (408), and as `malformed_json` (400) bad UTF-8, a byte order mark, NaN and Infinity,
numbers past a float's range or 40 characters, duplicate keys, nesting past the limit, lone surrogates, and more values
than any request of this API has: a megabyte of empty lists takes a second of everybody's time to parse.
Numbers with a point or exponent stay the text they were, as `JsonFloat`: no digit of a price is ever rounded here.
U+0000 is good JSON; the schemas refuse it where it would be stored.
"""

import asyncio
import json
import math
import re
from collections.abc import Iterable
from typing import Any, Final

import msgspec
from aiohttp import ClientError, hdrs, web
from aiohttp.http_exceptions import HttpProcessingError

from gateway.problems import Fault, InvalidRequest, Problem

DEPTH_MAX: Final = 16
VALUES_MAX: Final = 20_000
"""A full batch has some 1,500, the longest list of assets 1,000, and metadata at most 2,000."""
NUMBER_CHARACTERS_MAX: Final = 40
"""Longest number that is looked at: `int()` and `Decimal()` of a longer one can take seconds."""

_ESCAPED_SURROGATE: Final = re.compile(r"\\u[dD][89a-fA-F]")
_STRING: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)


class BodyLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of one request body: bytes, milliseconds until the last byte, nesting of values and how many there are."""

    bytes_max: int = 1_048_576
    timeout_ms: int = 10_000
    depth_max: int = DEPTH_MAX
    values_max: int = VALUES_MAX


class JsonFloat:
    """A JSON number with a point or an exponent, as it was written."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return f"JsonFloat({self.text})"


class _Malformed(Exception):
    """Why a text is not the JSON this API accepts. The message never quotes the text."""


async def read_object(request: web.BaseRequest, limits: BodyLimits, *, optional: bool) -> dict[str, Any]:
    """The request's JSON object; `{}` for an absent body where the body is `optional`. Raises `Problem`."""
    if not request.body_exists and optional:
        return {}
    _refuse_encodings(request)
    data = await _bytes(request, limits)
    if not data and optional:
        return {}
    _refuse_media_types(request)
    return parse_object(data, depth_max=limits.depth_max, values_max=limits.values_max)


def parse_object(data: bytes, *, depth_max: int = DEPTH_MAX, values_max: int = VALUES_MAX) -> dict[str, Any]:
    """Parse one JSON object. Raises `Problem`."""
    try:
        if _has_more_values(data, values_max):
            raise _Malformed(f"more than {values_max} values")
        value = _parsed(data, depth_max)
    except _Malformed as fault:
        raise Problem("malformed_json", str(fault)) from None
    if not isinstance(value, dict):
        raise InvalidRequest([Fault("", "wrong_type", "must be a JSON object")])
    return value


def _parsed(data: bytes, depth_max: int) -> Any:
    if not data.strip():
        raise _Malformed("the body is empty")
    if data.startswith(b"\xef\xbb\xbf"):
        raise _Malformed("the body starts with a byte order mark")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as fault:
        raise _Malformed(f"byte {fault.start} is not UTF-8") from None
    try:
        value = _DECODER.decode(text)
    except json.JSONDecodeError as fault:
        raise _Malformed(f"{fault.msg} at line {fault.lineno}, column {fault.colno}") from None
    except RecursionError:
        raise _Malformed(f"nested deeper than {depth_max}") from None
    if _may_be_deeper(text, depth_max) or ("\\" in text and _ESCAPED_SURROGATE.search(text)):
        _walk(value, depth_max)
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _Malformed("a name occurs twice in one object")
    return found


def _integer(text: str) -> int:
    if len(text) > NUMBER_CHARACTERS_MAX:
        raise _Malformed(f"a number is longer than {NUMBER_CHARACTERS_MAX} characters")
    return int(text)


def _float(text: str) -> JsonFloat:
    if len(text) > NUMBER_CHARACTERS_MAX:
        raise _Malformed(f"a number is longer than {NUMBER_CHARACTERS_MAX} characters")
    if math.isinf(float(text)):
        raise _Malformed("a number is out of range")
    return JsonFloat(text)


def _constant(_: str) -> Any:
    raise _Malformed("NaN and Infinity are not JSON")


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=_float, parse_constant=_constant
)
"""Made once: `json.loads` makes one for each text."""


def _has_more_values(data: bytes, values_max: int) -> bool:
    """By the commas between them and the brackets that open them, of which those in texts are none."""
    return _marks(data) > values_max and _marks(_STRING.sub(b"", data)) > values_max


def _marks(data: bytes) -> int:
    return data.count(b",") + data.count(b"[") + data.count(b"{")


def _may_be_deeper(text: str, depth_max: int) -> bool:
    """Whether there are brackets enough for it; those in strings count too, so this only spares a walk."""
    return text.count("{") + text.count("[") > depth_max


def _walk(value: Any, depth_max: int) -> None:
    """Level by level, so that no nesting exhausts the stack."""
    level: list[Any] = [value]
    for _ in range(depth_max):
        below: list[Any] = []
        for each in level:
            if isinstance(each, dict):
                _refuse_surrogates(each)
                below += each.values()
            elif isinstance(each, list):
                below += each
            elif isinstance(each, str):
                _refuse_surrogates((each,))
        level = below
    if any(isinstance(each, dict | list) for each in level):
        raise _Malformed(f"nested deeper than {depth_max}")
    _refuse_surrogates(each for each in level if isinstance(each, str))


def _refuse_surrogates(texts: Iterable[str]) -> None:
    try:
        for text in texts:
            text.encode()
    except UnicodeEncodeError:
        raise _Malformed("a string holds half a surrogate pair") from None


def _refuse_encodings(request: web.BaseRequest) -> None:
    if hdrs.CONTENT_ENCODING in request.headers:
        raise Problem("unsupported_media_type", "Content-Encoding is not accepted")


def _refuse_media_types(request: web.BaseRequest) -> None:
    given = request.headers.getall(hdrs.CONTENT_TYPE, [])
    if len(given) != 1:
        raise Problem("unsupported_media_type", "Content-Type must be given, once")
    media_type, *parameters = given[0].split(";")
    if media_type.strip().lower() != "application/json":
        raise Problem("unsupported_media_type", "Content-Type must be application/json")
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset" and value.strip().strip('"').lower() not in ("utf-8", "utf8"):
            raise Problem("unsupported_media_type", "charset must be utf-8")


async def _bytes(request: web.BaseRequest, limits: BodyLimits) -> bytes:
    if (request.content_length or 0) > limits.bytes_max:
        raise _too_large(limits)
    try:
        if request.content.is_eof():  # it came with its head, as small ones do: nothing to wait for
            data = request.content.read_nowait()
        else:
            data = await _awaited(request, limits)
    except (web.RequestPayloadError, HttpProcessingError, ClientError, OSError):
        raise Problem("bad_request", "the body does not end as its headers say") from None
    if len(data) > limits.bytes_max:
        raise _too_large(limits)
    return data


async def _awaited(request: web.BaseRequest, limits: BodyLimits) -> bytes:
    await _invite(request)
    data = bytearray()
    try:
        async with asyncio.timeout(limits.timeout_ms / 1000):
            async for chunk in request.content.iter_any():
                data += chunk
                if len(data) > limits.bytes_max:
                    raise _too_large(limits)
    except TimeoutError:
        raise Problem("request_timeout", f"not within {limits.timeout_ms} ms") from None
    return bytes(data)


def _too_large(limits: BodyLimits) -> Problem:
    return Problem("body_too_large", f"at most {limits.bytes_max} bytes")


async def _invite(request: web.BaseRequest) -> None:
    """Answer `Expect: 100-continue` only now, when the request was admitted and its body is wanted."""
    if request.headers.get(hdrs.EXPECT, "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0
