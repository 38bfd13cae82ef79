"""AsyncProp: the API as methods, for `async` code. Each says in its example how it is called.

Guarantee: a method that writes may be repeated. Ids that are left out are made here before the first attempt, so that
what is sent again is the same; an ending that was answered with `account_terminal` on a later attempt is looked up, and
is a success where the account ended as asked.
"""

import uuid
from collections.abc import Iterable, Mapping
from decimal import Decimal
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

from prop.admin import AdminCalls
from prop.calls import of_account, understood
from prop.errors import Unreachable
from prop.models import (
    Account,
    ActionIn,
    CreateAccountIn,
    DecisionAction,
    DecisionActions,
    Liveness,
    Marking,
    MarkingPass,
    PolicyIn,
    Readiness,
    Version,
)
from prop.reads import ReadCalls
from prop.transport import DEADLINE_SECONDS, PREFIX, Transport, segments

Ended = TypeVar("Ended")
Amount = Decimal | str | int
Mode = Literal["audition", "race", "live_paper"]
PASS_SECONDS_MAX = 65.0
"""How long one attempt may wait for a marking pass: a little more than the engine gives it."""


class AsyncProp(ReadCalls, AdminCalls):
    """A client of one gateway with one token.

    `deadline_s` bounds each call with all its attempts, `attempts_max` how many there are. Money goes in as `Decimal`,
    text or `int`, and comes out as `Decimal`. Raises `prop.PropError` and nothing else, except for arguments it does
    not take.

    >>> async with AsyncProp(url, token) as prop:
    ...     account = await prop.create_account("user-7", "clone-9")
    """

    def __init__(
        self, url: str, token: str, *, deadline_s: float = DEADLINE_SECONDS, attempts_max: int | None = None
    ) -> None:
        super().__init__(Transport(url, token, deadline_s=deadline_s, attempts_max=attempts_max))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections, for good. Streams end."""
        await self._transport.close()

    # ------------------------------------------------------------ accounts

    async def create_account(
        self,
        owner_id: str,
        clone_id: str,
        *,
        idempotency_key: str | None = None,
        parent_account_id: str | None = None,
        race_id: str | None = None,
        mode: Mode | None = None,
        starting_balance: Amount | None = None,
        currency: str | None = None,
        policy: PolicyIn | Mapping[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Account:
        """Open a pending account, or get the one that `idempotency_key` opened before.

        >>> account = await prop.create_account(
        ...     "user-7", "clone-9", idempotency_key="audition-42", policy={"maxLeverage": "3"}
        ... )
        >>> account.starting_balance
        Decimal('100000.00000000')
        """
        given = {
            "parentAccountId": parent_account_id,
            "raceId": race_id,
            "mode": mode,
            "startingBalance": starting_balance,
            "currency": currency,
            "policy": policy,
            "metadata": metadata,
        }
        asked = CreateAccountIn.model_validate(
            {
                "ownerId": owner_id,
                "cloneId": clone_id,
                "idempotencyKey": idempotency_key or f"made:{uuid.uuid4()}",
                **{name: value for name, value in given.items() if value is not None},
            }
        )
        return await self._post(f"{PREFIX}/accounts", Account, asked.wire())

    async def start(self, account_id: str, *, dry_run: bool = False) -> Account:
        """Let a pending account trade. An active one is returned unchanged.

        >>> (await prop.start(account.id)).status
        'active'
        """
        return await self._post(of_account(account_id, "start"), Account, {}, dry_run=dry_run)

    async def complete(
        self, account_id: str, *, settle: Literal["close", "none"] = "close", dry_run: bool = False
    ) -> Account:
        """End the account. `settle="close"` closes its positions at the current quotes first.

        >>> (await prop.complete(account.id, dry_run=True)).end_reason
        'completed'
        """
        path = of_account(account_id, "complete")
        return await self._ended(account_id, "completed", path, {"settle": settle}, dry_run)

    async def liquidate(self, account_id: str, reason: str, *, dry_run: bool = False) -> Account:
        """Close every position at the current quotes and end the account as liquidated.

        >>> (await prop.liquidate(account.id, "rules broken", dry_run=True)).status
        'liquidated'
        """
        path = of_account(account_id, "liquidate")
        return await self._ended(account_id, "liquidated", path, {"reason": reason}, dry_run)

    # ------------------------------------------------------------ decision actions

    async def decide(
        self,
        account_id: str,
        actions: Iterable[ActionIn | Mapping[str, Any]],
        *,
        run_id: str | None = None,
        dry_run: bool = False,
    ) -> DecisionActions:
        """Propose 1 to 100 actions, judged in order, each alone. A rejection is a result, not an exception.

        An action that has no id is named by its place: `a1`, `a2`. The same `run_id` and ids again give the same
        results, with `replayed` true.

        >>> taken = await prop.decide(account.id, [open_("BTC-USD", "long", quantity="0.5")], run_id="run-1")
        >>> taken.results[0].status
        'executed'
        """
        body = {
            "decisionRunId": run_id or f"made:{uuid.uuid4()}",
            "actions": [_named(action, place) for place, action in enumerate(actions, 1)],
        }
        path = of_account(account_id, "decision-actions")
        return await self._post(path, DecisionActions, body, dry_run=dry_run)

    async def decision_action(self, prop_action_id: str) -> DecisionAction:
        """One action as it was asked, and what became of it.

        >>> (await prop.decision_action(taken.results[0].prop_action_id)).decision_run_id
        'run-1'
        """
        return await self._get(PREFIX + segments("decision-actions", prop_action_id), DecisionAction)

    # ------------------------------------------------------------ marking

    async def mark(self, account_id: str) -> Marking:
        """Value one account at the current quotes; a breached drawdown liquidates it.

        >>> (await prop.mark(account.id)).outcome
        'marked'
        """
        return await self._post(of_account(account_id, "mark-to-market"), Marking)

    async def mark_all(self) -> MarkingPass:
        """One marking pass over every active and paused account. A long pass is waited for, not asked for twice: give
        the client the `deadline_s` it takes.

        >>> (await prop.mark_all()).failed
        0
        """
        return understood(
            MarkingPass,
            await self._transport.call("POST", f"{PREFIX}/mark-to-market-all", attempt_s_max=PASS_SECONDS_MAX),
        )

    # ------------------------------------------------------------ the service

    async def live(self) -> bool:
        """Whether the gateway answers.

        >>> await prop.live()
        True
        """
        return (await self._get("/livez", Liveness)).live

    async def readiness(self) -> Readiness:
        """Whether everything is well, component by component.

        >>> (await prop.readiness()).ready
        True
        """
        said = await self._transport.call("GET", "/readyz", query={"verbose": ""}, also=frozenset({503}))
        return understood(Readiness, said)

    async def version(self) -> Version:
        """Which build answers.

        >>> (await prop.version()).name
        'prop-engine'
        """
        return await self._get("/version", Version)

    async def send(self, method: Literal["GET", "POST"], path: str, *, body: Any = None) -> Any:
        """Any route by its path, with its query, as the JSON it answers.

        >>> (await prop.send("GET", f"/api/v1/prop/accounts/{account.id}/ledger?limit=1"))["data"][0]["type"]
        'account_created'
        """
        return await self._transport.call(method, path, body=body)

    async def openapi(self) -> dict[str, Any]:
        """The API's own description.

        >>> (await prop.openapi())["openapi"]
        '3.1.0'
        """
        said = await self._transport.call("GET", "/openapi.json")
        if not isinstance(said, dict):
            raise Unreachable("the answer is no description of an API")
        return said


def open_(
    symbol: str,
    side: Literal["long", "short"],
    *,
    quantity: Amount | None = None,
    notional: Amount | None = None,
    **more: Any,
) -> dict[str, Any]:
    """An action that opens a position or adds to it: by `quantity` or by `notional`. `more`: `leverage`, `max_price`,
    `min_price`, `rationale`, `confidence`, `decision_action_id`."""
    return _action("open", symbol, side, {"quantity": quantity, "notional": notional, **more})


def reduce(
    symbol: str,
    side: Literal["long", "short"],
    *,
    quantity: Amount | None = None,
    fraction: Amount | None = None,
    **more: Any,
) -> dict[str, Any]:
    """An action that takes a part off: by `quantity`, or by `fraction` above 0 to 1."""
    return _action("reduce", symbol, side, {"quantity": quantity, "fraction": fraction, **more})


def close(symbol: str, side: Literal["long", "short"], **more: Any) -> dict[str, Any]:
    """An action that closes the position."""
    return _action("close", symbol, side, more)


def _action(word: str, symbol: str, side: str, more: Mapping[str, Any]) -> dict[str, Any]:
    given = {name: value for name, value in more.items() if value is not None}
    return {"action": word, "symbol": symbol, "side": side, **given}


def _named(action: ActionIn | Mapping[str, Any], place: int) -> dict[str, Any]:
    if isinstance(action, ActionIn):
        return action.wire()
    has_id = "decisionActionId" in action or "decision_action_id" in action
    return ActionIn.model_validate(dict(action) if has_id else {"decisionActionId": f"a{place}", **action}).wire()
