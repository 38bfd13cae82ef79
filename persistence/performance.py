"""Performance: equity curves, frozen results and standings, read from the ledger and the tables.

Reads only what is committed. Every method raises `StoreUnavailable`.
"""

from collections import defaultdict
from datetime import datetime
from decimal import Decimal
from typing import Final

import msgspec
from psycopg.rows import class_row, tuple_row
from psycopg.sql import SQL

from engine.account import TERMINAL
from engine.curve import EQUITY_EVENTS, EquityPoint, Thinning
from engine.results import ResultView
from engine.standings import Pass, PassMark, Racer, Standing, common_pass, ranked
from persistence.pools import Pool, rows

CURVE_ROWS: Final = 1_000
"""Points read at once: the whole of a curve is never held, and other requests wait for no more than these."""
MARKS_LOOKED_AT: Final = 8
"""Last marks of each account in which a pass common to all is looked for."""
RACE_ACCOUNTS_MAX: Final = 10_000

_IN_RANGE: Final = SQL("""
from prop_ledger_events
where account_id = %(account_id)s::uuid and seq > %(after)s and seq <= %(to_seq)s and type = any(%(types)s)
  and occurred_at >= coalesce(%(from)s::timestamptz, '-infinity')
  and occurred_at <= coalesce(%(to)s::timestamptz, 'infinity')
""")
_COUNT: Final = SQL("select count(*) {}").format(_IN_RANGE)
_POINTS: Final = SQL("""
select occurred_at as at, seq as account_seq, equity, cash, equity - cash as unrealized_pnl, high_watermark
from (select occurred_at, seq,
        coalesce(payload ->> 'equity', payload #>> '{{opening,startingBalance}}')::numeric(28, 8) as equity,
        coalesce(payload ->> 'cash', payload #>> '{{opening,startingBalance}}')::numeric(28, 8) as cash,
        coalesce(payload ->> 'highWatermark', payload #>> '{{opening,startingBalance}}')::numeric(28, 8)
            as high_watermark
      {} order by seq limit %(limit)s) point
order by seq
""").format(_IN_RANGE)
_RESULT: Final = """
select account.status, frozen.result
from prop_accounts account left join prop_account_results frozen on frozen.account_id = account.id
where account.id = %(account_id)s::uuid
"""
_RACERS: Final = """
select account.id::text, account.owner_id, account.clone_id, account.status, account.starting_balance, balance.equity,
       balance.last_seq as account_seq
from prop_accounts account join prop_account_balances balance on balance.account_id = account.id
where account.race_id = %(race_id)s
order by account.created_at, account.id
limit %(limit)s
"""
_MARKS: Final = """
select account_id::text, mark.pass_id, mark.at, mark.commit_xid::text, mark.equity
from unnest(%(ids)s::uuid[]) as account_id cross join lateral (
    select payload ->> 'passId' as pass_id, occurred_at as at, commit_xid,
        (payload ->> 'equity')::numeric(28, 8) as equity
    from prop_ledger_events event
    where event.account_id = account_id.account_id and type = 'mark_to_market' order by seq desc limit %(marks)s) mark
"""
_EPISODES: Final = """
select account_id::text, opened_at, closed_at from prop_positions
where account_id = any(%(ids)s::uuid[]) and (closed_at is null or closed_at > %(since)s)
"""
_EQUITY_AT: Final = """
select account_id::text, last.equity
from unnest(%(ids)s::uuid[]) as account_id cross join lateral (
    select coalesce(payload ->> 'equity', payload #>> '{opening,startingBalance}')::numeric(28, 8) as equity
    from prop_ledger_events event
    where event.account_id = account_id.account_id and type = any(%(types)s) and occurred_at <= %(at)s
    order by seq desc limit 1) last
"""


class ResultMissing(Exception):
    """The account has ended and has no result: its ledger is damaged, or somebody deleted the row."""


class RaceTooLarge(Exception):
    """More than `RACE_ACCOUNTS_MAX` accounts."""


class Curve(msgspec.Struct, frozen=True):
    """Points of a curve that has `total` of them."""

    points: tuple[EquityPoint, ...]
    total: int


class RaceStandings(msgspec.Struct, frozen=True):
    """A race at a pass; none where no recent pass covers it."""

    common: Pass | None
    standings: tuple[Standing, ...]


class Performance:
    """Reads on one pool, which may be read-only. Account ids are UUIDs."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def curve(
        self, account_id: str, *, to_seq: int, points: int, start: datetime | None, end: datetime | None
    ) -> Curve:
        """The curve up to event `to_seq`, between two moments (both included), in at most so many points."""
        asked: dict[str, object] = {
            "account_id": account_id,
            "after": 0,
            "to_seq": to_seq,
            "types": list(EQUITY_EVENTS),
            "from": start,
            "to": end,
            "limit": CURVE_ROWS,
        }
        ((total,),) = await rows(self._pool, tuple_row, _COUNT, asked)
        thinning = Thinning(total=total, keep=points)
        while page := await rows(self._pool, class_row(EquityPoint), _POINTS, asked):
            for point in page:
                thinning.add(point)
            asked["after"] = page[-1].account_seq
        return Curve(thinning.points(), total)

    async def result(self, account_id: str) -> ResultView | None:
        """What was frozen when the account ended; None while it goes on. Raises `ResultMissing`."""
        for status, result in await rows(self._pool, tuple_row, _RESULT, {"account_id": account_id}):
            if result is not None:
                return msgspec.convert(result, ResultView)
            if status in TERMINAL:
                raise ResultMissing
        return None

    async def standings(self, race_id: str) -> RaceStandings:
        """Raises `RaceTooLarge`."""
        asked = {"race_id": race_id, "limit": RACE_ACCOUNTS_MAX + 1}
        racers = await rows(self._pool, class_row(Racer), _RACERS, asked)
        if len(racers) > RACE_ACCOUNTS_MAX:
            raise RaceTooLarge
        running = [racer.id for racer in racers if racer.is_marked]
        marks = await self._marks(running)
        moments = [mark.at for its_marks in marks.values() for mark in its_marks]
        if not moments:
            return RaceStandings(None, ranked(racers, marks, None, {}))
        episodes = await self._episodes(running, since=min(moments))

        def held(account_id: str, at: datetime) -> bool:
            return any(opened <= at and (closed is None or closed > at) for opened, closed in episodes[account_id])

        common = common_pass(racers, marks, held)
        flat = {} if common is None else await self._equity_at(running, common.at)
        return RaceStandings(common, ranked(racers, marks, common, flat))

    async def _marks(self, account_ids: list[str]) -> dict[str, list[PassMark]]:
        found: defaultdict[str, list[PassMark]] = defaultdict(list)
        asked = {"ids": account_ids, "marks": MARKS_LOOKED_AT}
        for account_id, pass_id, at, xid, equity in await rows(self._pool, tuple_row, _MARKS, asked):
            found[account_id].append(PassMark(pass_id=pass_id, at=at, order=int(xid), equity=equity))
        return found

    async def _episodes(
        self, account_ids: list[str], *, since: datetime
    ) -> defaultdict[str, list[tuple[datetime, datetime | None]]]:
        found: defaultdict[str, list[tuple[datetime, datetime | None]]] = defaultdict(list)
        asked = {"ids": account_ids, "since": since}
        for account_id, opened_at, closed_at in await rows(self._pool, tuple_row, _EPISODES, asked):
            found[account_id].append((opened_at, closed_at))
        return found

    async def _equity_at(self, account_ids: list[str], at: datetime) -> dict[str, Decimal]:
        asked = {"ids": account_ids, "types": list(EQUITY_EVENTS), "at": at}
        return dict(await rows(self._pool, tuple_row, _EQUITY_AT, asked))
