"""Commands: what is asked of an account, in the imperative. Nothing here has happened yet."""

from decimal import Decimal
from typing import Any, Literal

import msgspec

from engine.canonical import canonical
from engine.policy import Policy, Side

Mode = Literal["audition", "race", "live_paper"]
Settle = Literal["close", "none"]


class CreateAccount(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, rename="camel", kw_only=True):
    """Open a pending account. Two of these with one idempotency key must be equal."""

    owner_id: str
    clone_id: str
    idempotency_key: str | None = None
    parent_account_id: str | None = None
    race_id: str | None = None
    mode: Mode = "audition"
    currency: str = "USDC"
    starting_balance: Decimal = Decimal("100000.00000000")
    policy: Policy = Policy()
    metadata: dict[str, Any] = {}  # the client's own JSON, stored and never read; numbers with a point come as text


class Action(msgspec.Struct, frozen=True, gc=False, rename="camel", kw_only=True):
    """One proposed action, as the AI sent it. `fraction` is of the position; no `leverage` is the policy's maximum."""

    decision_action_id: str
    action: str
    symbol: str | None = None
    side: Side | None = None
    quantity: Decimal | None = None
    notional: Decimal | None = None
    fraction: Decimal | None = None
    leverage: Decimal | None = None
    max_price: Decimal | None = None
    min_price: Decimal | None = None
    rationale: str | None = None
    confidence: str | None = None


def differing(first: msgspec.Struct, second: msgspec.Struct) -> tuple[str, ...]:
    """Wire names of the fields in which two structs of one type differ."""
    return tuple(
        field.encode_name
        for field in msgspec.structs.fields(type(first))
        if canonical(getattr(first, field.name)) != canonical(getattr(second, field.name))
    )


class TakeAction(msgspec.Struct, frozen=True, gc=False, tag="take_action"):
    """Judge one action of a decision run and, where every gate passes, fill it."""

    decision_run_id: str
    action: Action


class StartAccount(msgspec.Struct, frozen=True, gc=False, tag="start"):
    """Let a pending account trade."""


class PauseAccount(msgspec.Struct, frozen=True, gc=False, tag="pause"):
    """Refuse actions, go on marking."""

    reason: str


class LockAccount(msgspec.Struct, frozen=True, gc=False, tag="lock"):
    """Refuse actions and marks."""

    reason: str


class ResumeAccount(msgspec.Struct, frozen=True, gc=False, tag="resume"):
    """Back to active."""

    reason: str


class CompleteAccount(msgspec.Struct, frozen=True, gc=False, tag="complete"):
    """End the account, closing its positions at the current quotes first unless `settle` is none."""

    settle: Settle = "close"


class LiquidateAccount(msgspec.Struct, frozen=True, gc=False, tag="liquidate"):
    """Close every position at the current quotes and end the account."""

    reason: str


class MarkToMarket(msgspec.Struct, frozen=True, gc=False, tag="mark_to_market"):
    """Value every open position; liquidate when the drawdown is breached. `pass_id` names the price vector. With
    `unless_unchanged` nothing is written where every price is that of the last mark: only the rules are judged."""

    pass_id: str
    unless_unchanged: bool = False


class VoidFill(msgspec.Struct, frozen=True, gc=False, tag="void_fill"):
    """Take one fill out; with `cascade` also every later fill that is not possible without it."""

    fill_id: str
    reason: str
    cascade: bool = False


class VoidOrder(msgspec.Struct, frozen=True, gc=False, tag="void_order"):
    """Take the fill of one order out, as `VoidFill` does."""

    order_id: str
    reason: str
    cascade: bool = False


Correction = VoidFill | VoidOrder
Lifecycle = StartAccount | PauseAccount | LockAccount | ResumeAccount | CompleteAccount | LiquidateAccount
Command = TakeAction | Lifecycle | MarkToMarket
