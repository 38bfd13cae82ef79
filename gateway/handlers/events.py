"""Events: the ledger of one account or of all, as pages to poll and as feeds to follow."""

from operator import attrgetter
from typing import Final

from gateway.calls import Answer, Call
from gateway.fields import DIGITS
from gateway.problems import Fault, InvalidRequest
from gateway.replies import EventPage
from gateway.schemas import EventsQuery, LedgerQuery
from gateway.streaming import HISTORY_EVENTS, Entry, Feed
from persistence.event_log import BEGINNING, Place
from persistence.queries import LedgerRow

_ALL: Final = "events"


async def ledger(call: Call[LedgerQuery, None]) -> Answer:
    """Ledger events by seq.

    As `text/event-stream`: history after `Last-Event-ID` or `afterSeq`, then live."""
    account_id, query, seq = call.account_id, call.query, await call.head(call.query)
    found = await call.parts.queries.ledger(account_id, after=_start(call), limit=query.limit, type_=query.type)
    return Answer(body=call.page("ledger", found, account_id, query.type) | {"accountSeq": seq})


async def ledger_feed(call: Call[LedgerQuery, None]) -> Feed[int]:
    """The same as a feed, whose ids are the seqs."""
    account_id, type_ = call.account_id, call.query.type
    await call.head(call.query)
    after = _start(call)
    if call.last_event_id is not None:
        if DIGITS.fullmatch(call.last_event_id) is None:
            raise InvalidRequest([Fault("/header/Last-Event-ID", "invalid_format", "must be a seq")])
        after = int(call.last_event_id)

    async def read(at: int) -> list[Entry[int]]:
        page = await call.parts.queries.ledger(account_id, after=at, limit=HISTORY_EVENTS, type_=type_)
        return [Entry(event.seq, event) for event in page.data]

    def belongs(event: LedgerRow) -> bool:
        return event.account_id == account_id and type_ in (None, event.type)

    return Feed(after=after, read=read, belongs=belongs, key_of=attrgetter("event.seq"), id_of=str)


async def all_events(call: Call[EventsQuery, None]) -> Answer:
    """Events of all accounts.

    In the order of a cursor that misses none. As `text/event-stream`: those after `Last-Event-ID` or `cursor`, then
    live."""
    query, events = call.query, call.parts.events
    cluster = await events.cluster()
    place = await _place(call, query.cursor, cluster)
    found = await events.after(place, limit=query.limit + 1)
    shown = found[: query.limit]
    reached = shown[-1].place if shown else place
    return Answer(
        body=EventPage(
            data=tuple(logged.event for logged in shown),
            has_more=len(found) > query.limit,
            next_cursor=call.services.cursors.write(_ALL, (cluster,), reached),
        )
    )


async def all_events_feed(call: Call[EventsQuery, None]) -> Feed[Place]:
    """The same as a feed, whose ids are cursors."""
    events, cursors = call.parts.events, call.services.cursors
    cluster = await events.cluster()
    given = call.query.cursor if call.last_event_id is None else call.last_event_id

    async def read(at: Place) -> list[Entry[Place]]:
        return [Entry(logged.place, logged.event) for logged in await events.after(at, limit=HISTORY_EVENTS)]

    return Feed(
        after=await _place(call, given, cluster),
        read=read,
        belongs=lambda event: True,
        key_of=attrgetter("place"),
        id_of=lambda place: cursors.write(_ALL, (cluster,), place),
    )


def _start(call: Call[LedgerQuery, None]) -> int:
    query = call.query
    after = call.after("ledger", int, query, call.account_id, query.type)
    return query.after_seq if after is None else max(after, query.after_seq)


async def _place(call: Call[EventsQuery, None], cursor: str | None, cluster: str) -> Place:
    """Where to go on. A cursor of another PostgreSQL cluster, as after a restore, is refused."""
    if cursor is not None:
        return call.services.cursors.read(cursor, _ALL, (cluster,), Place)
    return BEGINNING if call.query.start == "beginning" else await call.parts.events.end()
