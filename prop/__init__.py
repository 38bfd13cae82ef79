"""Client of the prop trading account engine: `AsyncProp`, and `Prop` for code that does not await.

Light on purpose: it needs aiohttp and pydantic, and imports nothing of the engine.
"""

from prop import errors
from prop.asynchronous import AsyncProp, close, open_, reduce
from prop.blocking import Prop
from prop.errors import PropError, Refused, Unreachable
from prop.models import ActionIn, PolicyIn
from prop.stream import StreamedEvent

__all__ = [
    "ActionIn",
    "AsyncProp",
    "PolicyIn",
    "Prop",
    "PropError",
    "Refused",
    "StreamedEvent",
    "Unreachable",
    "close",
    "errors",
    "open_",
    "reduce",
]
