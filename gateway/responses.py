"""Responses: an answer as the bytes it is on the wire.

Owns what every head holds: the security headers, the server's name, the request's id, the date. An answer that is
whole leaves in one write, its head made in one go: a tenth of what a request took was headers put into a dictionary by
one layer, looked at by the next and taken out by a third.
"""

import time
from collections.abc import Mapping
from email.utils import formatdate
from http import HTTPStatus
from typing import Final

from aiohttp import HttpVersion10, HttpVersion11, hdrs, web
from aiohttp.abc import AbstractStreamWriter

REQUEST_ID_HEADER: Final = "X-Request-Id"
SECURITY_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    hdrs.CACHE_CONTROL: "no-store",
}
SERVER_NAME: Final = "prop"
"""Instead of the names and versions of what it is made of."""

_ALWAYS: Final = "".join(
    f"{name}: {value}\r\n"
    for name, value in {**SECURITY_HEADERS, hdrs.SERVER: SERVER_NAME}.items()
    if name != hdrs.CACHE_CONTROL
)
_NOT_STORED: Final = f"{hdrs.CACHE_CONTROL}: {SECURITY_HEADERS[hdrs.CACHE_CONTROL]}\r\n"
_STATUS_LINES: Final = {
    (version, status.value): f"HTTP/{version.major}.{version.minor} {status.value} {status.phrase}\r\n"
    for version in (HttpVersion10, HttpVersion11)
    for status in HTTPStatus
}


def stamped(request_id: str, headers: Mapping[str, str]) -> dict[str, str]:
    """`headers` and those that every answer has: of a stream, or of a request nobody could read."""
    return {**SECURITY_HEADERS, hdrs.SERVER: SERVER_NAME, **headers, REQUEST_ID_HEADER: request_id}


class Whole(web.StreamResponse):
    """An answer that is known from beginning to end: head and body are one write. `headers` name none that is always
    there but `Cache-Control`, which they may replace."""

    def __init__(
        self, *, request_id: str, status: int, media_type: str | None, body: bytes, headers: Mapping[str, str]
    ) -> None:
        super().__init__(status=status)
        self._request_id = request_id
        self._media_type = media_type
        self._whole_body = body
        self._more = headers
        self._stays_open: bool | None = None

    @property
    def keep_alive(self) -> bool | None:
        """Whether the connection serves another request after this one."""
        return self._stays_open

    def force_close(self) -> None:
        """End the connection after this answer."""
        self._stays_open = False

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Send all of it. Raises `ConnectionError` where nobody listens any more."""
        if self._stays_open is None:
            self._stays_open = request.keep_alive
        head = self._head(request)
        await request.writer.write_eof(head if request.method == hdrs.METH_HEAD else head + self._whole_body)
        return request.writer

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing is left to send."""

    def _head(self, request: web.BaseRequest) -> bytes:
        version = request.version if request.version == HttpVersion10 else HttpVersion11
        lines = _STATUS_LINES[version, self.status]
        if self._media_type is not None:
            lines += f"Content-Type: {self._media_type}\r\nContent-Length: {len(self._whole_body)}\r\n"
        lines += f"Date: {_date()}\r\n{_ALWAYS}"
        if hdrs.CACHE_CONTROL not in self._more:
            lines += _NOT_STORED
        for name, value in self._more.items():
            lines += f"{name}: {_of_one_line(value)}\r\n"
        if self._stays_open != (version == HttpVersion11):  # what an HTTP of this version does not take for granted
            lines += f"Connection: {'keep-alive' if self._stays_open else 'close'}\r\n"
        return f"{lines}{REQUEST_ID_HEADER}: {self._request_id}\r\n\r\n".encode()


def _of_one_line(value: str) -> str:
    """A header that holds a line break would be two, or a body. None of ours does."""
    if "\r" in value or "\n" in value or "\0" in value:
        raise ValueError("a header holds a line break")
    return value


_dated: tuple[int, str] = (0, "")


def _date() -> str:
    """Now, as HTTP says it (RFC 9110 section 5.6.7). Made once a second."""
    global _dated
    now = int(time.time())
    if _dated[0] != now:
        _dated = now, formatdate(now, usegmt=True)
    return _dated[1]
