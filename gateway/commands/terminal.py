"""Terminal: how commands say things, and how they say that they cannot."""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

FOUND = 1
"""Exit code of a command that looked and found something wrong."""
REFUSED = 2
"""Exit code of a command that could not do its work."""
UNHEARD = 141
"""Exit code of a command whose output nobody read to the end, as a shell shows it: 128 + SIGPIPE."""


class CommandError(Exception):
    """A command cannot go on. The message says what is wrong and what to do about it."""

    def __init__(self, message: str, exit_code: int = REFUSED) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def silence() -> None:
    """Standard output has no reader any more: what is still printed goes nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)


class ProgressLine:
    """A line on standard error that replaces itself, where somebody looks; where nobody does it is not there."""

    def __init__(self) -> None:
        self._shown = sys.stderr.isatty()

    def say(self, text: str) -> None:
        if self._shown:
            print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)

    def clear(self) -> None:
        if self._shown:
            print("\r\033[K", end="", file=sys.stderr, flush=True)


def print_json(value: Any) -> None:
    """One JSON document on one line, written at once: a reader at the other end of a pipe is not kept waiting."""
    print(json.dumps(value, default=str, ensure_ascii=False), flush=True)


def print_line(text: str) -> None:
    """One line, at once."""
    print(text, flush=True)


def print_aligned(lines: Mapping[str, str]) -> None:
    """`name  value`, values under each other."""
    width = max(map(len, lines), default=0)
    for name, value in lines.items():
        print(f"  {name.ljust(width)}  {value}", flush=True)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[str] = ()) -> None:
    """A table as wide as its content: piped into `grep` or `awk`, a row stays one line."""
    widths = [
        max(len(column), *(len(row[place]) for row in rows)) if rows else len(column)
        for place, column in enumerate(columns)
    ]
    for row in [columns, *rows]:
        cells = [
            cell.rjust(width) if column in right else cell.ljust(width)
            for cell, width, column in zip(row, widths, columns, strict=True)
        ]
        print("  ".join(cells).rstrip(), flush=True)
