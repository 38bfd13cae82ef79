"""Routes: the one table of what can be called. Routing, scopes, query parameters and OpenAPI all follow from it."""

from collections.abc import Awaitable, Callable
from typing import Any, Final, Literal

import msgspec

from engine.results import ResultView
from engine.views import AccountView, FillView, OrderView
from gateway import replies
from gateway.calls import Answer
from gateway.handlers import accounts, actions, admin, events, marking, performance, reads, service
from gateway.schemas import (
    AccountPageQuery,
    AccountsQuery,
    CompleteIn,
    CreateAccountIn,
    DecisionActionsIn,
    DecisionActionsQuery,
    EmptyIn,
    EquityQuery,
    EventsQuery,
    LedgerQuery,
    NoQuery,
    PageQuery,
    PositionsQuery,
    PricesQuery,
    ReadinessQuery,
    ReadQuery,
    ReasonIn,
    StandingsQuery,
    VoidFillIn,
    VoidOrderIn,
    WriteQuery,
)
from gateway.streaming import Feed
from gateway.validation import Wire
from persistence.queries import AuditRow, LedgerRow
from persistence.tokens import Scope

Handler = Callable[[Any], Awaitable[Answer]]


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """One operation. `reply` is a view; `listed` wraps it in the envelope of lists. `scope` None: open to everyone."""

    method: Literal["GET", "POST"]
    path: str
    handler: Handler
    scope: Scope | None = None
    query: type[Wire] = NoQuery
    body: type[Wire] | None = None
    body_optional: bool = False
    reply: type[msgspec.Struct] | None = None
    feed: Callable[[Any], Awaitable[Feed[Any]]] | None = None
    """The same as an event stream, for whom asks for one."""
    media_type: str = "application/json"
    listed: Literal["no", "list", "account_list"] = "no"
    status: int = 200
    tagged: bool = False
    errors: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """`accounts.create`: the operation's id."""
        return f"{self.handler.__module__.rpartition('.')[2]}.{getattr(self.handler, '__name__', 'handler')}"

    @property
    def summary(self) -> str:
        return (self.handler.__doc__ or "").strip()


V1: Final = "/api/v1/prop"
ACCOUNT: Final = V1 + "/accounts/{account_id}"
ADMIN: Final = "/api/v1/admin/prop/accounts/{account_id}"

_UNSERVED: Final = ("account_not_found", "account_quarantined", "overloaded", "outcome_unknown", "storage_unavailable")
_LIFECYCLE: Final = (*_UNSERVED, "invalid_transition", "account_terminal")
_CORRECTED: Final = (*_UNSERVED, "account_terminal", "void_would_orphan")
_PRICED: Final = (*_LIFECYCLE, "price_missing", "price_stale")
_READ: Final = ("account_not_found", "not_yet_durable", "storage_unavailable")
_STORED: Final = ("storage_unavailable",)


def _get(path: str, handler: Handler, reply: type[msgspec.Struct], **more: Any) -> Route:
    return Route(method="GET", path=path, handler=handler, reply=reply, **{"scope": "prop:read", **more})


def _list(path: str, handler: Handler, row: type[msgspec.Struct], query: type[Wire], **more: Any) -> Route:
    listed = "account_list" if path.startswith((ACCOUNT, ADMIN)) else "list"
    errors = (*(_READ if listed == "account_list" else _STORED), "invalid_cursor")
    return _get(path, handler, row, query=query, listed=listed, errors=errors, **more)


def _write(
    path: str, handler: Handler, body: type[Wire], errors: tuple[str, ...], scope: Scope = "prop:trade", **more: Any
) -> Route:
    return Route(
        method="POST",
        path=path,
        handler=handler,
        scope=scope,
        body=body,
        errors=errors,
        **{"query": WriteQuery, "reply": AccountView, **more},
    )


def _open(path: str, handler: Handler, **more: Any) -> Route:
    return Route(method="GET", path=path, handler=handler, **more)


ROUTES: Final[tuple[Route, ...]] = (
    _write(
        V1 + "/accounts",
        accounts.create,
        CreateAccountIn,
        ("idempotency_key_reused", "storage_unavailable"),
        query=NoQuery,
        status=201,
    ),
    _list(V1 + "/accounts", accounts.list_all, AccountView, AccountsQuery),
    _list(V1 + "/clones/{clone_id}/accounts", accounts.list_of_clone, AccountView, PageQuery),
    _get(ACCOUNT, accounts.read, AccountView, query=ReadQuery, tagged=True, errors=_READ),
    _write(ACCOUNT + "/start", accounts.start, EmptyIn, _LIFECYCLE, body_optional=True),
    _write(ACCOUNT + "/complete", accounts.complete, CompleteIn, _PRICED, body_optional=True),
    _write(ACCOUNT + "/liquidate", accounts.liquidate, ReasonIn, _PRICED),
    _write(
        ACCOUNT + "/decision-actions",
        actions.take,
        DecisionActionsIn,
        (*_UNSERVED, "decision_action_conflict", "duplicate_decision_action"),
        reply=replies.DecisionActions,
    ),
    _list(ACCOUNT + "/decision-actions", actions.list_all, replies.DecisionAction, DecisionActionsQuery),
    _get(
        V1 + "/decision-actions/{prop_action_id}",
        actions.read,
        replies.DecisionAction,
        tagged=True,
        errors=("decision_action_not_found", "storage_unavailable"),
    ),
    _list(ACCOUNT + "/ledger", events.ledger, LedgerRow, LedgerQuery, feed=events.ledger_feed),
    _get(ACCOUNT + "/snapshot", reads.snapshot, replies.AgedSnapshot, query=ReadQuery, tagged=True, errors=_READ),
    _get(ACCOUNT + "/decision-context", reads.context, replies.AgedDecisionContext, query=ReadQuery, errors=_READ),
    _list(ACCOUNT + "/orders", reads.orders, OrderView, AccountPageQuery),
    _list(ACCOUNT + "/fills", reads.fills, FillView, AccountPageQuery),
    _list(ACCOUNT + "/positions", reads.positions, replies.AgedPosition, PositionsQuery),
    _get(ACCOUNT + "/equity", performance.equity, replies.EquityCurve, query=EquityQuery, tagged=True, errors=_READ),
    _get(
        ACCOUNT + "/result",
        performance.result,
        ResultView,
        query=ReadQuery,
        tagged=True,
        errors=(*_READ, "account_not_terminal", "account_quarantined"),
    ),
    _get(
        V1 + "/races/{race_id}/standings",
        performance.standings,
        replies.Standings,
        query=StandingsQuery,
        errors=("race_too_large", "storage_unavailable"),
    ),
    _get(
        V1 + "/events",
        events.all_events,
        replies.EventPage,
        query=EventsQuery,
        feed=events.all_events_feed,
        errors=("invalid_cursor", "storage_unavailable"),
    ),
    _get(V1 + "/prices", reads.prices, replies.Prices, query=PricesQuery, errors=_STORED),
    _write(
        ACCOUNT + "/mark-to-market",
        marking.mark_one,
        EmptyIn,
        (*_UNSERVED, "account_not_active"),
        reply=replies.Marking,
        query=NoQuery,
        body_optional=True,
    ),
    _write(
        V1 + "/mark-to-market-all",
        marking.mark_all,
        EmptyIn,
        _STORED,
        reply=replies.MarkingPass,
        query=NoQuery,
        body_optional=True,
    ),
    _write(ADMIN + "/pause", admin.pause, ReasonIn, _LIFECYCLE, "prop:admin"),
    _write(ADMIN + "/resume", admin.resume, ReasonIn, _LIFECYCLE, "prop:admin"),
    _write(ADMIN + "/lock", admin.lock, ReasonIn, _LIFECYCLE, "prop:admin"),
    _write(ADMIN + "/liquidate", admin.liquidate, ReasonIn, _PRICED, "prop:admin"),
    _write(
        ADMIN + "/void-fill",
        admin.void_fill,
        VoidFillIn,
        (*_CORRECTED, "fill_not_found"),
        "prop:admin",
        reply=replies.Voiding,
    ),
    _write(
        ADMIN + "/void-order",
        admin.void_order,
        VoidOrderIn,
        (*_CORRECTED, "order_not_found"),
        "prop:admin",
        reply=replies.Voiding,
    ),
    _write(ADMIN + "/recompute", admin.recompute, ReasonIn, _UNSERVED, "prop:admin", reply=replies.Recomputation),
    _list(ADMIN + "/audit-log", admin.audit_log, AuditRow, AccountPageQuery, scope="prop:admin"),
    _open("/livez", service.live, reply=replies.Liveness),
    _open("/readyz", service.ready, reply=replies.Readiness, query=ReadinessQuery),
    _open("/version", service.version, reply=replies.VersionView),
    _open("/metrics", service.metrics, media_type="text/plain"),
    _open("/openapi.json", service.openapi),
    _open("/docs", service.docs, media_type="text/html"),
)
