"""The service about itself: alive, ready, measured, described."""

from prometheus_client import CONTENT_TYPE_LATEST

from gateway.calls import Answer, Call
from gateway.replies import Component, Liveness, Readiness, VersionView
from gateway.schemas import NoQuery, ReadinessQuery


async def live(call: Call[NoQuery, None]) -> Answer:
    """The loop answers."""
    return Answer(body=Liveness(live=True))


async def ready(call: Call[ReadinessQuery, None]) -> Answer:
    """200 while every component is well, 503 while any is not."""
    components = await call.services.readiness.components()
    well = all(each.well for each in components)
    shown = tuple(Component(component=each.component, well=each.well, detail=each.detail) for each in components)
    listed = shown if call.query.verbose is not None else ()
    return Answer(body=Readiness(ready=well, components=listed), status=200 if well else 503)


async def version(call: Call[NoQuery, None]) -> Answer:
    """Which build this is."""
    return Answer(body=VersionView(name="prop-engine", version=call.parts.version))


async def metrics(call: Call[NoQuery, None]) -> Answer:
    """Prometheus text format. Where several processes serve the port, those of all: label `gateway`."""
    return Answer(body=await call.services.exposition.text(), media_type=CONTENT_TYPE_LATEST)


async def openapi(call: Call[NoQuery, None]) -> Answer:
    """This API as OpenAPI 3.1."""
    return Answer(body=call.services.openapi)


async def docs(call: Call[NoQuery, None]) -> Answer:
    """This API as a page."""
    return Answer(body=call.services.docs, media_type="text/html; charset=utf-8")
