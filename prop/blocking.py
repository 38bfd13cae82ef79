"""Prop: the same client for code that does not `await`.

Each method is that of `AsyncProp`, run on an event loop in a thread of its own; lists and streams are ordinary
iterators. One client may be used from several threads.
"""

import asyncio
import functools
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import CancelledError
from contextlib import suppress
from types import TracebackType
from typing import Any, Concatenate, Final, ParamSpec, Self, TypeVar

from prop.asynchronous import AsyncProp
from prop.errors import Unreachable
from prop.transport import DEADLINE_SECONDS

Asked = ParamSpec("Asked")
Said = TypeVar("Said")

_END: Final = object()


def _waiting(
    method: Callable[Concatenate[AsyncProp, Asked], Coroutine[Any, Any, Said]],
) -> Callable[Concatenate["Prop", Asked], Said]:
    """`method`, waited for."""

    @functools.wraps(method)
    def call(self: "Prop", /, *args: Asked.args, **kwargs: Asked.kwargs) -> Said:
        return self._wait(method(self._client, *args, **kwargs))

    return call


def _iterating(
    method: Callable[Concatenate[AsyncProp, Asked], AsyncIterator[Said]],
) -> Callable[Concatenate["Prop", Asked], Iterator[Said]]:
    """`method`, row after row. Leaving the loop early closes what it reads from."""

    @functools.wraps(method)
    def call(self: "Prop", /, *args: Asked.args, **kwargs: Asked.kwargs) -> Iterator[Said]:
        rows = method(self._client, *args, **kwargs)
        try:
            while True:
                row: Any = self._wait(_next(rows))
                if row is _END:
                    return
                yield row
        finally:
            with suppress(Unreachable):  # a client that was closed has closed this, too
                self._wait(_closed(rows))

    return call


async def _next(rows: AsyncIterator[Any]) -> Any:
    return await anext(rows, _END)


async def _closed(rows: AsyncIterator[Any]) -> None:
    close = getattr(rows, "aclose", None)
    if close is not None:
        await close()


class Prop:
    """A client of one gateway with one token; see `AsyncProp`.

    >>> with Prop(url, token) as prop:
    ...     account = prop.create_account("user-7", "clone-9")
    """

    def __init__(
        self, url: str, token: str, *, deadline_s: float = DEADLINE_SECONDS, attempts_max: int | None = None
    ) -> None:
        self._client = AsyncProp(url, token, deadline_s=deadline_s, attempts_max=attempts_max)
        self._opening = threading.Lock()
        self._is_closed = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="prop-client", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections and end the thread. Closing twice is closing once; what other threads wait for raises
        `Unreachable`."""
        with self._opening:
            if self._is_closed:
                return
            self._is_closed = True  # from here on nothing new begins, so what is cancelled next is all there is
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _end(self) -> None:
        await self._client.close()
        waited_for = asyncio.all_tasks() - {asyncio.current_task()}
        for each in waited_for:
            each.cancel()
        await asyncio.gather(*waited_for, return_exceptions=True)
        await self._loop.shutdown_asyncgens()

    def _wait(self, call: Coroutine[Any, Any, Said]) -> Said:
        with self._opening:
            if self._is_closed:
                call.close()  # nobody will await it
                raise Unreachable("this client is closed")
            future = asyncio.run_coroutine_threadsafe(call, self._loop)
        try:
            return future.result()
        except CancelledError:
            raise Unreachable("this client is closed") from None
        except BaseException:
            future.cancel()  # the caller was interrupted: so is the call
            raise

    create_account = _waiting(AsyncProp.create_account)
    start = _waiting(AsyncProp.start)
    complete = _waiting(AsyncProp.complete)
    liquidate = _waiting(AsyncProp.liquidate)
    decide = _waiting(AsyncProp.decide)
    decision_action = _waiting(AsyncProp.decision_action)
    mark = _waiting(AsyncProp.mark)
    mark_all = _waiting(AsyncProp.mark_all)
    live = _waiting(AsyncProp.live)
    readiness = _waiting(AsyncProp.readiness)
    version = _waiting(AsyncProp.version)
    openapi = _waiting(AsyncProp.openapi)
    send = _waiting(AsyncProp.send)
    account = _waiting(AsyncProp.account)
    snapshot = _waiting(AsyncProp.snapshot)
    decision_context = _waiting(AsyncProp.decision_context)
    equity = _waiting(AsyncProp.equity)
    result = _waiting(AsyncProp.result)
    standings = _waiting(AsyncProp.standings)
    prices = _waiting(AsyncProp.prices)
    pause = _waiting(AsyncProp.pause)
    resume = _waiting(AsyncProp.resume)
    lock = _waiting(AsyncProp.lock)
    admin_liquidate = _waiting(AsyncProp.admin_liquidate)
    void_fill = _waiting(AsyncProp.void_fill)
    void_order = _waiting(AsyncProp.void_order)
    recompute = _waiting(AsyncProp.recompute)

    accounts = _iterating(AsyncProp.accounts)
    clone_accounts = _iterating(AsyncProp.clone_accounts)
    decision_actions = _iterating(AsyncProp.decision_actions)
    orders = _iterating(AsyncProp.orders)
    fills = _iterating(AsyncProp.fills)
    positions = _iterating(AsyncProp.positions)
    ledger = _iterating(AsyncProp.ledger)
    audit_log = _iterating(AsyncProp.audit_log)
    follow_ledger = _iterating(AsyncProp.follow_ledger)
    events = _iterating(AsyncProp.events)
