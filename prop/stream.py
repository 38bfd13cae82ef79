"""Streams: ledger events as they happen, through any number of lost connections.

Guarantee: every event after the place that was named, once, in order: after an interruption the stream is asked for
again from the last event that was handed out. It ends only when the caller stops, or when the API refuses (a token that
was revoked, an account that is not there), or when it cannot be had again within the client's deadline; however long a
quiet stream had lasted before.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any, Final

import aiohttp

from prop.calls import understood
from prop.errors import Refused, Unreachable
from prop.models import LedgerEvent
from prop.transport import (
    ATTEMPT_SECONDS_MAX,
    SENT_AGAIN,
    Pauses,
    Query,
    Transport,
    parsed,
    wire_query,
)

MEDIA_TYPE: Final = "text/event-stream"
SILENCE_SECONDS_MAX: Final = 35.0
"""Three missed heartbeats and a half: the connection is dead, whatever TCP thinks."""
LINE_BYTES_MAX: Final = 4 * 1024 * 1024
LASTED_SECONDS: Final = 1.0
"""A stream that stood so long was had, even if it brought nothing; one that ends sooner is being refused."""


class StreamedEvent(LedgerEvent):
    """A ledger event and its place in the stream: what to go on after, with `after`."""

    stream_id: str


async def follow(transport: Transport, path: str, *, query: Query, after: str | None) -> AsyncIterator[StreamedEvent]:
    """The events of a stream, for ever."""
    loop, last = asyncio.get_running_loop(), after
    pauses: Pauses | None = None  # none while the stream brings something
    while True:
        transport.refuse_if_closed()
        began, first, was_had = loop.time(), transport.pauses(), False
        retry_after_s = None
        try:
            async for place, event in _connected(transport, path, query, last):
                last = place
                if event is not None:
                    pauses = None
                    yield event
            failure: Exception = Unreachable("the stream keeps ending")
            was_had = True
        except _Cut as cut:
            failure, was_had = cut.why, True
        except Refused as refused:
            if refused.status not in SENT_AGAIN:
                raise
            failure, retry_after_s = refused, refused.retry_after_s
        except (aiohttp.ClientError, TimeoutError, OSError, Unreachable) as error:
            failure = error
        if was_had and (pauses is None or loop.time() - began > LASTED_SECONDS):
            pauses = transport.pauses()
        pauses = pauses or first
        if not await pauses.pause(retry_after_s):
            raise Unreachable(f"{transport.url} does not stream ({failure})") from failure


_CUT: Final = (aiohttp.ClientError, TimeoutError, OSError, ValueError, RuntimeError)
"""How a stream breaks: the connection, or a message that cannot be read. RuntimeError is what aiohttp says of a
connection that was gone before the read began."""


class _Cut(Exception):
    """A stream that had begun was cut."""

    def __init__(self, why: Exception) -> None:
        super().__init__(str(why))
        self.why = why


async def _connected(
    transport: Transport, path: str, query: Query, last: str | None
) -> AsyncIterator[tuple[str, StreamedEvent | None]]:
    """Places, each with its event, of one connection, until it ends as streams do; the first is where it begins. Raises
    `_Cut`, or what a request that never became a stream raises."""
    headers = {"Accept": MEDIA_TYPE} | ({} if last is None else {"Last-Event-ID": last})
    timeout = aiohttp.ClientTimeout(total=None, sock_read=SILENCE_SECONDS_MAX)
    async with asyncio.timeout(min(ATTEMPT_SECONDS_MAX, transport.deadline_s)):
        response = await transport.session.get(
            transport.address(path),
            params=wire_query(query),
            headers=headers,
            timeout=timeout,
            read_bufsize=LINE_BYTES_MAX,
            allow_redirects=False,
        )
        if response.status != 200 or response.content_type != MEDIA_TYPE:
            async with response:
                parsed(response, await response.read())
                raise Unreachable(f"{transport.url} does not speak this API: no stream")
    async with response:
        try:
            async for fields in _messages(response.content):
                if fields.get("event") == "resync":
                    return
                if "id" in fields:
                    yield fields["id"], _event(fields) if "data" in fields else None
        except _CUT as error:
            raise _Cut(error) from error


def _event(fields: dict[str, str]) -> StreamedEvent:
    said: Any = json.loads(fields["data"])
    return understood(StreamedEvent, said | {"streamId": fields["id"]} if isinstance(said, dict) else said)


async def _messages(content: aiohttp.StreamReader) -> AsyncIterator[dict[str, str]]:
    """Messages by their fields. A comment is none; a message cut off by the end is none either."""
    fields: dict[str, str] = {}
    async for line in content:
        name, _, value = line.decode().rstrip("\r\n").partition(":")
        if name:
            fields[name] = fields[name] + "\n" + value.lstrip() if name in fields else value.lstrip()
        elif fields and not value:
            yield fields
            fields = {}
