"""Replies that only HTTP has: envelopes, pages, and views with ages, which need a clock.

Everything else on the wire is a view of the engine. Field order is the wire's.
"""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Literal

import msgspec

from actors.messages import PassReport
from engine.account import Account, Counters
from engine.commands import Action
from engine.curve import EquityPoint
from engine.decide import MarkOutcome
from engine.decision_context import LiquidationDistance, SymbolContext
from engine.events import RestatedFill
from engine.policy import Policy, QuoteMaxAge
from engine.quotes import Quote, fault, is_fresh
from engine.quotes import age_ms as age_of
from engine.rejections import Failure
from engine.rule_views import RulesView, rules_view
from engine.standings import Standing
from engine.views import AccountView, ActionResult, BalanceView, PositionView, View, snapshot_view
from persistence.drift import Drift
from persistence.queries import LedgerRow


class DecisionActions(View, frozen=True, kw_only=True):
    """What became of a batch. `dry_run`: nothing was written."""

    account_id: str
    decision_run_id: str
    account_seq: int
    dry_run: bool
    results: tuple[ActionResult, ...]
    balance: BalanceView


class SplicedActions(View, frozen=True, kw_only=True):
    """`DecisionActions`, of which the account's host has made JSON what is large."""

    account_id: str
    decision_run_id: str
    account_seq: int
    dry_run: bool
    results: msgspec.Raw
    balance: msgspec.Raw


class DecisionAction(View, frozen=True, kw_only=True):
    """One action as asked, and what became of it at `account_seq`."""

    account_id: str
    decision_run_id: str
    account_seq: int
    decided_at: datetime
    action: Action
    result: ActionResult


class Voiding(View, frozen=True, kw_only=True):
    """The account without the fills that were taken out: by this request, so none where the fill was out already.
    `restatedFills` are fills that stay and have other figures now."""

    account_id: str
    account_seq: int
    voided_fill_ids: tuple[str, ...]
    voided_order_ids: tuple[str, ...]
    restated_fills: tuple[RestatedFill, ...]
    account: AccountView
    balance: BalanceView
    positions: tuple[PositionView, ...]


class Recomputation(View, frozen=True, kw_only=True):
    """What a recompute found. `drift` lists the first of `drifts`; `repaired`: all of them are put right."""

    account_id: str
    account_seq: int
    consistent: bool
    drifts: int
    drift: tuple[Drift, ...]
    repaired: bool


class Marking(View, frozen=True, kw_only=True):
    """How a marking ended; `failures` are the quotes it could not use."""

    account_id: str
    account_seq: int
    outcome: MarkOutcome
    balance: BalanceView
    failures: tuple[Failure, ...]


class MarkingPass(View, frozen=True, kw_only=True):
    """One marking pass over every account that is marked."""

    pass_id: str
    accounts: int
    marked: int
    flat: int
    failed: int
    liquidated: int
    duration_ms: int


class AgedPosition(PositionView, frozen=True, kw_only=True):
    """A position with the age of its mark in milliseconds; null once it is closed."""

    mark_age_ms: int | None


class AgedSnapshot(View, frozen=True, kw_only=True):
    """One account at `account_seq`. `valuation` is stale while the last mark could not be taken."""

    account: AccountView
    account_seq: int
    balance: BalanceView
    positions: tuple[AgedPosition, ...]
    counters: Counters
    valuation: Literal["full", "stale"]
    rules: RulesView


class AgedDecisionContext(View, frozen=True, kw_only=True):
    """What an agent needs before it decides; `actions` are the last ones, newest first."""

    account_id: str
    account_seq: int
    snapshot: AgedSnapshot
    policy: Policy
    symbols: tuple[SymbolContext, ...]
    liquidation_distance: LiquidationDistance
    rules: RulesView
    actions: tuple[DecisionAction, ...]


class Price(View, frozen=True, kw_only=True):
    """The quote the engine sees of a symbol. A price that is none is null; `fresh`: an audition could trade at it."""

    symbol: str
    bid: Decimal | None
    ask: Decimal | None
    mid: Decimal | None
    source: str
    observed_at: datetime
    age_ms: int
    fresh: bool


class Prices(View, frozen=True, kw_only=True):
    data: tuple[Price, ...]


class EquityCurve(View, frozen=True, kw_only=True):
    """Points of a curve up to `account_seq`; there are `total` of them before thinning."""

    account_id: str
    account_seq: int
    total: int
    points: tuple[EquityPoint, ...]


class Standings(View, frozen=True, kw_only=True):
    """A race. `accounts` counts all of them, `data` holds the first."""

    race_id: str
    pass_id: str | None
    marked_at: datetime | None
    accounts: int
    has_more: bool
    data: tuple[Standing, ...]


class EventPage(View, frozen=True, kw_only=True):
    """Events of all accounts. `next_cursor` is always there: where there is no more yet, ask again with it later."""

    data: tuple[LedgerRow, ...]
    has_more: bool
    next_cursor: str


class Component(View, frozen=True, kw_only=True):
    component: str
    well: bool
    detail: str


class Readiness(View, frozen=True, kw_only=True):
    """`components` is empty unless asked for."""

    ready: bool
    components: tuple[Component, ...] = ()


class Liveness(View, frozen=True, kw_only=True):
    live: bool


class VersionView(View, frozen=True, kw_only=True):
    name: str
    version: str


def aged_snapshot(account: Account, now: datetime) -> AgedSnapshot:
    snapshot = snapshot_view(account)
    positions = tuple(aged(position, now) for position in snapshot.positions)
    fields = {**msgspec.structs.asdict(snapshot), "positions": positions}
    return AgedSnapshot(**fields, rules=rules_view(account, now))


def aged(position: PositionView, now: datetime) -> AgedPosition:
    age_ms = None if position.status == "closed" else max(0, (now - position.marked_at) // timedelta(milliseconds=1))
    return AgedPosition(**msgspec.structs.asdict(position), mark_age_ms=age_ms)


def price(quote: Quote, now: datetime) -> Price:
    return Price(
        symbol=quote.symbol,
        bid=quote.bid if quote.bid.is_finite() else None,
        ask=quote.ask if quote.ask.is_finite() else None,
        mid=quote.mid if quote.mid.is_finite() else None,
        source=quote.source,
        observed_at=quote.observed_at,
        age_ms=age_of(quote, now),
        fresh=fault(quote) is None and is_fresh(quote, now, QuoteMaxAge().trade),
    )


def marking_pass(report: PassReport) -> MarkingPass:
    return MarkingPass(
        pass_id=report.pass_id,
        accounts=report.accounts,
        marked=report.marked,
        flat=report.flat,
        failed=report.failed,
        liquidated=report.liquidated,
        duration_ms=report.duration_ms,
    )
