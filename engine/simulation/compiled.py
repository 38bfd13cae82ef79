"""Compiled: how the kernel's functions become machine code, once for each machine.

A loop over accounts is compiled on its first call and kept on disk: beside its source where that can be written, else
in the user's cache folder, or in NUMBA_CACHE_DIR. Where none of these can be written, each process compiles it again.

Numba looks for changes only in the file of a loop, not in what the loop calls. So what it calls is compiled into it and
kept nowhere else, and `fingerprint` of all of it goes into the loop's key.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import blake2b
from typing import Any, Final, TypeVar

import numba
from numba.core.event import Event, Listener, install_listener

Function = TypeVar("Function", bound=Callable[..., Any])

_njit: Final[Any] = numba.njit  # what comes out is called as what went in
_PARTS: Final[list[Callable[..., Any]]] = []


def compiled(function: Function) -> Function:
    """A part of a loop. It allocates nothing, so it counts no references (`_nrt`): counting would cost more than it."""
    _PARTS.append(function)
    return _part(function, inline="never")


def inlined(function: Function) -> Function:
    """A part on the way of every tick: to call it, which hands over every column, would cost more than it does."""
    _PARTS.append(function)
    return _part(function, inline="always")


def parallel(function: Function) -> Function:
    """A loop over accounts, on as many cores as numba is set to use."""
    made: Function
    try:
        made = _njit(cache=True, nogil=True, error_model="numpy", parallel=True)(function)
    except RuntimeError:  # numba found no folder to keep it in
        made = _njit(nogil=True, error_model="numpy", parallel=True)(function)
    return made


def unregistered(function: Function) -> Function:
    """A part of a loop that is not kept."""
    return _part(function, inline="never")


def uncached(function: Function) -> Function:
    """A loop around somebody's strategy: the cache could not tell one strategy from another."""
    made: Function = _njit(nogil=True, error_model="numpy", parallel=True)(function)
    return made


def fingerprint() -> int:
    """Of the code of every part so far, and of the whole numbers that it names."""
    digest = blake2b(digest_size=7)
    for part in _PARTS:
        code, known = part.__code__, part.__globals__
        figures = {name: known[name] for name in code.co_names if isinstance(known.get(name), int | float)}
        digest.update(repr((part.__qualname__, code.co_code, code.co_consts, code.co_names, figures)).encode())
    return int.from_bytes(digest.digest())


@contextmanager
def told_of_compiling(tell: Callable[[], None]) -> Iterator[None]:
    """`tell` is called when something begins to be compiled in the block, once. What is read from disk is not."""
    with install_listener("numba:compile", _Once(tell)):
        yield


class _Once(Listener):
    def __init__(self, tell: Callable[[], None]) -> None:
        self._tell: Callable[[], None] | None = tell

    def on_start(self, event: Event) -> None:
        tell, self._tell = self._tell, None
        if tell is not None:
            tell()

    def on_end(self, event: Event) -> None:
        """Of no interest."""


def _part(function: Function, *, inline: str) -> Function:
    made: Function = _njit(nogil=True, error_model="numpy", _nrt=False, inline=inline)(function)
    return made
