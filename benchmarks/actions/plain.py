"""`python -m benchmarks.actions.plain DATABASE_URL`: the service one would write instead, to be measured beside ours.

aiohttp, pydantic and SQLAlchemy as their manuals show them: a transaction an action, the account locked, the same rows
written, the same shape answered. It judges less (it knows one gate) and chains no hashes, so it is the lighter one.
"""

import asyncio
import json
import sys
from decimal import ROUND_HALF_EVEN, Decimal
from functools import partial
from hashlib import blake2b
from typing import Any
from uuid import UUID, uuid4

import uvloop
from aiohttp import web
from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel
from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.sql import func

from persistence.tables import balances, decision_actions, fills, ledger_events, market_prices, orders, positions

CONNECTIONS_MAX = 16
FEE_RATE = Decimal("0.001")
NOTIONAL_MAX = Decimal(50_000)
ENGINE: web.AppKey[AsyncEngine] = web.AppKey("engine", AsyncEngine)


class ActionIn(BaseModel):
    """One proposed opening."""

    model_config = ConfigDict(alias_generator=to_camel)

    decision_action_id: str
    action: str
    symbol: str
    side: str
    quantity: Decimal
    leverage: Decimal = Decimal(1)


class ActionsIn(BaseModel):
    """A run's actions."""

    model_config = ConfigDict(alias_generator=to_camel)

    decision_run_id: str
    actions: list[ActionIn]


async def take(request: web.Request) -> web.Response:
    account_id = UUID(request.match_info["account_id"])
    asked = ActionsIn.model_validate_json(await request.read())
    results = [await _act(request.app[ENGINE], account_id, asked.decision_run_id, each) for each in asked.actions]
    body = {"accountId": str(account_id), "decisionRunId": asked.decision_run_id, "results": results}
    return web.json_response(body, dumps=partial(json.dumps, separators=(",", ":")))


async def _act(engine: AsyncEngine, account_id: UUID, run: str, action: ActionIn) -> dict[str, Any]:
    async with engine.begin() as connection:
        head = (
            await connection.execute(select(balances).where(balances.c.account_id == account_id).with_for_update())
        ).one()
        key = (decision_actions.c.account_id == account_id, decision_actions.c.decision_run_id == run)
        this = decision_actions.c.decision_action_id == action.decision_action_id
        done = (await connection.execute(select(decision_actions.c.result).where(*key, this))).scalar()
        if done is not None:
            return dict(done)
        return await _fill(connection, head, run, action)


async def _fill(connection: AsyncConnection, head: Any, run: str, action: ActionIn) -> dict[str, Any]:
    newest = market_prices.c.observed_at.desc()
    quoted = select(market_prices).where(market_prices.c.symbol == action.symbol).order_by(newest).limit(1)
    quote = (await connection.execute(quoted)).one()
    price = (quote.bid + quote.ask) / 2
    notional = _round8(action.quantity * price)
    fee = _round8(notional * FEE_RATE)
    account_id, now, order_id, action_id = head.account_id, func.now(), uuid4(), uuid4()
    code = "notional_exceeds_maximum" if notional > NOTIONAL_MAX else None
    result = {"status": "rejected" if code else "executed", "code": code, "orderId": str(order_id), "fee": str(fee)}
    seen = {"symbol": quote.symbol, "bid": str(quote.bid), "ask": str(quote.ask), "at": quote.observed_at.isoformat()}
    payload = {
        "run": run,
        "quote": seen,
        "action": action.model_dump(mode="json"),
        "fee": str(fee),
        "price": str(price),
    }
    events = [
        {
            "account_id": account_id,
            "seq": head.last_seq + place,
            "type": type_,
            "version": 1,
            "occurred_at": now,
            "epoch": 1,
            "request_id": run,
            "payload": payload,
            "hash": blake2b(repr(payload).encode(), digest_size=32).digest(),
        }
        for place, type_ in enumerate(("order_validated", "fill_booked", "position_increased"), 1)
    ]
    for event in events:
        await connection.execute(insert(ledger_events).values(**event))
    sized = {"symbol": action.symbol, "side": action.side, "intent": "open", "quantity": action.quantity}
    await connection.execute(
        insert(orders).values(
            id=order_id, account_id=account_id, account_seq=head.last_seq + 1, prop_action_id=action_id,
            leverage=action.leverage, status="filled", created_at=now, **sized,
        )
    )  # fmt: skip
    await connection.execute(
        insert(fills).values(
            id=uuid4(), order_id=order_id, account_id=account_id, account_seq=head.last_seq + 2, price=price, fee=fee,
            notional=notional, realized_pnl=0, quote=seen, status="booked", filled_at=now, **sized,
        )
    )  # fmt: skip
    held = positions.c
    await connection.execute(
        update(positions)
        .where(held.account_id == account_id, held.symbol == action.symbol, held.status == "open")
        .values(
            quantity=held.quantity + action.quantity, entry_notional=held.entry_notional + notional,
            mark_price=price, fees=held.fees + fee, marked_at=now,
        )
    )  # fmt: skip
    await connection.execute(
        insert(decision_actions).values(
            account_id=account_id, decision_run_id=run, decision_action_id=action.decision_action_id,
            prop_action_id=action_id, fingerprint=b"f" * 32, action=action.model_dump(mode="json"), result=result,
            status=result["status"], code=code, seq=head.last_seq + 3, decided_at=now,
        )
    )  # fmt: skip
    await connection.execute(
        update(balances)
        .where(balances.c.account_id == account_id)
        .values(
            last_seq=head.last_seq + 3, cash=head.cash - fee, equity=head.equity - fee, fees_paid=head.fees_paid + fee,
            free_margin=head.free_margin - fee, head_hash=events[-1]["hash"],
        )
    )  # fmt: skip
    return result


def _round8(number: Decimal) -> Decimal:
    return number.quantize(Decimal("1e-8"), rounding=ROUND_HALF_EVEN)


async def serve(database_url: str) -> None:
    """Listen on a free loopback port, say where on standard output, and go on until ended."""
    address = database_url.replace("postgresql://", "postgresql+psycopg://")
    engine = create_async_engine(address, pool_size=CONNECTIONS_MAX, max_overflow=0)
    app = web.Application()
    app[ENGINE] = engine
    app.add_routes([web.post("/api/v1/prop/accounts/{account_id}/decision-actions", take)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    print(f"http://{host}:{port}", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1]))
