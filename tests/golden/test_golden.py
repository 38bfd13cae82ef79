"""Ledgers of every released event version still mean what they meant (G5, G10)."""

import subprocess
from pathlib import Path
from typing import ClassVar, cast

import msgspec
import pytest

from engine.events import EVENT_TYPES, AccountPaused
from persistence import codec
from persistence.codec import UPCASTERS
from tests.golden.kept import FOLDER, digest, golden, manifest, names, shown

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", names())
def test_a_kept_ledger_makes_the_state_it_made(name: str) -> None:
    """Members that were added since may be there; none that was recorded may be gone or another."""
    kept = golden(name)
    assert _within(kept.snapshot, shown(kept.replayed())) == []


def test_every_event_type_is_kept_in_every_version() -> None:
    kept = {(event.type, event.version) for name in names() for event in golden(name).events}
    released = {(type_, version) for type_, event in EVENT_TYPES.items() for version in range(1, event.VERSION + 1)}
    assert released - kept == set(), "record a ledger that holds them: python -m tests.golden"


def test_every_older_version_has_its_upcaster() -> None:
    older = {(type_, version) for type_, event in EVENT_TYPES.items() for version in range(1, event.VERSION)}
    assert set(UPCASTERS) == older


class PausedBy(AccountPaused, frozen=True, kw_only=True):
    """A shape of `account_paused` that was never released: it says who paused, too."""

    VERSION: ClassVar[int] = AccountPaused.VERSION + 1
    by: str


def test_an_older_version_replays_to_the_same_state_through_its_upcaster(monkeypatch: pytest.MonkeyPatch) -> None:
    """The chain is over what was stored, not over what it is read as."""
    monkeypatch.setitem(codec._DECODERS, "account_paused", msgspec.json.Decoder(PausedBy))
    monkeypatch.setitem(EVENT_TYPES, "account_paused", PausedBy)
    kept = golden("both_sides")
    with pytest.raises(codec.MalformedPayload, match="no upcaster to version 2"):
        kept.replayed()
    upcasters = cast(dict[tuple[str, int], codec.Upcaster], UPCASTERS)
    monkeypatch.setitem(upcasters, ("account_paused", 1), lambda payload: payload | {"by": "unknown"})
    assert _within(kept.snapshot, shown(kept.replayed())) == []


def test_what_is_kept_is_what_was_recorded() -> None:
    assert {path.name: digest(path) for path in FOLDER.glob("*.jsonl")} == manifest()


def test_kept_ledgers_are_only_ever_added_to() -> None:
    """By the history, where there is one: a copy without it still has the manifest."""
    if not (ROOT / ".git").exists():
        return
    changed = ["git", "-C", str(ROOT), "log", "--diff-filter=MDR", "--name-only", "--format=", "--", str(FOLDER)]
    assert subprocess.run(changed, capture_output=True, text=True, check=True).stdout.split() == []


def _within(kept: object, made: object, where: str = "") -> list[str]:
    """Where what was kept is not what is made."""
    if isinstance(kept, dict) and isinstance(made, dict):
        return [each for name in kept for each in _within(kept[name], made.get(name, "nothing"), f"{where}/{name}")]
    if isinstance(kept, list) and isinstance(made, list) and len(kept) == len(made):
        return [
            each
            for place, (one, other) in enumerate(zip(kept, made, strict=True))
            for each in _within(one, other, f"{where}/{place}")
        ]
    return [] if kept == made else [f"{where}: was {kept}, is {made}"]
