"""Connections that write: what each is told at its start, and how one is cut off."""

import asyncio
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import psycopg
from psycopg import AsyncConnection
from psycopg.conninfo import conninfo_to_dict

IDLE_IN_TRANSACTION_MS: Final = 10_000
"""A writer that was cut off lets go of its head rows after this."""

Connection = AsyncConnection[tuple[Any, ...]]


def connection_parameters(
    url: str, application_name: str, connect_timeout_ms: int, statement_timeout_ms: int, lock_timeout_ms: int
) -> dict[str, Any]:
    given = conninfo_to_dict(url)
    server = {
        "statement_timeout": statement_timeout_ms,
        "lock_timeout": lock_timeout_ms,
        "idle_in_transaction_session_timeout": IDLE_IN_TRANSACTION_MS,
        "synchronous_commit": "on",
        "timezone": "UTC",
        "jit": "off",
        "plan_cache_mode": "force_generic_plan",  # planning a commit anew takes longer than the commit
        "enable_seqscan": "off",  # every statement here is keyed; a plan made while a table was small must not stay
    }
    options = " ".join(f"-c {name}={value}" for name, value in server.items())
    return given | {
        "application_name": application_name,
        "options": f"{given.get('options') or ''} {options}".strip(),
        "connect_timeout": max(2, connect_timeout_ms // 1000),
        "keepalives": 1,
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 3,
        "tcp_user_timeout": 10_000,
        "autocommit": True,
    }


async def rolled_back(connection: Connection) -> None:
    try:
        await connection.rollback()
    except psycopg.Error:  # then it is lost, and the pool drops it
        await connection.close()


@contextmanager
def severed_after(seconds: float, connection: Connection) -> Iterator[None]:
    """Cut the connection after `seconds`: a server that is stopped answers nothing, and no TCP timeout notices."""
    cut = asyncio.get_running_loop().call_later(seconds, _sever, connection)
    try:
        yield
    finally:
        cut.cancel()


def _sever(connection: Connection) -> None:
    if not connection.closed:
        with socket.socket(fileno=os.dup(connection.fileno())) as wire:
            wire.shutdown(socket.SHUT_RDWR)
