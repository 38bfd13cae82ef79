"""Admission: how much a gateway takes on at once (G11). Decided from the head of a request, before its body is read."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from gateway.metrics import HttpMetrics
from gateway.problems import Problem
from gateway.rates import RateLimit, Rates

IN_FLIGHT_MAX: Final = 256
IN_FLIGHT_PER_TOKEN_MAX: Final = 64
STREAMS_MAX: Final = 64
STREAMS_PER_TOKEN_MAX: Final = 16


class Admission:
    """Counts what is being served. Past a limit the answer is quick and nothing was done."""

    def __init__(
        self,
        metrics: HttpMetrics,
        *,
        in_flight_max: int = IN_FLIGHT_MAX,
        in_flight_per_token_max: int = IN_FLIGHT_PER_TOKEN_MAX,
        streams_max: int = STREAMS_MAX,
        streams_per_token_max: int = STREAMS_PER_TOKEN_MAX,
        rate: RateLimit | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._metrics = metrics
        self._in_flight_max = in_flight_max
        self._per_token_max = in_flight_per_token_max
        self._streams_max = streams_max
        self._streams_per_token_max = streams_per_token_max
        self._of_token: dict[str, int] = {}
        self._streams_of_token: Counter[str] = Counter()
        self._rates = Rates(rate or RateLimit(), monotonic=monotonic)
        self.in_flight = 0
        self.streams = 0
        metrics.in_flight.set_function(lambda: self.in_flight)
        metrics.streams.set_function(lambda: self.streams)
        self.leaving = False
        """Once set, all is still served, and each answer ends its connection: the next request goes elsewhere."""
        self.draining = False
        """Once set, nothing new is admitted; what is in flight is finished."""

    def place(self) -> "Place":
        """A place among the requests in flight. Raises `Problem` `overloaded` or `shutting_down`."""
        if self.draining:
            raise self._refusal("shutting_down")
        if self.in_flight >= self._in_flight_max:
            raise self._refusal("overloaded", f"{self._in_flight_max} requests are in flight")
        self.in_flight += 1
        return Place(self)

    def take_of(self, token_id: str) -> None:
        """As `Place.of`, which also gives it back."""
        wait_s = self._rates.take(token_id)
        if wait_s:
            raise self._refusal("rate_limited", "this token makes too many requests a second", retry_after_s=wait_s)
        taken = self._of_token.get(token_id, 0)
        if taken >= self._per_token_max:
            raise self._refusal("rate_limited", f"{self._per_token_max} requests of this token are in flight")
        self._of_token[token_id] = taken + 1

    def give_back(self, token_id: str | None) -> None:
        """A place in flight, and of a token where it has one."""
        self.in_flight -= 1
        if token_id is not None:
            left = self._of_token[token_id] - 1
            if left:
                self._of_token[token_id] = left
            else:
                del self._of_token[token_id]

    @contextmanager
    def stream_of(self, token_id: str) -> Iterator[None]:
        """A place among the open streams, which last. Raises `Problem` `overloaded` or `rate_limited`."""
        if self.streams >= self._streams_max:
            raise self._refusal("overloaded", f"{self._streams_max} streams are open")
        if self._streams_of_token[token_id] >= self._streams_per_token_max:
            raise self._refusal("rate_limited", f"{self._streams_per_token_max} streams of this token are open")
        self.streams += 1
        self._streams_of_token[token_id] += 1
        try:
            yield
        finally:
            self.streams -= 1
            self._streams_of_token[token_id] -= 1
            if not self._streams_of_token[token_id]:
                del self._streams_of_token[token_id]

    def _refusal(self, code: str, detail: str = "", *, retry_after_s: int | None = None) -> Problem:
        self._metrics.shed(code)
        return Problem(code, detail, headers={} if retry_after_s is None else {"Retry-After": str(retry_after_s)})


class Place:
    """What one request holds of admission: to be given back in `finally`. No context manager, which costs more."""

    __slots__ = ("_admission", "_is_held", "_token_id")

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self._token_id: str | None = None
        self._is_held = True

    def of(self, token_id: str) -> None:
        """Take a place among those of one token, too, and one of the requests it may make a second. Raises `Problem`
        `rate_limited`."""
        self._admission.take_of(token_id)
        self._token_id = token_id

    def give_back(self) -> None:
        """All of it, once: a stream does so as soon as it has a place among the streams."""
        if self._is_held:
            self._is_held = False
            self._admission.give_back(self._token_id)
