"""Fleet: open accounts in a database, many and at once, as a restart finds them.

They come by COPY: the account, its balance and head, its open positions, a snapshot at the head and the event that it
was taken at. That is all an activation reads; the event stands for the whole ledger and says nothing. No two accounts
are alike, in size, side, market or price of entry, so that nothing can be worked out once for many.
"""

import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import psycopg

from engine.account import Account
from engine.book import BookState
from engine.canonical import canonical
from engine.changes import position_row
from engine.commands import CreateAccount
from engine.events import PositionOpened, RecordedEvent
from engine.ids import uuid7
from engine.money import ONE, fee, notional, round8
from engine.policy import LONG, SHORT, Side
from engine.positions import Position, opened
from engine.quotes import Quote, observed
from engine.record import begun
from engine.views import account_view, balance_view
from persistence import rows
from persistence.columns import Columns, Row, copy_text
from persistence.snapshots import PackedSnapshot, packed
from persistence.store import Append, StoredSnapshot

BEGAN: Final = datetime(2026, 1, 5, 12, tzinfo=UTC)
MARKETS: Final = {f"S{number}-USD": Decimal(10) ** (number % 5) for number in range(10)}
"""The price each market begins at."""
SIDES: Final[tuple[Side, ...]] = (LONG, SHORT)
NOTIONAL_MAX: Final = 2_000
"""Of a position, of an account that begins with 100,000: no market of these benchmarks takes anybody to his floor."""
CHUNK: Final = 1_000


class Market:
    """Prices that move with every look, all of them, by the same chance in every run."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self._mids = dict(MARKETS)

    def look(self) -> dict[str, Quote]:
        """One price vector, observed just now."""
        now = datetime.now(UTC)
        for symbol, mid in self._mids.items():
            self._mids[symbol] = round8(mid * Decimal(self._chance.randint(9_990, 10_010)) / 10_000)
        spread = {symbol: mid / 10_000 for symbol, mid in self._mids.items()}
        return {
            symbol: observed(symbol, mid - spread[symbol], mid + spread[symbol], mid, "bench", now)
            for symbol, mid in self._mids.items()
        }


def filled(database_url: str, count: int, *, positions: int) -> list[str]:
    """Put `count` accounts with so many open positions each into an empty database; their ids."""
    chance, ids = random.Random(count), list[str]()
    with psycopg.connect(database_url, autocommit=True) as connection:
        while len(ids) < count:
            chunk = [_account(chance, positions) for _ in range(min(CHUNK, count - len(ids)))]
            ids += [account.id for account, _ in chunk]
            for shape, made in _rows(chunk):
                copy_in(connection, shape, made)
        connection.execute("VACUUM ANALYZE")
    return ids


def _account(chance: random.Random, positions: int) -> tuple[Account, bytes]:
    """An account after its openings, and the hash of its last event."""
    opening = CreateAccount(owner_id=f"owner-{chance.randint(1, 100)}", clone_id="clone")
    chosen = [_position(chance, symbol, seq) for seq, symbol in enumerate(chance.sample(list(MARKETS), positions), 1)]
    fees = sum((position.fees for position in chosen), start=Decimal(0))
    account = Account(
        id=uuid7(BEGAN, chance.randbytes(10)),
        seq=2 + 3 * positions,
        status="active",
        opening=opening,
        created_at=BEGAN,
        started_at=BEGAN,
        last_at=BEGAN + timedelta(minutes=1),
        cash=opening.starting_balance - fees,
        fees_paid=round8(fees),
        high_watermark=opening.starting_balance,
        positions={position.key: position for position in chosen},
        curve=begun(BEGAN, opening.starting_balance).held(BEGAN, is_exposed=True),
    )
    return account, chance.randbytes(32)


def _position(chance: random.Random, symbol: str, number: int) -> Position:
    mark_price = MARKETS[symbol]
    price = round8(mark_price * chance.randint(95_000, 105_000) / 100_000)
    quantity = round8(Decimal(chance.randint(10**10, NOTIONAL_MAX * 10**8)).scaleb(-8) / price)
    return opened(
        symbol=symbol,
        side=chance.choice(SIDES),
        quantity=quantity,
        order_notional=notional(quantity, price),
        leverage=chance.randint(1, 5) * ONE,
        fee=fee(notional(quantity, price), Decimal(10)),
        mark_price=mark_price,
        at=BEGAN + timedelta(minutes=1),
        seq=2 + 3 * number,
    )


ACCOUNTS: Final = Columns(
    "prop_accounts",
    (
        ("id", "uuid"),
        ("status", "text"),
        ("owner_id", "text"),
        ("clone_id", "text"),
        ("mode", "text"),
        ("currency", "text"),
        ("starting_balance", "numeric"),
        ("policy", "jsonb"),
        ("metadata", "jsonb"),
        ("opening", "jsonb"),
        ("created_at", "timestamptz"),
        ("started_at", "timestamptz"),
    ),
    frozenset(),
)
HEADS: Final = Columns(
    "prop_account_balances",
    tuple(column for column in rows.HEADS.columns if column[0] != "expected_seq"),
    frozenset({3}),
)
SNAPSHOTS: Final = Columns(
    "prop_account_snapshots", tuple((name, "") for name in PackedSnapshot.__struct_fields__), frozenset({4, 5})
)


def _rows(chunk: list[tuple[Account, bytes]]) -> Iterator[tuple[Columns, list[Row]]]:
    appends = [_append(account, head) for account, head in chunk]
    yield ACCOUNTS, [account_row(account) for account, _ in chunk]
    yield HEADS, [head[:2] + head[3:] for head in rows.heads(appends)]
    yield rows.EVENTS, rows.events(appends)
    yield rows.POSITIONS, rows.positions(appends)
    kept = [
        StoredSnapshot(account.id, account.seq, 0, BookState(account, head, frozenset())) for account, head in chunk
    ]
    yield SNAPSHOTS, [snapshot_row(each) for each in kept]


def account_row(account: Account) -> Row:
    opening, began = account.opening, account.created_at.isoformat()
    return (
        account.id,
        account.status,
        opening.owner_id,
        opening.clone_id,
        opening.mode,
        opening.currency,
        str(account.starting_balance),
        canonical(opening.policy).decode(),
        canonical(opening.metadata).decode(),
        canonical(opening).decode(),
        began,
        began,
    )


def _append(account: Account, head: bytes) -> Append:
    """As if its last event had just been appended, for the rows that follow from it."""
    last = RecordedEvent(account.id, account.seq, PositionOpened.TYPE, 1, account.last_at, 0, "fleet", b"{}", head)
    return Append(
        account_id=account.id,
        epoch=0,
        expected_seq=account.seq - 1,
        events=(last,),
        account=account_view(account),
        balance=balance_view(account),
        positions=tuple(position_row(position) for position in account.positions.values()),
    )


def snapshot_row(snapshot: StoredSnapshot) -> Row:
    row = packed(snapshot)
    return (
        row.account_id,
        str(row.seq),
        str(row.epoch),
        str(row.schema_version),
        "\\x" + row.state.hex(),
        "\\x" + row.sha256.hex(),
    )


def copy_in(connection: psycopg.Connection[Any], shape: Columns, made: Sequence[Row]) -> None:
    """Write rows of one table by COPY."""
    names = ", ".join(shape.names)
    with connection.cursor().copy(f"COPY {shape.table} ({names}) FROM STDIN".encode()) as copy:
        copy.write(copy_text(shape, made))
