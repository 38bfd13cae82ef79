"""Appenders for tests of the runtime: straight to a store, held back, or failing as told."""

import asyncio
from collections.abc import Sequence

from persistence.committer import AppendVerdict
from persistence.store import Append, Store


class SteeredAppender:
    """Commits at once unless `hold` is called; `fail_with` makes the next append answer something else."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._open = asyncio.Event()
        self._open.set()
        self._next_failures: list[AppendVerdict | type[Exception]] = []
        self.batches: list[tuple[str, ...]] = []

    def hold(self) -> None:
        self._open.clear()

    def release(self) -> None:
        self._open.set()

    def fail_with(self, failure: AppendVerdict | type[Exception]) -> None:
        self._next_failures.append(failure)

    async def append(self, appends: Sequence[Append]) -> Sequence[AppendVerdict]:
        self.batches.append(tuple(append.account_id for append in appends))
        await self._open.wait()
        if self._next_failures:
            failure = self._next_failures.pop(0)
            if not isinstance(failure, str):
                raise failure("the answer was lost")
            return [failure] * len(appends)
        verdicts = await self._store.commit(appends)
        found = [verdicts[append.account_id] for append in appends]
        return ["unknown" if verdict == "locked" else verdict for verdict in found]
