"""Golden ledgers: files of recorded events with the state they make, written once and never changed.

A file is JSON lines: what it is and the snapshot it ends in, then the events as the table keeps them. `MANIFEST` names
every file with its SHA-256. A program that replays one differently has changed the meaning of what is stored; the file
is right, and an event of another shape needs a higher version and an upcaster.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from engine.book import AccountBook, replayed
from engine.canonical import canonical, timestamp
from engine.events import RecordedEvent
from engine.views import snapshot_view
from persistence import codec
from persistence.recovery import Decoding

FOLDER: Final = Path(__file__).parent / "ledgers"
MANIFEST: Final = Path(__file__).parent / "MANIFEST"
RECEIPTS_MAX: Final = 1_000


@dataclass(frozen=True)
class Golden:
    """A recorded ledger, and the snapshot it must make."""

    name: str
    snapshot: dict[str, Any]
    events: tuple[RecordedEvent, ...]

    def replayed(self) -> AccountBook:
        """The account that this program makes of it; raises where it cannot."""
        book, _ = replayed(Decoding(0, self.events), receipts_in_memory_max=RECEIPTS_MAX)
        return book


def names() -> list[str]:
    """Of every golden ledger there is."""
    return sorted(path.stem for path in FOLDER.glob("*.jsonl"))


def golden(name: str) -> Golden:
    """Read one."""
    first, *lines = (FOLDER / f"{name}.jsonl").read_text().splitlines()
    about = json.loads(first)
    return Golden(name, about["snapshot"], tuple(_event(about["accountId"], json.loads(line)) for line in lines))


def record(name: str, events: list[RecordedEvent]) -> None:
    """Write a new one, with its line in the manifest. Raises `FileExistsError` for a name that is taken."""
    book, _ = replayed(Decoding(0, events), receipts_in_memory_max=RECEIPTS_MAX)
    about = {"name": name, "accountId": events[0].account_id, "snapshot": shown(book)}
    path = FOLDER / f"{name}.jsonl"
    with path.open("x") as file:
        file.writelines(json.dumps(line, ensure_ascii=False) + "\n" for line in (about, *_lines(events)))
    with MANIFEST.open("a") as file:
        file.write(f"{digest(path)}  {path.name}\n")


def shown(book: AccountBook) -> dict[str, Any]:
    """What is compared: the snapshot as clients see it, and the head of the hash chain."""
    shown_: dict[str, Any] = json.loads(canonical(snapshot_view(book.account)))
    return shown_ | {"headHash": book.head.hex()}


def manifest() -> dict[str, str]:
    """SHA-256 by file name."""
    return {name: known for known, name in (line.split() for line in MANIFEST.read_text().splitlines())}


def digest(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()


def _lines(events: list[RecordedEvent]) -> Iterator[dict[str, Any]]:
    for event in events:
        yield {
            "seq": event.seq,
            "type": event.type,
            "version": event.version,
            "occurredAt": timestamp(event.occurred_at),
            "epoch": event.epoch,
            "requestId": event.request_id,
            "payload": json.loads(event.payload),
            "hash": event.hash.hex(),
        }


def _event(account_id: str, row: dict[str, Any]) -> RecordedEvent:
    return RecordedEvent(
        account_id=account_id,
        seq=row["seq"],
        type=row["type"],
        version=row["version"],
        occurred_at=datetime.fromisoformat(row["occurredAt"]),
        epoch=row["epoch"],
        request_id=row["requestId"],
        payload=codec.canonical_payload(json.dumps(row["payload"])),
        hash=bytes.fromhex(row["hash"]),
    )
