"""Writing: the tables of a run as Parquet files, shard by shard as they come.

Files are written under other names and take their own at the end, so that a folder never holds half a run that looks
whole: one that was stopped, or that failed, also to write, leaves nothing. What an earlier run left and this one does
not make goes as the files take their names, so that a folder holds one run.
"""

import contextlib
from collections.abc import Collection, Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import pyarrow as pa
from pyarrow import parquet

from engine.simulation.results import TABLES, VERDICTS

PART: Final = ".part"
TABLE: Final = ".parquet"
COMPRESSION: Final = "zstd"


class Folder:
    """A folder of results. Raises `OSError` where it cannot be written to. `texts`: the files that a run may `put`."""

    def __init__(self, path: Path, texts: Collection[str] = ()) -> None:
        self.path = path
        self._writers: dict[str, parquet.ParquetWriter] = {}
        self._begun: list[str] = []
        self._may_make = {*(f"{table}{TABLE}" for table in (*TABLES, VERDICTS)), *texts}

    def __enter__(self) -> Self:
        self.path.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            self._close()
            if kind is None:
                for name in self._begun:
                    self._part(name).replace(self.path / name)
                for name in self._may_make.difference(self._begun):
                    (self.path / name).unlink(missing_ok=True)
        except OSError:
            if kind is None:  # else the first fault is the one to tell
                raise
        finally:
            for name in self._begun:
                with contextlib.suppress(OSError):  # of a file that cannot even be taken away nothing more can be said
                    self._part(name).unlink(missing_ok=True)

    def add(self, tables: Mapping[str, pa.Table]) -> None:
        """The tables of the next shard, each to the end of its file."""
        for name, table in tables.items():
            if name not in self._writers:
                part = self._begin(f"{name}{TABLE}")
                self._writers[name] = parquet.ParquetWriter(part, table.schema, compression=COMPRESSION)
            self._writers[name].write_table(table)

    def put(self, name: str, text: str) -> None:
        """A text file beside them."""
        self._begin(name).write_text(text, encoding="utf-8")

    def _begin(self, name: str) -> Path:
        self._begun.append(name)
        return self._part(name)

    def _part(self, name: str) -> Path:
        return self.path / f"{name}{PART}"

    def _close(self) -> None:
        """All of them, whatever one of them says: each writes its end, for which a disk may be too full."""
        with contextlib.ExitStack() as closing:
            for writer in self._writers.values():
                closing.callback(_close, writer)


def _close(writer: parquet.ParquetWriter) -> None:
    try:
        writer.close()
    finally:
        writer.is_open = False  # else it tries again when it is collected, and prints what it meets
