"""The store in Postgres: group commits, fencing, claims, snapshots and ledger streams on psycopg.

Guarantees: `commit` returns only after COMMIT was answered with `synchronous_commit=on` (G1); an append is written
only where its epoch and seq are the head row's, compared in the same transaction (G4); the others of the batch go on
(G8). What a commit's answer means when it does not come is never guessed: only a locked read of the heads tells.

Errors of `commit`, by what is known:

    SQLSTATE class 22, 23, or text that is no UTF-8      DataRefused      nothing was written, and never will be
    before COMMIT was sent, a head stayed locked         `locked`         nothing of that account was written
    before COMMIT was sent                               StoreUnavailable nothing was written
    before that, a statement the schema does not know    as psycopg says  a defect: nothing was written
    once COMMIT was sent: connection lost, or any error  CommitAmbiguous  it may have happened

A small commit is one statement, which is sent with its COMMIT (`docs/adr/0012-small-commits-in-one-statement.md`).
"""

import asyncio
import re
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any, Final, LiteralString, Self

import psycopg
from msgspec import json
from psycopg import AsyncConnection
from psycopg.rows import tuple_row
from psycopg_pool import AsyncConnectionPool

from engine.canonical import canonical
from engine.commands import CreateAccount
from engine.events import RecordedEvent
from engine.receipts import ActionKey, Receipt
from engine.views import AccountView
from persistence import codec, group, rows, snapshots, statements
from persistence.account_stream import TABLES, accounts
from persistence.columns import array_texts
from persistence.connections import Connection, connection_parameters, rolled_back, severed_after
from persistence.drift import Stored
from persistence.pools import UNREACHABLE, Pool, unavailable, writing
from persistence.pools import rows as queried
from persistence.snapshots import PackedSnapshot
from persistence.store import (
    Append,
    AuditEntry,
    CommitAmbiguous,
    CommitVerdict,
    Created,
    DataRefused,
    Head,
    Mend,
    Store,
    StoredSnapshot,
    StoreUnavailable,
    Verdict,
)

APPLICATION_NAME: Final = "prop"
STREAM_IDLE_MS: Final = 600_000
"""How long the reader of a ledger stream may pause; longer than a writer may, since a stream locks nothing."""
CONNECTION_SECONDS_MAX: Final = 1.0
"""How long a commit waits for a connection. Short: whenever asked, the pool tries a server that is away just once."""
SETTLE_LOCK_MS: Final = 2_000
SETTLE_SECONDS_MAX: Final = 12.0
"""How long a settlement waits for every head: a backend that was cut off lets go in less (`IDLE_IN_TRANSACTION_MS`)."""
END_BACKEND_MS: Final = 500
"""How long a backend may take to end; most take a millisecond."""
STREAM_ROWS: Final = 2_000
STREAM_ACCOUNTS: Final = 500
"""Accounts of one ledger query, so that no sort on the server grows with the fleet."""
SNAPSHOTS_PER_STATEMENT: Final = 500

_BELOW_ANY: Final = 2**63 - 1
_OPENING: Final = json.Decoder(CreateAccount)


class PostgresStore(Store):
    """Made by `connect`."""

    def __init__(self, pool: Pool, connection: Mapping[str, Any], seconds_max: float) -> None:
        self._pool = pool
        self._connection = connection
        self._seconds_max = seconds_max
        self._in_doubt: dict[int, set[str]] = {}  # backend pid: accounts of the commit it was left with
        self._unheard: set[int] = set()  # of these, the ones that may not have begun it: no lock tells of it yet

    @classmethod
    @asynccontextmanager
    async def connect(
        cls,
        url: str,
        *,
        pool_size_max: int = 8,
        application_name: str = APPLICATION_NAME,
        connect_timeout_ms: int = 5_000,
        statement_timeout_ms: int = 30_000,
        lock_timeout_ms: int = 1_000,
    ) -> AsyncIterator[Self]:
        """A store on a pool of its own. Does not fail while Postgres is away: its calls raise `StoreUnavailable`."""
        connection = connection_parameters(
            url, application_name, connect_timeout_ms, statement_timeout_ms, lock_timeout_ms
        )
        pool: Pool = AsyncConnectionPool(
            kwargs=connection,
            min_size=1,
            max_size=pool_size_max,
            timeout=connect_timeout_ms / 1000,
            reconnect_timeout=0,  # try again when next asked, not after a growing pause
            open=False,
        )
        async with pool:
            yield cls(pool, connection, statement_timeout_ms / 1000)

    # ------------------------------------------------------------ writing

    async def create(self, opening: CreateAccount, first: Append) -> Created:
        account = first.account
        values = (account.id, *_account_columns(account, opening))
        try:
            async with writing(self._pool) as connection:
                inserted = await connection.execute(statements.INSERT_ACCOUNT, values)
                if inserted.rowcount:
                    await connection.execute(statements.INSERT_HEAD, array_texts(rows.HEADS, rows.heads([first])))
                    events = array_texts(rows.EVENTS, rows.events([first]))
                    await connection.execute(statements.INSERT[rows.EVENTS.table], events)
                    return Created(account, opening, replayed=False)
                found = await connection.execute(statements.EXISTING_ACCOUNT, (opening.idempotency_key, account.id))
                existing = _created(await found.fetchone(), account.id)
        except (psycopg.DataError, psycopg.IntegrityError, UnicodeEncodeError) as error:
            raise DataRefused(str(error)) from error
        return existing

    async def commit(self, appends: Sequence[Append]) -> Mapping[str, CommitVerdict]:
        if not appends:
            return {}
        verdicts: dict[str, CommitVerdict] = dict.fromkeys((append.account_id for append in appends), "fenced")
        commit_sent = at_once = waited = False
        async with self._lent() as connection:
            backend_pid = connection.info.backend_pid  # a lost connection does not know it any more
            try:
                with severed_after(self._seconds_max, connection):
                    values = group.at_once(appends)
                    if values is not None:
                        commit_sent = at_once = True
                        try:
                            moved = await group.commit_at_once(connection, values)
                            return verdicts | dict.fromkeys(moved, "committed")
                        except psycopg.errors.LockNotAvailable:  # nothing was written: see who it is
                            commit_sent, at_once, waited = False, False, True
                    moved, locked = await self._moved(connection, appends, waits=not waited)
                    verdicts.update(dict.fromkeys(locked, "locked"))
                    if not moved:
                        await connection.rollback()
                        return verdicts
                    moving = [append for append in appends if append.account_id in moved]
                    inserts = await group.copy_large(connection, moving)
                    commit_sent = True
                    await group.insert_and_commit(connection, moving, inserts)
            except (psycopg.DataError, psycopg.IntegrityError, UnicodeEncodeError) as error:
                raise DataRefused(str(error)) from error
            except psycopg.Error as error:
                if isinstance(error, psycopg.ProgrammingError) and (at_once or not commit_sent):
                    raise  # a defect, or another schema
                if not commit_sent:
                    raise unavailable(error) from error
                self._in_doubt[backend_pid] = set(verdicts)
                self._unheard |= {backend_pid} if at_once else set()
                raise CommitAmbiguous(f"COMMIT was sent, then: {error}") from error
        verdicts.update(dict.fromkeys(moved, "committed"))
        return verdicts

    async def _moved(
        self, connection: Connection, appends: Sequence[Append], *, waits: bool
    ) -> tuple[set[str], set[str]]:
        """Accounts whose heads were moved, and those that somebody keeps locked: the others wait for him once."""
        if waits:
            try:
                return await group.move_heads(connection, appends), set()
            except psycopg.errors.LockNotAvailable:
                await connection.rollback()
        mine, locked = await group.lock_free_heads(connection, [append.account_id for append in appends])
        free = [append for append in appends if append.account_id in mine]
        return await group.move_locked_heads(connection, free) if free else set(), locked

    async def settle(self, account_ids: Sequence[str]) -> Mapping[str, Head]:
        loop = asyncio.get_running_loop()
        give_up = loop.time() + SETTLE_SECONDS_MAX
        lock: LiteralString = statements.LOCK_HEADS
        await self._end_backends_in_doubt(account_ids, among=self._unheard)
        while True:
            try:
                heads = await self._locked_heads(account_ids, lock)
            except psycopg.errors.LockNotAvailable:
                await self._end_backends_in_doubt(account_ids, among=self._in_doubt)
                if loop.time() > give_up:
                    lock = statements.LOCK_FREE_HEADS
            except psycopg.Error as error:
                raise unavailable(error) from error
            else:
                self._no_longer_in_doubt(heads)
                return heads

    async def claim(self, account_ids: Sequence[str]) -> Mapping[str, Head]:
        ids = _array(_known(account_ids))
        try:
            return await self._claimed(ids, statements.LOCK_HEADS)
        except StoreUnavailable as away:
            if not isinstance(away.__cause__, psycopg.errors.LockNotAvailable):
                raise
            heads = await self._claimed(ids, statements.LOCK_FREE_HEADS)
            if not heads:
                raise
            return heads

    async def _claimed(self, ids: Sequence[str], lock: LiteralString) -> Mapping[str, Head]:
        async with writing(self._pool) as connection:
            cursor = await connection.execute(lock, (ids,))
            mine = [account_id for account_id, *_ in await cursor.fetchall()]
            cursor = await connection.execute(statements.RAISE_EPOCHS, (_array(mine),))
            return _heads(await cursor.fetchall())

    async def save_snapshots(self, kept: Sequence[StoredSnapshot]) -> int:
        written = 0
        for start in range(0, len(kept), SNAPSHOTS_PER_STATEMENT):
            packed = [snapshots.packed(each) for each in kept[start : start + SNAPSHOTS_PER_STATEMENT]]
            columns = [[getattr(row, name) for row in packed] for name in PackedSnapshot.__struct_fields__]
            async with writing(self._pool) as connection:
                cursor = await connection.execute(statements.PUT_SNAPSHOTS, columns)
                await connection.execute(statements.PRUNE_SNAPSHOTS, (columns[0], snapshots.KEPT - 1))
            written += cursor.rowcount
        return written

    # ------------------------------------------------------------ reading

    async def epochs(self, account_ids: Sequence[str]) -> Mapping[str, int]:
        return dict(await queried(self._pool, tuple_row, statements.EPOCHS, (_array(_known(account_ids)),)))

    async def snapshots(self, account_ids: Sequence[str]) -> Mapping[str, StoredSnapshot]:
        found: dict[str, StoredSnapshot] = {}
        below = dict.fromkeys(_known(account_ids), _BELOW_ANY)
        while below:
            wanted = (_array(below), _array(below.values()))
            passed_over = {}
            for row in await queried(self._pool, tuple_row, statements.NEWEST_SNAPSHOTS, wanted, is_binary=True):
                packed = PackedSnapshot(*row)
                snapshot = snapshots.unpacked(packed)
                if snapshot is None:
                    passed_over[packed.account_id] = packed.seq
                else:
                    found[packed.account_id] = snapshot
            below = passed_over
        return found

    async def ledger(self, after: Mapping[str, int]) -> AsyncIterator[RecordedEvent]:
        ids = sorted(_known(after))
        try:
            for start in range(0, len(ids), STREAM_ACCOUNTS):
                asked = ids[start : start + STREAM_ACCOUNTS]
                async with self._pool.connection() as connection, connection.transaction():
                    await connection.execute(f"SET LOCAL idle_in_transaction_session_timeout = {STREAM_IDLE_MS}")
                    async with connection.cursor(name="ledger", binary=True) as cursor:
                        await cursor.execute(statements.LEDGER, (_array(asked), _array(map(after.__getitem__, asked))))
                        while part := await cursor.fetchmany(STREAM_ROWS):
                            for row in part:
                                yield _recorded(row)
        except (psycopg.OperationalError, psycopg.InterfaceError) as error:
            raise unavailable(error) from error

    async def receipts(self, account_id: str, keys: Sequence[ActionKey]) -> Mapping[ActionKey, Receipt]:
        if not keys or not _known([account_id]):
            return {}
        wanted = ([run for run, _ in keys], [action for _, action in keys], account_id)
        found = {}
        for run, action, result, seq, decided_at in await queried(self._pool, tuple_row, statements.RECEIPTS, wanted):
            receipt = codec.receipt(decision_run_id=run, action=action, result=result, seq=seq, decided_at=decided_at)
            found[receipt.key] = receipt
        return found

    async def stored(self, account_id: str) -> Stored:
        try:
            async with self._pool.connection() as connection, connection.transaction():
                await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
                async with aclosing(accounts(connection, _known([account_id]))) as stream:
                    async for found in stream:
                        return found
        except UNREACHABLE as error:
            raise unavailable(error) from error
        return Stored(account_id, [], {table.name: [] for table in TABLES})

    async def mend(self, mend: Mend) -> Verdict:
        append = mend.append
        ended = (append.account.started_at, append.account.ended_at, append.account.end_reason)
        try:
            async with writing(self._pool) as connection:
                head = array_texts(rows.HEADS, rows.heads([append]))
                moved = await connection.execute(statements.MEND_HEAD, head)
                if not await moved.fetchall():
                    return "fenced"
                for table, statement in statements.DROP_DRIFTED.items():
                    keys = mend.drifted.get(table, ())
                    values = {
                        "account_id": append.account_id,
                        "keys": [key[0] for key in keys],
                        "more": [key[-1] for key in keys],
                    }
                    if keys:
                        await connection.execute(statement, values)
                columns = (*_account_columns(append.account, mend.opening), *ended)
                await connection.execute(statements.MEND_ACCOUNT, (*columns, append.account_id))
                await group.insert(connection, [append])
        except (psycopg.DataError, psycopg.IntegrityError, UnicodeEncodeError) as error:
            raise DataRefused(str(error)) from error
        return "committed"

    async def note(self, entry: AuditEntry) -> None:
        try:
            async with writing(self._pool) as connection:
                values = array_texts(rows.AUDIT, rows.audit([entry]))
                await connection.execute(statements.INSERT[rows.AUDIT.table], values)
        except (psycopg.DataError, psycopg.IntegrityError, UnicodeEncodeError) as error:
            raise DataRefused(str(error)) from error

    async def hostable(self) -> Sequence[str]:
        return [account_id for (account_id,) in await queried(self._pool, tuple_row, statements.HOSTABLE)]

    # ------------------------------------------------------------ connections

    @asynccontextmanager
    async def _lent(self) -> AsyncIterator[Connection]:
        """A connection of the pool, given back with no transaction open; closed where it is in doubt."""
        try:
            connection = await self._pool.getconn(CONNECTION_SECONDS_MAX)
        except psycopg.OperationalError as error:
            raise unavailable(error) from error
        try:
            yield connection
        except CommitAmbiguous:
            await connection.close()
            raise
        except BaseException:
            await rolled_back(connection)
            raise
        finally:
            await self._pool.putconn(connection)

    @asynccontextmanager
    async def _fresh(self) -> AsyncIterator[Connection]:
        """A connection of its own, not from the pool."""
        connection = await AsyncConnection.connect(**self._connection)
        try:
            with severed_after(self._seconds_max, connection):
                yield connection
        finally:
            await connection.close()

    async def _locked_heads(self, account_ids: Sequence[str], lock: LiteralString) -> dict[str, Head]:
        async with self._fresh() as connection, connection.transaction():
            await connection.execute(f"SET LOCAL lock_timeout = {SETTLE_LOCK_MS}")
            cursor = await connection.execute(lock, (_array(_known(account_ids)),))
            return _heads(await cursor.fetchall())

    def _no_longer_in_doubt(self, account_ids: Iterable[str]) -> None:
        for pid, left_with in list(self._in_doubt.items()):
            left_with.difference_update(account_ids)
            if not left_with:
                del self._in_doubt[pid]
                self._unheard.discard(pid)

    async def _end_backends_in_doubt(self, account_ids: Sequence[str], *, among: Collection[int]) -> None:
        """End the server's side of commits whose answers were lost, so that they let go of the head rows, and do not
        begin after they were read. One that cannot end now (its process is stopped) is fenced if it goes on."""
        wanted = set(account_ids)
        pids = [pid for pid, left_with in self._in_doubt.items() if pid in among and left_with & wanted]
        if not pids:
            return
        try:
            async with self._fresh() as connection:
                name = connection.info.get_parameters()["application_name"]
                await connection.execute(statements.END_BACKENDS, (END_BACKEND_MS, pids, name))
        except psycopg.Error as error:
            raise unavailable(error) from error


# ---------------------------------------------------------------- rows back into engine terms


def _known(account_ids: Sequence[str] | Mapping[str, int]) -> list[str]:
    """The ids that can be ids at all: one that is no UUID is an unknown account."""
    return [account_id for account_id in account_ids if _UUID.fullmatch(account_id)]


def _array(values: Iterable[object]) -> str:
    """As Postgres reads an array; of ids and numbers, which need no quotes."""
    return "{" + ",".join(map(str, values)) + "}"


_UUID: Final = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")


def _heads(found: Sequence[tuple[Any, ...]]) -> dict[str, Head]:
    return {account_id: Head(account_id, epoch, seq, head_hash) for account_id, epoch, seq, head_hash in found}


def _recorded(row: tuple[Any, ...]) -> RecordedEvent:
    account_id, seq, type_, version, occurred_at, epoch, request_id, stored, hash_ = row
    payload = codec.canonical_payload(stored)
    return RecordedEvent(account_id, seq, type_, version, occurred_at, epoch, request_id, payload, hash_)


def _account_columns(account: AccountView, opening: CreateAccount) -> tuple[object, ...]:
    """Values of the columns of `prop_accounts` from the status to the time of creation."""
    return (
        account.status,
        account.owner_id,
        account.clone_id,
        account.parent_account_id,
        account.race_id,
        account.mode,
        account.currency,
        account.starting_balance,
        canonical(account.policy).decode(),
        canonical(opening.metadata).decode(),
        canonical(opening).decode(),
        opening.idempotency_key,
        account.created_at,
    )


def _created(row: tuple[Any, ...] | None, asked_id: str) -> Created:
    if row is None:
        raise StoreUnavailable("an account with this key was there and is gone")
    account_id, status, created_at, started_at, ended_at, end_reason, seq, stored = row
    opening = _OPENING.decode(stored)
    account = AccountView(
        id=account_id,
        status=status,
        owner_id=opening.owner_id,
        clone_id=opening.clone_id,
        parent_account_id=opening.parent_account_id,
        race_id=opening.race_id,
        mode=opening.mode,
        currency=opening.currency,
        starting_balance=opening.starting_balance,
        policy=opening.policy,
        created_at=created_at,
        started_at=started_at,
        ended_at=ended_at,
        end_reason=end_reason,
        account_seq=seq,
    )
    return Created(account, opening, replayed=account_id != asked_id)
