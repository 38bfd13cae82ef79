"""Metrics: what Prometheus is told about the HTTP door. Routes are labelled by their template, never by a path."""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from gateway.measures import MEASURES

LATENCY_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class HttpMetrics:
    """Requests, latency, in flight and shed, in one registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self._requests = Counter(*_declared("prop_http_requests"), registry=registry)
        self._seconds = Histogram(*_declared("prop_http_request_seconds"), buckets=LATENCY_SECONDS, registry=registry)
        self.in_flight = Gauge(*_declared("prop_http_in_flight"), registry=registry)
        self.streams = Gauge(*_declared("prop_http_streams"), registry=registry)
        self._shed = Counter(*_declared("prop_http_shed"), registry=registry)
        self._requests_of: dict[tuple[str, str, int], Counter] = {}
        self._seconds_of: dict[tuple[str, str], Histogram] = {}

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        key = (method, route, status)
        counter = self._requests_of.get(key)
        if counter is None:
            counter = self._requests_of[key] = self._requests.labels(method, route, str(status))
            self._seconds_of[key[:2]] = self._seconds.labels(method, route)
        counter.inc()
        self._seconds_of[key[:2]].observe(seconds)

    def shed(self, reason: str) -> None:
        self._shed.labels(reason).inc()


def _declared(name: str) -> tuple[str, str, tuple[str, ...]]:
    measure = MEASURES[name]
    return measure.name, measure.means, measure.labels
