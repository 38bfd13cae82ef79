"""The native baseline: pgbench, in C, one transaction an action that writes the rows an action of ours writes.

Seven rows: three ledger events, an order, a fill, a receipt, the position and the head; nothing is judged, hashed or
priced. The literals are those of a recorded action, so that both sides write as many bytes.
"""

import re
import subprocess
import tempfile
from pathlib import Path
from statistics import median
from typing import NamedTuple

import psycopg

from persistence.embedded import program

ACCOUNT = "('00000000-0000-7000-8000-' || lpad(:n::text, 12, '0'))::uuid"
SCRIPT = f"""
\\set n random(1, {{accounts}})
\\set action random(1, 1000000000000000)
BEGIN;
SELECT epoch, last_seq AS seq FROM prop_account_balances WHERE account_id = {ACCOUNT} FOR UPDATE \\gset
SELECT count(*) FROM prop_decision_actions
    WHERE account_id = {ACCOUNT} AND decision_run_id = 'run-' || :action::text AND decision_action_id = 'a0';
UPDATE prop_account_balances SET last_seq = last_seq + 3, cash = cash - 0.00005, equity = equity - 0.00005,
    fees_paid = fees_paid + 0.00005, margin_used = margin_used + 0.025, free_margin = free_margin - 0.02505,
    head_hash = '\\x{{hash}}' WHERE account_id = {ACCOUNT};
INSERT INTO prop_ledger_events (account_id, seq, type, version, occurred_at, epoch, request_id, payload, hash) VALUES
    {{events}};
INSERT INTO prop_orders VALUES (gen_random_uuid(), {ACCOUNT}, :seq + 1, gen_random_uuid(), 'BTC-USD', 'long', 'open',
    0.000001, 2, 'filled', now());
INSERT INTO prop_fills VALUES (gen_random_uuid(), gen_random_uuid(), {ACCOUNT}, :seq + 2, 'BTC-USD', 'long', 'open',
    0.000001, 50000, 0.05, 0.00005, 0, '{{quote}}', 'booked', now());
UPDATE prop_positions SET quantity = quantity + 0.000001, entry_notional = entry_notional + 0.05, mark_notional = 0.05,
    fees = fees + 0.00005, marked_at = now() WHERE account_id = {ACCOUNT} AND opened_seq = 3;
INSERT INTO prop_decision_actions VALUES ({ACCOUNT}, 'run-' || :action::text, 'a0', gen_random_uuid(), '\\x{{hash}}',
    '{{action}}', '{{result}}', 'executed', null, :seq + 3, now());
COMMIT;
"""
EVENTS = ("order_validated", "fill_booked", "position_increased")


class Native(NamedTuple):
    """What a run of pgbench came to."""

    actions_per_s: float
    p50_ms: float


class NativeActions:
    """A database of so many open accounts, and the transaction that acts on one of them by chance.

    `recorded` is the database of an engine in which an action of the benchmark was taken.
    """

    def __init__(self, url: str, *, accounts: int, recorded: str) -> None:
        self._url = url
        with psycopg.connect(url, autocommit=True) as connection:
            _open_accounts(connection, accounts)
        self._script = _script(recorded, accounts)

    def run(self, *, clients: int, seconds: float) -> Native:
        """So many connections for so long. Raises `CalledProcessError` where a transaction fails."""
        with tempfile.TemporaryDirectory(prefix="prop-bench-") as folder:
            script = Path(folder) / "action.sql"
            script.write_text(self._script)
            options = ["--no-vacuum", "--protocol=prepared", f"--client={clients}", f"--jobs={min(clients, 2)}"]
            logged = ["--log", f"--log-prefix={folder}/log", f"--time={seconds:.0f}", f"--file={script}"]
            ran = subprocess.run(
                [str(program("pgbench")), *options, *logged, self._url], capture_output=True, text=True, check=True
            )
            latencies = [
                int(line.split()[2]) / 1000
                for log in Path(folder).glob("log*")
                for line in log.read_text().splitlines()
            ]
        rate = re.search(r"tps = ([\d.]+)", ran.stdout)
        if rate is None:
            raise ValueError(f"pgbench told no rate: {ran.stdout}")
        return Native(float(rate[1]), median(latencies))


def _open_accounts(connection: psycopg.Connection[tuple[object, ...]], number: int) -> None:
    connection.execute(
        """
        WITH numbered AS (
            SELECT ('00000000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid AS id FROM generate_series(1, %s) n
        ), made AS (
            INSERT INTO prop_accounts (id, status, owner_id, clone_id, mode, currency, starting_balance, policy,
                metadata, opening, created_at, started_at)
            SELECT id, 'active', 'o', 'c', 'audition', 'USDC', 100000, '{}', '{}', '{}', now(), now() FROM numbered
        ), heads AS (
            INSERT INTO prop_account_balances
            SELECT id, 100000, 100000, 0, 0, 0, 0, 0, 100000, 100000, 0, 50000, 3, 1,
                decode(repeat('ab', 32), 'hex') FROM numbered
        )
        INSERT INTO prop_positions
        SELECT id, 3, 'BTC-USD', 'long', 'open', 0.000001, 0.05, 50000, 2, 0.025, 50000, 0.05, now(), 0, 0, 0.00005,
            now(), null FROM numbered
        """,
        (number,),
    )
    connection.execute("ANALYZE")


def _script(recorded: str, accounts: int) -> str:
    """The transaction, with the payloads and the result of the newest action of a recorded database."""
    with psycopg.connect(recorded) as connection:
        events = [
            _one(connection, f"SELECT payload::text FROM prop_ledger_events WHERE type = '{each}'") for each in EVENTS
        ]
        order_by = "FROM prop_decision_actions ORDER BY seq DESC"
        action, result = (_one(connection, f"SELECT {each}::text {order_by}") for each in ("action", "result"))
        quote = _one(connection, "SELECT quote::text FROM prop_fills")
    hash_ = "ab" * 32
    return SCRIPT.format(
        accounts=accounts,
        hash=hash_,
        events=",\n    ".join(
            f"({ACCOUNT}, :seq + {place}, '{type_}', 1, now(), 1, 'request', '{payload}', '\\x{hash_}')"
            for place, (type_, payload) in enumerate(zip(EVENTS, events, strict=True), 1)
        ),
        action=action,
        result=result,
        quote=quote,
    )


def _one(connection: psycopg.Connection[tuple[object, ...]], query: str) -> str:
    row = connection.execute(f"{query} LIMIT 1".encode()).fetchone()
    if row is None:
        raise LookupError(f"nothing is recorded: {query}")
    return re.sub(r"(?<=\d):(?=\d)", ".", str(row[0]).replace("'", "''"))  # a colon would begin a variable of pgbench
