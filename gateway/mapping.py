"""Mapping: parsed requests into engine commands, and disagreements with earlier requests into faults."""

from collections.abc import Iterator, Sequence

from engine.book import ActionBatch, Conflict
from engine.commands import Action, CreateAccount, differing
from engine.policy import MaxDailyLoss, Policy, ProfitTarget, QuoteMaxAge, TrailingDrawdown, faults
from gateway.problems import Fault, InvalidRequest
from gateway.schemas import CreateAccountIn, DecisionActionsIn, PolicyIn


def opening(asked: CreateAccountIn) -> CreateAccount:
    """The account to open. Raises `InvalidRequest` where the policy is out of range."""
    return CreateAccount(
        owner_id=asked.owner_id,
        clone_id=asked.clone_id,
        idempotency_key=asked.idempotency_key,
        parent_account_id=asked.parent_account_id,
        race_id=asked.race_id,
        mode=asked.mode,
        currency=asked.currency,
        starting_balance=asked.starting_balance,
        policy=policy(asked.policy),
        metadata=asked.metadata,
    )


def policy(asked: PolicyIn) -> Policy:
    """The whole policy. Raises `InvalidRequest` with a fault for each figure out of range."""
    ages = asked.quote_max_age_ms
    daily, trailing, target = asked.max_daily_loss, asked.trailing_drawdown, asked.profit_target
    made = Policy(
        max_leverage=asked.max_leverage,
        max_notional=asked.max_notional,
        max_open_positions=asked.max_open_positions,
        max_open_orders=asked.max_open_orders,
        allowed_directions=tuple(asked.allowed_directions),
        allowed_assets=None if asked.allowed_assets is None else tuple(asked.allowed_assets),
        fee_bps=asked.fee_bps,
        slippage_model=asked.slippage_model,
        slippage_bps=asked.slippage_bps,
        max_drawdown=asked.max_drawdown,
        max_position_equity_ratio=asked.max_position_equity_ratio,
        allow_hedging=asked.allow_hedging,
        quote_max_age_ms=QuoteMaxAge(trade=ages.trade, mark=ages.mark, liquidate=ages.liquidate),
        max_daily_loss=None if daily is None else MaxDailyLoss(**dict(daily)),
        trailing_drawdown=None if trailing is None else TrailingDrawdown(**dict(trailing)),
        profit_target=None if target is None else ProfitTarget(**dict(target)),
    )
    wrong = [Fault(f"/policy/{field}", "out_of_range", f"must be {must_be}") for field, must_be in faults(made)]
    if wrong:
        raise InvalidRequest(wrong)
    return made


def batch(asked: DecisionActionsIn) -> ActionBatch:
    """The batch to judge. Raises `InvalidRequest` `duplicate_decision_action` where one id occurs twice."""
    ids = [action.decision_action_id for action in asked.actions]
    if len(set(ids)) < len(ids):
        raise InvalidRequest(_repeated(ids), "duplicate_decision_action")
    return ActionBatch(asked.decision_run_id, tuple([Action(**vars(action)) for action in asked.actions]))


def _repeated(ids: Sequence[str]) -> Iterator[Fault]:
    seen: set[str] = set()
    for place, each in enumerate(ids):
        if each in seen:
            pointer = f"/actions/{place}/decisionActionId"
            yield Fault(pointer, "duplicate_decision_action", "occurs earlier in this batch")
        seen.add(each)


def reused_key(first: CreateAccount, asked: CreateAccount) -> InvalidRequest | None:
    """The problem with an idempotency key that opened another account than the one asked for."""
    fields = list(_differing_opening(first, asked))
    if not fields:
        return None
    return InvalidRequest(
        [Fault(f"/{field}", "differs", "differs from the request that used this key first") for field in fields],
        "idempotency_key_reused",
    )


def _differing_opening(first: CreateAccount, asked: CreateAccount) -> Iterator[str]:
    for field in differing(first, asked):
        if field == "policy":
            yield from (f"policy/{name}" for name in differing(first.policy, asked.policy))
        else:
            yield field


def conflicting(asked: ActionBatch, conflicts: Sequence[Conflict]) -> InvalidRequest:
    """The problem with actions whose keys were answered before with other content: each differing field."""
    places = {action.decision_action_id: place for place, action in enumerate(asked.actions)}
    return InvalidRequest(
        [
            Fault(
                f"/actions/{places[conflict.decision_action_id]}/{field}",
                "differs",
                "differs from what was asked under this decisionActionId first",
            )
            for conflict in conflicts
            for field in conflict.fields
        ],
        "decision_action_conflict",
    )
