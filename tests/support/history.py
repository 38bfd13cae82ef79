"""What clients did and what they were told, kept so that an auditor can hold it to the ledger afterwards.

One line of JSON an operation, written when it ended. Times are seconds of one monotonic clock, shared by every client
of a history.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

Outcome = Literal["ok", "refused", "unknown"]


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One request and its answer. A retry is an operation of its own, with the same ids.

    `actions` as they were sent, empty for a read. `ok`: `seq` is the account's seq in the answer, `results` one for
    each action, as the wire shows them. `refused`: nothing was done, for the reason `code`. `unknown`: whatever did not
    say, a lost connection included.
    """

    client: str
    account_id: str
    sent_at: float
    ended_at: float
    outcome: Outcome
    run: str = ""
    actions: tuple[dict[str, Any], ...] = ()
    seq: int | None = None
    results: tuple[dict[str, Any], ...] = ()
    code: str | None = None

    @property
    def keys(self) -> list[tuple[str, str]]:
        return [(self.run, action["decisionActionId"]) for action in self.actions]


class History:
    """Operations in the order in which they ended; with a path, each is in the file before `add` returns."""

    def __init__(self, path: Path | None = None) -> None:
        self.operations: list[Operation] = []
        self._path = path

    def add(self, operation: Operation) -> None:
        self.operations.append(operation)
        if self._path is not None:
            with self._path.open("a") as file:
                file.write(json.dumps(asdict(operation)) + "\n")

    def __iter__(self) -> Iterator[Operation]:
        return iter(self.operations)

    def __len__(self) -> int:
        return len(self.operations)

    def outcomes(self) -> dict[str, int]:
        """How many operations ended how; a refusal by its code."""
        counts: dict[str, int] = {}
        for each in self.operations:
            name = each.outcome if each.code is None else f"{each.outcome}: {each.code}"
            counts[name] = counts.get(name, 0) + 1
        return dict(sorted(counts.items()))


def read(path: Path) -> History:
    """A history from its file."""
    history = History()
    history.operations = list(_operations(path.read_text().splitlines()))
    return history


def _operations(lines: Iterable[str]) -> Iterator[Operation]:
    for line in lines:
        fields = json.loads(line)
        yield Operation(**fields | {"actions": tuple(fields["actions"]), "results": tuple(fields["results"])})
