"""Performance: how accounts did, over time, at their end, and against each other."""

from gateway.calls import Answer, Call
from gateway.fields import CLIENT_ID
from gateway.problems import Fault, InvalidRequest, Problem
from gateway.replies import EquityCurve, Standings
from gateway.schemas import EquityQuery, ReadQuery, StandingsQuery
from persistence.performance import RACE_ACCOUNTS_MAX, RaceTooLarge, ResultMissing


async def equity(call: Call[EquityQuery, None]) -> Answer:
    """The equity curve: what the account was worth at its creation, at fills, marks and corrections.

    More points than asked for are thinned: the first and the last stay, and the lowest and highest of equally many
    stretches between them."""
    query, seq = call.query, await call.head(call.query)
    curve = await call.parts.performance.curve(
        call.account_id, to_seq=seq, points=query.points, start=query.from_, end=query.to
    )
    return Answer(
        body=EquityCurve(account_id=call.account_id, account_seq=seq, total=curve.total, points=curve.points),
        seq=seq,
    )


async def result(call: Call[ReadQuery, None]) -> Answer:
    """What was frozen when the account ended: final balance, statistics, and the hashes to check them by."""
    await call.head(call.query)
    try:
        found = await call.parts.performance.result(call.account_id)
    except ResultMissing:
        raise Problem("account_quarantined", "its result is missing: an operator has to recompute it") from None
    if found is None:
        raise Problem("account_not_terminal")
    return Answer(body=found, seq=found.account_seq)


async def standings(call: Call[StandingsQuery, None]) -> Answer:
    """Accounts of a race by equity, all valued in the newest marking pass that covers them.

    Ended accounts keep their final equity. `passId` is null where no recent pass covers all; then each stands at its
    own last mark."""
    race_id = call.path["race_id"]
    if CLIENT_ID.fullmatch(race_id) is None:
        raise InvalidRequest([Fault("/path/raceId", "invalid_format", "is no client id")])
    try:
        race = await call.parts.performance.standings(race_id)
    except RaceTooLarge:
        raise Problem("race_too_large", f"at most {RACE_ACCOUNTS_MAX} accounts are ranked") from None
    return Answer(
        body=Standings(
            race_id=race_id,
            pass_id=None if race.common is None else race.common.id,
            marked_at=None if race.common is None else race.common.at,
            accounts=len(race.standings),
            has_more=len(race.standings) > call.query.limit,
            data=race.standings[: call.query.limit],
        )
    )
