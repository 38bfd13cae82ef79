"""Exposition: what `/metrics` says, for every gateway on the port, whichever of them is asked.

Prometheus scrapes one address and the kernel chooses who answers: counters of now one process and now another would go
up and down. So gateways that share a port show each other their figures, on unix sockets in a folder of their own, and
an answer holds the series of all, told apart by the label `gateway`: one that is started again begins its own at zero,
which `rate` understands, and no sum ever falls because of it. A gateway alone answers for itself, without the label.

What lies behind the gateways is the same for each, so whoever is asked asks it, and its series have no such label.

Guarantee: an answer takes `ASKED_SECONDS_MAX` at most. Who has not answered by then is not in it, and `prop_gateways`
says how many are, `prop_up` what of the engine is.
"""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final

import msgspec
import structlog
from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from gateway.measures import GATEWAYS
from gateway.measuring import Measuring

ASKED_SECONDS_MAX: Final = 1.0
GATEWAY: Final = "gateway"
"""The label that tells the gateways of one port apart: 0 for the first, which started the others."""

log = structlog.get_logger(__name__)


class Beside(msgspec.Struct, frozen=True, kw_only=True):
    """The place of a gateway among the `processes` that share its port and meet in `folder`."""

    folder: str
    processes: int
    place: int = 0

    def socket_of(self, place: int) -> str:
        return str(Path(self.folder) / f"{place}.sock")


@contextmanager
def meeting(processes: int) -> Iterator[Beside | None]:
    """A folder for so many gateways, and the place of the first; None where it is alone."""
    if processes == 1:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="prop-gateways-") as folder:  # short: a socket's path may have 107 bytes
        yield Beside(folder=folder, processes=processes)


class _Family(msgspec.Struct, frozen=True, array_like=True):
    """One metric as it travels: samples are name, labels, value."""

    name: str
    documentation: str
    kind: str
    samples: list[tuple[str, dict[str, str], float]]


_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(list[_Family])


class Exposition:
    """The figures in `registry`, of the gateways beside this one, and of the engine where it is measured."""

    def __init__(self, registry: CollectorRegistry, beside: Beside | None, engine: Measuring | None = None) -> None:
        self._registry = registry
        self._beside = beside
        self._engine = engine

    async def text(self) -> bytes:
        """All of it in Prometheus text format."""
        gateways, engine = await asyncio.gather(self._of_gateways(), self._of_engine())
        return generate_latest(gateways) + generate_latest(engine)

    async def _of_gateways(self) -> Collector:
        if self._beside is None:
            return self._registry
        shown = await asyncio.gather(
            *(self._families_of(place, self._beside) for place in range(self._beside.processes))
        )
        return _Merged({place: each for place, each in enumerate(shown) if each is not None})

    async def _of_engine(self) -> Collector:
        return _Collected([] if self._engine is None else await self._engine.families())

    @asynccontextmanager
    async def shown(self) -> AsyncIterator[None]:
        """Shows the figures to the gateways beside this one for the time of the block."""
        if self._beside is None:
            yield
            return
        async with await asyncio.start_unix_server(self._show, self._beside.socket_of(self._beside.place)):
            yield

    async def _families_of(self, place: int, beside: Beside) -> list[_Family] | None:
        if place == beside.place:
            return _families(self._registry)
        try:
            async with asyncio.timeout(ASKED_SECONDS_MAX):
                reader, writer = await asyncio.open_unix_connection(beside.socket_of(place))
                try:
                    return _DECODER.decode(await reader.read())
                finally:
                    writer.close()
        except (OSError, TimeoutError, msgspec.DecodeError) as error:  # it is being started, or hangs, or died just now
            log.warning("gateway_not_in_metrics", gateway=place, why=repr(error))
            return None

    async def _show(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(_ENCODER.encode(_families(self._registry)))
        writer.close()


class _Collected(Collector):
    """Families as they are."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


class _Merged(Collector):
    """The families of several gateways as one."""

    def __init__(self, shown: dict[int, list[_Family]]) -> None:
        self._shown = shown

    def collect(self) -> Iterable[Metric]:
        merged: dict[str, Metric] = {}
        for place, families in self._shown.items():
            for family in families:
                metric = merged.setdefault(family.name, Metric(family.name, family.documentation, family.kind))
                for name, labels, value in family.samples:
                    metric.add_sample(name, {**labels, GATEWAY: str(place)}, value)
        gateways = GaugeMetricFamily(GATEWAYS.name, GATEWAYS.means, len(self._shown))
        return [gateways, *merged.values()]


def _families(registry: CollectorRegistry) -> list[_Family]:
    return [
        _Family(
            metric.name,
            metric.documentation,
            metric.type,
            [(sample.name, dict(sample.labels), sample.value) for sample in metric.samples],
        )
        for metric in registry.collect()
    ]
