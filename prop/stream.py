"""Streams: ledger events as they happen, through any number of lost connections.

Guarantee: every event after the place that was named, once, in order: after an interruption the stream is asked for
again from the last event that was handed out. It ends only when the caller stops, or when the API refuses (a token that
was revoked, an account that is not there), or when it cannot be reached for as long as the client's deadline.
"""

import json
from collections.abc import AsyncIterator
from typing import Any, Final

import aiohttp

from prop.errors import Refused, Unreachable
from prop.models import LedgerEvent
from prop.transport import SENT_AGAIN, Pauses, Query, Transport, parsed, wire_query

SILENCE_SECONDS_MAX: Final = 35.0
"""Three missed heartbeats and a half: the connection is dead, whatever TCP thinks."""
LINE_BYTES_MAX: Final = 4 * 1024 * 1024


class StreamedEvent(LedgerEvent):
    """A ledger event and its place in the stream: what to go on after, with `after`."""

    stream_id: str


async def follow(transport: Transport, path: str, *, query: Query, after: str | None) -> AsyncIterator[StreamedEvent]:
    """The events of a stream, for ever."""
    last, pauses = after, Pauses(transport.deadline_s)
    while True:
        retry_after_s = None
        try:
            async for event in _connected(transport, path, query, last):
                last, pauses = event.stream_id, Pauses(transport.deadline_s)
                yield event
        except Refused as refused:
            if refused.status not in SENT_AGAIN:
                raise
            retry_after_s = refused.retry_after_s
            failure: Exception = refused
        except (aiohttp.ClientError, TimeoutError, OSError, Unreachable) as error:
            failure = error
        else:
            failure = Unreachable("the stream keeps ending")
        if not await pauses.pause(retry_after_s):
            raise Unreachable(f"{transport.url} does not stream ({failure})") from failure


async def _connected(transport: Transport, path: str, query: Query, last: str | None) -> AsyncIterator[StreamedEvent]:
    """The events of one connection."""
    headers = {"Accept": "text/event-stream"} | ({} if last is None else {"Last-Event-ID": last})
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=transport.deadline_s, sock_read=SILENCE_SECONDS_MAX)
    async with transport.session.get(
        transport.url + path,
        params=wire_query(query),
        headers=headers,
        timeout=timeout,
        read_bufsize=LINE_BYTES_MAX,
    ) as response:
        if response.status != 200:
            parsed(response, await response.read())
        async for fields in _messages(response.content):
            if fields.get("event") == "resync":
                return
            if "id" in fields and "data" in fields:
                said: dict[str, Any] = json.loads(fields["data"])
                yield StreamedEvent.model_validate({**said, "streamId": fields["id"]})


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
