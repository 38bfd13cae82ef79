"""Asked: what the command line wants simulated, and the plan that makes of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from engine.book import AccountBook
from engine.canonical import plain
from engine.money import NotMoney, parse
from engine.simulation.entering import STARTING_BALANCE
from engine.simulation.faults import BadInput, InputCode
from engine.simulation.plan import EngineName, Plan, Variant
from engine.simulation.prices import PriceTable
from engine.simulation.units import microseconds
from gateway.simulation import policies, sources

TICK_US: Final = 60_000_000
"""After an account's last event prices begin, where they have one tick only; else as far as their ticks lie apart."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Options by their names. `policy` and `sweep` are as `policies.given` and `policies.variants` read them."""

    prices: str
    strategy: str
    actions: Path | None = None
    accounts: int = 1
    policy: Sequence[str] = ()
    sweep: Sequence[str] = ()
    engine: EngineName = "exact"
    seed: int = 0
    ticks: int | None = None
    mark_every: int = 1
    equity_every: int = 1
    starting_balance: str | None = None
    half_spread_bps: str | None = None


def plan(asked: Asked, origin: AccountBook | None = None) -> Plan:
    """What is to be run; `origin` is the account that goes on, where one does. Raises `BadInput`."""
    spread = None if asked.half_spread_bps is None else _figure("--half-spread-bps", asked.half_spread_bps)
    table = _following(sources.prices(asked.prices, ticks=asked.ticks, half_spread_bps=spread), origin)
    acting = sources.strategy(asked.strategy) if asked.actions is None else sources.recorded(asked.actions, table)
    balance = asked.starting_balance
    if origin is not None and balance is not None:
        raise BadInput(InputCode.UNSUPPORTED, "an account that goes on has its balance: leave --starting-balance out")
    return Plan(
        prices=table,
        acting=acting,
        variants=_variants(asked, origin),
        accounts=asked.accounts,
        engine=asked.engine,
        starting_balance=STARTING_BALANCE if balance is None else _figure("--starting-balance", balance),
        mark_every=asked.mark_every,
        equity_every=asked.equity_every,
        seed=asked.seed,
        origin=origin,
    )


def about(asked: Asked, made: Plan) -> Mapping[str, str]:
    """How the run was asked for, for the report."""
    acting = asked.strategy if asked.actions is None else f"recorded in {asked.actions.name}"
    known = {
        "prices": asked.prices,
        "acting": acting,
        "engine": made.engine,
        "policy": ", ".join(asked.policy) or ("default" if made.origin is None else "the account's own"),
        "sweep": "; ".join(asked.sweep),
        "seed": str(made.seed),
        "starting balance": str(made.starting_balance) if made.origin is None else "",
        "goes on from": "" if made.origin is None else f"{made.origin.account.id} at seq {made.origin.account.seq}",
        "marks": f"every {made.mark_every} ticks" if made.mark_every > 1 else "",
    }
    return {name: text for name, text in known.items() if text}


def _variants(asked: Asked, origin: AccountBook | None) -> tuple[Variant, ...]:
    given = policies.given(asked.policy)
    if origin is None:
        return policies.variants(given, asked.sweep)
    if not given and not asked.sweep:
        return (Variant(name="policy", policy=None),)
    own: dict[str, Any] = plain(origin.account.policy)
    return policies.variants(own | given, asked.sweep)


def _following(table: PriceTable, origin: AccountBook | None) -> PriceTable:
    """Prices from before an account stood as it does are moved to follow it."""
    if origin is None:
        return table
    last_us = microseconds(origin.account.last_at)
    if int(table.times[0]) >= last_us:
        return table
    step = int(table.times[1] - table.times[0]) if table.ticks > 1 else TICK_US
    return table.moved(last_us + step)


def _figure(name: str, text: str) -> Decimal:
    try:
        return parse(text)
    except NotMoney as fault:
        raise BadInput(InputCode.NOT_A_NUMBER, f"{name} is {text!r}: {fault}", name=name) from None
